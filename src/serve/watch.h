/* SPDX-License-Identifier: Apache-2.0
 *
 * GET /experts: which experts steps chose, and how fast they were, told some times a second to whoever listens. The engine's
 * thread alone; nothing is observed while nobody listens. */
#ifndef MD_SERVE_WATCH_H
#define MD_SERVE_WATCH_H

#include "serve/reply.h"

#include <medley/scheduler.h>

#define MD_WATCH_MOST    8
#define MD_WATCH_SECONDS 0.25

typedef struct md_watch {
    md_session *session;            /* borrowed */
    md_reply *reply[MD_WATCH_MOST]; /* held, [n] */
    int n;
    uint32_t *count;           /* owned, [n_layer][n_expert] since the last telling; NULL: nothing is observed */
    int32_t n_layer, n_expert; /* n_expert: of the layer that has most */
    double told;               /* seconds */
    md_scheduler_counts then;
    md_stream_counts stream_then;
    md_buf line;
} md_watch;

void md_watch_init(md_watch *w, md_session *s);
/* Takes the hold of the reply. False: too many listen already; it is let go. */
bool md_watch_add(md_watch *w, md_reply *reply, const md_scheduler *s);
/* Tells if it is time; lets go of those who have gone. */
void md_watch_tell(md_watch *w, const md_scheduler *s);
/* Ends all streams. */
void md_watch_done(md_watch *w);

#endif
