/* SPDX-License-Identifier: Apache-2.0
 *
 * The file reader's queues: who goes first, what can be taken back, who is woken, and that letting go of a busy reader is
 * safe. A gate holds the backend's thread after its first transfer, so that what happens meanwhile is certain. */
#include "base/reader_ways.h"

enum { BLOCK = MD_READER_ALIGN, FILE_BYTES = 64 * BLOCK };

typedef struct gate {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    int arrived; /* transfers that came to it */
    bool open;
} gate;

#define GATE                                                                  \
    {                                                                         \
        .lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER, \
    }

static int64_t hold(void *ctx, const md_piece *p, int64_t got)
{
    (void)p;
    gate *g = ctx;
    pthread_mutex_lock(&g->lock);
    g->arrived++;
    pthread_cond_broadcast(&g->moved);
    while (!g->open)
        pthread_cond_wait(&g->moved, &g->lock);
    pthread_mutex_unlock(&g->lock);
    return got;
}

static void await_arrival(gate *g)
{
    pthread_mutex_lock(&g->lock);
    while (g->arrived == 0)
        pthread_cond_wait(&g->moved, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

static void open_gate(gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->open = true;
    pthread_cond_broadcast(&g->moved);
    pthread_mutex_unlock(&g->lock);
}

/* A reader whose pieces are a block each, on a file of 64 blocks; NULL where it is not to be had. */
static md_reader *open_gated(const way *w, gate *g, int32_t depth, int32_t background, const char *path)
{
    const md_reader_hooks hooks = {.ctx = g, .result = g ? hold : NULL};
    md_reader *r = reader_open(w, (md_reader_args){.depth = depth, .background = background, .piece = BLOCK}, &hooks);
    if (r)
        assert_int_equal(reader_add(r, path), 0);
    return r;
}

static const char *small_file(void **state)
{
    const char *path = scratch_path(*state, "a");
    make_file(path, FILE_BYTES);
    return path;
}

static void set_all(md_read *read, int n, size_t bytes)
{
    for (int i = 0; i < n; i++)
        read_set(&read[i], 0, (uint64_t)i * BLOCK, bytes);
}

/* They come in this order, right, and there are no others. */
static void assert_order(md_reader *r, md_read *const *read, int n)
{
    for (int i = 0; i < n; i++) {
        const md_read *done = md_reader_done(r, true);
        if (done != read[i])
            fail_msg("another read is done in place of the one that should be number %d", i);
        assert_read(r, done);
    }
    assert_null(md_reader_done(r, true));
}

static void free_all(md_read *read, int n)
{
    for (int i = 0; i < n; i++)
        read_free(&read[i]);
}

static void urgent_reads_go_first(void **state)
{
    const char *path = small_file(state);
    EACH_WAY(w)
    {
        gate g = GATE;
        enum { HELD, FIRST, SECOND, URGENT, LATER, PROMOTED, N };
        md_read a[N];
        md_reader *r = open_gated(w, &g, 1, 0, path);
        if (!r)
            continue;
        set_all(a, N, 3 * BLOCK);
        a[HELD].n = BLOCK;
        a[URGENT].urgent = a[LATER].urgent = true;
        for (int i = 0; i < N; i++) {
            md_reader_submit(r, &a[i]);
            if (i == HELD)
                await_arrival(&g);
        }
        assert_null(md_reader_done(r, false));
        assert_true(md_reader_promote(r, &a[PROMOTED]));
        assert_true(a[PROMOTED].urgent);
        assert_false(md_reader_promote(r, &a[PROMOTED])); /* is urgent */
        assert_false(md_reader_promote(r, &a[URGENT]));
        assert_false(md_reader_promote(r, &a[HELD])); /* nothing of it waits */
        open_gate(&g);
        assert_order(r, (md_read *const[]){&a[HELD], &a[URGENT], &a[LATER], &a[PROMOTED], &a[FIRST], &a[SECOND]}, N);
        free_all(a, N);
        md_reader_free(r);
    }
}

static void urgent_reads_overtake_one_half_way(void **state)
{
    const char *path = small_file(state);
    EACH_WAY(w)
    for (int promote = 0; promote <= 1; promote++) {
        gate g = GATE;
        md_read a[3];
        md_reader *r = open_gated(w, &g, 1, 0, path);
        if (!r)
            break;
        set_all(a, 3, 8 * BLOCK);
        a[2].urgent = true;
        md_reader_submit(r, &a[0]);
        await_arrival(&g);
        md_reader_submit(r, &a[1]);
        assert_false(md_reader_cancel(r, &a[0])); /* it has begun */
        if (promote)
            assert_true(md_reader_promote(r, &a[0])); /* the rest of it hurries */
        md_reader_submit(r, &a[2]);
        open_gate(&g);
        if (promote)
            assert_order(r, (md_read *const[]){&a[0], &a[2], &a[1]}, 3);
        else
            assert_order(r, (md_read *const[]){&a[2], &a[0], &a[1]}, 3);
        free_all(a, 3);
        md_reader_free(r);
    }
}

static void what_has_not_begun_can_be_taken_back(void **state)
{
    const char *path = small_file(state);
    EACH_WAY(w)
    {
        gate g = GATE;
        md_read a[5];
        md_reader *r = open_gated(w, &g, 1, 0, path);
        if (!r)
            continue;
        set_all(a, 5, BLOCK);
        a[2].urgent = a[3].urgent = true;
        assert_false(md_reader_cancel(r, &a[0])); /* nobody asked for it */
        for (int i = 0; i < 5; i++) {
            md_reader_submit(r, &a[i]);
            if (i == 0)
                await_arrival(&g);
        }
        assert_false(md_reader_cancel(r, &a[0]));
        assert_true(md_reader_cancel(r, &a[1]));
        assert_true(md_reader_cancel(r, &a[3]));
        assert_false(md_reader_cancel(r, &a[3]));
        md_reader_submit(r, &a[1]); /* once more, and it is the last now */
        open_gate(&g);
        assert_order(r, (md_read *const[]){&a[0], &a[2], &a[4], &a[1]}, 4);
        assert_false(md_reader_cancel(r, &a[4]));
        for (int i = 0; i < (int)a[3].n; i++)
            assert_int_equal(a[3].buffer[i], 0); /* untouched */
        free_all(a, 5);
        md_reader_free(r);
    }
}

static size_t begun(md_reader *r, const md_read *read)
{
    pthread_mutex_lock(&r->lock);
    const size_t n = read->begun;
    pthread_mutex_unlock(&r->lock);
    return n;
}

/* What is not urgent takes its share of what is in flight, even where nothing else is. */
static void background_reads_keep_to_their_share(void **state)
{
    const char *path = small_file(state);
    EACH_WAY(w)
    {
        gate g = GATE;
        md_read a[2];
        md_reader *r = open_gated(w, &g, 4, 1, path);
        if (!r)
            continue;
        set_all(a, 2, 6 * BLOCK);
        md_reader_submit(r, &a[0]);
        md_reader_submit(r, &a[1]);
        await_arrival(&g);
        assert_int_equal(begun(r, &a[0]), BLOCK);
        assert_int_equal(begun(r, &a[1]), 0);
        assert_true(md_reader_cancel(r, &a[1]));
        open_gate(&g);
        assert_order(r, (md_read *const[]){&a[0]}, 1);
        a[0].urgent = true;
        md_reader_submit(r, &a[0]);
        md_reader_submit(r, &a[1]);
        for (int i = 0; i < 2; i++)
            assert_read(r, md_reader_done(r, true));
        free_all(a, 2);
        md_reader_free(r);
    }
}

static int64_t bad_disk(void *ctx, const md_piece *p, int64_t got)
{
    (void)ctx, (void)p, (void)got;
    return -EIO;
}

static void a_failed_read_begins_no_more(void **state)
{
    const char *path = small_file(state);
    EACH_WAY(w)
    {
        const md_reader_hooks hooks = {.result = bad_disk};
        md_read a;
        md_reader *r = reader_open(w, (md_reader_args){.depth = 1, .piece = BLOCK}, &hooks);
        if (!r)
            continue;
        read_set(&a, reader_add(r, path), 0, 8 * BLOCK);
        read_now(r, &a);
        assert_read_fails(r, &a, EIO, "cannot read 32768 bytes");
        assert_int_equal(a.begun, BLOCK);
        read_free(&a);
        md_reader_free(r);
    }
}

static void *wait_for_one(void *reader)
{
    return md_reader_done(reader, true);
}

/* Two wait for one read: one gets it, the other is told that there is nothing more. */
static void whoever_waits_in_vain_is_woken(void **state)
{
    const char *path = small_file(state);
    EACH_WAY(w)
    {
        gate g = GATE;
        md_read a;
        pthread_t thread[2];
        void *got[2];
        md_reader *r = open_gated(w, &g, 2, 0, path);
        if (!r)
            continue;
        assert_null(md_reader_done(r, true)); /* does not wait for nothing */
        assert_null(md_reader_done(r, false));
        read_set(&a, 0, 1, 10);
        md_reader_submit(r, &a);
        for (int i = 0; i < 2; i++)
            assert_int_equal(pthread_create(&thread[i], NULL, wait_for_one, r), 0);
        await_arrival(&g);
        open_gate(&g);
        for (int i = 0; i < 2; i++)
            assert_int_equal(pthread_join(thread[i], &got[i]), 0);
        assert_true((got[0] == &a && !got[1]) || (got[1] == &a && !got[0]));
        assert_read(r, &a);
        read_free(&a);
        md_reader_free(r);
    }
}

static void a_busy_reader_can_be_freed(void **state)
{
    enum { N = 50 };
    const char *path = small_file(state);
    EACH_WAY(w)
    for (int32_t depth = 1; depth <= 16; depth *= 4) {
        md_read a[N];
        md_reader *r = open_gated(w, NULL, depth, 0, path);
        if (!r)
            break;
        set_all(a, N, 14 * BLOCK);
        for (int i = 0; i < N; i++) {
            a[i].urgent = i % 3 == 0;
            md_reader_submit(r, &a[i]);
        }
        if (depth > 1)
            assert_non_null(md_reader_done(r, true));
        md_reader_free(r);
        free_all(a, N);
    }
    md_reader_free(NULL);
}

static void impossible_reads_are_refused(void **state)
{
    const char *path = small_file(state);
    EACH_WAY(w)
    {
        md_reader *r = open_gated(w, NULL, 2, 0, path);
        if (!r)
            continue;
        unsigned char *memory = aligned_alloc(BLOCK, 2 * BLOCK);
        assert_non_null(memory);
        md_read bad[] = {
            {.file = -1, .n = 1, .buffer = memory},
            {.file = 1, .n = 1, .buffer = memory},
            {.n = 1, .buffer = memory + 512},
            {.n = 1},
            {.n = 1, .buffer = memory, .offset = UINT64_MAX},
            {.n = SIZE_MAX - 5, .buffer = memory},
        };
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
            md_error err = {0};
            read_now(r, &bad[i]);
            assert_int_equal(bad[i].status, MD_ERR_ARGUMENT);
            assert_int_equal(md_reader_explain(r, &bad[i], &err), MD_ERR_ARGUMENT);
            assert_non_null(strstr(err.message, "not possible"));
        }
        md_read none = {.offset = UINT32_MAX};
        read_now(r, &none);
        assert_int_equal(none.status, MD_OK);
        assert_int_equal(md_reader_bytes(r), 0);
        free(memory);
        md_reader_free(r);
    }
}

static void bad_arguments_are_refused(void **state)
{
    (void)state;
    static const struct {
        md_reader_args args;
        const char *says;
    } rows[] = {
        {{.depth = 0}, "0 reads in flight"},
        {{.depth = MD_READER_MAX_DEPTH + 1}, "129 reads"},
        {{.depth = 4, .background = 5}, "background"},
        {{.depth = 4, .background = -1}, "background"},
        {{.depth = 4, .piece = 1000}, "pieces of 1000"},
        {{.depth = 4, .piece = ((size_t)1 << 30) + BLOCK}, "1 GiB"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        md_error err = {0};
        md_reader *r = (md_reader *)&err;
        assert_int_equal(md_reader_new(&rows[i].args, &r, &err), MD_ERR_ARGUMENT);
        assert_null(r);
        assert_non_null(strstr(err.message, rows[i].says));
    }
}

static void room_is_whole_blocks(void **state)
{
    (void)state;
    assert_int_equal(md_reader_room(0, 0), 0);
    assert_int_equal(md_reader_room(77, 0), 0);
    assert_int_equal(md_reader_room(0, 1), BLOCK);
    assert_int_equal(md_reader_room(0, BLOCK), BLOCK);
    assert_int_equal(md_reader_room(1, BLOCK), 2 * BLOCK);
    assert_int_equal(md_reader_room(BLOCK - 1, 2), 2 * BLOCK);
    assert_int_equal(md_reader_room(UINT64_MAX, 1), BLOCK);
    assert_true(md_reader_room(0, SIZE_MAX) == SIZE_MAX);
    assert_true(md_reader_room(5, SIZE_MAX - 5) == SIZE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(urgent_reads_go_first),
        IN_SCRATCH(urgent_reads_overtake_one_half_way),
        IN_SCRATCH(what_has_not_begun_can_be_taken_back),
        IN_SCRATCH(background_reads_keep_to_their_share),
        IN_SCRATCH(a_failed_read_begins_no_more),
        IN_SCRATCH(whoever_waits_in_vain_is_woken),
        IN_SCRATCH(a_busy_reader_can_be_freed),
        IN_SCRATCH(impossible_reads_are_refused),
        cmocka_unit_test(bad_arguments_are_refused),
        cmocka_unit_test(room_is_whole_blocks),
    };
    return cmocka_run_group_tests_name("base/reader_order", tests, NULL, NULL);
}
