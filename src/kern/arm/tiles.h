/* SPDX-License-Identifier: Apache-2.0
 *
 * What the products of tiles share. A tile's word of 32 bytes, four bytes for each of eight rows, is two vectors, and a 32-bit
 * lane of a vector belongs to one row: lanes are rows from the bytes of the tile to the sums. Four columns of the eight rows
 * are a quad; half 0 of it are rows 0 to 3, half 1 rows 4 to 7. Types take their codes apart in this form, so nothing is ever
 * turned round. Everything here is inline: trip counts and kinds are constants once inlined. */
#ifndef MD_KERN_ARM_TILES_H
#define MD_KERN_ARM_TILES_H

#include "kern/arm/arm.h"

#define MD_INLINE static inline __attribute__((always_inline))

/* Rows of activations that go through a tile together. */
#define MD_PANEL 4

/* Codes of 32 columns: quads of two halves. */
typedef struct md_codes {
    int8x16_t quad[8][2];
} md_codes;

/* ---- the words of a tile's block ---- */

/* Half h of word w; words points behind the block's heads. */
MD_INLINE uint8x16_t md_word(const uint8_t *words, int w, int h)
{
    return vld1q_u8(words + 32 * w + 16 * h);
}

MD_INLINE uint32x4_t md_word32(const uint8_t *words, int w, int h)
{
    return vreinterpretq_u32_u8(md_word(words, w, h));
}

/* The half-precision scales of four rows, which are a block's heads. */
MD_INLINE float32x4_t md_head_halves(const uint8_t *block, int h)
{
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(block + 8 * h)));
}

/* The half-precision numbers in the low, or high, 16 bits of each lane. */
MD_INLINE float32x4_t md_low_half(uint32x4_t word)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vmovn_u32(word)));
}

MD_INLINE float32x4_t md_high_half(uint32x4_t word)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vshrn_n_u32(word, 16)));
}

/* ---- taking bytes apart ---- */

MD_INLINE int8x16_t md_low_nibbles(uint8x16_t x)
{
    return vreinterpretq_s8_u8(vandq_u8(x, vdupq_n_u8(15)));
}

MD_INLINE int8x16_t md_high_nibbles(uint8x16_t x)
{
    return vreinterpretq_s8_u8(vshrq_n_u8(x, 4));
}

/* Every byte shifted right by n, which need not be a constant, and cut to a mask. */
MD_INLINE uint8x16_t md_field(uint8x16_t x, int n, uint8_t mask)
{
    return vandq_u8(vshlq_u8(x, vdupq_n_s8((int8_t)-n)), vdupq_n_u8(mask));
}

/* Byte n of every lane as a number. */
MD_INLINE int32x4_t md_lane_byte(uint32x4_t word, int n)
{
    return vreinterpretq_s32_u32(vandq_u32(vshlq_u32(word, vdupq_n_s32(-8 * n)), vdupq_n_u32(255)));
}

/* Byte n of every lane, four times. */
MD_INLINE uint8x16_t md_spread_byte(uint8x16_t word, int n)
{
    static const uint8_t first[16] = {0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12};
    return vqtbl1q_u8(word, vaddq_u8(vld1q_u8(first), vdupq_n_u8((uint8_t)n)));
}

/* Bits 4q to 4q + 3 of every lane, each as a byte: all ones where it is set. */
MD_INLINE uint8x16_t md_spread_bits(uint8x16_t word, int q)
{
    static const uint8_t bit[2][16] = {{1, 2, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8},
                                       {16, 32, 64, 128, 16, 32, 64, 128, 16, 32, 64, 128, 16, 32, 64, 128}};
    return vtstq_u8(md_spread_byte(word, q / 2), vld1q_u8(bit[q % 2]));
}

/* ---- sums of products ---- */

#if !MD_DOT
/* Four codes of activations in every lane. */
MD_INLINE int8x16_t md_activations(const int8_t *a)
{
    int32_t word;
    memcpy(&word, a, sizeof word);
    return vreinterpretq_s8_s32(vdupq_n_s32(word));
}
#endif

/* sum[h] += the products of n quads of codes with the activations' codes a. The widening multiplications add `chain` products
 * in 16 bits: 8 for codes of at most 32 in size, 4 for 64, 2 for 128, as activations are at most 127 (32 * 127 * 8 = 32512). */
MD_INLINE void md_dot_quads(const int8x16_t quad[][2], int n, int chain, const int8_t *a, int32x4_t sum[2])
{
#if MD_DOT
    (void)chain;
    for (int q = 0; q < n; q += 4) {
        const int8x16_t x = vld1q_s8(a + 4 * q);
        for (int h = 0; h < 2; h++) {
            sum[h] = vdotq_laneq_s32(sum[h], quad[q][h], x, 0);
            sum[h] = vdotq_laneq_s32(sum[h], quad[q + 1][h], x, 1);
            sum[h] = vdotq_laneq_s32(sum[h], quad[q + 2][h], x, 2);
            sum[h] = vdotq_laneq_s32(sum[h], quad[q + 3][h], x, 3);
        }
    }
#else
    for (int h = 0; h < 2; h++) {
        int32x4_t low = vdupq_n_s32(0), high = low; /* two lanes a row: rows 0 and 1, rows 2 and 3 of the half */
        for (int q = 0; q < n; q += chain) {
            const int8x16_t x = md_activations(a + 4 * q);
            int16x8_t l = vmull_s8(vget_low_s8(quad[q][h]), vget_low_s8(x)), u = vmull_high_s8(quad[q][h], x);
            for (int i = 1; i < chain; i++) {
                const int8x16_t y = md_activations(a + 4 * (q + i));
                l = vmlal_s8(l, vget_low_s8(quad[q + i][h]), vget_low_s8(y));
                u = vmlal_high_s8(u, quad[q + i][h], y);
            }
            low = vpadalq_s16(low, l);
            high = vpadalq_s16(high, u);
        }
        sum[h] = vaddq_s32(sum[h], vpaddq_s32(low, high));
    }
#endif
}

/* ---- which rows ---- */

MD_INLINE int64_t md_act_row(const md_product *m, int64_t t)
{
    return m->rows ? m->rows[t] : t;
}

MD_INLINE const uint8_t *md_tile_at(const md_product *m, int64_t row)
{
    return (const uint8_t *)m->w + (size_t)row * m->row_bytes;
}

MD_INLINE void md_store_rows(const md_product *m, int64_t t, int64_t row, const float32x4_t acc[2])
{
    float *out = m->out + t * m->ld_out + row;
    vst1q_f32(out, acc[0]);
    vst1q_f32(out + 4, acc[1]);
}

/* Sends a product's rows of activations through each of its tiles, MD_PANEL together, what is left one by one. `panel` is
 * called with the tile, its first row, the first row of activations and how many: a constant. */
#define MD_EACH_PANEL(m, panel)                                      \
    for (int64_t r = (m)->first; r < (m)->last; r += MD_TILE_ROWS) { \
        const uint8_t *tile = md_tile_at(m, r);                      \
        int64_t t = 0;                                               \
        for (; t + MD_PANEL <= (m)->n_rows; t += MD_PANEL)           \
            panel(m, tile, r, t, MD_PANEL);                          \
        for (; t < (m)->n_rows; t++)                                 \
            panel(m, tile, r, t, 1);                                 \
    }

#endif
