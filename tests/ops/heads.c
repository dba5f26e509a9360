/* SPDX-License-Identifier: Apache-2.0
 *
 * Products with a matrix for each head: the bits of one product for each head alone, whatever the threads and shares; and the same from
 * the other side, against sums written out. Heads' matrices lie apart, with rows of others between them. */
#include "ops_test.h"

#include <math.h>

enum { HEADS = 3, N = 20, FIRST = 2, STRIDE = 29, T = 5 };

typedef struct problem {
    md_weight w;
    float *x, *expected;
    int64_t k;
} problem;

static md_weight rows_of_head(const md_weight *w, int64_t head)
{
    md_weight one = *w;
    one.data = (const char *)w->data + (size_t)(FIRST + head * STRIDE) * w->row_bytes;
    one.rows = N;
    return one;
}

static problem problem_new(md_type type, bool scale)
{
    problem p = {.w = weight_new(type, FIRST + HEADS * STRIDE, md_type_get(type)->block > 1 ? 256 : 77)};
    p.w.scale = scale ? floats_new(1, FILL_UNIT) : NULL;
    p.k = p.w.cols;
    p.x = floats_new(HEADS * T * p.k, FILL_UNIT);
    p.expected = floats_new(T * HEADS * p.k, FILL_ZERO);
    return p;
}

static void problem_free(problem *p)
{
    weight_free(&p->w);
    free(p->x);
    free(p->expected);
}

static void check_heads(const md_ops *ops, void *ctx)
{
    problem *p = ctx;
    md_rows rows = rows_new(HEADS * T, p->k), one = rows_new(T, p->k);
    guarded out = guarded_new((size_t)T * HEADS * N * 4, 4);
    md_rows_set(&rows, p->x, HEADS * T, p->k);
    md_matmul_heads(ops, &p->w, FIRST, STRIDE, N, &rows, HEADS, out.data);
    for (int64_t h = 0; h < HEADS; h++) {
        const md_weight w = rows_of_head(&p->w, h);
        float y[T * N];
        md_rows_set(&one, p->x + h * T * p->k, T, p->k);
        md_matmul(ops, &w, &one, y, N);
        for (int64_t t = 0; t < T; t++)
            expect_same_floats(y + t * N, (float *)out.data + (t * HEADS + h) * N, N, "a head's product");
    }
    guarded_done(&out, "products of heads");
    rows_free(&rows);
    rows_free(&one);
}

static void heads_are_products_alone(void **state)
{
    static const md_type types[] = {MD_TYPE_F32, MD_TYPE_F16, MD_TYPE_Q8_0, MD_TYPE_Q4_1, MD_TYPE_Q4_K};
    for (int i = 0; i < COUNT(types); i++) {
        problem p = problem_new(types[i], i % 2);
        under_every_cut(table_of(state), check_heads, &p);
        problem_free(&p);
    }
}

/* x (T, HEADS, N) meets the rows of a head's matrix, widened, in ascending order. */
static void check_turned(const md_ops *ops, void *ctx)
{
    problem *p = ctx;
    const int64_t cols = p->w.cols, ld = cols + 4;
    float *row = floats_new(md_pool_threads(ops->pool) * MD_TURNED_ROWS * cols, FILL_ZERO),
          *widened = floats_new(cols, FILL_ZERO);
    float *expected = floats_new(cols, FILL_ZERO);
    guarded out = guarded_new((size_t)(T * HEADS * ld) * 4, 4);
    md_matmul_heads_turned(ops, &p->w, FIRST, STRIDE, p->x, T, N, HEADS, row, out.data, ld);
    for (int64_t t = 0; t < T; t++)
        for (int64_t h = 0; h < HEADS; h++) {
            for (int64_t c = 0; c < cols; c++)
                expected[c] = 0.0f;
            for (int64_t r = 0; r < N; r++) {
                const md_weight w = rows_of_head(&p->w, h);
                md_type_decode(w.type, (const char *)w.data + (size_t)r * w.row_bytes, widened, cols);
                for (int64_t c = 0; c < cols; c++)
                    expected[c] = fmaf(widened[c], p->x[(t * HEADS + h) * N + r], expected[c]);
            }
            for (int64_t c = 0; p->w.scale && c < cols; c++)
                expected[c] = expected[c] * *p->w.scale;
            expect_same_floats(expected, (float *)out.data + (t * HEADS + h) * ld, cols, "a head's sum");
        }
    guarded_done(&out, "sums of heads");
    free(row);
    free(widened);
    free(expected);
}

static void turned_heads_are_sums_of_rows(void **state)
{
    static const md_type types[] = {MD_TYPE_F32, MD_TYPE_BF16, MD_TYPE_Q8_0};
    for (int i = 0; i < COUNT(types); i++) {
        problem p = problem_new(types[i], i % 2);
        under_every_cut(table_of(state), check_turned, &p);
        problem_free(&p);
    }
}

int main(void)
{
    seed_from_environment();
    const struct CMUnitTest tests[] = {
        EACH_TABLE(heads_are_products_alone),
        EACH_TABLE(turned_heads_are_sums_of_rows),
    };
    return cmocka_run_group_tests_name("ops heads", tests, NULL, NULL);
}
