/* SPDX-License-Identifier: Apache-2.0
 *
 * The reader's io_uring: one thread owns the ring. It sends pieces as long as it has places for them, waits in the kernel for
 * the first that ends, settles all that have, and begins again; whoever submits a read wakes it through an eventfd that the
 * ring polls. Needs Linux 5.6 (reads by opcode), 5.19 for registered memory; anything less, and a kernel or container
 * that forbids the calls, is an error of start. */
#include "base/reader_inner.h"

#include "base/mem.h"
#include "base/status.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* The kernel takes memory in ranges of at most 1 GiB. */
#define RANGE_BYTES ((size_t)1 << 30)
enum { MAX_RANGES = 256 };

typedef struct range {
    unsigned char *at; /* borrowed */
    size_t n;          /* 0: not registered */
} range;

struct md_reader_ring {
    md_reader *reader; /* borrowed */
    struct io_uring ring;
    int wake_fd; /* owned; -1: none */
    pthread_t thread;
    md_piece *piece; /* owned, [depth]; the thread's, as are the next three */
    md_piece **idle; /* owned, [depth]: places for pieces */
    int32_t n_idle;
    bool polls;  /* the eventfd is being polled */
    bool poked;  /* under the reader's lock, as are the next: the eventfd was written to and not read since */
    bool sparse; /* memory can be registered */
    range ranges[MAX_RANGES];
    int32_t n_ranges;
};

/* ---- the thread ---- */

/* Every piece and the poll have at most one entry that the kernel has not taken, and the ring has a place for each of them;
 * submitting would make room if it had not. */
static struct io_uring_sqe *entry(struct md_reader_ring *g)
{
    struct io_uring_sqe *e;
    while (!(e = io_uring_get_sqe(&g->ring)))
        (void)io_uring_submit(&g->ring);
    return e;
}

/* The registered range that holds to[0..n), or -1. */
static int range_of(const struct md_reader_ring *g, const unsigned char *to, size_t n)
{
    for (int i = 0; i < g->n_ranges; i++) {
        const range *m = &g->ranges[i];
        if ((uintptr_t)to >= (uintptr_t)m->at && n <= m->n && (uintptr_t)to - (uintptr_t)m->at <= m->n - n)
            return i;
    }
    return -1;
}

/* (locked) */
static void send_piece(struct md_reader_ring *g, md_piece *p)
{
    struct io_uring_sqe *e = entry(g);
    const int index = range_of(g, p->to, p->ask);
    if (index >= 0)
        io_uring_prep_read_fixed(e, p->fd, p->to, (unsigned)p->ask, p->at, index);
    else
        io_uring_prep_read(e, p->fd, p->to, (unsigned)p->ask, p->at);
    io_uring_sqe_set_data(e, p);
}

/* Sends what can be sent. False: the reader quits and nothing is under way. */
static bool fill(struct md_reader_ring *g)
{
    md_reader *r = g->reader;
    pthread_mutex_lock(&r->lock);
    while (g->n_idle > 0 && md_reader_take(r, g->idle[g->n_idle - 1]))
        send_piece(g, g->idle[--g->n_idle]);
    const bool go_on = !r->quit || g->n_idle < r->depth;
    pthread_mutex_unlock(&r->lock);
    if (!g->polls) {
        struct io_uring_sqe *e = entry(g);
        io_uring_prep_poll_add(e, g->wake_fd, POLLIN);
        io_uring_sqe_set_data(e, NULL);
        g->polls = true;
    }
    return go_on;
}

/* Reads the eventfd before taking the mark away: whoever submits in between has put its read where fill will look. */
static void woken(struct md_reader_ring *g)
{
    uint64_t count;
    if (read(g->wake_fd, &count, sizeof count) < 0) {
        /* it holds nothing: nothing was to be cleared */
    }
    g->polls = false;
    pthread_mutex_lock(&g->reader->lock);
    g->poked = false;
    pthread_mutex_unlock(&g->reader->lock);
}

static void settle(struct md_reader_ring *g, md_piece *p, int64_t got)
{
    md_reader *r = g->reader;
    got = md_reader_received(r, p, got);
    pthread_mutex_lock(&r->lock);
    if (md_reader_settle(r, p, got))
        g->idle[g->n_idle++] = p;
    else
        send_piece(g, p);
    pthread_mutex_unlock(&r->lock);
}

static void *run(void *arg)
{
    struct md_reader_ring *g = arg;
    while (fill(g)) {
        const int code = io_uring_submit_and_wait(&g->ring, 1);
        struct io_uring_cqe *c;
        int n = 0;
        for (; io_uring_peek_cqe(&g->ring, &c) == 0; n++) {
            md_piece *p = io_uring_cqe_get_data(c);
            const int64_t got = c->res;
            io_uring_cqe_seen(&g->ring, c);
            if (p)
                settle(g, p, got);
            else
                woken(g);
        }
        if (code < 0 && code != -EINTR && n == 0)
            usleep(1000); /* the kernel is short of memory for a moment; entries it did not take are still there */
    }
    return NULL;
}

/* ---- life ---- */

static void free_ring(struct md_reader_ring *g)
{
    if (g->wake_fd >= 0)
        close(g->wake_fd);
    md_free(g->piece);
    md_free(g->idle);
    md_free(g);
}

static md_status open_ring(struct md_reader_ring *g, int refused, md_error *err)
{
    int code = refused ? -refused : io_uring_queue_init((unsigned)g->reader->depth + 1, &g->ring, 0);
    if (code == 0 && !(g->ring.features & IORING_FEAT_RW_CUR_POS)) { /* as old as the opcode of reads */
        io_uring_queue_exit(&g->ring);
        code = -ENOSYS;
    }
    MD_FAIL_IF(code != 0, MD_ERR_UNSUPPORTED, "io_uring is not to be had here: %s", strerror(-code));
    g->sparse = io_uring_register_buffers_sparse(&g->ring, MAX_RANGES) == 0;
    return MD_OK;
}

static md_status start_ring(struct md_reader_ring *g, md_error *err)
{
    md_reader *r = g->reader;
    g->piece = md_calloc((size_t)r->depth, sizeof *g->piece);
    g->idle = md_calloc((size_t)r->depth, sizeof *g->idle);
    if (!g->piece || !g->idle)
        return md_fail_memory(err, "reads in flight");
    for (int32_t i = 0; i < r->depth; i++)
        g->idle[g->n_idle++] = &g->piece[i];
    g->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    MD_FAIL_IF(g->wake_fd < 0, MD_ERR_UNSUPPORTED, "cannot open an eventfd: %s", strerror(errno));
    MD_TRY(open_ring(g, r->hooks.ring_error, err));
    const int code = pthread_create(&g->thread, NULL, run, g);
    if (code != 0) {
        io_uring_queue_exit(&g->ring);
        return md_fail(err, MD_ERR_MEMORY, "cannot start a thread that reads files: %s", strerror(code));
    }
    return MD_OK;
}

md_status md_reader_uring_start(md_reader *r, md_error *err)
{
    struct md_reader_ring *g = md_calloc(1, sizeof *g);
    if (!g)
        return md_fail_memory(err, "reads in flight");
    g->reader = r;
    g->wake_fd = -1;
    const md_status status = start_ring(g, err);
    if (status == MD_OK)
        r->ring = g;
    else
        free_ring(g);
    return status;
}

/* An eventfd refuses a write only when it is full, and then it wakes already; an interrupted one is tried again. */
static void poke(const struct md_reader_ring *g)
{
    const uint64_t one = 1;
    for (int i = 0; i < 100 && write(g->wake_fd, &one, sizeof one) < 0; i++) {
    }
}

void md_reader_uring_wake(md_reader *r)
{
    struct md_reader_ring *g = r->ring;
    pthread_mutex_lock(&r->lock);
    const bool first = !g->poked;
    g->poked = true;
    pthread_mutex_unlock(&r->lock);
    if (first)
        poke(g);
}

void md_reader_uring_stop(md_reader *r)
{
    struct md_reader_ring *g = r->ring;
    poke(g);
    pthread_join(g->thread, NULL);
    io_uring_queue_exit(&g->ring);
    free_ring(g);
    r->ring = NULL;
}

/* ---- registered memory ---- */

static bool register_range(md_reader *r, unsigned char *memory, size_t n)
{
    struct md_reader_ring *g = r->ring;
    pthread_mutex_lock(&r->lock);
    const int32_t i = g->n_ranges < MAX_RANGES ? g->n_ranges++ : -1; /* holds nothing until it is registered */
    pthread_mutex_unlock(&r->lock);
    if (i < 0)
        return false;
    const struct iovec v = {.iov_base = memory, .iov_len = n};
    const __u64 tag = 0;
    if (io_uring_register_buffers_update_tag(&g->ring, (unsigned)i, &v, &tag, 1) != 1)
        return false;
    pthread_mutex_lock(&r->lock);
    g->ranges[i] = (range){.at = memory, .n = n};
    pthread_mutex_unlock(&r->lock);
    return true;
}

bool md_reader_uring_register(md_reader *r, unsigned char *memory, size_t n)
{
    if (!r->ring->sparse || r->hooks.register_error)
        return false;
    for (size_t at = 0; at < n; at += RANGE_BYTES)
        if (!register_range(r, memory + at, n - at < RANGE_BYTES ? n - at : RANGE_BYTES))
            return false;
    return true;
}

bool md_reader_uring_registered(const md_reader *r)
{
    for (int32_t i = 0; i < r->ring->n_ranges; i++)
        if (r->ring->ranges[i].n > 0)
            return true;
    return false;
}
