/* SPDX-License-Identifier: Apache-2.0
 *
 * Character classes: ranges of code points, kept ascending, apart from each other and without surrogates, which UTF-8
 * cannot hold. */
#include "text/grammar_build.h"

#include "base/status.h"

#include <stdlib.h>

#define LAST_POINT      0x10ffffu
#define FIRST_SURROGATE 0xd800u
#define LAST_SURROGATE  0xdfffu

static int by_low(const void *pa, const void *pb)
{
    const md_grange *a = pa, *b = pb;
    return (a->lo > b->lo) - (a->lo < b->lo);
}

/* Joins what overlaps or touches of n >= 1; returns how many are left. */
static size_t join(md_grange *r, size_t n)
{
    qsort(r, n, sizeof *r, by_low);
    size_t last = 0;
    for (size_t i = 1; i < n; i++)
        if (r[i].lo <= r[last].hi + 1)
            r[last].hi = r[i].hi > r[last].hi ? r[i].hi : r[last].hi;
        else
            r[++last] = r[i];
    return last + 1;
}

static md_status push(md_gbuild *b, uint32_t lo, uint32_t hi, md_error *err)
{
    md_grammar *g = b->g;
    if (!md_gbuild_grow(&g->range, g->n_ranges, &b->range_cap, sizeof *g->range, MD_GRAMMAR_RANGE_MAX))
        return md_gbuild_full(err, "ranges of characters", g->n_ranges, MD_GRAMMAR_RANGE_MAX);
    g->range[g->n_ranges++] = (md_grange){.lo = lo, .hi = hi};
    return MD_OK;
}

/* What lies between n joined ranges from `first` on takes their place. There may be one more than before. */
static md_status negate(md_gbuild *b, size_t first, md_error *err)
{
    md_grammar *g = b->g;
    const size_t n = g->n_ranges - first;
    MD_TRY(push(b, 0, 0, err)); /* room; overwritten below */
    md_grange *r = &g->range[first];
    uint32_t from = 0;
    size_t kept = 0;
    bool open = true; /* there are code points from `from` on */
    for (size_t i = 0; i < n; i++) {
        const md_grange hole = r[i];
        if (hole.lo > from)
            r[kept++] = (md_grange){.lo = from, .hi = hole.lo - 1}; /* kept <= i: what is overwritten has been read */
        open = hole.hi < LAST_POINT;
        from = hole.hi + 1;
    }
    if (open)
        r[kept++] = (md_grange){.lo = from, .hi = LAST_POINT};
    g->n_ranges = first + kept;
    return MD_OK;
}

static md_status drop_surrogates(md_gbuild *b, size_t first, md_error *err)
{
    md_grammar *g = b->g;
    for (size_t i = first; i < g->n_ranges; i++) {
        md_grange *r = &g->range[i];
        if (r->hi < FIRST_SURROGATE || r->lo > LAST_SURROGATE)
            continue;
        if (r->lo < FIRST_SURROGATE && r->hi > LAST_SURROGATE) {
            const uint32_t hi = r->hi;
            r->hi = FIRST_SURROGATE - 1;
            MD_TRY(push(b, LAST_SURROGATE + 1, hi, err));
        } else if (r->lo < FIRST_SURROGATE) {
            r->hi = FIRST_SURROGATE - 1;
        } else if (r->hi > LAST_SURROGATE) {
            r->lo = LAST_SURROGATE + 1;
        } else {
            *r = g->range[--g->n_ranges];
            i--; /* the one that came here is still to be looked at */
        }
    }
    if (g->n_ranges > first)
        qsort(&g->range[first], g->n_ranges - first, sizeof *g->range, by_low);
    return MD_OK;
}

md_status md_gbuild_class(md_gbuild *b, size_t first, bool negated, uint32_t *out, md_error *err)
{
    md_grammar *g = b->g;
    if (g->n_ranges > first)
        g->n_ranges = first + join(&g->range[first], g->n_ranges - first);
    if (negated)
        MD_TRY(negate(b, first, err));
    MD_TRY(drop_surrogates(b, first, err));
    if (!md_gbuild_grow(&g->class_, g->n_classes, &b->class_cap, sizeof *g->class_, MD_GRAMMAR_NODE_MAX))
        return md_gbuild_full(err, "classes of characters", g->n_classes, MD_GRAMMAR_NODE_MAX);
    *out = (uint32_t)g->n_classes;
    g->class_[g->n_classes++] = (md_gclass){.first = (uint32_t)first, .n = (uint32_t)(g->n_ranges - first)};
    return MD_OK;
}

md_gcover md_gclass_cover(const md_grammar *g, uint32_t class_, uint32_t lo, uint32_t hi)
{
    const md_grange *r = &g->range[g->class_[class_].first];
    size_t from = 0, to = g->class_[class_].n; /* the first range that does not end before lo is in from..to */
    while (from < to) {
        const size_t mid = from + (to - from) / 2;
        if (r[mid].hi < lo)
            from = mid + 1;
        else
            to = mid;
    }
    if (from == g->class_[class_].n || r[from].lo > hi)
        return MD_G_NONE;
    return r[from].lo <= lo && r[from].hi >= hi ? MD_G_ALL : MD_G_SOME;
}
