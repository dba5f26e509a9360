/* SPDX-License-Identifier: Apache-2.0
 *
 * Routers: which experts a token goes to, and with what weight. Pure functions of the logits; networks with weights run in
 * `model/`. A family's router is a setting of the switches below, never a fork (docs/numerics.md, section 8).
 *
 * Letters: E experts, K picked. */
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
} md_score;

typedef enum md_group_score { MD_GROUP_MAX, MD_GROUP_SUM2 } md_group_score;

typedef struct md_router {
    md_score score;
    int32_t n_expert, top_k;
    int32_t n_group, n_group_kept; /* n_group <= 1: no groups; else E is a multiple of n_group */
    md_group_score group_score; /* how a group is judged: best expert (DeepSeek-V2 2024), sum of best two (V3 2024) */
    bool normalise;             /* divide the weights by their sum */
    float norm_floor;           /* the sum counts as at least this much */
    float scale;                /* multiplies the weights at the end */
} md_router;

/* Mask values, as in medley/engine.h. ORDER EXPERT_STATE */
enum { MD_MASK_NORMAL, MD_MASK_OFF, MD_MASK_FORCED };

/* Routes one token. logits (E): overwritten. bias (E): added for the selection only, or NULL. mask (E) or NULL. work (3 E).
 * expert (K) and weight (K): the picked, best first; a slot that no expert can fill is -1 with weight 0. */
void md_route(const md_kern *kern, const md_router *r, float *logits, const float *bias, const uint8_t *mask,
              float *work, int32_t *expert, float *weight);

/* One line for people: "softmax, top 8 of 128, normalised". */
void md_router_describe(const md_router *r, char *buf, size_t n);
const char *md_score_name(md_score s);

/* --- who goes where: the routing of a step, grouped by expert --- */
typedef struct md_grouping {
    int32_t n_active;
    int32_t *active; /* (E) experts with rows, ascending */
    int32_t *first;  /* (E + 1) expert e's pairs are first[e] .. first[e+1]-1 */
    int32_t *row;    /* (T * K) row of each pair, by expert, then row */
    int32_t *slot;   /* (T * K) for (row, slot): its pair, or -1 */
} md_grouping;
/* Groups expert (T, K) by expert. */
void md_group(const int32_t *expert, int32_t n_rows, int32_t top_k, int32_t n_expert, md_grouping *g);

#endif
