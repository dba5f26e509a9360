/* SPDX-License-Identifier: Apache-2.0
 *
 * Traces: which experts every token chose at every layer, and what the expert store did about it, as a file that can be
 * read while it grows (docs/trace.md fixes the bytes); and what can be learned from one: load, affinity, hit rates.
 *
 * A writer, a reader and a session's trace belong to one thread at a time; results are immutable. */
#ifndef MEDLEY_TRACE_H
#define MEDLEY_TRACE_H

#include <medley/engine.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct md_trace_layer {
    int32_t n_expert; /* that its router chooses from; 0: the layer has none */
    int32_t n_ffn; /* the first of them are networks with weights; the others (zeros, copies, constants) cost nothing */
    int32_t top_k; /* slots of a row */
    uint64_t expert_bytes; /* weights of one expert; the mean if they differ */
} md_trace_layer;

typedef struct md_trace_info {
    const char *model;           /* general.name, "" when absent */
    uint64_t identity;           /* of the model file's contents */
    int32_t n_layer;             /* 1 to 65535 */
    const md_trace_layer *layer; /* [n_layer] */
} md_trace_info;

/* --- writing --- */
typedef struct md_trace_writer md_trace_writer;
/* Begins a trace. A file that is there is replaced if it is empty or a trace, else MD_ERR_ARGUMENT. info is copied. */
MD_API MD_MUST_USE md_status md_trace_writer_open(const char *path, const md_trace_info *info, md_trace_writer **out,
                                                  md_error *err);
/* The same for a model. */
MD_API MD_MUST_USE md_status md_trace_writer_open_model(const char *path, const md_model *m, md_trace_writer **out,
                                                        md_error *err);
/* What follows only fills a buffer, allocates nothing and cannot fail: after a write that failed, records are dropped, and
 * md_trace_writer_close tells. A record that makes no sense (a layer that is not there) is dropped, too, and told. */

/* A step of n rows begins: of each, its sequence (a small number of the caller's), position and token, -1 if unknown. */
MD_API void md_trace_write_step(md_trace_writer *w, int32_t n, const int32_t *sequence, const int32_t *position,
                                const int32_t *token);
/* The choices of the step's rows at a layer: expert and weight [n][top_k], -1 for an empty slot. A layer may come again. */
MD_API void md_trace_write_routing(md_trace_writer *w, int32_t layer, int32_t n, const int32_t *expert,
                                   const float *weight);
/* What a store did for the step at a layer: experts that were there and that were not, bytes read, time spent waiting. */
MD_API void md_trace_write_store(md_trace_writer *w, int32_t layer, uint32_t hits, uint32_t misses, uint64_t bytes,
                                 uint64_t wait_ns);
/* The step is over, so many nanoseconds after it began. */
MD_API void md_trace_write_step_end(md_trace_writer *w, uint64_t ns);
MD_API void md_trace_writer_flush(md_trace_writer *w); /* hands what is buffered to the system */
/* Flushes, closes and frees. The status of the first failure. w NULL: MD_OK. */
MD_API MD_MUST_USE md_status md_trace_writer_close(md_trace_writer *w, md_error *err);

/* --- a session's trace --- */
typedef struct md_session_trace md_session_trace;
/* From now on the session's steps are written to w, by an observer that is added to the session's (md_session_add_observer).
 * Sequences are numbered as they appear, from 0; a number is used again when its sequence is gone. Writes are flushed at the end
 * of a step, at most once a second. w must have been opened for the session's model. */
MD_API MD_MUST_USE md_status md_session_trace_begin(md_session *s, md_trace_writer *w, md_session_trace **out,
                                                    md_error *err);
/* Removes the observer; the session must still be there. NULL allowed. The writer stays open. */
MD_API void md_session_trace_end(md_session_trace *t);

/* Teaches a session whose experts are streamed what a trace of an earlier run tells: which experts are used most, which follow
 * which. MD_ERR_UNSUPPORTED for a model of another shape, or where nothing is streamed. What was read before an error counts. */
MD_API MD_MUST_USE md_status md_session_learn(md_session *s, const char *path, md_error *err);

/* --- reading --- */
typedef enum md_trace_kind {
    MD_TRACE_STEP = 1,
    MD_TRACE_ROUTING = 2,
    MD_TRACE_STORE = 3,
    MD_TRACE_STEP_END = 4,
} md_trace_kind;

/* One record; fields that its kind does not have are 0. Arrays are borrowed until the next call. */
typedef struct md_trace_record {
    md_trace_kind kind;
    uint64_t offset;                            /* in the file */
    uint64_t step;                              /* that it belongs to, from 0 */
    int32_t layer;                              /* ROUTING, STORE */
    int32_t n_rows;                             /* STEP, ROUTING */
    const int32_t *sequence, *position, *token; /* STEP: [n_rows] */
    int32_t top_k;                              /* ROUTING */
    const int32_t *expert;                      /* ROUTING: [n_rows][top_k], -1: empty */
    const float *weight;
    uint32_t hits, misses;   /* STORE */
    uint64_t bytes, wait_ns; /* STORE */
    uint64_t ns;             /* STEP: since the trace began; STEP_END: since the step began */
} md_trace_record;

typedef struct md_trace_reader md_trace_reader;
/* Files may come from anywhere: everything is checked. MD_ERR_FORMAT names what is wrong, and at what offset. */
MD_API MD_MUST_USE md_status md_trace_reader_open(const char *path, md_trace_reader **out, md_error *err);
MD_API const md_trace_info *md_trace_reader_info(const md_trace_reader *r);
/* The next record, or *out NULL when there is no whole one: at the end, or before a record that is still being written. It
 * may be asked again after the file has grown. After an error the reader stays where it is. */
MD_API MD_MUST_USE md_status md_trace_reader_next(md_trace_reader *r, const md_trace_record **out, md_error *err);
MD_API void md_trace_reader_close(md_trace_reader *r); /* NULL allowed */

/* --- summary --- */
typedef struct md_trace_load {
    uint64_t rows;         /* that were routed */
    uint64_t choices;      /* of experts, by all rows together */
    int32_t used;          /* experts that were chosen at all */
    int32_t busiest;       /* -1 if none was */
    double max_over_mean;  /* its choices, to the mean of all experts */
    double variation;      /* standard deviation of the experts' choices, to their mean */
    double entropy;        /* of the experts' shares, in bits; log2(n_expert) if all are alike */
    double repeated;       /* share of choices that the same sequence's last token made here, too */
    double divergence;     /* from the other trace: Jensen-Shannon, in bits, 0 to 1; -1: there is none */
    uint64_t hits, misses; /* of the store */
    uint64_t bytes, wait_ns;
    const uint64_t *count; /* [n_expert] choices */
} md_trace_load;

typedef struct md_trace_summary {
    md_trace_info info;
    uint64_t steps, rows;
    uint64_t timed_steps, ns;   /* steps that ended, and how long they took together */
    const md_trace_load *layer; /* [info.n_layer]; all 0 where a layer has no experts */
    md_trace_load total;        /* sums; mean over layers of the shares and of entropy; busiest -1, count NULL */
} md_trace_summary;
/* against: another trace, of a model of the same shape, to compare with, or NULL. */
MD_API MD_MUST_USE md_status md_trace_summarise(const char *path, const char *against, md_trace_summary **out,
                                                md_error *err);
MD_API void md_trace_summary_free(md_trace_summary *s); /* NULL allowed */

/* --- affinity: what a layer's choice tells of the next one's --- */
typedef struct md_trace_pair {
    int32_t layer, expert, next_layer, next_expert;
    uint64_t count;     /* rows that chose both */
    double probability; /* of the second, given the first */
    double lift;        /* that, to the second's own probability */
} md_trace_pair;

/* A table of pairs, learned from the first half of the rows, guesses as many experts as each row of the second half chose.
 * Shares of choices that were guessed: */
typedef struct md_trace_guess {
    int32_t layer, next_layer;
    uint64_t choices;     /* that were to be guessed */
    double by_affinity;   /* from the row's choice at the layer before */
    double by_popularity; /* the same for all rows */
    double by_last_token; /* what the sequence's last row chose at this layer */
} md_trace_guess;

typedef struct md_trace_affinity {
    size_t n_pairs;
    const md_trace_pair *pair; /* [n_pairs] that say most: by their part of the mutual information */
    size_t n_guesses;
    const md_trace_guess *guess; /* [n_guesses] by layer */
    md_trace_guess total;        /* layers -1 */
} md_trace_affinity;
/* max_pairs: at most 1000. MD_ERR_LIMIT if the model is too large for the tables (2 GiB, 4096 experts of a layer). */
MD_API MD_MUST_USE md_status md_trace_find_affinity(const char *path, size_t max_pairs, md_trace_affinity **out,
                                                    md_error *err);
MD_API void md_trace_affinity_free(md_trace_affinity *a); /* NULL allowed */

/* --- simulation: what a cache of experts would have hit --- */
typedef struct md_trace_simulate_args {
    const char *const *policy; /* [n_policies] names; NULL: all there are. Belady's optimum is always added */
    size_t n_policies;
    /* Rooms to replay in. Without any: an eighth, a quarter and half of the experts */
    const int32_t *slots; /* [n_slots] experts of a layer that there is room for, at least 1 */
    size_t n_slots;
    uint64_t memory;          /* bytes for all layers together, cut into as many slots for each as fit; 0: none */
    md_progress_fn *progress; /* may be NULL; unit: simulations */
    void *progress_user;
} md_trace_simulate_args;

typedef struct md_trace_replay {
    const char *policy; /* "lru"; "optimum" */
    int32_t slots;      /* of each layer; all of its experts if it has fewer */
    uint64_t room;      /* bytes of all slots */
    uint64_t hits, misses, missed_bytes;
    double hit_rate;
} md_trace_replay;

typedef struct md_trace_simulation {
    uint64_t steps, needs; /* a need is an expert that some row of a step chose */
    size_t n_replays;
    const md_trace_replay *replay; /* [n_replays] by slots, then policy in the order asked for, the optimum last */
} md_trace_simulation;
/* MD_ERR_LIMIT if a layer has more than 4096 experts. args may be NULL. */
MD_API MD_MUST_USE md_status md_trace_simulate(const char *path, const md_trace_simulate_args *args,
                                               md_trace_simulation **out, md_error *err);
MD_API void md_trace_simulation_free(md_trace_simulation *s); /* NULL allowed */
/* Names of all eviction policies, then NULL. */
MD_API const char *const *md_trace_policies(void);

#ifdef __cplusplus
}
#endif
#endif
