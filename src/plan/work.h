/* SPDX-License-Identifier: Apache-2.0
 *
 * What a model's step moves and computes, layer by layer, from its shapes alone; which experts rows choose; and what becomes of them in
 * a layer's slots.
 *
 * Letters: R rows of a step, E experts, K picked. */
#ifndef MD_PLAN_WORK_H
#define MD_PLAN_WORK_H

#include "base/mem.h"
#include "expert/policy.h"
#include "model/session.h"
#include <medley/unstable/plan.h>
#include "plan/profile.h"

/* --- work.c: shapes --- */

/* A matrix that rows meet. */
typedef struct md_plan_mul {
    md_type type;
    double weights; /* 0: there is none */
} md_plan_mul;

enum { MD_PLAN_MIXER = 7, MD_PLAN_FFN = 3 };

typedef struct md_plan_layer {
    md_plan_mul mixer[MD_PLAN_MIXER]; /* attention, or a recurrent mixer */
    md_plan_mul dense[MD_PLAN_FFN];   /* gate, up, down of a dense part */
    md_plan_mul shared[MD_PLAN_FFN];  /* of the shared expert, which runs with the routed ones */
    md_plan_mul around[MD_PLAN_FFN];  /* router; into and out of the experts' space */
    md_plan_mul expert[MD_PLAN_FFN];  /* of one routed expert; the first is 0 where gate and up are one */
    double heads, groups,
        dim;       /* attention: query heads, of them for each key head; dimensions of a key and a value; or 0 */
    double see;    /* positions that a row sees at most; 0: all */
    double state;  /* bytes of a recurrent state */
    double normed; /* floats of a row that are normed, turned or added */
    double dense_hidden, shared_hidden, expert_hidden; /* floats of a row between two matrices; of an expert's */
    double width;                                      /* floats that experts give */
    int32_t n_expert, top_k;                           /* 0: no experts */
    double rounds;                                     /* times that they run */
    double expert_bytes, woven_bytes; /* of an expert in its file; of it, to be made tiles when it is read */
    double expert_reads;
} md_plan_layer;

typedef struct md_plan_work {
    int32_t n_layer;
    md_plan_layer *layer; /* owned by the arena, [n_layer] */
    md_plan_mul output;
    double output_normed;
    double resident_bytes, resident_woven; /* of weights that stay; of them, to be made tiles */
    double all_bytes, all_woven;           /* of all weights */
} md_plan_work;
/* m: an outline whose experts are streamed, if it has some. */
md_status md_plan_work_fill(const md_model *m, md_arena *arena, md_plan_work *out, md_error *err) MD_MUST_USE;
/* Weight types that products meet. */
void md_plan_work_types(const md_plan_work *w, bool type[MD_N_TYPES]);

/* --- routing.c: which experts rows choose --- */
typedef struct md_plan_routing {
    bool traced;
    int32_t n_rows; /* of the trace */
    int32_t n_layer;
    const int32_t *top_k; /* [n_layer]; in the arena */
    uint16_t **choice;    /* [n_layer][n_rows][top_k], 0xffff: none; owned; NULL where the layer has no experts */
} md_plan_routing;
/* path NULL: even routing, drawn at random. MD_ERR_ARGUMENT for a trace of a model of another shape. */
md_status md_plan_routing_init(md_plan_routing *r, const char *path, const md_plan_work *w, md_arena *arena,
                               md_error *err) MD_MUST_USE;
void md_plan_routing_done(md_plan_routing *r);
/* What row `row` of all that are replayed chooses at a layer: out [top_k], -1: none. A trace begins anew behind its last row. */
void md_plan_routing_row(const md_plan_routing *r, const md_plan_layer *l, int32_t layer, int64_t row, int32_t *out);

/* --- replay.c: what a layer's slots make of them, by the store's rules and with its policies --- */

/* Experts that run together: those that were there, and those that the step reads. */
typedef struct md_plan_wave {
    bool first;    /* of a step */
    int32_t ahead; /* of the first: experts whose reads begin while the layer before ends */
    int32_t asked; /* experts whose reads begin when this wave is asked for: its own, and some of later ones */
    int32_t last;  /* the last read that the wave waits for, counted from 1 in the step; 0: none */
    int32_t hits, misses;
    int32_t hit_rows, miss_rows; /* rows that they meet */
} md_plan_wave;

typedef struct md_plan_flow {
    md_plan_wave *wave; /* owned, [n] */
    size_t n, cap;
    int64_t steps;
    double needs, hits; /* an expert that was read ahead is no hit */
    double ahead;       /* and is counted here if it was needed */
} md_plan_flow;

/* What is replayed: a prompt into empty slots, generation behind it, another prompt behind that. */
typedef struct md_plan_session {
    md_plan_flow first_prompt, generation, prompt;
} md_plan_session;
typedef struct md_plan_replay {
    int32_t n_prompt, n_rows; /* tokens; of a step */
    int32_t batch, n_steps;   /* of generation */
    int32_t most;             /* experts of a layer that can be asked for at once; 0: all */
    int32_t slots;            /* of this layer */
    int32_t before;           /* the layer with experts before this one, -1: none */
    const char *policy;       /* NULL: the preferred one */
} md_plan_replay;
/* Of `layer` of the layers [n_layer]. */
md_status md_plan_replay_run(const md_plan_replay *r, const md_plan_routing *routing, const md_plan_layer *layers,
                             int32_t layer, md_plan_session *out, md_error *err) MD_MUST_USE;
void md_plan_session_done(md_plan_session *s);

/* --- step.c: seconds of what does not depend on slots --- */

/* Seconds, and what they are spent for. */
typedef struct md_plan_time {
    double total;
    double disk;   /* of it, waiting for the disk */
    double memory; /* of it, what reading as many bytes takes that must come from memory */
} md_plan_time;

typedef struct md_plan_costs {
    const md_profile *profile;   /* borrowed */
    const md_profile_disk *disk; /* borrowed; NULL: nothing is streamed */
    bool f32_kv, read_ahead;
} md_plan_costs;
double md_plan_mul_seconds(const md_plan_costs *c, const md_plan_mul *m, int n, double rows);
/* Everything but routed and shared experts of a layer, for `rows` rows of `sequences` sequences that see `keys` positions on average. */
md_plan_time md_plan_layer_time(const md_plan_costs *c, const md_plan_layer *l, double rows, double sequences,
                                double keys);
/* Shared experts. */
md_plan_time md_plan_shared_time(const md_plan_costs *c, const md_plan_layer *l, double rows);
/* The output matrix for so many rows. */
md_plan_time md_plan_output_time(const md_plan_costs *c, const md_plan_work *w, double rows);
/* First and second half of n experts that meet `rows` rows together. */
double md_plan_hidden_seconds(const md_plan_costs *c, const md_plan_layer *l, double n, double rows);
double md_plan_down_seconds(const md_plan_costs *c, const md_plan_layer *l, double n, double rows);
/* What memory alone needs for n experts. */
double md_plan_expert_floor(const md_plan_costs *c, const md_plan_layer *l, double n);
void md_plan_time_add(md_plan_time *sum, md_plan_time t);

/* --- stream.c: seconds of a layer's experts in slots --- */

/* Of all waves of a flow, on average a step of it, of so many rows. mixer: seconds of the layer before its experts. */
md_plan_time md_plan_flow_time(const md_plan_costs *c, const md_plan_layer *l, const md_plan_flow *f, double rows,
                               double mixer);
/* The same with all of them resident. */
md_plan_time md_plan_resident_time(const md_plan_costs *c, const md_plan_layer *l, const md_plan_flow *f);
/* From opening the file until the first prompt can begin: bytes that are read, those of them that are woven, and bytes of slots. */
double md_plan_load_seconds(const md_plan_costs *c, double bytes, double woven, double slots, md_plan_limit *limit);

#endif
