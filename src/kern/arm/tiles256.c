/* SPDX-License-Identifier: Apache-2.0
 *
 * Products of tiles of the types with blocks of 256 (docs/numerics.md, section 4). A type is two functions: one takes scales,
 * sub-scales and minima of a block's eight rows out of the tile, the other the codes of 32 columns at a time. What is constant
 * in the codes (q - 32) is left to the sums of the activations' codes. */
#include "kern/arm/tiles.h"

#include "dtype/expand_base.h"

/* What a block of eight rows has beside codes. Types whose sub-scales serve 32 columns fill the even places of `sub`; so do
 * minima. */
typedef struct scales {
    float32x4_t d[2], dmin[2];
    int32x4_t sub[16][2], min[16][2];
} scales;

/* What a type is to the loop below; constants once inlined. */
typedef struct kind {
    int bytes;   /* of a block of one row */
    int columns; /* that share a sub-scale, and a minimum: 16, 32; 256: there are none */
    int offset;  /* what the codes are too large by */
    int chain;   /* md_dot_quads */
    bool minima;
} kind;

typedef void scales_fn(const uint8_t *block, scales *s);
typedef void codes_fn(const uint8_t *block, int g, md_codes *c);

/* The integer sums of one row of activations over a block: products, and minima. */
typedef struct sums {
    int32x4_t product[2], low[2];
} sums;

/* Group g of 32 columns. */
MD_INLINE void add_group(const md_codes *c, const scales *s, kind k, int g, const int8_t *code, const int16_t *sum16,
                         sums *x)
{
    if (k.columns == 16) {
        for (int part = 0; part < 2; part++) {
            const int32x4_t start = vdupq_n_s32(-k.offset * sum16[part]);
            int32x4_t sum[2] = {start, start};
            md_dot_quads(c->quad + 4 * part, 4, k.chain, code + 16 * part, sum);
            for (int h = 0; h < 2; h++)
                x->product[h] = vmlaq_s32(x->product[h], sum[h], s->sub[2 * g + part][h]);
            for (int h = 0; k.minima && h < 2; h++)
                x->low[h] = vmlaq_n_s32(x->low[h], s->min[2 * g + part][h], sum16[part]);
        }
        return;
    }
    const int32_t both = sum16[0] + sum16[1];
    const int32x4_t start = vdupq_n_s32(-k.offset * both);
    int32x4_t sum[2] = {start, start};
    md_dot_quads(c->quad, 8, k.chain, code, sum);
    for (int h = 0; h < 2; h++)
        x->product[h] = k.columns == 32 ? vmlaq_s32(x->product[h], sum[h], s->sub[2 * g][h])
                                        : vaddq_s32(x->product[h], sum[h]);
    for (int h = 0; k.minima && h < 2; h++)
        x->low[h] = vmlaq_n_s32(x->low[h], s->min[2 * g][h], both);
}

MD_INLINE void panel256(const md_product *m, const uint8_t *tile, int64_t r, int64_t t, int n, kind k,
                        scales_fn *scales_of, codes_fn *codes_of)
{
    const md_act *a = m->act;
    const int64_t n_blocks = a->k / 256;
    int64_t row[MD_PANEL];
    float32x4_t acc[MD_PANEL][2];
    for (int i = 0; i < n; i++) {
        row[i] = md_act_row(m, t + i) * n_blocks;
        acc[i][0] = acc[i][1] = vdupq_n_f32(0.0f);
    }
    for (int64_t b = 0; b < n_blocks; b++) {
        const uint8_t *block = tile + b * MD_TILE_ROWS * k.bytes;
        scales s;
        sums x[MD_PANEL];
        scales_of(block, &s);
        for (int i = 0; i < n; i++)
            for (int h = 0; h < 2; h++)
                x[i].product[h] = x[i].low[h] = vdupq_n_s32(0);
        for (int g = 0; g < 8; g++) {
            md_codes c;
            codes_of(block, g, &c);
            for (int i = 0; i < n; i++) {
                const int64_t at = row[i] + b;
                add_group(&c, &s, k, g, a->code + at * 256 + g * 32, a->sum16 + at * 16 + 2 * g, &x[i]);
            }
        }
        for (int i = 0; i < n; i++)
            for (int h = 0; h < 2; h++) {
                const float scale = a->scale[row[i] + b];
                acc[i][h] = vfmaq_f32(acc[i][h], vmulq_n_f32(s.d[h], scale), vcvtq_f32_s32(x[i].product[h]));
                if (k.minima)
                    acc[i][h] = vfmsq_f32(acc[i][h], vmulq_n_f32(s.dmin[h], scale), vcvtq_f32_s32(x[i].low[h]));
            }
    }
    for (int i = 0; i < n; i++)
        md_store_rows(m, t + i, r, acc[i]);
}

/* ---- what types share ---- */

/* The word that holds scale and minimum. */
MD_INLINE void word_scales(const uint8_t *words, int w, scales *s)
{
    for (int h = 0; h < 2; h++) {
        s->d[h] = md_low_half(md_word32(words, w, h));
        s->dmin[h] = md_high_half(md_word32(words, w, h));
    }
}

MD_INLINE void head_scales(const uint8_t *block, scales *s)
{
    for (int h = 0; h < 2; h++)
        s->d[h] = md_head_halves(block, h);
}

/* Two bits a column, 32 bytes for 128 columns: bits 2j of byte l belong to column 32 j + l. */
MD_INLINE void codes2(const uint8_t *words, int g, md_codes *c)
{
    for (int q = 0; q < 8; q++)
        for (int h = 0; h < 2; h++)
            c->quad[q][h] = vreinterpretq_s8_u8(md_field(md_word(words, 8 * (g / 4) + q, h), 2 * (g % 4), 3));
}

/* Four bits a column, 32 bytes for 64 columns: low nibbles first. */
MD_INLINE void codes4(const uint8_t *words, int g, md_codes *c)
{
    for (int q = 0; q < 8; q++)
        for (int h = 0; h < 2; h++)
            c->quad[q][h] = vreinterpretq_s8_u8(md_field(md_word(words, 8 * (g / 2) + q, h), 4 * (g % 2), 15));
}

MD_INLINE uint32x4_t mask32(uint32x4_t x, uint32_t mask)
{
    return vandq_u32(x, vdupq_n_u32(mask));
}

/* ---- Q2_K, Q3_K ---- */

MD_INLINE void scales_q2_k(const uint8_t *block, scales *s)
{
    word_scales(block, 20, s);
    for (int i = 0; i < 16; i++)
        for (int h = 0; h < 2; h++) {
            const int32x4_t byte = md_lane_byte(md_word32(block, i / 4, h), i % 4);
            s->sub[i][h] = vandq_s32(byte, vdupq_n_s32(15));
            s->min[i][h] = vshrq_n_s32(byte, 4);
        }
}

MD_INLINE void codes_q2_k(const uint8_t *block, int g, md_codes *c)
{
    codes2(block + 4 * 32, g, c);
}

/* Words 24 and 25 have the low nibbles of the scales, first those of 0-7, then those of 8-15; word 26 the high pairs, four
 * scales from each two bits of its bytes. */
MD_INLINE void scales_q3_k(const uint8_t *block, scales *s)
{
    const uint8_t *words = block + 16;
    head_scales(block, s);
    for (int h = 0; h < 2; h++)
        for (int i = 0; i < 4; i++) {
            const uint32x4_t low = vshlq_u32(md_word32(words, 24 + i % 2, h), vdupq_n_s32(-(i / 2 * 4)));
            const uint32x4_t high = vshlq_u32(md_word32(words, 26, h), vdupq_n_s32(-2 * i));
            const uint32x4_t four = vorrq_u32(mask32(low, 0x0f0f0f0f), vshlq_n_u32(mask32(high, 0x03030303), 4));
            for (int j = 0; j < 4; j++)
                s->sub[4 * i + j][h] = vsubq_s32(md_lane_byte(four, j), vdupq_n_s32(32));
        }
}

/* Words 0-7: the third bit, bit g of byte l for column 32 g + l. */
MD_INLINE void codes_q3_k(const uint8_t *block, int g, md_codes *c)
{
    const uint8_t *words = block + 16;
    const uint8x16_t bit = vdupq_n_u8((uint8_t)(1 << g));
    codes2(words + 8 * 32, g, c);
    for (int q = 0; q < 8; q++)
        for (int h = 0; h < 2; h++) {
            const uint8x16_t high = vandq_u8(vtstq_u8(md_word(words, q, h), bit), vdupq_n_u8(4));
            c->quad[q][h] = vorrq_s8(c->quad[q][h], vreinterpretq_s8_u8(high));
        }
}

/* ---- Q4_K, Q5_K ---- */

/* Words 1-3: eight scales and eight minima of six bits (dtype/expand_k.h). */
MD_INLINE void scales_q4_k(const uint8_t *block, scales *s)
{
    word_scales(block, 0, s);
    for (int h = 0; h < 2; h++) {
        const uint32x4_t a = md_word32(block, 1, h), b = md_word32(block, 2, h), c = md_word32(block, 3, h);
        const uint32x4_t sub[2] = {mask32(a, 0x3f3f3f3f),
                                   vorrq_u32(mask32(c, 0x0f0f0f0f), mask32(vshrq_n_u32(a, 2), 0x30303030))};
        const uint32x4_t min[2] = {mask32(b, 0x3f3f3f3f), vorrq_u32(mask32(vshrq_n_u32(c, 4), 0x0f0f0f0f),
                                                                    mask32(vshrq_n_u32(b, 2), 0x30303030))};
        for (int g = 0; g < 8; g++) {
            s->sub[2 * g][h] = md_lane_byte(sub[g / 4], g % 4);
            s->min[2 * g][h] = md_lane_byte(min[g / 4], g % 4);
        }
    }
}

MD_INLINE void codes_q4_k(const uint8_t *block, int g, md_codes *c)
{
    codes4(block + 4 * 32, g, c);
}

MD_INLINE void scales_q5_k(const uint8_t *block, scales *s)
{
    scales_q4_k(block, s);
}

/* Words 4-11: the fifth bit, bit g of byte l for column 32 g + l. */
MD_INLINE void codes_q5_k(const uint8_t *block, int g, md_codes *c)
{
    const uint8x16_t bit = vdupq_n_u8((uint8_t)(1 << g));
    codes4(block + 12 * 32, g, c);
    for (int q = 0; q < 8; q++)
        for (int h = 0; h < 2; h++) {
            const uint8x16_t high = vandq_u8(vtstq_u8(md_word(block, 4 + q, h), bit), vdupq_n_u8(16));
            c->quad[q][h] = vorrq_s8(c->quad[q][h], vreinterpretq_s8_u8(high));
        }
}

/* ---- Q6_K ---- */

MD_INLINE void scales_q6_k(const uint8_t *block, scales *s)
{
    head_scales(block, s);
    for (int i = 0; i < 16; i++)
        for (int h = 0; h < 2; h++) {
            const int32x4_t word = vreinterpretq_s32_u32(md_word32(block + 16, 48 + i / 4, h));
            s->sub[i][h] = vshrq_n_s32(vshlq_s32(word, vdupq_n_s32(24 - i % 4 * 8)), 24);
        }
}

/* Per 128 columns 64 bytes of low nibbles, the first 64 columns in the low ones, and 32 bytes of high pairs. */
MD_INLINE void codes_q6_k(const uint8_t *block, int g, md_codes *c)
{
    const uint8_t *words = block + 16;
    const int half = g / 4, part = g % 4;
    for (int q = 0; q < 8; q++)
        for (int h = 0; h < 2; h++) {
            const uint8x16_t low = md_field(md_word(words, 16 * half + part % 2 * 8 + q, h), part / 2 * 4, 15);
            const uint8x16_t high = md_field(md_word(words, 32 + 8 * half + q, h), 2 * part, 3);
            c->quad[q][h] = vreinterpretq_s8_u8(vorrq_u8(low, vshlq_n_u8(high, 4)));
        }
}

/* ---- IQ4_XS ---- */

/* Word 0: scale, and the high pairs of the sub-scales; word 1 their low nibbles. */
MD_INLINE void scales_iq4_xs(const uint8_t *block, scales *s)
{
    for (int h = 0; h < 2; h++) {
        const uint32x4_t first = md_word32(block, 0, h), second = md_word32(block, 1, h);
        s->d[h] = md_low_half(first);
        for (int g = 0; g < 8; g++) {
            const uint32x4_t low = mask32(vshlq_u32(second, vdupq_n_s32(-4 * g)), 15);
            const uint32x4_t high = mask32(vshlq_u32(first, vdupq_n_s32(-16 - 2 * g)), 3);
            const uint32x4_t six = vorrq_u32(low, vshlq_n_u32(high, 4));
            s->sub[2 * g][h] = vsubq_s32(vreinterpretq_s32_u32(six), vdupq_n_s32(32));
        }
    }
}

MD_INLINE void codes_iq4_xs(const uint8_t *block, int g, md_codes *c)
{
    const int8x16_t values = vld1q_s8(md_iq4_values);
    for (int w = 0; w < 4; w++)
        for (int h = 0; h < 2; h++) {
            const uint8x16_t packed = md_word(block, 2 + 4 * g + w, h);
            c->quad[w][h] = vqtbl1q_s8(values, vandq_u8(packed, vdupq_n_u8(15)));
            c->quad[4 + w][h] = vqtbl1q_s8(values, vshrq_n_u8(packed, 4));
        }
}

/* ---- the ternary types: no sub-scales ---- */

MD_INLINE void scales_tq1_0(const uint8_t *block, scales *s)
{
    head_scales(block, s);
}

/* Digit k of every byte: the fraction byte / 256 times 3^k, less what stands before the point, times 3. */
MD_INLINE int8x16_t digit3(uint8x16_t bytes, int k)
{
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    const uint8x16_t fraction = vmulq_u8(bytes, vdupq_n_u8(power[k]));
    /* 3 f / 256 = (f + f / 2) / 2 / 64, and the halving sum does not overflow. */
    return vreinterpretq_s8_u8(vshrq_n_u8(vhaddq_u8(fraction, vshrq_n_u8(fraction, 1)), 6));
}

/* Quads 0-39: the digits of words 0-7; 40-59: those of words 8-11; 60-63: four of word 12. */
MD_INLINE void codes_tq1_0(const uint8_t *block, int g, md_codes *c)
{
    for (int q = 0; q < 8; q++) {
        const int at = 8 * g + q;
        const int word = at < 40 ? q : at < 60 ? 8 + q % 4 : 12;
        const int k = at < 40 ? g : at < 60 ? (at - 40) / 4 : at - 60;
        for (int h = 0; h < 2; h++)
            c->quad[q][h] = digit3(md_word(block + 16, word, h), k);
    }
}

MD_INLINE void scales_tq2_0(const uint8_t *block, scales *s)
{
    head_scales(block, s);
}

MD_INLINE void codes_tq2_0(const uint8_t *block, int g, md_codes *c)
{
    codes2(block + 16, g, c);
}

/* ---- one row a type ---- */

#define TILES(name, bytes, columns, offset, chain, minima)                                                      \
    MD_INLINE void panel_##name(const md_product *m, const uint8_t *tile, int64_t r, int64_t t, int n)          \
    {                                                                                                           \
        panel256(m, tile, r, t, n, (kind){bytes, columns, offset, chain, minima}, scales_##name, codes_##name); \
    }                                                                                                           \
    static void tiles_##name(const md_product *m)                                                               \
    {                                                                                                           \
        MD_EACH_PANEL(m, panel_##name)                                                                          \
    }

TILES(q2_k, 84, 16, 0, 4, true)
TILES(q3_k, 110, 16, 4, 4, false)
TILES(q4_k, 144, 32, 0, 8, true)
TILES(q5_k, 176, 32, 0, 8, true)
TILES(q6_k, 210, 16, 32, 4, false)
TILES(iq4_xs, 136, 32, 0, 2, false)
TILES(tq1_0, 54, 256, 1, 8, false)
TILES(tq2_0, 66, 256, 1, 8, false)

void MD_K(tiles256_fill)(md_kern *k)
{
    k->mul_tiles[MD_TYPE_Q2_K] = tiles_q2_k;
    k->mul_tiles[MD_TYPE_Q3_K] = tiles_q3_k;
    k->mul_tiles[MD_TYPE_Q4_K] = tiles_q4_k;
    k->mul_tiles[MD_TYPE_Q5_K] = tiles_q5_k;
    k->mul_tiles[MD_TYPE_Q6_K] = tiles_q6_k;
    k->mul_tiles[MD_TYPE_IQ4_XS] = tiles_iq4_xs;
    k->mul_tiles[MD_TYPE_TQ1_0] = tiles_tq1_0;
    k->mul_tiles[MD_TYPE_TQ2_0] = tiles_tq2_0;
}
