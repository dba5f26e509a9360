/* SPDX-License-Identifier: Apache-2.0
 *
 * A binary heap that pops into the tail of its own array (Williams 1964, heapsort, stopped early). */
#include "run/candidates.h"

#include <stdbool.h>

static inline bool before(const md_candidate *a, const md_candidate *b)
{
    return a->key > b->key || (a->key == b->key && a->id < b->id);
}

/* at[i] moves down until no child comes before it (best_first), or it before no child. */
static inline void sift_down(md_candidate *at, size_t n, size_t i, bool best_first)
{
    const md_candidate moved = at[i];
    for (size_t child = 2 * i + 1; child < n; child = 2 * i + 1) {
        if (child + 1 < n && before(&at[child + 1], &at[child]) == best_first)
            child++;
        if (before(&at[child], &moved) != best_first)
            break;
        at[i] = at[child];
        i = child;
    }
    at[i] = moved;
}

void md_candidates_start(md_candidates *c)
{
    c->n_heap = c->n;
    for (size_t i = c->n / 2; i-- > 0;)
        sift_down(c->at, c->n, i, true);
}

void md_candidates_keep_best(md_candidates *c, size_t k)
{
    if (k < c->n && k > 0) {
        for (size_t i = k / 2; i-- > 0;)
            sift_down(c->at, k, i, false);
        for (size_t i = k; i < c->n; i++)
            if (before(&c->at[i], &c->at[0])) {
                c->at[0] = c->at[i];
                sift_down(c->at, k, 0, false);
            }
        c->n = k;
    }
    md_candidates_start(c);
}

const md_candidate *md_candidates_rank(md_candidates *c, size_t r)
{
    while (c->n - c->n_heap <= r) {
        const size_t last = --c->n_heap;
        const md_candidate best = c->at[0];
        c->at[0] = c->at[last];
        c->at[last] = best;
        if (last > 0)
            sift_down(c->at, last, 0, true);
    }
    return &c->at[c->n - 1 - r];
}

void md_candidates_keep_ranks(md_candidates *c, size_t k)
{
    (void)md_candidates_rank(c, k - 1);
    c->at += c->n - k;
    c->n = k;
    c->n_heap = 0;
}
