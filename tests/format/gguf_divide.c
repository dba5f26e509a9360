/* SPDX-License-Identifier: Apache-2.0
 *
 * Tensors inside of tensors: found under their names, in the places of those that held them, each byte where it is said to be. */
#include "bytes.h"
#include "support/ok.h"

enum { ROW = 128, ROWS = 3 };

/* a, I8 [128, 3] whose bytes are numbered, b. */
static md_gguf *made(md_buf *b)
{
    md_gguf *g;
    put_header(b, 3, 3, 0);
    put_tensor(b, "a", 1, (const uint64_t[]){1}, 0, 0);
    put_tensor(b, "rows", 2, (const uint64_t[]){ROW, ROWS}, 24, 32);
    put_tensor(b, "b", 1, (const uint64_t[]){1}, 0, 32 + ROW * ROWS);
    pad_to(b, 32);
    pad_to(b, 32);
    for (int i = 0; i < 32; i++)
        put_u8(b, 0);
    for (int i = 0; i < ROW * ROWS; i++)
        put_u8(b, (uint8_t)(i % 251));
    for (int i = 0; i < 32; i++)
        put_u8(b, 0);
    OK(md_gguf_parse(b->data, b->len, "made", MD_GGUF_MAP, &g, &err));
    return g;
}

static md_gguf_view view(const char *name, md_type type, int64_t a, int64_t b, uint64_t offset)
{
    return (md_gguf_view){
        .name = {name, strlen(name)}, .type = type, .n_dims = 3, .dim = {a, b, ROWS}, .tensor = 1, .offset = offset};
}

static void views_take_the_place(void **state)
{
    (void)state;
    md_buf b = {0};
    md_gguf *g = made(&b);
    const uint64_t rows = md_gguf_tensor_at(g, 1)->file_offset;
    const md_gguf_view v[] = {view("x", MD_TYPE_F32, 2, 4, 0), view("y", MD_TYPE_F16, 4, 8, 64)};
    OK(md_gguf_divide(g, v, 2, &err));
    assert_int_equal(md_gguf_n_tensors(g), 4);
    assert_null(md_gguf_find_tensor(g, "rows"));
    assert_ptr_equal(md_gguf_find_tensor(g, "a"), md_gguf_tensor_at(g, 0));
    assert_ptr_equal(md_gguf_find_tensor(g, "b"), md_gguf_tensor_at(g, 3));
    const md_gguf_tensor *x = md_gguf_find_tensor(g, "x"), *y = md_gguf_find_tensor(g, "y");
    assert_ptr_equal(x, md_gguf_tensor_at(g, 1));
    assert_ptr_equal(y, md_gguf_tensor_at(g, 2));
    assert_int_equal(x->bytes, 32 * ROWS);
    assert_int_equal(x->n_elements, 8 * ROWS);
    assert_int_equal(md_gguf_slice_bytes(y), 64);
    assert_int_equal(md_gguf_slice_bytes(md_gguf_tensor_at(g, 0)), 4);
    for (uint64_t row = 0; row < ROWS; row++)
        for (uint64_t i = 0; i < 64; i += 63) {
            const uint64_t at = ROW * row + 64 + i;
            assert_int_equal(md_gguf_file_place(y, 64 * row + i), rows + at);
            assert_int_equal(((const unsigned char *)y->data)[row * y->data_stride + i], at % 251);
        }
    md_gguf_set_data(g, 2, "elsewhere");
    assert_int_equal(md_gguf_tensor_at(g, 2)->data_stride, 0);
    assert_int_equal(md_gguf_tensor_at(g, 2)->file_stride, ROW);
    md_gguf_close(g);
    md_buf_done(&b);
}

static void what_is_not_inside_is_refused(void **state)
{
    (void)state;
    md_gguf_view four = view("x", MD_TYPE_F32, 2, 4, 0), one = four, flat = four, rows = four, unknown = four;
    four.n_dims = 5;
    one.n_dims = 1;
    flat.tensor = 0;
    rows.dim[2] = 2;
    unknown.tensor = 3;
    const struct {
        md_gguf_view v[2];
        size_t n;
        const char *why;
    } cases[] = {
        {{four}, 1, "no valid"},
        {{one}, 1, "no valid"},
        {{flat}, 1, "holds no others"},
        {{rows}, 1, "not inside"},
        {{unknown}, 1, "not there"},
        {{view("", MD_TYPE_F32, 2, 4, 0)}, 1, "no valid"},
        {{view("x", MD_TYPE_F32, 0, 4, 0)}, 1, "not inside"},
        {{view("x", MD_TYPE_F32, 2, -4, 0)}, 1, "not inside"},
        {{view("x", MD_TYPE_Q4_0, 31, 1, 0)}, 1, "not inside"},
        {{view("x", MD_TYPE_F32, 1, 33, 0)}, 1, "not inside"},
        {{view("x", MD_TYPE_F32, INT64_MAX, INT64_MAX, 0)}, 1, "not inside"},
        {{view("x", MD_TYPE_F32, 1, 25, 32)}, 1, "not inside"},
        {{view("x", MD_TYPE_F32, 2, 4, 16)}, 1, "not inside"},
        {{view("x", MD_TYPE_F32, 2, 4, UINT64_MAX - 31)}, 1, "not inside"},
        {{view("x", MD_TYPE_F32, 1, 9, 0), view("y", MD_TYPE_F32, 2, 4, 32)}, 2, "overlaps"},
        {{view("x", MD_TYPE_F32, 2, 4, 32), view("y", MD_TYPE_F32, 2, 4, 0)}, 2, "overlaps"},
        {{view("x", MD_TYPE_F32, 2, 4, 0), view("x", MD_TYPE_F32, 2, 4, 32)}, 2, "twice"},
        {{view("x", MD_TYPE_F32, 2, 4, 0), view("b", MD_TYPE_F32, 2, 4, 32)}, 2, "twice"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        md_buf b = {0};
        md_gguf *g = made(&b);
        const md_status status = md_gguf_divide(g, cases[i].v, cases[i].n, &err);
        if (status != MD_ERR_FORMAT || !strstr(err.message, cases[i].why))
            fail_msg("case %zu: '%s' does not say '%s'", i, err.message, cases[i].why);
        md_gguf_close(g);
        md_buf_done(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_take_the_place),
        cmocka_unit_test(what_is_not_inside_is_refused),
    };
    return cmocka_run_group_tests_name("format/gguf_divide", tests, NULL, NULL);
}
