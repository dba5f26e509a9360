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

/* How many requests to run at once, and with how much room: those that fit into free_bytes for keys, values and scratch, by the
 * guessed length of the requests. running: at most so many, or 0; context: positions of one, or 0. Where experts are streamed
 * a quarter of the bytes is taken at most: the rest is for experts. Fills both. */
md_status md_batch_plan(const md_model *m, const md_batch_input *in, int32_t running, int32_t context,
                        uint64_t free_bytes, md_scheduler_args *scheduler, md_session_args *session,
                        md_error *err) MD_MUST_USE;

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
