/* SPDX-License-Identifier: Apache-2.0
 *
 * The GGUF writer: what it writes the reader gives back, keys replaced in place, data counted to the byte, misuse and
 * full disks answered with an error and no file. */
#include "support/ok.h"
#include "support/scratch.h"

#include "base/mem.h"
#include "format/gguf.h"
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#define REFUSED(x, code_, words)                                               \
    do {                                                                       \
        const md_status refused_ = (x);                                        \
        if (refused_ != (code_) || !strstr(err.message, words))                \
            fail_msg("%s: %s: %s", #x, md_status_name(refused_), err.message); \
    } while (0)

static void add_every_kind(md_gguf_writer *w)
{
    OK(md_gguf_set_string(w, "general.architecture", "test", &err));
    OK(md_gguf_set_u32(w, "u32", 7, &err));
    OK(md_gguf_set_u64(w, "u64", (uint64_t)1 << 40, &err));
    OK(md_gguf_set_i32(w, "i32", -7, &err));
    OK(md_gguf_set_f32(w, "f32", 0.25f, &err));
    OK(md_gguf_set_bool(w, "yes", true, &err));
    OK(md_gguf_set_strings(w, "strings", (const md_str[]){{"a", 1}, {"", 0}, {"b\0c", 3}}, 3, &err));
    OK(md_gguf_set_strings(w, "no strings", NULL, 0, &err));
    OK(md_gguf_set_array(w, "i16", MD_GGUF_I16, (const int16_t[]){-1, 2}, 2, &err));
    OK(md_gguf_set_array(w, "f64", MD_GGUF_F64, (const double[]){0.5}, 1, &err));
    OK(md_gguf_set_array(w, "empty", MD_GGUF_U8, NULL, 0, &err));
}

static void check_every_kind(const md_gguf *g)
{
    uint32_t u = 0;
    int64_t i = 0;
    float f = 0;
    bool yes = false;
    md_str s = {0};
    OK(md_gguf_string(g, "general.architecture", &s, NULL, &err));
    assert_true(md_str_eq(s, "test"));
    OK(md_gguf_u32(g, "u32", &u, NULL, &err));
    assert_int_equal(u, 7);
    OK(md_gguf_array_i64(md_gguf_find(g, "u64"), 0, &i, &err));
    assert_true(i == (int64_t)1 << 40);
    OK(md_gguf_array_i64(md_gguf_find(g, "i32"), 0, &i, &err));
    assert_int_equal(i, -7);
    OK(md_gguf_f32(g, "f32", &f, NULL, &err));
    assert_true(f == 0.25f);
    OK(md_gguf_bool(g, "yes", &yes, NULL, &err));
    assert_true(yes);
    assert_int_equal(md_gguf_find(g, "strings")->count, 3);
    OK(md_gguf_array_str(md_gguf_find(g, "strings"), 2, &s, &err));
    assert_true(s.n == 3 && memcmp(s.s, "b\0c", 3) == 0);
    assert_int_equal(md_gguf_find(g, "no strings")->count, 0);
    OK(md_gguf_array_i64(md_gguf_find(g, "i16"), 0, &i, &err));
    assert_int_equal(i, -1);
    OK(md_gguf_array_f32(md_gguf_find(g, "f64"), 0, &f, &err));
    assert_true(f == 0.5f);
    assert_int_equal(md_gguf_find(g, "empty")->count, 0);
}

static const int64_t shape_a[] = {3, 5}, shape_b[] = {32, 2, 2};
static unsigned char data_a[60], data_b[4 * 18];

static void add_tensors(md_gguf_writer *w)
{
    OK(md_gguf_add_tensor(w, "a", MD_TYPE_F32, 2, shape_a, &err));
    OK(md_gguf_add_tensor(w, "b", MD_TYPE_Q4_0, 3, shape_b, &err));
    for (size_t i = 0; i < sizeof data_a; i++)
        data_a[i] = (unsigned char)(i + 1);
    memset(data_b, 0xb5, sizeof data_b);
}

static void check_tensors(const md_gguf *g)
{
    assert_int_equal(md_gguf_n_tensors(g), 2);
    const md_gguf_tensor *a = md_gguf_find_tensor(g, "a"), *b = md_gguf_find_tensor(g, "b");
    assert_true(a->type == MD_TYPE_F32 && a->n_dims == 2 && a->dim[0] == 3 && a->dim[1] == 5);
    assert_true(b->type == MD_TYPE_Q4_0 && b->n_dims == 3 && b->dim[2] == 2);
    assert_true(a->bytes == sizeof data_a && b->bytes == sizeof data_b);
    assert_memory_equal(a->data, data_a, sizeof data_a);
    assert_memory_equal(b->data, data_b, sizeof data_b);
    /* what lies between and behind is zero */
    const unsigned char *gap = (const unsigned char *)a->data + a->bytes;
    for (; gap < (const unsigned char *)b->data; gap++)
        assert_int_equal(*gap, 0);
    assert_int_equal(a->file_offset % 32, 0);
    assert_int_equal(b->file_offset, a->file_offset + 64);
    assert_int_equal(md_gguf_file_bytes(g), b->file_offset + 96);
}

static void round_trip(void **state)
{
    const char *path = scratch_path(*state, "x.gguf");
    md_gguf_writer *w;
    OK(md_gguf_writer_new(path, &w, &err));
    add_every_kind(w);
    add_tensors(w);
    assert_int_equal(md_gguf_writer_bytes(w), 0);
    OK(md_gguf_begin(w, &err));
    OK(md_gguf_data(w, data_a, 1, &err));
    OK(md_gguf_data(w, NULL, 0, &err));
    OK(md_gguf_data(w, data_a + 1, 59, &err));
    for (size_t i = 0; i < sizeof data_b; i++)
        OK(md_gguf_data(w, &data_b[i], 1, &err));
    const uint64_t bytes = md_gguf_writer_bytes(w);
    assert_int_equal(access(path, F_OK), -1);
    OK(md_gguf_commit(w, &err));
    md_gguf_writer_close(w);
    assert_int_equal(scratch_count(*state), 1);

    md_gguf *g;
    OK(md_gguf_open(path, MD_GGUF_MAP, &g, &err));
    assert_int_equal(md_gguf_version(g), 3);
    assert_int_equal(md_gguf_file_bytes(g), bytes);
    check_every_kind(g);
    check_tensors(g);
    md_gguf_close(g);
}

static void write_tensors(md_gguf_writer *w)
{
    OK(md_gguf_begin(w, &err));
    OK(md_gguf_data(w, data_a, sizeof data_a, &err));
    OK(md_gguf_data(w, data_b, sizeof data_b, &err));
    OK(md_gguf_commit(w, &err));
    md_gguf_writer_close(w);
}

/* All keys of one file copied into another give the same bytes; layout keys stay behind. */
static void copies_keys(void **state)
{
    md_gguf_writer *w;
    const char *first = scratch_path(*state, "1.gguf"), *second = scratch_path(*state, "2.gguf");
    OK(md_gguf_writer_new(first, &w, &err));
    add_every_kind(w);
    add_tensors(w);
    write_tensors(w);
    md_gguf *g;
    OK(md_gguf_open(first, MD_GGUF_MAP, &g, &err));
    OK(md_gguf_writer_new(second, &w, &err));
    for (size_t i = 0; i < md_gguf_n_kv(g); i++)
        OK(md_gguf_copy_kv(w, md_gguf_kv_at(g, i), &err));
    static const uint32_t v = 64;
    static const char *const layout[] = {"general.alignment", "split.no", "split.count", "split.tensors.count"};
    for (size_t i = 0; i < 4; i++)
        OK(md_gguf_copy_kv(w,
                           &(md_gguf_kv){.key = {layout[i], strlen(layout[i])},
                                         .kind = MD_GGUF_U32,
                                         .elem = MD_GGUF_U32,
                                         .count = 1,
                                         .data = &v,
                                         .bytes = 4},
                           &err));
    add_tensors(w);
    write_tensors(w);
    md_gguf_close(g);
    size_t n1, n2;
    char *b1 = read_all(first, &n1), *b2 = read_all(second, &n2);
    assert_int_equal(n1, n2);
    assert_memory_equal(b1, b2, n1);
    free(b1);
    free(b2);
}

static void replaces_keys_in_place(void **state)
{
    md_gguf_writer *w;
    const char *path = scratch_path(*state, "x.gguf");
    OK(md_gguf_writer_new(path, &w, &err));
    OK(md_gguf_set_u32(w, "first", 1, &err));
    OK(md_gguf_set_u32(w, "second", 2, &err));
    char key[32];
    for (int round = 0; round < 2; round++)
        for (unsigned i = 0; i < 100; i++) { /* enough for every table to grow */
            snprintf(key, sizeof key, "key.%u", i);
            OK(md_gguf_set_u32(w, key, i + (unsigned)round, &err));
        }
    OK(md_gguf_set_string(w, "first", "one", &err));
    OK(md_gguf_set_array(w, "second", MD_GGUF_U32, (const uint32_t[]){4, 5}, 2, &err));
    OK(md_gguf_begin(w, &err));
    OK(md_gguf_commit(w, &err));
    md_gguf_writer_close(w);
    md_gguf *g;
    OK(md_gguf_open(path, MD_GGUF_MAP, &g, &err));
    assert_int_equal(md_gguf_n_kv(g), 102);
    assert_true(md_str_eq(md_gguf_kv_at(g, 0)->key, "first") && md_gguf_kv_at(g, 0)->kind == MD_GGUF_STRING);
    assert_true(md_str_eq(md_gguf_kv_at(g, 1)->key, "second") && md_gguf_kv_at(g, 1)->count == 2);
    uint32_t v = 0;
    OK(md_gguf_u32(g, "key.99", &v, NULL, &err));
    assert_int_equal(v, 100);
    md_gguf_close(g);
}

static void replaces_a_file_only_on_commit(void **state)
{
    const char *path = scratch_path(*state, "x.gguf");
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("before", f);
    fclose(f);
    for (int commit = 0; commit < 2; commit++) {
        md_gguf_writer *w;
        OK(md_gguf_writer_new(path, &w, &err));
        OK(md_gguf_begin(w, &err));
        size_t n;
        char *now = read_all(path, &n);
        assert_string_equal(now, "before");
        free(now);
        if (commit)
            OK(md_gguf_commit(w, &err));
        md_gguf_writer_close(w);
        assert_int_equal(scratch_count(*state), 1);
        now = read_all(path, &n);
        assert_memory_equal(now, commit ? "GGUF" : "befo", 4);
        free(now);
    }
}

/* A header alone is a file for those that want no more of it. */
static void a_header_can_be_all(void **state)
{
    const char *path = scratch_path(*state, "x.gguf");
    for (int data = 0; data < 2; data++) {
        md_gguf_writer *w;
        OK(md_gguf_writer_new(path, &w, &err));
        add_tensors(w);
        assert_int_equal(md_gguf_commit_header(w, &err), MD_ERR_ARGUMENT); /* there is none yet */
        OK(md_gguf_begin(w, &err));
        if (data == 0)
            OK(md_gguf_commit_header(w, &err));
        else {
            OK(md_gguf_data(w, data_a, 1, &err));
            assert_int_equal(md_gguf_commit_header(w, &err), MD_ERR_ARGUMENT);
        }
        md_gguf_writer_close(w);
    }
    md_gguf *g = NULL;
    OK(md_gguf_open(path, MD_GGUF_HEADER, &g, &err));
    assert_int_equal(md_gguf_n_tensors(g), 2);
    assert_int_equal(md_gguf_find_tensor(g, "b")->bytes, sizeof data_b);
    assert_true(md_gguf_file_bytes(g) <= md_gguf_find_tensor(g, "a")->file_offset);
    md_gguf_close(g);
    assert_int_equal(md_gguf_open(path, MD_GGUF_MAP, &g, &err), MD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "cut off"));
}

/* Where an alignment is asked for, all data begins at multiples of it, and the file says so. */
static void tensors_are_aligned(void **state)
{
    static const uint32_t alignments[] = {32, 64, 4096, 65536};
    const char *path = scratch_path(*state, "aligned.gguf");
    for (size_t i = 0; i < sizeof alignments / sizeof *alignments; i++) {
        md_gguf_writer *w;
        md_gguf *g;
        OK(md_gguf_writer_new(path, &w, &err));
        OK(md_gguf_set_string(w, "general.architecture", "test", &err));
        OK(md_gguf_set_alignment(w, alignments[i], &err));
        OK(md_gguf_add_tensor(w, "a", MD_TYPE_F32, 1, (const int64_t[]){3}, &err));
        REFUSED(md_gguf_set_alignment(w, 64, &err), MD_ERR_ARGUMENT, "before all tensors");
        OK(md_gguf_add_tensor(w, "b", MD_TYPE_I8, 1, (const int64_t[]){5}, &err));
        OK(md_gguf_begin(w, &err));
        OK(md_gguf_data(w, (const float[]){1, 2, 3}, 12, &err));
        OK(md_gguf_data(w, "12345", 5, &err));
        const uint64_t promised = md_gguf_writer_bytes(w);
        OK(md_gguf_commit(w, &err));
        md_gguf_writer_close(w);
        OK(md_gguf_open(path, MD_GGUF_MAP, &g, &err));
        assert_int_equal(md_gguf_alignment(g), alignments[i]);
        assert_true(md_gguf_file_bytes(g) == promised);
        for (size_t t = 0; t < 2; t++)
            assert_int_equal(md_gguf_tensor_at(g, t)->file_offset % alignments[i], 0);
        assert_memory_equal(md_gguf_tensor_at(g, 0)->data, ((const float[]){1, 2, 3}), 12);
        assert_memory_equal(md_gguf_tensor_at(g, 1)->data, "12345", 5);
        md_gguf_close(g);
    }
    md_gguf_writer *w;
    OK(md_gguf_writer_new(path, &w, &err));
    REFUSED(md_gguf_set_alignment(w, 16, &err), MD_ERR_ARGUMENT, "power of two");
    REFUSED(md_gguf_set_alignment(w, 96, &err), MD_ERR_ARGUMENT, "power of two");
    REFUSED(md_gguf_set_alignment(w, 131072, &err), MD_ERR_ARGUMENT, "power of two");
    md_gguf_writer_close(w);
}

static void misuse_is_refused(void **state)
{
    md_gguf_writer *w;
    const int64_t zero[] = {0}, uneven[] = {31}, huge[] = {INT64_MAX / 8, 4}, five[] = {1, 1, 1, 1, 1};
    OK(md_gguf_writer_new(scratch_path(*state, "x.gguf"), &w, &err));
    REFUSED(md_gguf_data(w, "x", 1, &err), MD_ERR_ARGUMENT, "before begin");
    REFUSED(md_gguf_commit(w, &err), MD_ERR_ARGUMENT, "before begin");
    REFUSED(md_gguf_set_u32(w, "", 1, &err), MD_ERR_ARGUMENT, "key");
    REFUSED(md_gguf_set_u32(w, "general.alignment", 64, &err), MD_ERR_ARGUMENT, "aligns to 32");
    REFUSED(md_gguf_set_array(w, "general.alignment", MD_GGUF_U32, &(uint32_t){1}, 1, &err), MD_ERR_ARGUMENT, "aligns");
    REFUSED(md_gguf_set_array(w, "a", MD_GGUF_STRING, NULL, 0, &err), MD_ERR_ARGUMENT, "kind string");
    REFUSED(md_gguf_set_array(w, "a", MD_GGUF_ARRAY, NULL, 0, &err), MD_ERR_ARGUMENT, "kind array");
    char name[80];
    memset(name, 'n', sizeof name);
    name[64] = '\0';
    REFUSED(md_gguf_add_tensor(w, name, MD_TYPE_F32, 2, shape_a, &err), MD_ERR_ARGUMENT, "64 bytes");
    REFUSED(md_gguf_add_tensor(w, "", MD_TYPE_F32, 2, shape_a, &err), MD_ERR_ARGUMENT, "0 bytes");
    REFUSED(md_gguf_add_tensor(w, "z", MD_TYPE_F32, 1, zero, &err), MD_ERR_ARGUMENT, "'z' has 0 as dimension 0");
    REFUSED(md_gguf_add_tensor(w, "z", MD_TYPE_F32, 0, zero, &err), MD_ERR_ARGUMENT, "0 dimensions");
    REFUSED(md_gguf_add_tensor(w, "z", MD_TYPE_F32, 5, five, &err), MD_ERR_ARGUMENT, "5 dimensions");
    REFUSED(md_gguf_add_tensor(w, "z", MD_TYPE_Q4_0, 1, uneven, &err), MD_ERR_ARGUMENT, "blocks are of 32");
    REFUSED(md_gguf_add_tensor(w, "z", MD_TYPE_F32, 2, huge, &err), MD_ERR_ARGUMENT, "too large");
    REFUSED(md_gguf_add_tensor(w, "z", MD_N_TYPES, 1, five, &err), MD_ERR_ARGUMENT, "no valid type");
    add_tensors(w);
    REFUSED(md_gguf_add_tensor(w, "a", MD_TYPE_F32, 2, shape_a, &err), MD_ERR_ARGUMENT, "'a' was added before");
    OK(md_gguf_begin(w, &err));
    REFUSED(md_gguf_begin(w, &err), MD_ERR_ARGUMENT, "after begin");
    REFUSED(md_gguf_set_u32(w, "late", 1, &err), MD_ERR_ARGUMENT, "after begin");
    REFUSED(md_gguf_add_tensor(w, "c", MD_TYPE_F32, 2, shape_a, &err), MD_ERR_ARGUMENT, "after begin");
    REFUSED(md_gguf_data(w, data_a, 61, &err), MD_ERR_ARGUMENT, "lacks only 60");
    OK(md_gguf_data(w, data_a, 59, &err));
    REFUSED(md_gguf_data(w, data_a, 2, &err), MD_ERR_ARGUMENT, "lacks only 1");
    REFUSED(md_gguf_commit(w, &err), MD_ERR_ARGUMENT, "tensor 'a' has only 59 of its 60 bytes");
    OK(md_gguf_data(w, data_a + 59, 1, &err));
    REFUSED(md_gguf_commit(w, &err), MD_ERR_ARGUMENT, "tensor 'b' has only 0");
    OK(md_gguf_data(w, data_b, sizeof data_b, &err));
    REFUSED(md_gguf_data(w, data_b, 1, &err), MD_ERR_ARGUMENT, "1 bytes more");
    OK(md_gguf_commit(w, &err)); /* refused calls changed nothing */
    REFUSED(md_gguf_commit(w, &err), MD_ERR_ARGUMENT, "after commit");
    REFUSED(md_gguf_data(w, data_b, 1, &err), MD_ERR_ARGUMENT, "after commit");
    md_gguf_writer_close(w);
    md_gguf *g;
    OK(md_gguf_open(scratch_path(*state, "x.gguf"), MD_GGUF_MAP, &g, &err));
    check_tensors(g);
    md_gguf_close(g);
}

static void unwritable_targets_are_named(void **state)
{
    md_gguf_writer *w;
    REFUSED(md_gguf_writer_new(scratch_path(*state, "none/x.gguf"), &w, &err), MD_ERR_IO, "none/x.gguf");
    assert_null(w);
    REFUSED(md_gguf_writer_new(scratch_path(*state, ""), &w, &err), MD_ERR_IO, "directory");
    assert_null(w);
    md_gguf_writer_close(NULL);
}

/* A file system without room is played by a limit on the size of files. */
static void a_full_disk_leaves_nothing(void **state)
{
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 1 << 16;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    const int64_t shape[] = {1024, 1024};
    char *row = md_calloc(1024, 4);
    md_gguf_writer *w;
    OK(md_gguf_writer_new(scratch_path(*state, "x.gguf"), &w, &err));
    OK(md_gguf_add_tensor(w, "big", MD_TYPE_F32, 2, shape, &err));
    OK(md_gguf_begin(w, &err));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    md_status status = MD_OK;
    for (int i = 0; i < 1024 && status == MD_OK; i++)
        status = md_gguf_data(w, row, 4096, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    REFUSED(status, MD_ERR_IO, "x.gguf");
    REFUSED(md_gguf_data(w, row, 4096, &err), MD_ERR_ARGUMENT, "failed write");
    REFUSED(md_gguf_commit(w, &err), MD_ERR_ARGUMENT, "failed write");
    md_gguf_writer_close(w);
    md_free(row);
    assert_int_equal(scratch_count(*state), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(round_trip),
        IN_SCRATCH(copies_keys),
        IN_SCRATCH(replaces_keys_in_place),
        IN_SCRATCH(replaces_a_file_only_on_commit),
        IN_SCRATCH(a_header_can_be_all),
        IN_SCRATCH(tensors_are_aligned),
        IN_SCRATCH(misuse_is_refused),
        IN_SCRATCH(unwritable_targets_are_named),
        IN_SCRATCH(a_full_disk_leaves_nothing),
    };
    return cmocka_run_group_tests_name("format/gguf_write", tests, NULL, NULL);
}
