/* SPDX-License-Identifier: Apache-2.0
 *
 * Two flat schemas as one that means both (allOf, and what stands beside $ref, anyOf and oneOf); and whether two exclude
 * each other (oneOf). Subschemas that must hold together become an allOf, which is multiplied out when its rule is made. */
#include "text/schema.h"

#include "base/status.h"

#include <string.h>

#define LOOK_DEPTH 6 /* how deep into properties `apart` looks */

/* {"allOf": [a, b]}; one of them if they are equal or the other says nothing. NULL: memory is out. */
static json_t *both_of(json_t *a, json_t *b)
{
    if (json_is_true(b) || json_equal(a, b))
        return json_incref(a);
    if (json_is_true(a))
        return json_incref(b);
    return json_pack("{s:[O,O]}", "allOf", a, b);
}

/* The list or object, or NULL when something is missing from it. */
static json_t *if_whole(json_t *of, bool whole)
{
    if (whole)
        return of;
    json_decref(of);
    return NULL;
}

/* Jansson's own copy leaves out what there is no memory for. */
json_t *md_schema_copy(json_t *of)
{
    json_t *copy = json_copy(of);
    return if_whole(copy,
                    json_object_size(copy) == json_object_size(of) && json_array_size(copy) == json_array_size(of));
}

/* ---- properties ---- */

/* Adds the properties of `from` to `to`, each together with what `other`, the schema on the other side, says about it. */
static bool join_properties(json_t *to, const json_t *from, const json_t *other)
{
    const json_t *named = json_object_get(other, "properties");
    json_t *rest = json_object_get(other, "additionalProperties");
    const char *name;
    json_t *v;
    json_object_foreach(json_object_get(from, "properties"), name, v)
    {
        json_t *theirs = json_object_get(named, name);
        theirs = theirs ? theirs : rest ? rest : json_true();
        if (!json_object_get(to, name) && json_object_set_new(to, name, both_of(v, theirs)) != 0)
            return false;
    }
    return true;
}

/* Required names of both, each once. */
static bool join_required(json_t *to, const json_t *from)
{
    for (size_t i = 0; i < json_array_size(from); i++) {
        json_t *v = json_array_get(from, i);
        size_t k = 0;
        while (k < json_array_size(to) && !json_equal(json_array_get(to, k), v))
            k++;
        if (k == json_array_size(to) && json_array_append(to, v) != 0)
            return false;
    }
    return true;
}

static bool merge_objects(json_t *out, json_t *a, json_t *b)
{
    bool ok = true;
    if (json_object_get(a, "properties") || json_object_get(b, "properties")) {
        json_t *named = json_object();
        ok &= join_properties(named, a, b) && join_properties(named, b, a);
        ok &= json_object_set_new(out, "properties", named) == 0;
    }
    if (json_object_get(a, "required") || json_object_get(b, "required")) {
        json_t *required = json_array();
        ok &= join_required(required, json_object_get(a, "required"));
        ok &= join_required(required, json_object_get(b, "required"));
        ok &= json_object_set_new(out, "required", required) == 0;
    }
    json_t *x = json_object_get(a, "additionalProperties"), *y = json_object_get(b, "additionalProperties");
    if (x && y)
        ok &= json_object_set_new(out, "additionalProperties",
                                  md_schema_impossible(x) || md_schema_impossible(y) ? json_false() : both_of(x, y)) ==
              0;
    return ok;
}

/* ---- single keywords ---- */

static bool is_one_of(const char *name, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(name, list[i]) == 0)
            return true;
    return false;
}

/* The values that are in both lists. NULL: memory is out. */
static json_t *common_values(const json_t *a, const json_t *b)
{
    json_t *out = json_array();
    bool whole = true;
    for (size_t i = 0; i < json_array_size(a); i++)
        for (size_t k = 0; k < json_array_size(b); k++)
            if (json_equal(json_array_get(a, i), json_array_get(b, k))) {
                whole &= json_array_append(out, json_array_get(a, i)) == 0;
                break;
            }
    return if_whole(out, whole);
}

/* NULL: memory is out. */
static json_t *common_types(const json_t *a, const json_t *b)
{
    static const char *const names[] = {"object", "array", "string", "number", "integer", "boolean", "null"};
    const unsigned both = md_schema_types(a, false) & md_schema_types(b, false);
    json_t *out = json_array();
    bool whole = true;
    for (unsigned i = 0; i < 7; i++) {
        if (i == 4 && (both & MD_TYPE_NUMBER))
            continue;
        if (both & 1u << i)
            whole &= json_array_append_new(out, json_string(names[i])) == 0;
    }
    return if_whole(out, whole);
}

/* Keyword `name`, which both have with different values. *possible: false if nothing fits both. */
static md_status merge_keyword(json_t *out, const char *name, json_t *a, json_t *b, const char *path, bool *possible,
                               md_error *err)
{
    static const char *const greater[] = {"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"};
    static const char *const smaller[] = {"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"};
    static const char *const done[] = {"properties", "required", "additionalProperties", "type"};
    json_t *x = json_object_get(a, name), *y = json_object_get(b, name), *v = NULL;
    if (is_one_of(name, done, sizeof done / sizeof *done))
        return MD_OK;
    if (is_one_of(name, greater, sizeof greater / sizeof *greater))
        v = json_incref(json_number_value(x) > json_number_value(y) ? x : y);
    else if (is_one_of(name, smaller, sizeof smaller / sizeof *smaller))
        v = json_incref(json_number_value(x) < json_number_value(y) ? x : y);
    else if (strcmp(name, "enum") == 0)
        *possible &= json_array_size(v = common_values(x, y)) > 0;
    else if (strcmp(name, "items") == 0 && !json_is_array(x) && !json_is_array(y) &&
             !json_object_get(a, "prefixItems") && !json_object_get(b, "prefixItems"))
        v = both_of(x, y);
    else
        return md_schema_refuse(name, path, "two of them must hold at once", err);
    return v && json_object_set_new(out, name, v) == 0 ? MD_OK : md_fail_memory(err, "a grammar");
}

static md_status merge_into(json_t *out, json_t *a, json_t *b, const char *path, bool *possible, md_error *err)
{
    const char *name;
    json_t *v;
    const bool places = json_object_get(a, "prefixItems") || json_object_get(b, "prefixItems");
    json_object_foreach(b, name, v)
    {
        json_t *mine = json_object_get(a, name);
        const bool about_items = strcmp(name, "items") == 0 || strcmp(name, "prefixItems") == 0;
        if (about_items && places && !mine && (json_object_get(a, "items") || json_object_get(a, "prefixItems")))
            return md_schema_refuse(name, path, "it must hold together with other conditions on items by place", err);
        if (!mine && json_object_set(out, name, v) != 0)
            return md_fail_memory(err, "a grammar");
        if (mine && !json_equal(mine, v))
            MD_TRY(merge_keyword(out, name, a, b, path, possible, err));
    }
    if (json_object_get(a, "type") || json_object_get(b, "type")) {
        json_t *types = common_types(a, b);
        *possible &= json_array_size(types) > 0;
        if (json_object_set_new(out, "type", types) != 0)
            return md_fail_memory(err, "a grammar");
    }
    return merge_objects(out, a, b) ? MD_OK : md_fail_memory(err, "a grammar");
}

md_status md_schema_merge(json_t *a, json_t *b, const char *path, json_t **out, md_error *err)
{
    *out = NULL;
    if (json_object_size(a) == 0 || json_object_size(b) == 0) {
        *out = json_incref(json_object_size(a) == 0 ? b : a);
        return MD_OK;
    }
    json_t *merged = md_schema_copy(a);
    bool possible = true;
    const md_status status = merged ? merge_into(merged, a, b, path, &possible, err) : md_fail_memory(err, "a grammar");
    if (status == MD_OK && possible)
        *out = merged;
    else
        json_decref(merged);
    return status;
}

/* ---- apart ---- */

static bool requires(const json_t *flat, const char *name)
{
    const json_t *required = json_object_get(flat, "required");
    for (size_t i = 0; i < json_array_size(required); i++)
        if (json_is_string(json_array_get(required, i)) &&
            strcmp(json_string_value(json_array_get(required, i)), name) == 0)
            return true;
    return false;
}

/* Can the grammar for this object make a property of that name? */
static bool may_make(const json_t *flat, const char *name)
{
    const json_t *rest = json_object_get(flat, "additionalProperties"), *named = json_object_get(flat, "properties");
    const json_t *v = json_object_get(named, name);
    if (v)
        return !md_schema_impossible(v);
    return requires(flat, name) || (rest ? !md_schema_impossible(rest) : !named && !json_object_get(flat, "required"));
}

/* Are two subschemas apart, so that a property both know, and a always has, tells them apart? */
static md_status values_apart(const md_schema *s, json_t *a, json_t *b, int depth, bool *apart, md_error *err)
{
    *apart = false;
    if (depth >= LOOK_DEPTH)
        return MD_OK;
    json_t *x = json_array(), *y = json_array();
    md_status status = x && y ? md_schema_flatten(s, a, "#", 0, x, NULL) : MD_ERR_MEMORY;
    if (status == MD_OK)
        status = md_schema_flatten(s, b, "#", 0, y, NULL);
    if (status == MD_OK)
        status = md_schema_all_apart(s, x, y, depth + 1, apart, err);
    else if (status == MD_ERR_MEMORY)
        status = md_fail_memory(err, "a grammar");
    else
        status = MD_OK; /* what cannot be made into a grammar is not known to be apart */
    json_decref(x);
    json_decref(y);
    return status;
}

static md_status objects_apart(const md_schema *s, json_t *a, json_t *b, int depth, bool *apart, md_error *err)
{
    *apart = true;
    const json_t *wanted = json_object_get(b, "required"), *given = json_object_get(a, "required");
    json_t *rest = json_object_get(b, "additionalProperties");
    for (size_t i = 0; i < json_array_size(wanted); i++) {
        const char *name = json_string_value(json_array_get(wanted, i));
        if (name && !may_make(a, name))
            return MD_OK;
    }
    for (size_t i = 0; i < json_array_size(given); i++) {
        const char *name = json_string_value(json_array_get(given, i));
        json_t *x = name ? json_object_get(json_object_get(a, "properties"), name) : NULL;
        json_t *y = name ? json_object_get(json_object_get(b, "properties"), name) : NULL;
        y = y ? y : rest;
        if (!name || !y)
            continue;
        *apart = md_schema_impossible(y);
        if (x && !*apart)
            MD_TRY(values_apart(s, x, y, depth, apart, err));
        if (*apart)
            return MD_OK;
    }
    *apart = false;
    return MD_OK;
}

static md_status schemas_apart(const md_schema *s, json_t *a, json_t *b, int depth, bool *apart, md_error *err)
{
    const unsigned made = md_schema_types(a, true), fits = md_schema_types(b, false);
    *apart = (made & fits) == 0;
    if (*apart)
        return MD_OK;
    json_t *x = json_object_get(a, "enum"), *y = json_object_get(b, "enum");
    if (x && y) {
        json_t *common = common_values(x, y);
        if (!common)
            return md_fail_memory(err, "a grammar");
        *apart = json_array_size(common) == 0;
        json_decref(common);
    }
    if (!*apart && made == MD_TYPE_OBJECT && !x)
        return objects_apart(s, a, b, depth, apart, err);
    return MD_OK;
}

md_status md_schema_all_apart(const md_schema *s, json_t *a, json_t *b, int depth, bool *apart, md_error *err)
{
    *apart = true;
    for (size_t i = 0; i < json_array_size(a) && *apart; i++)
        for (size_t k = 0; k < json_array_size(b) && *apart; k++)
            MD_TRY(schemas_apart(s, json_array_get(a, i), json_array_get(b, k), depth, apart, err));
    return MD_OK;
}
