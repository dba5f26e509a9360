/* SPDX-License-Identifier: Apache-2.0
 *
 * Split GGUF files: any part opens the whole; parts that are missing, renamed or from elsewhere are named. */
#include "support/ok.h"
#include "support/scratch.h"

#include "format/gguf.h"
#include <string.h>

static const char *part_path(void **state, int no, int count)
{
    char name[64];
    snprintf(name, sizeof name, "model-%05d-of-%05d.gguf", no + 1, count);
    return scratch_path(*state, name);
}

/* Writes a part with tensors "t<first>" to "t<first + n - 1>", each holding its number. */
static void write_part(const char *path, unsigned no, unsigned count, unsigned total, unsigned first, unsigned n)
{
    md_gguf_writer *w;
    OK(md_gguf_writer_new(path, &w, &err));
    if (no == 0)
        OK(md_gguf_set_string(w, "general.architecture", "test", &err));
    OK(md_gguf_set_u32(w, "split.no", no, &err));
    OK(md_gguf_set_u32(w, "split.count", count, &err));
    OK(md_gguf_set_i32(w, "split.tensors.count", (int32_t)total, &err));
    for (unsigned i = first; i < first + n; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%u", i);
        OK(md_gguf_add_tensor(w, name, MD_TYPE_F32, 1, (const int64_t[]){1}, &err));
    }
    OK(md_gguf_begin(w, &err));
    for (unsigned i = first; i < first + n; i++)
        OK(md_gguf_data(w, &(float){(float)i}, 4, &err));
    OK(md_gguf_commit(w, &err));
    md_gguf_writer_close(w);
}

/* Part 1 has no tensors, part 2 has two, part 3 one. */
static int setup(void **state)
{
    if (scratch_setup(state) != 0)
        return -1;
    write_part(part_path(state, 0, 3), 0, 3, 3, 0, 0);
    write_part(part_path(state, 1, 3), 1, 3, 3, 0, 2);
    write_part(part_path(state, 2, 3), 2, 3, 3, 2, 1);
    return 0;
}

static void expect_refused(const char *path, md_status code, const char *words)
{
    for (md_gguf_mode mode = MD_GGUF_MAP; mode <= MD_GGUF_HEADER; mode++) {
        md_gguf *g;
        const md_status status = md_gguf_open(path, mode, &g, &err);
        if (status != code || g || !strstr(err.message, words))
            fail_msg("%s: %s; should say: %s", md_status_name(status), status ? err.message : "accepted", words);
    }
}

static void any_part_opens_the_whole(void **state)
{
    for (int named = 0; named < 3; named++) {
        md_gguf *g;
        OK(md_gguf_open(part_path(state, named, 3), MD_GGUF_MAP, &g, &err));
        assert_int_equal(md_gguf_n_parts(g), 3);
        assert_int_equal(md_gguf_n_tensors(g), 3);
        assert_non_null(md_gguf_find(g, "general.architecture"));
        uint64_t bytes = 0;
        for (int i = 0; i < 3; i++) {
            struct stat st;
            assert_string_equal(md_gguf_part_path(g, i), part_path(state, i, 3));
            assert_int_equal(stat(md_gguf_part_path(g, i), &st), 0);
            bytes += (uint64_t)st.st_size;
        }
        assert_int_equal(md_gguf_file_bytes(g), bytes);
        static const int part[] = {1, 1, 2};
        for (unsigned i = 0; i < 3; i++) {
            char name[16];
            snprintf(name, sizeof name, "t%u", i);
            const md_gguf_tensor *t = md_gguf_find_tensor(g, name);
            assert_ptr_equal(t, md_gguf_tensor_at(g, i));
            assert_int_equal(t->part, part[i]);
            float v;
            memcpy(&v, t->data, sizeof v);
            assert_true(v == (float)i);
            /* the offset counts within the part's own file */
            size_t n;
            char *file = read_all(md_gguf_part_path(g, t->part), &n);
            memcpy(&v, file + t->file_offset, sizeof v);
            free(file);
            assert_true(v == (float)i);
        }
        md_gguf_close(g);
    }
}

static void a_missing_part_is_named(void **state)
{
    assert_int_equal(unlink(part_path(state, 1, 3)), 0);
    expect_refused(part_path(state, 2, 3), MD_ERR_IO, "part 2 of 3 cannot be read");
    expect_refused(part_path(state, 0, 3), MD_ERR_IO, "model-00002-of-00003.gguf");
}

static void a_renamed_part_is_refused(void **state)
{
    const char *other = scratch_path(*state, "renamed.gguf");
    assert_int_equal(rename(part_path(state, 0, 3), other), 0);
    expect_refused(other, MD_ERR_FORMAT, "its name must end in -00001-of-00003.gguf, or");
    other = part_path(state, 0, 4);
    assert_int_equal(rename(scratch_path(*state, "renamed.gguf"), other), 0);
    expect_refused(other, MD_ERR_FORMAT, "named as part 1 of 4 but says inside that it is part 1 of 3");
}

static void parts_must_belong_together(void **state)
{
    write_part(part_path(state, 1, 3), 0, 3, 3, 0, 2);
    expect_refused(part_path(state, 0, 3), MD_ERR_FORMAT, "says inside that it is part 1 of 3, not 2 of 3");
    write_part(part_path(state, 1, 3), 1, 2, 3, 0, 2);
    expect_refused(part_path(state, 0, 3), MD_ERR_FORMAT, "part 2 of 2, not 2 of 3");
    write_part(part_path(state, 1, 3), 1, 3, 3, 0, 1);
    expect_refused(part_path(state, 2, 3), MD_ERR_FORMAT, "the 3 parts have 2 tensors, but split.tensors.count says 3");
    write_part(part_path(state, 1, 3), 1, 3, 3, 1, 2);
    expect_refused(part_path(state, 0, 3), MD_ERR_FORMAT, "tensor 't2' is there twice");
    write_part(part_path(state, 0, 3), 3, 3, 3, 0, 0);
    expect_refused(part_path(state, 0, 3), MD_ERR_FORMAT, "part 3 of 3 (split.no counts from 0)");
    write_part(part_path(state, 0, 3), 0, 1000000, 3, 0, 0);
    expect_refused(part_path(state, 0, 3), MD_ERR_FORMAT, "of 1000000");
}

static void a_damaged_part_is_named(void **state)
{
    const char *path = part_path(state, 2, 3);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size - 32), 0);
    md_gguf *g;
    assert_int_equal(md_gguf_open(part_path(state, 0, 3), MD_GGUF_MAP, &g, &err), MD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "model-00003-of-00003.gguf' is cut off: tensor 't2'"));
    OK(md_gguf_open(part_path(state, 0, 3), MD_GGUF_HEADER, &g, &err));
    assert_int_equal(md_gguf_n_tensors(g), 3);
    md_gguf_close(g);
}

static void one_part_of_one_needs_no_name(void **state)
{
    const char *path = scratch_path(*state, "single.gguf");
    write_part(path, 0, 1, 2, 0, 2);
    md_gguf *g;
    OK(md_gguf_open(path, MD_GGUF_MAP, &g, &err));
    assert_int_equal(md_gguf_n_parts(g), 1);
    md_gguf_close(g);
}

/* Bytes in memory are one part and stand alone. */
static void bytes_of_a_part_are_parsed_alone(void **state)
{
    size_t n;
    char *file = read_all(part_path(state, 1, 3), &n);
    md_gguf *g;
    OK(md_gguf_parse(file, n, "part", MD_GGUF_MAP, &g, &err));
    assert_int_equal(md_gguf_n_tensors(g), 2);
    md_gguf_close(g);
    free(file);
}

int main(void)
{
#define WITH_PARTS(f) cmocka_unit_test_setup_teardown(f, setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        WITH_PARTS(any_part_opens_the_whole),         WITH_PARTS(a_missing_part_is_named),
        WITH_PARTS(a_renamed_part_is_refused),        WITH_PARTS(parts_must_belong_together),
        WITH_PARTS(a_damaged_part_is_named),          WITH_PARTS(one_part_of_one_needs_no_name),
        WITH_PARTS(bytes_of_a_part_are_parsed_alone),
    };
    return cmocka_run_group_tests_name("format/gguf_split", tests, NULL, NULL);
}
