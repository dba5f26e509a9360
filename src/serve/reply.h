/* SPDX-License-Identifier: Apache-2.0
 *
 * What a connection is told: whole, or in pieces as they come. Written by the engine's thread, sent by the threads of HTTP,
 * which sleep (suspend the connection) while there is nothing. Bounded: who reads too slowly is given up. Thread-safe and
 * counted: the last one who lets go frees. */
#ifndef MD_SERVE_REPLY_H
#define MD_SERVE_REPLY_H

#include "serve/refusal.h"

#include <pthread.h>
#include <stdatomic.h>

struct MHD_Connection;

#define MD_REPLY_MOST_BYTES (1u << 20) /* that wait for a client to read them */
#define MD_REPLY_PING_AFTER 5.0        /* seconds without a word */

typedef struct md_reply {
    atomic_int holders;
    pthread_mutex_t lock;              /* of all below */
    struct MHD_Connection *connection; /* borrowed; NULL: it has gone */
    int fd;                            /* its socket; -1: it has gone */
    bool suspended;
    bool ready;  /* status and type are known */
    bool stream; /* comes in pieces */
    bool ended;  /* nothing more will be written */
    bool gone;   /* nobody listens any more: hung up, or too slow */
    int status;  /* once ready */
    int32_t retry_after;
    const char *type; /* static */
    md_buf data;
    size_t taken;   /* bytes of data that were sent */
    double written; /* when something was written last; seconds */
} md_reply;

/* Held once. NULL: memory is out. */
md_reply *md_reply_new(struct MHD_Connection *connection);
md_reply *md_reply_hold(md_reply *p);
void md_reply_release(md_reply *p); /* NULL allowed */

/* --- the writer; each wakes the connection --- */
/* Takes the body's memory. False: nothing, since something was said already. */
bool md_reply_whole(md_reply *p, int status, const char *type, md_buf *body);
bool md_reply_refuse(md_reply *p, const md_refusal *r);
/* Status 200 and an event stream; does nothing the second time. */
void md_reply_begin(md_reply *p);
/* False: nobody listens any more. */
bool md_reply_write(md_reply *p, const char *bytes, size_t n);
void md_reply_end(md_reply *p);
/* In a stream that is silent for long: begins it, and writes a comment. */
void md_reply_ping(md_reply *p, double now);
bool md_reply_gone(md_reply *p);
/* Looks whether the client has closed its end. */
void md_reply_look(md_reply *p);

/* --- the connection --- */
/* Suspends the connection unless the reply is ready, or was given up before it could be (nothing is to be sent then). True: it was not
 * suspended. */
bool md_reply_wait(md_reply *p);
/* The next bytes of a stream: how many; 0: none now, the connection is suspended; -1: the end; -2: broken off. */
long md_reply_take(md_reply *p, char *to, size_t n);
/* The connection has ended. */
void md_reply_leave(md_reply *p);

#endif
