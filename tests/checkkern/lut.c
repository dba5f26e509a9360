/* SPDX-License-Identifier: Apache-2.0
 *
 * Products that are looked up: tiles of Q1_0 for one token, every table against the scalar one bit for bit, over numbers of
 * rows around those that share a step, lengths around the span of tables, and the codes that strain a table's bytes. */
#include "checkkern/check.h"
#include "checkkern/weights.h"

enum { MAX_N = 104 };

typedef enum codes { CODES_ANY, CODES_TOP, CODES_BOTTOM, CODES_ENDS, N_CODES } codes;
static const char *const code_names[N_CODES] = {"any", "all 127", "all -127", "127 or -127"};

static int8_t code_of(codes c)
{
    switch (c) {
    case CODES_TOP: return 127;
    case CODES_BOTTOM: return -127;
    case CODES_ENDS: return random_below(2) ? 127 : -127;
    default: return (int8_t)(random_below(255) - 127);
    }
}

/* Two rows of activations, of which the product takes the second. */
typedef struct problem {
    tight w, code, scale, sum, isum;
    md_act act;
    md_product product;
} problem;

static void make_activations(problem *p, int64_t k, codes c)
{
    const int64_t n = 2 * k / 32;
    p->code = tight_new((size_t)(2 * k), (size_t)random_below(4));
    p->isum = tight_new((size_t)n * 2, 2);
    const float *scale = tight_floats(&p->scale, n, random_below(4), FILL_UNIT);
    const float *sum = tight_floats(&p->sum, n, random_below(4), FILL_UNIT);
    int8_t *code = p->code.data;
    int16_t *isum = p->isum.data;
    for (int64_t g = 0; g < n; g++) {
        isum[g] = 0;
        for (int64_t i = g * 32; i < g * 32 + 32; i++) {
            code[i] = code_of(c);
            isum[g] = (int16_t)(isum[g] + code[i]);
        }
    }
    p->act = (md_act){.kind = MD_ACT_Q32, .k = k, .code = code, .scale = scale, .sum32 = sum, .isum = isum};
}

static problem problem_new(int64_t n, int64_t k, codes c, int bits)
{
    static const int32_t second = 1;
    problem p = {0};
    size_t row_bytes;
    assert_true(md_type_row_bytes(MD_TYPE_Q1_0, k, &row_bytes));
    p.w = tight_new(row_bytes * (size_t)n, (size_t)random_below(4));
    if (bits < 0)
        random_weights(MD_TYPE_Q1_0, p.w.data, k * n, random_u64);
    else
        memset(p.w.data, bits ? 0xff : 0, row_bytes * (size_t)n);
    for (int64_t b = 0; b < n / MD_TILE_ROWS * (k / 128); b++) /* of tiles: eight halves in front of each block */
        for (int r = 0; r < MD_TILE_ROWS; r++)
            set_half((uint8_t *)p.w.data + b * 144 + 2 * r, sensible_half(random_u64()));
    make_activations(&p, k, c);
    p.product = (md_product){.w = p.w.data, .row_bytes = row_bytes, .rows = &second, .n_rows = 1, .ld_out = MAX_N};
    return p;
}

static void problem_done(problem *p)
{
    free(p->w.base);
    free(p->code.base);
    free(p->scale.base);
    free(p->sum.base);
    free(p->isum.base);
}

/* Rows [first, last): those are equal, the ones before are untouched. */
static void check_range(const md_kern *kern, problem *p, int64_t first, int64_t last, const char *what)
{
    float expected[MAX_N];
    guarded got = guarded_new((size_t)last * sizeof(float), (size_t)random_below(4) * 4);
    memcpy(expected, got.data, (size_t)last * sizeof(float));
    p->product.act = &p->act;
    p->product.first = first;
    p->product.last = last;
    p->product.out = expected;
    scalar_table()->mul_tiles[MD_TYPE_Q1_0](&p->product);
    p->product.out = got.data;
    kern->mul_tiles[MD_TYPE_Q1_0](&p->product);
    expect_same_floats(expected, got.data, last, what);
    guarded_done(&got, what);
}

static void looked_up_products_equal_the_scalar_ones(void **state)
{
    static const int rows[] = {8, 24, 32, 40, 64, 72, MAX_N}, blocks[] = {1, 2, 3, 15, 16, 17, 33};
    const md_kern *kern = table_of(state);
    for (int i = 0; i < COUNT(rows); i++)
        for (int j = 0; j < COUNT(blocks); j++)
            for (int c = 0; c < N_CODES; c++)
                for (int bits = -1; bits < 2; bits++) {
                    const char *what = describe("%s Q1_0 rows=%d k=%d codes: %s, bits: %d", kern->isa, rows[i],
                                                blocks[j] * 128, code_names[c], bits);
                    problem p = problem_new(rows[i], blocks[j] * 128, (codes)c, bits);
                    check_range(kern, &p, 0, rows[i], what);
                    if (rows[i] > 16)
                        check_range(kern, &p, 8, rows[i] - 8, what);
                    problem_done(&p);
                }
}

int main(void)
{
    seed_from_environment();
    const struct CMUnitTest tests[] = {EACH_TABLE(looked_up_products_equal_the_scalar_ones)};
    return cmocka_run_group_tests_name("checkkern lut", tests, NULL, NULL);
}
