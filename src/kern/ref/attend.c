/* SPDX-License-Identifier: Apache-2.0
 *
 * One tile of attention for some queries, and the two steps after the last tile (docs/numerics.md, section 7). Queries go in
 * groups that share what is widened of keys and values. */
#include "kern/ref/attend.h"

#include <stdbool.h>
#include <string.h>

#define GROUP   8
/* Values of a row that are widened at a time. */
#define COLUMNS 64

/* Dimension d of all keys. */
static inline void keys_at(const md_kv_tile *t, int d, float *restrict k)
{
    const int64_t at = (int64_t)d * MD_TILE;
    if (t->store == MD_KV_STORE_F32) {
        memcpy(k, (const float *)t->k + at, MD_TILE * sizeof *k);
    } else if (t->store == MD_KV_STORE_F16) {
        for (int j = 0; j < MD_TILE; j++)
            k[j] = md_f32_from_f16(((const uint16_t *)t->k)[at + j]);
    } else {
        const uint16_t *scale = t->k_scale + d / 32 * MD_TILE;
        for (int j = 0; j < MD_TILE; j++)
            k[j] = md_f32_from_f16(scale[j]) * (float)((const int8_t *)t->k)[at + j];
    }
}

static inline float key_at(const md_kv_tile *t, int d, int j)
{
    const int64_t at = (int64_t)d * MD_TILE + j;
    if (t->store == MD_KV_STORE_F32)
        return ((const float *)t->k)[at];
    if (t->store == MD_KV_STORE_F16)
        return md_f32_from_f16(((const uint16_t *)t->k)[at]);
    return md_f32_from_f16(t->k_scale[d / 32 * MD_TILE + j]) * (float)((const int8_t *)t->k)[at];
}

/* Values [c, c + n) of position j. */
static inline void values_at(const md_kv_tile *t, int j, int c, int n, float *restrict v)
{
    const int64_t at = (int64_t)j * t->dim_v + c;
    if (!t->v) {
        for (int i = 0; i < n; i++)
            v[i] = key_at(t, c + i, j);
    } else if (t->store == MD_KV_STORE_F32) {
        memcpy(v, (const float *)t->v + at, (size_t)n * sizeof *v);
    } else if (t->store == MD_KV_STORE_F16) {
        for (int i = 0; i < n; i++)
            v[i] = md_f32_from_f16(((const uint16_t *)t->v)[at + i]);
    } else {
        const uint16_t *scale = t->v_scale + at / 32;
        for (int i = 0; i < n; i++)
            v[i] = md_f32_from_f16(scale[i / 32]) * (float)((const int8_t *)t->v)[at + i];
    }
}

/* All 64 scores are computed, whatever is visible: lanes are keys, and a lane that nobody reads costs nothing. Columns
 * beyond what was ever written are zero. */
static void scores(const md_attend *a, const md_query *q, int n, float (*restrict s)[MD_TILE])
{
    float k[MD_TILE];
    memset(s, 0, (size_t)n * sizeof *s);
    for (int d = 0; d < a->tile->dim_k; d++) {
        keys_at(a->tile, d, k);
        for (int i = 0; i < n; i++)
            for (int j = 0; j < MD_TILE; j++)
                s[i][j] = fmaf(q[i].q[d], k[j], s[i][j]);
    }
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < MD_TILE; j++)
            s[i][j] *= a->scale;
        if (a->softcap > 0.0f)
            for (int j = 0; j < MD_TILE; j++)
                s[i][j] = a->softcap * md_tanh(s[i][j] / a->softcap);
        if (q[i].slope != 0.0f)
            for (int j = 0; j < MD_TILE; j++)
                s[i][j] = fmaf(-q[i].slope, (float)(j > q[i].at ? j - q[i].at : q[i].at - j), s[i][j]);
    }
}

/* Scores to exponentials, those of invisible keys to 0; returns what the accumulator so far counts by. */
static float weigh(const md_query *q, float *restrict s)
{
    float m = q->ml[0];
    for (int j = q->first; j < q->last; j++)
        m = s[j] > m ? s[j] : m;
    for (int j = 0; j < MD_TILE; j++)
        s[j] = md_exp(s[j] - m);
    for (int j = 0; j < q->first; j++)
        s[j] = 0.0f;
    for (int j = q->last; j < MD_TILE; j++)
        s[j] = 0.0f;
    const float c = md_exp(q->ml[0] - m);
    q->ml[0] = m;
    q->ml[1] = fmaf(q->ml[1], c, md_sum16(s, MD_TILE));
    return c;
}

/* Columns [c, c + n) of the values, into each query's accumulator. */
static void add_values(const md_kv_tile *t, const md_query *q, int n_q, float (*restrict e)[MD_TILE], int c, int n)
{
    float v[COLUMNS];
    for (int j = 0; j < MD_TILE; j++) {
        bool seen = false;
        for (int i = 0; i < n_q; i++)
            seen = seen || (j >= q[i].first && j < q[i].last);
        if (!seen)
            continue;
        values_at(t, j, c, n, v);
        for (int i = 0; i < n_q; i++) {
            if (j < q[i].first || j >= q[i].last)
                continue;
            float *restrict acc = q[i].acc + c;
            for (int d = 0; d < n; d++)
                acc[d] = fmaf(e[i][j], v[d], acc[d]);
        }
    }
}

void MD_K(attend)(const md_attend *a)
{
    const int dim_v = a->tile->dim_v;
    for (int from = 0; from < a->n; from += GROUP) {
        const md_query *q = a->query + from;
        const int n = a->n - from < GROUP ? a->n - from : GROUP;
        float s[GROUP][MD_TILE];
        scores(a, q, n, s);
        for (int i = 0; i < n; i++) {
            const float c = weigh(&q[i], s[i]);
            for (int d = 0; d < dim_v; d++)
                q[i].acc[d] *= c;
        }
        for (int c = 0; c < dim_v; c += COLUMNS)
            add_values(a->tile, q, n, s, c, dim_v - c < COLUMNS ? dim_v - c : COLUMNS);
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
