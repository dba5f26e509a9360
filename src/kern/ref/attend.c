/* SPDX-License-Identifier: Apache-2.0
 *
 * One tile of attention for one query head, and the two steps after the last tile (docs/numerics.md, section 7). */
#include "kern/ref/attend.h"

/* All 64 scores are computed, whatever is visible: lanes are keys, and a lane that nobody reads costs nothing. Columns
 * beyond what was ever written are zero. */
static inline void scores(const md_attend *a, float *restrict s)
{
    for (int j = 0; j < MD_TILE; j++)
        s[j] = 0.0f;
    for (int d = 0; d < a->dim_k; d++) {
        const float q = a->q[d];
        const float *restrict k = a->kt + (int64_t)d * MD_TILE;
        for (int j = 0; j < MD_TILE; j++)
            s[j] = fmaf(q, k[j], s[j]);
    }
    for (int j = 0; j < MD_TILE; j++)
        s[j] *= a->scale;
    if (a->softcap > 0.0f)
        for (int j = 0; j < MD_TILE; j++)
            s[j] = a->softcap * md_tanh(s[j] / a->softcap);
    if (a->slope != 0.0f)
        for (int j = 0; j < MD_TILE; j++)
            s[j] = fmaf(-a->slope, (float)(j > a->at ? j - a->at : a->at - j), s[j]);
}

void MD_K(attend)(const md_attend *a)
{
    float s[MD_TILE];
    scores(a, s);
    float m = *a->m;
    for (int j = a->first; j < a->last; j++)
        m = s[j] > m ? s[j] : m;
    for (int j = 0; j < MD_TILE; j++)
        s[j] = md_exp(s[j] - m);
    for (int j = 0; j < a->first; j++)
        s[j] = 0.0f;
    for (int j = a->last; j < MD_TILE; j++)
        s[j] = 0.0f;
    const float c = md_exp(*a->m - m);
    *a->l = fmaf(*a->l, c, md_sum16(s, MD_TILE));
    *a->m = m;
    float *restrict acc = a->acc;
    for (int d = 0; d < a->dim_v; d++)
        acc[d] *= c;
    for (int j = a->first; j < a->last; j++) {
        const float e = s[j];
        const float *restrict v = a->v + (int64_t)j * a->dim_v;
        for (int d = 0; d < a->dim_v; d++)
            acc[d] = fmaf(e, v[d], acc[d]);
    }
}

void MD_K(attend_sink)(float z, float *m, float *l, float *acc, int dim_v)
{
    const float top = z > *m ? z : *m, c = md_exp(*m - top);
    *l = fmaf(*l, c, md_exp(z - top));
    *m = top;
    for (int d = 0; d < dim_v; d++)
        acc[d] *= c;
}

void MD_K(attend_finish)(float l, const float *acc, float *out, int dim_v)
{
    const float inverse = 1.0f / l;
    for (int d = 0; d < dim_v; d++)
        out[d] = acc[d] * inverse;
}
