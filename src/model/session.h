/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of a session: KV pages, threads, scratch, and the step under way. One arena of scratch, planned before it is
 * taken; nothing is allocated inside a step.
 *
 * Letters as in spec.h; T most rows of a step, K picked experts, P = T * K pairs. */
#ifndef MD_MODEL_SESSION_H
#define MD_MODEL_SESSION_H

#include "base/pool.h"
#include "model/model.h"
#include <medley/engine.h>

/* Rows of one sequence that read keys together. */
#define MD_ATTEND_ROWS 8

typedef struct md_row {
    md_seq *seq; /* borrowed */
    int32_t pos;
    uint8_t want;
    int32_t slot; /* of logits and hidden, or -1 */
} md_row;

/* Consecutive rows of one sequence. */
typedef struct md_row_block {
    int32_t first, n;
} md_row_block;

typedef struct md_thread_counters {
    _Alignas(64) uint64_t tiles_run, tiles_skipped;
} md_thread_counters;

/* Step buffers. All borrowed from the session's one block. */
typedef struct md_scratch {
    float *x, *h, *y;     /* (T, D) residual stream, normed rows, a branch's output */
    float *q, *k, *v;     /* (T, heads * dim) */
    float *att;           /* (T, H * dim_v) */
    float *ml;            /* (T, H, 2) running maximum and sum */
    float *head_gate;     /* (T, H) */
    float *gate, *up;     /* (T, F) */
    float *shared;        /* (T, D) */
    md_rows in, mid;      /* forms of h, and of what comes before a block's last product */
    float *router_logits; /* (T, E) */
    float *route_work;    /* (threads, 3 E) */
    int32_t *expert;      /* (n_layer, T, K) */
    float *weight;        /* (n_layer, T, K) */
    md_expert_scratch experts;
    float *cs;                    /* (T, n_rot / 2, 2) cosines and sines of the rope under way */
    float *tiles;                 /* (threads, (dim_k + dim_v) * MD_TILE) */
    float *logits, *hidden;       /* (n_logits, N), (n_logits, D) */
    md_row *row;                  /* (T) */
    md_row_block *block;          /* (T) */
    md_thread_counters *counters; /* (threads) */
} md_scratch;

struct md_seq {
    md_session *session; /* borrowed */
    md_kv_table table;
    int32_t pending;           /* rows of the step under way */
    uint8_t *mask;             /* (n_layer, E) md_expert_state, owned; NULL: all normal */
    const md_adapter *adapter; /* borrowed. Its place: nothing makes adapters yet, so it is NULL */
    md_seq *prev, *next;
};

/* A frozen sequence. */
struct md_snapshot {
    md_seq seq;
};

struct md_session {
    const md_model *model; /* borrowed */
    md_session_args args;  /* with defaults filled in */
    md_pool *pool;         /* owned */
    md_ops ops;
    md_kv_pool *kv; /* owned */
    md_resident_store store;
    void *memory; /* owned: what scratch points into */
    md_scratch s;
    md_seq *first; /* all sequences and snapshots */
    int32_t n_seqs;

    bool stepping;
    int32_t n_rows, n_blocks, next_layer; /* the step under way, or the last one */
    int32_t rope_ready;                   /* which rope s.cs holds, -1: none */

    uint64_t steps, rows;
    unsigned observe_points;
    md_observer_fn *observe;
    void *observe_user;
    void *slot; /* owned by whoever set it through md_session_slot */
    void (*slot_free)(void *);
};

/* Gives every pointer of s its place at `base` (NULL: only measures) and returns the bytes needed. */
size_t md_scratch_plan(const md_model *m, const md_session_args *args, md_scratch *s, unsigned char *base);

/* A place for what lives as long as the session; free_fn runs on it when the session goes. */
void **md_session_slot(md_session *s, void (*free_fn)(void *));
md_session *md_seq_session(const md_seq *q);

/* Parts of a layer; they read and write session scratch. */
void md_step_attention(md_session *s, int32_t layer);
bool md_step_ffn(md_session *s, int32_t layer);

static inline bool md_observed(const md_session *s, md_point p)
{
    return s->observe && (s->observe_points >> p & 1);
}
void md_observe_rows(md_session *s, md_point p, int32_t layer, const float *values);

#endif
