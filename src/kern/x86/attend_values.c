/* SPDX-License-Identifier: Apache-2.0
 *
 * Values of an attention tile: weights times values, lanes are columns, keys in ascending order (docs/numerics.md, section 7).
 * Many queries share values that were widened once into a buffer of all keys by 32 columns; few queries widen them in
 * registers. Where values are the first of the keys they are turned on the way into the buffer. */
#include "kern/x86/attend.h"

#include <stdbool.h>
#include <string.h>

#define STRIP 32

/* Up to three queries, and the columns of their accumulators that a strip adds to. */
typedef struct sums {
    const md_query *q;
    float (*e)[MD_TILE];
    float c[ATTEND_BLOCK]; /* what an accumulator is multiplied by first; then 1 */
    int at;
    int width; /* fewer than the strip's at the end of a head */
} sums;

/* Values of a strip as floats or as the cache has them: key 0's, and how far it is to the next. */
typedef struct values {
    const void *v;
    int64_t stride;
    const uint16_t *scale; /* of Q8_0 */
    int64_t scale_stride;
} values;

/* What to ask for while a strip is read: `step` bytes a key. */
typedef struct fetch {
    const char *at;
    int64_t step;
} fetch;

/* Keys [from, to) and 8 nv columns. ahead: what to fetch. */
MD_INLINE void block(int nq, int nv, md_kv_store store, bool whole, bool fetching, const sums *s, const values *v,
                     int64_t from, int64_t to, const fetch *ahead)
{
    __m256 sum[ATTEND_BLOCK][8], x[ATTEND_BLOCK], unit[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    MD_UNROLL
    for (int i = 0; i < nq; i++) {
        const float *acc = s->q[i].acc + s->at;
        MD_UNROLL
        for (int c = 0; c < nv; c++) {
            sum[i][c] = whole ? _mm256_loadu_ps(acc + 8 * c)
                              : _mm256_maskload_ps(acc + 8 * c, md_first_lanes(s->width - 8 * c));
            sum[i][c] = _mm256_mul_ps(sum[i][c], _mm256_set1_ps(s->c[i]));
        }
    }
    for (int64_t j = from; j < to; j++) {
        if (fetching)
            md_fetch(ahead->at + j * ahead->step, ahead->step);
        for (int c = 0; store == MD_KV_STORE_Q8_0 && c < nv / 4; c++)
            unit[c] = _mm256_set1_ps(_cvtsh_ss(v->scale[j * v->scale_stride + c]));
        MD_UNROLL
        for (int i = 0; i < nq; i++)
            x[i] = _mm256_broadcast_ss(&s->e[i][j]);
        MD_UNROLL
        for (int c = 0; c < nv; c++) {
            const __m256 value = md_in_register(md_kv_load8(store, v->v, j * v->stride + 8 * c, unit[c / 4]));
            MD_UNROLL
            for (int i = 0; i < nq; i++)
                sum[i][c] = _mm256_fmadd_ps(x[i], value, sum[i][c]);
        }
    }
    MD_UNROLL
    for (int i = 0; i < nq; i++) {
        float *acc = s->q[i].acc + s->at;
        MD_UNROLL
        for (int c = 0; c < nv; c++) {
            if (whole)
                _mm256_storeu_ps(acc + 8 * c, sum[i][c]);
            else
                _mm256_maskstore_ps(acc + 8 * c, md_first_lanes(s->width - 8 * c), sum[i][c]);
        }
    }
}

/* Functions of their own, so that nothing else competes for the registers. */
typedef void block_fn(const sums *s, const values *v, int64_t from, int64_t to, const fetch *ahead);
#define BLOCK(name, nq, nv, store, whole)                                                                \
    static __attribute__((noinline)) void name(const sums *s, const values *v, int64_t from, int64_t to, \
                                               const fetch *ahead)                                       \
    {                                                                                                    \
        if (ahead)                                                                                       \
            block(nq, nv, store, whole, true, s, v, from, to, ahead);                                    \
        else                                                                                             \
            block(nq, nv, store, whole, false, s, v, from, to, ahead);                                   \
    }
BLOCK(one_f32, 1, 4, MD_KV_STORE_F32, true)
BLOCK(two_f32, 2, 4, MD_KV_STORE_F32, true)
BLOCK(three_f32, 3, 4, MD_KV_STORE_F32, true)
BLOCK(wide_f32, 1, 8, MD_KV_STORE_F32, true)
BLOCK(one_f16, 1, 4, MD_KV_STORE_F16, true)
BLOCK(two_f16, 2, 4, MD_KV_STORE_F16, true)
BLOCK(three_f16, 3, 4, MD_KV_STORE_F16, true)
BLOCK(wide_f16, 1, 8, MD_KV_STORE_F16, true)
BLOCK(one_q8, 1, 4, MD_KV_STORE_Q8_0, true)
BLOCK(wide_q8, 1, 8, MD_KV_STORE_Q8_0, true)
BLOCK(one_end, 1, 4, MD_KV_STORE_F32, false)
BLOCK(two_end, 2, 4, MD_KV_STORE_F32, false)
BLOCK(three_end, 3, 4, MD_KV_STORE_F32, false)

/* By number of queries: 32 columns of floats, of halves, and of floats at the end of a head. */
static block_fn *const floats[] = {one_f32, two_f32, three_f32}, *const halves[] = {one_f16, two_f16, three_f16},
                       *const ends[] = {one_end, two_end, three_end};

/* ---- strips that go through a buffer ---- */

/* Up to eight values, the rest 0. */
MD_INLINE __m256 load_some(md_kv_store store, const void *p, int64_t at, int64_t n)
{
    if (n >= 8 || store == MD_KV_STORE_Q8_0)
        return md_kv_load8(store, p, at, _mm256_setzero_ps());
    char some[32] = {0};
    if (n > 0)
        memcpy(some, (const char *)p + md_kv_bytes(store, at), (size_t)md_kv_bytes(store, n));
    return md_kv_load8(store, some, 0, _mm256_setzero_ps());
}

/* Columns [at, at + width) of values [from, to), as floats. */
MD_INLINE void widen(md_kv_store store, const md_kv_tile *t, int at, int width, int from, int to, float (*out)[STRIP])
{
    for (int j = from; j < to; j++) {
        const int64_t here = (int64_t)j * t->dim_v + at;
        if (store == MD_KV_STORE_Q8_0) {
            const __m256 unit = _mm256_set1_ps(_cvtsh_ss(t->v_scale[here / 32]));
            for (int c = 0; c < STRIP; c += 8)
                _mm256_store_ps(out[j] + c, md_kv_load8(store, t->v, here + c, unit));
        } else if (width == STRIP) {
            for (int c = 0; c < STRIP; c += 8)
                _mm256_store_ps(out[j] + c, md_kv_load8(store, t->v, here + c, _mm256_setzero_ps()));
        } else {
            for (int c = 0; c < STRIP; c += 8)
                _mm256_store_ps(out[j] + c, load_some(store, t->v, here + c, width - c));
        }
    }
}

MD_INLINE void turn8(__m256 r[8])
{
    __m256 a[8], b[8];
    for (int i = 0; i < 4; i++) {
        a[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        a[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        b[4 * i] = _mm256_shuffle_ps(a[4 * i], a[4 * i + 2], 0x44);
        b[4 * i + 1] = _mm256_shuffle_ps(a[4 * i], a[4 * i + 2], 0xee);
        b[4 * i + 2] = _mm256_shuffle_ps(a[4 * i + 1], a[4 * i + 3], 0x44);
        b[4 * i + 3] = _mm256_shuffle_ps(a[4 * i + 1], a[4 * i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(b[i], b[4 + i], 0x20);
        r[4 + i] = _mm256_permute2f128_ps(b[i], b[4 + i], 0x31);
    }
}

/* The same from the keys, in squares of eight. */
MD_INLINE void turn(md_kv_store store, const md_kv_tile *t, int at, int width, int from, int to, float (*out)[STRIP])
{
    for (int c = 0; c < STRIP; c += 8)
        for (int j = from & ~7; j < to; j += 8) {
            __m256 r[8];
            for (int i = 0; i < 8; i++) {
                r[i] = _mm256_setzero_ps();
                if (c + i >= width)
                    continue;
                __m256 unit = _mm256_setzero_ps();
                if (store == MD_KV_STORE_Q8_0)
                    unit = md_kv_load8(MD_KV_STORE_F16, t->k_scale, (at + c + i) / 32 * MD_TILE + j, unit);
                r[i] = md_kv_load8(store, t->k, (int64_t)(at + c + i) * MD_TILE + j, unit);
            }
            turn8(r);
            for (int i = 0; i < 8; i++)
                _mm256_store_ps(out[j + i] + c, r[i]);
        }
}

#define BY_STORE(what, t, ...)                                               \
    ((t)->store == MD_KV_STORE_F32   ? what(MD_KV_STORE_F32, t, __VA_ARGS__) \
     : (t)->store == MD_KV_STORE_F16 ? what(MD_KV_STORE_F16, t, __VA_ARGS__) \
                                     : what(MD_KV_STORE_Q8_0, t, __VA_ARGS__))

static void fill(const md_kv_tile *t, int at, int width, int from, int to, float (*out)[STRIP])
{
    if (t->v)
        BY_STORE(widen, t, at, width, from, to, out);
    else
        BY_STORE(turn, t, at, width, from, to, out);
}

/* ---- a strip for all queries ---- */

/* Some keys for n queries; c of theirs is 1 from then on. */
static void some(block_fn *add, int n, sums *s, const values *v, int from, int to, const fetch *ahead)
{
    if (from >= to)
        return;
    add(s, v, from, to, ahead);
    for (int i = 0; i < n; i++)
        s->c[i] = 1.0f;
}

/* Query i of the block by itself. */
static void alone(block_fn *add, sums *s, int i, const values *v, int from, int to)
{
    sums one = {.q = s->q + i, .e = s->e + i, .c = {s->c[i]}, .at = s->at, .width = s->width};
    some(add, 1, &one, v, from, to, NULL);
    s->c[i] = one.c[0];
}

/* The keys that all of n queries see go together, those before and after them one by one. */
static void together(block_fn *const *add, int n, sums *s, const values *v, const fetch *ahead)
{
    int from = s->q[0].first, to = s->q[0].last;
    for (int i = 1; i < n; i++) {
        from = s->q[i].first > from ? s->q[i].first : from;
        to = s->q[i].last < to ? s->q[i].last : to;
    }
    to = to > from ? to : from;
    for (int i = 0; i < n; i++)
        alone(add[0], s, i, v, s->q[i].first, from < s->q[i].last ? from : s->q[i].last);
    some(add[n - 1], n, s, v, from, to, ahead);
    for (int i = 0; i < n; i++)
        alone(add[0], s, i, v, to > s->q[i].first ? to : s->q[i].first, s->q[i].last);
}

/* The first strip reads a little of every line: it asks for whole rows of values, those
 * that keys have not asked for. The last one asks for the beginning of the next
 * tile. */
static fetch what_follows(const md_attend *a, int at, int width)
{
    const md_kv_tile *t = a->tile;
    const int64_t row = md_kv_bytes(t->store, t->dim_v);
    if (t->v && at == 0 && width < t->dim_v)
        return (fetch){(const char *)t->v + MD_NEAR, row - MD_NEAR / MD_TILE};
    if (a->next && at + width >= t->dim_v)
        return (fetch){a->next->k, MD_NEAR / MD_TILE};
    return (fetch){NULL, 0};
}

static void strip(block_fn *const *add, const md_attend *a, float (*e)[MD_TILE], const float *c, int at, int width,
                  const values *v)
{
    const fetch ahead = what_follows(a, at, width);
    for (int i = 0, n; i < a->n; i += n) {
        n = md_attend_block(a->n - i);
        sums s = {.q = a->query + i, .e = e + i, .at = at, .width = width};
        for (int k = 0; k < n; k++)
            s.c[k] = c[i + k];
        together(add, n, &s, v, i == 0 && ahead.at ? &ahead : NULL);
    }
}

/* ---- a tile ---- */

static values as_kept(const md_kv_tile *t, int at)
{
    values v = {.v = (const char *)t->v + md_kv_bytes(t->store, at), .stride = t->dim_v};
    if (t->store == MD_KV_STORE_Q8_0) {
        v.scale = t->v_scale + at / 32;
        v.scale_stride = t->dim_v / 32;
    }
    return v;
}

/* Whole strips for one query, widened in registers; returns where they end. */
static int one_query(const md_attend *a, float (*e)[MD_TILE], const float *c)
{
    static block_fn *const wide[] = {wide_f32, wide_f16, wide_q8}, *const narrow[] = {one_f32, one_f16, one_q8};
    const md_kv_tile *t = a->tile;
    int at = 0;
    for (int width = 2 * STRIP; width >= STRIP; width -= STRIP)
        for (; at + width <= t->dim_v; at += width) {
            const values v = as_kept(t, at);
            strip(width > STRIP ? &wide[t->store] : &narrow[t->store], a, e, c, at, width, &v);
        }
    return at;
}

/* Columns from `start` on. */
static void many(const md_attend *a, float (*e)[MD_TILE], const float *c, int start)
{
    const md_kv_tile *t = a->tile;
    _Alignas(32) float buffer[MD_TILE][STRIP];
    int from = MD_TILE, to = 0;
    for (int i = 0; i < a->n; i++) {
        from = a->query[i].first < from ? a->query[i].first : from;
        to = a->query[i].last > to ? a->query[i].last : to;
    }
    for (int at = start; at < t->dim_v; at += STRIP) {
        const int width = t->dim_v - at < STRIP ? t->dim_v - at : STRIP;
        values v = {.v = buffer, .stride = STRIP};
        if (t->store != MD_KV_STORE_Q8_0 && t->v && width == STRIP)
            v = as_kept(t, at);
        else
            fill(t, at, width, from, to, buffer);
        strip(width < STRIP                                  ? ends
              : v.v == buffer || t->store == MD_KV_STORE_F32 ? floats
                                                             : halves,
              a, e, c, at, width, &v);
    }
}

void MD_K(attend_values)(const md_attend *a, float (*e)[MD_TILE], const float *c)
{
    many(a, e, c, a->n == 1 && a->tile->v ? one_query(a, e, c) : 0);
}
