/* SPDX-License-Identifier: Apache-2.0
 *
 * Products with F32, F16 and BF16 weights: the weight widened, sixteen lanes (docs/numerics.md, section 4). */
#include "kern/ref/mul.h"

#include <string.h>

/* Columns widened at a time, and rows of activations that share them. */
#define STRIP 512
#define GROUP 4

float MD_K(dot16)(const float *a, const float *b, int64_t n)
{
    float lane[MD_LANES] = {0};
    int64_t i = 0;
    for (; i + MD_LANES <= n; i += MD_LANES)
        for (int l = 0; l < MD_LANES; l++)
            lane[l] = fmaf(a[i + l], b[i + l], lane[l]);
    for (int l = 0; i + l < n; l++)
        lane[l] = fmaf(a[i + l], b[i + l], lane[l]);
    return md_tree16(lane);
}

static inline void strip_add(float *restrict lane_out, const float *restrict w, const float *restrict x, int n)
{
    float lane[MD_LANES];
    memcpy(lane, lane_out, sizeof lane);
    int i = 0;
    for (; i + MD_LANES <= n; i += MD_LANES)
        for (int l = 0; l < MD_LANES; l++)
            lane[l] = fmaf(w[i + l], x[i + l], lane[l]);
    for (int l = 0; i + l < n; l++)
        lane[l] = fmaf(w[i + l], x[i + l], lane[l]);
    memcpy(lane_out, lane, sizeof lane);
}

typedef void widen_fn(const char *src, float *dst, int n);

static void widen_f32(const char *src, float *dst, int n)
{
    memcpy(dst, src, (size_t)n * 4);
}

static void widen_f16(const char *src, float *dst, int n)
{
    uint16_t h[STRIP];
    memcpy(h, src, (size_t)n * 2);
    for (int i = 0; i < n; i++)
        dst[i] = md_f32_from_f16(h[i]);
}

static void widen_bf16(const char *src, float *dst, int n)
{
    uint16_t h[STRIP];
    memcpy(h, src, (size_t)n * 2);
    for (int i = 0; i < n; i++)
        dst[i] = md_f32_from_bf16(h[i]);
}

static inline int64_t act_row(const md_product *m, int64_t t)
{
    return m->rows ? m->rows[t] : t;
}

static inline void mul_row(const md_product *m, int64_t r, int bytes, widen_fn *widen)
{
    const char *w = (const char *)m->w + (size_t)r * m->row_bytes;
    const int64_t k = m->act->k;
    float strip[STRIP];
    for (int64_t t0 = 0; t0 < m->n_rows; t0 += GROUP) {
        const int group = m->n_rows - t0 < GROUP ? (int)(m->n_rows - t0) : GROUP;
        float lane[GROUP][MD_LANES] = {{0}};
        for (int64_t c = 0; c < k; c += STRIP) {
            const int n = k - c < STRIP ? (int)(k - c) : STRIP;
            widen(w + c * bytes, strip, n);
            for (int g = 0; g < group; g++)
                strip_add(lane[g], strip, m->act->f32 + act_row(m, t0 + g) * k + c, n);
        }
        for (int g = 0; g < group; g++)
            m->out[(t0 + g) * m->ld_out + r] = md_tree16(lane[g]);
    }
}

static void mul_f32(const md_product *m)
{
    for (int64_t r = m->first; r < m->last; r++)
        mul_row(m, r, 4, widen_f32);
}

static void mul_f16(const md_product *m)
{
    for (int64_t r = m->first; r < m->last; r++)
        mul_row(m, r, 2, widen_f16);
}

static void mul_bf16(const md_product *m)
{
    for (int64_t r = m->first; r < m->last; r++)
        mul_row(m, r, 2, widen_bf16);
}

void MD_K(mul_float_fill)(md_kern *k)
{
    k->mul[MD_TYPE_F32] = mul_f32;
    k->mul[MD_TYPE_F16] = mul_f16;
    k->mul[MD_TYPE_BF16] = mul_bf16;
}
