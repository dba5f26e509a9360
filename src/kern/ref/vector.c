/* SPDX-License-Identifier: Apache-2.0
 *
 * Norms, rope, softmax, activations and element-wise steps (docs/numerics.md, sections 2, 5, 6 and 8). */
#include "kern/ref/vector.h"

#include "base/mathd.h"
#include "kern/ref/mul.h"

static void rms_norm(const float *x, const float *w, float *y, int64_t n, float eps)
{
    const float mean = MD_K(dot16)(x, x, n) / (float)n, r = 1.0f / sqrtf(mean + eps);
    if (w)
        for (int64_t i = 0; i < n; i++)
            y[i] = (x[i] * r) * w[i];
    else
        for (int64_t i = 0; i < n; i++)
            y[i] = x[i] * r;
}

static void layer_norm(const float *x, const float *w, const float *b, float *y, int64_t n, float eps)
{
    const float mean = md_sum16(x, n) / (float)n;
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] - mean;
    const float r = 1.0f / sqrtf(MD_K(dot16)(y, y, n) / (float)n + eps);
    for (int64_t i = 0; i < n; i++) {
        y[i] *= r;
        if (w)
            y[i] *= w[i];
        if (b)
            y[i] += b[i];
    }
}

static void rope(const md_rope_args *a, float *x)
{
    const int half = a->n_rot / 2;
    for (int h = 0; h < a->n_heads; h++) {
        float *head = x + (int64_t)h * a->head_dim;
        for (int i = 0; i < half; i++) {
            float *pu = a->interleaved ? head + 2 * i : head + i;
            float *pv = a->interleaved ? pu + 1 : pu + half;
            const float c = a->cs[2 * i], s = a->cs[2 * i + 1], u = *pu, v = *pv;
            *pu = fmaf(u, c, -(v * s));
            *pv = fmaf(u, s, v * c);
        }
    }
}

static void softmax(float *x, int64_t n)
{
    float m = -INFINITY;
    for (int64_t i = 0; i < n; i++)
        m = x[i] > m ? x[i] : m;
    for (int64_t i = 0; i < n; i++)
        x[i] = md_exp(x[i] - m);
    const float sum = md_sum16(x, n);
    for (int64_t i = 0; i < n; i++)
        x[i] = x[i] / sum;
}

static void sigmoid(float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = md_sigmoid(x[i]);
}

/* log(1 + exp(x)), in double; x itself where the rest is below its last place. */
static void softplus(float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (x[i] <= 20.0f)
            x[i] = (float)md_log_d(1.0 + md_exp_d((double)x[i]));
}

static void exponential(float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = md_exp(x[i]);
}

static void silu_mul(const float *gate, const float *up, float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = gate[i] / (1.0f + md_exp(-gate[i])) * up[i];
}

static void oai_mul(const float *gate, const float *up, float *y, int64_t n, float alpha, float limit)
{
    for (int64_t i = 0; i < n; i++) {
        const float g = gate[i] > limit ? limit : gate[i];
        float u = up[i] > limit ? limit : up[i];
        u = u < -limit ? -limit : u;
        y[i] = g / (1.0f + md_exp(-(alpha * g))) * (u + 1.0f);
    }
}

static void silu_clamp_mul(const float *gate, const float *up, float *y, int64_t n, float limit)
{
    for (int64_t i = 0; i < n; i++) {
        float g = gate[i] / (1.0f + md_exp(-gate[i])), u = up[i];
        g = g > limit ? limit : g;
        u = u > limit ? limit : u;
        u = u < -limit ? -limit : u;
        y[i] = g * u;
    }
}

/* The tanh form (Hendrycks and Gimpel 2016), by 0.5 (1 + tanh u) = 1 / (1 + exp(-2u)). */
static void gelu_mul(const float *gate, const float *up, float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const float x = gate[i], u = x * fmaf(0.044715f * x, x, 1.0f) * 0.79788456f;
        y[i] = x / (1.0f + md_exp(-2.0f * u)) * up[i];
    }
}

static void silu(float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = x[i] / (1.0f + md_exp(-x[i]));
}

static void gelu(float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const float u = x[i] * fmaf(0.044715f * x[i], x[i], 1.0f) * 0.79788456f;
        x[i] = x[i] / (1.0f + md_exp(-2.0f * u));
    }
}

/* erfc(z) for z >= 0 in double, within 1.2e-7 of itself (the Chebyshev fit of Press et al., Numerical Recipes, 6.2). */
static double erfc_fit(double z)
{
    static const double c[] = {0.17087277,  -0.82215223, 1.48851587, -1.13520398, 0.27886807,
                               -0.18628806, 0.09678418,  0.37409196, 1.00002368,  -1.26551223};
    const double t = 1.0 / (1.0 + 0.5 * z);
    double p = c[0];
    for (int i = 1; i < 10; i++)
        p = p * t + c[i];
    return t * md_exp_d(p - z * z);
}

/* x times the normal distribution function, the form without an approximation (Hendrycks and Gimpel 2016). */
static void gelu_erf(float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const double v = x[i], half = 0.5 * erfc_fit((v < 0.0 ? -v : v) * 0.70710678118654752);
        x[i] = (float)(v * (v < 0.0 ? half : 1.0 - half));
    }
}

static void relu(float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = x[i] < 0.0f ? 0.0f : x[i];
}

static void mul_into(float *x, const float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] *= y[i];
}

static void clamp(float *x, int64_t n, float limit)
{
    for (int64_t i = 0; i < n; i++) {
        const float v = x[i] > limit ? limit : x[i];
        x[i] = v < -limit ? -limit : v;
    }
}

static void softcap(float *x, int64_t n, float cap)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = cap * md_tanh(x[i] / cap);
}

static void add(float *x, const float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] += y[i];
}

static void axpy(float *x, const float *y, float a, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = fmaf(y[i], a, x[i]);
}

static void axpys(float *x, const float *y, int64_t ld, const float *a, int n_rows, int64_t n)
{
    for (int r = 0; r < n_rows; r++)
        axpy(x, y + r * ld, a[r], n);
}

static void scale(float *x, float a, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] *= a;
}

/* Products of two floats are exact in binary64; the sum is rounded to binary32 once. */
static void combine(const float *const *x, const float *w, int n_parts, float *y, int64_t n)
{
    enum { COLUMNS = 64 };
    for (int64_t from = 0; from < n; from += COLUMNS) {
        const int64_t width = n - from < COLUMNS ? n - from : COLUMNS;
        double sum[COLUMNS] = {0};
        for (int p = 0; p < n_parts; p++)
            for (int64_t i = 0; i < width; i++)
                sum[i] += (double)w[p] * (double)x[p][from + i];
        for (int64_t i = 0; i < width; i++)
            y[from + i] = (float)sum[i];
    }
}

static void to_half(const float *x, uint16_t *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = md_f16_from_f32(x[i]);
}

static void from_half(const uint16_t *x, float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = md_f32_from_f16(x[i]);
}

/* One block of 32: codes, and the scale as a half. A value that is not finite makes the scale NaN, so that it is not lost. */
static uint16_t block_to_q8(const float *restrict x, int8_t *restrict code)
{
    uint32_t top = 0;
    for (int i = 0; i < 32; i++) {
        const uint32_t mag = md_float_to_bits(x[i]) & 0x7fffffffu;
        top = mag > top ? mag : top;
    }
    const uint16_t half = top >= 0x7f800000u ? 0x7e00 : md_f16_from_f32(md_bits_to_float(top) / 127.0f);
    const float d = md_f32_from_f16(half);
    const float inverse = d > 0.0f && d < INFINITY ? 1.0f / d : 0.0f;
    for (int i = 0; i < 32; i++) {
        float q = inverse > 0.0f ? (x[i] * inverse + 0x1.8p23f) - 0x1.8p23f : 0.0f;
        q = q > 127.0f ? 127.0f : q < -127.0f ? -127.0f : q;
        code[i] = (int8_t)q;
    }
    return half;
}

static void to_q8(const float *x, int8_t *code, uint16_t *d, int64_t n)
{
    for (int64_t b = 0; b < n / 32; b++)
        d[b] = block_to_q8(x + b * 32, code + b * 32);
}

void MD_K(vector_fill)(md_kern *k)
{
    k->rms_norm = rms_norm;
    k->layer_norm = layer_norm;
    k->rope = rope;
    k->softmax = softmax;
    k->sigmoid = sigmoid;
    k->softplus = softplus;
    k->exp = exponential;
    k->silu_mul = silu_mul;
    k->oai_mul = oai_mul;
    k->silu_clamp_mul = silu_clamp_mul;
    k->gelu_mul = gelu_mul;
    k->silu = silu;
    k->gelu = gelu;
    k->gelu_erf = gelu_erf;
    k->relu = relu;
    k->mul_into = mul_into;
    k->clamp = clamp;
    k->softcap = softcap;
    k->add = add;
    k->axpy = axpy;
    k->axpys = axpys;
    k->scale = scale;
    k->combine = combine;
    k->to_half = to_half;
    k->from_half = from_half;
    k->to_q8 = to_q8;
}
