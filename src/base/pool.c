/* SPDX-License-Identifier: Apache-2.0
 *
 * One word, the gate, holds the number of the loop, whether it is open, and how many workers are inside. A worker enters only
 * while it is open; the caller closes it when no item is left and waits until it is empty. So workers that sleep, or
 * run late, or have lost their CPU, are not waited for, and what describes a loop is never read after it ended. */
#include "base/pool.h"

#include "base/mem.h"
#include "base/status.h"

#include <pthread.h>
#include <sched.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

/* How long a worker looks for the next loop before it sleeps: longer than the gap between two loops of a step. */
#define IDLE_NS    60000
/* How long the caller looks for the last worker to leave. Longer than most shares take. Then it sleeps: its CPU is free to
 * run the worker that it waits for, which may have lost its own. */
#define LEAVE_NS   60000
/* Both, where threads outnumber CPUs: whoever looks keeps somebody from working. */
#define CROWDED_NS 1000
/* Looks between two of the clock. */
#define LOOKS      16

#define OPEN       (UINT64_C(1) << 31)
#define INSIDE     (OPEN - 1)
#define LOOP_SHIFT 32

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
    int64_t idle_ns, leave_ns;

    /* the loop under way; written by thread 0 while the gate is closed and nobody inside */
    md_pool_fn *fn;
    void *ctx;
    int64_t n, grain, slices; /* a share is one of `slices` parts of what is left, or the grain */

    alignas(64) atomic_llong next;  /* first item not given out */
    alignas(64) atomic_ullong gate; /* loops begun << LOOP_SHIFT | OPEN | workers inside */
    alignas(64) atomic_int asleep;  /* workers */
    atomic_bool caller_asleep, quit;
    pthread_mutex_t mutex;
    pthread_cond_t wake, left;
};

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Looks at the gate for a while, until the bits of `mask` differ from `old`. Returns what it saw last. */
static uint64_t look(md_pool *p, uint64_t mask, uint64_t old, int64_t ns)
{
    int64_t begin = 0;
    for (;;) {
        for (int i = 0; i < LOOKS; i++) {
            const uint64_t gate = atomic_load_explicit(&p->gate, memory_order_acquire);
            if ((gate & mask) != old)
                return gate;
            relax();
        }
        const int64_t now = now_ns();
        if (begin == 0)
            begin = now;
        else if (now - begin > ns)
            return atomic_load_explicit(&p->gate, memory_order_acquire);
    }
}

static void take_shares(md_pool *p, int thread)
{
    const int64_t n = p->n;
    long long first = atomic_load_explicit(&p->next, memory_order_relaxed);
    while (first < n) {
        const int64_t part = (n - first) / p->slices, share = part > p->grain ? part : p->grain,
                      last = n - first < share ? n : first + share;
        if (!atomic_compare_exchange_weak_explicit(&p->next, &first, last, memory_order_relaxed, memory_order_relaxed))
            continue;
        p->fn(p->ctx, first, last, thread);
        p->workers[thread].items += (uint64_t)(last - first);
        first = atomic_load_explicit(&p->next, memory_order_relaxed);
    }
}

/* ---- workers ---- */

#define LOOP_OF(gate) ((gate) >> LOOP_SHIFT << LOOP_SHIFT)

/* The gate of a loop that is not `seen`: looks for it first, then sleeps. */
static uint64_t await_loop(md_pool *p, uint64_t seen)
{
    uint64_t gate = look(p, LOOP_OF(UINT64_MAX), seen, p->idle_ns);
    if (LOOP_OF(gate) != seen)
        return gate;
    pthread_mutex_lock(&p->mutex);
    atomic_fetch_add(&p->asleep, 1);
    while (LOOP_OF(gate = atomic_load(&p->gate)) == seen)
        pthread_cond_wait(&p->wake, &p->mutex);
    atomic_fetch_sub(&p->asleep, 1);
    pthread_mutex_unlock(&p->mutex);
    return gate;
}

/* Enters whatever loop is open, and says which. If none is, *gate stays what it was: what was announced meanwhile, the end of the pool
 * for one, is still news. */
static bool enter(md_pool *p, uint64_t *gate)
{
    unsigned long long g = *gate;
    while (g & OPEN)
        if (atomic_compare_exchange_weak_explicit(&p->gate, &g, g + 1, memory_order_acquire, memory_order_acquire)) {
            *gate = g;
            return true;
        }
    return false;
}

/* The caller says that it sleeps, then looks; a worker leaves, then looks whether the caller sleeps. One of them sees the other. */
static void leave(md_pool *p)
{
    const uint64_t before = atomic_fetch_sub(&p->gate, 1);
    if ((before & INSIDE) == 1 && atomic_load(&p->caller_asleep)) {
        pthread_mutex_lock(&p->mutex);
        pthread_cond_signal(&p->left);
        pthread_mutex_unlock(&p->mutex);
    }
}

static void *worker_main(void *arg)
{
    worker *w = arg;
    md_pool *p = w->pool;
    for (uint64_t gate = 0;;) {
        gate = await_loop(p, LOOP_OF(gate));
        if (atomic_load_explicit(&p->quit, memory_order_acquire))
            return NULL;
        if (enter(p, &gate)) {
            take_shares(p, w->index);
            leave(p);
        }
    }
}

/* ---- the caller ---- */

/* Begins a loop, open or not, and wakes up to `helpers` of those who sleep. A worker that is about to sleep looks at the gate
 * again under the mutex after announcing itself, so no wake is lost. */
static void announce(md_pool *p, uint64_t open, int64_t helpers)
{
    const uint64_t gate = atomic_load_explicit(&p->gate, memory_order_relaxed);
    atomic_store(&p->gate, (LOOP_OF(gate) + (UINT64_C(1) << LOOP_SHIFT)) | open);
    const int asleep = atomic_load(&p->asleep);
    if (asleep == 0)
        return;
    pthread_mutex_lock(&p->mutex);
    if (helpers >= asleep)
        pthread_cond_broadcast(&p->wake);
    else
        for (int64_t i = 0; i < helpers; i++)
            pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->mutex);
}

static void close_and_wait(md_pool *p)
{
    uint64_t gate = atomic_fetch_and(&p->gate, ~OPEN) & ~OPEN;
    if ((gate & INSIDE) == 0)
        return;
    const int64_t end = p->leave_ns;
    for (int64_t begin = now_ns(); (gate & INSIDE) != 0 && now_ns() - begin < end;)
        gate = look(p, INSIDE, gate & INSIDE, end);
    if ((gate & INSIDE) == 0)
        return;
    pthread_mutex_lock(&p->mutex);
    atomic_store(&p->caller_asleep, true);
    while ((atomic_load(&p->gate) & INSIDE) != 0)
        pthread_cond_wait(&p->left, &p->mutex);
    atomic_store(&p->caller_asleep, false);
    pthread_mutex_unlock(&p->mutex);
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
    p->fn = fn;
    p->ctx = ctx;
    p->n = n;
    p->grain = grain;
    p->slices = 4 * (int64_t)p->n_threads;
    atomic_store_explicit(&p->next, 0, memory_order_relaxed);
    announce(p, OPEN, (n - 1) / grain);
    take_shares(p, 0);
    close_and_wait(p);
}

/* ---- life ---- */

/* CPUs that this process may use, or `none` if that cannot be known. */
static int cpus(int none)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : none;
}

md_status md_pool_new(int n_threads, md_pool **out, md_error *err)
{
    *out = NULL;
    MD_FAIL_IF(n_threads < 1 || n_threads > MD_POOL_MAX_THREADS, MD_ERR_ARGUMENT,
               "%d threads asked for; between 1 and %d are possible", n_threads, MD_POOL_MAX_THREADS);
    md_pool *p = md_calloc_aligned(64, 1, sizeof *p);
    if (!p)
        return md_fail_memory(err, "a thread pool");
    const bool crowded = n_threads > cpus(n_threads);
    p->n_threads = n_threads;
    p->idle_ns = crowded ? CROWDED_NS : IDLE_NS;
    p->leave_ns = crowded ? CROWDED_NS : LEAVE_NS;
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_cond_init(&p->left, NULL);
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
        announce(p, 0, p->n_started);
        for (int i = 1; i <= p->n_started; i++)
            pthread_join(p->workers[i].thread, NULL);
    }
    pthread_cond_destroy(&p->wake);
    pthread_cond_destroy(&p->left);
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
