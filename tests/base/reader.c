/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading files in the background, by each backend, past the page cache and through it: every byte, whatever the offset; what
 * the reader makes of short, interrupted and failing transfers, of files that change, and of systems that refuse. */
#include "base/reader_ways.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/vfs.h>

enum { FILE_BYTES = MAX_CONTENT, BLOCK = MD_READER_ALIGN };

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    return *state ^= *state << 5;
}

/* Any offset, lengths from a byte to many pieces, the file's last byte now and then. */
static void set_random(md_read *read, int32_t file, uint32_t *seed)
{
    const uint32_t shape = next_random(seed);
    const size_t most = shape % 4 == 0 ? 600000 : shape % 4 == 1 ? 20000 : 5000;
    const uint64_t offset = next_random(seed) % FILE_BYTES, left = FILE_BYTES - offset;
    size_t n = 1 + next_random(seed) % most;
    if (n > left || shape % 16 < 2)
        n = left < most ? (size_t)left : most;
    read_set(read, file, shape % 8 == 5 ? offset / BLOCK * BLOCK : offset, n);
    read->urgent = shape >> 8 & 1;
}

static void read_at_random(md_reader *r, int32_t file, uint32_t seed)
{
    enum { N = 96 };
    md_read read[N];
    bool seen[N] = {0};
    for (int i = 0; i < N; i++) {
        set_random(&read[i], file, &seed);
        read[i].user = &seen[i];
        md_reader_submit(r, &read[i]);
    }
    uint64_t wanted = 0;
    int n = 0;
    for (md_read *done; (done = md_reader_done(r, true)); n++) {
        assert_read(r, done);
        assert_false(*(bool *)done->user);
        *(bool *)done->user = true;
        wanted += done->n;
    }
    assert_int_equal(n, N);
    assert_true(md_reader_bytes(r) >= wanted);
    for (int i = 0; i < N; i++)
        read_free(&read[i]);
}

static void read_file_at_random(const char *path)
{
    static const struct {
        int32_t depth, background;
        size_t piece;
    } rows[] = {{1, 0, BLOCK}, {3, 1, 3 * BLOCK}, {8, 0, 16 * BLOCK}, {MD_READER_MAX_DEPTH, 2, 0}};
    EACH_WAY(w)
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const md_reader_args args = {.depth = rows[i].depth, .background = rows[i].background, .piece = rows[i].piece};
        md_reader *r = reader_open(w, args, NULL);
        if (!r)
            break;
        read_at_random(r, reader_add(r, path), (uint32_t)(i + 1) * 7919u);
        md_reader_free(r);
    }
}

static void every_byte_arrives(void **state)
{
    const char *path = scratch_path(*state, "a");
    make_file(path, FILE_BYTES);
    read_file_at_random(path);
}

static void every_byte_arrives_from_memory(void **state)
{
    (void)state;
    char path[] = "/dev/shm/medley-test-XXXXXX";
    const int fd = mkstemp(path);
    if (fd < 0)
        skip();
    close(fd);
    make_file(path, FILE_BYTES);
    read_file_at_random(path);
    unlink(path);
}

/* ---- many threads ---- */

typedef struct crowd {
    md_reader *reader;
    int32_t file[2];
    atomic_int n_done, n_wrong;
    atomic_uint seed;
} crowd;

/* Whoever gets a read checks it, not only whoever submitted it. */
static bool collect(crowd *c, bool wait)
{
    const md_read *read = md_reader_done(c->reader, wait);
    if (!read)
        return false;
    atomic_fetch_add(&c->n_wrong, !read_is_right(read));
    atomic_fetch_add(&c->n_done, 1);
    return true;
}

enum { CROWD = 4, EACH = 40 };

static void *work(void *arg)
{
    crowd *c = arg;
    static md_read reads[CROWD][EACH];
    const uint32_t me = atomic_fetch_add(&c->seed, 1);
    md_read *mine = reads[me % CROWD];
    uint32_t seed = 1 + me;
    for (int i = 0; i < EACH; i++) {
        set_random(&mine[i], c->file[i % 2], &seed);
        md_reader_submit(c->reader, &mine[i]);
        if (i % 3 == 0)
            md_reader_promote(c->reader, &mine[i]);
        if (i % 3 == 1 && md_reader_cancel(c->reader, &mine[i]))
            md_reader_submit(c->reader, &mine[i]);
        if (i % 8 == 7)
            collect(c, false);
    }
    while (collect(c, true)) {
    }
    return mine;
}

static void any_thread_may_submit_and_wait(void **state)
{
    const char *a = scratch_path(*state, "a"), *b = scratch_path(*state, "b");
    make_file(a, FILE_BYTES);
    make_file(b, FILE_BYTES);
    EACH_WAY(w)
    {
        crowd c = {.reader = reader_open(w, (md_reader_args){.depth = 6, .background = 3, .piece = 8 * BLOCK}, NULL)};
        pthread_t thread[CROWD];
        void *reads[CROWD];
        if (!c.reader)
            continue;
        c.file[0] = reader_add(c.reader, a);
        c.file[1] = reader_add(c.reader, b);
        for (int i = 0; i < CROWD; i++)
            assert_int_equal(pthread_create(&thread[i], NULL, work, &c), 0);
        for (int i = 0; i < CROWD; i++)
            assert_int_equal(pthread_join(thread[i], &reads[i]), 0);
        assert_false(collect(&c, true)); /* whoever left last found none outstanding */
        assert_int_equal(atomic_load(&c.n_done), CROWD * EACH);
        assert_int_equal(atomic_load(&c.n_wrong), 0);
        md_reader_free(c.reader);
        for (int i = 0; i < CROWD; i++)
            for (int k = 0; k < EACH; k++)
                read_free((md_read *)reads[i] + k);
    }
}

/* ---- transfers that go wrong ---- */

typedef enum trouble { HALVES, INTERRUPTIONS, DELAYS, NEVER, BAD_SECTOR, NO_DIRECT_READS } trouble;

typedef struct disturbance {
    trouble trouble;
    uint64_t bad; /* byte that no transfer may touch */
    atomic_uint n;
} disturbance;

static int64_t disturb(void *ctx, const md_piece *p, int64_t got)
{
    disturbance *s = ctx;
    const bool odd = atomic_fetch_add(&s->n, 1) & 1;
    switch (s->trouble) {
    case HALVES: return got > 1 ? got / 2 : got;
    case INTERRUPTIONS: return odd ? got : -EINTR;
    case DELAYS: return odd ? got : -EAGAIN;
    case NEVER: return -EINTR;
    case BAD_SECTOR: return p->at <= s->bad && s->bad < p->at + p->ask ? -EIO : got;
    case NO_DIRECT_READS: return p->direct ? -EINVAL : got;
    }
    return got;
}

static md_reader *open_troubled(const way *w, disturbance *s, const char *path)
{
    const md_reader_hooks hooks = {.ctx = s, .result = disturb};
    md_reader *r = reader_open(w, (md_reader_args){.depth = 4, .piece = 4 * BLOCK}, &hooks);
    if (r)
        assert_int_equal(reader_add(r, path), 0);
    return r;
}

static void short_and_interrupted_transfers_go_on(void **state)
{
    static const trouble passes[] = {HALVES, INTERRUPTIONS, DELAYS, NO_DIRECT_READS};
    const char *path = scratch_path(*state, "a");
    make_file(path, FILE_BYTES);
    EACH_WAY(w)
    for (size_t i = 0; i < sizeof passes / sizeof passes[0]; i++) {
        disturbance s = {.trouble = passes[i]};
        char before[64], after[64];
        md_reader *r = open_troubled(w, &s, path);
        if (!r)
            break;
        md_reader_describe(r, before, sizeof before);
        read_at_random(r, 0, 99);
        assert_true(atomic_load(&s.n) > 96);
        if (passes[i] != NO_DIRECT_READS) /* none of these is a reason to give direct reads up */
            assert_string_equal(md_reader_describe(r, after, sizeof after), before);
        md_reader_free(r);
    }
}

static void what_never_works_is_an_error(void **state)
{
    const char *path = scratch_path(*state, "a");
    make_file(path, FILE_BYTES);
    EACH_WAY(w)
    {
        disturbance s = {.trouble = NEVER};
        md_read read;
        md_reader *r = open_troubled(w, &s, path);
        if (!r)
            continue;
        read_set(&read, 0, 1, 1);
        read_now(r, &read);
        assert_read_fails(r, &read, EINTR, path);
        read_free(&read);
        md_reader_free(r);
    }
}

/* Only the reads that touch the sector fail, and one that failed may be tried again. */
static void a_bad_sector_fails_its_reads_only(void **state)
{
    const char *path = scratch_path(*state, "a");
    make_file(path, FILE_BYTES);
    EACH_WAY(w)
    {
        disturbance s = {.trouble = BAD_SECTOR, .bad = 1000000};
        md_read read[3];
        md_reader *r = open_troubled(w, &s, path);
        if (!r)
            continue;
        read_set(&read[0], 0, 0, 900000);
        read_set(&read[1], 0, 100, 2000000); /* many pieces, the bad one in the middle */
        read_set(&read[2], 0, 1100000, 900000);
        for (int i = 0; i < 3; i++)
            md_reader_submit(r, &read[i]);
        for (int i = 0; i < 3; i++)
            assert_non_null(md_reader_done(r, true));
        assert_null(md_reader_done(r, true));
        assert_read(r, &read[0]);
        assert_read(r, &read[2]);
        assert_read_fails(r, &read[1], EIO, "Input/output error");
        assert_read_fails(r, &read[1], EIO, path);
        s.bad = UINT64_MAX;
        read_now(r, &read[1]);
        assert_read(r, &read[1]);
        for (int i = 0; i < 3; i++)
            read_free(&read[i]);
        md_reader_free(r);
    }
}

/* ---- files that change ---- */

static void a_file_that_ends_too_early_is_an_error(void **state)
{
    const char *path = scratch_path(*state, "a");
    EACH_WAY(w)
    {
        md_read whole, front, behind;
        md_reader *r = reader_open(w, (md_reader_args){.depth = 4, .piece = 4 * BLOCK}, NULL);
        if (!r)
            continue;
        make_file(path, FILE_BYTES);
        const int32_t file = reader_add(r, path);
        assert_int_equal(md_reader_file_size(r, file), FILE_BYTES);
        assert_false(md_reader_file_changed(r, file));
        read_set(&whole, file, 5, FILE_BYTES - 5);
        read_now(r, &whole);
        assert_read(r, &whole);

        assert_int_equal(truncate(path, 1234567), 0);
        assert_true(md_reader_file_changed(r, file));
        read_set(&front, file, 7, 1234567 - 7);
        read_set(&behind, file, 2000000, 10);
        read_now(r, &whole);
        assert_read_fails(r, &whole, 0, "ends before byte 3146505");
        read_now(r, &front);
        assert_read(r, &front);
        read_now(r, &behind);
        assert_read_fails(r, &behind, 0, path);
        front.n++; /* one byte too many */
        read_now(r, &front);
        assert_read_fails(r, &front, 0, "ends before byte 1234568");
        read_free(&whole), read_free(&front), read_free(&behind);
        md_reader_free(r);
    }
}

static void a_change_is_told_and_a_replacement_is_not_read(void **state)
{
    const char *path = scratch_path(*state, "a"), *other = scratch_path(*state, "b");
    make_file(path, FILE_BYTES);
    make_file(other, 10);
    md_reader *r = reader_open(&ways[1], (md_reader_args){.depth = 2}, NULL);
    const int32_t file = reader_add(r, path);
    md_read read;
    read_set(&read, file, 2000000, 1000000);
    assert_int_equal(rename(other, path), 0);
    assert_false(md_reader_file_changed(r, file));
    read_now(r, &read);
    assert_read(r, &read);

    const struct timespec back[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    const int32_t again = reader_add(r, path);
    assert_int_equal(md_reader_file_size(r, again), 10);
    assert_int_equal(utimensat(AT_FDCWD, path, back, 0), 0); /* written to, for all that one can see */
    assert_true(md_reader_file_changed(r, again));
    assert_false(md_reader_file_changed(r, file));
    assert_true(md_reader_file_changed(r, again + 1)); /* no such file */
    read_free(&read);
    md_reader_free(r);
}

static void what_is_no_file_is_refused(void **state)
{
    const char *absent = scratch_path(*state, "absent");
    const struct {
        const char *path, *says;
    } rows[] = {{absent, "No such file"}, {*state, "a directory"}, {"/dev/null", "a device"}};
    md_reader *r = reader_open(&ways[1], (md_reader_args){.depth = 1}, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        md_error err = {0};
        int32_t file = 5;
        assert_int_equal(md_reader_add_file(r, rows[i].path, &file, &err), MD_ERR_IO);
        assert_int_equal(file, -1);
        assert_non_null(strstr(err.message, rows[i].path));
        assert_non_null(strstr(err.message, rows[i].says));
    }
    md_reader_free(r);
}

/* ---- systems that refuse ---- */

static void without_io_uring_threads_read(void **state)
{
    static const int errors[] = {ENOSYS, EPERM, EACCES, ENOMEM};
    char text[64];
    const char *path = scratch_path(*state, "a");
    make_file(path, FILE_BYTES);
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        const md_reader_hooks hooks = {.ring_error = errors[i]};
        md_reader_args args = {.depth = 3};
        md_error err = {0};
        md_reader *r;
        assert_int_equal(md_reader_new_hooked(&args, &hooks, &r, &err), MD_OK);
        assert_string_equal(err.message, "");
        assert_string_equal(md_reader_describe(r, text, sizeof text), "3 threads, buffered");
        read_at_random(r, reader_add(r, path), 3);
        md_reader_free(r);

        args.backend = MD_READER_URING;
        assert_int_equal(md_reader_new_hooked(&args, &hooks, &r, &err), MD_ERR_UNSUPPORTED);
        assert_null(r);
        assert_non_null(strstr(err.message, "io_uring"));
    }
}

/* How many pages of the file are in the page cache. */
static size_t cached_pages(const char *path)
{
    static unsigned char in[FILE_BYTES / 4096 + 1];
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    void *p = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(p != MAP_FAILED);
    assert_int_equal(mincore(p, FILE_BYTES, in), 0);
    size_t n = 0;
    for (size_t i = 0; i < sizeof in; i++)
        n += in[i] & 1;
    munmap(p, FILE_BYTES);
    close(fd);
    return n;
}

static void drop_cache(const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    close(fd);
}

static void where_direct_reads_are_refused_the_cache_stays_empty(void **state)
{
    const char *path = scratch_path(*state, "a");
    char text[64];
    struct statfs fs;
    make_file(path, FILE_BYTES);
    assert_int_equal(statfs(path, &fs), 0);
    const bool memory = fs.f_type == 0x01021994; /* a file in memory has nothing but a cache */
    EACH_WAY(w)
    {
        const md_reader_hooks hooks = {.no_direct = true};
        md_read read;
        md_reader *r = reader_open(w, (md_reader_args){.depth = 4}, &hooks);
        if (!r || !w->direct) {
            md_reader_free(r);
            continue;
        }
        drop_cache(path);
        read_set(&read, reader_add(r, path), 0, FILE_BYTES);
        read_now(r, &read);
        assert_read(r, &read);
        assert_non_null(strstr(md_reader_describe(r, text, sizeof text), ", buffered"));
        if (!memory)
            assert_in_range(cached_pages(path), 0, FILE_BYTES / 4096 / 8);
        read_free(&read);
        md_reader_free(r);
    }
}

/* The first transfer tells what opening did not. */
static void a_refusal_of_direct_reads_is_remembered(void **state)
{
    const char *path = scratch_path(*state, "a");
    char text[64];
    make_file(path, FILE_BYTES);
    disturbance s = {.trouble = NO_DIRECT_READS};
    md_reader *r = open_troubled(&ways[1], &s, path);
    if (!strstr(md_reader_describe(r, text, sizeof text), ", direct")) {
        md_reader_free(r);
        skip(); /* this file system refuses earlier */
    }
    read_at_random(r, 0, 5);
    assert_string_equal(md_reader_describe(r, text, sizeof text), "4 threads, buffered");
    md_reader_free(r);
}

static void registered_memory_is_read_into(void **state)
{
    enum { ROOM = 1 << 20 };
    const char *path = scratch_path(*state, "a");
    char text[64];
    make_file(path, FILE_BYTES);
    EACH_WAY(w)
    for (int refused = 0; refused <= 1; refused++) {
        const md_reader_hooks hooks = {.register_error = refused ? ENOMEM : 0};
        md_reader *r = reader_open(w, (md_reader_args){.depth = 4, .piece = 4 * BLOCK}, &hooks);
        if (!r)
            continue;
        unsigned char *memory = aligned_alloc(BLOCK, ROOM);
        assert_non_null(memory);
        const bool given = md_reader_register(r, memory, ROOM / 2);
        assert_true(!given || (w->backend == MD_READER_URING && !refused));
        assert_int_equal(given, !!strstr(md_reader_describe(r, text, sizeof text), "registered"));
        const int32_t file = reader_add(r, path);
        for (uint64_t offset = 3; offset < 2000000; offset += 700001) { /* half of each read goes elsewhere */
            md_read read = {.file = file, .offset = offset, .n = ROOM - BLOCK, .buffer = memory};
            memset(memory, 0, ROOM);
            read_now(r, &read);
            assert_read(r, &read);
        }
        md_reader_free(r);
        free(memory);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(every_byte_arrives),
        cmocka_unit_test(every_byte_arrives_from_memory),
        IN_SCRATCH(any_thread_may_submit_and_wait),
        IN_SCRATCH(short_and_interrupted_transfers_go_on),
        IN_SCRATCH(what_never_works_is_an_error),
        IN_SCRATCH(a_bad_sector_fails_its_reads_only),
        IN_SCRATCH(a_file_that_ends_too_early_is_an_error),
        IN_SCRATCH(a_change_is_told_and_a_replacement_is_not_read),
        IN_SCRATCH(what_is_no_file_is_refused),
        IN_SCRATCH(without_io_uring_threads_read),
        IN_SCRATCH(where_direct_reads_are_refused_the_cache_stays_empty),
        IN_SCRATCH(a_refusal_of_direct_reads_is_remembered),
        IN_SCRATCH(registered_memory_is_read_into),
    };
    return cmocka_run_group_tests_name("base/reader", tests, NULL, NULL);
}
