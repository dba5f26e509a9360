/* SPDX-License-Identifier: Apache-2.0
 *
 * Routers: which experts a token goes to, and with what weight. Pure functions of the logits; networks with weights run in
 * `model/`. A family's router is a setting of the switches below, never a fork (docs/numerics.md, section 8;
 * docs/routers.md has formulas and papers). What looks at a whole batch (expert choice, balanced assignment, capacity by
 * score) serves training and encoders; md_route alone decides in generation, token by token.
 *
 * Letters: T rows (tokens), E experts, K picked, C capacity (tokens an expert takes), W window. */
#ifndef MD_ROUTE_ROUTE_H
#define MD_ROUTE_ROUTE_H

#include "kern/kern.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum md_score {
    MD_SCORE_SOFTMAX, /* over all experts */
    MD_SCORE_SIGMOID,
    MD_SCORE_SOFTMAX_PICKED, /* select on logits, then softmax over the picked (gpt-oss, 2025) */
    MD_SCORE_SQRT_SOFTPLUS,  /* sqrt(log(1 + exp(x))) (DeepSeek-V4, 2026) */
    MD_SCORE_SPARSE_MIXER,   /* each pick: softmax over those left that come near it (SparseMixer, Liu et al. 2023) */
} md_score;

/* What experts are ranked by. Bias, where there is one, is added. */
typedef enum md_select {
    MD_SELECT_SCORE,
    MD_SELECT_LOGIT,     /* before the score function (Llama 4, 2025) */
    MD_SELECT_THRESHOLD, /* by score, and only experts whose score is at least their threshold */
    MD_SELECT_GIVEN,     /* not ranked: the caller has filled in the picks, e.g. from a table by token id */
} md_select;

typedef enum md_group_score {
    MD_GROUP_MAX,   /* groups are judged by their best expert (DeepSeek-V2 2024) */
    MD_GROUP_SUM2,  /* by the sum of their best two (DeepSeek-V3 2024) */
    MD_GROUP_EQUAL, /* none is dropped: each gives K / n_group experts (MoGE, Tang et al. 2025) */
} md_group_score;

/* What becomes of a token's pick that is full (MD_MASK_FULL) (He et al. 2025). */
typedef enum md_overflow {
    MD_OVERFLOW_REROUTE, /* the next best expert with room takes its place */
    MD_OVERFLOW_DROP,    /* the slot stays empty */
} md_overflow;

typedef struct md_router {
    md_score score;
    int32_t n_expert, top_k;
    int32_t n_group, n_group_kept; /* n_group <= 1: no groups; else E is a multiple of n_group */
    md_group_score group_score;
    bool normalise;   /* divide the weights by their sum */
    float norm_floor; /* the sum counts as at least this much */
    float scale;      /* multiplies the weights at the end */
    md_select select;
    float jitter;           /* of SPARSE_MIXER: how near is near; half the relative distance */
    int32_t n_null;         /* the last n_null experts give nothing and have no share in normalised weights (AdaMoE) */
    const float *threshold; /* (E) of SELECT_THRESHOLD; borrowed */
    const float *expert_scale; /* (E): multiplies each expert's weight after `scale`; borrowed, or NULL */
    md_overflow overflow;
    int32_t capacity, window; /* an expert takes at most C tokens of each W positions of a sequence; C 0: no limit */
} md_router;

/* Mask values; the first three as in medley/engine.h. An expert that is full keeps its score (so that the other scores stay
 * what they are) and takes no token. ORDER EXPERT_STATE */
enum { MD_MASK_NORMAL, MD_MASK_OFF, MD_MASK_FORCED, MD_MASK_FULL };

/* Routes one token. logits (E): overwritten. bias (E): added for the selection only, or NULL. mask (E) or NULL. work (3 E).
 * expert (K) and weight (K): the picked, best first; a slot that no expert can fill is -1 with weight 0. With SELECT_GIVEN,
 * expert holds the picks on entry, -1 for none, and keeps their order. */
void md_route(const md_kern *kern, const md_router *r, float *logits, const float *bias, const uint8_t *mask,
              float *work, int32_t *expert, float *weight);

/* One line for people: "softmax, top 8 of 128, normalised". */
void md_router_describe(const md_router *r, char *buf, size_t n);
const char *md_score_name(md_score s);

/* --- capacity (capacity.c) --- */

/* ceil(factor * K * T / E), at least 1: the tokens an expert takes when T tokens have K picks each. */
int32_t md_capacity(float factor, int32_t top_k, int64_t n_rows, int32_t n_expert);
/* Adds one for each expert of a routing (n slots, -1: empty). */
void md_count_picks(const int32_t *expert, int64_t n, int32_t *count);
/* out (E) = mask, with FULL for normal experts that have taken C tokens. mask NULL: all normal. out may be mask. */
void md_capacity_mask(const md_router *r, const int32_t *taken, const uint8_t *mask, uint8_t *out);
/* Batch form: each expert keeps the C tokens with the greatest weights, ties to the earlier token; the other slots are
 * emptied, and what remains of a token moves to the front. Dropping: give K slots a token. Rerouting: give more slots than
 * K, and use the first K of what is left. expert, weight (T, slots), best first; work (E + T). */
void md_capacity_keep_best(int32_t *expert, float *weight, int32_t n_rows, int32_t n_slots, int32_t n_expert,
                           int32_t capacity, int32_t *work);

/* --- experts choose tokens (choice.c) --- */

/* T * K / E, at least 1 and at most T (Zhou et al. 2022). */
int32_t md_choice_capacity(int32_t top_k, int32_t n_rows, int32_t n_expert);
/* Each expert takes the C tokens with the greatest score (T, E), ties to the earlier token. A token keeps at most `slots` of
 * the experts that took it. expert, weight (T, slots): weight is the score, best first; -1 and 0 where empty. work (C). */
void md_choose_by_experts(const float *score, int32_t n_rows, int32_t n_expert, int32_t capacity, int32_t n_slots,
                          int32_t *work, int32_t *expert, float *weight);
/* The `keep` active rows with the greatest score stay active, ties to the earlier row. work (keep). */
void md_keep_best(const float *score, int32_t n_rows, int32_t keep, int32_t *work, uint8_t *active);

/* --- balanced assignment (assign.c) --- */

/* One expert for each token: the sum of score (T, E) is the greatest there is when no expert takes more than ceil(T / E)
 * tokens. expert (T); paths (2 E), work (4 E). */
void md_assign_balanced(const float *score, int32_t n_rows, int32_t n_expert, double *paths, int32_t *work,
                        int32_t *expert);

/* --- what routers carry from layer to layer (carry.c) --- */

/* A gated recurrent unit's step, given its two products, with biases: in = W x (3 H), carried = U state (3 H), in the order
 * reset, update, new. Overwrites in; state (H) becomes the new state. */
void md_gru_step(const md_kern *kern, float *in, const float *carried, float *state, int64_t h);

/* --- who goes where: the routing of a step, grouped by expert --- */
typedef struct md_grouping {
    int32_t n_active;
    int32_t *active; /* (E) experts with rows, ascending */
    int32_t *first;  /* (E + 1) expert e's pairs are first[e] .. first[e+1]-1 */
    int32_t *row;    /* (T * K) row of each pair, by expert, then row */
    int32_t *slot;   /* (T * K) for (row, slot): its pair, or -1 */
} md_grouping;
/* Groups expert (T, K) by expert. Slots that are empty, or name experts from n_expert on, are in no group. */
void md_group(const int32_t *expert, int32_t n_rows, int32_t top_k, int32_t n_expert, md_grouping *g);

#endif
