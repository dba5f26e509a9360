/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of an attention tile, and how eight values of the cache become floats in a register. */
#ifndef MD_KERN_X86_ATTEND_H
#define MD_KERN_X86_ATTEND_H

#include "kern/x86/vector.h"

/* Queries that go through a tile together: their scores stay in the first-level caches. */
#define ATTEND_QUERIES 64
/* Queries of a register block, of up to 4 vectors: 12 sums, 3 queries and 1 key in the 16 registers of AVX2. */
#define ATTEND_BLOCK   3

/* s[i][j] = chain(query i, key j) for the keys that query i sees; others may be computed or not. */
void MD_K(attend_scores)(const md_attend *a, float (*s)[MD_TILE]);
/* Accumulators times c, then plus e[i][j] times value j, for the keys that query i sees. */
void MD_K(attend_values)(const md_attend *a, float (*e)[MD_TILE], const float *c);

/* Eight values of the cache; scale: of Q8_0. */
MD_INLINE __m256 md_kv_load8(md_kv_store store, const void *p, int64_t at, __m256 scale)
{
    if (store == MD_KV_STORE_F32)
        return _mm256_loadu_ps((const float *)p + at);
    if (store == MD_KV_STORE_F16)
        return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)((const uint16_t *)p + at)));
    const __m128i code = _mm_loadl_epi64((const __m128i *)(const void *)((const int8_t *)p + at));
    return _mm256_mul_ps(scale, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(code)));
}

MD_INLINE int64_t md_kv_bytes(md_kv_store store, int64_t n)
{
    return store == MD_KV_STORE_F32 ? 4 * n : store == MD_KV_STORE_F16 ? 2 * n : n;
}

/* How far ahead of what is read the caches are asked for more. */
#define MD_NEAR 2048
MD_INLINE void md_fetch(const char *p, int64_t bytes)
{
    for (int64_t i = 0; i < bytes; i += 64)
        _mm_prefetch(p + i, _MM_HINT_T0);
}

/* How many of n queries make the next register block: no lonely one at the end. */
MD_INLINE int md_attend_block(int n)
{
    return n == 4 ? 2 : n < ATTEND_BLOCK ? n : ATTEND_BLOCK;
}

#endif
