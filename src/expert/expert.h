/* SPDX-License-Identifier: Apache-2.0
 *
 * Experts: where their weights are, and running them on grouped rows. A store answers {want, ready, run, release}: callers
 * say early which experts a layer needs, then take them one by one. The resident store answers at once; a streamed one
 * reads meanwhile. Combination order is fixed, so results do not depend on the store.
 *
 * Letters: T rows, K picked, P = T * K pairs (row, slot), D model width, X expert width, E experts that are FFNs. */
#ifndef MD_EXPERT_EXPERT_H
#define MD_EXPERT_EXPERT_H

#include "ops/ops.h"
#include "route/route.h"

/* One expert's matrices. gate is empty (data NULL) when gate and up are one matrix: then up has 2X rows, gate first. */
typedef struct md_expert {
    md_weight gate, up, down;
} md_expert;

typedef struct md_expert_store md_expert_store;
struct md_expert_store {
    /* Says which experts of a layer are needed soon, in the order of use. A hint; may return before they are there. */
    void (*want)(md_expert_store *s, int32_t layer, const int32_t *expert, int32_t n);
    /* True when run would not wait. */
    bool (*ready)(md_expert_store *s, int32_t layer, int32_t expert);
    /* The expert's weights, present until release. Waits for them if need be. NULL if they cannot be had. */
    const md_expert *(*run)(md_expert_store *s, int32_t layer, int32_t expert);
    void (*release)(md_expert_store *s, int32_t layer, int32_t expert);
};

/* All experts where they are, e.g. in a mapped file. table: (n_layer) pointers to (E) experts, NULL for layers without;
 * borrowed. */
typedef struct md_resident_store {
    md_expert_store store;
    const md_expert *const *table;
} md_resident_store;
void md_resident_store_init(md_resident_store *s, const md_expert *const *table);

/* Buffers for running one layer's experts on at most T rows; planned with the step's scratch. */
typedef struct md_expert_scratch {
    float *gate_up;           /* (P, 2X) */
    float *hidden;            /* (P, X) */
    float *out;               /* (P, D) */
    md_rows rows;             /* forms of hidden: (P, X) */
    const md_expert **loaded; /* (E) */
    int32_t *pair;            /* (P) the row of hidden that a pair has */
    int32_t *same;            /* (E) the active experts of one width */
    float *mix;               /* (P, 2) the shares of a pair's constant expert */
    md_grouping group;
} md_expert_scratch;

/* Experts that are no FFN (Jin et al. 2024, "MoE++"), numbered after those that are: constant ones, which mix their input with
 * a vector of their own, copies, which give their input, and zeros, which give nothing. */
typedef struct md_expert_others {
    int32_t n_constant, n_copy, n_zero;
    const float *constant; /* (n_constant, D); borrowed */
    const float *mix; /* (n_constant, 2, D): its products with the input, as a softmax, are the two shares; borrowed */
} md_expert_others;

typedef struct md_expert_job {
    int32_t layer;
    int32_t n_expert, top_k;
    int64_t d, x;         /* widths; X the largest */
    const int32_t *width; /* (n_width) each width that experts have, once; borrowed. n_width 0: all are X wide */
    int32_t n_width;
    md_expert_others others;
    md_ffn_act act;
    float alpha, limit;    /* of the activation (ops.h) */
    bool gated;            /* experts have gates; else act(up) */
    bool weigh_input;      /* a weight multiplies what its expert reads, not what it gives */
    const int32_t *expert; /* (T, K) */
    const float *weight;   /* (T, K) */
} md_expert_job;

/* y (T, D) = sum over a row's experts, ascending by id, of weight * expert(row). on_out, if given, sees each FFN's outputs
 * before weighing. False if the store could not give an expert. */
typedef void md_expert_seen_fn(void *user, int32_t expert, int32_t n_rows, const int32_t *row, const float *out);
bool md_experts_run(const md_ops *o, md_expert_store *store, const md_expert_job *job, md_rows *in,
                    md_expert_scratch *s, float *y, md_expert_seen_fn *on_out, void *user);

#endif
