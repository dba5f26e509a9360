/* SPDX-License-Identifier: Apache-2.0
 *
 * A pool of threads that runs loops. The caller takes part as thread 0. Work items are given out by index; which thread
 * gets which item may vary, so items must not depend on it: results never do. One loop runs at a time; a pool belongs to
 * one calling thread. Workers spin for a moment between loops, then sleep, so that an idle session costs nothing. A loop
 * waits only for workers that have begun an item of it: one that another program keeps off its CPU delays nobody. */
#ifndef MD_BASE_POOL_H
#define MD_BASE_POOL_H

#include <medley/error.h>
#include <stdint.h>

#define MD_POOL_MAX_THREADS 256

typedef struct md_pool md_pool;
/* Runs items [first, last); thread: 0-based index of the running thread, below the pool's count. */
typedef void md_pool_fn(void *ctx, int64_t first, int64_t last, int thread);

/* n_threads: 1..MD_POOL_MAX_THREADS, the caller included. */
md_status md_pool_new(int n_threads, md_pool **out, md_error *err) MD_MUST_USE;
void md_pool_free(md_pool *p); /* NULL allowed */
int md_pool_threads(const md_pool *p);
/* Runs fn over [0, n) in shares of at least `grain` items and returns when all are done. Shares are handed out in ascending
 * order and grow smaller towards the end. Does not allocate. */
void md_pool_run(md_pool *p, int64_t n, int64_t grain, md_pool_fn *fn, void *ctx);
/* Items run so far by a thread. Call between loops. */
uint64_t md_pool_items(const md_pool *p, int thread);

#endif
