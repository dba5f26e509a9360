/* SPDX-License-Identifier: Apache-2.0
 *
 * Norms and residuals over rows: the kernel's bits row by row, whatever the threads. Activations. The widths make one
 * share hold many rows, one, or part of the work. */
#include "ops_test.h"

typedef struct shape {
    int64_t n, d;
} shape;

static const shape shapes[] = {{1, 1}, {5, 7}, {300, 129}, {9, 16385}, {0, 64}};

static void check_norm(const md_ops *ops, void *ctx)
{
    const shape *s = ctx;
    float *x = floats_new(s->n * s->d, FILL_UNIT), *w = floats_new(s->d, FILL_UNIT);
    float *expected = floats_new(s->n * s->d, FILL_ZERO);
    for (int weighted = 0; weighted < 2; weighted++) {
        guarded y = guarded_new((size_t)(s->n * s->d) * 4, 4);
        for (int64_t t = 0; t < s->n; t++)
            ops->kern->rms_norm(x + t * s->d, weighted ? w : NULL, expected + t * s->d, s->d, 1e-5f);
        const md_norm norm = {.kind = MD_NORM_RMS, .w = weighted ? w : NULL, .eps = 1e-5f};
        md_norm_rows(ops, &norm, x, y.data, s->n, s->d);
        expect_same_floats(expected, y.data, s->n * s->d, "norm");
        guarded_done(&y, "norm");
    }
    free(x);
    free(w);
    free(expected);
}

static void check_residual(const md_ops *ops, void *ctx)
{
    static const float factors[] = {1.0f, 0.22f, -3.0f, 0.0f};
    const shape *s = ctx;
    const int64_t n = s->n * s->d;
    float *x = floats_new(n, FILL_UNIT), *y = floats_new(n, FILL_UNIT), *expected = floats_new(n, FILL_ZERO);
    for (int f = 0; f < COUNT(factors); f++) {
        guarded out = guarded_new((size_t)n * 4, 8);
        for (int64_t i = 0; i < n; i++) {
            ((float *)out.data)[i] = x[i];
            expected[i] = factors[f] == 1.0f ? x[i] + y[i] : fmaf(y[i], factors[f], x[i]);
        }
        md_residual(ops, out.data, y, s->n, s->d, factors[f]);
        expect_same_floats(expected, out.data, n, describe("residual scaled by %g", (double)factors[f]));
        guarded_done(&out, "residual");
    }
    free(x);
    free(y);
    free(expected);
}

typedef struct activation {
    md_ffn_act act;
    float limit;
    bool alone; /* without up */
} activation;

/* act(gate) in y. */
static void activate_expected(const md_kern *k, md_ffn_act act, const float *gate, float *y, int64_t n)
{
    memcpy(y, gate, (size_t)n * sizeof *y);
    if (act == MD_FFN_SILU)
        k->silu(y, n);
    else if (act == MD_FFN_GELU)
        k->gelu(y, n);
    else if (act == MD_FFN_GELU_ERF)
        k->gelu_erf(y, n);
    else
        k->relu(y, n);
    for (int64_t i = 0; act == MD_FFN_RELU2 && i < n; i++)
        y[i] = y[i] * y[i];
}

static void expected_row(const md_kern *k, activation a, const float *gate, const float *up, float *y, int64_t n)
{
    if (a.act == MD_FFN_OAI) {
        k->oai_mul(gate, up, y, n, 1.702f, a.limit);
    } else if (a.limit > 0.0f) {
        k->silu_clamp_mul(gate, up, y, n, a.limit);
    } else {
        activate_expected(k, a.act, gate, y, n);
        for (int64_t i = 0; !a.alone && i < n; i++)
            y[i] = y[i] * up[i];
    }
}

static void activations_are_the_kernels(void **state)
{
    static const activation all[] = {
        {MD_FFN_SILU, 0.0f, false},    {MD_FFN_SILU, 0.5f, false},    {MD_FFN_OAI, 0.5f, false},
        {MD_FFN_GELU, 0.0f, false},    {MD_FFN_RELU, 0.0f, false},    {MD_FFN_RELU2, 0.0f, false},
        {MD_FFN_SILU, 0.0f, true},     {MD_FFN_GELU, 0.0f, true},     {MD_FFN_RELU2, 0.0f, true},
        {MD_FFN_GELU_ERF, 0.0f, true}, {MD_FFN_GELU_ERF, 0.0f, false}};
    static const int64_t lengths[] = {0, 1, 7, 256, 1001};
    const md_kern *kern = table_of(state);
    for (int i = 0; i < COUNT(all); i++)
        for (int l = 0; l < COUNT(lengths); l++) {
            const activation a = all[i];
            const int64_t n = lengths[l];
            float *gate = floats_new(n, FILL_UNIT), *up = floats_new(n, FILL_UNIT),
                  *expected = floats_new(n, FILL_ZERO);
            expected_row(kern, a, gate, up, expected, n);
            guarded y = guarded_new((size_t)n * 4, 4);
            md_ffn_activate(kern, a.act, 1.702f, a.limit, gate, a.alone ? NULL : up, y.data, n);
            expect_same_floats(expected, y.data, n, "activation");
            md_ffn_activate(kern, a.act, 1.702f, a.limit, gate, a.alone ? NULL : up, gate, n);
            expect_same_floats(expected, gate, n, "activation in place");
            guarded_done(&y, "activation");
            free(gate);
            free(up);
            free(expected);
        }
}

static void each_shape(const md_kern *kern, cut_fn *each)
{
    for (int i = 0; i < COUNT(shapes); i++) {
        shape s = shapes[i];
        under_every_cut(kern, each, &s);
    }
}

static void norms_are_the_kernels_row_by_row(void **state)
{
    each_shape(table_of(state), check_norm);
}

static void residuals_add_or_add_a_multiple(void **state)
{
    each_shape(table_of(state), check_residual);
}

int main(void)
{
    seed_from_environment();
    const struct CMUnitTest tests[] = {
        EACH_TABLE(norms_are_the_kernels_row_by_row),
        EACH_TABLE(residuals_add_or_add_a_multiple),
        EACH_TABLE(activations_are_the_kernels),
    };
    return cmocka_run_group_tests_name("ops rowwise", tests, NULL, NULL);
}
