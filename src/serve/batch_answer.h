/* SPDX-License-Identifier: Apache-2.0
 *
 * Who answers the requests of a batch: the parsers and forms of the server, and a scheduler of its own, which runs requests that
 * begin alike together. What a request is answered is what the server would, but for what depends on when it runs: nothing is
 * told of caches and drafts, and ids, seeds and times are fixed by the batch. One thread. */
#ifndef MD_SERVE_BATCH_ANSWER_H
#define MD_SERVE_BATCH_ANSWER_H

#include "serve/batch_run.h"
#include "serve/server.h"

#define MD_BATCH_MOST_RUNNING 256

typedef struct md_batch_wish {
    int32_t running;           /* most requests at once; 0: as many as fit, MD_BATCH_MOST_RUNNING at most */
    int32_t context;           /* positions of one; 0: the scheduler's usual */
    const md_kv_type *kv_type; /* NULL: the usual one */
    uint64_t
        free_bytes; /* for keys, values and scratch; where experts are streamed a quarter of them, the rest is for experts */
} md_batch_wish;
/* How many requests to run at once, and with how much room, by their guessed length. Fills both. */
md_status md_batch_plan(const md_model *m, const md_batch_input *in, const md_batch_wish *wish,
                        md_scheduler_args *scheduler, md_session_args *session, md_error *err) MD_MUST_USE;

typedef struct md_batch_model md_batch_model;
typedef struct md_batch_model_args {
    md_server *server;   /* borrowed, as the session: what is known of the model */
    md_session *session; /* made as md_batch_plan said */
    const md_scheduler_args *scheduler;
    int64_t created; /* Unix time that answers carry */
} md_batch_model_args;
md_status md_batch_model_new(const md_batch_model_args *args, md_batch_model **out, md_error *err) MD_MUST_USE;
/* Cancels what runs. NULL allowed. */
void md_batch_model_free(md_batch_model *b);
md_batch_engine md_batch_model_engine(md_batch_model *b);
void md_batch_model_counts(const md_batch_model *b, md_scheduler_counts *out);

#endif
