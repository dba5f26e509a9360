/* SPDX-License-Identifier: Apache-2.0
 *
 * The types of Q32 as their tiles hold them: how a group of 32 columns of eight rows becomes eight quads of codes, and its
 * scales. `block` points at a block of the tile: the eight heads, then the words (dtype/tile.h). Every function takes its type
 * as a constant and leaves nothing of the choice in the code. Codes come unsigned, plus their type's offset, but
 * those of eight bits: signed where there is no VNNI. */
#ifndef MD_KERN_X86_TILES32_UNPACK_H
#define MD_KERN_X86_TILES32_UNPACK_H

#include "dtype/expand_base.h"
#include "kern/x86/dot.h"

/* How a type multiplies. */
typedef struct kind32 {
    int bytes;  /* of a block of eight rows */
    int groups; /* of 32 columns in a block */
    int offset; /* that sums begin with minus offset * sum of activation codes, so that 16 bits hold them at the end */
    int add_back; /* the offset is none of the type's: it is added again where a sum has 32 bits */
    int has_sign; /* codes are signed and need all eight bits */
    int halves;   /* each 16 columns have their own scale */
    int minima;
    int few; /* most tokens for which unpacking into registers, for each four again, beats unpacking into memory once */
} kind32;

MD_INLINE kind32 kind32_of(md_type type)
{
    const int off5 = MD_VNNI ? 0 : 16, off8 = MD_VNNI ? 128 : 0, sign = !MD_VNNI, easy = MD_VNNI ? 16 : 8;
    switch (type) {
    case MD_TYPE_Q4_0: return (kind32){.bytes = 144, .groups = 1, .offset = 8, .few = easy};
    case MD_TYPE_Q4_1: return (kind32){.bytes = 160, .groups = 1, .minima = 1, .few = easy};
    case MD_TYPE_Q5_0: return (kind32){.bytes = 176, .groups = 1, .offset = 16, .few = 4};
    case MD_TYPE_Q5_1:
        return (kind32){.bytes = 192, .groups = 1, .offset = off5, .add_back = sign, .minima = 1, .few = 4};
    case MD_TYPE_Q8_0: return (kind32){.bytes = 272, .groups = 1, .offset = off8, .has_sign = sign, .few = easy};
    case MD_TYPE_IQ4_NL:
        return (kind32){.bytes = 144, .groups = 1, .offset = off8, .has_sign = sign, .few = sign ? 4 : easy};
    case MD_TYPE_MXFP4: return (kind32){.bytes = 136, .groups = 1, .offset = 12, .few = easy};
    case MD_TYPE_NVFP4: return (kind32){.bytes = 288, .groups = 2, .offset = 12, .halves = 1, .few = 4};
    case MD_TYPE_Q1_0: return (kind32){.bytes = 144, .groups = 4, .offset = 1, .few = 4};
    default: return (kind32){.bytes = 144, .groups = 2, .offset = 1, .few = 4}; /* Q2_0 */
    }
}

/* ---- codes, two quads a step ---- */

/* Which quads step 0-3 of a group gives. */
MD_INLINE int quad_of(md_type type, int step, int i)
{
    switch (type) {
    case MD_TYPE_Q8_0:
    case MD_TYPE_Q1_0: return 2 * step + i;
    case MD_TYPE_NVFP4:
    case MD_TYPE_Q2_0: return 4 * (step / 2) + step % 2 + 2 * i;
    default: return step + 4 * i;
    }
}

MD_INLINE void nibbles(__m256i v, __m256i w[2])
{
    w[0] = md_low_nibbles(v);
    w[1] = md_high_nibbles(v);
}

MD_INLINE void nibble_values(__m256i v, const void *table16, __m256i w[2])
{
    w[0] = md_lookup(table16, md_low_nibbles(v));
    w[1] = md_lookup(table16, md_high_nibbles(v));
}

/* The same four bytes for every lane, as indices for a shuffle: `bytes` are places in the lane, or 0x80 for a zero. */
MD_INLINE __m256i lane_bytes(uint32_t bytes)
{
    const __m256i lane = _mm256_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0, 0x04040404, 0x08080808,
                                           0x0c0c0c0c);
    return _mm256_or_si256(_mm256_set1_epi32((int32_t)bytes), lane);
}

/* Nibbles with the fifth bits of their columns, one word of 32 a row, as 16s on top. A product with two powers of two moves two
 * of four bits to where they belong: bits 0 and 1 to 4 and 12, in the upper half of a lane bits 2 and 3. */
MD_INLINE void five_bits(__m256i v, __m256i bits, int step, __m256i w[2])
{
    const __m256i move = _mm256_set1_epi32((1 << 4 | 1 << 11) | (1 << 2 | 1 << 9) << 16);
    const __m256i fours = step % 2 ? md_high_nibbles(bits) : md_low_nibbles(bits);
    nibbles(v, w);
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        const __m256i four = _mm256_shuffle_epi8(fours, lane_bytes(0x80008000u + 0x00010001u * (step / 2u + 2u * i)));
        w[i] = _mm256_or_si256(w[i], _mm256_and_si256(_mm256_mullo_epi16(four, move), _mm256_set1_epi8(16)));
    }
}

/* Bits of 32 columns, one word a row: 2 where set. */
MD_INLINE void one_bit(__m256i bits, int step, __m256i w[2])
{
    const __m256i bytes = _mm256_shuffle_epi8(bits, lane_bytes(0x01010101u * (unsigned)step));
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        const __m256i mask = _mm256_set1_epi32(i ? (int32_t)0x80402010u : 0x08040201);
        w[i] = _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(bytes, mask), mask), _mm256_set1_epi8(2));
    }
}

/* Pairs of bits of 16 columns, a word a row: byte b holds quad b, and an odd step takes odd bytes. First their nibbles, then a
 * look-up that moves the even columns' bits 0-1 and the odd columns' bits 2-3 to the bottom. */
MD_INLINE void two_bits(__m256i v, int odd, __m256i w[2])
{
    const __m256i down = _mm256_setr_epi8(0, 1, 2, 3, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 1, 2, 3, 1, 0, 0, 0, 2, 0,
                                          0, 0, 3, 0, 0, 0);
    const __m256i even = odd ? _mm256_srli_epi16(v, 8) : v;
    const __m256i high = odd ? _mm256_srli_epi16(v, 4) : _mm256_slli_epi16(v, 4);
    const __m256i both = _mm256_blendv_epi8(high, even, _mm256_set1_epi16(0x00ff));
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        const __m256i bytes = _mm256_shuffle_epi8(both, lane_bytes(i ? 0x03030202u : 0x01010000u));
        w[i] = _mm256_shuffle_epi8(down, _mm256_and_si256(bytes, _mm256_set1_epi32(0x0c030c03)));
    }
}

MD_INLINE __m256i eight_bits(const uint8_t *word)
{
    return MD_VNNI ? _mm256_xor_si256(md_vec(word), _mm256_set1_epi8(-128)) : md_vec(word);
}

static const uint8_t iq4_plus_128[16] = {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};
static const uint8_t e2m1_plus_12[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

/* Quads quad_of(type, step, 0) and (.., 1) of a group of the block. */
MD_INLINE void unpack_codes(md_type type, const uint8_t *block, int group, int step, __m256i w[2])
{
    const uint8_t *word = block + 32 * step;
    switch (type) {
    case MD_TYPE_Q4_0: nibbles(md_vec(word + 16), w); break;
    case MD_TYPE_Q4_1: nibbles(md_vec(word + 32), w); break;
    case MD_TYPE_Q5_0: five_bits(md_vec(word + 48), md_vec(block + 16), step, w); break;
    case MD_TYPE_Q5_1: five_bits(md_vec(word + 64), md_vec(block + 32), step, w); break;
    case MD_TYPE_Q8_0:
        w[0] = eight_bits(word + 16 + 32 * step);
        w[1] = eight_bits(word + 48 + 32 * step);
        break;
    case MD_TYPE_IQ4_NL:
        nibble_values(md_vec(word + 16), MD_VNNI ? (const void *)iq4_plus_128 : md_iq4_values, w);
        break;
    case MD_TYPE_MXFP4: nibble_values(md_vec(word + 8), e2m1_plus_12, w); break;
    case MD_TYPE_NVFP4: nibble_values(md_vec(word + 32 + 128 * group), e2m1_plus_12, w); break;
    case MD_TYPE_Q1_0: one_bit(md_vec(block + 16 + 32 * group), step, w); break;
    default: two_bits(md_vec(block + 16 + 64 * group + 32 * (step / 2)), step % 2, w); break; /* Q2_0 */
    }
}

/* ---- scales ---- */

/* md_e8m0_half of eight bytes. */
MD_INLINE __m256 e8m0_halves(const uint8_t *p)
{
    const __m256i e = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i_u *)p));
    const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    const __m256i subnormal = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
    const __m256i small = _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e);
    return _mm256_castsi256_ps(_mm256_blendv_epi8(normal, subnormal, small));
}

/* Lanes hold two halves each: the low ones and the high ones. */
MD_INLINE void half_pairs(__m256i v, __m256 *low, __m256 *high)
{
    const __m256i lows = _mm256_and_si256(v, _mm256_set1_epi32(0xffff)), highs = _mm256_srli_epi32(v, 16);
    const __m256i both = _mm256_permute4x64_epi64(_mm256_packus_epi32(lows, highs), 0xd8);
    *low = _mm256_cvtph_ps(_mm256_castsi256_si128(both));
    *high = _mm256_cvtph_ps(_mm256_extracti128_si256(both, 1));
}

/* md_e4m3_half of bytes 2 * group and 2 * group + 1 of every lane: as halves they lack a factor of 2^8. */
MD_INLINE void e4m3_halves(__m256i scales, int group, __m256 d[2])
{
    const __m256i x = _mm256_shuffle_epi8(scales, lane_bytes(group ? 0x80038002u : 0x80018000u));
    const __m256i nan = _mm256_cmpeq_epi16(x, _mm256_set1_epi16(0x7f));
    const __m256i number = _mm256_andnot_si256(nan, _mm256_and_si256(x, _mm256_set1_epi16(0x7f)));
    half_pairs(_mm256_slli_epi16(number, 7), &d[0], &d[1]);
    d[0] = _mm256_mul_ps(d[0], _mm256_set1_ps(0x1p7f));
    d[1] = _mm256_mul_ps(d[1], _mm256_set1_ps(0x1p7f));
}

/* d[1] is set for types with halves only, *m for types with minima only. */
MD_INLINE void unpack_scales(md_type type, const uint8_t *block, int group, __m256 d[2], __m256 *m)
{
    switch (type) {
    case MD_TYPE_Q4_1:
    case MD_TYPE_Q5_1: half_pairs(md_vec(block), &d[0], m); break;
    case MD_TYPE_MXFP4: d[0] = e8m0_halves(block); break;
    case MD_TYPE_NVFP4: e4m3_halves(md_vec(block), group, d); break;
    default: d[0] = md_halves(block); break;
    }
}

#endif
