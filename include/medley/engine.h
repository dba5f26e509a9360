/* SPDX-License-Identifier: Apache-2.0
 *
 * Running a model: a session holds the KV pages, the threads and the scratch for one model; sequences live in it; a step
 * runs a batch of rows, any mix of sequences, and gives logits.
 *
 * A session, its sequences and its results belong to one thread at a time. Nothing is allocated inside a step. The logits
 * of a row depend on the model file, the tokens before it and the numerics key, and on nothing else: not on threads,
 * batch mates or chunking (docs/numerics.md). */
#ifndef MEDLEY_ENGINE_H
#define MEDLEY_ENGINE_H

#include <medley/error.h>
#include <medley/model.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct md_session md_session;
typedef struct md_seq md_seq;
typedef struct md_snapshot md_snapshot;
typedef struct md_adapter md_adapter; /* a low-rank change of weights that a sequence carries; none can be made yet */

typedef enum md_kv_type { MD_KV_F32, MD_KV_F16, MD_KV_Q8_0 } md_kv_type;
MD_API const char *md_kv_type_name(md_kv_type t);

/* Guessing which experts the next layer needs, and reading them while the disk has nothing better to do. Results do not depend on
 * it. AUTO: as long as steps are faster with it than without, which is tried again and again. */
typedef enum md_read_ahead { MD_READ_AHEAD_AUTO, MD_READ_AHEAD_OFF, MD_READ_AHEAD_ALWAYS } md_read_ahead;

/* What a token does about experts that it chose and that are not in memory. Any but READ gives exactness up: what is computed
 * then depends on what was read before, the numerics key says so, and md_seq_save refuses. Only rows that are alone of their
 * sequence in a step are touched, not prompts, and of their experts only those with less than on_miss_share of the row's gate weight,
 * never the heaviest. What remains is scaled to the same sum. */
typedef enum md_on_miss {
    MD_ON_MISS_READ,    /* waits for them */
    MD_ON_MISS_SKIP,    /* leaves them out (Lu et al. 2024, "Not All Experts are Equal") */
    MD_ON_MISS_REROUTE, /* takes the best-scored expert in memory in its place (Skliar et al. 2024, "Mixture of
                         * Cache-Conditional Experts"); reads where there is none */
} md_on_miss;

typedef struct md_session_args {
    int32_t n_threads;   /* >= 1; 0: physical cores within cpuset and CPU quota */
    int32_t n_positions; /* KV room of all sequences together, in positions; rounded up to whole pages of 64 */
    int32_t
        n_context; /* most positions of one sequence, at most n_positions; 0: n_positions. Where a model's positions turn otherwise
                        * in long contexts this decides, not how many sequences share the room */
    int32_t n_rows; /* most rows of one step, 1..65536. A model that is not causal takes a sequence in one step */
    bool
        rows_grow; /* where experts are streamed and not all fit: n_rows is doubled, to 4096 at most and to no more than
                          * n_positions, while the step buffers that this costs take at most an eighth of the slots: what is read for a
                          * step then serves more rows. md_session_max_rows tells */
    int32_t n_logits; /* most rows of one step that may want logits, 1..n_rows */
    int32_t n_hidden; /* most that may want logits or hidden states, n_logits..n_rows; 0: n_logits */
    int32_t
        n_walk; /* most tokens of a prompt that go layer by layer between other steps, cut to n_context; 0: none do */
    int32_t n_sequences; /* most sequences and snapshots alive at once */
    md_kv_type kv_type;
    bool hidden_only;   /* rows may want hidden states, not logits, for which no room is made */
    int32_t grain_rows; /* smallest share of output rows given to a thread; 0: the engine's choice. For tests: results
                          * do not depend on it */
    const char *isa;    /* table of kernels by name, "scalar" or "avx2"; NULL: the best this machine has. Results do not
                          * depend on it. Borrowed during the call */
    int64_t memory; /* bytes that the whole process may take: MD_ERR_MEMORY if the estimate exceeds them; where experts
                          * are streamed, their slots get what the rest leaves, 0: of the memory that is free */
    int64_t others; /* bytes of `memory` that the caller wants to take for itself */
    int32_t most_slots; /* of a layer whose experts are streamed; 0: no bound but memory. For tests and measurements */
    /* Who leaves a slot: "medley", "lfu", "lru"; NULL: the preferred one. Borrowed during the call. */
    const char *policy;
    md_read_ahead read_ahead; /* of streamed experts, before a step asks for them */
    md_on_miss on_miss;       /* counts only where experts are streamed */
    float on_miss_share;      /* above 0, to 1; 0: 0.1 */
} md_session_args;
/* Defaults: all threads, min(trained context, 4096) positions, 256 rows (512 that may grow where experts are streamed), 1 logits row,
 * 8 sequences, F16. Where the model is not causal: as many rows as positions, and F32, since its keys and values do not
 * outlive the step. */
MD_API void md_session_args_default(const md_model *m, md_session_args *args);

/* Kinds of guesses: the next layer's router on the present state, experts that followed those just chosen, the last token's. */
typedef enum md_stream_guess {
    MD_STREAM_ROUTER,
    MD_STREAM_AFFINITY,
    MD_STREAM_LAST,
    MD_STREAM_N_GUESSES
} md_stream_guess;
MD_API const char *md_stream_guess_name(md_stream_guess g); /* "router"; never NULL */

/* What a session whose experts are streamed has done so far; zeros for others. */
typedef struct md_stream_counts {
    uint64_t hits,
        misses;     /* experts that a layer's rows needed, each once a step: in a slot or read ahead, or read for it */
    uint64_t bytes; /* read from files */
    double wait;    /* seconds that steps waited for them */
    uint64_t slots, experts; /* of all layers */

    /* Experts read ahead; those of them that a step then needed, and of these those that were still being read; those that left
     * their slot unused. */
    uint64_t ahead, ahead_used, ahead_late, ahead_wasted;
    /* Of steps of at most 16 rows in which reading ahead was tried: experts that were not there when they were named, those of
     * them that were then chosen (precision: right / named), and all that were chosen and had not been there (recall: right /
     * needed). */
    uint64_t guess_named[MD_STREAM_N_GUESSES], guess_right[MD_STREAM_N_GUESSES];
    uint64_t needed;
    double step_ahead,
        step_plain;  /* seconds of a step's layers of late with the better way to read ahead, without; 0: not tried */
    bool ahead_pays; /* as far as is known */
    uint64_t on_miss_rows; /* rows of a layer that on_miss looked at, whether it changed them or not */
    uint64_t on_miss_uses; /* experts of them that it left out or replaced: neither hits nor misses */
    double on_miss_weight; /* sum over those rows: the share of the row's gate weight that they had */
} md_stream_counts;
MD_API void md_session_stream_counts(const md_session *s, md_stream_counts *out);
/* Is this expert of a layer in memory, or being read? True for all where experts are not streamed, and for what has no weights. */
MD_API bool md_session_expert_present(const md_session *s, int32_t layer, int32_t expert);

/* --- starting warm, where experts are streamed --- */
/* Writes how much each expert was used, older uses counting less, to a file that appears whole or not at all. MD_ERR_UNSUPPORTED if
 * nothing is streamed. */
MD_API MD_MUST_USE md_status md_session_save_uses(const md_session *s, const char *path, md_error *err);
/* Takes such a file: eviction goes on from there. MD_ERR_FORMAT for one that is damaged, MD_ERR_UNSUPPORTED for another model's;
 * nothing was changed then. */
MD_API MD_MUST_USE md_status md_session_load_uses(md_session *s, const char *path, md_error *err);
/* Begins to read the experts used most into slots that are empty, while steps leave the disk idle; the hottest keep `pinned`, 0 to
 * 1, of each layer's slots for good. Call it before the first step. Does nothing where nothing is streamed. */
MD_API void md_session_warm(md_session *s, double pinned);

typedef struct md_memory {
    uint64_t weights; /* all of them, or those that stay when experts are streamed */
    uint64_t kv;      /* all pages, when all are used */
    uint64_t scratch; /* step buffers, logits, thread stacks */
    uint64_t slots;   /* of experts that are streamed */
    uint64_t program; /* what the process holds besides, as far as it counts against a bound: code, tokenizer */
    uint64_t total;
} md_memory;
/* What a session would take, before anything is allocated. Also checks args. */
MD_API MD_MUST_USE md_status md_session_estimate(const md_model *m, const md_session_args *args, md_memory *out,
                                                 md_error *err);
MD_API MD_MUST_USE md_status md_session_new(const md_model *m, const md_session_args *args, md_session **out,
                                            md_error *err);
MD_API void md_session_free(md_session *s); /* frees its sequences and snapshots too; NULL allowed */
MD_API const md_model *md_session_model(const md_session *s);
MD_API int32_t md_session_threads(const md_session *s);
MD_API int32_t md_session_max_rows(const md_session *s);
/* Positions not in any page that is in use. */
MD_API int32_t md_session_free_positions(const md_session *s);
/* The numerics key of a sequence: everything but file and tokens that its logits depend on, as one line of text, e.g.
 * "kv=f16 experts=all top-k=8 adapter=none rope=model ctx=model", with " overrides=HASH" behind it where metadata of the
 * file was overridden, and " on-miss=skip:0.1" where missing experts are left out. Written to buf (NUL-terminated, cut to n). */
MD_API void md_seq_numerics_key(const md_seq *q, char *buf, size_t n);

/* --- sequences --- */
MD_API MD_MUST_USE md_status md_seq_new(md_session *s, md_seq **out, md_error *err);
/* A new sequence with the same past; pages are shared until one of the two writes. */
MD_API MD_MUST_USE md_status md_seq_fork(const md_seq *q, md_seq **out, md_error *err);
/* Forgets all positions from n on. n <= length. */
MD_API MD_MUST_USE md_status md_seq_trim(md_seq *q, int32_t n, md_error *err);
MD_API int32_t md_seq_length(const md_seq *q);
MD_API void md_seq_free(md_seq *q); /* NULL allowed */
/* A snapshot is the state at this position; restoring makes q equal to it and can be done any number of times. */
MD_API MD_MUST_USE md_status md_seq_snapshot(const md_seq *q, md_snapshot **out, md_error *err);
MD_API MD_MUST_USE md_status md_seq_restore(md_seq *q, const md_snapshot *snap, md_error *err);
MD_API void md_snapshot_free(md_snapshot *snap); /* NULL allowed */

/* --- sequences in files (docs/format.md) --- */
typedef struct md_saved md_saved;
typedef struct md_seq_save_args {
    const int32_t *token; /* [n_tokens] the sequence's tokens, and any that are yet to be fed, or NULL; borrowed */
    size_t n_tokens;      /* 0, or at least the sequence's length */
    const char *text;     /* [n_text] what the caller wants to find again, any bytes, or NULL; borrowed */
    size_t n_text;
} md_seq_save_args;
/* Writes the sequence's past, tokens and text to a file that appears whole or not at all; one that is there is replaced.
 * Whole pages are written: behind the last position they may hold traces of other sequences of the session. args may be
 * NULL. */
MD_API MD_MUST_USE md_status md_seq_save(const md_seq *q, const md_seq_save_args *args, const char *path,
                                         md_error *err);
/* Maps a saved file and checks all of it: MD_ERR_FORMAT for one that is cut off or damaged. It may be closed after
 * md_seq_load. Immutable: any number of threads may use it. */
MD_API MD_MUST_USE md_status md_saved_open(const char *path, md_saved **out, md_error *err);
MD_API void md_saved_close(md_saved *s);           /* NULL allowed */
MD_API int32_t md_saved_length(const md_saved *s); /* positions */
/* Borrowed from s; *n gets the count. Tokens are of the vocabulary only once md_seq_load took them. */
MD_API const int32_t *md_saved_tokens(const md_saved *s, size_t *n);
MD_API const char *md_saved_text(const md_saved *s, size_t *n);
/* q becomes what was saved, and goes on with the same bits. q must carry the same expert mask. MD_ERR_UNSUPPORTED if
 * it was saved under another model file, numerics key or release: tokens and text can still be run anew. MD_ERR_LIMIT if
 * there is no room. On failure q is as it was. */
MD_API MD_MUST_USE md_status md_seq_load(md_seq *q, const md_saved *s, md_error *err);

typedef enum md_expert_state { MD_EXPERT_NORMAL, MD_EXPERT_OFF, MD_EXPERT_FORCED } md_expert_state;
/* Switches experts of a layer off or forces them, for this sequence and its later forks. Only while the sequence is
 * empty (its past would have been made under another mask). layer: 0-based over all layers; a layer without experts or an
 * expert out of range is MD_ERR_ARGUMENT, as is leaving fewer experts than top-k or forcing more. */
MD_API MD_MUST_USE md_status md_seq_mask_expert(md_seq *q, int32_t layer, int32_t expert, md_expert_state state,
                                                md_error *err);

/* --- steps --- */
enum md_want {
    MD_WANT_LOGITS = 1,
    MD_WANT_HIDDEN = 2,  /* the last hidden state after the output norm */
    MD_WANT_ROUTING = 4, /* chosen experts and weights of every routed layer */
};
typedef struct md_batch {
    int32_t n;            /* rows, 1..max rows */
    const int32_t *token; /* [n] token ids, or NULL when embd is given */
    const float *embd;    /* [n][n_embd] input rows in place of tokens, or NULL */
    md_seq *const *seq;   /* [n] the sequence of each row */
    const int32_t *pos;   /* [n] position in it, or NULL: the sequence's next. Rows of one sequence must be in order and
                           * continue it without gaps. Where the model is not causal they are the whole sequence, which
                           * must have been empty */
    const uint8_t *want;  /* [n] md_want bits; NULL: logits of the last row, or its hidden state where there are none */
} md_batch;
/* Runs one step. On failure sequences are as before. */
MD_API MD_MUST_USE md_status md_decode(md_session *s, const md_batch *b, md_error *err);
/* The same in pieces: begin checks the batch and takes pages; advance runs up to n_layers further layers and returns
 * MD_OK with *done true after the last one (logits are then ready and the sequences have grown). Between begin and done
 * the batch's arrays must stay valid and no other step may run in this session; abandon undoes begin. */
MD_API MD_MUST_USE md_status md_step_begin(md_session *s, const md_batch *b, md_error *err);
MD_API MD_MUST_USE md_status md_step_advance(md_session *s, int32_t n_layers, bool *done, md_error *err);
MD_API void md_step_abandon(md_session *s);

/* Results of the last finished step, valid until the next begin. NULL if the row did not ask. */
MD_API const float *md_step_logits(const md_session *s, int32_t row); /* [n_vocab] */
MD_API const float *md_step_hidden(const md_session *s, int32_t row); /* [n_embd] */
/* Experts [k] and weights [k] of a row at a layer in the order the router picked them, as on_miss left them; an empty slot is -1. *k gets the
 * number of slots, 0 for layers without experts. False if the row did not ask. */
MD_API bool md_step_routing(const md_session *s, int32_t row, int32_t layer, const int32_t **expert,
                            const float **weight, int32_t *k);

/* What a step spends its time on. */
typedef enum md_step_part {
    MD_STEP_MIXER,     /* attention, or a recurrent mixer */
    MD_STEP_DENSE_FFN, /* that every token uses, not beside routed experts */
    MD_STEP_ROUTER,
    MD_STEP_EXPERTS, /* routed and shared ones */
    MD_STEP_OUTPUT,  /* output matrix */
    MD_STEP_OTHER,   /* embedding, norms, residuals */
    MD_STEP_N_PARTS
} md_step_part;
MD_API const char *md_step_part_name(md_step_part p); /* "attention"; never NULL */

/* Counters since the session began; what tests and benches ask for. */
typedef struct md_counters {
    uint64_t steps, rows;
    double part_seconds[MD_STEP_N_PARTS];
    uint64_t tiles_run;     /* attention tiles (pages of 64 keys) that were computed */
    uint64_t tiles_skipped; /* wholly masked tiles that were skipped */
    uint64_t pages_copied;  /* shared pages copied before a write */
    int32_t n_threads;
    uint64_t thread_items[64]; /* work items run by each of the first 64 threads */
} md_counters;
MD_API void md_session_counters(const md_session *s, md_counters *out);

/* Folds one row of logits into a hash: start with MD_HASH_START, one call per row in order. Bit patterns count, but all
 * NaNs are one. */
#define MD_HASH_START 0xcbf29ce484222325ull
MD_API uint64_t md_logits_hash(uint64_t hash, const float *logits, size_t n);

/* --- observers, for traces, statistics and calibration --- */
typedef enum md_point {
    MD_POINT_LAYER_IN,   /* rows entering a layer: values [rows][n_embd] */
    MD_POINT_FFN_IN,     /* normed rows that feed the router and the FFN: values [rows][n_embd] */
    MD_POINT_ROUTING,    /* after a router: expert and weight [rows][k] */
    MD_POINT_EXPERT_OUT, /* one expert's outputs before weighing: values [rows][n_embd], row[i] says whose */
    MD_POINT_LAYER_OUT,  /* rows leaving a layer: values [rows][n_embd] */
} md_point;
typedef struct md_event {
    md_point point;
    int32_t layer, expert;    /* expert: -1 unless MD_POINT_EXPERT_OUT */
    int32_t n_rows, n_cols;   /* shape of values, or of expert and weight */
    const int32_t *row;       /* [n_rows] batch row of each, or NULL: 0..n_rows-1 */
    const float *values;      /* borrowed for the call */
    const int32_t *expert_id; /* MD_POINT_ROUTING only */
    const float *weight;
} md_event;
typedef void md_observer_fn(void *user, const md_event *e);
/* points: bits 1 << md_point. Called from the stepping thread. fn NULL removes the observer. */
MD_API void md_session_observe(md_session *s, unsigned points, md_observer_fn *fn, void *user);
/* Up to three more, beside that one: MD_ERR_LIMIT for a fourth. Who is added and removed by fn and user; removing what is not
 * there does nothing. Not from inside an observer. */
MD_API MD_MUST_USE md_status md_session_add_observer(md_session *s, unsigned points, md_observer_fn *fn, void *user,
                                                     md_error *err);
MD_API void md_session_remove_observer(md_session *s, md_observer_fn *fn, const void *user);

#ifdef __cplusplus
}
#endif
#endif
