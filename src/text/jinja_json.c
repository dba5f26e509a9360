/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON both ways: `tojson` writes as Python's json.dumps does (no HTML escaping, non-ASCII as it is unless asked), and
 * the caller's JSON becomes values whose every byte is MESSAGE. */
#include "text/jinja_run.h"

#include "text/json_load.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- writing ---- */

typedef struct style {
    bool ascii, sorted, indented;
    const md_jstr *indent, *item, *key; /* what goes in front of each level, between items, behind keys */
} style;

static md_status put_value(md_jrun *r, md_jout *o, const style *st, md_jval v, int depth);

static void put_escape(md_jout *o, uint32_t cp, unsigned char from)
{
    char text[16];
    if (cp >= 0x10000)
        snprintf(text, sizeof text, "\\u%04" PRIx32 "\\u%04" PRIx32, 0xd800 + ((cp - 0x10000) >> 10),
                 0xdc00 + ((cp - 0x10000) & 0x3ff));
    else
        snprintf(text, sizeof text, "\\u%04" PRIx32, cp);
    md_jout_puts(o, text, from);
}

static void put_string(md_jout *o, const style *st, const md_jstr *s)
{
    static const char plain[] = "\"\\\n\r\t\f\b", name[] = "\"\\nrtfb";
    const unsigned char from = md_jstr_from(s);
    md_jout_bytes(o, "\"", 1, from);
    for (size_t at = 0, start = 0; at <= s->n && !o->failed;) {
        const size_t len = at < s->n ? md_jpoint_len(s->s + at, s->n - at) : 0;
        const uint32_t cp = len ? md_jpoint(s->s + at, len) : 0;
        const char *special = len && cp && cp < 0x80 ? strchr(plain, (int)cp) : NULL;
        const bool escape = len && (cp < 0x20 || (st->ascii && cp > 0x7e));
        if (len && !special && !escape) {
            at += len;
            continue;
        }
        md_jout_part(o, s, start, at - start);
        if (special)
            md_jout_bytes(o, (char[]){'\\', name[special - plain]}, 2, md_jstr_mark(s, at));
        else if (escape)
            put_escape(o, cp, md_jstr_mark(s, at));
        at += len ? len : 1;
        start = at;
    }
    md_jout_bytes(o, "\"", 1, from);
}

static void put_break(md_jout *o, const style *st, int depth)
{
    if (!st->indented)
        return;
    md_jout_bytes(o, "\n", 1, MD_SEGMENT_TEMPLATE);
    for (int i = 0; i < depth && !o->failed; i++)
        md_jout_str(o, st->indent);
}

static md_status put_list(md_jrun *r, md_jout *o, const style *st, const md_jlist *l, int depth)
{
    md_jout_puts(o, l->n ? "[" : "[]", MD_SEGMENT_TEMPLATE);
    for (size_t i = 0; i < l->n; i++) {
        if (i)
            md_jout_str(o, st->item);
        put_break(o, st, depth + 1);
        MD_TRY(put_value(r, o, st, l->item[i], depth + 1));
    }
    if (l->n) {
        put_break(o, st, depth);
        md_jout_puts(o, "]", MD_SEGMENT_TEMPLATE);
    }
    return MD_OK;
}

/* Keys become strings as json.dumps makes them. */
static md_status put_key(md_jrun *r, md_jout *o, const style *st, md_jval key)
{
    char text[MD_J_FLOAT_ROOM];
    if (key.kind == MD_J_STR) {
        put_string(o, st, key.u.str);
        return MD_OK;
    }
    if (key.kind == MD_J_FLOAT)
        md_jfloat_text(key.u.f, text);
    else if (key.kind == MD_J_INT)
        snprintf(text, sizeof text, "%" PRId64, key.u.i);
    else if (key.kind == MD_J_BOOL || key.kind == MD_J_NONE)
        snprintf(text, sizeof text, "%s", key.kind == MD_J_NONE ? "null" : key.u.b ? "true" : "false");
    else
        return md_jfail(r, MD_ERR_FORMAT, "a '%s' cannot be a key in JSON", md_jtype_name(key));
    md_jout_bytes(o, "\"", 1, key.from);
    md_jout_puts(o, text, key.from);
    md_jout_bytes(o, "\"", 1, key.from);
    return MD_OK;
}

/* Keys of one dict, sorted if asked. Mixed kinds have no order. */
static md_status key_order(md_jrun *r, const style *st, const md_jdict *d, md_jlist **keys)
{
    MD_TRY(md_jdict_list(r, d, MD_J_PLAIN, keys));
    if (!st->sorted)
        return MD_OK;
    static const md_jstr sort = {.s = "sort", .n = 4}, name = {.s = "case_sensitive", .n = 14};
    const md_jstr *const names[] = {&name};
    const md_jval yes = md_jbool(true);
    md_jcall c = {.self = md_jseq(*keys), .name = names, .named = &yes, .n_named = 1};
    md_jval sorted;
    MD_TRY(md_jcall_filter(r, md_jtext(&sort), &c, &sorted));
    *keys = sorted.u.list;
    return MD_OK;
}

static md_status put_dict(md_jrun *r, md_jout *o, const style *st, md_jdict *d, int depth)
{
    md_jlist *keys;
    MD_TRY(key_order(r, st, d, &keys));
    md_jout_puts(o, d->n ? "{" : "{}", MD_SEGMENT_TEMPLATE);
    for (size_t i = 0; i < keys->n; i++) {
        md_jval *value;
        if (i)
            md_jout_str(o, st->item);
        put_break(o, st, depth + 1);
        MD_TRY(put_key(r, o, st, keys->item[i]));
        md_jout_str(o, st->key);
        MD_TRY(md_jdict_get(r, d, keys->item[i], &value));
        if (value)
            MD_TRY(put_value(r, o, st, *value, depth + 1));
    }
    if (d->n) {
        put_break(o, st, depth);
        md_jout_puts(o, "}", MD_SEGMENT_TEMPLATE);
    }
    return MD_OK;
}

static void put_number(md_jout *o, md_jval v)
{
    char text[MD_J_FLOAT_ROOM];
    if (v.kind == MD_J_INT)
        snprintf(text, sizeof text, "%" PRId64, v.u.i);
    else if (isnan(v.u.f) || isinf(v.u.f))
        snprintf(text, sizeof text, "%s", isnan(v.u.f) ? "NaN" : v.u.f < 0 ? "-Infinity" : "Infinity");
    else
        md_jfloat_text(v.u.f, text);
    md_jout_puts(o, text, v.from);
}

static md_status put_value(md_jrun *r, md_jout *o, const style *st, md_jval v, int depth)
{
    MD_TRY(md_jcharge(r, 1));
    if (o->failed)
        return r->status;
    if (depth > MD_J_MAX_VALUE_DEPTH)
        return md_jfail(r, MD_ERR_LIMIT, "a value for JSON is nested more than %d levels deep, or contains itself",
                        MD_J_MAX_VALUE_DEPTH);
    switch ((enum md_jkind)v.kind) {
    case MD_J_NONE: md_jout_puts(o, "null", v.from); return MD_OK;
    case MD_J_BOOL: md_jout_puts(o, v.u.b ? "true" : "false", v.from); return MD_OK;
    case MD_J_INT:
    case MD_J_FLOAT: put_number(o, v); return MD_OK;
    case MD_J_STR: put_string(o, st, v.u.str); return MD_OK;
    case MD_J_LIST: return put_list(r, o, st, v.u.list, depth);
    case MD_J_DICT: return put_dict(r, o, st, v.u.dict, depth);
    case MD_J_UNDEFINED: return md_jfail_undefined(r, v);
    default: return md_jfail(r, MD_ERR_FORMAT, "a '%s' cannot be written as JSON", md_jtype_name(v));
    }
}

/* indent=: none, a string, or a number of spaces. */
static md_status read_indent(md_jrun *r, const md_jval *arg, style *st)
{
    int64_t width = 0;
    if (!arg || arg->kind == MD_J_NONE)
        return MD_OK;
    st->indented = true;
    if (arg->kind == MD_J_STR) {
        st->indent = arg->u.str;
        return MD_OK;
    }
    MD_TRY(md_jarg_int(r, arg, "the filter tojson", &width));
    md_jout o = md_jout_new(r);
    md_jout_fill(&o, ' ', width > 0 ? (size_t)width : 0, MD_SEGMENT_TEMPLATE);
    st->indent = md_jout_finish(&o, false);
    return st->indent ? MD_OK : r->status;
}

static md_status read_separators(md_jrun *r, const md_jval *arg, style *st)
{
    static const md_jstr comma = {.s = ", ", .n = 2}, bare = {.s = ",", .n = 1}, colon = {.s = ": ", .n = 2};
    st->item = st->indented ? &bare : &comma;
    st->key = &colon;
    if (!arg || arg->kind == MD_J_NONE)
        return MD_OK;
    if (arg->kind != MD_J_LIST || arg->u.list->n != 2)
        return md_jfail(r, MD_ERR_FORMAT, "separators of the filter tojson are two strings");
    MD_TRY(md_jarg_str(r, &arg->u.list->item[0], "the filter tojson", &st->item));
    return md_jarg_str(r, &arg->u.list->item[1], "the filter tojson", &st->key);
}

md_status md_jto_json(md_jrun *r, const md_jcall *c, md_jval *out)
{
    style st = {.ascii = md_jarg_true(c->arg[0]), .sorted = md_jarg_true(c->arg[3])};
    MD_TRY(read_indent(r, c->arg[1], &st));
    MD_TRY(read_separators(r, c->arg[2], &st));
    md_jout o = md_jout_new(r);
    MD_TRY(put_value(r, &o, &st, c->self, 0));
    const md_jstr *s = md_jout_finish(&o, true);
    *out = md_jtext(s);
    return s ? MD_OK : r->status;
}

/* ---- reading ---- */

static md_status to_value(md_jrun *r, json_t *j, int depth, md_jval *out);

static md_status text_value(md_jrun *r, const char *s, size_t n, md_jval *out)
{
    const md_jstr *str = md_jstr_new(r, s, n, MD_SEGMENT_MESSAGE);
    *out = md_jtext(str);
    return str ? MD_OK : r->status;
}

static md_status to_list(md_jrun *r, const json_t *j, int depth, md_jval *out)
{
    md_jlist *l = md_jlist_new(r, json_array_size(j), MD_J_PLAIN);
    if (!l)
        return r->status;
    for (size_t i = 0; i < json_array_size(j); i++) {
        md_jval v;
        MD_TRY(to_value(r, json_array_get(j, i), depth + 1, &v));
        MD_TRY(md_jlist_push(r, l, v));
    }
    *out = md_jseq(l);
    return MD_OK;
}

static md_status to_dict(md_jrun *r, json_t *j, int depth, md_jval *out)
{
    md_jdict *d = md_jdict_new(r);
    if (!d)
        return r->status;
    for (void *it = json_object_iter(j); it; it = json_object_iter_next(j, it)) {
        md_jval key, v;
        MD_TRY(text_value(r, json_object_iter_key(it), json_object_iter_key_len(it), &key));
        MD_TRY(to_value(r, json_object_iter_value(it), depth + 1, &v));
        MD_TRY(md_jdict_set(r, d, key, v));
    }
    *out = md_jmap(d);
    return MD_OK;
}

static md_status to_value(md_jrun *r, json_t *j, int depth, md_jval *out)
{
    if (depth > MD_J_MAX_VALUE_DEPTH)
        return md_jfail(r, MD_ERR_LIMIT, "the variables' JSON is nested more than %d levels deep",
                        MD_J_MAX_VALUE_DEPTH);
    *out = md_jnone();
    switch (json_typeof(j)) {
    case JSON_OBJECT: return to_dict(r, j, depth, out);
    case JSON_ARRAY: return to_list(r, j, depth, out);
    case JSON_STRING: return text_value(r, json_string_value(j), json_string_length(j), out);
    case JSON_INTEGER: *out = md_jint(json_integer_value(j)); break;
    case JSON_REAL: *out = md_jfloat(json_real_value(j)); break;
    case JSON_TRUE:
    case JSON_FALSE: *out = md_jbool(json_typeof(j) == JSON_TRUE); break;
    case JSON_NULL: break;
    }
    out->from = MD_SEGMENT_MESSAGE;
    return MD_OK;
}

md_status md_jfrom_json(md_jrun *r, const char *json, md_jval *out)
{
    json_error_t why;
    bool no_memory;
    json_t *j = md_json_load(json, strlen(json), JSON_ALLOW_NUL, &why, &no_memory);
    if (no_memory) {
        r->status = MD_ERR_MEMORY;
        return md_fail_memory(r->err, "the variables for the template");
    }
    if (!j) {
        r->status = MD_ERR_ARGUMENT;
        return md_fail(r->err, MD_ERR_ARGUMENT, "the variables for the template are no JSON: line %d: %s", why.line,
                       why.text);
    }
    const md_status status = to_value(r, j, 0, out);
    json_decref(j);
    return status;
}
