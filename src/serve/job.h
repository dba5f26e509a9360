/* SPDX-License-Identifier: Apache-2.0
 *
 * One HTTP request's work for the engine: one or several answers (or vectors), and the form in which they are told. Made by
 * a thread of HTTP, then the engine's alone; what they share is the reply. */
#ifndef MD_SERVE_JOB_H
#define MD_SERVE_JOB_H

#include "serve/ask.h"
#include "serve/guard.h"
#include "serve/metrics.h"
#include "serve/reply.h"
#include "serve/split.h"

#include <medley/scheduler.h>

#define MD_JOB_MOST_CHOICES 2048

typedef struct md_job md_job;

typedef struct md_call {
    char id[32];
    char *name;      /* owned */
    char *arguments; /* owned */
} md_call;

/* An answer. */
typedef struct md_choice {
    md_job *job;
    int32_t index;
    size_t prompt;       /* which of the job's */
    md_request *request; /* NULL before it is submitted and after its last event */
    bool ended;
    md_split split;
    md_buf content, reasoning;
    md_call *call; /* owned, [n_calls] */
    size_t n_calls;
    md_buf said[4];     /* logprobs that were not told yet, as the form writes them */
    size_t text_offset; /* bytes of the answer's text before the next token */
    double last_token;  /* when it came; seconds */
    int block;          /* the form's own count of what it has begun */
    int state;          /* and where it is */
    size_t from;        /* where in content or reasoning that began */
    md_request_result result;
    float *vector; /* owned, of an embedding */
} md_choice;

/* How a job is told. All but whole are called only in streams, and write to the reply. Borrowed texts. */
typedef struct md_form {
    const char *id; /* "chatcmpl-" */
    void (*begin)(md_job *j);
    void (*token)(md_choice *c,
                  const md_request_event *e); /* notes logprobs; called for whole answers as well; or NULL */
    void (*content)(md_choice *c, const char *text, size_t n);
    void (*reasoning)(md_choice *c, const char *text, size_t n);
    void (*call)(md_choice *c, const md_call *call);
    void (*choice_end)(md_choice *c);
    void (*end)(md_job *j);
    void (*fail)(md_job *j, const md_refusal *r);
    void (*whole)(const md_job *j, md_buf *b);
} md_form;

struct md_job {
    md_job *next;         /* the engine's lists */
    md_job *arrived_next; /* of those that came together with it */
    md_reply *reply;      /* held */
    md_metrics *metrics;
    const md_form *form;
    md_ask ask;
    char id[48];
    uint64_t number;   /* ids come from it */
    int64_t created;   /* Unix time */
    const char *model; /* its name; borrowed from the server */
    const md_tokenizer *tokenizer;
    int32_t n_embd;
    md_tokens *prompt; /* owned, [n_prompts] */
    size_t n_prompts;
    md_grammar *grammar; /* owned, or NULL */
    md_choice *choice;   /* owned, [n_choices] */
    int32_t n_choices;
    char client[MD_CLIENT_BYTES];
    int32_t n_context;
    bool embed, raw, base64, special;
    md_pooling pooling;
    double power;
    const char *const *documents; /* rerank: their texts, borrowed from ask.root; else NULL */
    int32_t top_n;
    bool told_documents;
    /* progress */
    double arrived;
    bool begun;  /* the form's begin was called */
    bool failed; /* refused or broken off: what still comes is not told */
    bool moving; /* something of it has run */
    int32_t n_submitted, n_ended;
    md_buf line;    /* scratch of the form */
    int64_t events; /* told so far, for forms that number them */
};

/* A job with n_choices answers; ask is taken over ({0} afterwards). NULL: memory. */
md_job *md_job_new(md_reply *reply, const md_form *form, md_ask *ask, size_t n_prompts, int32_t per_prompt);
void md_job_free(md_job *j); /* NULL allowed */
/* How answers of this job are split: not at all if plain. To be called once before it is posted. */
void md_job_split(md_job *j, md_tool_syntax syntax, bool reasons, bool plain);

/* --- by the engine --- */
/* Submits its requests; what cannot be is refused. False: nothing of it was submitted. */
bool md_job_submit(md_job *j, md_scheduler *s);
/* Stops what runs; nothing more is told. */
void md_job_cancel(md_job *j);
/* The same, with a refusal. */
void md_job_fail(md_job *j, const md_refusal *r);
/* All its last events have come. */
bool md_job_done(const md_job *j);
/* Writes j->line to the reply as it is and empties it. */
void md_job_send(md_job *j);
/* Sums over all answers, for "usage". */
typedef struct md_usage {
    int64_t prompt, cached, generated, drafted, accepted;
} md_usage;
md_usage md_job_usage(const md_job *j);

extern const md_form md_form_chat, md_form_completion, md_form_infill, md_form_embeddings, md_form_rerank,
    md_form_messages, md_form_responses;

#endif
