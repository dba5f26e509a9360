/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects: the properties in the order of the schema, each once, those that are not required may be missing. Properties
 * that are not named come last, and only if additionalProperties asks for them; their keys are plain (nothing escaped)
 * and none of the named ones. */
#include "text/schema.h"

#include "base/status.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 200 /* of a property, where others may follow that must differ from it */

typedef struct property {
    const char *name; /* borrowed */
    size_t n;
    json_t *schema; /* borrowed */
    bool required;
    const char *rule; /* borrowed */
} property;

typedef struct object {
    md_schema *s;
    const char *path;
    property *property; /* owned, [n] those that can be given */
    size_t n;
    json_t *others;          /* borrowed; NULL: none are offered */
    const char *other_value; /* borrowed: rule of their values */
    char other_key[32];      /* rule of their keys */
} object;

/* ---- what there is ---- */

static bool is_required(const json_t *required, const char *name)
{
    size_t i;
    json_t *v;
    json_array_foreach(required, i, v)
    {
        if (json_is_string(v) && strcmp(json_string_value(v), name) == 0)
            return true;
    }
    return false;
}

static md_status add_property(object *o, const char *name, json_t *schema, bool required, md_error *err)
{
    if (md_schema_impossible(schema)) {
        MD_FAIL_IF(required, MD_ERR_FORMAT, "no object fits at %s: '%s' is required and cannot be there", o->path,
                   name);
        return MD_OK;
    }
    property *p = &o->property[o->n++];
    *p = (property){.name = name, .n = strlen(name), .schema = schema, .required = required};
    return md_schema_rule_of(o->s, schema, o->path, name, &p->rule, err);
}

static md_status gather(object *o, json_t *flat, md_error *err)
{
    json_t *named = json_object_get(flat, "properties"), *required = json_object_get(flat, "required");
    json_t *others = json_object_get(flat, "additionalProperties");
    if (!named && !required && !others) /* any object, and no names that others would have to differ from */
        others = json_true();
    MD_FAIL_IF(named && !json_is_object(named), MD_ERR_FORMAT, "'properties' at %s wants an object", o->path);
    MD_FAIL_IF(required && !json_is_array(required), MD_ERR_FORMAT, "'required' at %s wants a list", o->path);
    o->property = md_calloc(json_object_size(named) + json_array_size(required) + 1, sizeof *o->property);
    if (!o->property)
        return md_fail_memory(err, "a grammar");
    const char *name;
    json_t *v;
    size_t i;
    json_object_foreach(named, name, v)
    {
        MD_TRY(add_property(o, name, v, is_required(required, name), err));
    }
    json_array_foreach(required, i, v)
    {
        MD_FAIL_IF(!json_is_string(v), MD_ERR_FORMAT, "'required' at %s wants a list of names", o->path);
        bool known = json_object_get(named, json_string_value(v)) != NULL;
        for (size_t k = 0; k < o->n && !known; k++)
            known = strcmp(o->property[k].name, json_string_value(v)) == 0;
        if (!known)
            MD_TRY(add_property(o, json_string_value(v), others ? others : json_true(), true, err));
    }
    o->others = others && !md_schema_impossible(others) ? others : NULL;
    return MD_OK;
}

/* Counts of properties: honoured where they hold by themselves. */
static md_status check_counts(const object *o, const json_t *flat, md_error *err)
{
    int64_t least, most, n_required = 0;
    MD_TRY(md_schema_count(flat, "minProperties", 0, o->path, &least, err));
    MD_TRY(md_schema_count(flat, "maxProperties", INT64_MAX, o->path, &most, err));
    for (size_t i = 0; i < o->n; i++)
        n_required += o->property[i].required;
    if (least > n_required)
        return md_schema_refuse("minProperties", o->path, "it asks for more properties than are required", err);
    if (most < (int64_t)o->n || (most < INT64_MAX && o->others))
        return md_schema_refuse("maxProperties", o->path, "it allows fewer properties than there are", err);
    return MD_OK;
}

/* ---- keys that differ from those named ---- */

/* Names without characters that JSON escapes; others cannot be met, as these keys hold no escapes. */
static bool is_plain(const property *p)
{
    for (size_t i = 0; i < p->n; i++) {
        const unsigned char c = (unsigned char)p->name[i];
        if (c == '"' || c == '\\' || c < 0x20 || c == 0x7f)
            return false;
    }
    return true;
}

static int by_name(const void *pa, const void *pb)
{
    const property *const *a = pa, *const *b = pb;
    return strcmp((*a)->name, (*b)->name);
}

static size_t point_at(const property *p, size_t at, uint32_t *cp)
{
    const int len = md_utf8_decode(p->name + at, p->n - at, cp);
    return len > 0 ? (size_t)len : 1;
}

/* The rule `number` for what may follow the first `at` bytes that names[0..n), sorted, share: something that none of them
 * goes on with. Other rules are numbered from *next on. */
static void put_other_keys(object *o, property *const *names, size_t n, size_t at, size_t number, size_t *next)
{
    md_buf *out = &o->s->out;
    md_buf not_these = {0}, ways = {0}; /* names are valid UTF-8, so all characters differ where bytes do */
    const bool a_name_ends = n > 0 && names[0]->n == at;
    struct {
        size_t from, to, at, number;
    } *branch = md_calloc(n + 1, sizeof *branch);
    size_t n_branches = 0;
    for (size_t i = a_name_ends; i < n && branch;) {
        uint32_t cp, other;
        const size_t len = point_at(names[i], at, &cp);
        size_t end = i + 1;
        while (end < n && point_at(names[end], at, &other) && other == cp)
            end++;
        branch[n_branches].from = i;
        branch[n_branches].to = end;
        branch[n_branches].at = at + len;
        branch[n_branches].number = (*next)++;
        md_schema_put_point(&not_these, cp);
        md_buf_puts(&ways, " | [");
        md_schema_put_point(&ways, cp);
        md_buf_printf(&ways, "] key-%zu", branch[n_branches++].number);
        i = end;
    }
    md_buf_printf(out, "key-%zu ::= [^\\x00-\\x1F\\\"\\\\\\x7F%s] key-char*%s%s\n", number,
                  not_these.len ? not_these.data : "", ways.len ? ways.data : "", a_name_ends ? "" : " | \"\"");
    out->failed |= not_these.failed || ways.failed || !branch;
    md_buf_done(&not_these);
    md_buf_done(&ways);
    for (size_t i = 0; i < n_branches; i++)
        put_other_keys(o, names + branch[i].from, branch[i].to - branch[i].from, branch[i].at, branch[i].number, next);
    md_free(branch);
}

static md_status make_others(object *o, md_error *err)
{
    if (!o->others)
        return MD_OK;
    MD_TRY(md_schema_rule_of(o->s, o->others, o->path, "additionalProperties", &o->other_value, err));
    property **names = md_calloc(o->n + 1, sizeof(property *));
    if (!names)
        return md_fail_memory(err, "a grammar");
    size_t n = 0, longest = 0;
    for (size_t i = 0; i < o->n; i++)
        if (is_plain(&o->property[i])) {
            names[n++] = &o->property[i];
            longest = o->property[i].n > longest ? o->property[i].n : longest;
        }
    qsort(names, n, sizeof *names, by_name);
    const size_t number = o->s->n_helpers++;
    snprintf(o->other_key, sizeof o->other_key, "key-%zu", number);
    o->s->use |= MD_USE_KEY;
    if (longest <= NAME_MAX_BYTES)
        put_other_keys(o, names, n, 0, number, &o->s->n_helpers);
    md_free(names);
    if (longest > NAME_MAX_BYTES)
        return md_schema_refuse("additionalProperties", o->path, "a property has a name of more than 200 bytes", err);
    MD_FAIL_IF(o->s->n_helpers > 4 * (size_t)MD_SCHEMA_RULE_MAX, MD_ERR_LIMIT,
               "the schema needs more than %d rules for the keys of additionalProperties", 4 * MD_SCHEMA_RULE_MAX);
    return MD_OK;
}

/* ---- the expression ---- */

static md_status put_pair(const property *p, md_buf *out, md_error *err)
{
    json_t *name = json_string(p->name);
    const md_status status = name ? md_schema_put_json(out, name, err) : md_fail_memory(err, "a grammar");
    json_decref(name);
    md_buf_printf(out, " \":\" ws %s", p->rule);
    return status;
}

static void put_other_pair(const object *o, md_buf *out)
{
    md_buf_printf(out, "\"\\\"\" %s \"\\\":\" ws %s", o->other_key, o->other_value);
}

/* A property when others came before it. */
static md_status put_next(const property *p, md_buf *out, md_error *err)
{
    md_buf_puts(out, p->required ? " \",\" ws " : " (\",\" ws ");
    MD_TRY(put_pair(p, out, err));
    md_buf_puts(out, p->required ? "" : ")?");
    return MD_OK;
}

/* Properties from `first` on, when some came before. */
static md_status put_tail(const object *o, size_t first, md_buf *out, md_error *err)
{
    for (size_t i = first; i < o->n; i++)
        MD_TRY(put_next(&o->property[i], out, err));
    if (o->others) {
        md_buf_puts(out, " (\",\" ws ");
        put_other_pair(o, out);
        md_buf_puts(out, ")*");
    }
    return MD_OK;
}

/* Tails as rules of their own, so that several starts can share them: tail[i] is the number of that from property i on. */
static md_status make_tails(object *o, size_t *tail, size_t last, md_error *err)
{
    md_buf *out = &o->s->out;
    for (size_t i = last + 1; i-- > 1;) {
        tail[i] = o->s->n_helpers++;
        md_buf_printf(out, "tail-%zu ::= \"\"", tail[i]);
        if (i == last) {
            MD_TRY(put_tail(o, i, out, err));
        } else {
            MD_TRY(put_next(&o->property[i], out, err));
            md_buf_printf(out, " tail-%zu", tail[i + 1]);
        }
        md_buf_putc(out, '\n');
    }
    return MD_OK;
}

/* The object begins with its first required property or with any before that. */
static md_status put_members(object *o, md_buf *out, md_error *err)
{
    size_t first_required = 0;
    while (first_required < o->n && !o->property[first_required].required)
        first_required++;
    if (first_required == 0 && o->n > 0) {
        MD_TRY(put_pair(&o->property[0], out, err));
        return put_tail(o, 1, out, err);
    }
    const size_t last = first_required < o->n ? first_required + 1 : o->n; /* tails are needed from 1 to here */
    size_t *tail = md_calloc(o->n + 2, sizeof *tail);
    if (!tail)
        return md_fail_memory(err, "a grammar");
    md_status status = make_tails(o, tail, last, err);
    for (size_t i = 0; i < last && status == MD_OK; i++) {
        md_buf_puts(out, i ? " | " : "");
        status = put_pair(&o->property[i], out, err);
        md_buf_printf(out, " tail-%zu", tail[i + 1]);
    }
    if (o->others && first_required == o->n) {
        md_buf_puts(out, o->n ? " | " : "");
        put_other_pair(o, out);
        md_buf_puts(out, " (\",\" ws ");
        put_other_pair(o, out);
        md_buf_puts(out, ")*");
    }
    md_free(tail);
    return status;
}

static md_status put_object(object *o, json_t *flat, md_buf *out, md_error *err)
{
    MD_TRY(gather(o, flat, err));
    MD_TRY(check_counts(o, flat, err));
    MD_TRY(make_others(o, err));
    o->s->use |= MD_USE_WS;
    bool may_be_empty = true;
    for (size_t i = 0; i < o->n; i++)
        may_be_empty &= !o->property[i].required;
    md_buf_puts(out, "\"{\" ws ");
    if (o->n > 0 || o->others) {
        md_buf_puts(out, "((");
        MD_TRY(put_members(o, out, err));
        md_buf_puts(out, may_be_empty ? ") ws)? " : ") ws) ");
    }
    md_buf_puts(out, "\"}\"");
    return MD_OK;
}

md_status md_schema_object(md_schema *s, json_t *flat, const char *path, md_buf *out, md_error *err)
{
    object o = {.s = s, .path = path};
    const md_status status = put_object(&o, flat, out, err);
    md_free(o.property);
    return status;
}
