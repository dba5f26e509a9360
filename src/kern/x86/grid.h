/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks of the codebook types (IQ1, IQ2, IQ3) as vectors of codes: what the products with few and with many tokens share.
 *
 * A block of 256 weights has 32 units of 8 weights: one codebook entry (two in IQ3) and eight signs each. A quarter of a block
 * (64 columns) becomes two vectors of 32 bytes; vector j holds the units j, j + 4, j + 2, j + 6 of the quarter, so that a 64-bit
 * lane belongs to one group of 16 columns, the two vectors add up in 16 bits, and one madd multiplies by the sub-scales.
 * md_grid_order lays activation codes out alike.
 *
 * IQ2, IQ3: unsigned magnitudes (at most 43 and 62), signs apart. IQ1: entry + 9 + shift, in 0..18, no signs; the 9 is taken off
 * with the sums of the activation codes. Indices have no more bits than their codebook, whatever the block holds. */
#ifndef MD_KERN_X86_GRID_H
#define MD_KERN_X86_GRID_H

#include "dtype/blocks.h"
#include "dtype/grids.h"
#include "kern/x86/dot.h"

/* In front of a loop with a small constant number of rounds, whose arrays shall live in registers. */
#if defined(__clang__)
#define MD_UNROLL _Pragma("clang loop unroll(full)")
#else
#define MD_UNROLL _Pragma("GCC unroll 8")
#endif

/* Rows of weights that share a chain of float steps, one in each lane. */
#define MD_GRID_ROWS 8

/* The sign of each weight of a vector: a byte of ones for minus, or with AVX-512 a bit. */
#if defined(__AVX512VL__)
typedef __mmask32 md_signs;
#else
typedef __m256i md_signs;
#endif

/* What a block stores beside its indices, unpacked. */
typedef struct md_grid_head {
    __m256i sub; /* sub-scales of the 16 groups, bytes, in both halves */
    uint16_t index
        [64]; /* of each unit (IQ3: 2 a unit), in the order of columns; where bytes of the block do not say it all */
    uint8_t signs[32]; /* a bit per weight; IQ1_M: 9 + shift; for each unit in the order of the vectors */
    uint16_t d;        /* a half */
} md_grid_head;

MD_INLINE bool md_grid_is_iq1(md_type t)
{
    return t == MD_TYPE_IQ1_S || t == MD_TYPE_IQ1_M;
}

/* Words of codebook that are 4 bytes: see md_grid_table. */
MD_INLINE bool md_grid_is_iq3(md_type t)
{
    return t == MD_TYPE_IQ3_XXS || t == MD_TYPE_IQ3_S;
}

/* ---- pieces of the formats ---- */

/* Units in the order of columns to the order of the vectors, within each 8 bytes. */
MD_INLINE __m256i md_grid_unit_order(__m256i v)
{
    return _mm256_shuffle_epi8(
        v, _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 2, 6, 1, 5, 3, 7, 8, 12, 10, 14, 9, 13, 11, 15)));
}

/* Bytes of 7 signs to bytes of 8: the eighth makes the number of set bits even. */
MD_INLINE __m256i md_grid_even(__m256i v)
{
    const __m256i odd = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, -128, -128, 0, -128, 0, 0, -128, -128, 0, 0, -128, 0, -128, -128, 0));
    return _mm256_or_si256(v, _mm256_shuffle_epi8(odd, md_low_nibbles(_mm256_xor_si256(v, _mm256_srli_epi16(v, 4)))));
}

/* Four fields of `bits` bits of each 32-bit lane to its four bytes. */
MD_INLINE __m256i md_grid_spread(__m256i v, int bits)
{
    const int mask = (1 << bits) - 1;
    const __m256i a = _mm256_and_si256(v, _mm256_set1_epi32(mask));
    const __m256i b = _mm256_and_si256(_mm256_slli_epi32(v, 8 - bits), _mm256_set1_epi32(mask << 8));
    const __m256i c = _mm256_and_si256(_mm256_slli_epi32(v, 16 - 2 * bits), _mm256_set1_epi32(mask << 16));
    const __m256i d = _mm256_and_si256(_mm256_slli_epi32(v, 24 - 3 * bits), _mm256_set1_epi32(mask << 24));
    return _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d));
}

/* Eight lanes with one odd sub-scale each, to 16 bytes in both halves, each twice. */
MD_INLINE __m256i md_grid_pairs(__m256i v)
{
    const __m256i twice = _mm256_shuffle_epi8(
        v, _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 0, 4, 4, 8, 8, 12, 12, -1, -1, -1, -1, -1, -1, -1, -1)));
    return _mm256_permute4x64_epi64(twice, 0x88);
}

/* 16 nibbles s to 2 s + 1. */
MD_INLINE __m256i md_grid_nibbles(const uint8_t *scales)
{
    const __m128i v = _mm_loadl_epi64((const __m128i_u *)scales), mask = _mm_set1_epi8(15);
    const __m128i s = _mm_unpacklo_epi8(_mm_and_si128(v, mask), _mm_and_si128(_mm_srli_epi16(v, 4), mask));
    return _mm256_broadcastsi128_si256(_mm_or_si128(_mm_add_epi8(s, s), _mm_set1_epi8(1)));
}

/* 32 low bytes and 32 high bytes to 32 indices. */
MD_INLINE void md_grid_join(uint16_t *index, const uint8_t *low, __m256i high)
{
    const __m256i l = _mm256_permute4x64_epi64(md_vec(low), 0xd8), h = _mm256_permute4x64_epi64(high, 0xd8);
    md_vec_store(index, _mm256_unpacklo_epi8(l, h));
    md_vec_store(index + 16, _mm256_unpackhi_epi8(l, h));
}

/* 32 bytes of 0 or 1 from 32 bits. */
MD_INLINE __m256i md_grid_bits(const void *p)
{
    const __m256i nth = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3,
                                         3, 3, 3, 3, 3, 3);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201);
    const __m256i v = _mm256_and_si256(_mm256_shuffle_epi8(md_quad(p), nth), bit);
    return _mm256_and_si256(_mm256_cmpeq_epi8(v, bit), _mm256_set1_epi8(1));
}

/* ---- heads ---- */

MD_INLINE uint16_t md_grid_u16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Words of four times 7 signs and a nibble s on top: signs and sub-scales 2 s + 1. */
MD_INLINE void md_grid_fields(md_grid_head *h, __m256i fields)
{
    h->sub = md_grid_pairs(_mm256_or_si256(
        _mm256_srli_epi32(_mm256_and_si256(fields, _mm256_set1_epi32((int)0xf0000000)), 27), _mm256_set1_epi32(1)));
    md_vec_store(h->signs, md_grid_unit_order(md_grid_even(md_grid_spread(fields, 7))));
}

MD_INLINE void md_grid_head_iq2_xxs(md_grid_head *h, const md_block_iq2_xxs *b)
{
    const __m256 low = _mm256_castsi256_ps(md_vec(b->qs)), high = _mm256_castsi256_ps(md_vec(b->qs[4]));
    const __m256i odd = _mm256_castps_si256(_mm256_shuffle_ps(low, high, 0xdd));
    md_grid_fields(h, _mm256_permute4x64_epi64(odd, 0xd8));
    h->d = md_grid_u16(b->d);
}

MD_INLINE void md_grid_head_iq2_xs(md_grid_head *h, const md_block_iq2_xs *b)
{
    const __m256i q0 = md_vec(b->qs), q1 = md_vec(b->qs[16]), mask = _mm256_set1_epi16(511);
    md_vec_store(h->index, _mm256_and_si256(q0, mask));
    md_vec_store(h->index + 16, _mm256_and_si256(q1, mask));
    const __m256i signs = _mm256_packus_epi16(_mm256_srli_epi16(q0, 9), _mm256_srli_epi16(q1, 9));
    md_vec_store(h->signs, md_grid_unit_order(md_grid_even(_mm256_permute4x64_epi64(signs, 0xd8))));
    h->sub = md_grid_nibbles(b->scales);
    h->d = md_grid_u16(b->d);
}

MD_INLINE void md_grid_head_iq2_s(md_grid_head *h, const md_block_iq2_s *b)
{
    const __m256i qh = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i_u *)b->qh));
    md_grid_join(h->index, b->qs, md_grid_spread(qh, 2));
    md_vec_store(h->signs, md_grid_unit_order(md_vec(b->signs)));
    h->sub = md_grid_nibbles(b->scales);
    h->d = md_grid_u16(b->d);
}

MD_INLINE void md_grid_head_iq3_xxs(md_grid_head *h, const md_block_iq3_xxs *b)
{
    md_grid_fields(h, md_vec(b->signs));
    h->d = md_grid_u16(b->d);
}

MD_INLINE void md_grid_head_iq3_s(md_grid_head *h, const md_block_iq3_s *b)
{
    md_grid_join(h->index, b->qs, md_grid_bits(b->qh));
    md_grid_join(h->index + 32, b->qs + 32, md_grid_bits(b->qh + 4));
    md_vec_store(h->signs, md_grid_unit_order(md_vec(b->signs)));
    uint32_t scales;
    memcpy(&scales, b->scales, sizeof scales);
    const __m256i nth = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
    const __m256i s = _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32((int)scales), nth), _mm256_set1_epi32(15));
    h->sub = md_grid_pairs(_mm256_or_si256(_mm256_slli_epi32(s, 1), _mm256_set1_epi32(1)));
    h->d = md_grid_u16(b->d);
}

MD_INLINE void md_grid_head_iq1_s(md_grid_head *h, const md_block_iq1_s *b)
{
    const __m256i qh = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i_u *)b->qh));
    md_grid_join(h->index, b->qs, md_grid_spread(qh, 3));
    const __m256i s = _mm256_and_si256(_mm256_srli_epi32(qh, 11), _mm256_set1_epi32(14));
    h->sub = md_grid_pairs(_mm256_or_si256(s, _mm256_set1_epi32(1)));
    /* 9 + 1, or 9 - 1 where the top bit is set, once for each of the four units. */
    const __m256i down = _mm256_slli_epi32(_mm256_srli_epi32(qh, 15), 1);
    const __m256i add = _mm256_sub_epi32(_mm256_set1_epi32(10), down);
    const __m256i units = _mm256_shuffle_epi8(
        add, _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12)));
    md_vec_store(h->signs, md_grid_unit_order(units));
    h->d = md_grid_u16(b->d);
}

MD_INLINE void md_grid_head_iq1_m(md_grid_head *h, const md_block_iq1_m *b)
{
    const __m256i qh = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i_u *)b->qh));
    const __m256i nibbles = md_low_nibbles(_mm256_or_si256(qh, _mm256_slli_epi16(qh, 4)));
    md_grid_join(h->index, b->qs, _mm256_and_si256(nibbles, _mm256_set1_epi8(7)));
    const __m256i down = _mm256_srli_epi16(_mm256_and_si256(nibbles, _mm256_set1_epi8(8)), 2);
    md_vec_store(h->signs, md_grid_unit_order(_mm256_sub_epi8(_mm256_set1_epi8(10), down)));
    uint64_t scales;
    memcpy(&scales, b->scales, sizeof scales);
    const __m256i words = _mm256_cvtepu16_epi32(_mm_loadl_epi64((const __m128i_u *)b->scales));
    const __m256i s = md_grid_spread(words, 3);
    h->sub = _mm256_broadcastsi128_si256(
        _mm256_castsi256_si128(_mm256_or_si256(_mm256_add_epi8(s, s), _mm256_set1_epi8(1))));
    h->d = (uint16_t)((scales >> 12 & 15) | (scales >> 24 & 0xf0) | (scales >> 36 & 0xf00) | (scales >> 48 & 0xf000));
}

/* type is a constant wherever these are called. */
MD_INLINE void md_grid_head_of(md_grid_head *h, md_type type, const void *block)
{
    switch (type) {
    case MD_TYPE_IQ1_S: md_grid_head_iq1_s(h, block); break;
    case MD_TYPE_IQ1_M: md_grid_head_iq1_m(h, block); break;
    case MD_TYPE_IQ2_XXS: md_grid_head_iq2_xxs(h, block); break;
    case MD_TYPE_IQ2_XS: md_grid_head_iq2_xs(h, block); break;
    case MD_TYPE_IQ2_S: md_grid_head_iq2_s(h, block); break;
    case MD_TYPE_IQ3_XXS: md_grid_head_iq3_xxs(h, block); break;
    default: md_grid_head_iq3_s(h, block); break;
    }
}

/* What the powers of two in d_w come to. */
MD_INLINE float md_grid_factor(md_type type)
{
    return type == MD_TYPE_IQ3_S ? 1.0f : type == MD_TYPE_IQ3_XXS ? 0.25f : 0.125f;
}

/* ---- codes ---- */

/* A codebook of 4-byte entries between two more words, since entries are read 8 bytes at a time. */
typedef struct md_grid_words {
    uint32_t word[1 + 512 + 1];
} md_grid_words;

/* The codebook of a type, as md_grid_codes takes it; words: room for those of IQ3. */
MD_INLINE const char *md_grid_table(md_type type, md_grid_words *words)
{
    switch (type) {
    case MD_TYPE_IQ1_S:
    case MD_TYPE_IQ1_M: return (const char *)md_grid_iq1;
    case MD_TYPE_IQ2_XXS: return (const char *)md_grid_iq2_xxs;
    case MD_TYPE_IQ2_XS: return (const char *)md_grid_iq2_xs;
    case MD_TYPE_IQ2_S: return (const char *)md_grid_iq2_s;
    case MD_TYPE_IQ3_XXS: memcpy(words->word + 1, md_grid_iq3_xxs, sizeof md_grid_iq3_xxs); break;
    default: memcpy(words->word + 1, md_grid_iq3_s, sizeof md_grid_iq3_s); break;
    }
    words->word[0] = words->word[type == MD_TYPE_IQ3_S ? 513 : 257] = 0;
    return (const char *)(words->word + 1);
}

/* Index i of a block: of unit i, or in IQ3 of half a unit. */
MD_INLINE size_t md_grid_index(md_type type, const void *block, const md_grid_head *h, int i)
{
    if (type == MD_TYPE_IQ2_XXS)
        return ((const md_block_iq2_xxs *)block)->qs[i / 4][i % 4];
    if (type == MD_TYPE_IQ3_XXS)
        return ((const md_block_iq3_xxs *)block)->qs[i];
    return h->index[i];
}

/* Two 8-byte words from two places. */
MD_INLINE __m128i md_grid_two(const char *a, const char *b)
{
    const __m128 low = _mm_castsi128_ps(_mm_loadl_epi64((const __m128i_u *)a));
    return _mm_castps_si128(_mm_loadh_pi(low, (const __m64 *)b));
}

/* Two units of an IQ3 type: words 0 and 2 of a unit's entry come from the first load, 1 and 3 from the second, which begins 4
 * bytes early. */
MD_INLINE __m128i md_grid_two_iq3(md_type type, const char *table, const void *block, const md_grid_head *h, int u,
                                  int v)
{
    const __m128i even = md_grid_two(table + 4 * md_grid_index(type, block, h, 2 * u),
                                     table + 4 * md_grid_index(type, block, h, 2 * v));
    const __m128i odd = md_grid_two(table - 4 + 4 * md_grid_index(type, block, h, 2 * u + 1),
                                    table - 4 + 4 * md_grid_index(type, block, h, 2 * v + 1));
    return _mm_blend_epi32(even, odd, 10);
}

/* Codebook entries of vector j of quarter q. */
MD_INLINE __m256i md_grid_codes(md_type type, const char *table, const void *block, const md_grid_head *h, int q, int j)
{
    const int u = 8 * q + j;
    __m128i low, high;
    if (md_grid_is_iq3(type)) {
        low = md_grid_two_iq3(type, table, block, h, u, u + 4);
        high = md_grid_two_iq3(type, table, block, h, u + 2, u + 6);
    } else {
        low = md_grid_two(table + 8 * md_grid_index(type, block, h, u),
                          table + 8 * md_grid_index(type, block, h, u + 4));
        high = md_grid_two(table + 8 * md_grid_index(type, block, h, u + 2),
                           table + 8 * md_grid_index(type, block, h, u + 6));
    }
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

/* Bytes of `units` (8, of quarter q), those of vector j, each to the 8 bytes of its lane. */
MD_INLINE __m256i md_grid_replicate(const uint8_t *units, int q, int j)
{
    long long eight;
    memcpy(&eight, units + 8 * q, sizeof eight);
    const int first = 4 * j * 0x01010101;
    const __m256i nth = _mm256_setr_epi32(first, first, first + 0x01010101, first + 0x01010101, first + 0x02020202,
                                          first + 0x02020202, first + 0x03030303, first + 0x03030303);
    return _mm256_shuffle_epi8(_mm256_set1_epi64x(eight), nth);
}

/* Where `bits` has the bit of `bit`, of which a byte has one. */
MD_INLINE md_signs md_grid_sign_bits(__m256i bits, __m256i bit)
{
#if defined(__AVX512VL__)
    return _mm256_test_epi8_mask(bits, bit);
#else
    return _mm256_cmpeq_epi8(_mm256_and_si256(bits, bit), bit);
#endif
}

MD_INLINE md_signs md_grid_signs(const md_grid_head *h, int q, int j)
{
#if defined(__AVX512VL__)
    uint32_t signs;
    memcpy(&signs, h->signs + 8 * q + 4 * j, sizeof signs);
    return signs;
#else
    return md_grid_sign_bits(md_grid_replicate(h->signs, q, j), _mm256_set1_epi64x((long long)0x8040201008040201));
#endif
}

/* v, negated where the signs say so. */
MD_INLINE __m256i md_grid_negate(__m256i v, md_signs signs)
{
#if defined(__AVX512VL__)
    return _mm256_mask_sub_epi8(v, signs, _mm256_setzero_si256(), v);
#else
    return _mm256_sub_epi8(_mm256_xor_si256(v, signs), signs);
#endif
}

/* IQ1: entry + 9 + shift of vector j of quarter q. */
MD_INLINE __m256i md_grid_shifted(__m256i codes, const md_grid_head *h, int q, int j)
{
    return _mm256_add_epi8(codes, md_grid_replicate(h->signs, q, j));
}

/* Sub-scales of the lanes of quarter q's vectors: four 16-bit numbers in each. */
MD_INLINE __m256i md_grid_scales(const md_grid_head *h, int q)
{
    const int a = 4 * q, b = 4 * q + 2, c = 4 * q + 1, d = 4 * q + 3;
    const __m256i nth = _mm256_setr_epi16(
        (short)(a | 0x8000), (short)(a | 0x8000), (short)(a | 0x8000), (short)(a | 0x8000), (short)(b | 0x8000),
        (short)(b | 0x8000), (short)(b | 0x8000), (short)(b | 0x8000), (short)(c | 0x8000), (short)(c | 0x8000),
        (short)(c | 0x8000), (short)(c | 0x8000), (short)(d | 0x8000), (short)(d | 0x8000), (short)(d | 0x8000),
        (short)(d | 0x8000));
    return _mm256_shuffle_epi8(h->sub, nth);
}

/* n columns of activation codes (a multiple of 64) in the order of the vectors. */
MD_INLINE void md_grid_order(int8_t *restrict dst, const int8_t *restrict code, int64_t n)
{
    for (int64_t i = 0; i < n; i += 64) {
        const __m256i a = md_vec(code + i), b = md_vec(code + i + 32);
        md_vec_store(dst + i, _mm256_unpacklo_epi64(a, b));
        md_vec_store(dst + i + 32, _mm256_unpackhi_epi64(a, b));
    }
}

#endif
