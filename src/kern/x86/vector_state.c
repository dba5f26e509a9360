/* SPDX-License-Identifier: Apache-2.0
 *
 * A step of the gated delta rule (docs/numerics.md, section 11). Columns of a state are independent: 32 of them at a time are
 * read once for what the state gives and once more, from the first-level cache, to be written; what fades is multiplied both
 * times rather than stored between. */
#include "kern/x86/vector.h"

/* 8 nv columns from `at` on; with one vector, those of the mask. */
MD_INLINE void columns(int nv, const md_delta *a, int64_t at, __m256i mask)
{
    const __m256 decay = _mm256_set1_ps(a->decay), beta = _mm256_set1_ps(a->beta);
    float *state = a->state + at;
    __m256 u[4], out[4], s[4];
#define LOAD(p)     (nv == 1 ? _mm256_maskload_ps(p, mask) : _mm256_loadu_ps(p))
#define STORE(p, x) (nv == 1 ? _mm256_maskstore_ps(p, mask, x) : _mm256_storeu_ps(p, x))
    MD_UNROLL
    for (int v = 0; v < nv; v++)
        u[v] = out[v] = _mm256_setzero_ps();
    for (int64_t i = 0; i < a->dim_k; i++) {
        const __m256 k = _mm256_broadcast_ss(a->k + i);
        MD_UNROLL
        for (int v = 0; v < nv; v++)
            u[v] = _mm256_fmadd_ps(_mm256_mul_ps(LOAD(state + i * a->dim_v + 8 * v), decay), k, u[v]);
    }
    MD_UNROLL
    for (int v = 0; v < nv; v++)
        u[v] = _mm256_mul_ps(_mm256_sub_ps(LOAD(a->v + at + 8 * v), u[v]), beta);
    for (int64_t i = 0; i < a->dim_k; i++) {
        const __m256 k = _mm256_broadcast_ss(a->k + i), q = _mm256_broadcast_ss(a->q + i);
        MD_UNROLL
        for (int v = 0; v < nv; v++) {
            s[v] = _mm256_fmadd_ps(k, u[v], _mm256_mul_ps(LOAD(state + i * a->dim_v + 8 * v), decay));
            STORE(state + i * a->dim_v + 8 * v, s[v]);
            out[v] = _mm256_fmadd_ps(s[v], q, out[v]);
        }
    }
    MD_UNROLL
    for (int v = 0; v < nv; v++)
        STORE(a->out + at + 8 * v, out[v]);
#undef LOAD
#undef STORE
}

static void delta(const md_delta *a)
{
    int64_t at = 0;
    for (; at + 32 <= a->dim_v; at += 32)
        columns(4, a, at, _mm256_setzero_si256());
    for (; at < a->dim_v; at += 8)
        columns(1, a, at, md_first_lanes(a->dim_v - at < 8 ? a->dim_v - at : 8));
}

void MD_K(vector_state_fill)(md_kern *k)
{
    k->delta = delta;
}
