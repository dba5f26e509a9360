/* SPDX-License-Identifier: Apache-2.0
 *
 * Many requests, one session: which rows the next step gets, and what each request is told. Answers and embeddings.
 *
 * What a request is answered does not depend on what runs beside it, on the policy, on what was cached, or on drafts: only
 * when. A scheduler, its session and its requests belong to one thread at a time. */
#ifndef MEDLEY_SCHEDULER_H
#define MEDLEY_SCHEDULER_H

#include <medley/engine.h>
#include <medley/generate.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct md_scheduler md_scheduler;
typedef struct md_request md_request;

/* How prompts are run while others decode. */
typedef enum md_prefill {
    MD_PREFILL_AUTO,    /* by model and load (docs/serving.md has the rule) */
    MD_PREFILL_CHUNKED, /* a step has one row of each answer and a piece of a prompt (Agrawal et al. 2023, SARATHI) */
    MD_PREFILL_LAYERED, /* prompts go layer by layer, decode steps run between layers; each expert is read once a slab of
                         * up to n_rows tokens (Lee et al. 2025, "From Tokens to Layers"). Models that carry more than
                         * the residual stream from layer to layer go by chunks */
} md_prefill;
MD_API const char *md_prefill_name(md_prefill p); /* "auto", "chunked", "layered" */

typedef enum md_order {
    MD_ORDER_FAIR, /* by priority, then the client who got least, then arrival; who waits for a prefix that another request
                      * is computing lets others go first */
    MD_ORDER_PREFIX, /* for offline work: requests that share prefixes run together, long answers begin early (Zheng et al.
                      * 2024, BatchLLM) */
} md_order;

typedef struct md_scheduler_args {
    int32_t n_running; /* most requests that take part in steps, 1..1024 */
    int32_t n_waiting; /* most requests that wait; md_request_new says MD_ERR_BUSY beyond */
    md_prefill prefill;
    md_order order;
    int32_t n_chunk;     /* most prompt tokens of a step beside answers; 0: sized by step_seconds, or 256 */
    double step_seconds; /* a time that steps with answers in them shall keep (time between tokens); 0: none */
    int32_t
        n_draft; /* most tokens of an answer that are drafted for one step, to 16; 0: none. They come from the request's
                          * own text where it repeats itself (Saxena 2023, "Prompt Lookup Decoding"), else from: */
    md_session
        *drafter; /* of a smaller model with the same tokens, made with md_scheduler_drafter_args; borrowed; NULL: none.
                          * Unlike in Leviathan et al. 2023 a draft counts only if it is the token that is drawn, so texts do
                          * not depend on it */
    bool keep_prefixes; /* pages of requests that ended are kept for those that begin alike, as long as there is room */
    bool share_prefixes;   /* among all clients; else only among requests of one client */
    const char *kv_folder; /* where pages go that find no room (docs/serving.md), or NULL; borrowed during the call */
    int64_t kv_folder_bytes;
} md_scheduler_args;
/* 16 running, 1024 waiting, auto, fair, no time target, no drafts, prefixes kept and not shared among clients, no folder. */
MD_API void md_scheduler_args_default(md_scheduler_args *args);
/* Arguments of a session that suits: sequences, rows that want logits or hidden states; a context of what the model was
 * trained for, or 8192, whichever is less, and room for up to four that are full. */
MD_API void md_scheduler_session_args(const md_model *m, const md_scheduler_args *args, md_session_args *out);
/* Bytes that a scheduler takes beside its session at most, for requests of a full context: md_session_args.others. */
MD_API int64_t md_scheduler_bytes(const md_model *m, const md_scheduler_args *args, const md_session_args *session);
/* md_scheduler_session_args for the session of a drafter, for a scheduler whose session has these arguments. */
MD_API void md_scheduler_drafter_args(const md_model *drafter, const md_scheduler_args *args,
                                      const md_session_args *session, md_session_args *out);
/* s is borrowed and must have been made with such arguments: MD_ERR_ARGUMENT otherwise. */
MD_API MD_MUST_USE md_status md_scheduler_new(md_session *s, const md_scheduler_args *args, md_scheduler **out,
                                              md_error *err);
MD_API void md_scheduler_free(md_scheduler *s); /* its requests end without another word; NULL allowed */

/* --- requests --- */
typedef struct md_logprob {
    int32_t token;
    float logprob; /* natural logarithm of its share before any sampling filter */
} md_logprob;

typedef struct md_request_result {
    md_finish finish;
    int32_t n_prompt, n_cached; /* prompt tokens; those that were not computed again */
    int32_t n_generated;
    int32_t n_drafted, n_accepted; /* tokens that were drafted; those that proved right */
    double wait_seconds, prompt_seconds, generate_seconds;
    uint64_t logits_hash; /* as md_generate_result's, if it was asked for; else 0 */
} md_request_result;

typedef enum md_request_point {
    MD_REQUEST_PROMPT, /* n_done prompt tokens are done (once a step that had some of them) */
    MD_REQUEST_TOKEN,  /* an answer's token; text may be empty: a character or a stop string is not whole yet */
    MD_REQUEST_END,    /* the last event: text that was held back, and result */
    MD_REQUEST_FAILED, /* the last event: error */
} md_request_point;

typedef struct md_request_event {
    md_request_point point;
    int32_t
        n_done; /* PROMPT: tokens of the prompt done so far, cached ones included; begins anew if its pages were needed */
    int32_t token;    /* TOKEN */
    const char *text; /* TOKEN, END: [n_text] whole UTF-8 characters, never part of a stop string */
    size_t n_text;
    float logprob;               /* TOKEN, if n_candidates was given */
    const md_logprob *candidate; /* [n_candidates] likeliest first */
    int32_t n_candidates;
    const float *vector; /* END of an embedding: [n_vectors][n_embd] */
    int32_t n_vectors;
    const md_request_result *result; /* END */
    const md_error *error;           /* FAILED */
} md_request_event;
/* Called from md_scheduler_step (never from md_request_new); what e points to is borrowed for the call. r is freed after its
 * last event. May call md_request_new and md_request_cancel, of this scheduler's functions. */
typedef void md_request_fn(void *user, md_request *r, const md_request_event *e);

typedef struct md_request_args {
    const int32_t *prompt; /* [n_prompt], at least 1; copied */
    size_t n_prompt;
    int32_t max_tokens;             /* most tokens to make; -1: until the model ends or the context is full */
    const md_sampler_args *sampler; /* NULL: the defaults; copied */
    const md_grammar *grammar;      /* or NULL; borrowed until the last event */
    const char *const *stop;        /* [n_stop] stop strings, at most 16 of at most 256 bytes; copied */
    size_t n_stop;
    bool special;         /* show special tokens in the text */
    bool ignore_eog;      /* go on past the end of the answer (for measuring) */
    bool hash;            /* give the result a hash of the logits */
    int32_t n_candidates; /* -1: no logprobs; 0..20: the token's own, and so many likeliest ones */
    int32_t n_context;    /* most positions of prompt and answer; 0: what the session has */
    const char *client;   /* who asks: fairness and prefixes go by it; NULL: "". Copied */
    int32_t priority;     /* higher goes first */
    bool embed;           /* makes vectors of the prompt, no answer: */
    md_pooling pooling;
    double power; /* as md_embed_args' */
    bool raw;     /* vectors as they come; else each is divided by its length */
    md_request_fn *on_event;
    void *user;
} md_request_args;
MD_API void
md_request_args_default(md_request_args *args); /* no bound on tokens, logprobs off, pooling the model's own */

/* Queues a request. MD_ERR_LIMIT if it can never fit, with the numbers; MD_ERR_BUSY if too many wait. *out (may be NULL) stays
 * valid until the last event. */
MD_API MD_MUST_USE md_status md_request_new(md_scheduler *s, const md_request_args *args, md_request **out,
                                            md_error *err);
/* The request ends before the next step, with MD_FINISH_CANCELLED; its last event comes from md_scheduler_step. */
MD_API void md_request_cancel(md_request *r);

/* Runs one step, if there is anything to do: *idle tells that there was not. A failure of one request is its own event; an
 * error here is the session's. A step that failed failed the requests in it. */
MD_API MD_MUST_USE md_status md_scheduler_step(md_scheduler *s, bool *idle, md_error *err);

/* --- what it does --- */
typedef struct md_scheduler_counts {
    int32_t running, waiting;
    uint64_t requests, ended, failed, cancelled, preempted;
    uint64_t steps, prompt_tokens, cached_tokens, answer_tokens, drafted, accepted;
    uint64_t prefix_pages, pages;         /* pages that only kept prefixes hold; all pages */
    uint64_t pages_restored, pages_saved; /* from the folder, to the folder */
    double busy_seconds;                  /* in steps */
    double chunk;                         /* prompt tokens that the next step may have beside answers */
} md_scheduler_counts;
MD_API void md_scheduler_get_counts(const md_scheduler *s, md_scheduler_counts *out);

/* The requests that run. */
typedef struct md_running {
    int32_t n_prompt, n_done; /* prompt tokens, and those that are done */
    int32_t n_generated;
    const char *client; /* borrowed until the next step */
} md_running;
/* Fills out[0..most) in the order in which they began; returns how many. */
MD_API int32_t md_scheduler_get_running(const md_scheduler *s, md_running *out, int32_t most);

#ifdef __cplusplus
}
#endif
#endif
