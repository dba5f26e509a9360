/* SPDX-License-Identifier: Apache-2.0
 *
 * The thread that owns session and scheduler. Others put jobs into its mailbox; it submits them, steps, and sleeps when
 * there is nothing to do. Before every step it looks whether the clients of its jobs are still there. */
#ifndef MD_SERVE_ENGINE_H
#define MD_SERVE_ENGINE_H

#include "serve/job.h"
#include <medley/scheduler.h>

typedef struct md_engine md_engine;

typedef struct md_engine_args {
    md_session *session; /* borrowed; the engine's alone */
    const md_scheduler_args *scheduler;
    int32_t most_jobs; /* in the mailbox */
} md_engine_args;

md_status md_engine_new(const md_engine_args *args, md_engine **out, md_error *err) MD_MUST_USE;
/* Takes the job in any case: it is answered, refused if there is no room or the engine stops. Thread-safe. */
void md_engine_post(md_engine *e, md_job *job);
/* A connection has gone: look at the jobs soon. Thread-safe. */
void md_engine_kick(md_engine *e);
/* Comments in streams that are silent, and clients that have gone even while a step takes long. Thread-safe. */
void md_engine_tick(md_engine *e);
/* New jobs, and those that have not begun, are refused with 503. */
void md_engine_drain(md_engine *e);
bool md_engine_idle(md_engine *e); /* no job is left */
/* Cancels what runs, ends the thread and all replies; the other functions may still be called. NULL allowed. */
void md_engine_close(md_engine *e);
void md_engine_free(md_engine *e); /* once nobody else calls; NULL allowed */

/* What it does, as of its last step. Thread-safe. */
typedef struct md_engine_view {
    md_scheduler_counts counts;
    md_stream_counts stream;
    int32_t jobs;
} md_engine_view;
void md_engine_look(md_engine *e, md_engine_view *out);
/* Appends a JSON list of the requests that run. */
void md_engine_slots(md_engine *e, md_buf *b);
/* Feeds the reply with what the experts do, some times a second, until it is gone. Takes a hold of it. False: too many listen. */
bool md_engine_watch(md_engine *e, md_reply *reply);

#endif
