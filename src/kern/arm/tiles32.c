/* SPDX-License-Identifier: Apache-2.0
 *
 * Products of tiles of the types whose activations come in groups of 32 (docs/numerics.md, section 4). A type is one function
 * that takes the codes and scales of 32 columns of the eight rows out of the tile; what is constant in its codes (q - 8) is
 * left to the sums of the activations' codes, so codes may be stored ones. */
#include "kern/arm/tiles.h"

#include "dtype/expand_base.h"

/* 32 columns of a tile. */
typedef struct group {
    md_codes code;
    float32x4_t d[2][2]; /* [which 16 columns][half]; the first alone but for NVFP4 */
    float32x4_t m[2];
} group;

/* What a type is to the loop below; constants once inlined. */
typedef struct kind {
    int bytes, groups; /* of a block of one row: bytes, groups of 32 */
    int offset;        /* what the codes are too large by */
    int chain;         /* md_dot_quads */
    bool minima, halves;
} kind;

typedef void group_fn(const uint8_t *block, int g, group *x);

MD_INLINE void add_group(const group *x, kind k, const md_act *a, int64_t at, float32x4_t acc[2])
{
    const float scale = a->scale[at];
    const int8_t *code = a->code + at * 32;
    const int32_t start = k.offset ? -k.offset * a->isum[at] : 0;
    for (int part = 0; part < (k.halves ? 2 : 1); part++) {
        int32x4_t sum[2] = {vdupq_n_s32(start), vdupq_n_s32(start)};
        if (k.halves)
            md_dot_quads(x->code.quad + 4 * part, 4, 4, code + 16 * part, sum);
        else
            md_dot_quads(x->code.quad, 8, k.chain, code, sum);
        for (int h = 0; h < 2; h++)
            acc[h] = vfmaq_f32(acc[h], vmulq_n_f32(x->d[part][h], scale), vcvtq_f32_s32(sum[h]));
    }
    for (int h = 0; k.minima && h < 2; h++)
        acc[h] = vfmaq_n_f32(acc[h], x->m[h], a->sum32[at]);
}

MD_INLINE void panel32(const md_product *m, const uint8_t *tile, int64_t r, int64_t t, int n, kind k, group_fn *load)
{
    const int64_t n_groups = m->act->k / 32;
    int64_t row[MD_PANEL];
    float32x4_t acc[MD_PANEL][2];
    for (int i = 0; i < n; i++) {
        row[i] = md_act_row(m, t + i) * n_groups;
        acc[i][0] = acc[i][1] = vdupq_n_f32(0.0f);
    }
    for (int64_t g = 0; g < n_groups; g++) {
        group x;
        load(tile + g / k.groups * MD_TILE_ROWS * k.bytes, (int)(g % k.groups), &x);
        for (int i = 0; i < n; i++)
            add_group(&x, k, m->act, row[i] + g, acc[i]);
    }
    for (int i = 0; i < n; i++)
        md_store_rows(m, t + i, r, acc[i]);
}

/* ---- the types ---- */

MD_INLINE void head_scales(const uint8_t *block, group *x)
{
    for (int h = 0; h < 2; h++)
        x->d[0][h] = md_head_halves(block, h);
}

/* Word 0: scale and minimum. */
MD_INLINE void word_scales(const uint8_t *words, group *x)
{
    for (int h = 0; h < 2; h++) {
        x->d[0][h] = md_low_half(md_word32(words, 0, h));
        x->m[h] = md_high_half(md_word32(words, 0, h));
    }
}

/* Four words: low nibbles are columns 0-15, high nibbles columns 16-31. */
MD_INLINE void nibbles(const uint8_t *words, group *x)
{
    for (int w = 0; w < 4; w++)
        for (int h = 0; h < 2; h++) {
            const uint8x16_t packed = md_word(words, w, h);
            x->code.quad[w][h] = md_low_nibbles(packed);
            x->code.quad[4 + w][h] = md_high_nibbles(packed);
        }
}

/* Nibbles that are places in a table. */
MD_INLINE void looked_up(const uint8_t *words, const int8_t table[16], group *x)
{
    const int8x16_t values = vld1q_s8(table);
    nibbles(words, x);
    for (int q = 0; q < 8; q++)
        for (int h = 0; h < 2; h++)
            x->code.quad[q][h] = vqtbl1q_s8(values, vreinterpretq_u8_s8(x->code.quad[q][h]));
}

/* One word of fifth bits, then nibbles. */
MD_INLINE void five_bits(const uint8_t *words, group *x)
{
    nibbles(words + 32, x);
    for (int h = 0; h < 2; h++) {
        const uint8x16_t high = md_word(words, 0, h);
        for (int q = 0; q < 8; q++) {
            const uint8x16_t bit = vandq_u8(md_spread_bits(high, q), vdupq_n_u8(16));
            x->code.quad[q][h] = vorrq_s8(x->code.quad[q][h], vreinterpretq_s8_u8(bit));
        }
    }
}

MD_INLINE void load_q4_0(const uint8_t *block, int g, group *x)
{
    (void)g;
    head_scales(block, x);
    nibbles(block + 16, x);
}

MD_INLINE void load_q4_1(const uint8_t *block, int g, group *x)
{
    (void)g;
    word_scales(block, x);
    nibbles(block + 32, x);
}

MD_INLINE void load_q5_0(const uint8_t *block, int g, group *x)
{
    (void)g;
    head_scales(block, x);
    five_bits(block + 16, x);
}

MD_INLINE void load_q5_1(const uint8_t *block, int g, group *x)
{
    (void)g;
    word_scales(block, x);
    five_bits(block + 32, x);
}

MD_INLINE void load_q8_0(const uint8_t *block, int g, group *x)
{
    (void)g;
    head_scales(block, x);
    for (int q = 0; q < 8; q++)
        for (int h = 0; h < 2; h++)
            x->code.quad[q][h] = vreinterpretq_s8_u8(md_word(block + 16, q, h));
}

MD_INLINE void load_iq4_nl(const uint8_t *block, int g, group *x)
{
    (void)g;
    head_scales(block, x);
    looked_up(block + 16, md_iq4_values, x);
}

/* Heads of one byte: 2^(e - 128), the two smallest of which are subnormal. */
MD_INLINE void load_mxfp4(const uint8_t *block, int g, group *x)
{
    (void)g;
    const uint16x8_t e = vmovl_u8(vld1_u8(block));
    for (int h = 0; h < 2; h++) {
        const uint32x4_t wide = vmovl_u16(h == 0 ? vget_low_u16(e) : vget_high_u16(e));
        const uint32x4_t small = vshlq_u32(vdupq_n_u32(0x00200000), vreinterpretq_s32_u32(wide));
        const uint32x4_t normal = vshlq_n_u32(vsubq_u32(wide, vdupq_n_u32(1)), 23);
        x->d[0][h] = vreinterpretq_f32_u32(vbslq_u32(vcltq_u32(wide, vdupq_n_u32(2)), small, normal));
    }
    looked_up(block + 8, md_e2m1_values, x);
}

/* Byte n of each lane as half of an E4M3 number without sign, 0x7f standing for 0 (dtype/expand_legacy.h). */
MD_INLINE float32x4_t e4m3_halves(uint32x4_t word, int n)
{
    const uint32x4_t byte = vreinterpretq_u32_s32(md_lane_byte(word, n));
    const uint32x4_t number = vbicq_u32(vandq_u32(byte, vdupq_n_u32(0x7f)), vceqq_u32(byte, vdupq_n_u32(0x7f)));
    const float16x4_t half = vreinterpret_f16_u16(vmovn_u32(vshlq_n_u32(number, 7)));
    return vmulq_n_f32(vcvt_f32_f16(half), 0x1p7f);
}

/* Word 0: the scales of four 16s. Two words make 16 columns: low nibbles 0-7, high nibbles 8-15. */
MD_INLINE void load_nvfp4(const uint8_t *block, int g, group *x)
{
    const int8x16_t values = vld1q_s8(md_e2m1_values);
    for (int h = 0; h < 2; h++) {
        for (int part = 0; part < 2; part++)
            x->d[part][h] = e4m3_halves(md_word32(block, 0, h), 2 * g + part);
        for (int w = 0; w < 4; w++) {
            const uint8x16_t packed = md_word(block + 32, 4 * g + w, h);
            const int q = w / 2 * 4 + w % 2;
            x->code.quad[q][h] = vqtbl1q_s8(values, vreinterpretq_u8_s8(md_low_nibbles(packed)));
            x->code.quad[q + 2][h] = vqtbl1q_s8(values, vreinterpretq_u8_s8(md_high_nibbles(packed)));
        }
    }
}

/* A bit a column: 1 where it is set, else -1. */
MD_INLINE void load_q1_0(const uint8_t *block, int g, group *x)
{
    head_scales(block, x);
    for (int h = 0; h < 2; h++) {
        const uint8x16_t bits = md_word(block + 16, g, h);
        for (int q = 0; q < 8; q++)
            x->code.quad[q][h] = vreinterpretq_s8_u8(vornq_u8(vdupq_n_u8(1), md_spread_bits(bits, q)));
    }
}

/* Two bits a column, four columns a byte. */
MD_INLINE void load_q2_0(const uint8_t *block, int g, group *x)
{
    static const int8_t down[16] = {0, -2, -4, -6, 0, -2, -4, -6, 0, -2, -4, -6, 0, -2, -4, -6};
    const int8x16_t shift = vld1q_s8(down);
    head_scales(block, x);
    for (int q = 0; q < 8; q++)
        for (int h = 0; h < 2; h++) {
            const uint8x16_t pairs = md_spread_byte(md_word(block + 16, 2 * g + q / 4, h), q % 4);
            x->code.quad[q][h] = vreinterpretq_s8_u8(vandq_u8(vshlq_u8(pairs, shift), vdupq_n_u8(3)));
        }
}

/* ---- one row a type ---- */

#define TILES(name, bytes, groups, offset, chain, minima, halves)                                      \
    MD_INLINE void panel_##name(const md_product *m, const uint8_t *tile, int64_t r, int64_t t, int n) \
    {                                                                                                  \
        panel32(m, tile, r, t, n, (kind){bytes, groups, offset, chain, minima, halves}, load_##name);  \
    }                                                                                                  \
    static void tiles_##name(const md_product *m)                                                      \
    {                                                                                                  \
        MD_EACH_PANEL(m, panel_##name)                                                                 \
    }

TILES(q4_0, 18, 1, 8, 8, false, false)
TILES(q4_1, 20, 1, 0, 8, true, false)
TILES(q5_0, 22, 1, 16, 8, false, false)
TILES(q5_1, 24, 1, 0, 8, true, false)
TILES(q8_0, 34, 1, 0, 2, false, false)
TILES(iq4_nl, 18, 1, 0, 2, false, false)
TILES(mxfp4, 17, 1, 0, 8, false, false)
TILES(nvfp4, 36, 2, 0, 4, false, true)
TILES(q1_0, 18, 4, 0, 8, false, false)
TILES(q2_0, 18, 2, 1, 8, false, false)

void MD_K(tiles32_fill)(md_kern *k)
{
    k->mul_tiles[MD_TYPE_Q4_0] = tiles_q4_0;
    k->mul_tiles[MD_TYPE_Q4_1] = tiles_q4_1;
    k->mul_tiles[MD_TYPE_Q5_0] = tiles_q5_0;
    k->mul_tiles[MD_TYPE_Q5_1] = tiles_q5_1;
    k->mul_tiles[MD_TYPE_Q8_0] = tiles_q8_0;
    k->mul_tiles[MD_TYPE_IQ4_NL] = tiles_iq4_nl;
    k->mul_tiles[MD_TYPE_MXFP4] = tiles_mxfp4;
    k->mul_tiles[MD_TYPE_NVFP4] = tiles_nvfp4;
    k->mul_tiles[MD_TYPE_Q1_0] = tiles_q1_0;
    k->mul_tiles[MD_TYPE_Q2_0] = tiles_q2_0;
}
