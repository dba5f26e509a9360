/* SPDX-License-Identifier: Apache-2.0
 *
 * The trace format: what is written is read again, byte by byte what docs/trace.md says; files that grow, that end anywhere, and
 * that lie. */
#include "trace/trace_test.h"

#include <math.h>

enum { HEADER = 32 + 3 * 24 + 16 }; /* of some_info */

/* A step of two rows at both layers, with a store's record and its end. */
static void write_some(md_trace_writer *w)
{
    md_trace_write_step(w, 2, (const int32_t[]){0, 3}, (const int32_t[]){7, 0}, (const int32_t[]){11, -1});
    md_trace_write_routing(w, 0, 2, (const int32_t[]){2, 0, 3, -1}, (const float[]){0.75f, 0.25f, 1.5f, 0.0f});
    md_trace_write_store(w, 0, 1, 2, 2000, 12345);
    md_trace_write_routing(w, 2, 2, (const int32_t[]){5, 4}, (const float[]){-0.5f, 1.0f});
    md_trace_write_step_end(w, 987654321);
}

static void check_some(md_trace_reader *r, uint64_t step)
{
    const md_trace_record *a = next_record(r);
    assert_non_null(a);
    assert_int_equal(a->kind, MD_TRACE_STEP);
    assert_int_equal(a->step, step);
    assert_int_equal(a->n_rows, 2);
    assert_memory_equal(a->sequence, ((const int32_t[]){0, 3}), 8);
    assert_memory_equal(a->position, ((const int32_t[]){7, 0}), 8);
    assert_memory_equal(a->token, ((const int32_t[]){11, -1}), 8);
    a = next_record(r);
    assert_int_equal(a->kind, MD_TRACE_ROUTING);
    assert_int_equal(a->step, step);
    assert_int_equal(a->layer, 0);
    assert_int_equal(a->top_k, 2);
    assert_memory_equal(a->expert, ((const int32_t[]){2, 0, 3, -1}), 16);
    assert_memory_equal(a->weight, ((const float[]){0.75f, 0.25f, 1.5f, 0.0f}), 16);
    a = next_record(r);
    assert_int_equal(a->kind, MD_TRACE_STORE);
    assert_int_equal(a->hits, 1);
    assert_int_equal(a->misses, 2);
    assert_int_equal(a->bytes, 2000);
    assert_int_equal(a->wait_ns, 12345);
    a = next_record(r);
    assert_int_equal(a->layer, 2);
    assert_memory_equal(a->expert, ((const int32_t[]){5, 4}), 8);
    assert_true(a->weight[0] == -0.5f && a->weight[1] == 1.0f);
    a = next_record(r);
    assert_int_equal(a->kind, MD_TRACE_STEP_END);
    assert_int_equal(a->step, step);
    assert_int_equal(a->ns, 987654321);
}

static void what_is_written_is_read(void **state)
{
    const char *path = in_folder(state, "t");
    md_trace_writer *w = open_writer(path, &some_info);
    for (int i = 0; i < 3; i++)
        write_some(w);
    close_writer(w);
    md_trace_reader *r = open_reader(path);
    const md_trace_info *info = md_trace_reader_info(r);
    assert_string_equal(info->model, "a small one");
    assert_true(info->identity == some_info.identity);
    assert_int_equal(info->n_layer, 3);
    assert_memory_equal(info->layer, some_layers, sizeof some_layers);
    for (uint64_t step = 0; step < 3; step++)
        check_some(r, step);
    assert_null(next_record(r));
    assert_null(next_record(r));
    md_trace_reader_close(r);
}

/* docs/trace.md, on any machine; times are left out. */
static void the_bytes_are_those_of_the_documentation(void **state)
{
    static const unsigned char front[] = "MEDLEYTR\1\0\0\0\170\0\0\0\xef\xcd\xab\x89\x67\x45\x23\1\3\0\0\0\13\0\0\0"
                                         "\4\0\0\0\4\0\0\0\2\0\0\0\0\0\0\0\xe8\3\0\0\0\0\0\0";
    static const unsigned char step[] = "\1\0\0\0\2\0\0\0\0\0\0\0\0\0\0\0";
    static const unsigned char rows[] = "\0\0\0\0\7\0\0\0\13\0\0\0\3\0\0\0\0\0\0\0\xff\xff\xff\xff"
                                        "\2\0\0\0\2\0\0\0\2\0\0\0\3\0\xff\xff\x40\x3f\x80\x3e\xc0\x3f\0\0"
                                        "\3\0\0\0\0\0\0\0\1\0\0\0\2\0\0\0\xd0\7\0\0\0\0\0\0\x39\x30\0\0\0\0\0\0"
                                        "\2\0\2\0\2\0\0\0\5\0\4\0\0\xbf\x80\x3f"
                                        "\4\0\0\0\0\0\0\0\xb1\x68\xde\x3a\0\0\0\0";
    const char *path = in_folder(state, "t");
    size_t n;
    md_trace_writer *w = open_writer(path, &some_info);
    write_some(w);
    close_writer(w);
    unsigned char *b = read_all(path, &n);
    assert_int_equal(n, HEADER + sizeof step - 1 + 8 + sizeof rows - 1);
    assert_memory_equal(b, front, sizeof front - 1);
    assert_memory_equal(b + 32 + 72, "a small one\0\0\0\0\0", 16);
    assert_memory_equal(b + HEADER, step, sizeof step - 1);
    assert_memory_equal(b + HEADER + sizeof step - 1 + 8, rows, sizeof rows - 1);
    free(b);
}

static void weights_keep_eight_bits(void **state)
{
    const char *path = in_folder(state, "t");
    const md_trace_layer layer = {.n_expert = 5, .n_ffn = 5, .top_k = 5};
    const md_trace_info info = {.model = "", .n_layer = 1, .layer = &layer};
    const float weight[] = {1.0f + 0x1p-8f, 1.0f + 0x3p-8f, 0x1.ffp-1f, INFINITY, NAN};
    md_trace_writer *w = open_writer(path, &info);
    md_trace_write_step(w, 1, (const int32_t[]){0}, (const int32_t[]){0}, NULL);
    md_trace_write_routing(w, 0, 1, (const int32_t[]){0, 1, 2, 3, 4}, weight);
    close_writer(w);
    md_trace_reader *r = open_reader(path);
    assert_string_equal(md_trace_reader_info(r)->model, "");
    assert_int_equal(next_record(r)->token[0], -1);
    const md_trace_record *a = next_record(r);
    assert_true(a->weight[0] == 1.0f && a->weight[1] == 1.0f + 0x1p-6f && a->weight[2] == 1.0f); /* ties to even */
    assert_true(isinf(a->weight[3]) && isnan(a->weight[4]));
    md_trace_reader_close(r);
}

/* More than the buffer holds, in one record and in many. */
static void large_steps_come_through(void **state)
{
    enum { ROWS = 40000, STEPS = 3 };
    const char *path = in_folder(state, "t");
    const md_trace_layer layer = {.n_expert = 65534, .n_ffn = 65534, .top_k = 4};
    const md_trace_info info = {.model = "large", .n_layer = 1, .layer = &layer};
    int32_t *row = calloc(ROWS, sizeof *row), *expert = calloc(4 * ROWS, sizeof *expert);
    float *weight = calloc(4 * ROWS, sizeof *weight);
    for (int32_t i = 0; i < ROWS; i++)
        row[i] = i;
    for (int32_t i = 0; i < 4 * ROWS; i++) {
        expert[i] = (i * 7) % 65535 - 1;
        weight[i] = (float)(i % 256);
    }
    md_trace_writer *w = open_writer(path, &info);
    for (int i = 0; i < STEPS; i++) {
        md_trace_write_step(w, ROWS, row, row, row);
        md_trace_write_routing(w, 0, ROWS, expert, weight);
    }
    close_writer(w);
    md_trace_reader *r = open_reader(path);
    for (int i = 0; i < STEPS; i++) {
        assert_memory_equal(next_record(r)->position, row, ROWS * sizeof *row);
        const md_trace_record *a = next_record(r);
        assert_memory_equal(a->expert, expert, 4 * ROWS * sizeof *expert);
        assert_memory_equal(a->weight, weight, 4 * ROWS * sizeof *weight);
    }
    assert_null(next_record(r));
    md_trace_reader_close(r);
    free(row);
    free(expert);
    free(weight);
}

static void it_can_be_read_while_it_grows(void **state)
{
    const char *path = in_folder(state, "t");
    md_trace_writer *w = open_writer(path, &some_info);
    md_trace_reader *r = open_reader(path); /* the header is there at once */
    assert_null(next_record(r));
    for (uint64_t step = 0; step < 5; step++) {
        write_some(w);
        assert_null(next_record(r)); /* it is in the writer's buffer still */
        md_trace_writer_flush(w);
        check_some(r, step);
        assert_null(next_record(r));
    }
    close_writer(w);
    md_trace_reader_close(r);
}

/* Wherever a file ends: the whole records before are read, nothing is an error; and it goes on when the rest comes. */
static void a_file_may_end_anywhere(void **state)
{
    char *path = strdup(in_folder(state, "t"));
    const char *cut = in_folder(state, "cut");
    size_t n;
    md_trace_writer *w = open_writer(path, &some_info);
    write_some(w);
    close_writer(w);
    unsigned char *b = read_all(path, &n);
    for (size_t end = 0; end <= n; end++) {
        md_trace_reader *r = NULL;
        md_error err = {0};
        write_bytes(cut, b, end);
        if (end < HEADER) {
            assert_int_equal(md_trace_reader_open(cut, &r, &err), MD_ERR_FORMAT);
            assert_null(r);
            continue;
        }
        ok(md_trace_reader_open(cut, &r, &err), &err);
        size_t at = HEADER;
        int records = 0;
        for (const md_trace_record *a; (a = next_record(r)); records++) {
            assert_int_equal(a->offset, at);
            at += a->kind == MD_TRACE_STEP      ? 8 + 16 + 24
                  : a->kind == MD_TRACE_ROUTING ? 8 + 8 * (size_t)a->top_k
                  : a->kind == MD_TRACE_STORE   ? 8 + 24
                                                : 8 + 8;
        }
        assert_true(at <= end);
        write_bytes(cut, b, n);
        while (next_record(r))
            records++;
        assert_int_equal(records, 5);
        md_trace_reader_close(r);
    }
    free(b);
    free(path);
}

/* ---- files that lie ---- */

typedef struct lie {
    size_t at;
    unsigned char value;
    const char *says; /* what the error holds */
} lie;

static md_status read_whole(const char *path, md_error *err)
{
    md_trace_reader *r;
    const md_trace_record *a;
    md_status status = md_trace_reader_open(path, &r, err);
    if (status != MD_OK)
        return status;
    while ((status = md_trace_reader_next(r, &a, err)) == MD_OK && a) {
    }
    if (status != MD_OK) { /* it stays where it is, and says the same again */
        md_error again;
        assert_int_equal(md_trace_reader_next(r, &a, &again), status);
        assert_string_equal(again.message, err->message);
        assert_null(a);
    }
    md_trace_reader_close(r);
    return status;
}

static void lies_are_found(void **state)
{
    enum { STEP = HEADER, ROUTING = STEP + 48, STORE = ROUTING + 24, SECOND = STORE + 32, END = SECOND + 16 };
    static const lie lies[] = {
        {0, 'm', "is not a trace"},
        {8, 2, "a trace of version 2"},
        {12, 99, "its header of 99 bytes"},
        {24, 4, "claims 4 layers"},
        {27, 0x80, "claims 2147483651 layers"},
        {28, 255, "a name of 255 bytes"},
        {32 + 2, 2, "layer 0 has 131076 experts"},
        {32 + 4, 5, "5 of them networks"},
        {32 + 8, 5, "5 picked"},
        {32 + 12, 1, "layer 0 has 4 experts"},
        {STEP, 9, "no such kind of record, in the record at byte 120"},
        {STEP, 0, "no such kind"},
        {STEP, 2, "no step has begun"},
        {STEP + 1, 1, "no such kind"},
        {STEP + 2, 1, "no such layer"},
        {STEP + 4, 0, "so many rows"},
        {STEP + 7, 1, "so many rows"},
        {STEP + 8, 1, "not counted one by one"},
        {STEP + 24 + 3, 0x80, "a sequence, position or token below 0"},
        {STEP + 24 + 7, 0xff, "a sequence, position or token below 0"},
        {STEP + 24 + 11, 0xff, "a sequence, position or token below 0"},
        {ROUTING + 2, 1, "no such layer has experts, in the record at byte 168"},
        {ROUTING + 2, 3, "no such layer"},
        {ROUTING + 4, 3, "its rows are not those of its step"},
        {ROUTING + 8, 4, "its layer has fewer experts"},
        {ROUTING + 9, 0xff, "its layer has fewer experts"},
        {STORE + 4, 1, "this kind has no rows"},
        {STORE + 2, 1, "no such layer"},
        {END + 2, 2, "no such layer"},
    };
    char *path = strdup(in_folder(state, "t"));
    const char *bad = in_folder(state, "bad");
    size_t n;
    md_error err = {0};
    md_trace_writer *w = open_writer(path, &some_info);
    write_some(w);
    close_writer(w);
    unsigned char *b = read_all(path, &n);
    ok(read_whole(path, &err), &err);
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        const unsigned char was = b[lies[i].at];
        b[lies[i].at] = lies[i].value;
        write_bytes(bad, b, n);
        b[lies[i].at] = was;
        const md_status status = read_whole(bad, &err);
        if (status == MD_OK || !strstr(err.message, lies[i].says))
            fail_msg("byte %zu = %d: status %d, '%s'", lies[i].at, lies[i].value, (int)status, err.message);
    }
    free(b);
    free(path);
}

/* A record that claims more than the file holds is one that is not whole yet; nothing is allocated for it. */
static void a_claim_takes_no_memory(void **state)
{
    const char *path = in_folder(state, "t");
    const md_trace_layer layer = {.n_expert = 65534, .n_ffn = 65534, .top_k = 250};
    const md_trace_info info = {.model = "", .n_layer = 1, .layer = &layer};
    unsigned char claim[] = {1, 0, 0, 0, 0, 0, 1, 0}; /* 65536 rows */
    md_error err;
    close_writer(open_writer(path, &info));
    FILE *f = fopen(path, "ab");
    assert_int_equal(fwrite(claim, 1, sizeof claim, f), sizeof claim);
    fclose(f);
    ok(read_whole(path, &err), &err);
}

/* ---- opening ---- */

static void only_traces_are_replaced(void **state)
{
    const char *path = in_folder(state, "t");
    md_trace_writer *w;
    md_error err;
    size_t n;
    write_bytes(path, "GGUF and more", 13);
    assert_int_equal(md_trace_writer_open(path, &some_info, &w, &err), MD_ERR_ARGUMENT);
    assert_null(w);
    assert_non_null(strstr(err.message, "exists and is no trace"));
    char *b = read_all(path, &n);
    assert_string_equal(b, "GGUF and more");
    free(b);
    write_bytes(path, "", 0);
    w = open_writer(path, &some_info);
    write_some(w);
    close_writer(w);
    close_writer(open_writer(path, &some_info));
    free(read_all(path, &n));
    assert_int_equal(n, HEADER);
}

static void what_cannot_be_opened_says_why(void **state)
{
    md_trace_writer *w;
    md_trace_reader *r;
    md_error err;
    assert_int_equal(md_trace_writer_open(in_folder(state, "no/t"), &some_info, &w, &err), MD_ERR_IO);
    assert_int_equal(md_trace_writer_open((const char *)*state, &some_info, &w, &err), MD_ERR_IO);
    assert_int_equal(md_trace_reader_open(in_folder(state, "t"), &r, &err), MD_ERR_IO);
    assert_int_equal(md_trace_reader_open((const char *)*state, &r, &err), MD_ERR_IO);
    assert_null(w);
    assert_null(r);
    const md_trace_info none = {.model = "", .n_layer = 0};
    assert_int_equal(md_trace_writer_open(in_folder(state, "t"), &none, &w, &err), MD_ERR_ARGUMENT);
    const md_trace_layer wrong[] = {{.n_expert = 4, .n_ffn = 5, .top_k = 2},
                                    {.n_expert = 4, .n_ffn = 4, .top_k = 5},
                                    {.n_expert = 65535, .n_ffn = 4, .top_k = 5},
                                    {.n_expert = -1}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const md_trace_info info = {.model = "", .n_layer = 1, .layer = &wrong[i]};
        assert_int_equal(md_trace_writer_open(in_folder(state, "t"), &info, &w, &err), MD_ERR_ARGUMENT);
    }
    assert_true(access(in_folder(state, "t"), F_OK) != 0);
}

/* Records that make no sense are left out and told at the end; the file stays a good one. */
static void nonsense_is_dropped_and_told(void **state)
{
    const char *path = in_folder(state, "t");
    const int32_t two[] = {0, 0}, wild[] = {0, 9, 1, 1};
    const float weight[4] = {0};
    md_error err;
    md_trace_writer *w = open_writer(path, &some_info);
    md_trace_write_store(w, 0, 1, 1, 1, 1); /* before any step */
    md_trace_write_step(w, 0, two, two, two);
    write_some(w);
    md_trace_write_routing(w, 1, 2, two, weight);  /* no experts there */
    md_trace_write_routing(w, 3, 2, two, weight);  /* no such layer */
    md_trace_write_routing(w, 0, 1, two, weight);  /* other rows */
    md_trace_write_routing(w, 0, 2, wild, weight); /* no such expert */
    write_some(w);
    assert_int_equal(md_trace_writer_close(w, &err), MD_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "a store's record that makes no sense"));
    assert_non_null(strstr(err.message, "6 records are missing"));
    md_trace_reader *r = open_reader(path);
    check_some(r, 0);
    check_some(r, 1);
    assert_null(next_record(r));
    md_trace_reader_close(r);
    ok(md_trace_writer_close(NULL, &err), &err);
    md_trace_reader_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_written_is_read, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(the_bytes_are_those_of_the_documentation, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(weights_keep_eight_bits, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(large_steps_come_through, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(it_can_be_read_while_it_grows, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(a_file_may_end_anywhere, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(lies_are_found, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(a_claim_takes_no_memory, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(only_traces_are_replaced, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_opened_says_why, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(nonsense_is_dropped_and_told, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests_name("trace files", tests, NULL, NULL);
}
