/* SPDX-License-Identifier: Apache-2.0
 *
 * A tile of attention for many queries: scores, weights, values, each for all queries before the next (docs/numerics.md,
 * section 7). */
#include "kern/x86/attend.h"

/* What softmax wants of a query's products: scale, soft-capping, slope. */
MD_INLINE __m256 score8(const md_attend *a, const md_query *q, const float *s, int j)
{
    __m256 x = _mm256_mul_ps(_mm256_loadu_ps(s + j), _mm256_set1_ps(a->scale));
    if (a->softcap > 0.0f) {
        const __m256 cap = _mm256_set1_ps(a->softcap);
        x = _mm256_mul_ps(cap, md_tanh8(_mm256_div_ps(x, cap)));
    }
    if (q->slope != 0.0f) {
        const __m256i place = _mm256_add_epi32(_mm256_set1_epi32(j - q->at), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
        x = _mm256_fmadd_ps(_mm256_set1_ps(-q->slope), _mm256_cvtepi32_ps(_mm256_abs_epi32(place)), x);
    }
    return x;
}

/* All bits of the lanes j..j+7 that the query sees. */
MD_INLINE __m256 seen8(const md_query *q, int j)
{
    return _mm256_castsi256_ps(_mm256_andnot_si256(md_first_lanes(q->first - j), md_first_lanes(q->last - j)));
}

/* Products to scores; returns the largest that the query sees, or its largest so far. Those it does not see become -infinity in
 * vectors where it sees another, and are left alone elsewhere. */
static float scored(const md_attend *a, const md_query *q, float *s)
{
    __m256 top = _mm256_set1_ps(q->ml[0]);
    for (int j = q->first & ~7; j < q->last; j += 8) {
        __m256 x = score8(a, q, s, j);
        if (j < q->first || j + 8 > q->last)
            x = _mm256_blendv_ps(_mm256_set1_ps(-INFINITY), x, seen8(q, j));
        _mm256_storeu_ps(s + j, x);
        top = _mm256_max_ps(x, top);
    }
    return md_largest8(top);
}

/* Scores to weights; returns their sum. */
static float weighed(const md_query *q, float m, float *s)
{
    const __m256 m8 = _mm256_set1_ps(m);
    __m256 lane[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    for (int j = q->first & ~7; j < q->last; j += 8) {
        __m256 e = md_exp8(_mm256_sub_ps(_mm256_loadu_ps(s + j), m8));
        if (j < q->first || j + 8 > q->last)
            e = _mm256_and_ps(e, seen8(q, j));
        _mm256_storeu_ps(s + j, e);
        lane[j / 8 % 2] = _mm256_add_ps(lane[j / 8 % 2], e);
    }
    return md_tree16x(lane[0], lane[1]);
}

/* Up to ATTEND_QUERIES queries. Loops are split so that one query's long chains run beside another's. */
static void attend_some(const md_attend *a)
{
    float m[ATTEND_QUERIES], c[ATTEND_QUERIES];
    _Alignas(32) float s[ATTEND_QUERIES][MD_TILE];
    MD_K(attend_scores)(a, s);
    for (int i = 0; i < a->n; i++) {
        m[i] = scored(a, &a->query[i], s[i]);
        c[i] = a->query[i].ml[0] - m[i];
    }
    for (int i = a->n; i % 8 != 0; i++)
        c[i] = 0.0f;
    for (int i = 0; i < a->n; i += 8)
        _mm256_storeu_ps(c + i, md_exp8(_mm256_loadu_ps(c + i)));
    for (int i = 0; i < a->n; i++) {
        float *ml = a->query[i].ml;
        ml[0] = m[i];
        ml[1] = fmaf(ml[1], c[i], weighed(&a->query[i], m[i], s[i]));
    }
    MD_K(attend_values)(a, s, c);
}

static void attend(const md_attend *a)
{
    md_attend some = *a;
    for (int from = 0; from < a->n; from += ATTEND_QUERIES) {
        some.query = a->query + from;
        some.n = a->n - from < ATTEND_QUERIES ? a->n - from : ATTEND_QUERIES;
        attend_some(&some);
    }
}

void MD_K(attend_fill)(md_kern *k)
{
    k->attend = attend;
}
