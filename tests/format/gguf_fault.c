/* SPDX-License-Identifier: Apache-2.0
 *
 * GGUF when memory runs out: each allocation in turn fails, and the answer is a clean error, nothing leaked and no file
 * left; and how much memory a hostile file can ask for. */
#include "bytes.h"
#include "support/fault.h"
#include "support/scratch.h"

#include "format/gguf.h"

static md_status open_file(void *path, uint64_t *result, md_error *err)
{
    md_gguf *g;
    const md_status status = md_gguf_open(path, MD_GGUF_MAP, &g, err);
    assert_true((status == MD_OK) == (g != NULL));
    if (g)
        *result = md_gguf_n_kv(g) + 1000 * md_gguf_n_tensors(g);
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

static md_status write_file(void *arg, uint64_t *result, md_error *err)
{
    const target *t = arg;
    md_gguf_writer *w;
    unlink(t->path);
    md_status status = md_gguf_writer_new(t->path, &w, err);
    assert_true((status == MD_OK) == (w != NULL));
    if (w)
        status = fill(w, t, err);
    md_gguf_writer_close(w);
    *result = status == MD_OK;
    if (status != MD_OK && access(t->path, F_OK) == 0)
        fail_msg("a file was left behind");
    return status;
}

static void write_whole(const target *t)
{
    uint64_t result;
    md_error err = {0};
    if (write_file((void *)(uintptr_t)t, &result, &err) != MD_OK)
        fail_msg("%s", err.message);
}

static void writing_survives_every_failure(void **state)
{
    target t = {scratch_path(*state, "x.gguf"), 0, 1};
    assert_true(fault_each(FAULT_MEMORY, MD_ERR_MEMORY, write_file, &t).refused > 50);
    assert_true(fault_each(FAULT_CALL, MD_ERR_IO, write_file, &t).refused >= 4);
    assert_true(fault_each(FAULT_SHORT, MD_ERR_IO, write_file, &t).survived >= 1);
    assert_true(fault_each(FAULT_INTERRUPT, MD_ERR_IO, write_file, &t).survived >= 1);
    assert_int_equal(scratch_count(*state), 1);
}

static void opening_survives_every_failure(void **state)
{
    char path[512];
    snprintf(path, sizeof path, "%s", scratch_path(*state, "x.gguf"));
    write_whole(&(target){path, 0, 1});
    assert_true(fault_each(FAULT_MEMORY, MD_ERR_MEMORY, open_file, path).refused > 3);
    assert_true(fault_each(FAULT_CALL, MD_ERR_IO, open_file, path).refused == 3); /* open, fstat, mmap */
}

static void opening_a_split_model_survives_every_failure(void **state)
{
    char path[2][512];
    for (uint32_t i = 0; i < 2; i++) {
        char name[64];
        snprintf(name, sizeof name, "x-%05u-of-00002.gguf", i + 1);
        snprintf(path[i], sizeof path[i], "%s", scratch_path(*state, name));
        write_whole(&(target){path[i], i, 2});
    }
    assert_true(fault_each(FAULT_MEMORY, MD_ERR_MEMORY, open_file, path[1]).refused > 6);
    assert_true(fault_each(FAULT_CALL, MD_ERR_IO, open_file, path[1]).refused == 6);
}

/* The memory that a file can make the reader ask for is a small multiple of the file, whatever is in it. */
static void check_memory(md_buf *b)
{
    md_gguf *g;
    md_error err = {0};
    assert_false(b->failed);
    const size_t before = fault_bytes_asked();
    const md_status status = md_gguf_parse(b->data, b->len, "test", MD_GGUF_HEADER, &g, &err);
    const size_t used = fault_bytes_asked() - before;
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
        IN_SCRATCH(writing_survives_every_failure),
        IN_SCRATCH(opening_survives_every_failure),
        IN_SCRATCH(opening_a_split_model_survives_every_failure),
        cmocka_unit_test(memory_is_bounded_by_the_file),
    };
    return cmocka_run_group_tests_name("format/gguf_fault", tests, NULL, NULL);
}
