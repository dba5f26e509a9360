/* SPDX-License-Identifier: Apache-2.0
 *
 * Eight floats at a time: the exponential and the two reductions of docs/numerics.md, and what kernels do at the end of a row.
 * Inline functions only. */
#ifndef MD_KERN_X86_VECTOR_H
#define MD_KERN_X86_VECTOR_H

#include "kern/x86/x86.h"

#define MD_INLINE static inline __attribute__((always_inline))

/* The parts of vector_over. */
void MD_K(vector_quantize_fill)(md_kern *k);
void MD_K(vector_state_fill)(md_kern *k);

/* Before a loop of few steps over vectors in registers: it must vanish. */
#if defined(__clang__)
#define MD_UNROLL _Pragma("clang loop unroll(full)")
#else
#define MD_UNROLL _Pragma("GCC unroll 16")
#endif

/* Keeps x in a register: compilers rather read memory once more for each use, and then lack registers for sums. */
MD_INLINE __m256 md_in_register(__m256 x)
{
    __asm__("" : "+v"(x));
    return x;
}

/* The first n of eight lanes, n in 0..8. */
MD_INLINE __m256i md_first_lanes(int64_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* md_exp of eight. The order of operands in max and min keeps a NaN. */
MD_INLINE __m256 md_exp8(__m256 x)
{
    const __m256 magic = _mm256_set1_ps(0x1.8p23f);
    x = _mm256_max_ps(_mm256_set1_ps(-104.0f), x);
    x = _mm256_min_ps(_mm256_set1_ps(89.0f), x);
    const __m256 t = _mm256_fmadd_ps(x, _mm256_set1_ps(0x1.715476p+0f), magic), n = _mm256_sub_ps(t, magic);
    __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-0x1.62e400p-1f), x);
    r = _mm256_fmadd_ps(n, _mm256_set1_ps(-0x1.7f7d1cp-20f), r);
    __m256 p = _mm256_fmadd_ps(_mm256_set1_ps(1.9875691500e-4f), r, _mm256_set1_ps(1.3981999507e-3f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(8.3334519073e-3f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(4.1665795894e-2f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.6666665459e-1f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(5.0000001201e-1f));
    const __m256 y = _mm256_add_ps(_mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r), _mm256_set1_ps(1.0f));
    const __m256i k = _mm256_sub_epi32(_mm256_castps_si256(t), _mm256_set1_epi32(0x4b400000));
    const __m256i h = _mm256_srai_epi32(k, 1), bias = _mm256_set1_epi32(127);
    const __m256i a = _mm256_slli_epi32(_mm256_add_epi32(h, bias), 23);
    const __m256i b = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(k, h), bias), 23);
    return _mm256_mul_ps(_mm256_mul_ps(y, _mm256_castsi256_ps(a)), _mm256_castsi256_ps(b));
}

/* 1 - 2 / (exp(2x) + 1) */
MD_INLINE __m256 md_tanh8(__m256 x)
{
    const __m256 one = _mm256_set1_ps(1.0f), two = _mm256_set1_ps(2.0f);
    return _mm256_sub_ps(one, _mm256_div_ps(two, _mm256_add_ps(md_exp8(_mm256_mul_ps(two, x)), one)));
}

/* The tree over sixteen lanes: 0..7 in low, 8..15 in high. */
MD_INLINE float md_tree16x(__m256 low, __m256 high)
{
    const __m256 w8 = _mm256_add_ps(low, high);
    const __m128 w4 = _mm_add_ps(_mm256_castps256_ps128(w8), _mm256_extractf128_ps(w8, 1));
    const __m128 w2 = _mm_add_ps(w4, _mm_movehl_ps(w4, w4));
    return _mm_cvtss_f32(_mm_add_ss(w2, _mm_movehdup_ps(w2)));
}

/* The largest of eight, none of them NaN. */
MD_INLINE float md_largest8(__m256 x)
{
    const __m128 w4 = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 w2 = _mm_max_ps(w4, _mm_movehl_ps(w4, w4));
    return _mm_cvtss_f32(_mm_max_ss(w2, _mm_movehdup_ps(w2)));
}

#endif
