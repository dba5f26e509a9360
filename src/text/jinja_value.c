/* SPDX-License-Identifier: Apache-2.0
 *
 * Values that are not text: memory and steps of a run, truth, equality, order, lists. */
#include "text/jinja_value.h"
#include "text/jinja_text.h"

#include <stdio.h>
#include <string.h>

/* ---- the run ---- */

md_status(md_jfail)(md_jrun *r, md_status code, const char *fmt, ...)
{
    char what[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    r->status = code;
    return md_fail(r->err, code, MD_JPOS ": %s", r->pos.line, r->pos.column, what);
}

md_status md_jfail_undefined(md_jrun *r, md_jval v)
{
    if (!v.u.str)
        return md_jfail(r, MD_ERR_FORMAT, "an undefined value is used");
    return md_jfail(r, MD_ERR_FORMAT, "'%.*s' is undefined", v.u.str->n < 200 ? (int)v.u.str->n : 200, v.u.str->s);
}

md_status md_jcharge(md_jrun *r, uint64_t steps)
{
    r->steps += steps;
    if (r->steps > r->limit.steps)
        return md_jfail(r, MD_ERR_LIMIT, "the template ran for more than %llu steps",
                        (unsigned long long)r->limit.steps);
    return MD_OK;
}

md_status md_jcharge_bytes(md_jrun *r, size_t n)
{
    return md_jcharge(r, 1 + n / 64);
}

md_status md_jcharge_search(md_jrun *r, size_t n)
{
    return md_jcharge(r, 1 + n / 16);
}

void *md_jalloc(md_jrun *r, size_t n, size_t size)
{
    size_t bytes, total;
    if (!md_mul(n, size, &bytes) || !md_add(bytes, r->arena.used, &total) || total > r->limit.memory) {
        r->status = md_jfail(r, MD_ERR_LIMIT, "the template used more than %zu bytes of memory", r->limit.memory);
        return NULL;
    }
    void *p = md_arena_alloc(&r->arena, n, size);
    if (!p)
        r->status = md_fail_memory(r->err, "a chat template");
    return p;
}

/* ---- plain questions ---- */

int64_t md_jas_int(md_jval v)
{
    return v.kind == MD_J_BOOL ? v.u.b : v.u.i;
}

double md_jas_float(md_jval v)
{
    return v.kind == MD_J_FLOAT ? v.u.f : (double)md_jas_int(v);
}

bool md_jtruth(md_jval v)
{
    switch ((enum md_jkind)v.kind) {
    case MD_J_UNDEFINED:
    case MD_J_NONE: return false;
    case MD_J_BOOL: return v.u.b;
    case MD_J_INT: return v.u.i != 0;
    case MD_J_FLOAT: return v.u.f != 0;
    case MD_J_STR: return v.u.str->n != 0;
    case MD_J_LIST: return v.u.list->flavor == MD_J_GENERATOR || v.u.list->n != 0;
    case MD_J_DICT: return v.u.dict->n != 0;
    case MD_J_NAMESPACE:
    case MD_J_FUNC:
    case MD_J_LOOP: return true;
    }
    return false;
}

const char *md_jtype_name(md_jval v)
{
    static const char *const sequence[] = {"list",      "tuple",       "generator", "range",
                                           "dict_keys", "dict_values", "dict_items"};
    switch ((enum md_jkind)v.kind) {
    case MD_J_UNDEFINED: return "Undefined";
    case MD_J_NONE: return "NoneType";
    case MD_J_BOOL: return "bool";
    case MD_J_INT: return "int";
    case MD_J_FLOAT: return "float";
    case MD_J_STR: return "str";
    case MD_J_LIST: return sequence[v.u.list->flavor];
    case MD_J_DICT: return "dict";
    case MD_J_NAMESPACE: return "Namespace";
    case MD_J_FUNC: return "function";
    case MD_J_LOOP: return "LoopContext";
    }
    return "object";
}

unsigned char md_jfrom(md_jval v)
{
    return v.kind == MD_J_STR ? md_jstr_from(v.u.str) : v.from;
}

/* ---- equality and order ---- */

static md_status same_depth(md_jrun *r, md_jval a, md_jval b, int depth, bool *equal);

static md_status too_deep(md_jrun *r)
{
    return md_jfail(r, MD_ERR_LIMIT, "a value is nested more than %d levels deep, or contains itself",
                    MD_J_MAX_VALUE_DEPTH);
}

static md_status same_lists(md_jrun *r, const md_jlist *a, const md_jlist *b, int depth, bool *equal)
{
    const bool tuples = a->flavor == MD_J_TUPLE;
    *equal = a == b || (a->n == b->n && tuples == (b->flavor == MD_J_TUPLE));
    for (size_t i = 0; *equal && a != b && i < a->n; i++)
        MD_TRY(same_depth(r, a->item[i], b->item[i], depth + 1, equal));
    return MD_OK;
}

static md_status same_dicts(md_jrun *r, md_jdict *a, md_jdict *b, int depth, bool *equal)
{
    *equal = a == b || a->n == b->n;
    for (size_t i = 0; *equal && a != b && i < a->used; i++) {
        if (!a->pair[i].live)
            continue;
        md_jval *other;
        MD_TRY(md_jdict_get(r, b, a->pair[i].key, &other));
        *equal = other != NULL;
        if (other)
            MD_TRY(same_depth(r, a->pair[i].value, *other, depth + 1, equal));
    }
    return MD_OK;
}

static bool same_numbers(md_jval a, md_jval b)
{
    if (md_jis_integral(a) && md_jis_integral(b))
        return md_jas_int(a) == md_jas_int(b);
    return md_jas_float(a) == md_jas_float(b);
}

static md_status same_depth(md_jrun *r, md_jval a, md_jval b, int depth, bool *equal)
{
    *equal = false;
    MD_TRY(md_jcharge(r, 1));
    if (depth > MD_J_MAX_VALUE_DEPTH)
        return too_deep(r);
    if (md_jis_number(a) && md_jis_number(b)) {
        *equal = same_numbers(a, b);
        return MD_OK;
    }
    if (a.kind != b.kind)
        return MD_OK;
    switch ((enum md_jkind)a.kind) {
    case MD_J_UNDEFINED:
    case MD_J_NONE: *equal = true; return MD_OK;
    case MD_J_STR: *equal = md_jstr_same(a.u.str, b.u.str); return md_jcharge_bytes(r, a.u.str->n);
    case MD_J_LIST: return same_lists(r, a.u.list, b.u.list, depth, equal);
    case MD_J_DICT: return same_dicts(r, a.u.dict, b.u.dict, depth, equal);
    case MD_J_NAMESPACE: *equal = a.u.dict == b.u.dict; return MD_OK;
    case MD_J_FUNC: *equal = a.u.func == b.u.func; return MD_OK;
    case MD_J_LOOP: *equal = a.u.loop == b.u.loop; return MD_OK;
    default: return MD_OK;
    }
}

md_status md_jequal(md_jrun *r, md_jval a, md_jval b, bool *equal)
{
    return same_depth(r, a, b, 0, equal);
}

static md_status order_depth(md_jrun *r, md_jval a, md_jval b, int depth, int *order)
{
    *order = 0;
    MD_TRY(md_jcharge(r, 1));
    if (depth > MD_J_MAX_VALUE_DEPTH)
        return too_deep(r);
    if (md_jis_number(a) && md_jis_number(b)) {
        if (md_jis_integral(a) && md_jis_integral(b)) {
            const int64_t x = md_jas_int(a), y = md_jas_int(b);
            *order = (x > y) - (x < y);
        } else {
            const double x = md_jas_float(a), y = md_jas_float(b);
            *order = (x > y) - (x < y);
        }
        return MD_OK;
    }
    if (a.kind == MD_J_STR && b.kind == MD_J_STR) {
        *order = md_jstr_order(a.u.str, b.u.str);
        return md_jcharge_bytes(r, a.u.str->n);
    }
    if (a.kind == MD_J_LIST && b.kind == MD_J_LIST && a.u.list->flavor == b.u.list->flavor) {
        const md_jlist *x = a.u.list, *y = b.u.list;
        for (size_t i = 0; i < x->n && i < y->n; i++) {
            bool equal;
            MD_TRY(same_depth(r, x->item[i], y->item[i], depth + 1, &equal));
            if (!equal)
                return order_depth(r, x->item[i], y->item[i], depth + 1, order);
        }
        *order = (x->n > y->n) - (x->n < y->n);
        return MD_OK;
    }
    if (a.kind == MD_J_UNDEFINED || b.kind == MD_J_UNDEFINED)
        return md_jfail_undefined(r, a.kind == MD_J_UNDEFINED ? a : b);
    return md_jfail(r, MD_ERR_FORMAT, "'%s' and '%s' cannot be compared", md_jtype_name(a), md_jtype_name(b));
}

md_status md_jorder(md_jrun *r, md_jval a, md_jval b, int *order)
{
    return order_depth(r, a, b, 0, order);
}

md_status md_jcontains(md_jrun *r, md_jval container, md_jval item, bool *found)
{
    *found = false;
    switch ((enum md_jkind)container.kind) {
    case MD_J_UNDEFINED: return MD_OK;
    case MD_J_STR:
        if (item.kind != MD_J_STR)
            return md_jfail(r, MD_ERR_FORMAT, "'in' looks for a string in a string, not for a '%s'",
                            md_jtype_name(item));
        *found = md_jstr_find(container.u.str, item.u.str, 0) != SIZE_MAX;
        return md_jcharge_search(r, container.u.str->n);
    case MD_J_DICT: {
        md_jval *value;
        MD_TRY(md_jdict_get(r, container.u.dict, item, &value));
        *found = value != NULL;
        return MD_OK;
    }
    case MD_J_LIST: {
        const md_jlist *l = container.u.list;
        for (size_t i = 0; i < l->n && !*found; i++)
            MD_TRY(md_jequal(r, l->item[i], item, found));
        return MD_OK;
    }
    default: return md_jfail(r, MD_ERR_FORMAT, "'%s' cannot be searched with 'in'", md_jtype_name(container));
    }
}

md_status md_jlength(md_jrun *r, md_jval v, size_t *n)
{
    *n = 0;
    switch ((enum md_jkind)v.kind) {
    case MD_J_UNDEFINED: return MD_OK;
    case MD_J_STR: *n = md_jstr_points(v.u.str); return md_jcharge_bytes(r, v.u.str->n);
    case MD_J_LIST: *n = v.u.list->n; return MD_OK;
    case MD_J_DICT: *n = v.u.dict->n; return MD_OK;
    default: return md_jfail(r, MD_ERR_FORMAT, "'%s' has no length", md_jtype_name(v));
    }
}

/* ---- lists ---- */

md_jlist *md_jlist_new(md_jrun *r, size_t room, enum md_jflavor flavor)
{
    md_jlist *l = md_jalloc(r, 1, sizeof *l);
    if (!l)
        return NULL;
    l->flavor = flavor;
    l->cap = room;
    if (room) {
        l->item = md_jalloc(r, room, sizeof *l->item);
        if (!l->item)
            return NULL;
    }
    return l;
}

md_status md_jlist_push(md_jrun *r, md_jlist *l, md_jval v)
{
    MD_TRY(md_jcharge(r, 1));
    if (l->n == l->cap) {
        const size_t cap = l->cap ? l->cap * 2 : 4;
        md_jval *item = md_jalloc(r, cap, sizeof *item);
        if (!item)
            return r->status;
        if (l->n)
            memcpy(item, l->item, l->n * sizeof *item);
        l->item = item;
        l->cap = cap;
    }
    l->item[l->n++] = v;
    return MD_OK;
}

md_jlist *md_jlist_copy(md_jrun *r, const md_jlist *l, enum md_jflavor flavor)
{
    if (md_jcharge(r, 1 + l->n) != MD_OK)
        return NULL;
    md_jlist *copy = md_jlist_new(r, l->n, flavor);
    if (copy && l->n)
        memcpy(copy->item, l->item, l->n * sizeof *l->item);
    if (copy)
        copy->n = l->n;
    return copy;
}

bool md_jindex(int64_t i, size_t n, size_t *at)
{
    const int64_t len = (int64_t)n;
    if (i < 0)
        i += len;
    *at = (size_t)i;
    return i >= 0 && i < len;
}

static md_status iterate_text(md_jrun *r, const md_jstr *s, md_jlist **out)
{
    md_jlist *l = md_jlist_new(r, md_jstr_points(s), MD_J_PLAIN);
    if (!l)
        return r->status;
    for (size_t at = 0; at < s->n;) {
        const size_t len = md_jpoint_len(s->s + at, s->n - at);
        const md_jstr *one = md_jstr_sub(r, s, at, len);
        if (!one)
            return r->status;
        MD_TRY(md_jlist_push(r, l, md_jtext(one)));
        at += len;
    }
    *out = l;
    return MD_OK;
}

md_status md_jiterate(md_jrun *r, md_jval v, md_jlist **out)
{
    *out = NULL;
    switch ((enum md_jkind)v.kind) {
    case MD_J_UNDEFINED: *out = md_jlist_new(r, 0, MD_J_PLAIN); return *out ? MD_OK : r->status;
    case MD_J_STR: return iterate_text(r, v.u.str, out);
    case MD_J_DICT: return md_jdict_list(r, v.u.dict, MD_J_PLAIN, out);
    case MD_J_LIST:
        *out = v.u.list;
        if (v.u.list->flavor != MD_J_GENERATOR)
            return MD_OK;
        *out = md_jlist_copy(r, v.u.list, MD_J_PLAIN);
        v.u.list->n = 0;
        return *out ? MD_OK : r->status;
    default: return md_jfail(r, MD_ERR_FORMAT, "'%s' cannot be iterated", md_jtype_name(v));
    }
}
