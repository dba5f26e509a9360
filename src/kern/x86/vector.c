/* SPDX-License-Identifier: Apache-2.0
 *
 * Norms, softmax, activations and sums of experts, eight values at a time (docs/numerics.md, sections 1, 2, 5 and 8). What is
 * plain arithmetic, one value by itself, compilers make as good from the reference source. */
#include "kern/x86/vector.h"

#include <stdbool.h>

/* ---- the two reductions ---- */

static float dot16(const float *a, const float *b, int64_t n)
{
    __m256 lane[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        lane[0] = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), lane[0]);
        lane[1] = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8), lane[1]);
    }
    for (int h = 0; i < n; i += 8, h++) { /* a lane that is not reached keeps the sign of its zero */
        const __m256i mask = md_first_lanes(n - i < 8 ? n - i : 8);
        const __m256 more = _mm256_fmadd_ps(_mm256_maskload_ps(a + i, mask), _mm256_maskload_ps(b + i, mask), lane[h]);
        lane[h] = _mm256_blendv_ps(lane[h], more, _mm256_castsi256_ps(mask));
    }
    return md_tree16x(lane[0], lane[1]);
}

static float sum16(const float *x, int64_t n)
{
    __m256 lane[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        lane[0] = _mm256_add_ps(lane[0], _mm256_loadu_ps(x + i));
        lane[1] = _mm256_add_ps(lane[1], _mm256_loadu_ps(x + i + 8));
    }
    for (int h = 0; i < n; i += 8, h++) /* no lane is -0, so adding 0 leaves it alone */
        lane[h] = _mm256_add_ps(lane[h], _mm256_maskload_ps(x + i, md_first_lanes(n - i < 8 ? n - i : 8)));
    return md_tree16x(lane[0], lane[1]);
}

/* ---- one value by itself ---- */

/* Two vectors to one; p: parameters. */
typedef __m256 map8(__m256 a, __m256 b, const float *p);

MD_INLINE void map(map8 *f, const float *a, const float *b, float *y, int64_t n, const float *p)
{
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, f(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), p));
    if (i < n) {
        const __m256i mask = md_first_lanes(n - i);
        _mm256_maskstore_ps(y + i, mask, f(_mm256_maskload_ps(a + i, mask), _mm256_maskload_ps(b + i, mask), p));
    }
}

MD_INLINE __m256 negated(__m256 x)
{
    return _mm256_xor_ps(x, _mm256_set1_ps(-0.0f));
}

/* x > limit ? limit : x, and the like from below: a NaN stays. */
MD_INLINE __m256 at_most(__m256 x, float limit)
{
    return _mm256_min_ps(_mm256_set1_ps(limit), x);
}

MD_INLINE __m256 at_least(__m256 x, float limit)
{
    return _mm256_max_ps(_mm256_set1_ps(limit), x);
}

/* x / (1 + exp(-z)) */
MD_INLINE __m256 gated(__m256 x, __m256 z)
{
    return _mm256_div_ps(x, _mm256_add_ps(_mm256_set1_ps(1.0f), md_exp8(negated(z))));
}

MD_INLINE __m256 exp_of(__m256 x, __m256 b, const float *p)
{
    (void)b, (void)p;
    return md_exp8(x);
}

MD_INLINE __m256 sigmoid_of(__m256 x, __m256 b, const float *p)
{
    (void)b, (void)p;
    return gated(_mm256_set1_ps(1.0f), x);
}

MD_INLINE __m256 silu_of(__m256 x, __m256 b, const float *p)
{
    (void)b, (void)p;
    return gated(x, x);
}

MD_INLINE __m256 silu_mul_of(__m256 gate, __m256 up, const float *p)
{
    (void)p;
    return _mm256_mul_ps(gated(gate, gate), up);
}

/* p: limit */
MD_INLINE __m256 silu_clamp_mul_of(__m256 gate, __m256 up, const float *p)
{
    return _mm256_mul_ps(at_most(gated(gate, gate), p[0]), at_least(at_most(up, p[0]), -p[0]));
}

/* p: alpha, limit */
MD_INLINE __m256 oai_mul_of(__m256 gate, __m256 up, const float *p)
{
    const __m256 g = at_most(gate, p[1]), u = at_least(at_most(up, p[1]), -p[1]);
    return _mm256_mul_ps(gated(g, _mm256_mul_ps(_mm256_set1_ps(p[0]), g)), _mm256_add_ps(u, _mm256_set1_ps(1.0f)));
}

MD_INLINE __m256 gelu_of(__m256 x, __m256 b, const float *p)
{
    (void)b, (void)p;
    const __m256 one = _mm256_set1_ps(1.0f), cube = _mm256_mul_ps(_mm256_set1_ps(0.044715f), x);
    const __m256 u = _mm256_mul_ps(_mm256_mul_ps(x, _mm256_fmadd_ps(cube, x, one)), _mm256_set1_ps(0.79788456f));
    return _mm256_div_ps(x, _mm256_add_ps(one, md_exp8(_mm256_mul_ps(_mm256_set1_ps(-2.0f), u))));
}

MD_INLINE __m256 gelu_mul_of(__m256 gate, __m256 up, const float *p)
{
    return _mm256_mul_ps(gelu_of(gate, up, p), up);
}

/* p: cap */
MD_INLINE __m256 softcap_of(__m256 x, __m256 b, const float *p)
{
    (void)b;
    const __m256 cap = _mm256_set1_ps(p[0]);
    return _mm256_mul_ps(cap, md_tanh8(_mm256_div_ps(x, cap)));
}

static void exponential(float *x, int64_t n)
{
    map(exp_of, x, x, x, n, NULL);
}

static void sigmoid(float *x, int64_t n)
{
    map(sigmoid_of, x, x, x, n, NULL);
}

static void silu(float *x, int64_t n)
{
    map(silu_of, x, x, x, n, NULL);
}

static void gelu(float *x, int64_t n)
{
    map(gelu_of, x, x, x, n, NULL);
}

static void softcap(float *x, int64_t n, float cap)
{
    map(softcap_of, x, x, x, n, &cap);
}

static void silu_mul(const float *gate, const float *up, float *y, int64_t n)
{
    map(silu_mul_of, gate, up, y, n, NULL);
}

static void gelu_mul(const float *gate, const float *up, float *y, int64_t n)
{
    map(gelu_mul_of, gate, up, y, n, NULL);
}

static void silu_clamp_mul(const float *gate, const float *up, float *y, int64_t n, float limit)
{
    map(silu_clamp_mul_of, gate, up, y, n, &limit);
}

static void oai_mul(const float *gate, const float *up, float *y, int64_t n, float alpha, float limit)
{
    map(oai_mul_of, gate, up, y, n, (float[]){alpha, limit});
}

/* ---- rows ---- */

static void rms_norm(const float *x, const float *w, float *y, int64_t n, float eps)
{
    const float r = 1.0f / sqrtf(dot16(x, x, n) / (float)n + eps);
    if (w)
        for (int64_t i = 0; i < n; i++)
            y[i] = (x[i] * r) * w[i];
    else
        for (int64_t i = 0; i < n; i++)
            y[i] = x[i] * r;
}

static void layer_norm(const float *x, const float *w, const float *b, float *y, int64_t n, float eps)
{
    const float mean = sum16(x, n) / (float)n;
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] - mean;
    const float r = 1.0f / sqrtf(dot16(y, y, n) / (float)n + eps);
    for (int64_t i = 0; i < n; i++)
        y[i] *= r;
    for (int64_t i = 0; w && i < n; i++)
        y[i] *= w[i];
    for (int64_t i = 0; b && i < n; i++)
        y[i] += b[i];
}

/* p: the largest */
MD_INLINE __m256 exp_below(__m256 x, __m256 b, const float *p)
{
    (void)b;
    return md_exp8(_mm256_sub_ps(x, _mm256_set1_ps(p[0])));
}

static void softmax(float *x, int64_t n)
{
    __m256 top = _mm256_set1_ps(-INFINITY);
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        top = _mm256_max_ps(_mm256_loadu_ps(x + i), top);
    float m = md_largest8(top);
    for (; i < n; i++)
        m = x[i] > m ? x[i] : m;
    map(exp_below, x, x, x, n, &m);
    const float sum = sum16(x, n);
    for (i = 0; i < n; i++)
        x[i] /= sum;
}

/* ---- halves ---- */

static void to_half(const float *x, uint16_t *y, int64_t n)
{
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(void *)(y + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
    for (; i < n; i++)
        y[i] = md_f16_from_f32(x[i]);
}

static void from_half(const uint16_t *x, float *y, int64_t n)
{
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(x + i))));
    for (; i < n; i++)
        y[i] = md_f32_from_f16(x[i]);
}

/* ---- sums of experts ---- */

/* 4 nv columns. A product of two floats is exact in binary64, so that a fused step rounds where the sum does. */
MD_INLINE void combine_columns(int nv, const float *const *x, const float *w, int n_parts, int64_t at, float *y)
{
    __m256d sum[4];
    MD_UNROLL
    for (int v = 0; v < nv; v++)
        sum[v] = _mm256_setzero_pd();
    for (int p = 0; p < n_parts; p++) {
        const __m256d weight = _mm256_set1_pd((double)w[p]);
        MD_UNROLL
        for (int v = 0; v < nv; v++)
            sum[v] = _mm256_fmadd_pd(weight, _mm256_cvtps_pd(_mm_loadu_ps(x[p] + at + 4 * v)), sum[v]);
    }
    MD_UNROLL
    for (int v = 0; v < nv; v++)
        _mm_storeu_ps(y + at + 4 * v, _mm256_cvtpd_ps(sum[v]));
}

static void combine(const float *const *x, const float *w, int n_parts, float *y, int64_t n)
{
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        combine_columns(4, x, w, n_parts, i, y);
    for (; i + 4 <= n; i += 4)
        combine_columns(1, x, w, n_parts, i, y);
    for (; i < n; i++) {
        double sum = 0.0;
        for (int p = 0; p < n_parts; p++)
            sum += (double)w[p] * (double)x[p][i];
        y[i] = (float)sum;
    }
}

/* ---- sums of rows ---- */

/* 8 nv columns; with one vector, those of the mask. */
MD_INLINE void axpys_columns(int nv, float *x, const float *y, int64_t ld, const float *a, int n_rows, __m256i mask)
{
    __m256 sum[8];
    MD_UNROLL
    for (int v = 0; v < nv; v++)
        sum[v] = nv == 1 ? _mm256_maskload_ps(x, mask) : _mm256_loadu_ps(x + 8 * v);
    for (int r = 0; r < n_rows; r++, y += ld) {
        const __m256 w = _mm256_broadcast_ss(a + r);
        MD_UNROLL
        for (int v = 0; v < nv; v++)
            sum[v] = _mm256_fmadd_ps(nv == 1 ? _mm256_maskload_ps(y, mask) : _mm256_loadu_ps(y + 8 * v), w, sum[v]);
    }
    MD_UNROLL
    for (int v = 0; v < nv; v++) {
        if (nv == 1)
            _mm256_maskstore_ps(x, mask, sum[v]);
        else
            _mm256_storeu_ps(x + 8 * v, sum[v]);
    }
}

static void axpys(float *x, const float *y, int64_t ld, const float *a, int n_rows, int64_t n)
{
    int64_t i = 0;
    for (; i + 64 <= n; i += 64)
        axpys_columns(8, x + i, y + i, ld, a, n_rows, _mm256_setzero_si256());
    for (; i < n; i += 8)
        axpys_columns(1, x + i, y + i, ld, a, n_rows, md_first_lanes(n - i < 8 ? n - i : 8));
}

void MD_K(vector_over)(md_kern *k)
{
    k->axpys = axpys;
    k->dot16 = dot16;
    k->exp = exponential;
    k->sigmoid = sigmoid;
    k->silu = silu;
    k->gelu = gelu;
    k->softcap = softcap;
    k->silu_mul = silu_mul;
    k->gelu_mul = gelu_mul;
    k->silu_clamp_mul = silu_clamp_mul;
    k->oai_mul = oai_mul;
    k->rms_norm = rms_norm;
    k->layer_norm = layer_norm;
    k->softmax = softmax;
    k->to_half = to_half;
    k->from_half = from_half;
    k->combine = combine;
    MD_K(vector_quantize_fill)(k);
    MD_K(vector_state_fill)(k);
}
