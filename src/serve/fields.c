/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/fields.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool refuse_type(md_refusal *r, const char *name, const char *want)
{
    return md_refuse(r, 400, "invalid_type", name, "'%s' must be %s", name, want);
}

static bool in_range(const md_field *f, double x)
{
    const bool low = f->open & MD_FIELD_OPEN_MIN ? x > f->min : x >= f->min;
    const bool high = f->open & MD_FIELD_OPEN_MAX ? x < f->max : x <= f->max;
    return low && high;
}

static bool read_number(const md_field *f, const json_t *v, const char *name, double *out, md_refusal *r)
{
    if (!json_is_number(v))
        return refuse_type(r, name, f->kind == MD_FIELD_FLOAT ? "a number" : "an integer");
    *out = json_number_value(v);
    if (f->kind == MD_FIELD_INT && *out != floor(*out))
        return refuse_type(r, name, "an integer");
    if (!in_range(f, *out))
        return md_refuse(r, 400, "out_of_range", name, "'%s' is %.9g, but must be %s %.9g and %s %.9g", name, *out,
                         f->open & MD_FIELD_OPEN_MIN ? "above" : "at least", f->min,
                         f->open & MD_FIELD_OPEN_MAX ? "below" : "at most", f->max);
    return true;
}

static bool store(const md_field *f, const json_t *v, void *base, const char *name, md_refusal *r)
{
    void *at = (char *)base + f->offset;
    double x;
    switch (f->kind) {
    case MD_FIELD_FLOAT:
        if (!read_number(f, v, name, &x, r))
            return false;
        *(float *)at = (float)x;
        return true;
    case MD_FIELD_INT:
        if (!read_number(f, v, name, &x, r))
            return false;
        *(int32_t *)at = (int32_t)x;
        return true;
    case MD_FIELD_SEED:
        if (!json_is_integer(v))
            return refuse_type(r, name, "an integer");
        *(uint64_t *)at = (uint64_t)json_integer_value(v);
        return true;
    case MD_FIELD_BOOL:
        if (!json_is_boolean(v))
            return refuse_type(r, name, "true or false");
        *(bool *)at = json_is_true(v);
        return true;
    case MD_FIELD_TEXT:
        if (!json_is_string(v))
            return refuse_type(r, name, "a string");
        *(const char **)at = json_string_value(v);
        return true;
    case MD_FIELD_VALUE: *(const json_t **)at = v; return true;
    case MD_FIELD_IGNORE: return true;
    default: return md_refuse(r, 400, "unsupported_field", name, "'%s' is not supported", name);
    }
}

bool md_field_read(const md_field *f, const json_t *value, void *base, const char *where, md_refusal *r)
{
    char name[sizeof r->param];
    snprintf(name, sizeof name, "%s%s", where, f->name);
    if (json_is_null(value))
        return true;
    return f->kind == MD_FIELD_CALL ? f->fn(base, name, value, r) : store(f, value, base, name, r);
}

bool md_fields_read(const json_t *object, const md_field *table, void *base, const char *where, md_refusal *r)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        const md_field *f = table;
        while (f->name && strcmp(f->name, key) != 0)
            f++;
        if (!f->name) {
            char name[sizeof r->param];
            snprintf(name, sizeof name, "%s%.64s", where, key);
            return md_refuse(r, 400, "unknown_field", name, "there is no field '%s' here", name);
        }
        if (!md_field_read(f, value, base, where, r))
            return false;
    }
    return true;
}

json_t *md_fields_parse(const char *body, size_t n, md_refusal *r)
{
    json_error_t why;
    json_t *root = json_loadb(n ? body : "", n, JSON_REJECT_DUPLICATES, &why);
    if (!root) {
        md_refuse(r, 400, "invalid_json", NULL, "the body is not JSON: line %d, column %d: %s", why.line, why.column,
                  why.text);
        return NULL;
    }
    if (!json_is_object(root)) {
        json_decref(root);
        md_refuse(r, 400, "invalid_type", NULL, "the body must be a JSON object");
        return NULL;
    }
    return root;
}
