/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of the server: what all threads share, and one exchange, which is one HTTP request and its answer. An endpoint is
 * a function of an exchange, called once its body is there, on a thread of HTTP; it answers at once or posts a job. */
#ifndef MD_SERVE_HTTP_H
#define MD_SERVE_HTTP_H

#include "serve/engine.h"
#include "serve/guard.h"
#include "serve/server.h"

#include <medley/chat.h>

typedef struct md_exchange md_exchange;
typedef struct md_endpoint {
    const char *method, *path;
    bool below; /* everything below the path as well: "/v1/models/" */
    bool open;  /* needs no key */
    void (*fn)(md_exchange *x);
} md_endpoint;

/* A connection, from its beginning to its end. */
typedef struct md_peer {
    struct md_peer *next, *previous;
    int fd;
    double waiting_since; /* for a whole request; 0: it has one, and waits for us */
} md_peer;

struct md_server {
    /* immutable once it listens */
    const md_model *model; /* borrowed */
    const md_tokenizer *tokenizer;
    md_template *template_; /* owned; NULL: none */
    md_tool_syntax tool_syntax;
    bool template_has_tools;
    bool hides_marks; /* marks of reasoning or calls are special tokens, which are not shown unless asked for */
    char *template_source, *name, *bos, *eos; /* owned */
    md_server_args args;                      /* texts borrowed */
    md_scheduler_args scheduler;
    int port;
    double began;
    int64_t began_at;          /* Unix time */
    struct MHD_Daemon *daemon; /* owned */
    int listen_fd;             /* owned once the daemon has given it back */
    /* each with its own lock */
    md_keys keys;
    md_metrics metrics;
    md_engine *engine; /* owned */
    pthread_mutex_t lock;
    md_peer *peers; /* owned */
};

struct md_exchange {
    md_server *server;
    md_peer *peer;         /* borrowed */
    md_reply *reply;       /* held */
    const md_endpoint *at; /* NULL: there is none */
    const char *rest;      /* of the path, behind at->path; borrowed from the connection */
    md_buf body;
    size_t received;              /* bytes of the body, those that were dropped included */
    bool answered;                /* the endpoint was called, or the exchange refused */
    int key;                      /* number of the API key; -1: none is needed */
    char client[MD_CLIENT_BYTES]; /* whose it is; "": nobody's in particular */
    md_refusal refusal;           /* status 0: none */
};

/* --- what endpoints do --- */
void md_exchange_refuse(md_exchange *x, const md_refusal *r);
/* Status 200; takes the body's memory. */
void md_exchange_json(md_exchange *x, md_buf *body);
void md_exchange_text(md_exchange *x, const char *type, md_buf *body);
/* Sets what all jobs have, and posts it. */
void md_exchange_post(md_exchange *x, md_job *job);

/* --- routes.c --- */
/* The endpoint of a method and a path; *status is 404 or 405 if there is none. */
const md_endpoint *md_endpoint_find(const char *method, const char *path, int *status);
const char *md_endpoint_path(size_t i); /* NULL beyond the last */
size_t md_endpoint_index(const md_endpoint *e);

/* --- prompt.c --- */
/* Tokens of a chat for the model to answer; *reasons: the answer begins inside of its reasoning. */
bool md_prompt_chat(const md_server *s, const md_ask *ask, md_tokens *out, bool *reasons, md_refusal *r);
/* The rendered text alone. */
bool md_prompt_render(const md_server *s, const md_ask *ask, md_rendered *out, md_refusal *r);
/* One prompt of a completion: a text or token ids. */
bool md_prompt_value(const md_server *s, const json_t *value, const char *name, md_tokens *out, md_refusal *r);
/* Token ids as a list of integers. */
bool md_prompt_ids(const md_server *s, const json_t *list, const char *name, md_tokens *out, md_refusal *r);

/* --- tools.c --- */
/* What the answer must follow, if anything; *out is NULL otherwise. reasons: reasoning comes first. */
bool md_tools_grammar(const md_server *s, const md_ask *ask, bool reasons, md_grammar **out, md_refusal *r);
/* Appends a text that tells a model of its tools, for templates that do not. */
void md_tools_describe(const json_t *tools, md_buf *b);

/* --- jobs from bodies, of whoever asks --- */
/* Parses a body of n bytes and makes its job, whose reply is held. *ask is {0} but for what the caller sets, and is to be freed either
 * way. False: refused. */
typedef bool md_make_fn(md_server *s, md_reply *reply, md_ask *ask, const char *body, size_t n, md_job **out,
                        md_refusal *r);
md_make_fn md_make_chat, md_make_completion, md_make_embeddings;
/* Makes the job of the exchange's body, and posts it. */
void md_exchange_make(md_exchange *x, md_make_fn *make);
/* Sets what all jobs of a server have. */
void md_server_set_job(md_server *s, md_job *job);

/* --- endpoints --- */
void md_at_chat(md_exchange *x);
void md_at_completions(md_exchange *x);
void md_at_infill(md_exchange *x);
void md_at_messages(md_exchange *x);
void md_at_responses(md_exchange *x);
void md_at_embeddings(md_exchange *x);
void md_at_rerank(md_exchange *x);
void md_at_models(md_exchange *x);
void md_at_model(md_exchange *x);
void md_at_health(md_exchange *x);
void md_at_metrics(md_exchange *x);
void md_at_tokenize(md_exchange *x);
void md_at_detokenize(md_exchange *x);
void md_at_template(md_exchange *x);
void md_at_props(md_exchange *x);
void md_at_slots(md_exchange *x);
void md_at_experts(md_exchange *x);
void md_at_asset(md_exchange *x);

#endif
