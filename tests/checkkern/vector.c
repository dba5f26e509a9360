/* SPDX-License-Identifier: Apache-2.0
 *
 * Element-wise kernels, norms and softmax: every table against docs/numerics.md bit for bit, at odd lengths and
 * addresses and on any data; and their accuracy against double precision. */
#include "checkkern/check.h"
#include "checkkern/definition.h"

static const int lengths[] = {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 255, 257, 1000};

/* One call to check: inputs, expected results, and the parameters of those that have some. */
typedef struct call {
    const float *a, *b; /* inputs (n) */
    float *y;           /* output (n); holds `a` before, for those that work in place */
    int64_t n;
    float p, q;
} call;

typedef struct subject {
    const char *name;
    void (*kernel)(const md_kern *kern, const call *c);
    void (*definition)(const call *c);
} subject;

/* ---- sections 2, 5 and 8, literally ---- */

static void exp_kernel(const md_kern *kern, const call *c)
{
    kern->exp(c->y, c->n);
}

static void exp_definition(const call *c)
{
    for (int64_t i = 0; i < c->n; i++)
        c->y[i] = exp_by_definition(c->a[i]);
}

static void sigmoid_kernel(const md_kern *kern, const call *c)
{
    kern->sigmoid(c->y, c->n);
}

static void sigmoid_definition(const call *c)
{
    for (int64_t i = 0; i < c->n; i++)
        c->y[i] = sigmoid_by_definition(c->a[i]);
}

static void silu_kernel(const md_kern *kern, const call *c)
{
    kern->silu_mul(c->a, c->b, c->y, c->n);
}

static void silu_in_place_kernel(const md_kern *kern, const call *c)
{
    kern->silu_mul(c->y, c->b, c->y, c->n);
}

static void silu_definition(const call *c)
{
    for (int64_t i = 0; i < c->n; i++)
        c->y[i] = silu_by_definition(c->a[i]) * c->b[i];
}

static void oai_kernel(const md_kern *kern, const call *c)
{
    kern->oai_mul(c->a, c->b, c->y, c->n, 1.702f, 7.0f);
}

static void oai_in_place_kernel(const md_kern *kern, const call *c)
{
    kern->oai_mul(c->y, c->b, c->y, c->n, 1.702f, 7.0f);
}

static void oai_definition(const call *c)
{
    for (int64_t i = 0; i < c->n; i++) {
        const float g = c->a[i] > 7.0f ? 7.0f : c->a[i];
        const float u = c->b[i] > 7.0f ? 7.0f : c->b[i] < -7.0f ? -7.0f : c->b[i];
        c->y[i] = g / (1.0f + exp_by_definition(-(1.702f * g))) * (u + 1.0f);
    }
}

static void silu_clamp_kernel(const md_kern *kern, const call *c)
{
    kern->silu_clamp_mul(c->a, c->b, c->y, c->n, 1.5f);
}

static void silu_clamp_definition(const call *c)
{
    for (int64_t i = 0; i < c->n; i++) {
        const float s = silu_by_definition(c->a[i]), g = s > 1.5f ? 1.5f : s;
        const float u = c->b[i] > 1.5f ? 1.5f : c->b[i] < -1.5f ? -1.5f : c->b[i];
        c->y[i] = g * u;
    }
}

static void gelu_kernel(const md_kern *kern, const call *c)
{
    kern->gelu_mul(c->a, c->b, c->y, c->n);
}

static float gelu_by_definition(float x)
{
    const float u = (x * fmaf(0.044715f * x, x, 1.0f)) * 0.79788456f;
    return x / (1.0f + exp_by_definition(-2.0f * u));
}

static void gelu_definition(const call *c)
{
    for (int64_t i = 0; i < c->n; i++)
        c->y[i] = gelu_by_definition(c->a[i]) * c->b[i];
}

/* c->a through a kernel that works in place and has no parameters. */
#define IN_PLACE(name)                                                  \
    static void name##_alone_kernel(const md_kern *kern, const call *c) \
    {                                                                   \
        kern->name(c->y, c->n);                                         \
    }
IN_PLACE(silu)
IN_PLACE(gelu)
IN_PLACE(gelu_erf)
IN_PLACE(relu)
IN_PLACE(softplus)

static void silu_alone_definition(const call *c)
{
    for (int64_t i = 0; i < c->n; i++)
        c->y[i] = silu_by_definition(c->a[i]);
}

static void gelu_alone_definition(const call *c)
{
    for (int64_t i = 0; i < c->n; i++)
        c->y[i] = gelu_by_definition(c->a[i]);
}

static float gelu_erf_by_definition(float x)
{
    static const double coefficient[] = {0.17087277,  -0.82215223, 1.48851587, -1.13520398, 0.27886807,
                                         -0.18628806, 0.09678418,  0.37409196, 1.00002368,  -1.26551223};
    const double z = fabs((double)x) * 0.70710678118654752, t = 1.0 / (1.0 + 0.5 * z);
    double p = coefficient[0];
    for (int i = 1; i < 10; i++)
        p = p * t + coefficient[i];
    const double half = 0.5 * (t * md_exp_d(p - z * z));
    return (float)((double)x * (x < 0.0f ? half : 1.0 - half));
}

static void gelu_erf_alone_definition(const call *c)
{
    for (int64_t i = 0; i < c->n; i++)
        c->y[i] = gelu_erf_by_definition(c->a[i]);
}

static void relu_alone_definition(const call *c)
{
    for (int64_t i = 0; i < c->n; i++)
        c->y[i] = c->a[i] < 0.0f ? 0.0f : c->a[i];
}

static void softplus_alone_definition(const call *c)
{
    for (int64_t i = 0; i < c->n; i++)
        c->y[i] = softplus_by_definition(c->a[i]);
}

static void mul_into_kernel(const md_kern *kern, const call *c)
{
    kern->mul_into(c->y, c->b, c->n);
}

static void mul_into_definition(const call *c)
{
    for (int64_t i = 0; i < c->n; i++)
        c->y[i] = c->a[i] * c->b[i];
}

static void clamp_kernel(const md_kern *kern, const call *c)
{
    kern->clamp(c->y, c->n, 0.75f);
}

static void clamp_definition(const call *c)
{
    for (int64_t i = 0; i < c->n; i++)
        c->y[i] = c->a[i] > 0.75f ? 0.75f : c->a[i] < -0.75f ? -0.75f : c->a[i];
}

static void softcap_kernel(const md_kern *kern, const call *c)
{
    kern->softcap(c->y, c->n, 30.0f);
}

static void softcap_definition(const call *c)
{
    for (int64_t i = 0; i < c->n; i++)
        c->y[i] = 30.0f * (1.0f - 2.0f / (exp_by_definition(2.0f * (c->a[i] / 30.0f)) + 1.0f));
}

static void add_kernel(const md_kern *kern, const call *c)
{
    kern->add(c->y, c->b, c->n);
}

static void add_definition(const call *c)
{
    for (int64_t i = 0; i < c->n; i++)
        c->y[i] = c->a[i] + c->b[i];
}

static void axpy_kernel(const md_kern *kern, const call *c)
{
    kern->axpy(c->y, c->b, c->p, c->n);
}

static void axpy_definition(const call *c)
{
    for (int64_t i = 0; i < c->n; i++)
        c->y[i] = fmaf(c->b[i], c->p, c->a[i]);
}

static void scale_kernel(const md_kern *kern, const call *c)
{
    kern->scale(c->y, c->p, c->n);
}

static void scale_definition(const call *c)
{
    for (int64_t i = 0; i < c->n; i++)
        c->y[i] = c->a[i] * c->p;
}

static void softmax_kernel(const md_kern *kern, const call *c)
{
    kern->softmax(c->y, c->n);
}

static void softmax_definition(const call *c)
{
    float m = -INFINITY;
    for (int64_t i = 0; i < c->n; i++)
        m = c->a[i] > m ? c->a[i] : m;
    for (int64_t i = 0; i < c->n; i++)
        c->y[i] = exp_by_definition(c->a[i] - m);
    const float sum = sum16_by_definition(c->y, c->n);
    for (int64_t i = 0; i < c->n; i++)
        c->y[i] = c->y[i] / sum;
}

static void rms_kernel(const md_kern *kern, const call *c)
{
    kern->rms_norm(c->a, c->b, c->y, c->n, c->q);
}

static void rms_in_place_kernel(const md_kern *kern, const call *c)
{
    kern->rms_norm(c->y, c->b, c->y, c->n, c->q);
}

static void rms_definition(const call *c)
{
    const float m = dot16_by_definition(c->a, c->a, c->n) / (float)c->n, r = 1.0f / sqrtf(m + c->q);
    for (int64_t i = 0; i < c->n; i++)
        c->y[i] = (c->a[i] * r) * c->b[i];
}

static void bare_rms_kernel(const md_kern *kern, const call *c)
{
    kern->rms_norm(c->a, NULL, c->y, c->n, c->q);
}

static void bare_rms_definition(const call *c)
{
    const float m = dot16_by_definition(c->a, c->a, c->n) / (float)c->n, r = 1.0f / sqrtf(m + c->q);
    for (int64_t i = 0; i < c->n; i++)
        c->y[i] = c->a[i] * r;
}

/* Weights and bias are both the second input. */
static void layer_norm_kernel(const md_kern *kern, const call *c)
{
    kern->layer_norm(c->a, c->b, c->b, c->y, c->n, c->q);
}

static void layer_norm_in_place_kernel(const md_kern *kern, const call *c)
{
    kern->layer_norm(c->y, c->b, c->b, c->y, c->n, c->q);
}

static void bare_layer_norm_kernel(const md_kern *kern, const call *c)
{
    kern->layer_norm(c->a, NULL, NULL, c->y, c->n, c->q);
}

static void bare_layer_norm_definition(const call *c)
{
    const float mean = sum16_by_definition(c->a, c->n) / (float)c->n;
    for (int64_t i = 0; i < c->n; i++)
        c->y[i] = c->a[i] - mean;
    const float r = 1.0f / sqrtf(dot16_by_definition(c->y, c->y, c->n) / (float)c->n + c->q);
    for (int64_t i = 0; i < c->n; i++)
        c->y[i] = c->y[i] * r;
}

static void layer_norm_definition(const call *c)
{
    bare_layer_norm_definition(c);
    for (int64_t i = 0; i < c->n; i++)
        c->y[i] = c->y[i] * c->b[i] + c->b[i];
}

static void dot_kernel(const md_kern *kern, const call *c)
{
    if (c->n > 0)
        c->y[0] = kern->dot16(c->a, c->b, c->n);
    else
        assert_int_equal(bits_of(kern->dot16(c->a, c->b, 0)), 0);
}

static void dot_definition(const call *c)
{
    if (c->n > 0)
        c->y[0] = dot16_by_definition(c->a, c->b, c->n);
}

static const subject subjects[] = {
    {"exp", exp_kernel, exp_definition},
    {"sigmoid", sigmoid_kernel, sigmoid_definition},
    {"silu_mul", silu_kernel, silu_definition},
    {"silu_mul in place", silu_in_place_kernel, silu_definition},
    {"oai_mul", oai_kernel, oai_definition},
    {"oai_mul in place", oai_in_place_kernel, oai_definition},
    {"silu_clamp_mul", silu_clamp_kernel, silu_clamp_definition},
    {"gelu_mul", gelu_kernel, gelu_definition},
    {"silu", silu_alone_kernel, silu_alone_definition},
    {"gelu", gelu_alone_kernel, gelu_alone_definition},
    {"gelu_erf", gelu_erf_alone_kernel, gelu_erf_alone_definition},
    {"relu", relu_alone_kernel, relu_alone_definition},
    {"softplus", softplus_alone_kernel, softplus_alone_definition},
    {"mul_into", mul_into_kernel, mul_into_definition},
    {"clamp", clamp_kernel, clamp_definition},
    {"softcap", softcap_kernel, softcap_definition},
    {"add", add_kernel, add_definition},
    {"axpy", axpy_kernel, axpy_definition},
    {"scale", scale_kernel, scale_definition},
    {"softmax", softmax_kernel, softmax_definition},
    {"rms_norm", rms_kernel, rms_definition},
    {"rms_norm in place", rms_in_place_kernel, rms_definition},
    {"rms_norm without weights", bare_rms_kernel, bare_rms_definition},
    {"layer_norm", layer_norm_kernel, layer_norm_definition},
    {"layer_norm in place", layer_norm_in_place_kernel, layer_norm_definition},
    {"layer_norm without weights", bare_layer_norm_kernel, bare_layer_norm_definition},
    {"dot16", dot_kernel, dot_definition},
};

/* ---- a subject on a table ---- */

static void check_subject(const md_kern *kern, const subject *s, int64_t n, fill f)
{
    static const fill weights[] = {FILL_UNIT, FILL_WIDE, FILL_BITS};
    const char *what = describe("%s %s n=%d %s", kern->isa, s->name, (int)n, fill_names[f]);
    tight a, b;
    tight_floats(&a, n, random_below(8), f);
    tight_floats(&b, n, random_below(8), random_below(2) ? f : weights[random_below(COUNT(weights))]);
    guarded got = guarded_new((size_t)n * 4, (size_t)random_below(8) * 4);
    float *expected = malloc((size_t)n * 4 + 1), *scalar = malloc((size_t)n * 4 + 1);
    assert_non_null(expected);
    assert_non_null(scalar);
    call c = {.a = a.data, .b = b.data, .n = n, .p = fill_one(f), .q = 1e-6f};
    if (n > 0) {
        memcpy(got.data, a.data, (size_t)n * 4);
        memcpy(expected, a.data, (size_t)n * 4);
        memcpy(scalar, a.data, (size_t)n * 4);
    }
    c.y = expected;
    s->definition(&c);
    c.y = scalar;
    s->kernel(scalar_table(), &c);
    c.y = got.data;
    s->kernel(kern, &c);
    expect_same_floats(expected, got.data, n, what);
    expect_same_floats(scalar, got.data, n, what);
    guarded_done(&got, what);
    free(expected);
    free(scalar);
    free(a.base);
    free(b.base);
}

static void vectors_follow_the_definition(void **state)
{
    const md_kern *kern = table_of(state);
    for (int s = 0; s < COUNT(subjects); s++)
        for (int i = 0; i < COUNT(lengths); i++)
            for (int f = 0; f < N_FILLS; f++)
                check_subject(kern, &subjects[s], lengths[i], (fill)f);
}

/* The sigmoid form against 0.5 x (1 + tanh u) in double. */
static void gelu_is_near_the_exact_one(void **state)
{
    (void)state;
    for (float x = -12.0f; x <= 12.0f; x += 0.0037f) {
        const double u = 0.7978845608028654 * (x + 0.044715 * (double)x * x * x), exact = 0.5 * x * (1.0 + tanh(u));
        assert_true(fabs(gelu_by_definition(x) - exact) <= 2e-6 * (1.0 + fabs(exact)));
    }
}

/* The fit of erfc against the C library's, and softplus, in double. */
static void gelu_erf_and_softplus_are_near_the_exact_ones(void **state)
{
    const md_kern *kern = table_of(state);
    for (float x = -30.0f; x <= 30.0f; x += 0.0071f) {
        float g = x, s = x;
        kern->gelu_erf(&g, 1);
        kern->softplus(&s, 1);
        const double exact = 0.5 * (double)x * erfc(-(double)x * 0.70710678118654752), soft = log1p(exp((double)x));
        assert_true(fabs((double)g - exact) <= 4e-7 * fabs(exact) + 0x1p-149);
        /* below -20 the 1 in 1 + exp(x) leaves few of its bits; above 20 the result is x */
        assert_true(fabs((double)s - soft) <= 0x1p-23 * soft + 0x1p-52);
    }
}

static void layer_norm_is_near_the_exact_one(void **state)
{
    const md_kern *kern = table_of(state);
    for (int n = 2; n < 3000; n = n * 3 + random_below(5)) {
        tight tx;
        const float *x = tight_floats(&tx, n, 0, FILL_UNIT);
        float *y = malloc((size_t)n * sizeof *y);
        double mean = 0, square = 0;
        assert_non_null(y);
        for (int i = 0; i < n; i++)
            mean += (double)x[i] / n;
        for (int i = 0; i < n; i++)
            square += ((double)x[i] - mean) * ((double)x[i] - mean) / n;
        kern->layer_norm(x, NULL, NULL, y, n, 1e-3f);
        const double r = 1.0 / sqrt(square + (double)1e-3f);
        for (int i = 0; i < n; i++) /* r is at most 32; the mean is off by some units of its largest partial sum */
            assert_true(fabs((double)y[i] - ((double)x[i] - mean) * r) <= 32 * (n / 16 + 24) * 0x1p-24);
        free(y);
        free(tx.base);
    }
}

static void softmax_gives_minus_infinity_no_share(void **state)
{
    const md_kern *kern = table_of(state);
    float x[19], sum = 0.0f;
    for (int i = 0; i < 19; i++)
        x[i] = i % 3 == 1 ? -INFINITY : random_unit() * 50.0f;
    kern->softmax(x, 19);
    for (int i = 0; i < 19; i++) {
        if (i % 3 == 1)
            assert_int_equal(bits_of(x[i]), 0);
        sum += x[i];
    }
    assert_true(fabsf(sum - 1.0f) < 1e-6f);
}

static void rms_norm_is_near_the_exact_one(void **state)
{
    (void)state;
    for (int n = 1; n < 3000; n = n * 3 + random_below(5)) {
        tight tx, tw;
        const float *x = tight_floats(&tx, n, 0, FILL_WIDE), *w = tight_floats(&tw, n, 0, FILL_UNIT);
        float *y = malloc((size_t)n * sizeof *y);
        double square = 0;
        assert_non_null(y);
        for (int i = 0; i < n; i++)
            square += (double)x[i] * x[i];
        scalar_table()->rms_norm(x, w, y, n, 1e-5f);
        const double r = 1.0 / sqrt(square / n + (double)1e-5f);
        /* the sum's steps count half under the root; then mean, epsilon, root, inverse and two products */
        const double bound = ((n / 16 + 5) * 0.5 + 6) * 0x1p-24;
        for (int i = 0; i < n; i++)
            assert_true(fabs((double)y[i] - x[i] * r * w[i]) <= bound * fabs(x[i] * r * w[i]) + 0x1p-149);
        free(y);
        free(tx.base);
        free(tw.base);
    }
}

int main(void)
{
    seed_from_environment();
    const struct CMUnitTest tests[] = {
        EACH_TABLE(vectors_follow_the_definition),
        EACH_TABLE(softmax_gives_minus_infinity_no_share),
        cmocka_unit_test(gelu_is_near_the_exact_one),
        cmocka_unit_test(rms_norm_is_near_the_exact_one),
        EACH_TABLE(gelu_erf_and_softplus_are_near_the_exact_ones),
        EACH_TABLE(layer_norm_is_near_the_exact_one),
    };
    return cmocka_run_group_tests_name("checkkern vector", tests, NULL, NULL);
}
