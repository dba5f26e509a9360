/* SPDX-License-Identifier: Apache-2.0
 *
 * Products with quantized weights on integers (docs/numerics.md, section 4). A row of weights is expanded once into codes
 * and scales and meets a group of activation rows; sub-scales are multiplied into the codes first, which changes no bit
 * of the integer sum and fits 16 bits for every type (largest: Q6_K, 128 * 32 = 4096; IQ4_XS, 32 * 127). */
#include "dtype/expand.h"
#include "kern/ref/mul.h"

/* Rows of activations that share one expansion of the weights. */
#define GROUP         16
/* Columns of a row expanded at a time. */
#define STRIP         2048
/* Most bytes of 32 and of 256 columns: Q8_0, Q6_K. */
#define MAX_BYTES_32  34
#define MAX_BYTES_256 210

static inline int64_t act_row(const md_product *m, int64_t t)
{
    return m->rows ? m->rows[t] : t;
}

static inline int32_t dot_i16(const int16_t *w, const int8_t *a, int n)
{
    int32_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += (int32_t)w[i] * (int16_t)a[i];
    return sum;
}

static inline void widen(int16_t *restrict dst, const int8_t *restrict src, int n, int factor)
{
    for (int i = 0; i < n; i++)
        dst[i] = (int16_t)(src[i] * factor);
}

/* ---- types of Q32 ---- */

typedef struct strip32 {
    int16_t code[STRIP];
    float d[STRIP / 32][2], m[STRIP / 32];
} strip32;

/* Expands the first n groups of some blocks. The expansion of one group is never inlined into the loop over groups:
 * gcc 12 then unrolls its small loops before it can turn them into vector code, which costs a factor of four. */
typedef void expand32_fn(const char *blocks, int n, strip32 *s);

/* halves: the two 16s of a group have scales of their own. minima: there is an m term. Integer sums first, then the chain
 * of fused steps: the next row's sums fill the time that the chain waits. */
static inline __attribute__((always_inline)) float add32(const strip32 *s, int n, const int8_t *a, const float *scale,
                                                         const float *sum32, float acc, int halves, int minima)
{
    float term[STRIP / 16], factor[STRIP / 16];
    for (int g = 0; g < n; g++)
        if (halves) {
            term[2 * g] = (float)dot_i16(s->code + g * 32, a + g * 32, 16);
            term[2 * g + 1] = (float)dot_i16(s->code + g * 32 + 16, a + g * 32 + 16, 16);
            factor[2 * g] = s->d[g][0] * scale[g];
            factor[2 * g + 1] = s->d[g][1] * scale[g];
        } else {
            term[g] = (float)dot_i16(s->code + g * 32, a + g * 32, 32);
            factor[g] = s->d[g][0] * scale[g];
        }
    for (int g = 0; g < n << halves; g++) {
        acc = fmaf(factor[g], term[g], acc);
        if (minima)
            acc = fmaf(s->m[g], sum32[g], acc);
    }
    return acc;
}

/* Blocks of a strip of row r, wherever they lie: those of a tile are gathered into buf. */
static inline const char *strip_blocks(const md_product *m, md_type type, int tiles, int64_t r, int64_t first, int n,
                                       char *buf)
{
    if (!tiles)
        return (const char *)m->w + (size_t)r * m->row_bytes + first * md_type_get(type)->bytes;
    const char *tile = (const char *)m->w + (size_t)(r / MD_TILE_ROWS) * MD_TILE_ROWS * m->row_bytes;
    md_tile_take(md_tile_shape_of(type), tile, (int)(r % MD_TILE_ROWS), first, n, buf);
    return buf;
}

static inline __attribute__((always_inline)) void mul32(const md_product *m, md_type type, int groups, int tiles,
                                                        int halves, int minima, expand32_fn *expand)
{
    const md_act *a = m->act;
    const int64_t n_groups = a->k / 32;
    strip32 strip;
    char buf[STRIP / 32 * MAX_BYTES_32];
    for (int64_t r = m->first; r < m->last; r++) {
        for (int64_t t0 = 0; t0 < m->n_rows; t0 += GROUP) {
            const int n_t = m->n_rows - t0 < GROUP ? (int)(m->n_rows - t0) : GROUP;
            float acc[GROUP] = {0};
            for (int64_t g = 0; g < n_groups; g += STRIP / 32) {
                const int n = n_groups - g < STRIP / 32 ? (int)(n_groups - g) : STRIP / 32;
                expand(strip_blocks(m, type, tiles, r, g / groups, n / groups, buf), n, &strip);
                for (int t = 0; t < n_t; t++) {
                    const int64_t row = act_row(m, t0 + t), at = row * n_groups + g;
                    acc[t] = add32(&strip, n, a->code + at * 32, a->scale + at, a->sum32 + at, acc[t], halves, minima);
                }
            }
            for (int t = 0; t < n_t; t++)
                m->out[(t0 + t) * m->ld_out + r] = acc[t];
        }
    }
}

/* ---- types of Q256 ---- */

typedef struct strip256 {
    int16_t code[STRIP]; /* sub-scales multiplied in */
    int16_t min[STRIP / 16];
    float d[STRIP / 256], dmin[STRIP / 256];
} strip256;

typedef void expand256_fn(const char *blocks, int n, strip256 *s);

static inline __attribute__((always_inline)) float add256(const strip256 *s, int n, const int8_t *a, const float *scale,
                                                          const int16_t *sum16, float acc, int minima)
{
    for (int b = 0; b < n; b++) {
        const int32_t sum = dot_i16(s->code + b * 256, a + b * 256, 256);
        acc = fmaf(s->d[b] * scale[b], (float)sum, acc);
        if (minima) {
            int32_t low = 0;
            for (int g = 0; g < 16; g++)
                low += (int32_t)s->min[b * 16 + g] * sum16[b * 16 + g];
            acc = fmaf(-(s->dmin[b] * scale[b]), (float)low, acc);
        }
    }
    return acc;
}

static inline __attribute__((always_inline)) void mul256(const md_product *m, md_type type, int tiles, int minima,
                                                         expand256_fn *expand)
{
    const md_act *a = m->act;
    const int64_t n_blocks = a->k / 256;
    strip256 strip = {0};
    char buf[STRIP / 256 * MAX_BYTES_256];
    for (int64_t r = m->first; r < m->last; r++) {
        for (int64_t t0 = 0; t0 < m->n_rows; t0 += GROUP) {
            const int n_t = m->n_rows - t0 < GROUP ? (int)(m->n_rows - t0) : GROUP;
            float acc[GROUP] = {0};
            for (int64_t b = 0; b < n_blocks; b += STRIP / 256) {
                const int n = n_blocks - b < STRIP / 256 ? (int)(n_blocks - b) : STRIP / 256;
                expand(strip_blocks(m, type, tiles, r, b, n, buf), n, &strip);
                for (int t = 0; t < n_t; t++) {
                    const int64_t row = act_row(m, t0 + t), at = row * n_blocks + b;
                    acc[t] = add256(&strip, n, a->code + at * 256, a->scale + at, a->sum16 + at * 16, acc[t], minima);
                }
            }
            for (int t = 0; t < n_t; t++)
                m->out[(t0 + t) * m->ld_out + r] = acc[t];
        }
    }
}

/* ---- one row a type ---- */

/* NAME: of the type; tiled: whether it has tiles. */
#define MUL32(NAME, name, bytes, groups, halves, minima)                                                    \
    static __attribute__((noinline)) void one_##name(const char *block, int group, md_expand32 *restrict e) \
    {                                                                                                       \
        md_expand_##name(block, group, e);                                                                  \
    }                                                                                                       \
    static __attribute__((noinline)) void expand_##name(const char *blocks, int n, strip32 *s)              \
    {                                                                                                       \
        for (int i = 0; i < n; i++) {                                                                       \
            md_expand32 e;                                                                                  \
            one_##name(blocks + i / (groups) * (bytes), i % (groups), &e);                                  \
            widen(s->code + i * 32, e.code, 32, 1);                                                         \
            s->d[i][0] = e.d[0];                                                                            \
            s->d[i][1] = e.d[1];                                                                            \
            s->m[i] = e.m;                                                                                  \
        }                                                                                                   \
    }                                                                                                       \
    static __attribute__((noinline)) void mul_##name(const md_product *m, int tiles)                        \
    {                                                                                                       \
        mul32(m, MD_TYPE_##NAME, groups, tiles, halves, minima, expand_##name);                             \
    }                                                                                                       \
    static void rows_##name(const md_product *m)                                                            \
    {                                                                                                       \
        mul_##name(m, 0);                                                                                   \
    }                                                                                                       \
    static void tiles_##name(const md_product *m)                                                           \
    {                                                                                                       \
        mul_##name(m, 1);                                                                                   \
    }
#define MUL256(NAME, name, bytes, minima)                                                         \
    static __attribute__((noinline)) void one_##name(const char *block, md_expand256 *restrict e) \
    {                                                                                             \
        md_expand_##name(block, e);                                                               \
    }                                                                                             \
    static __attribute__((noinline)) void expand_##name(const char *blocks, int n, strip256 *s)   \
    {                                                                                             \
        for (int i = 0; i < n; i++) {                                                             \
            md_expand256 e;                                                                       \
            one_##name(blocks + i * (bytes), &e);                                                 \
            for (int g = 0; g < 16; g++)                                                          \
                widen(s->code + i * 256 + g * 16, e.code + g * 16, 16, e.sub[g]);                 \
            for (int g = 0; (minima) && g < 16; g++)                                              \
                s->min[i * 16 + g] = e.min[g];                                                    \
            s->d[i] = e.d;                                                                        \
            s->dmin[i] = (minima) ? e.dmin : 0.0f;                                                \
        }                                                                                         \
    }                                                                                             \
    static __attribute__((noinline)) void mul_##name(const md_product *m, int tiles)              \
    {                                                                                             \
        mul256(m, MD_TYPE_##NAME, tiles, minima, expand_##name);                                  \
    }                                                                                             \
    static void rows_##name(const md_product *m)                                                  \
    {                                                                                             \
        mul_##name(m, 0);                                                                         \
    }
#define TILES256(name)                            \
    static void tiles_##name(const md_product *m) \
    {                                             \
        mul_##name(m, 1);                         \
    }

MUL32(Q4_0, q4_0, 18, 1, 0, 0)
MUL32(Q4_1, q4_1, 20, 1, 0, 1)
MUL32(Q5_0, q5_0, 22, 1, 0, 0)
MUL32(Q5_1, q5_1, 24, 1, 0, 1)
MUL32(Q8_0, q8_0, 34, 1, 0, 0)
MUL32(IQ4_NL, iq4_nl, 18, 1, 0, 0)
MUL32(MXFP4, mxfp4, 17, 1, 0, 0)
MUL32(NVFP4, nvfp4, 36, 2, 1, 0)
MUL32(Q1_0, q1_0, 18, 4, 0, 0)
MUL32(Q2_0, q2_0, 18, 2, 0, 0)
MUL256(Q2_K, q2_k, 84, 1)
MUL256(Q3_K, q3_k, 110, 0)
MUL256(Q4_K, q4_k, 144, 1)
MUL256(Q5_K, q5_k, 176, 1)
MUL256(Q6_K, q6_k, 210, 0)
MUL256(IQ1_S, iq1_s, 50, 0)
MUL256(IQ1_M, iq1_m, 56, 0)
MUL256(IQ2_XXS, iq2_xxs, 66, 0)
MUL256(IQ2_XS, iq2_xs, 74, 0)
MUL256(IQ2_S, iq2_s, 82, 0)
MUL256(IQ3_XXS, iq3_xxs, 98, 0)
MUL256(IQ3_S, iq3_s, 110, 0)
MUL256(IQ4_XS, iq4_xs, 136, 0)
MUL256(TQ1_0, tq1_0, 54, 0)
MUL256(TQ2_0, tq2_0, 66, 0)

TILES256(q2_k)
TILES256(q3_k)
TILES256(q4_k)
TILES256(q5_k)
TILES256(q6_k)
TILES256(iq4_xs)
TILES256(tq1_0)
TILES256(tq2_0)

void MD_K(mul_quant_fill)(md_kern *k)
{
    k->mul[MD_TYPE_Q4_0] = rows_q4_0;
    k->mul_tiles[MD_TYPE_Q4_0] = tiles_q4_0;
    k->mul[MD_TYPE_Q4_1] = rows_q4_1;
    k->mul_tiles[MD_TYPE_Q4_1] = tiles_q4_1;
    k->mul[MD_TYPE_Q5_0] = rows_q5_0;
    k->mul_tiles[MD_TYPE_Q5_0] = tiles_q5_0;
    k->mul[MD_TYPE_Q5_1] = rows_q5_1;
    k->mul_tiles[MD_TYPE_Q5_1] = tiles_q5_1;
    k->mul[MD_TYPE_Q8_0] = rows_q8_0;
    k->mul_tiles[MD_TYPE_Q8_0] = tiles_q8_0;
    k->mul[MD_TYPE_IQ4_NL] = rows_iq4_nl;
    k->mul_tiles[MD_TYPE_IQ4_NL] = tiles_iq4_nl;
    k->mul[MD_TYPE_MXFP4] = rows_mxfp4;
    k->mul_tiles[MD_TYPE_MXFP4] = tiles_mxfp4;
    k->mul[MD_TYPE_NVFP4] = rows_nvfp4;
    k->mul_tiles[MD_TYPE_NVFP4] = tiles_nvfp4;
    k->mul[MD_TYPE_Q1_0] = rows_q1_0;
    k->mul_tiles[MD_TYPE_Q1_0] = tiles_q1_0;
    k->mul[MD_TYPE_Q2_0] = rows_q2_0;
    k->mul_tiles[MD_TYPE_Q2_0] = tiles_q2_0;
    k->mul[MD_TYPE_Q2_K] = rows_q2_k;
    k->mul_tiles[MD_TYPE_Q2_K] = tiles_q2_k;
    k->mul[MD_TYPE_Q3_K] = rows_q3_k;
    k->mul_tiles[MD_TYPE_Q3_K] = tiles_q3_k;
    k->mul[MD_TYPE_Q4_K] = rows_q4_k;
    k->mul_tiles[MD_TYPE_Q4_K] = tiles_q4_k;
    k->mul[MD_TYPE_Q5_K] = rows_q5_k;
    k->mul_tiles[MD_TYPE_Q5_K] = tiles_q5_k;
    k->mul[MD_TYPE_Q6_K] = rows_q6_k;
    k->mul_tiles[MD_TYPE_Q6_K] = tiles_q6_k;
    k->mul[MD_TYPE_IQ1_S] = rows_iq1_s;
    k->mul[MD_TYPE_IQ1_M] = rows_iq1_m;
    k->mul[MD_TYPE_IQ2_XXS] = rows_iq2_xxs;
    k->mul[MD_TYPE_IQ2_XS] = rows_iq2_xs;
    k->mul[MD_TYPE_IQ2_S] = rows_iq2_s;
    k->mul[MD_TYPE_IQ3_XXS] = rows_iq3_xxs;
    k->mul[MD_TYPE_IQ3_S] = rows_iq3_s;
    k->mul[MD_TYPE_IQ4_XS] = rows_iq4_xs;
    k->mul_tiles[MD_TYPE_IQ4_XS] = tiles_iq4_xs;
    k->mul[MD_TYPE_TQ1_0] = rows_tq1_0;
    k->mul_tiles[MD_TYPE_TQ1_0] = tiles_tq1_0;
    k->mul[MD_TYPE_TQ2_0] = rows_tq2_0;
    k->mul_tiles[MD_TYPE_TQ2_0] = tiles_tq2_0;
}
