/* SPDX-License-Identifier: Apache-2.0
 *
 * What blocks expand into, and the small bit tricks that several formats share. Words of 8 bytes stand for 8 weights,
 * byte j (from the low end) for weight j; arithmetic on them never carries from byte to byte.
 * Included through dtype/expand.h. */
#ifndef MD_DTYPE_EXPAND_BASE_H
#define MD_DTYPE_EXPAND_BASE_H

#include "dtype/blocks.h"
#include "dtype/grids.h"
#include "dtype/half.h"
#if defined(__SSSE3__)
#include <tmmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

/* A block of 256 weights: weight i = (d * sub[i / 16]) * code[i], and for types with minima, - dmin * min[i / 16]. */
typedef struct md_expand256 {
    int8_t code[256];
    int16_t sub[16]; /* integer scale of each 16 weights */
    int16_t min[16]; /* integer minimum of each 16 weights; Q2_K, Q4_K and Q5_K only, else not set */
    float d;         /* the block's half, times a power of two where the format has one: exact */
    float dmin;      /* as min */
} md_expand256;

/* A group of 32 weights: weight i = d[i / 16] * code[i], and for Q4_1 and Q5_1, + m. */
typedef struct md_expand32 {
    int8_t code[32];
    float d[2]; /* equal but for NVFP4 */
    float m;    /* 0 for the others */
} md_expand32;

#define MD_BYTES(x) (0x0101010101010101u * (uint64_t)(x))

/* Stores the word of 8 codes. */
static inline void md_store8(int8_t *code, uint64_t word)
{
    memcpy(code, &word, sizeof word);
}

/* The bytes of `values`, none of them 0, negated where the mask is set. */
static inline uint64_t md_negate8(uint64_t values, uint64_t mask)
{
    return (values ^ mask) + (mask & MD_BYTES(1));
}

/* The codebook of IQ4_NL and IQ4_XS, and twice the E2M1 values of MXFP4 and NVFP4 (minus zero is zero). */
static const int8_t md_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
static const int8_t md_e2m1_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* lo[j] = table[low nibble of packed[j]], hi[j] = table[high nibble]: the one step that no compiler finds a byte
 * shuffle for by itself. */
static inline void md_lookup16(const int8_t table[16], const uint8_t packed[16], int8_t *restrict lo,
                               int8_t *restrict hi)
{
#if defined(__SSSE3__)
    const __m128i values = _mm_loadu_si128((const __m128i_u *)table);
    const __m128i p = _mm_loadu_si128((const __m128i_u *)packed);
    const __m128i nibble = _mm_set1_epi8(15);
    _mm_storeu_si128((__m128i_u *)lo, _mm_shuffle_epi8(values, _mm_and_si128(p, nibble)));
    _mm_storeu_si128((__m128i_u *)hi, _mm_shuffle_epi8(values, _mm_and_si128(_mm_srli_epi16(p, 4), nibble)));
#elif defined(__aarch64__)
    const int8x16_t values = vld1q_s8(table);
    const uint8x16_t p = vld1q_u8(packed);
    vst1q_s8(lo, vqtbl1q_s8(values, vandq_u8(p, vdupq_n_u8(15))));
    vst1q_s8(hi, vqtbl1q_s8(values, vshrq_n_u8(p, 4)));
#else
    for (int k = 0; k < 2; k++) {
        uint64_t left = md_load_u64(packed + 8 * k);
        for (int j = 0; j < 8; j++, left >>= 8) {
            lo[8 * k + j] = table[left & 15];
            hi[8 * k + j] = table[left >> 4 & 15];
        }
    }
#endif
}

#endif
