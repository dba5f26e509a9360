/* SPDX-License-Identifier: Apache-2.0
 *
 * Eviction policies: which expert of a layer leaves when another needs its slot. A policy sees every choice of the router,
 * hits and misses alike, so what it knows of an expert outlives its eviction. It knows neither slots nor bytes: whoever
 * owns the slots asks it for a victim among experts that may go. The streaming store and the replay of traces
 * (run/trace_simulate.c) use the same objects, so what is simulated is what runs.
 *
 * Nothing is allocated after md_policy_new. The same calls in the same order give the same victims: no clocks, no random
 * numbers, no addresses. One thread at a time. */
#ifndef MD_EXPERT_POLICY_H
#define MD_EXPERT_POLICY_H

#include <medley/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct md_policy md_policy;

/* Names of all policies, the preferred one first, then NULL:
 *   "medley"  blends counts of several time constants and recency, by what would have kept the most (policy_medley.c)
 *   "lfu"     fewest uses, older ones counting less
 *   "lru"     longest unused */
const char *const *md_policy_names(void);

/* n_expert: [n_layer] experts of each layer, 0: it has none; borrowed during the call. MD_ERR_ARGUMENT for a name that is none
 * of the above. */
md_status md_policy_new(const char *name, int32_t n_layer, const int32_t *n_expert, md_policy **out,
                        md_error *err) MD_MUST_USE;
void md_policy_free(md_policy *p); /* NULL allowed */
const char *md_policy_name(const md_policy *p);

/* How many experts of a layer there is room for, 1 to its number. "medley" replays its rules on a shadow of that size; a policy
 * that was not told decides by other means. May be called again when the room changes. */
void md_policy_room(md_policy *p, int32_t layer, int32_t slots);

/* A row of the step chose this expert with this weight. Call it for every choice of a layer, hit or miss, row after row,
 * before asking for that layer's victims. */
void md_policy_use(md_policy *p, int32_t layer, int32_t expert, float weight);
/* A step is over: all its layers were used. */
void md_policy_step(md_policy *p);

/* Which of candidate[0..n), n >= 1, leaves first: an index. All are present, not in use, and of this layer. A pinned one is
 * named only if all are pinned. The order of the candidates does not matter: ties go to the lowest expert. */
int32_t md_policy_victim(md_policy *p, int32_t layer, const int32_t *candidate, int32_t n);
void md_policy_pin(md_policy *p, int32_t layer, int32_t expert, bool pinned);

/* The hot list: how much each expert was used, older uses counting less; layer after layer, expert after expert, without
 * gaps. What one policy saved any other can restore. */
size_t md_policy_n_counts(const md_policy *p);         /* the sum of n_expert */
void md_policy_counts(const md_policy *p, float *out); /* [n_counts]; of each layer they sum to 1, or all are 0 */
/* Starts from such counts, of a run before. Numbers that are negative or not finite count as 0. MD_ERR_ARGUMENT if n is not
 * n_counts; nothing was changed then. */
md_status md_policy_set_counts(md_policy *p, const float *count, size_t n, md_error *err) MD_MUST_USE;

#endif
