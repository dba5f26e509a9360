/* SPDX-License-Identifier: Apache-2.0
 *
 * The thread pool: every item runs exactly once, shares keep the grain, no wake is lost. Run under TSan, too. */
#include "base/pool.h"
#include "support/fixtures.h"

#include <stdatomic.h>
#include <string.h>

enum { MOST = 5000 };

typedef struct loop {
    atomic_int runs[MOST];
    int64_t n, grain;
    int n_threads;
    atomic_int bad; /* calls with a wrong range or thread number */
} loop;

static void mark(void *ctx, int64_t first, int64_t last, int thread)
{
    loop *l = ctx;
    const bool whole_share = last - first >= l->grain || last == l->n;
    if (first < 0 || last > l->n || first >= last || !whole_share || thread < 0 || thread >= l->n_threads) {
        atomic_fetch_add(&l->bad, 1);
        return;
    }
    for (int64_t i = first; i < last; i++)
        atomic_fetch_add_explicit(&l->runs[i], 1, memory_order_relaxed);
}

static md_pool *new_pool(int n)
{
    md_error err = {0};
    md_pool *p;
    if (md_pool_new(n, &p, &err) != MD_OK)
        fail_msg("%s", err.message);
    assert_int_equal(md_pool_threads(p), n);
    return p;
}

static void test_every_item_runs_once(void **state)
{
    (void)state;
    static const int64_t counts[] = {0, 1, 2, 3, 7, 63, 64, 65, 1000, MOST};
    static const int64_t grains[] = {0, 1, 2, 16, 999, MOST + 1};
    static loop l;
    for (int threads = 1; threads <= 5; threads++) {
        md_pool *p = new_pool(threads);
        uint64_t items = 0;
        for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++)
            for (size_t g = 0; g < sizeof grains / sizeof grains[0]; g++) {
                memset(&l, 0, sizeof l);
                l.n = counts[c], l.grain = grains[g], l.n_threads = threads;
                md_pool_run(p, counts[c], grains[g], mark, &l);
                assert_int_equal(l.bad, 0);
                for (int64_t i = 0; i < MOST; i++)
                    if (l.runs[i] != (i < counts[c]))
                        fail_msg("item %d of %d ran %d times", (int)i, (int)counts[c], l.runs[i]);
                items += (uint64_t)counts[c];
            }
        uint64_t counted = 0;
        for (int t = 0; t < threads; t++)
            counted += md_pool_items(p, t);
        assert_int_equal(counted, items);
        md_pool_free(p);
    }
}

static void add(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    int64_t *cell = ctx; /* plain memory: each item owns its cell, the pool orders loops */
    for (int64_t i = first; i < last; i++)
        cell[i] += i;
}

/* Thousands of short loops over the same plain memory: a loop must see all that the one before it wrote. */
static void test_loops_follow_one_another(void **state)
{
    (void)state;
    enum { LOOPS = 3000, N = 37 };
    md_pool *p = new_pool(3);
    int64_t cell[N] = {0};
    for (int i = 0; i < LOOPS; i++)
        md_pool_run(p, N, 1, add, cell);
    for (int i = 0; i < N; i++)
        assert_int_equal(cell[i], (int64_t)LOOPS * i);
    md_pool_free(p);
}

/* Pauses long enough for the workers to fall asleep, and of every length around the moment when they do. */
static void test_sleeping_workers_wake(void **state)
{
    (void)state;
    md_pool *p = new_pool(4);
    int64_t cell[64] = {0};
    for (int i = 0; i < 150; i++) {
        usleep((useconds_t)(i * 7 % 211));
        md_pool_run(p, 64, 1, add, cell);
    }
    for (int i = 0; i < 64; i++)
        assert_int_equal(cell[i], 150 * i);
    md_pool_free(p);
}

static void meet(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    atomic_int *here = ctx;
    atomic_fetch_add(here, (int)(last - first));
    while (atomic_load(here) < 3)
        ;
}

/* Three items that wait for each other end only if three threads run them. */
static void test_threads_run_at_the_same_time(void **state)
{
    (void)state;
    md_pool *p = new_pool(3);
    for (int i = 0; i < 20; i++) {
        atomic_int here = 0;
        md_pool_run(p, 3, 1, meet, &here);
        assert_int_equal(here, 3);
    }
    for (int t = 0; t < 3; t++)
        assert_int_equal(md_pool_items(p, t), 20);
    md_pool_free(p);
}

static void linger(void *ctx, int64_t first, int64_t last, int thread)
{
    atomic_int *done = ctx;
    if (thread > 0)
        usleep(3000);
    atomic_fetch_add(done, (int)(last - first));
}

/* A worker that is long about its item: the caller has gone to sleep when it ends, and must see all of its work. */
static void test_a_sleeping_caller_wakes(void **state)
{
    (void)state;
    md_pool *p = new_pool(3);
    for (int i = 0; i < 40; i++) {
        atomic_int done = 0;
        md_pool_run(p, 30, 1, linger, &done);
        assert_int_equal(done, 30);
    }
    md_pool_free(p);
}

/* Far more threads than CPUs. */
static void test_a_crowd_gets_through(void **state)
{
    (void)state;
    md_pool *p = new_pool(64);
    int64_t cell[500] = {0};
    for (int i = 0; i < 200; i++)
        md_pool_run(p, 500, 1, add, cell);
    for (int i = 0; i < 500; i++)
        assert_int_equal(cell[i], 200 * (int64_t)i);
    md_pool_free(p);
}

static void test_free_without_a_loop(void **state)
{
    (void)state;
    for (int i = 1; i <= 8; i++)
        md_pool_free(new_pool(i));
    md_pool *sleeping = new_pool(2);
    usleep(20000);
    md_pool_free(sleeping);
    md_pool_free(NULL);
}

/* A pool that ends right after a loop, while workers are still on their way into it: each of them learns of the end. */
static void test_pools_come_and_go(void **state)
{
    (void)state;
    enum { POOLS = 600, N = 5 };
    for (int i = 0; i < POOLS; i++) {
        md_pool *p = new_pool(2 + i % 6);
        int64_t cell[N] = {0};
        for (int k = 0; k <= i % 3; k++)
            md_pool_run(p, N, 1, add, cell);
        md_pool_free(p);
        assert_int_equal(cell[N - 1], (int64_t)(i % 3 + 1) * (N - 1));
    }
}

static void test_bad_counts_are_refused(void **state)
{
    (void)state;
    static const int bad[] = {0, -1, MD_POOL_MAX_THREADS + 1};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        md_error err = {0};
        md_pool *p = (md_pool *)&err;
        assert_int_equal(md_pool_new(bad[i], &p, &err), MD_ERR_ARGUMENT);
        assert_null(p);
        assert_non_null(strstr(err.message, "threads"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_item_runs_once),    cmocka_unit_test(test_loops_follow_one_another),
        cmocka_unit_test(test_sleeping_workers_wake),   cmocka_unit_test(test_threads_run_at_the_same_time),
        cmocka_unit_test(test_a_sleeping_caller_wakes), cmocka_unit_test(test_a_crowd_gets_through),
        cmocka_unit_test(test_free_without_a_loop),     cmocka_unit_test(test_pools_come_and_go),
        cmocka_unit_test(test_bad_counts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
