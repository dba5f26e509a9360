/* SPDX-License-Identifier: Apache-2.0
 *
 * Activations to int8 codes, for products and for the KV cache (docs/numerics.md, sections 3 and 7). 256 values at a time, so
 * that the largest values, the divisions and the sums of eight blocks share their vectors; what is left over goes to the
 * reference. */
#include "kern/x86/vector.h"

#include "kern/ref/quantize.h"

#define TINY 0x1p-100f

MD_INLINE __m256i magnitudes(const float *x)
{
    return _mm256_and_si256(_mm256_loadu_si256((const __m256i *)(const void *)x), _mm256_set1_epi32(0x7fffffff));
}

/* Magnitudes as bits, where NaN and infinity are the largest of all: lane by lane over 32 values. */
MD_INLINE __m256i largest32(const float *x)
{
    return _mm256_max_epu32(_mm256_max_epu32(magnitudes(x), magnitudes(x + 8)),
                            _mm256_max_epu32(magnitudes(x + 16), magnitudes(x + 24)));
}

/* Lane b: the largest of vector b. */
MD_INLINE __m256i largest_of_each(const __m256i m[8])
{
    __m256i pair[4], four[2];
    for (int i = 0; i < 4; i++)
        pair[i] = _mm256_max_epu32(_mm256_unpacklo_epi32(m[2 * i], m[2 * i + 1]),
                                   _mm256_unpackhi_epi32(m[2 * i], m[2 * i + 1]));
    for (int i = 0; i < 2; i++)
        four[i] = _mm256_max_epu32(_mm256_unpacklo_epi64(pair[2 * i], pair[2 * i + 1]),
                                   _mm256_unpackhi_epi64(pair[2 * i], pair[2 * i + 1]));
    return _mm256_max_epu32(_mm256_permute2x128_si256(four[0], four[1], 0x20),
                            _mm256_permute2x128_si256(four[0], four[1], 0x31));
}

/* 32 values times `inverse`, rounded to the nearest even integer and kept within int8. */
MD_INLINE __m256i codes32(const float *x, __m256 inverse)
{
    __m256i q[4];
    for (int i = 0; i < 4; i++)
        q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), inverse));
    const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/* Sums of 16 codes: lane b of the lower half of vector b's first 16, of the upper half of its last 16. */
MD_INLINE __m256i sums16(const __m256i code[8])
{
    __m256i s[8];
    for (int i = 0; i < 8; i++)
        s[i] = _mm256_maddubs_epi16(_mm256_set1_epi8(1), code[i]);
    for (int n = 4; n >= 1; n /= 2)
        for (int i = 0; i < n; i++)
            s[i] = _mm256_hadd_epi16(s[2 * i], s[2 * i + 1]);
    return s[0];
}

/* What a largest magnitude makes of its block. */
typedef struct scales {
    __m256 d, inverse; /* inverse 0: all codes are 0, and products with it that are NaN must not be looked at */
    __m256i alive;     /* blocks that have codes */
} scales;

MD_INLINE scales scales_of(__m256i top)
{
    const __m256 amax = _mm256_castsi256_ps(top), most = _mm256_set1_ps(127.0f);
    const __m256i wild = _mm256_cmpgt_epi32(top, _mm256_set1_epi32(0x7f7fffff));
    const __m256i tiny = _mm256_castps_si256(_mm256_cmp_ps(amax, _mm256_set1_ps(TINY), _CMP_LT_OQ));
    scales s = {.alive = _mm256_xor_si256(_mm256_or_si256(wild, tiny), _mm256_set1_epi32(-1))};
    const __m256 keep = _mm256_castsi256_ps(s.alive);
    s.inverse = _mm256_and_ps(_mm256_div_ps(most, amax), keep);
    s.d = _mm256_and_ps(_mm256_div_ps(amax, most), keep);
    s.d = _mm256_blendv_ps(s.d, _mm256_set1_ps(NAN), _mm256_castsi256_ps(wild));
    return s;
}

static void quantize32(const float *x, int64_t k, int8_t *code, float *scale, float *sum32, int16_t *isum)
{
    int64_t b = 0;
    for (; b + 8 <= k / 32; b += 8) {
        __m256i v[8];
        float inverse[8];
        int32_t alive[8];
        for (int i = 0; i < 8; i++)
            v[i] = largest32(x + (b + i) * 32);
        const scales s = scales_of(largest_of_each(v));
        _mm256_storeu_ps(inverse, s.inverse);
        _mm256_storeu_si256((__m256i *)(void *)alive, s.alive);
        for (int i = 0; i < 8; i++) {
            v[i] = _mm256_and_si256(codes32(x + (b + i) * 32, _mm256_set1_ps(inverse[i])), _mm256_set1_epi32(alive[i]));
            _mm256_storeu_si256((__m256i *)(void *)(code + (b + i) * 32), v[i]);
        }
        const __m256i halves = sums16(v);
        const __m128i sum = _mm_add_epi16(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
        _mm_storeu_si128((__m128i *)(void *)(isum + b), sum);
        _mm256_storeu_ps(scale + b, s.d);
        _mm256_storeu_ps(sum32 + b, _mm256_mul_ps(s.d, _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(sum))));
    }
    const int64_t at = b * 32;
    MD_K(quantize32)(x + at, k - at, code + at, scale + b, sum32 + b, isum + b);
}

static void quantize256(const float *x, int64_t k, int8_t *code, float *scale, int16_t *sum16)
{
    for (int64_t b = 0; b < k / 256; b++, x += 256, code += 256) {
        __m256i v[8];
        for (int i = 0; i < 8; i++)
            v[i] = largest32(x + 32 * i);
        __m256i top = largest_of_each(v);
        top = _mm256_max_epu32(top, _mm256_permute4x64_epi64(top, 0x4e));
        top = _mm256_max_epu32(top, _mm256_shuffle_epi32(top, 0x4e));
        top = _mm256_max_epu32(top, _mm256_shuffle_epi32(top, 0xb1));
        const scales s = scales_of(top);
        for (int i = 0; i < 8; i++) {
            v[i] = _mm256_and_si256(codes32(x + 32 * i, s.inverse), s.alive);
            _mm256_storeu_si256((__m256i *)(void *)(code + 32 * i), v[i]);
        }
        const __m256i sums = sums16(v);
        const __m128i even = _mm256_castsi256_si128(sums), odd = _mm256_extracti128_si256(sums, 1);
        _mm_storeu_si128((__m128i *)(void *)(sum16 + b * 16), _mm_unpacklo_epi16(even, odd));
        _mm_storeu_si128((__m128i *)(void *)(sum16 + b * 16 + 8), _mm_unpackhi_epi16(even, odd));
        scale[b] = _mm256_cvtss_f32(s.d);
    }
}

/* A block may have codes beyond 127 before they are kept within int8, as its scale was rounded to a half. */
static void to_q8(const float *x, int8_t *code, uint16_t *d, int64_t n)
{
    for (int64_t b = 0; b < n / 32; b++, x += 32, code += 32) {
        const __m256i m = largest32(x);
        __m128i top = _mm_max_epu32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));
        top = _mm_max_epu32(top, _mm_shuffle_epi32(top, 0x4e));
        top = _mm_max_epu32(top, _mm_shuffle_epi32(top, 0xb1));
        const uint32_t bits = (uint32_t)_mm_cvtsi128_si32(top);
        d[b] = bits >= 0x7f800000u ? 0x7e00 : md_f16_from_f32(md_bits_to_float(bits) / 127.0f);
        const float scale = md_f32_from_f16(d[b]);
        __m256i q = _mm256_setzero_si256();
        if (scale > 0.0f && scale < INFINITY)
            q = _mm256_max_epi8(codes32(x, _mm256_set1_ps(1.0f / scale)), _mm256_set1_epi8(-127));
        _mm256_storeu_si256((__m256i *)(void *)code, q);
    }
}

void MD_K(vector_quantize_fill)(md_kern *k)
{
    k->quantize32 = quantize32;
    k->quantize256 = quantize256;
    k->to_q8 = to_q8;
}
