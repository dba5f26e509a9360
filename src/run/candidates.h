/* SPDX-License-Identifier: Apache-2.0
 *
 * Candidates in order of rank, ranked only as far as somebody looks: the order is by key, largest first, ties to the
 * lower token id, so it does not depend on how it is found. Ranking one more candidate costs O(log n); nothing is
 * allocated. One thread at a time. */
#ifndef MD_RUN_CANDIDATES_H
#define MD_RUN_CANDIDATES_H

#include <stddef.h>
#include <stdint.h>

typedef struct md_candidate {
    double key; /* a logit, or what else ranks; never NaN */
    int32_t id;
} md_candidate;

typedef struct md_candidates {
    md_candidate *at; /* borrowed, [n]: a heap, then the ranked ones, worst first: rank r lies at at[n - 1 - r] */
    size_t n;
    size_t n_heap; /* at[0..n_heap) is not ranked yet */
} md_candidates;

/* Makes the order valid after at[0..n) or its keys were written. O(n). */
void md_candidates_start(md_candidates *c);
/* Keeps the k best (all if k >= n) and starts the order. O(n log k). */
void md_candidates_keep_best(md_candidates *c, size_t k);
/* The candidate of rank r < n, 0 the best. Valid until the next call. */
const md_candidate *md_candidates_rank(md_candidates *c, size_t r);
/* Drops all but the first k ranks, 1 <= k <= n. */
void md_candidates_keep_ranks(md_candidates *c, size_t k);

#endif
