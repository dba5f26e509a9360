/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pool.h"

#include "base/mem.h"
#include "base/status.h"

#include <pthread.h>
#include <sched.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

/* About 20 microseconds of looking before a worker sleeps: longer than the gap between two loops of a step. */
#define SPINS 4000

typedef struct worker {
    alignas(64) uint64_t items; /* written by its own thread inside a loop, read between loops */
    md_pool *pool;              /* borrowed */
    pthread_t thread;
    int index;
} worker;

struct md_pool {
    int n_threads;
    int n_started;   /* workers that exist, thread 0 not counted */
    worker *workers; /* owned, [n_threads] */

    /* the loop under way; written by thread 0 before `generation` moves on */
    md_pool_fn *fn;
    void *ctx;
    int64_t n, share;

    alignas(64) atomic_llong next;      /* first item not given out */
    alignas(64) atomic_uint generation; /* counts loops */
    alignas(64) atomic_int running;     /* workers that have not finished the loop */
    atomic_bool quit;
    atomic_int sleepers;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
};

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void take_shares(md_pool *p, int thread)
{
    const int64_t n = p->n, share = p->share;
    for (;;) {
        const int64_t first = atomic_fetch_add_explicit(&p->next, share, memory_order_relaxed);
        if (first >= n)
            return;
        const int64_t last = n - first < share ? n : first + share;
        p->fn(p->ctx, first, last, thread);
        p->workers[thread].items += (uint64_t)(last - first);
    }
}

/* Waits until the generation differs from `seen`: spins first, then sleeps. */
static unsigned await_loop(md_pool *p, unsigned seen)
{
    for (int i = 0; i < SPINS; i++) {
        const unsigned now = atomic_load_explicit(&p->generation, memory_order_acquire);
        if (now != seen)
            return now;
        relax();
    }
    pthread_mutex_lock(&p->mutex);
    atomic_fetch_add(&p->sleepers, 1);
    unsigned now;
    while ((now = atomic_load(&p->generation)) == seen)
        pthread_cond_wait(&p->wake, &p->mutex);
    atomic_fetch_sub(&p->sleepers, 1);
    pthread_mutex_unlock(&p->mutex);
    return now;
}

static void *worker_main(void *arg)
{
    worker *w = arg;
    md_pool *p = w->pool;
    for (unsigned seen = 0;;) {
        seen = await_loop(p, seen);
        if (atomic_load_explicit(&p->quit, memory_order_acquire))
            return NULL;
        take_shares(p, w->index);
        atomic_fetch_sub_explicit(&p->running, 1, memory_order_release);
    }
}

/* Moves to the next generation and wakes whoever sleeps. A worker that is about to sleep looks at the generation again
 * under the mutex after announcing itself, so no wake is lost. */
static void announce(md_pool *p)
{
    atomic_fetch_add(&p->generation, 1);
    if (atomic_load(&p->sleepers) > 0) {
        pthread_mutex_lock(&p->mutex);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->mutex);
    }
}

md_status md_pool_new(int n_threads, md_pool **out, md_error *err)
{
    *out = NULL;
    MD_FAIL_IF(n_threads < 1 || n_threads > MD_POOL_MAX_THREADS, MD_ERR_ARGUMENT,
               "%d threads asked for; between 1 and %d are possible", n_threads, MD_POOL_MAX_THREADS);
    md_pool *p = md_calloc_aligned(64, 1, sizeof *p);
    if (!p)
        return md_fail_memory(err, "a thread pool");
    p->n_threads = n_threads;
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->wake, NULL);
    p->workers = md_calloc_aligned(64, (size_t)n_threads, sizeof *p->workers);
    if (!p->workers) {
        md_pool_free(p);
        return md_fail_memory(err, "a thread pool");
    }
    for (int i = 0; i < n_threads; i++)
        p->workers[i] = (worker){.pool = p, .index = i};
    for (int i = 1; i < n_threads; i++) {
        const int code = pthread_create(&p->workers[i].thread, NULL, worker_main, &p->workers[i]);
        if (code != 0) {
            md_pool_free(p);
            return md_fail(err, MD_ERR_MEMORY, "cannot start thread %d of %d: %s", i + 1, n_threads, strerror(code));
        }
        p->n_started++;
    }
    *out = p;
    return MD_OK;
}

void md_pool_free(md_pool *p)
{
    if (!p)
        return;
    if (p->n_started > 0) {
        atomic_store_explicit(&p->quit, true, memory_order_release);
        announce(p);
        for (int i = 1; i <= p->n_started; i++)
            pthread_join(p->workers[i].thread, NULL);
    }
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->mutex);
    md_free(p->workers);
    md_free(p);
}

int md_pool_threads(const md_pool *p)
{
    return p->n_threads;
}

uint64_t md_pool_items(const md_pool *p, int thread)
{
    return p->workers[thread].items;
}

void md_pool_run(md_pool *p, int64_t n, int64_t grain, md_pool_fn *fn, void *ctx)
{
    if (n <= 0)
        return;
    if (grain < 1)
        grain = 1;
    if (p->n_threads == 1 || n <= grain) {
        fn(ctx, 0, n, 0);
        p->workers[0].items += (uint64_t)n;
        return;
    }
    /* Four shares a thread even out differences in speed; a share is never below the grain. */
    const int64_t parts = (int64_t)p->n_threads * 4;
    const int64_t even = (n + parts - 1) / parts;
    p->fn = fn;
    p->ctx = ctx;
    p->n = n;
    p->share = even > grain ? even : grain;
    atomic_store_explicit(&p->next, 0, memory_order_relaxed);
    atomic_store_explicit(&p->running, p->n_threads - 1, memory_order_relaxed);
    announce(p);
    take_shares(p, 0);
    for (int i = 0; atomic_load_explicit(&p->running, memory_order_acquire) > 0; i++) {
        if (i < SPINS)
            relax();
        else
            sched_yield();
    }
}
