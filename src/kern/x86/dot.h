/* SPDX-License-Identifier: Apache-2.0
 *
 * What the products of tiles share. A vector is 32 bytes: eight rows of weights by four neighbouring columns (a "quad"), lane
 * r = row r, as a tile holds them; a token's four activation codes are broadcast to all lanes. All sums are exact integers.
 *
 * A "part" is a vector of partial sums. With VNNI it has eight lanes of 32 bits and never overflows. Without, it has sixteen
 * lanes of 16 bits, two a row, and the caller keeps it from overflowing: activation codes lie in [-127, 127], so unsigned weight
 * codes up to 15 may add up over 8 quads (8 * 2 * 15 * 127 = 30480), up to 3 over 43, 7 over 18, 25 over 5, 31 over 4, 63 over 2.
 * Codes with an offset are stored plus the offset, which is taken off again as offset * (sum of activation codes). */
#ifndef MD_KERN_X86_DOT_H
#define MD_KERN_X86_DOT_H

#include "kern/x86/x86.h"

#define MD_INLINE static inline __attribute__((always_inline))

/* ---- loads ---- */

MD_INLINE __m256i md_vec(const void *p)
{
    return _mm256_loadu_si256((const __m256i_u *)p);
}

MD_INLINE void md_vec_store(void *p, __m256i v)
{
    _mm256_storeu_si256((__m256i_u *)p, v);
}

/* Four bytes to every lane: a quad of activation codes, or any 32-bit value. */
MD_INLINE __m256i md_quad(const void *p)
{
    int32_t x;
    memcpy(&x, p, sizeof x);
    return _mm256_set1_epi32(x);
}

/* Eight halves, widened exactly. */
MD_INLINE __m256 md_halves(const void *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i_u *)p));
}

/* The half in the low (high) 16 bits of every lane, widened exactly. */
MD_INLINE __m256 md_low_halves(__m256i v)
{
    const __m256i packed = _mm256_packus_epi32(_mm256_and_si256(v, _mm256_set1_epi32(0xffff)), _mm256_setzero_si256());
    return _mm256_cvtph_ps(_mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08)));
}

MD_INLINE __m256 md_high_halves(__m256i v)
{
    return md_low_halves(_mm256_srli_epi32(v, 16));
}

MD_INLINE __m256i md_low_nibbles(__m256i v)
{
    return _mm256_and_si256(v, _mm256_set1_epi8(15));
}

MD_INLINE __m256i md_high_nibbles(__m256i v)
{
    return _mm256_and_si256(_mm256_srli_epi16(v, 4), _mm256_set1_epi8(15));
}

/* table[code] for every byte, codes below 16. */
MD_INLINE __m256i md_lookup(const void *table16, __m256i code)
{
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i_u *)table16)), code);
}

MD_INLINE void md_prefetch(const void *p)
{
    _mm_prefetch((const char *)p, _MM_HINT_T0);
}

/* To the second-level cache, for many lines at once: the first level keeps few misses in flight, and loads would wait behind them
 * (prompts of 32 tokens: 10 % faster). */
MD_INLINE void md_prefetch2(const void *p)
{
    _mm_prefetch((const char *)p, _MM_HINT_T1);
}

/* ---- exact integer sums ---- */

/* v, computed here and now: a compiler that sees through chains of integer sums regroups them into trees, and a tree of products
 * wants more registers than there are. */
MD_INLINE __m256i md_in_order(__m256i v)
{
    __asm__("" : "+x"(v));
    return v;
}

/* part + unsigned weight codes times signed activation codes. */
MD_INLINE __m256i md_dot_u8(__m256i part, __m256i w, __m256i a)
{
#if MD_VNNI
    return _mm256_dpbusd_epi32(part, w, a);
#else
    return md_in_order(_mm256_add_epi16(part, _mm256_maddubs_epi16(w, a)));
#endif
}

/* A part as eight sums of 32 bits. */
MD_INLINE __m256i md_part_sums(__m256i part)
{
#if MD_VNNI
    return part;
#else
    return _mm256_madd_epi16(part, _mm256_set1_epi16(1));
#endif
}

/* sums + scale * part; scale: lane r holds row r's integer scale, as a pair of equal 16-bit numbers (in [-2^15, 2^15)). The
 * result must fit 32 bits. */
MD_INLINE __m256i md_part_scaled(__m256i sums, __m256i part, __m256i scale)
{
#if MD_VNNI
    return _mm256_add_epi32(sums, _mm256_mullo_epi32(part, _mm256_srai_epi32(scale, 16)));
#else
    return _mm256_add_epi32(sums, _mm256_madd_epi16(part, scale));
#endif
}

/* sums + x * y over pairs of 16 bits. */
MD_INLINE __m256i md_dot_i16(__m256i sums, __m256i x, __m256i y)
{
#if MD_VNNI
    return _mm256_dpwssd_epi32(sums, x, y);
#else
    return md_in_order(_mm256_add_epi32(sums, _mm256_madd_epi16(x, y)));
#endif
}

/* Sums of 16-bit pairs of signed weight codes, -128 included, times activation codes; no VNNI form: there, use md_dot_u8 on codes
 * plus 128. magnitude = |w| as unsigned bytes: one such product fills 16 bits (2 * 128 * 127 = 32512). */
MD_INLINE __m256i md_mul_s8(__m256i magnitude, __m256i w, __m256i a)
{
    return _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(a, w));
}

/* ---- many tokens ---- */

/* Tokens of a group, and bytes of a quad of their codes. */
#define MD_GROUP      4
#define MD_GROUP_QUAD (4 * MD_GROUP)

/* Codes of a group, `cols` (a multiple of 32) of each of four tokens, to dst (cols / 4 quads, MD_GROUP, 4 bytes). A group of
 * fewer tokens repeats one of its rows. */
MD_INLINE void md_pack_group(int8_t *restrict dst, const int8_t *const row[MD_GROUP], int cols)
{
    for (int c = 0; c < cols; c += 32, dst += 32 * MD_GROUP) {
        const __m256i a = md_vec(row[0] + c), b = md_vec(row[1] + c), d = md_vec(row[2] + c), e = md_vec(row[3] + c);
        const __m256i ab0 = _mm256_unpacklo_epi32(a, b), ab1 = _mm256_unpackhi_epi32(a, b);
        const __m256i de0 = _mm256_unpacklo_epi32(d, e), de1 = _mm256_unpackhi_epi32(d, e);
        const __m256i q04 = _mm256_unpacklo_epi64(ab0, de0), q15 = _mm256_unpackhi_epi64(ab0, de0);
        const __m256i q26 = _mm256_unpacklo_epi64(ab1, de1), q37 = _mm256_unpackhi_epi64(ab1, de1);
        md_vec_store(dst, _mm256_permute2x128_si256(q04, q15, 0x20));
        md_vec_store(dst + 32, _mm256_permute2x128_si256(q26, q37, 0x20));
        md_vec_store(dst + 64, _mm256_permute2x128_si256(q04, q15, 0x31));
        md_vec_store(dst + 96, _mm256_permute2x128_si256(q26, q37, 0x31));
    }
}

/* ---- the float step ---- */

/* acc + (d_w * d_a) * sums, rounded as docs/numerics.md, section 4, says; lanes = rows, d_a of the token in every lane. */
MD_INLINE __m256 md_step(__m256 acc, __m256 d_w, __m256 d_a, __m256i sums)
{
    return _mm256_fmadd_ps(_mm256_mul_ps(d_w, d_a), _mm256_cvtepi32_ps(sums), acc);
}

#endif
