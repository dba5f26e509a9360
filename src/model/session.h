/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of a session: KV pages, threads, scratch, and the step under way. One arena of scratch, planned before it is
 * taken; nothing is allocated inside a step.
 *
 * Letters as in spec.h; T most rows of a step, K picked experts, P = T * K pairs. */
#ifndef MD_MODEL_SESSION_H
#define MD_MODEL_SESSION_H

#include "base/pool.h"
#include "base/sys.h"
#include "model/model.h"
#include "model/stream.h"
#include <medley/engine.h>

/* Rows of one sequence that read keys together. */
#define MD_ATTEND_ROWS 64

enum { MD_MOST_OBSERVERS = 4 };
typedef struct md_observer {
    unsigned points;
    md_observer_fn *fn; /* NULL: a free place */
    void *user;
} md_observer;

typedef struct md_row {
    md_seq *seq; /* borrowed */
    int32_t pos;
    int32_t token; /* -1: an embedding */
    uint8_t want;
    int32_t slot; /* of logits and hidden, or -1 */
    int32_t next; /* the sequence's next row of the step, or -1 */
} md_row;

/* Consecutive rows of one sequence. */
typedef struct md_row_block {
    int32_t first, n;
} md_row_block;

typedef struct md_thread_counters {
    _Alignas(64) uint64_t tiles_run, tiles_skipped;
} md_thread_counters;

/* Step buffers. All borrowed from the session's one block; those that no layer of the model needs have no bytes. */
typedef struct md_scratch {
    float *x, *h, *y;              /* (T, D) residual stream, normed rows, a branch's output */
    float *early, *ahead;          /* (T, D) the layer's input; the feed-forward's normed rows in a parallel layer */
    float *side;                   /* (T, D) the dense part's output beside routed experts */
    float *route_in;               /* (T, D) what a router with a norm of its own reads */
    float *q, *k, *v;              /* (T, heads * dim) */
    float *q_rank;                 /* (T, rank) compressed queries */
    float *latent;                 /* (H, T, dim) heads on their way into or out of the latent space */
    float *latent_q;               /* (T, H, rank) */
    float *widened;                /* (threads, MD_TURNED_ROWS, dim) rows of a matrix */
    float *att;                    /* (T, H * dim_v) */
    float *ml;                     /* (T, H, 2) running maximum and sum */
    float *head_gate;              /* (T, H or H * dim_v) */
    float *mixed;                  /* (T, channels) what a recurrent mixer projects */
    float *conv_in;                /* (T, channels and gates) before they are taken apart */
    float *gates, *conv;           /* (T, values), (T, channels) of it */
    float *numbers;                /* (T, numbers a head) of it */
    float *recurrent;              /* (threads, 3 * dim) */
    float *token;                  /* (T, n_layer * width) token vectors of all layers */
    float *token_gate;             /* (T, width) */
    float *hidden_ff;              /* (T, F), if some down matrix reads floats */
    float *shared, *shared_weight; /* (T, D), (T) */
    float *expert_in, *expert_out; /* (T, expert_embd) rows of experts in a latent space */
    md_rows in, mid;               /* forms of h, and of what comes before a block's last product */
    md_rows heads;                 /* forms of latent */
    float *router_logits;          /* (T, E) */
    float *guess_in;       /* (G, D) rows of a guess of the next layer's routing, G at most MD_AHEAD_ROWS; or NULL */
    md_rows guess_rows;    /* forms of them */
    float *guess_logits;   /* (G, E) */
    int32_t *guess_expert; /* (G, K) */
    float *guess_weight;   /* (K) */
    float *route_work;     /* (threads, 3 E) */
    int32_t *taken;        /* (threads, E) tokens that experts have taken of a window */
    uint8_t *route_mask;   /* (threads, E) */
    uint8_t *needed;       /* (E) of the layer under way, if what is missing may be left out */
    float *last_logits;    /* (T, E) of the layer with experts before; and what a router makes of them: */
    float *residual_logits;
    float *projected, *carried;           /* (T, H) what goes into a recurrent router, and its state */
    float *gru_in, *gru_state;            /* (T, 3 H) */
    md_rows route_rows;                   /* views of the four above */
    float *choice;                        /* (T, E) scores of a sequence whose experts choose; and what they chose: */
    int32_t *choice_expert, *choice_work; /* (T, K), (T) */
    float *choice_weight;                 /* (T, K) */
    int32_t *round_expert;                /* (T, K) of one round of iterated routing */
    float *round_weight;
    float *round_x, *round_gate; /* (T, D), (T) streams before a round of a recursion, and its weights */
    uint8_t *active;             /* (T) rows in the round; NULL: the model has no recursion */
    int32_t *expert;             /* (n_layer, T, K) */
    float *weight;               /* (n_layer, T, K) */
    md_expert_scratch experts;
    float *cs;                    /* (T, n_rot / 2, 2) cosines and sines of the rope under way */
    float *walk_x;                /* (n_walk, D) the residual stream of a walk, and its tokens */
    int32_t *walk_token;          /* (n_walk) */
    float *logits, *hidden;       /* (n_logits, N), (n_hidden, D) */
    md_row *row;                  /* (T) */
    md_row_block *block;          /* (T) */
    int32_t *first_row;           /* (T) of each sequence of the step */
    md_thread_counters *counters; /* (threads) */
} md_scratch;

struct md_seq {
    md_session *session; /* borrowed */
    md_kv_table table;
    int32_t pending, last_row; /* rows of the step under way; the last of them so far */
    struct md_walk *walking;   /* borrowed: the walk that it is on, or NULL */
    float *states;             /* (2, state_floats), owned: what recurrent layers remember; or NULL */
    float *state, *next_state; /* halves of it: now, and after the step */
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
    md_resident_store resident;
    md_streamed *streamed;    /* owned; NULL: experts are resident */
    md_expert_store *experts; /* one of the two */
    void *memory;             /* owned: what scratch points into */
    md_scratch s;
    md_seq *first; /* all sequences and snapshots */
    int32_t n_seqs;

    bool stepping;
    int32_t n_rows, n_blocks, n_active, next_layer; /* the step under way, or the last one; n_active sequences */
    int64_t q_stride;                               /* from one row of queries to the next */
    int32_t rope_ready;                             /* which rope s.cs holds, -1: none */

    uint64_t steps, rows;
    double part_seconds[MD_STEP_N_PARTS], part_began; /* of the part under way */
    md_observer observer[MD_MOST_OBSERVERS];          /* the first is md_session_observe's */
    unsigned observe_points;                          /* of all of them */
    struct {
        uint64_t rows, changed; /* rows of layers that were looked at; uses of experts that were left out or replaced */
        double weight;          /* the rows' shares of gate weight that those were */
    } on_miss;
    void *slot; /* owned by whoever set it through md_session_slot */
    void (*slot_free)(void *);
};

/* Gives every pointer of s its place at `base` (NULL: only measures) and returns the bytes needed. */
size_t md_scratch_plan(const md_model *m, const md_session_args *args, md_scratch *s, unsigned char *base);

/* Where experts are streamed (session_stream.c): fills in what slots get, of args->memory or of what is free; opens the store
 * with so many bytes of them, or the resident one. */
md_status md_session_estimate_slots(const md_model *m, const md_session_args *args, md_memory *out, md_error *err);
md_status md_session_open_store(md_session *s, uint64_t slots, md_error *err);

/* What rows of another run chose at a layer, (n) experts and weights: it teaches the store, which must be a streaming one. */
void md_session_teach(md_session *s, int32_t layer, const int32_t *expert, const float *weight, int64_t n);

/* A place for what lives as long as the session; free_fn runs on it when the session goes. */
void **md_session_slot(md_session *s, void (*free_fn)(void *));
md_session *md_seq_session(const md_seq *q);

/* Parts of a step: blocks of rows, their embeddings, a layer (false: an expert could not be read), the error of that, and what rows
 * asked for after the last layer. */
void md_step_cut_blocks(md_session *s);
void md_step_embed(md_session *s, const md_batch *b);
bool md_step_layer(md_session *s, int32_t layer);
md_status md_step_lost(const md_session *s, int32_t layer, md_error *err);
void md_step_outputs(md_session *s);

/* Parts of a layer; they read and write session scratch. A mixer leaves its output in y; it reads what h holds. */
void md_step_attention(md_session *s, int32_t layer);
void md_step_latent_in(md_session *s, const md_attn_spec *a);
void md_step_latent_out(md_session *s, const md_attn_spec *a);
void md_step_recurrent(md_session *s, const md_recurrent_spec *r);
/* Token vectors: made once a step, used at the end of each layer. token (T) or NULL. */
void md_step_token_layers(md_session *s, const int32_t *token);
void md_step_token_layer(md_session *s, int32_t layer);
bool md_step_ffn(md_session *s, int32_t layer);
/* Routes the rows that `in` holds; round: of iterated routing. expert, weight (T, K). */
void md_step_route(md_session *s, int32_t layer, int32_t round, int32_t *expert, float *weight);
/* Tells the store what the next layer with experts will probably choose. */
void md_step_guess(void *session);
/* Changes what rows chose, as md_session_args.on_miss wants it (on_miss.c). */
void md_step_on_miss(md_session *s, int32_t layer, int32_t *expert, float *weight);
/* Around each layer of a model with recursion: begin returns how many layers to skip, since no row is in their round. */
int32_t md_step_round_begin(md_session *s, int32_t layer);
void md_step_round_end(md_session *s, int32_t layer);

/* A part of the step ends here, and the next one begins. */
static inline void md_step_part_end(md_session *s, md_step_part part)
{
    const double now = md_sys_seconds();
    s->part_seconds[part] += now - s->part_began;
    s->part_began = now;
}

static inline bool md_observed(const md_session *s, md_point p)
{
    return s->observe_points >> p & 1;
}
/* Shows an event to those who asked for its point. */
void md_observe(const md_session *s, const md_event *e);
void md_observe_rows(md_session *s, md_point p, int32_t layer, const float *values);

#endif
