/* SPDX-License-Identifier: Apache-2.0
 *
 * Scores of an attention tile: queries times keys, lanes are keys, dimensions in ascending order (docs/numerics.md, section 7).
 * Floats and halves are widened in registers, each time that a block of queries meets them: converting runs beside multiplying.
 * Where Q8_0 or a long head meets many queries it is widened once, into a buffer of 32 keys by up to 128 dimensions. While keys
 * are read, values are fetched. */
#include "kern/x86/attend.h"

#include <stdbool.h>

#define STRIP_KEYS 32
#define STRIP_DIMS 128
/* Dimensions whose halves stay in the first-level cache from one block of queries to the next. */
#define NEAR       256

/* Keys of a strip: dimension `from` of its first key, `stride` values from one dimension to the next; scale: of Q8_0, one a key. */
typedef struct keys {
    const void *k;
    int64_t stride;
    const float *scale;
    int from, to; /* dimensions */
} keys;

/* nq queries times 8 nv keys, added to s[i], or not if these dimensions are the first. ahead: what to fetch. */
MD_INLINE void block(int nq, int nv, md_kv_store store, bool fetch, const md_query *q, const keys *k,
                     float (*s)[MD_TILE], const char *ahead)
{
    __m256 sum[ATTEND_BLOCK][8], x[ATTEND_BLOCK];
    MD_UNROLL
    for (int i = 0; i < nq; i++)
        MD_UNROLL
    for (int v = 0; v < nv; v++)
        sum[i][v] = k->from == 0 ? _mm256_setzero_ps() : _mm256_loadu_ps(s[i] + 8 * v);
    const int64_t n = k->to - k->from, row = md_kv_bytes(store, MD_TILE);
    for (int64_t d = 0; d < n; d++) {
        if (fetch)
            md_fetch(ahead + d * row, row);
        MD_UNROLL
        for (int i = 0; i < nq; i++)
            x[i] = _mm256_broadcast_ss(q[i].q + k->from + d);
        MD_UNROLL
        for (int v = 0; v < nv; v++) {
            const __m256 unit = store == MD_KV_STORE_Q8_0 ? _mm256_loadu_ps(k->scale + 8 * v) : _mm256_setzero_ps();
            const __m256 key = md_in_register(md_kv_load8(store, k->k, d * k->stride + 8 * v, unit));
            MD_UNROLL
            for (int i = 0; i < nq; i++)
                sum[i][v] = _mm256_fmadd_ps(x[i], key, sum[i][v]);
        }
    }
    MD_UNROLL
    for (int i = 0; i < nq; i++)
        MD_UNROLL
    for (int v = 0; v < nv; v++)
        _mm256_storeu_ps(s[i] + 8 * v, sum[i][v]);
}

/* Functions of their own, so that nothing else competes for the registers. */
typedef void block_fn(const md_query *q, const keys *k, float (*s)[MD_TILE], const char *ahead);
#define BLOCK(name, nq, nv, store)                                                                   \
    static __attribute__((noinline)) void name(const md_query *q, const keys *k, float(*s)[MD_TILE], \
                                               const char *ahead)                                    \
    {                                                                                                \
        if (ahead)                                                                                   \
            block(nq, nv, store, true, q, k, s, ahead);                                              \
        else                                                                                         \
            block(nq, nv, store, false, q, k, s, ahead);                                             \
    }
BLOCK(one_f32, 1, 4, MD_KV_STORE_F32)
BLOCK(two_f32, 2, 4, MD_KV_STORE_F32)
BLOCK(three_f32, 3, 4, MD_KV_STORE_F32)
BLOCK(whole_f32, 1, 8, MD_KV_STORE_F32)
BLOCK(one_f16, 1, 4, MD_KV_STORE_F16)
BLOCK(two_f16, 2, 4, MD_KV_STORE_F16)
BLOCK(three_f16, 3, 4, MD_KV_STORE_F16)
BLOCK(whole_f16, 1, 8, MD_KV_STORE_F16)
BLOCK(one_q8, 1, 4, MD_KV_STORE_Q8_0)
BLOCK(two_q8, 2, 4, MD_KV_STORE_Q8_0)
BLOCK(three_q8, 3, 4, MD_KV_STORE_Q8_0)
BLOCK(whole_q8, 1, 8, MD_KV_STORE_Q8_0)

/* By store and number of queries: of 32 keys; and of a whole tile for one query. */
static block_fn *const blocks[][ATTEND_BLOCK] = {
    {one_f32, two_f32, three_f32}, {one_f16, two_f16, three_f16}, {one_q8, two_q8, three_q8}};
static block_fn *const wholes[] = {whole_f32, whole_f16, whole_q8};

/* Scales of dimension d's block for keys [at, at + n), widened. */
MD_INLINE void widen_scales(const md_kv_tile *t, int d, int at, int n, float *scale)
{
    const uint16_t *half = t->k_scale + d / 32 * MD_TILE + at;
    for (int j = 0; j < n; j += 8)
        _mm256_storeu_ps(scale + j, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(half + j))));
}

MD_INLINE const char *key_at(const md_kv_tile *t, int d, int j)
{
    return (const char *)t->k + md_kv_bytes(t->store, (int64_t)d * MD_TILE + j);
}

MD_INLINE bool sees(const md_query *q, int n, int from, int to)
{
    for (int i = 0; i < n; i++)
        if (q[i].first < to && q[i].last > from)
            return true;
    return false;
}

/* ---- widened in registers ---- */

/* n queries; keys [at, at + 32), or with one query all 64. */
static void strip(const md_kv_tile *t, int n, const md_query *q, int at, float (*s)[MD_TILE], const char *ahead)
{
    float scale[MD_TILE];
    block_fn *const multiply = n > 0 ? blocks[t->store][n - 1] : wholes[t->store];
    const int step = t->store == MD_KV_STORE_Q8_0 ? 32 : t->dim_k, width = n > 0 ? STRIP_KEYS : MD_TILE;
    for (int d = 0; d < t->dim_k; d += step) {
        if (t->store == MD_KV_STORE_Q8_0)
            widen_scales(t, d, at, width, scale);
        const keys k = {.k = key_at(t, d, at), .stride = MD_TILE, .scale = scale, .from = d, .to = d + step};
        multiply(q, &k, (float(*)[MD_TILE])(s[0] + at), ahead);
        ahead += ahead ? md_kv_bytes(t->store, (int64_t)step * MD_TILE) : 0;
    }
}

static void few(const md_attend *a, float (*s)[MD_TILE])
{
    const char *ahead = (const char *)a->tile->k + MD_NEAR;
    if (a->n == 1) {
        strip(a->tile, 0, a->query, 0, s, ahead);
        return;
    }
    for (int at = 0; at < MD_TILE; at += STRIP_KEYS) {
        for (int i = 0, n; i < a->n; i += n) {
            n = md_attend_block(a->n - i);
            if (sees(a->query + i, n, at, at + STRIP_KEYS))
                strip(a->tile, n, a->query + i, at, s + i, i == 0 ? ahead : NULL);
        }
        ahead = NULL;
    }
}

/* ---- widened once ---- */

/* Keys [at, at + 32), dimensions [from, to), as floats. */
MD_INLINE void widen(md_kv_store store, const md_kv_tile *t, int at, int from, int to, float (*out)[STRIP_KEYS])
{
    float scale[STRIP_KEYS] = {0};
    for (int d = from; d < to; d++) {
        if (store == MD_KV_STORE_Q8_0 && d % 32 == 0)
            widen_scales(t, d, at, STRIP_KEYS, scale);
        const char *k = key_at(t, d, at);
        if (at == 0)
            md_fetch(k + MD_NEAR, md_kv_bytes(store, MD_TILE));
        for (int v = 0; v < STRIP_KEYS; v += 8)
            _mm256_store_ps(out[d - from] + v, md_kv_load8(store, k, v, _mm256_loadu_ps(scale + v)));
    }
}

static void many(const md_attend *a, float (*s)[MD_TILE])
{
    const md_kv_tile *t = a->tile;
    _Alignas(32) float wide[STRIP_DIMS][STRIP_KEYS];
    for (int at = 0; at < MD_TILE; at += STRIP_KEYS)
        for (int from = 0; from < t->dim_k; from += STRIP_DIMS) {
            const int to = from + STRIP_DIMS < t->dim_k ? from + STRIP_DIMS : t->dim_k;
            if (!sees(a->query, a->n, at, at + STRIP_KEYS))
                continue;
            if (t->store == MD_KV_STORE_F16)
                widen(MD_KV_STORE_F16, t, at, from, to, wide);
            else
                widen(MD_KV_STORE_Q8_0, t, at, from, to, wide);
            const keys k = {.k = wide, .stride = STRIP_KEYS, .from = from, .to = to};
            for (int i = 0, n; i < a->n; i += n) {
                n = md_attend_block(a->n - i);
                if (sees(a->query + i, n, at, at + STRIP_KEYS))
                    blocks[MD_KV_STORE_F32][n - 1](a->query + i, &k, (float(*)[MD_TILE])(s[i] + at), NULL);
            }
        }
}

void MD_K(attend_scores)(const md_attend *a, float (*s)[MD_TILE])
{
    const bool cheap = a->tile->store == MD_KV_STORE_F32 ||
                       (a->tile->store == MD_KV_STORE_F16 && a->tile->dim_k <= NEAR);
    if (cheap || a->n <= ATTEND_BLOCK)
        few(a, s);
    else
        many(a, s);
}
