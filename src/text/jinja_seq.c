/* SPDX-License-Identifier: Apache-2.0
 *
 * Filters on sequences and dicts. Those that are generators in Jinja2 give generators here: always true, used up by
 * the first iteration. */
#include "text/jinja_run.h"

#include <string.h>

static md_status seq_result(md_jlist *l, enum md_jflavor flavor, md_jval *out)
{
    l->flavor = flavor;
    *out = md_jseq(l);
    return MD_OK;
}

/* item.a.b.0 for the attribute "a.b.0"; digits are indices. NULL or none: the item itself. */
static md_status get_path(md_jrun *r, md_jval item, const md_jval *attribute, const md_jval *otherwise, md_jval *out)
{
    *out = item;
    if (!attribute || attribute->kind == MD_J_NONE)
        return MD_OK;
    if (attribute->kind != MD_J_STR) {
        MD_TRY(md_jget_item(r, item, *attribute, out));
        if (otherwise && out->kind == MD_J_UNDEFINED)
            *out = *otherwise;
        return MD_OK;
    }
    const md_jstr *path = attribute->u.str;
    for (size_t at = 0; at <= path->n;) {
        const char *dot = path->n > at ? memchr(path->s + at, '.', path->n - at) : NULL;
        const size_t end = dot ? (size_t)(dot - path->s) : path->n;
        const md_jstr *part = md_jstr_sub(r, path, at, end - at);
        int64_t index;
        if (!part)
            return r->status;
        const bool digits = part->n && part->s[0] >= '0' && part->s[0] <= '9' && md_jread_int(part, 10, &index);
        MD_TRY(md_jget_item(r, *out, digits ? md_jint(index) : md_jtext(part), out));
        if (otherwise && out->kind == MD_J_UNDEFINED)
            *out = *otherwise;
        at = end + 1;
    }
    return MD_OK;
}

/* Strings in lower case, unless case matters; others as they are. */
static md_status fold(md_jrun *r, const md_jval *case_sensitive, md_jval *v)
{
    if (v->kind != MD_J_STR || md_jarg_true(case_sensitive))
        return MD_OK;
    *v = md_jtext(md_jstr_case(r, v->u.str, MD_J_LOWER));
    return v->u.str ? MD_OK : r->status;
}

/* map, select and their kin take none, or anything else that is false, for an empty sequence. */
static md_status lazy_items(md_jrun *r, md_jval v, md_jlist **out)
{
    return md_jiterate(r, md_jtruth(v) ? v : md_jundefined(NULL), out);
}

/* ---- sorting ---- */

typedef struct keyed {
    md_jval key, item;
} keyed;

/* Stable merge of [0, half) and [half, n). */
static md_status merge(md_jrun *r, keyed *a, keyed *scratch, size_t half, size_t n, bool reverse)
{
    size_t i = 0, j = half, k = 0;
    while (i < half && j < n) {
        int order;
        MD_TRY(md_jorder(r, a[j].key, a[i].key, &order));
        scratch[k++] = (reverse ? order > 0 : order < 0) ? a[j++] : a[i++];
    }
    memcpy(scratch + k, a + i, (half - i) * sizeof *a);
    k += half - i;
    memcpy(a, scratch, k * sizeof *a); /* what is left of the second half is in place */
    return MD_OK;
}

static md_status merge_sort(md_jrun *r, keyed *a, keyed *scratch, size_t n, bool reverse)
{
    if (n < 2)
        return MD_OK;
    const size_t half = n / 2;
    MD_TRY(merge_sort(r, a, scratch, half, reverse));
    MD_TRY(merge_sort(r, a + half, scratch, n - half, reverse));
    return merge(r, a, scratch, half, n, reverse);
}

static md_status sort_keyed(md_jrun *r, keyed *a, size_t n, bool reverse, md_jval *out)
{
    keyed *scratch = md_jalloc(r, n + 1, sizeof *scratch);
    md_jlist *l = md_jlist_new(r, n, MD_J_PLAIN);
    if (!scratch || !l)
        return r->status;
    MD_TRY(merge_sort(r, a, scratch, n, reverse));
    for (size_t i = 0; i < n; i++)
        l->item[l->n++] = a[i].item;
    *out = md_jseq(l);
    return MD_OK;
}

/* The key for "a,b" is the list of both. */
static md_status sort_key(md_jrun *r, md_jval item, const md_jval *attribute, const md_jval *case_sensitive,
                          md_jval *key)
{
    if (!attribute || attribute->kind != MD_J_STR || !memchr(attribute->u.str->s, ',', attribute->u.str->n)) {
        MD_TRY(get_path(r, item, attribute, NULL, key));
        return fold(r, case_sensitive, key);
    }
    const md_jstr *all = attribute->u.str;
    md_jlist *keys = md_jlist_new(r, 2, MD_J_PLAIN);
    if (!keys)
        return r->status;
    for (size_t at = 0; at <= all->n;) {
        const char *comma = all->n > at ? memchr(all->s + at, ',', all->n - at) : NULL;
        const size_t end = comma ? (size_t)(comma - all->s) : all->n;
        const md_jstr *part = md_jstr_sub(r, all, at, end - at);
        if (!part)
            return r->status;
        const md_jval name = md_jtext(part);
        md_jval v;
        MD_TRY(get_path(r, item, &name, NULL, &v));
        MD_TRY(fold(r, case_sensitive, &v));
        MD_TRY(md_jlist_push(r, keys, v));
        at = end + 1;
    }
    *key = md_jseq(keys);
    return MD_OK;
}

static md_status f_sort(md_jrun *r, const md_jcall *c, md_jval *out)
{
    md_jlist *l;
    MD_TRY(md_jiterate(r, c->self, &l));
    keyed *a = md_jalloc(r, l->n + 1, sizeof *a);
    if (!a)
        return r->status;
    for (size_t i = 0; i < l->n; i++) {
        a[i].item = l->item[i];
        MD_TRY(sort_key(r, l->item[i], c->arg[2], c->arg[1], &a[i].key));
    }
    return sort_keyed(r, a, l->n, md_jarg_true(c->arg[0]), out);
}

static md_status f_dictsort(md_jrun *r, const md_jcall *c, md_jval *out)
{
    md_jlist *l;
    const md_jstr *by = NULL;
    if (c->self.kind == MD_J_UNDEFINED)
        return md_jfail_undefined(r, c->self);
    if (c->self.kind != MD_J_DICT)
        return md_jfail(r, MD_ERR_FORMAT, "the filter dictsort needs a dict, not a '%s'", md_jtype_name(c->self));
    if (c->arg[1])
        MD_TRY(md_jarg_str(r, c->arg[1], "the filter dictsort", &by));
    const size_t part = by && md_jstr_is(by, "value");
    if (by && !part && !md_jstr_is(by, "key"))
        return md_jfail(r, MD_ERR_FORMAT, "the filter dictsort sorts by 'key' or 'value'");
    MD_TRY(md_jdict_list(r, c->self.u.dict, MD_J_ITEMS, &l));
    keyed *a = md_jalloc(r, l->n + 1, sizeof *a);
    if (!a)
        return r->status;
    for (size_t i = 0; i < l->n; i++) {
        a[i] = (keyed){l->item[i].u.list->item[part], l->item[i]};
        MD_TRY(fold(r, c->arg[0], &a[i].key));
    }
    return sort_keyed(r, a, l->n, md_jarg_true(c->arg[2]), out);
}

/* ---- picking ---- */

static md_status extreme(md_jrun *r, const md_jcall *c, bool greatest, md_jval *out)
{
    md_jlist *l;
    md_jval best = md_jundefined(NULL), key, best_key = md_jnone();
    MD_TRY(md_jiterate(r, c->self, &l));
    for (size_t i = 0; i < l->n; i++) {
        int order = 0;
        MD_TRY(get_path(r, l->item[i], c->arg[1], NULL, &key));
        MD_TRY(fold(r, c->arg[0], &key));
        if (i)
            MD_TRY(md_jorder(r, key, best_key, &order));
        if (i && (greatest ? order <= 0 : order >= 0))
            continue;
        best = l->item[i];
        best_key = key;
    }
    *out = best;
    return MD_OK;
}

static md_status f_min(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return extreme(r, c, false, out);
}

static md_status f_max(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return extreme(r, c, true, out);
}

static md_status f_first(md_jrun *r, const md_jcall *c, md_jval *out)
{
    md_jlist *l;
    if (c->self.kind == MD_J_STR) { /* without making a list of all of it */
        *out = md_jundefined(NULL);
        return c->self.u.str->n ? md_jget_item(r, c->self, md_jint(0), out) : MD_OK;
    }
    MD_TRY(md_jiterate(r, c->self, &l));
    *out = l->n ? l->item[0] : md_jundefined(NULL);
    return MD_OK;
}

static md_status f_last(md_jrun *r, const md_jcall *c, md_jval *out)
{
    md_jlist *l;
    if (c->self.kind == MD_J_STR) {
        *out = md_jundefined(NULL);
        return c->self.u.str->n ? md_jget_item(r, c->self, md_jint(-1), out) : MD_OK;
    }
    MD_TRY(md_jiterate(r, c->self, &l));
    *out = l->n ? l->item[l->n - 1] : md_jundefined(NULL);
    return MD_OK;
}

static md_status f_unique(md_jrun *r, const md_jcall *c, md_jval *out)
{
    md_jlist *l, *kept = md_jlist_new(r, 0, MD_J_GENERATOR);
    md_jdict *seen = md_jdict_new(r);
    if (!kept || !seen)
        return r->status;
    MD_TRY(md_jiterate(r, c->self, &l));
    for (size_t i = 0; i < l->n; i++) {
        md_jval key, *known;
        MD_TRY(get_path(r, l->item[i], c->arg[1], NULL, &key));
        MD_TRY(fold(r, c->arg[0], &key));
        MD_TRY(md_jdict_get(r, seen, key, &known));
        if (known)
            continue;
        MD_TRY(md_jdict_set(r, seen, key, md_jnone()));
        MD_TRY(md_jlist_push(r, kept, l->item[i]));
    }
    *out = md_jseq(kept);
    return MD_OK;
}

/* select, reject, selectattr, rejectattr: [attribute,] [test, arguments of the test]. */
static md_status pick(md_jrun *r, const md_jcall *c, bool by_attribute, bool wanted, md_jval *out)
{
    md_jlist *l, *kept = md_jlist_new(r, 0, MD_J_GENERATOR);
    const size_t skip = by_attribute ? 1 : 0;
    if (!kept)
        return r->status;
    if (c->n_positional < skip)
        return md_jfail(r, MD_ERR_FORMAT, "selectattr and rejectattr need the name of an attribute");
    MD_TRY(lazy_items(r, c->self, &l));
    for (size_t i = 0; i < l->n; i++) {
        md_jcall test = {.name = c->name, .named = c->named, .n_named = c->n_named};
        MD_TRY(get_path(r, l->item[i], by_attribute ? &c->positional[0] : NULL, NULL, &test.self));
        bool yes = md_jtruth(test.self);
        if (c->n_positional > skip) {
            test.positional = c->positional + skip + 1;
            test.n_positional = c->n_positional - skip - 1;
            MD_TRY(md_jcall_test(r, c->positional[skip], &test, &yes));
        }
        if (yes == wanted)
            MD_TRY(md_jlist_push(r, kept, l->item[i]));
    }
    *out = md_jseq(kept);
    return MD_OK;
}

static md_status f_select(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return pick(r, c, false, true, out);
}

static md_status f_reject(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return pick(r, c, false, false, out);
}

static md_status f_selectattr(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return pick(r, c, true, true, out);
}

static md_status f_rejectattr(md_jrun *r, const md_jcall *c, md_jval *out)
{
    return pick(r, c, true, false, out);
}

/* ---- mapping and joining ---- */

static const md_jval *named_arg(const md_jcall *c, const char *name)
{
    for (size_t i = 0; i < c->n_named; i++)
        if (md_jstr_is(c->name[i], name))
            return &c->named[i];
    return NULL;
}

static md_status f_map(md_jrun *r, const md_jcall *c, md_jval *out)
{
    md_jlist *l, *made = md_jlist_new(r, 0, MD_J_GENERATOR);
    const md_jval *attribute = c->n_positional ? NULL : named_arg(c, "attribute"), *otherwise = named_arg(c, "default");
    if (!made)
        return r->status;
    if (!attribute && c->n_positional == 0)
        return md_jfail(r, MD_ERR_FORMAT, "the filter map needs the name of a filter, or attribute=");
    if (attribute && c->n_named > 1u + (otherwise != NULL))
        return md_jfail(r, MD_ERR_FORMAT, "the filter map takes attribute= and default=, nothing else by name");
    if (otherwise && otherwise->kind == MD_J_NONE)
        otherwise = NULL;
    MD_TRY(lazy_items(r, c->self, &l));
    for (size_t i = 0; i < l->n; i++) {
        md_jval v;
        if (attribute) {
            MD_TRY(get_path(r, l->item[i], attribute, otherwise, &v));
        } else {
            md_jcall filter = {l->item[i], c->positional + 1, c->n_positional - 1, c->name, c->named, c->n_named, {0}};
            MD_TRY(md_jcall_filter(r, c->positional[0], &filter, &v));
        }
        MD_TRY(md_jlist_push(r, made, v));
    }
    *out = md_jseq(made);
    return MD_OK;
}

static md_status f_join(md_jrun *r, const md_jcall *c, md_jval *out)
{
    md_jlist *l;
    const md_jstr *between = NULL;
    MD_TRY(md_jiterate(r, c->self, &l));
    if (c->arg[0] && !(between = md_jto_str(r, *c->arg[0])))
        return r->status;
    md_jout o = md_jout_new(r);
    for (size_t i = 0; i < l->n && !o.failed; i++) {
        md_jval v;
        MD_TRY(get_path(r, l->item[i], c->arg[1], NULL, &v));
        if (i && between)
            md_jout_str(&o, between);
        md_jout_value(&o, v);
        MD_TRY(md_jcharge(r, 1));
    }
    const md_jstr *s = md_jout_finish(&o, false);
    *out = md_jtext(s);
    return s ? MD_OK : r->status;
}

static md_status f_sum(md_jrun *r, const md_jcall *c, md_jval *out)
{
    md_jlist *l;
    md_jval v;
    MD_TRY(md_jiterate(r, c->self, &l));
    *out = c->arg[1] ? *c->arg[1] : md_jint(0);
    for (size_t i = 0; i < l->n; i++) {
        MD_TRY(get_path(r, l->item[i], c->arg[0], NULL, &v));
        MD_TRY(md_jbinary(r, '+', *out, v, out));
    }
    return MD_OK;
}

/* ---- reshaping ---- */

static md_status f_list(md_jrun *r, const md_jcall *c, md_jval *out)
{
    md_jlist *l;
    MD_TRY(md_jiterate(r, c->self, &l));
    l = md_jlist_copy(r, l, MD_J_PLAIN);
    return l ? seq_result(l, MD_J_PLAIN, out) : r->status;
}

static md_status f_items(md_jrun *r, const md_jcall *c, md_jval *out)
{
    md_jlist *l;
    if (c->self.kind == MD_J_UNDEFINED) {
        MD_TRY(md_jiterate(r, c->self, &l));
        return seq_result(l, MD_J_GENERATOR, out);
    }
    if (c->self.kind != MD_J_DICT)
        return md_jfail(r, MD_ERR_FORMAT, "the filter items needs a dict, not a '%s'", md_jtype_name(c->self));
    MD_TRY(md_jdict_list(r, c->self.u.dict, MD_J_ITEMS, &l));
    return seq_result(l, MD_J_GENERATOR, out);
}

static md_status f_reverse(md_jrun *r, const md_jcall *c, md_jval *out)
{
    md_jlist *l;
    if (c->self.kind == MD_J_STR) {
        const size_t n = md_jstr_points(c->self.u.str);
        const md_jstr *s = md_jstr_slice(r, c->self.u.str, (int64_t)n - 1, -1, n);
        *out = md_jtext(s);
        return s ? MD_OK : r->status;
    }
    MD_TRY(md_jiterate(r, c->self, &l));
    l = md_jlist_copy(r, l, MD_J_PLAIN);
    if (!l)
        return r->status;
    for (size_t i = 0; i < l->n / 2; i++) {
        const md_jval v = l->item[i];
        l->item[i] = l->item[l->n - 1 - i];
        l->item[l->n - 1 - i] = v;
    }
    return seq_result(l, MD_J_GENERATOR, out);
}

/* Appends items [from, to) of l as one list, then `fill` up to `total` items. */
static md_status push_part(md_jrun *r, md_jlist *into, const md_jlist *l, size_t from, size_t to, const md_jval *fill,
                           size_t total)
{
    md_jlist *part = md_jlist_new(r, to - from, MD_J_PLAIN);
    if (!part)
        return r->status;
    for (size_t i = from; i < to; i++)
        MD_TRY(md_jlist_push(r, part, l->item[i]));
    while (fill && part->n < total)
        MD_TRY(md_jlist_push(r, part, *fill));
    return md_jlist_push(r, into, md_jseq(part));
}

static md_status part_args(md_jrun *r, const md_jcall *c, md_jlist **l, int64_t *count, const md_jval **fill)
{
    MD_TRY(md_jiterate(r, c->self, l));
    MD_TRY(md_jarg_int(r, c->arg[0], "the filters batch and slice", count));
    if (*count < 1)
        return md_jfail(r, MD_ERR_FORMAT, "the filters batch and slice need a positive number");
    *fill = c->arg[1] && c->arg[1]->kind != MD_J_NONE ? c->arg[1] : NULL;
    return MD_OK;
}

static md_status f_batch(md_jrun *r, const md_jcall *c, md_jval *out)
{
    md_jlist *l, *made = md_jlist_new(r, 0, MD_J_GENERATOR);
    const md_jval *fill;
    int64_t count = 0;
    if (!made)
        return r->status;
    MD_TRY(part_args(r, c, &l, &count, &fill));
    const size_t n = (uint64_t)count < SIZE_MAX ? (size_t)count : SIZE_MAX;
    for (size_t at = 0; at < l->n;) {
        const size_t to = l->n - at < n ? l->n : at + n;
        MD_TRY(push_part(r, made, l, at, to, fill, n));
        at = to;
    }
    *out = md_jseq(made);
    return MD_OK;
}

static md_status f_slice(md_jrun *r, const md_jcall *c, md_jval *out)
{
    md_jlist *l, *made = md_jlist_new(r, 0, MD_J_GENERATOR);
    const md_jval *fill;
    int64_t count = 0;
    if (!made)
        return r->status;
    MD_TRY(part_args(r, c, &l, &count, &fill));
    const size_t slices = (size_t)count, each = l->n / slices, extra = l->n % slices;
    for (size_t i = 0, at = 0; i < slices; i++) {
        const size_t to = at + each + (i < extra);
        MD_TRY(push_part(r, made, l, at, to, i < extra ? NULL : fill, each + 1));
        at = to;
    }
    *out = md_jseq(made);
    return MD_OK;
}

const md_jbuiltin md_jseq_filters[] = {
    {"batch", f_batch, "linecount fill_with", 1},
    {"dictsort", f_dictsort, "case_sensitive by reverse", 0},
    {"first", f_first, "", 0},
    {"items", f_items, "", 0},
    {"join", f_join, "d attribute", 0},
    {"last", f_last, "", 0},
    {"list", f_list, "", 0},
    {"map", f_map, NULL, 0},
    {"max", f_max, "case_sensitive attribute", 0},
    {"min", f_min, "case_sensitive attribute", 0},
    {"reject", f_reject, NULL, 0},
    {"rejectattr", f_rejectattr, NULL, 0},
    {"reverse", f_reverse, "", 0},
    {"select", f_select, NULL, 0},
    {"selectattr", f_selectattr, NULL, 0},
    {"slice", f_slice, "slices fill_with", 1},
    {"sort", f_sort, "reverse case_sensitive attribute", 0},
    {"sum", f_sum, "attribute start", 0},
    {"unique", f_unique, "case_sensitive attribute", 0},
    {NULL, NULL, NULL, 0},
};
