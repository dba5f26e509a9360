/* SPDX-License-Identifier: Apache-2.0
 *
 * Products of every matrix type: each table against section 4 of docs/numerics.md bit for bit and against the scalar
 * table, over shapes, gather lists and row ranges; and the scalar table against double precision on decoded weights,
 * within a bound that follows from the number of roundings. */
#include "checkkern/check.h"
#include "checkkern/definition.h"
#include "checkkern/weights.h"
#include "dtype/expand.h"

enum { N_WEIGHT_ROWS = 7, MAX_ACT_ROWS = 33 };

/* ---- one product to make, and the activations in the form that it wants ---- */

typedef struct problem {
    md_type type;
    int64_t k, n_act, n_rows; /* n_act: rows of activations that there are */
    int64_t n_weights;        /* rows of weights */
    size_t row_bytes;
    tight w, x, code, scale, sum, isum, list;
    md_act act;
} problem;

typedef enum payload { PAYLOAD_MODEL, PAYLOAD_ZERO, PAYLOAD_BITS, N_PAYLOADS } payload;
static const char *const payload_names[N_PAYLOADS] = {"tamed scales", "zero", "random bits"};

static void make_weights(problem *p, payload kind)
{
    const size_t n = p->row_bytes * (size_t)p->n_weights;
    p->w = tight_new(n, (size_t)random_below(4)); /* weights in a file need not be aligned */
    if (kind == PAYLOAD_ZERO)
        memset(p->w.data, 0, n);
    else if (kind == PAYLOAD_BITS)
        random_fill(p->w.data, n);
    else
        random_weights(p->type, p->w.data, p->k * p->n_weights, random_u64);
}

static void make_activations(problem *p, fill f)
{
    const md_kern *scalar = scalar_table();
    const md_act_kind kind = md_type_get(p->type)->act;
    const float *x = tight_floats(&p->x, p->k * p->n_act, random_below(4), f);
    p->act = (md_act){.kind = kind, .k = p->k, .f32 = x};
    if (kind == MD_ACT_F32)
        return;
    const int64_t block = kind == MD_ACT_Q32 ? 32 : 256, n_blocks = p->k / block * p->n_act;
    p->code = tight_new((size_t)(p->k * p->n_act), (size_t)random_below(4));
    p->scale = tight_new((size_t)n_blocks * 4, 4);
    p->act.code = p->code.data;
    p->act.scale = p->scale.data;
    if (kind == MD_ACT_Q32) {
        p->sum = tight_new((size_t)n_blocks * 4, 4);
        p->isum = tight_new((size_t)n_blocks * 2, 2);
        p->act.sum32 = p->sum.data;
        p->act.isum = p->isum.data;
        scalar->quantize32(x, p->k * p->n_act, p->code.data, p->scale.data, p->sum.data, p->isum.data);
    } else {
        p->sum = tight_new((size_t)n_blocks * 16 * 2, 2);
        p->act.sum16 = p->sum.data;
        scalar->quantize256(x, p->k * p->n_act, p->code.data, p->scale.data, p->sum.data);
    }
}

/* gathered: n_rows picks among a few rows, in any order and with repetitions; else the rows as they lie. */
static problem problem_of(md_type type, int64_t n_weights, int64_t k, int64_t n_rows, bool gathered, payload weights,
                          fill activations)
{
    problem p = {.type = type, .k = k, .n_rows = n_rows, .n_act = gathered ? 5 : n_rows, .n_weights = n_weights};
    assert_true(md_type_row_bytes(type, k, &p.row_bytes));
    make_weights(&p, weights);
    make_activations(&p, activations);
    if (gathered) {
        p.list = tight_new((size_t)n_rows * sizeof(int32_t), 0);
        for (int64_t t = 0; t < n_rows; t++)
            ((int32_t *)p.list.data)[t] = random_below((int)p.n_act);
    }
    return p;
}

static problem problem_new(md_type type, int64_t k, int64_t n_rows, bool gathered, payload weights, fill activations)
{
    return problem_of(type, N_WEIGHT_ROWS, k, n_rows, gathered, weights, activations);
}

static void problem_done(problem *p)
{
    free(p->w.base);
    free(p->x.base);
    free(p->code.base);
    free(p->scale.base);
    free(p->sum.base);
    free(p->isum.base);
    free(p->list.base);
}

static int64_t act_row(const problem *p, int64_t t)
{
    return p->list.data ? ((const int32_t *)p->list.data)[t] : t;
}

static const uint8_t *weight_row(const problem *p, int64_t r)
{
    return (const uint8_t *)p->w.data + (size_t)r * p->row_bytes;
}

/* ---- section 4, literally ---- */

/* One group of 32 or one block of 256 in one shape: codes, and scales for each 16. */
typedef struct expanded {
    int8_t code[256];
    int sub[16], min[16];
    float d[2], m, dmin;
} expanded;

static expanded from32(const md_expand32 *e)
{
    expanded x = {.d = {e->d[0], e->d[1]}, .m = e->m};
    memcpy(x.code, e->code, 32);
    return x;
}

static expanded from256(const md_expand256 *e, bool minima)
{
    expanded x = {.d = {e->d, e->d}, .dmin = minima ? e->dmin : 0.0f};
    memcpy(x.code, e->code, 256);
    for (int g = 0; g < 16; g++) {
        x.sub[g] = e->sub[g];
        x.min[g] = minima ? e->min[g] : 0;
    }
    return x;
}

/* Group g of 32, or block g of 256, of a row. */
static expanded expand(md_type t, const uint8_t *row, int64_t g)
{
    const md_type_info *info = md_type_get(t);
    const int64_t groups = info->act == MD_ACT_Q32 ? info->block / 32 : 1;
    const uint8_t *block = row + g / groups * info->bytes;
    md_expand32 e32;
    md_expand256 e256;
    switch (t) {
#define E32(NAME, name)                                   \
    case MD_TYPE_##NAME:                                  \
        md_expand_##name(block, (int)(g % groups), &e32); \
        return from32(&e32);
#define E256(NAME, name) \
    case MD_TYPE_##NAME: md_expand_##name(block, &e256); return from256(&e256, md_type_has_min(t));
        E32(Q4_0, q4_0)
        E32(Q4_1, q4_1)
        E32(Q5_0, q5_0)
        E32(Q5_1, q5_1)
        E32(Q8_0, q8_0)
        E32(IQ4_NL, iq4_nl)
        E32(MXFP4, mxfp4)
        E32(NVFP4, nvfp4)
        E32(Q1_0, q1_0)
        E32(Q2_0, q2_0)
        E256(Q2_K, q2_k)
        E256(Q3_K, q3_k)
        E256(Q4_K, q4_k)
        E256(Q5_K, q5_k)
        E256(Q6_K, q6_k)
        E256(IQ1_S, iq1_s)
        E256(IQ1_M, iq1_m)
        E256(IQ2_XXS, iq2_xxs)
        E256(IQ2_XS, iq2_xs)
        E256(IQ2_S, iq2_s)
        E256(IQ3_XXS, iq3_xxs)
        E256(IQ3_S, iq3_s)
        E256(IQ4_XS, iq4_xs)
        E256(TQ1_0, tq1_0)
        E256(TQ2_0, tq2_0)
#undef E32
#undef E256
    default: fail_msg("%s is not a quantized type", md_type_get(t)->name);
    }
    return (expanded){0};
}

static int64_t code_dot(const int8_t *w, const int8_t *a, int n)
{
    int64_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += w[i] * a[i];
    return sum;
}

static float q32_by_definition(const problem *p, const uint8_t *row, int64_t t)
{
    const int64_t n = p->k / 32;
    float acc = 0.0f;
    for (int64_t g = 0; g < n; g++) {
        const expanded e = expand(p->type, row, g);
        const int8_t *a = p->act.code + (t * n + g) * 32;
        const float d_a = p->act.scale[t * n + g];
        if (p->type == MD_TYPE_NVFP4) {
            acc = fmaf(e.d[0] * d_a, (float)code_dot(e.code, a, 16), acc);
            acc = fmaf(e.d[1] * d_a, (float)code_dot(e.code + 16, a + 16, 16), acc);
        } else {
            acc = fmaf(e.d[0] * d_a, (float)code_dot(e.code, a, 32), acc);
        }
        if (p->type == MD_TYPE_Q4_1 || p->type == MD_TYPE_Q5_1)
            acc = fmaf(e.m, p->act.sum32[t * n + g], acc);
    }
    return acc;
}

static float q256_by_definition(const problem *p, const uint8_t *row, int64_t t)
{
    const int64_t n = p->k / 256;
    float acc = 0.0f;
    for (int64_t b = 0; b < n; b++) {
        const expanded e = expand(p->type, row, b);
        const int8_t *a = p->act.code + (t * n + b) * 256;
        const int16_t *sums = p->act.sum16 + (t * n + b) * 16;
        const float d_a = p->act.scale[t * n + b];
        int64_t s = 0, m = 0;
        for (int g = 0; g < 16; g++) {
            s += e.sub[g] * code_dot(e.code + g * 16, a + g * 16, 16);
            m += (int64_t)e.min[g] * sums[g];
        }
        assert_true(s > -((int64_t)1 << 31) && s < (int64_t)1 << 31);
        acc = fmaf(e.d[0] * d_a, (float)s, acc);
        if (p->type == MD_TYPE_Q2_K || p->type == MD_TYPE_Q4_K || p->type == MD_TYPE_Q5_K)
            acc = fmaf(-(e.dmin * d_a), (float)m, acc);
    }
    return acc;
}

static float float_by_definition(const problem *p, const uint8_t *row, int64_t t)
{
    float *w = malloc((size_t)p->k * sizeof *w);
    assert_non_null(w);
    md_type_decode(p->type, row, w, p->k);
    const float y = dot16_by_definition(w, p->act.f32 + t * p->k, p->k);
    free(w);
    return y;
}

static float product_by_definition(const problem *p, int64_t r, int64_t t)
{
    const uint8_t *row = weight_row(p, r);
    switch (p->act.kind) {
    case MD_ACT_F32: return float_by_definition(p, row, act_row(p, t));
    case MD_ACT_Q32: return q32_by_definition(p, row, act_row(p, t));
    default: return q256_by_definition(p, row, act_row(p, t));
    }
}

/* ---- running a table ---- */

/* Runs rows [first, last) into out (n_rows, ld), which holds random bits before. */
static void run(const md_kern *kern, const problem *p, int64_t first, int64_t last, float *out, int64_t ld)
{
    const md_product m = {.w = p->w.data,
                          .row_bytes = p->row_bytes,
                          .first = first,
                          .last = last,
                          .act = &p->act,
                          .rows = p->list.data,
                          .n_rows = p->n_rows,
                          .out = out,
                          .ld_out = ld};
    kern->mul[p->type](&m);
}

/* One range of rows: what lies inside equals `expected` (n_rows, N_WEIGHT_ROWS), what lies outside is untouched. */
static void check_range(const md_kern *kern, const problem *p, const float *expected, int64_t first, int64_t last,
                        const char *what)
{
    const int64_t ld = N_WEIGHT_ROWS + random_below(3);
    const size_t n = (size_t)(p->n_rows * ld) * sizeof(float);
    guarded out = guarded_new(n, (size_t)random_below(4) * 4);
    float *before = malloc(n + 1), *y = out.data;
    assert_non_null(before);
    memcpy(before, y, n);
    run(kern, p, first, last, y, ld);
    for (int64_t t = 0; t < p->n_rows; t++)
        for (int64_t r = 0; r < ld; r++) {
            const float *got = y + t * ld + r;
            if (r < first || r >= last) {
                if (bits_of(*got) != bits_of(before[t * ld + r]))
                    fail_msg("%s: rows [%d, %d): row %d was written", what, (int)first, (int)last, (int)r);
            } else {
                expect_same_floats(expected + t * N_WEIGHT_ROWS + r, got, 1, what);
            }
        }
    guarded_done(&out, what);
    free(before);
}

static void check_problem(const md_kern *kern, const problem *p, const char *what)
{
    static const int64_t ranges[][2] = {{0, N_WEIGHT_ROWS}, {2, 5}, {3, 3}, {6, 7}};
    float *expected = malloc((size_t)p->n_rows * N_WEIGHT_ROWS * sizeof *expected);
    assert_non_null(expected);
    for (int64_t t = 0; t < p->n_rows; t++)
        for (int64_t r = 0; r < N_WEIGHT_ROWS; r++)
            expected[t * N_WEIGHT_ROWS + r] = product_by_definition(p, r, t);
    for (int i = 0; i < COUNT(ranges); i++)
        check_range(kern, p, expected, ranges[i][0], ranges[i][1], what);
    float scalar[MAX_ACT_ROWS * N_WEIGHT_ROWS];
    run(scalar_table(), p, 0, N_WEIGHT_ROWS, scalar, N_WEIGHT_ROWS);
    expect_same_floats(scalar, expected, p->n_rows * N_WEIGHT_ROWS, what);
    free(expected);
}

static bool is_matrix_type(md_type t)
{
    return md_type_get(t)->act != MD_ACT_NONE;
}

/* Lengths that end inside, at and beyond the strips that kernels cut rows into. */
static int64_t length_of(md_type t, int i)
{
    static const int64_t floats[] = {1, 15, 16, 17, 100, 511, 513, 1031}, q32[] = {1, 2, 3, 5, 17, 64, 67},
                         q256[] = {1, 2, 3, 8, 9, 11};
    const md_type_info *info = md_type_get(t);
    if (info->act == MD_ACT_F32)
        return i < COUNT(floats) ? floats[i] : 0;
    if (info->act == MD_ACT_Q256)
        return i < COUNT(q256) ? q256[i] * 256 : 0;
    const int64_t blocks = i < COUNT(q32) ? (q32[i] * 32 + info->block - 1) / info->block : 0;
    return blocks * info->block;
}

/* ---- tests ---- */

static void every_matrix_type_has_a_product_and_no_other(void **state)
{
    const md_kern *kern = table_of(state);
    int n = 0;
    for (int t = 0; t < MD_N_TYPES; t++) {
        assert_int_equal(kern->mul[t] != NULL, is_matrix_type((md_type)t));
        n += kern->mul[t] != NULL;
    }
    assert_int_equal(n, 28);
}

/* A table that is added must be added to the tests. */
static void every_table_is_tested(void **state)
{
    (void)state;
    for (const char *const *name = md_kern_names(); *name; name++) {
        bool found = false;
        for (int i = 0; i < COUNT(table_names); i++)
            found = found || strcmp(*name, table_names[i]) == 0;
        if (!found)
            fail_msg("table %s is in no test", *name);
    }
    assert_null(md_kern_get("no such table"));
    assert_non_null(md_kern_get(NULL));
}

static void products_follow_the_definition_at_every_shape(void **state)
{
    static const int64_t rows[] = {1, 2, 4, 5, 15, 16, 17, MAX_ACT_ROWS};
    const md_kern *kern = table_of(state);
    for (int type = 0; type < MD_N_TYPES; type++)
        for (int i = 0; is_matrix_type((md_type)type) && length_of((md_type)type, i) > 0; i++) {
            const md_type t = (md_type)type;
            const int64_t k = length_of(t, i), n = rows[random_below(COUNT(rows))];
            for (int gathered = 0; gathered < 2; gathered++) {
                problem p = problem_new(t, k, gathered ? n : rows[i % COUNT(rows)], gathered, PAYLOAD_MODEL, FILL_UNIT);
                check_problem(kern, &p,
                              describe("%s %s k=%d rows=%d%s", kern->isa, md_type_get(t)->name, (int)k, (int)p.n_rows,
                                       gathered ? " gathered" : ""));
                problem_done(&p);
            }
        }
}

static void products_follow_the_definition_on_any_data(void **state)
{
    const md_kern *kern = table_of(state);
    for (int type = 0; type < MD_N_TYPES; type++)
        for (int w = 0; is_matrix_type((md_type)type) && w < N_PAYLOADS; w++)
            for (int f = 0; f < N_FILLS; f++) {
                const md_type t = (md_type)type;
                const int64_t k = length_of(t, 2 + random_below(3));
                problem p = problem_new(t, k, 1 + random_below(4), random_below(2), (payload)w, (fill)f);
                check_problem(kern, &p,
                              describe("%s %s k=%d weights: %s, activations: %s", kern->isa, md_type_get(t)->name,
                                       (int)k, payload_names[w], fill_names[f]));
                problem_done(&p);
            }
}

/* Kernels take weights and activations in handfuls: shapes with several of them and a rest, against the scalar table, which the
 * tests above compare with the definition. */
static void products_of_many_rows_equal_the_scalar_ones(void **state)
{
    static const struct {
        int first, last, tokens;
    } shapes[] = {{0, 16, 3}, {0, 24, 4}, {5, 38, 6}, {1, 26, 65}, {0, 37, 71}};
    enum { N = 38, LD = N + 1 };
    const md_kern *kern = table_of(state);
    for (int type = 0; type < MD_N_TYPES; type++)
        for (int i = 0; is_matrix_type((md_type)type) && i < COUNT(shapes); i++) {
            const int tokens = shapes[i].tokens;
            problem p = problem_of((md_type)type, N, length_of((md_type)type, 2 + i % 3), tokens, i % 2, PAYLOAD_MODEL,
                                   FILL_UNIT);
            float *expected = calloc((size_t)tokens * LD, sizeof *expected);
            assert_non_null(expected);
            guarded got = guarded_new((size_t)tokens * LD * sizeof(float), (size_t)random_below(4) * 4);
            memset(got.data, 0, got.n);
            run(scalar_table(), &p, shapes[i].first, shapes[i].last, expected, LD);
            run(kern, &p, shapes[i].first, shapes[i].last, got.data, LD);
            const char *what = describe("%s %s k=%d rows [%d, %d) tokens=%d", kern->isa,
                                        md_type_get((md_type)type)->name, (int)p.k, shapes[i].first, shapes[i].last,
                                        tokens);
            expect_same_floats(expected, got.data, (int64_t)tokens * LD, what);
            guarded_done(&got, what);
            free(expected);
            problem_done(&p);
        }
}

/* The activation that a code stands for. */
static double activation(const problem *p, int64_t t, int64_t i)
{
    if (p->act.kind == MD_ACT_F32)
        return (double)p->act.f32[t * p->k + i];
    const int64_t block = p->act.kind == MD_ACT_Q32 ? 32 : 256;
    return (double)p->act.scale[(t * p->k + i) / block] * p->act.code[t * p->k + i];
}

/* Size of weight i before its minimum is taken off: what roundings are relative to. */
static double part_size(const problem *p, const uint8_t *row, int64_t i, float decoded)
{
    if (p->act.kind == MD_ACT_F32)
        return fabs((double)decoded);
    const int64_t block = p->act.kind == MD_ACT_Q32 ? 32 : 256;
    const expanded e = expand(p->type, row, i / block);
    const int at = (int)(i % block), g = at / 16;
    if (block == 32)
        return fabs((double)e.d[g] * e.code[at]) + fabs((double)e.m);
    return fabs((double)e.d[0] * e.sub[g] * e.code[at]) + fabs((double)e.dmin * e.min[g]);
}

/* Each of at most n terms passes through n + 4 roundings: the scales' product, the integer's conversion, the group's
 * sum, the decoder's own, and one for every fused step after it (Higham 2002, section 3.1). */
static void the_scalar_product_is_near_the_exact_one(void **state)
{
    (void)state;
    double worst = 0;
    for (int type = 0; type < MD_N_TYPES; type++)
        for (int i = 0; is_matrix_type((md_type)type) && length_of((md_type)type, i) > 0; i++) {
            const md_type t = (md_type)type;
            problem p = problem_new(t, length_of(t, i), 3, false, PAYLOAD_MODEL, FILL_UNIT);
            const int64_t steps = p.act.kind == MD_ACT_F32   ? p.k / 16 + 5
                                  : p.act.kind == MD_ACT_Q32 ? p.k / 16
                                                             : p.k / 128;
            float got[3 * N_WEIGHT_ROWS], *w = malloc((size_t)p.k * sizeof *w);
            assert_non_null(w);
            run(scalar_table(), &p, 0, N_WEIGHT_ROWS, got, N_WEIGHT_ROWS);
            for (int64_t r = 0; r < N_WEIGHT_ROWS; r++) {
                md_type_decode(t, weight_row(&p, r), w, p.k);
                for (int64_t row = 0; row < 3; row++) {
                    double exact = 0, size = 0;
                    for (int64_t c = 0; c < p.k; c++) {
                        exact += (double)w[c] * activation(&p, row, c);
                        size += part_size(&p, weight_row(&p, r), c, w[c]) * fabs(activation(&p, row, c));
                    }
                    const double bound = (double)(steps + 4) * 0x1p-24 * size + (double)p.k * 0x1p-149;
                    const double error = fabs((double)got[row * N_WEIGHT_ROWS + r] - exact);
                    if (!(error <= bound))
                        fail_msg("%s k=%d: %a, exact %a, error %g beyond %g", md_type_get(t)->name, (int)p.k,
                                 (double)got[row * N_WEIGHT_ROWS + r], exact, error, bound);
                    worst = bound > 0 && error / bound > worst ? error / bound : worst;
                }
            }
            free(w);
            problem_done(&p);
        }
    print_message("largest error: %.2f of the bound\n", worst);
}

int main(void)
{
    seed_from_environment();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_table_is_tested),
        EACH_TABLE(every_matrix_type_has_a_product_and_no_other),
        EACH_TABLE(products_follow_the_definition_at_every_shape),
        EACH_TABLE(products_follow_the_definition_on_any_data),
        EACH_TABLE(products_of_many_rows_equal_the_scalar_ones),
        cmocka_unit_test(the_scalar_product_is_near_the_exact_one),
    };
    return cmocka_run_group_tests_name("checkkern mul", tests, NULL, NULL);
}
