/* SPDX-License-Identifier: Apache-2.0
 *
 * Experts: where their weights are, and running them on grouped rows. A store answers {want, ready, run, release}: callers
 * say early which experts a layer needs, then take them one by one. The resident store answers at once; a streamed one
 * (expert/streamed.h) reads meanwhile. Combination order is fixed, so results do not depend on the store.
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
    /* True when the expert is there or on its way. NULL: all of them are there. */
    bool (*present)(md_expert_store *s, int32_t layer, int32_t expert);
    /* Tells what a layer's router chose, before `want`: expert, weight [n], rows after each other; ids outside of the layer's FFNs
     * count for nothing. NULL: it does not care. */
    void (*chosen)(md_expert_store *s, int32_t layer, const int32_t *expert, const float *weight, int64_t n);
    /* Takes a guess of what rows will choose at layer `guess`, the next one with experts: expert [n], rows after each other, each
     * row's likeliest first; n 0: no idea. To be called once a layer, when reads for the present one are under way. NULL: it does
     * not care. */
    void (*expect)(md_expert_store *s, const int32_t *expert, int64_t n);
    int32_t guess; /* -1: a guess is not worth making now */
    int32_t most;  /* experts of a layer that it can hold at once, what is wanted included; 0: all of them */
};

/* All experts where they are, e.g. in a mapped file. table: (n_layer) pointers to (E) experts, NULL for layers without;
 * borrowed. */
typedef struct md_resident_store {
    md_expert_store store;
    const md_expert *const *table;
} md_resident_store;
void md_resident_store_init(md_resident_store *s, const md_expert *const *table);

/* A network and the rows it works on: a routed expert, the shared one, or a dense layer's only one. */
typedef struct md_ffn_unit {
    const md_expert *w;
    int64_t width;      /* X of this one */
    const int32_t *row; /* (n) rows it reads; NULL: 0 .. n-1 */
    int32_t n;
    int32_t place; /* of its first row among those of all units of the layer */
    md_ffn_act act;
    float alpha, limit;
    bool gated;
    const float *weight; /* (n) multiplies the products of its input, or NULL */
    float *hidden;       /* (n, X) */
    md_rows mid;         /* forms of hidden, as its down matrix wants them */
    /* how its first half is cut: items are (panel of rows, stretch of hidden columns) */
    int64_t panel, stretch, stretches, items;
} md_ffn_unit;

/* Buffers for running one layer's networks on at most T rows; planned with the step's scratch. */
typedef struct md_expert_scratch {
    float *hidden;            /* (P, X), if some down matrix reads floats */
    md_rows rows;             /* forms of hidden: (P, X) */
    float *out;               /* (T, D) one expert's outputs, for whoever watches */
    float *work;              /* (threads, work_floats) */
    int64_t work_floats;      /* md_expert_work */
    const float **part;       /* (threads, K) */
    float *part_weight;       /* (threads, K) */
    int32_t *loaded_id;       /* (E) experts of the units under way */
    md_ffn_unit *unit;        /* (E + 1) in order of arrival */
    uint64_t *queue;          /* (E + 1) the order in which units begin */
    float *pair_weight;       /* (P) by place */
    int32_t *order, *n_order; /* (T, K) a row's slots by ascending expert, (T) how many */
    float *mix;               /* (P, 2) the shares of a pair's constant expert */
    int32_t *pending;         /* (E) experts that were not there yet */
    double *sum;              /* (T, D) of experts in waves; NULL: the store holds all of them */
    md_grouping group;
} md_expert_scratch;
/* Experts of a wave, where rows chose more than the `most` that a store can hold. */
int32_t md_wave_size(int32_t most);
/* Floats of work that a thread needs. */
int64_t md_expert_work(int64_t n_rows, int64_t top_k, int64_t d, int n_threads);

/* Experts that are no FFN (Jin et al. 2024, "MoE++"), numbered after those that are: constant ones, which mix their input with
 * a vector of their own, copies, which give their input, and zeros, which give nothing. */
typedef struct md_expert_others {
    int32_t n_constant, n_copy, n_zero;
    const float *constant; /* (n_constant, D); borrowed */
    const float *mix; /* (n_constant, 2, D): its products with the input, as a softmax, are the two shares; borrowed */
} md_expert_others;

/* A network that every row goes through. */
typedef struct md_ffn_job {
    const md_expert *w;
    int64_t d, x; /* what it gives, its own width */
    md_ffn_act act;
    float alpha, limit; /* of the activation (ops.h) */
    bool gated;         /* it has a gate; else act(up) */
    float *hidden;      /* (T, X), if the down matrix reads floats */
    md_rows *mid;       /* buffers for forms of hidden: (T, X) */
} md_ffn_job;

/* y (T, D) = down(act(gate, up)). */
void md_ffn_run(const md_ops *o, const md_ffn_job *job, md_rows *in, md_expert_scratch *s, float *y);

typedef struct md_expert_job {
    int32_t layer;
    int32_t n_expert, top_k;
    int64_t d, x; /* widths; X the largest. An expert's own is that of its down matrix */
    md_expert_others others;
    md_ffn_act act;
    float alpha, limit;
    bool gated;                 /* experts have gates; else act(up) */
    bool weigh_input;           /* a weight multiplies what its expert reads, not what it gives */
    const int32_t *expert;      /* (T, K) */
    const float *weight;        /* (T, K) */
    const md_ffn_job *shared;   /* added last, or NULL */
    const float *shared_weight; /* (T), or NULL: ones */
    void (*meanwhile)(
        void *user); /* runs once when the store knows what is wanted and before it is waited for; or NULL */
    void *meanwhile_user;
} md_expert_job;

/* y (T, D) = sum over a row's experts, ascending by id, of weight * expert(row), then the shared one's. on_out, if given, sees
 * each routed FFN's outputs before weighing. False if the store could not give an expert. */
typedef void md_expert_seen_fn(void *user, int32_t expert, int32_t n_rows, const int32_t *row, const float *out);
bool md_experts_run(const md_ops *o, md_expert_store *store, const md_expert_job *job, md_rows *in,
                    md_expert_scratch *s, float *y, md_expert_seen_fn *on_out, void *user);

/* --- inside: the first half of units (hidden.c) --- */

/* Each unit's mid = forms of act(gate) * up, or of act(up), of the rows that it reads. */
void md_hidden_run(const md_ops *o, md_ffn_unit *unit, int32_t n_units, md_rows *in, uint64_t *queue, float *work,
                   int64_t work_floats);
/* Floats of work that a thread needs for it. */
int64_t md_hidden_work(void);

/* --- inside: the second half (output.c) --- */

/* Experts [low, high) of a layer, or all of them: waves follow each other in ascending order. */
typedef struct md_expert_wave {
    const md_ffn_unit *unit; /* of the experts that rows chose, in any order, then the shared one */
    int32_t n_units;
    int32_t low, high;
    bool first, last; /* the last one has the shared one, and what is no FFN */
} md_expert_wave;

/* y += the wave's part of the layer's sums; done when it is the last. One wave that is all of them needs no s->sum. */
void md_output_run(const md_ops *o, const md_expert_job *job, const md_expert_scratch *s, const md_expert_wave *wave,
                   const float *x, int64_t n_rows, float *y);
int64_t md_output_work(int64_t n_rows, int64_t top_k, int64_t d, int n_threads);

#endif
