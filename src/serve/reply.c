/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/reply.h"

#include "base/sys.h"

#include <microhttpd.h>
#include <poll.h>
#include <string.h>

md_reply *md_reply_new(struct MHD_Connection *connection)
{
    md_reply *p = md_calloc(1, sizeof *p);
    if (!p)
        return NULL;
    if (pthread_mutex_init(&p->lock, NULL) != 0) {
        md_free(p);
        return NULL;
    }
    const union MHD_ConnectionInfo *info = connection
                                               ? MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)
                                               : NULL;
    atomic_init(&p->holders, 1);
    p->connection = connection;
    p->fd = info ? info->connect_fd : -1;
    p->written = md_sys_seconds();
    return p;
}

md_reply *md_reply_hold(md_reply *p)
{
    atomic_fetch_add(&p->holders, 1);
    return p;
}

void md_reply_release(md_reply *p)
{
    if (!p || atomic_fetch_sub(&p->holders, 1) > 1)
        return;
    md_buf_done(&p->data);
    pthread_mutex_destroy(&p->lock);
    md_free(p);
}

static void wake(md_reply *p)
{
    if (p->suspended && p->connection)
        MHD_resume_connection(p->connection);
    p->suspended = false;
}

bool md_reply_whole(md_reply *p, int status, const char *type, md_buf *body)
{
    pthread_mutex_lock(&p->lock);
    const bool first = !p->ready;
    if (first) {
        md_buf_done(&p->data);
        p->data = *body;
        *body = (md_buf){0};
        p->status = status;
        p->type = type;
        p->ready = p->ended = true;
        wake(p);
    }
    pthread_mutex_unlock(&p->lock);
    return first;
}

bool md_reply_refuse(md_reply *p, const md_refusal *r)
{
    md_buf body = {0};
    md_refusal_json(&body, r);
    pthread_mutex_lock(&p->lock);
    p->retry_after = r->retry_after;
    pthread_mutex_unlock(&p->lock);
    const bool first = md_reply_whole(p, r->status, "application/json", &body);
    md_buf_done(&body);
    return first;
}

static void begin(md_reply *p)
{
    if (p->ready)
        return;
    p->status = 200;
    p->type = "text/event-stream";
    p->ready = p->stream = true;
    wake(p);
}

void md_reply_begin(md_reply *p)
{
    pthread_mutex_lock(&p->lock);
    begin(p);
    pthread_mutex_unlock(&p->lock);
}

/* Bytes that were sent make room. */
static void compact(md_reply *p)
{
    if (p->taken == 0 || p->taken < p->data.len / 2)
        return;
    memmove(p->data.data, p->data.data + p->taken, p->data.len - p->taken + 1);
    p->data.len -= p->taken;
    p->taken = 0;
}

static bool write_locked(md_reply *p, const char *bytes, size_t n)
{
    compact(p);
    if (p->data.len - p->taken + n > MD_REPLY_MOST_BYTES || p->data.failed) {
        p->gone = p->ended = true;
        wake(p);
    }
    if (p->gone || p->ended)
        return false;
    md_buf_append(&p->data, bytes, n);
    p->written = md_sys_seconds();
    wake(p);
    return true;
}

bool md_reply_write(md_reply *p, const char *bytes, size_t n)
{
    pthread_mutex_lock(&p->lock);
    const bool heard = write_locked(p, bytes, n);
    pthread_mutex_unlock(&p->lock);
    return heard;
}

void md_reply_end(md_reply *p)
{
    pthread_mutex_lock(&p->lock);
    p->ended = true;
    wake(p);
    pthread_mutex_unlock(&p->lock);
}

void md_reply_ping(md_reply *p, double now)
{
    static const char comment[] = ": ping\n\n";
    pthread_mutex_lock(&p->lock);
    if (!p->gone && !p->ended && now - p->written >= MD_REPLY_PING_AFTER) {
        begin(p);
        write_locked(p, comment, sizeof comment - 1);
    }
    pthread_mutex_unlock(&p->lock);
}

bool md_reply_gone(md_reply *p)
{
    pthread_mutex_lock(&p->lock);
    const bool gone = p->gone;
    pthread_mutex_unlock(&p->lock);
    return gone;
}

void md_reply_look(md_reply *p)
{
    pthread_mutex_lock(&p->lock);
    struct pollfd at = {.fd = p->fd, .events = POLLRDHUP};
    if (p->fd >= 0 && !p->gone && poll(&at, 1, 0) == 1 && at.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL))
        p->gone = true;
    pthread_mutex_unlock(&p->lock);
}

bool md_reply_wait(md_reply *p)
{
    pthread_mutex_lock(&p->lock);
    const bool ready = p->ready || p->ended; /* ended, but not ready: the client went before anything was said */
    if (!ready && p->connection) {
        p->suspended = true;
        MHD_suspend_connection(p->connection);
    }
    pthread_mutex_unlock(&p->lock);
    return ready;
}

long md_reply_take(md_reply *p, char *to, size_t n)
{
    long got = 0;
    pthread_mutex_lock(&p->lock);
    const size_t left = p->data.len - p->taken;
    if (p->gone) {
        got = -2;
    } else if (left > 0) {
        const size_t k = left < n ? left : n;
        memcpy(to, p->data.data + p->taken, k);
        p->taken += k;
        got = (long)k;
    } else if (p->ended || !p->connection) {
        got = -1;
    } else {
        p->suspended = true;
        MHD_suspend_connection(p->connection);
    }
    pthread_mutex_unlock(&p->lock);
    return got;
}

void md_reply_leave(md_reply *p)
{
    pthread_mutex_lock(&p->lock);
    p->connection = NULL;
    p->fd = -1;
    p->suspended = false;
    p->gone = true;
    pthread_mutex_unlock(&p->lock);
}
