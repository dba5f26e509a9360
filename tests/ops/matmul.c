/* SPDX-License-Identifier: Apache-2.0
 *
 * md_matmul gives the bits of one plain product whatever the threads, the shares and the layout, then scale and bias; several
 * weights together give what each gives alone; the forms of the activations are made once, and only those that are asked for. */
#include "ops_test.h"

enum { N = 37, MAX_T = 17 };

typedef struct problem {
    md_weight w;
    md_rows rows;
    float *x, *expected; /* (T, K), (T, N) */
    int64_t t;
} problem;

/* Product row by row with one kernel call each, then scale, then bias, each rounded. */
static void expect_product(const md_kern *kern, problem *p)
{
    const md_act_kind kind = md_type_get(p->w.type)->act;
    md_rows one = rows_new(1, p->w.cols);
    for (int64_t t = 0; t < p->t; t++) {
        const float *x = p->x + t * p->w.cols;
        md_rows_set(&one, x, 1, p->w.cols);
        if (kind == MD_ACT_Q32)
            kern->quantize32(x, p->w.cols, one.code32, one.scale32, one.sum32, one.isum32);
        if (kind == MD_ACT_Q256)
            kern->quantize256(x, p->w.cols, one.code256, one.scale256, one.sum16);
        const md_act act = md_rows_act(&one, p->w.type);
        float *y = p->expected + t * N;
        kern->mul[p->w.type](&(md_product){
            .w = p->w.data, .row_bytes = p->w.row_bytes, .last = N, .act = &act, .n_rows = 1, .out = y, .ld_out = N});
        for (int r = 0; r < N; r++) {
            if (p->w.scale)
                y[r] = y[r] * *p->w.scale;
            if (p->w.bias)
                y[r] = y[r] + p->w.bias[r];
        }
    }
    rows_free(&one);
}

static void check_cut(const md_ops *ops, void *ctx)
{
    problem *p = ctx;
    const int64_t ld = N + 3;
    const char *what = describe("%s: %s t=%d, %d threads, grain %d", ops->kern->isa, md_type_get(p->w.type)->name,
                                (int)p->t, md_pool_threads(ops->pool), (int)ops->grain_rows);
    guarded out = guarded_new((size_t)(p->t * ld) * 4, 4);
    float *y = out.data, before[MAX_T * (N + 3)];
    memcpy(before, y, (size_t)(p->t * ld) * 4);
    md_rows_set(&p->rows, p->x, p->t, p->w.cols);
    md_matmul(ops, &p->w, &p->rows, y, ld);
    for (int64_t t = 0; t < p->t; t++) {
        expect_same_floats(p->expected + t * N, y + t * ld, N, what);
        assert_memory_equal(y + t * ld + N, before + t * ld + N, 3 * sizeof *y);
    }
    guarded_done(&out, what);
}

static void check_product(const md_kern *kern, md_type type, int64_t t, bool scale, bool bias)
{
    problem p = {.t = t, .w = weight_new(type, N, md_type_get(type)->block > 1 ? 512 : 101)};
    p.w.scale = scale ? floats_new(1, FILL_UNIT) : NULL;
    p.w.bias = bias ? floats_new(N, FILL_UNIT) : NULL;
    p.rows = rows_new(t, p.w.cols);
    p.x = floats_new(t * p.w.cols, FILL_UNIT);
    p.expected = floats_new(t * N, FILL_ZERO);
    expect_product(kern, &p);
    under_every_cut(kern, check_cut, &p);
    weight_free(&p.w);
    rows_free(&p.rows);
    free(p.x);
    free(p.expected);
}

static void no_cut_changes_a_bit(void **state)
{
    static const int64_t rows[] = {1, 2, MAX_T};
    const md_kern *kern = table_of(state);
    int round = 0;
    for (int type = 0; type < MD_N_TYPES; type++)
        for (int i = 0; md_type_get((md_type)type)->act != MD_ACT_NONE && i < COUNT(rows); i++, round++)
            check_product(kern, (md_type)type, rows[i], round % 2, round / 2 % 2);
}

/* ---- tiles, and several weights together ---- */

enum { PARTS = 4, K = 512 };
static const int64_t part_rows[PARTS] = {200, 8, 72, 1040};

typedef struct parts_problem {
    md_weight plain[PARTS], w[PARTS];
    md_rows rows;
    float *x;
    float *expected[PARTS];
    int64_t t;
} parts_problem;

static void check_parts(const md_ops *ops, void *ctx)
{
    parts_problem *p = ctx;
    guarded out[PARTS];
    md_matmul_part part[PARTS];
    const char *what = describe("parts, %s t=%d, %d threads, grain %d", md_type_get(p->w[0].type)->name, (int)p->t,
                                md_pool_threads(ops->pool), (int)ops->grain_rows);
    for (int i = 0; i < PARTS; i++) {
        const int64_t ld = part_rows[i] + i;
        out[i] = guarded_new((size_t)(p->t * ld) * 4, 4);
        part[i] = (md_matmul_part){.w = &p->w[i], .out = out[i].data, .ld = ld};
    }
    md_rows_set(&p->rows, p->x, p->t, K);
    md_matmul_parts(ops, part, PARTS, &p->rows);
    for (int i = 0; i < PARTS; i++) {
        for (int64_t t = 0; p->w[i].data && t < p->t; t++)
            expect_same_floats(p->expected[i] + t * part_rows[i], part[i].out + t * part[i].ld, part_rows[i], what);
        guarded_done(&out[i], what);
    }
}

/* types of the parts; MD_N_TYPES: a part without a weight. */
static void check_together(const md_kern *kern, const md_type *types, int64_t t, bool tiles)
{
    md_error err = {0};
    md_pool *one;
    assert_int_equal(md_pool_new(1, &one, &err), MD_OK);
    const md_ops alone = {.kern = kern, .pool = one};
    parts_problem p = {.t = t, .rows = rows_new(t, K), .x = floats_new(t * K, FILL_UNIT)};
    for (int i = 0; i < PARTS; i++) {
        p.expected[i] = floats_new(t * part_rows[i], FILL_ZERO);
        if (types[i] == MD_N_TYPES)
            continue;
        p.plain[i] = weight_new(types[i], part_rows[i], K);
        p.plain[i].bias = i % 2 ? floats_new(part_rows[i], FILL_UNIT) : NULL;
        p.w[i] = tiles ? weight_woven(&p.plain[i]) : p.plain[i];
        md_rows_set(&p.rows, p.x, t, K);
        md_matmul(&alone, &p.plain[i], &p.rows, p.expected[i], part_rows[i]);
    }
    under_every_cut(kern, check_parts, &p);
    for (int i = 0; i < PARTS; i++) {
        weight_free(&p.plain[i]);
        if (tiles)
            free((void *)(uintptr_t)p.w[i].data);
        free(p.expected[i]);
    }
    rows_free(&p.rows);
    free(p.x);
    md_pool_free(one);
}

static void parts_give_what_each_gives_alone(void **state)
{
    static const md_type mixed[][PARTS] = {{MD_TYPE_Q4_K, MD_TYPE_F32, MD_TYPE_Q8_0, MD_TYPE_Q6_K},
                                           {MD_N_TYPES, MD_TYPE_Q4_0, MD_N_TYPES, MD_TYPE_IQ2_XS},
                                           {MD_TYPE_F16, MD_TYPE_MXFP4, MD_TYPE_Q4_K, MD_N_TYPES},
                                           {MD_N_TYPES, MD_N_TYPES, MD_N_TYPES, MD_N_TYPES}};
    for (int i = 0; i < COUNT(mixed); i++)
        for (int tiles = 0; tiles < 2; tiles++) {
            check_together(table_of(state), mixed[i], 1, tiles);
            check_together(table_of(state), mixed[i], 13, tiles);
        }
}

static void tiles_give_what_rows_give(void **state)
{
    for (int type = 0; type < MD_N_TYPES; type++) {
        if (!md_tile_has((md_type)type))
            continue;
        const md_type same[PARTS] = {(md_type)type, (md_type)type, (md_type)type, (md_type)type};
        check_together(table_of(state), same, type % 2 ? 1 : 5, true);
    }
}

static void no_rows_make_no_output(void **state)
{
    const md_kern *kern = table_of(state);
    check_product(kern, MD_TYPE_F32, 0, true, true);
    check_product(kern, MD_TYPE_Q4_K, 0, true, true);
}

/* A small product is one share, a large one many; what the caller sets goes. */
static void shares_follow_the_work(void **state)
{
    (void)state;
    const md_ops free_choice = {0}, fixed = {.grain_rows = 5};
    assert_int_equal(md_share_rows(&fixed, 4096, 64), 5);
    assert_true(md_share_rows(&free_choice, 32, 1) > md_share_rows(&free_choice, 4096, 1));
    assert_true(md_share_rows(&free_choice, 32, 4) > md_share_rows(&free_choice, 32, 16));
    assert_int_equal(md_share_rows(&free_choice, 1 << 20, 1 << 20), 64);
    assert_true(md_share_rows(&free_choice, 0, 0) >= 1);
}

static void make_forms(const md_ops *ops, void *ctx)
{
    (void)ctx;
    enum { T = 19 };
    md_rows rows = rows_new(T, K);
    float *x = floats_new(T * K, FILL_UNIT);
    md_rows_set(&rows, x, T, K);
    md_rows_need(ops, &rows, MD_TYPE_BF16);
    assert_false(rows.have32 || rows.have256);
    md_rows_need(ops, &rows, MD_TYPE_Q8_0);
    assert_true(rows.have32 && !rows.have256);
    md_rows_need(ops, &rows, MD_TYPE_Q6_K);
    assert_true(rows.have32 && rows.have256);

    int8_t code32[K], code256[K];
    float scale32[K / 32], sum32[K / 32], scale256[K / 256];
    int16_t isum32[K / 32], sum16[K / 16];
    for (int t = 0; t < T; t++) {
        ops->kern->quantize32(x + t * K, K, code32, scale32, sum32, isum32);
        ops->kern->quantize256(x + t * K, K, code256, scale256, sum16);
        assert_memory_equal(rows.code32 + t * K, code32, sizeof code32);
        assert_memory_equal(rows.scale32 + t * (K / 32), scale32, sizeof scale32);
        assert_memory_equal(rows.sum32 + t * (K / 32), sum32, sizeof sum32);
        assert_memory_equal(rows.isum32 + t * (K / 32), isum32, sizeof isum32);
        assert_memory_equal(rows.code256 + t * K, code256, sizeof code256);
        assert_memory_equal(rows.scale256 + t * (K / 256), scale256, sizeof scale256);
        assert_memory_equal(rows.sum16 + t * (K / 16), sum16, sizeof sum16);
    }
    for (int at = 0; at < T; at += 6) { /* rows from the middle on, the same buffers narrower */
        const md_act act = md_rows_act_from(&rows, MD_TYPE_Q8_0, at),
                     act256 = md_rows_act_from(&rows, MD_TYPE_Q6_K, at);
        assert_ptr_equal(act.code, rows.code32 + at * K);
        assert_ptr_equal(act.sum32, rows.sum32 + at * (K / 32));
        assert_ptr_equal(act256.scale, rows.scale256 + at * (K / 256));
        assert_ptr_equal(act256.sum16, rows.sum16 + at * (K / 16));
        const md_rows narrow = md_rows_view(&rows, at, K / 2);
        assert_int_equal(narrow.k, K / 2);
        assert_ptr_equal(narrow.isum32, rows.isum32 + at * (K / 32));
    }
    const int8_t made = rows.code32[0], altered = (int8_t)(made ^ 1);
    rows.code32[0] = altered; /* a form that is there is not made again... */
    md_rows_need(ops, &rows, MD_TYPE_Q4_0);
    assert_int_equal(rows.code32[0], altered);
    md_rows_set(&rows, x, T, K); /* ...until other rows are set */
    assert_false(rows.have32 || rows.have256);
    md_rows_need(ops, &rows, MD_TYPE_Q4_0);
    assert_int_equal(rows.code32[0], made);
    free(x);
    rows_free(&rows);
}

static void forms_are_made_on_demand_and_once(void **state)
{
    under_every_cut(table_of(state), make_forms, NULL);
}

int main(void)
{
    seed_from_environment();
    const struct CMUnitTest tests[] = {
        EACH_TABLE(no_cut_changes_a_bit),         EACH_TABLE(parts_give_what_each_gives_alone),
        EACH_TABLE(tiles_give_what_rows_give),    EACH_TABLE(no_rows_make_no_output),
        cmocka_unit_test(shares_follow_the_work), EACH_TABLE(forms_are_made_on_demand_and_once),
    };
    return cmocka_run_group_tests_name("ops matmul", tests, NULL, NULL);
}
