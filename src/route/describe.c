/* SPDX-License-Identifier: Apache-2.0
 *
 * A router in words, for people: the switches that are set, in the order in which they act. */
#include "route/route.h"

#include <stdarg.h>
#include <stdio.h>

const char *md_score_name(md_score s)
{
    switch (s) {
    case MD_SCORE_SOFTMAX: return "softmax";
    case MD_SCORE_SIGMOID: return "sigmoid";
    case MD_SCORE_SOFTMAX_PICKED: return "softmax of the picked";
    case MD_SCORE_SQRT_SOFTPLUS: return "sqrt-softplus";
    case MD_SCORE_SPARSE_MIXER: return "sparse mixer";
    }
    return "?";
}

typedef struct line {
    char *buf;
    size_t n, at;
} line;

/* What does not fit is cut off. */
static void __attribute__((format(printf, 2, 3))) append(line *l, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int added = vsnprintf(l->at < l->n ? l->buf + l->at : NULL, l->at < l->n ? l->n - l->at : 0, format, args);
    va_end(args);
    l->at += added > 0 ? (size_t)added : 0;
}

static void append_selection(line *l, const md_router *r)
{
    static const char *const by[] = {[MD_SELECT_LOGIT] = ", ranked by logit",
                                     [MD_SELECT_THRESHOLD] = ", chosen by experts",
                                     [MD_SELECT_GIVEN] = ", from a table"};
    if (r->select != MD_SELECT_SCORE)
        append(l, "%s", by[r->select]);
    if (r->n_group > 1 && r->group_score == MD_GROUP_EQUAL)
        append(l, ", %d of each of %d groups", r->top_k / r->n_group, r->n_group);
    else if (r->n_group > 1)
        append(l, ", best %d of %d groups", r->n_group_kept, r->n_group);
    if (r->capacity > 0)
        append(l, ", at most %d an expert in %d positions (%s)", r->capacity, r->window,
               r->overflow == MD_OVERFLOW_DROP ? "drop" : "reroute");
}

void md_router_describe(const md_router *r, char *buf, size_t n)
{
    line l = {.buf = buf, .n = n};
    append(&l, "%s, top %d of %d", md_score_name(r->score), r->top_k, r->n_expert);
    if (r->n_null > 0)
        append(&l, " with %d null", r->n_null);
    append_selection(&l, r);
    if (r->normalise)
        append(&l, ", normalised");
    if (r->scale != 1.0f)
        append(&l, ", scaled by %g", (double)r->scale);
    if (r->expert_scale)
        append(&l, ", scaled by expert");
}
