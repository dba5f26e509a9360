/* SPDX-License-Identifier: Apache-2.0
 *
 * $ref, allOf, anyOf and oneOf multiplied out, and every keyword looked at: what changes the meaning and is not honoured
 * is refused by name here. Works on one level; subschemas stay as they are until their rule is made. */
#include "text/schema.h"

#include "base/status.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum keyword_kind { KEEP, NOTE, COMBINE, REFUSE } keyword_kind;

/* Everything the specifications define, and what else is known to be harmless. Others are refused: a slip of the pen
 * would be, too. */
static const struct {
    const char *name;
    keyword_kind kind;
} keyword[] = {
    {"type", KEEP},
    {"enum", KEEP},
    {"properties", KEEP},
    {"required", KEEP},
    {"additionalProperties", KEEP},
    {"minProperties", KEEP},
    {"maxProperties", KEEP},
    {"items", KEEP},
    {"prefixItems", KEEP},
    {"additionalItems", KEEP},
    {"minItems", KEEP},
    {"maxItems", KEEP},
    {"minLength", KEEP},
    {"maxLength", KEEP},
    {"pattern", KEEP},
    {"format", KEEP},
    {"minimum", KEEP},
    {"maximum", KEEP},
    {"exclusiveMinimum", KEEP},
    {"exclusiveMaximum", KEEP},
    {"const", COMBINE},
    {"$ref", COMBINE},
    {"allOf", COMBINE},
    {"anyOf", COMBINE},
    {"oneOf", COMBINE},
    {"$schema", NOTE},
    {"$comment", NOTE},
    {"$defs", NOTE},
    {"definitions", NOTE},
    {"title", NOTE},
    {"description", NOTE},
    {"default", NOTE},
    {"examples", NOTE},
    {"example", NOTE},
    {"deprecated", NOTE},
    {"readOnly", NOTE},
    {"writeOnly", NOTE},
    {"contentEncoding", NOTE},
    {"contentMediaType", NOTE},
    {"contentSchema", NOTE},
};

static keyword_kind kind_of(const char *name)
{
    for (size_t i = 0; i < sizeof keyword / sizeof *keyword; i++)
        if (strcmp(keyword[i].name, name) == 0)
            return keyword[i].kind;
    return strncmp(name, "x-", 2) == 0 ? NOTE : REFUSE;
}

/* Keywords whose harmless value says nothing. */
static bool says_nothing(const char *name, const json_t *v)
{
    return (strcmp(name, "uniqueItems") == 0 && json_is_false(v)) ||
           (strcmp(name, "multipleOf") == 0 && json_is_integer(v) && json_integer_value(v) == 1) ||
           (strcmp(name, "unevaluatedProperties") == 0 && json_is_true(v)) ||
           (strcmp(name, "unevaluatedItems") == 0 && json_is_true(v)) ||
           ((strcmp(name, "patternProperties") == 0 || strcmp(name, "dependentRequired") == 0) && json_is_object(v) &&
            json_object_size(v) == 0);
}

/* ---- $ref ---- */

/* One step of a JSON pointer (RFC 6901 in a URI fragment); decodes into `name`. Returns what follows. */
static const char *next_step(const char *p, char *name, size_t room)
{
    size_t n = 0;
    for (; *p && *p != '/'; p++) {
        char c = *p;
        unsigned hex;
        if (c == '%' && p[1] && p[2] && sscanf(p + 1, "%2x", &hex) == 1) {
            c = (char)hex;
            p += 2;
        } else if (c == '~' && (p[1] == '0' || p[1] == '1')) {
            c = p[1] == '0' ? '~' : '/';
            p++;
        }
        if (n + 1 < room)
            name[n++] = c;
    }
    name[n] = '\0';
    return p;
}

static md_status resolve(const md_schema *s, const json_t *ref, const char *path, json_t **out, md_error *err)
{
    const char *p = json_string_value(ref);
    MD_FAIL_IF(!p, MD_ERR_FORMAT, "'$ref' at %s wants a string", path);
    MD_FAIL_IF(p[0] != '#' || (p[1] && p[1] != '/'), MD_ERR_UNSUPPORTED,
               "'$ref' at %s leads to '%s': only places in the same schema, #/..., can be followed", path, p);
    json_t *at = s->root;
    for (p++; *p == '/' && at;) {
        char name[512];
        p = next_step(p + 1, name, sizeof name);
        if (json_is_array(at))
            at = json_array_get(at, strtoul(name, NULL, 10));
        else
            at = json_object_get(at, name);
    }
    MD_FAIL_IF(!at, MD_ERR_FORMAT, "'$ref' at %s leads to '%s', and there is nothing", path, json_string_value(ref));
    *out = at;
    return MD_OK;
}

/* ---- multiplying out ---- */

/* *alts becomes every pair of one of its schemas and one of `other`, merged; pairs that nothing fits are left out. */
static md_status multiply(json_t **alts, json_t *other, const char *path, md_error *err)
{
    json_t *out = json_array();
    md_status status = out ? MD_OK : md_fail_memory(err, "a grammar");
    for (size_t i = 0; i < json_array_size(*alts) && status == MD_OK; i++)
        for (size_t k = 0; k < json_array_size(other) && status == MD_OK; k++) {
            json_t *both = NULL;
            status = md_schema_merge(json_array_get(*alts, i), json_array_get(other, k), path, &both, err);
            if (status == MD_OK && both && json_array_append_new(out, both) != 0)
                status = md_fail_memory(err, "a grammar");
            if (status == MD_OK && json_array_size(out) > MD_SCHEMA_ALT_MAX)
                status = md_fail(err, MD_ERR_LIMIT, "the schema at %s comes to more than %d alternatives", path,
                                 MD_SCHEMA_ALT_MAX);
        }
    if (status == MD_OK) {
        json_decref(*alts);
        *alts = out;
    } else {
        json_decref(out);
    }
    return status;
}

static md_status by_schema(const md_schema *s, json_t *schema, const char *path, int depth, json_t **alts,
                           md_error *err)
{
    json_t *other = json_array();
    if (!other)
        return md_fail_memory(err, "a grammar");
    md_status status = md_schema_flatten(s, schema, path, depth + 1, other, err);
    if (status == MD_OK)
        status = multiply(alts, other, path, err);
    json_decref(other);
    return status;
}

/* Nothing that the grammar makes for one branch of a oneOf may fit another one. */
static md_status check_apart(const md_schema *s, json_t *branches, const char *path, int depth, md_error *err)
{
    const size_t n = json_array_size(branches);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n; k++) {
            bool apart = true;
            if (i != k)
                MD_TRY(md_schema_all_apart(s, json_array_get(branches, i), json_array_get(branches, k), depth, &apart,
                                           err));
            MD_FAIL_IF(!apart, MD_ERR_UNSUPPORTED,
                       "the JSON Schema keyword 'oneOf' at %s: a value could fit alternatives %zu and %zu at once; use "
                       "anyOf, or give them a required property with different constants",
                       path, i + 1, k + 1);
        }
    return MD_OK;
}

/* anyOf and oneOf: the alternatives of all branches, each merged with what *alts has. */
static md_status by_branches(const md_schema *s, json_t *list, bool one, const char *path, int depth, json_t **alts,
                             md_error *err)
{
    json_t *all = json_array(), *branches = json_array(), *v;
    md_status status = all && branches ? MD_OK : md_fail_memory(err, "a grammar");
    size_t i;
    json_array_foreach(list, i, v)
    {
        if (status != MD_OK)
            break;
        json_t *branch = md_schema_copy(*alts); /* a list of the same schemas */
        status = branch ? by_schema(s, v, path, depth, &branch, err) : md_fail_memory(err, "a grammar");
        if (status == MD_OK && json_array_extend(all, branch) != 0)
            status = md_fail_memory(err, "a grammar");
        if (json_array_append_new(branches, branch) != 0 && status == MD_OK)
            status = md_fail_memory(err, "a grammar");
        if (status == MD_OK && json_array_size(all) > MD_SCHEMA_ALT_MAX)
            status = md_fail(err, MD_ERR_LIMIT, "the schema at %s comes to more than %d alternatives", path,
                             MD_SCHEMA_ALT_MAX);
    }
    if (status == MD_OK && one)
        status = check_apart(s, branches, path, depth, err);
    json_decref(branches);
    if (status == MD_OK) {
        json_decref(*alts);
        *alts = all;
    } else {
        json_decref(all);
    }
    return status;
}

static md_status combine(const md_schema *s, json_t *schema, const char *path, int depth, json_t **alts, md_error *err)
{
    static const char *const lists[] = {"allOf", "anyOf", "oneOf"};
    json_t *ref = json_object_get(schema, "$ref"), *target;
    if (ref) {
        MD_TRY(resolve(s, ref, path, &target, err));
        MD_TRY(by_schema(s, target, path, depth, alts, err));
    }
    for (int l = 0; l < 3; l++) {
        json_t *list = json_object_get(schema, lists[l]);
        if (!list)
            continue;
        MD_FAIL_IF(!json_is_array(list) || json_array_size(list) == 0, MD_ERR_FORMAT,
                   "'%s' at %s wants a list of schemas", lists[l], path);
        for (size_t i = 0; l == 0 && i < json_array_size(list); i++)
            MD_TRY(by_schema(s, json_array_get(list, i), path, depth, alts, err));
        if (l > 0)
            MD_TRY(by_branches(s, list, l == 2, path, depth, alts, err));
    }
    return MD_OK;
}

/* The keywords that stay; const becomes an enum of one. */
static md_status base_of(const md_schema *s, json_t *schema, const char *path, json_t *base, md_error *err)
{
    const char *name;
    json_t *v;
    bool stored = true;
    json_object_foreach(schema, name, v)
    {
        const keyword_kind kind = kind_of(name);
        const bool root_id = (strcmp(name, "$id") == 0 || strcmp(name, "id") == 0) && schema == s->root;
        if (kind == REFUSE && !root_id && !says_nothing(name, v))
            return md_schema_refuse(name, path, "leave it out, or write a grammar", err);
        if (kind == KEEP)
            stored &= json_object_set(base, name, v) == 0;
    }
    json_t *constant = json_object_get(schema, "const"), *list = json_object_get(schema, "enum");
    MD_FAIL_IF(list && !json_is_array(list), MD_ERR_FORMAT, "'enum' at %s wants a list", path);
    if (constant) {
        json_t *one = json_array();
        size_t i = 0;
        while (i < json_array_size(list) && !json_equal(json_array_get(list, i), constant))
            i++;
        if (!list || i < json_array_size(list))
            stored &= json_array_append(one, constant) == 0;
        stored &= json_object_set_new(base, "enum", one) == 0;
    }
    return stored ? MD_OK : md_fail_memory(err, "a grammar");
}

md_status md_schema_flatten(const md_schema *s, json_t *schema, const char *path, int depth, json_t *out, md_error *err)
{
    if (json_is_false(schema))
        return MD_OK;
    MD_FAIL_IF(!json_is_true(schema) && !json_is_object(schema), MD_ERR_FORMAT,
               "a schema is an object, true or false, and at %s there is something else", path);
    MD_FAIL_IF(depth > MD_SCHEMA_DEPTH, MD_ERR_LIMIT,
               "the schema at %s leads through more than %d of $ref, allOf, anyOf and oneOf, or to itself", path,
               MD_SCHEMA_DEPTH);
    json_t *alts = json_array(), *base = json_object();
    md_status status = alts && base ? MD_OK : md_fail_memory(err, "a grammar");
    if (status == MD_OK)
        status = base_of(s, schema, path, base, err);
    if (json_array_append_new(alts, base) != 0 && status == MD_OK)
        status = md_fail_memory(err, "a grammar");
    if (status == MD_OK)
        status = combine(s, schema, path, depth, &alts, err);
    if (status == MD_OK && json_array_extend(out, alts) != 0)
        status = md_fail_memory(err, "a grammar");
    json_decref(alts);
    return status;
}

bool md_schema_impossible(const json_t *schema)
{
    if (json_is_false(schema))
        return true;
    const json_t *all = json_object_get(schema, "allOf");
    for (size_t i = 0; i < json_array_size(all); i++)
        if (json_is_false(json_array_get(all, i)))
            return true;
    return false;
}

/* ---- types ---- */

unsigned md_schema_type_of_value(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT: return MD_TYPE_OBJECT;
    case JSON_ARRAY: return MD_TYPE_ARRAY;
    case JSON_STRING: return MD_TYPE_STRING;
    case JSON_INTEGER: return MD_TYPE_INTEGER;
    case JSON_REAL:
        return json_real_value(value) == nearbyint(json_real_value(value)) ? MD_TYPE_INTEGER : MD_TYPE_NUMBER;
    case JSON_TRUE:
    case JSON_FALSE: return MD_TYPE_BOOLEAN;
    case JSON_NULL: return MD_TYPE_NULL;
    }
    return 0;
}

static unsigned type_named(const json_t *name)
{
    static const char *const names[] = {"object", "array", "string", "number", "integer", "boolean", "null"};
    for (unsigned i = 0; i < 7; i++)
        if (json_is_string(name) && strcmp(json_string_value(name), names[i]) == 0)
            return i == 3 ? MD_TYPE_NUMBER | MD_TYPE_INTEGER : 1u << i;
    return 0;
}

/* The types that the keywords of a schema are about. */
static unsigned types_meant(const json_t *flat)
{
    static const struct {
        const char *name;
        unsigned type;
    } about[] = {
        {"properties", MD_TYPE_OBJECT},
        {"required", MD_TYPE_OBJECT},
        {"additionalProperties", MD_TYPE_OBJECT},
        {"minProperties", MD_TYPE_OBJECT},
        {"maxProperties", MD_TYPE_OBJECT},
        {"items", MD_TYPE_ARRAY},
        {"prefixItems", MD_TYPE_ARRAY},
        {"minItems", MD_TYPE_ARRAY},
        {"maxItems", MD_TYPE_ARRAY},
        {"minLength", MD_TYPE_STRING},
        {"maxLength", MD_TYPE_STRING},
        {"pattern", MD_TYPE_STRING},
        {"format", MD_TYPE_STRING},
        {"minimum", MD_TYPE_NUMBER | MD_TYPE_INTEGER},
        {"maximum", MD_TYPE_NUMBER | MD_TYPE_INTEGER},
        {"exclusiveMinimum", MD_TYPE_NUMBER | MD_TYPE_INTEGER},
        {"exclusiveMaximum", MD_TYPE_NUMBER | MD_TYPE_INTEGER},
    };
    unsigned types = 0;
    for (size_t i = 0; i < sizeof about / sizeof *about; i++)
        if (json_object_get(flat, about[i].name))
            types |= about[i].type;
    return types ? types : MD_TYPE_ALL;
}

unsigned md_schema_types(const json_t *flat, bool meant)
{
    const json_t *type = json_object_get(flat, "type"), *list = json_object_get(flat, "enum");
    unsigned types = type ? type_named(type) : meant && !list ? types_meant(flat) : MD_TYPE_ALL;
    for (size_t i = 0; i < json_array_size(type); i++)
        types |= type_named(json_array_get(type, i));
    unsigned listed = list ? 0 : MD_TYPE_ALL;
    for (size_t i = 0; i < json_array_size(list); i++)
        listed |= md_schema_type_of_value(json_array_get(list, i));
    return types & listed;
}
