/* SPDX-License-Identifier: Apache-2.0
 *
 * GGUF when memory runs out: each allocation in turn fails, and the answer is a clean error, nothing leaked and no file
 * left; and how much memory a hostile file can ask for. Linked with --wrap for malloc, calloc and realloc. */
#include "support/fixtures.h"
#include "bytes.h"
#include "tmpdir.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static struct {
    long until_failure; /* allocations that succeed still; negative: all do */
    size_t bytes;       /* asked for since it was reset */
} allocator = {-1, 0};

static bool fails(size_t n)
{
    allocator.bytes += n;
    return allocator.until_failure >= 0 && allocator.until_failure-- == 0;
}

void *__wrap_malloc(size_t n)
{
    return fails(n) ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails(n * size) ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails(n) ? NULL : __real_realloc(p, n);
}

/* Runs `job` with allocation 0, 1, 2... failing until it passes; returns how many rounds failed. */
static long fail_each(md_status (*job)(void *), void *arg)
{
    for (long nth = 0; nth < 10000; nth++) {
        allocator.until_failure = nth;
        const md_status status = job(arg);
        const bool reached = allocator.until_failure < 0;
        allocator.until_failure = -1;
        if (!reached) {
            assert_int_equal(status, MD_OK);
            return nth;
        }
        if (status != MD_ERR_MEMORY)
            fail_msg("allocation %ld fails: status %s", nth, md_status_name(status));
    }
    fail_msg("never passes");
    return 0;
}

static md_status open_file(void *path)
{
    md_gguf *g;
    md_error err = {0};
    const md_status status = md_gguf_open(path, MD_GGUF_MAP, &g, &err);
    assert_true((status == MD_OK) == (g != NULL));
    assert_true(status == MD_OK || strstr(err.message, "out of memory"));
    md_gguf_close(g);
    return status;
}

typedef struct target {
    const char *path;
    uint32_t part, parts;
} target;

static md_status fill(md_gguf_writer *w, const target *t, md_error *err)
{
    char name[32];
    md_status status = md_gguf_set_u32(w, "split.no", t->part, err);
    if (status == MD_OK)
        status = md_gguf_set_u32(w, "split.count", t->parts, err);
    if (status == MD_OK)
        status = md_gguf_set_strings(w, "tokens", (const md_str[]){{"a", 1}, {"b", 1}}, 2, err);
    for (uint32_t i = 0; i < 40 && status == MD_OK; i++) {
        snprintf(name, sizeof name, "key.%u", i);
        status = md_gguf_set_array(w, name, MD_GGUF_U32, &i, 1, err);
    }
    for (uint32_t i = 0; i < 40 && status == MD_OK; i++) {
        snprintf(name, sizeof name, "part %u tensor %u", t->part, i);
        status = md_gguf_add_tensor(w, name, MD_TYPE_F32, 1, (const int64_t[]){2}, err);
    }
    if (status == MD_OK)
        status = md_gguf_begin(w, err);
    for (uint32_t i = 0; i < 40 && status == MD_OK; i++)
        status = md_gguf_data(w, "12345678", 8, err);
    return status == MD_OK ? md_gguf_commit(w, err) : status;
}

static md_status write_file(void *arg)
{
    const target *t = arg;
    md_gguf_writer *w;
    md_error err = {0};
    md_status status = md_gguf_writer_new(t->path, &w, &err);
    assert_true((status == MD_OK) == (w != NULL));
    if (w)
        status = fill(w, t, &err);
    md_gguf_writer_close(w);
    if (status != MD_OK && access(t->path, F_OK) == 0)
        fail_msg("a file was left behind");
    return status;
}

static void writing_survives_every_failure(void **state)
{
    target t = {in_tmpdir(*state, "x.gguf"), 0, 1};
    assert_true(fail_each(write_file, &t) > 50);
    assert_int_equal(tmpdir_files(*state, 0), 1);
}

static void opening_survives_every_failure(void **state)
{
    target t = {in_tmpdir(*state, "x.gguf"), 0, 1};
    assert_int_equal(write_file(&t), MD_OK);
    char path[512];
    snprintf(path, sizeof path, "%s", t.path);
    assert_true(fail_each(open_file, path) > 3);
}

static void opening_a_split_model_survives_every_failure(void **state)
{
    char path[2][512];
    for (uint32_t i = 0; i < 2; i++) {
        char name[64];
        snprintf(name, sizeof name, "x-%05u-of-00002.gguf", i + 1);
        snprintf(path[i], sizeof path[i], "%s", in_tmpdir(*state, name));
        assert_int_equal(write_file(&(target){path[i], i, 2}), MD_OK);
    }
    assert_true(fail_each(open_file, path[1]) > 6);
}

/* The memory that a file can make the reader ask for is a small multiple of the file, whatever is in it. */
static void check_memory(md_buf *b)
{
    md_gguf *g;
    md_error err = {0};
    assert_false(b->failed);
    allocator.bytes = 0;
    const md_status status = md_gguf_parse(b->data, b->len, "test", MD_GGUF_HEADER, &g, &err);
    const size_t used = allocator.bytes;
    if (status != MD_OK)
        fail_msg("%s", err.message);
    md_gguf_close(g);
    if (used > 12 * b->len + ((size_t)256 << 10))
        fail_msg("%zu bytes of memory for a file of %zu", used, b->len);
    md_buf_done(b);
}

static void memory_is_bounded_by_the_file(void **state)
{
    (void)state;
    enum { COUNT = 100000 };
    md_buf b = {0};
    put_header(&b, 3, 0, 1);
    put_array(&b, "s", MD_GGUF_STRING, COUNT);
    put_zeros(&b, (size_t)COUNT * 8);
    check_memory(&b);
    put_header(&b, 3, 0, COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        put_bytes(&b, &i, 3);
        put_u32(&b, MD_GGUF_U8);
        put_u8(&b, 0);
    }
    check_memory(&b);
    put_header(&b, 3, COUNT, 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        put_bytes(&b, &i, 3);
        put_u32(&b, 0);
        put_u32(&b, 0);
        put_u64(&b, (uint64_t)i * 32);
    }
    check_memory(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(writing_survives_every_failure, tmpdir_setup, tmpdir_teardown),
        cmocka_unit_test_setup_teardown(opening_survives_every_failure, tmpdir_setup, tmpdir_teardown),
        cmocka_unit_test_setup_teardown(opening_a_split_model_survives_every_failure, tmpdir_setup, tmpdir_teardown),
        cmocka_unit_test(memory_is_bounded_by_the_file),
    };
    return cmocka_run_group_tests_name("format/gguf_fault", tests, NULL, NULL);
}
