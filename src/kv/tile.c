/* SPDX-License-Identifier: Apache-2.0
 *
 * What a page holds and how it becomes floats (docs/numerics.md, section 7). Keys: (dim_k, MD_TILE); values: (MD_TILE,
 * dim_v). Q8_0 keeps codes in the same shapes, followed by half-precision scales: keys (dim_k / 32, MD_TILE), values
 * (MD_TILE, dim_v / 32). */
#include "dtype/half.h"
#include "kv/pool.h"

#include <math.h>
#include <string.h>

static unsigned char *head_at(const md_kv_pool *p, int32_t page, int32_t layer, int32_t head)
{
    const md_kv_plane *pl = &p->plane[layer];
    return p->memory + (size_t)page * p->page_bytes + pl->at + (size_t)head * (pl->k_bytes + pl->v_bytes);
}

/* One block of 32 to codes with a half-precision scale; code i goes to code[i * step]. A value that is not finite makes
 * the scale NaN, so that it is not lost. */
static uint16_t block_q8(const float *x, int8_t *code, int step)
{
    uint32_t top = 0;
    for (int i = 0; i < 32; i++) {
        const uint32_t mag = md_float_to_bits(x[i]) & 0x7fffffffu;
        top = mag > top ? mag : top;
    }
    const uint16_t half = top >= 0x7f800000u ? 0x7e00 : md_f16_from_f32(md_bits_to_float(top) / 127.0f);
    const float d = md_f32_from_f16(half);
    const float inverse = d > 0.0f && d < INFINITY ? 1.0f / d : 0.0f;
    for (int i = 0; i < 32; i++) {
        float q = inverse > 0.0f ? (x[i] * inverse + 0x1.8p23f) - 0x1.8p23f : 0.0f;
        q = q > 127.0f ? 127.0f : q < -127.0f ? -127.0f : q;
        code[i * step] = (int8_t)q;
    }
    return half;
}

static void put_q8(unsigned char *k_at, unsigned char *v_at, const md_kv_layer *s, int32_t at, const float *k,
                   const float *v)
{
    int8_t *kc = (int8_t *)k_at, *vc = (int8_t *)v_at;
    uint16_t *ks = (uint16_t *)(void *)(k_at + (size_t)s->dim_k * MD_TILE);
    uint16_t *vs = (uint16_t *)(void *)(v_at + (size_t)s->dim_v * MD_TILE);
    for (int32_t b = 0; b < s->dim_k / 32; b++)
        ks[b * MD_TILE + at] = block_q8(k + b * 32, kc + (size_t)b * 32 * MD_TILE + at, MD_TILE);
    for (int32_t b = 0; !s->v_in_k && b < s->dim_v / 32; b++)
        vs[at * (s->dim_v / 32) + b] = block_q8(v + b * 32, vc + (size_t)at * s->dim_v + b * 32, 1);
}

void md_kv_put(const md_kern *kern, md_kv_pool *p, int32_t page, int32_t layer, int32_t head, int32_t at,
               const float *k, const float *v)
{
    const md_kv_plane *pl = &p->plane[layer];
    const md_kv_layer *s = &pl->layer;
    unsigned char *k_at = head_at(p, page, layer, head), *v_at = k_at + pl->k_bytes;
    switch (p->store) {
    case MD_KV_STORE_F32: {
        float *kt = (float *)(void *)k_at;
        for (int32_t d = 0; d < s->dim_k; d++)
            kt[(size_t)d * MD_TILE + at] = k[d];
        if (!s->v_in_k)
            memcpy((float *)(void *)v_at + (size_t)at * s->dim_v, v, (size_t)s->dim_v * 4);
        return;
    }
    case MD_KV_STORE_F16: {
        uint16_t *kt = (uint16_t *)(void *)k_at;
        for (int32_t d = 0; d < s->dim_k; d++)
            kt[(size_t)d * MD_TILE + at] = md_f16_from_f32(k[d]);
        if (!s->v_in_k)
            kern->to_half(v, (uint16_t *)(void *)v_at + (size_t)at * s->dim_v, s->dim_v);
        return;
    }
    case MD_KV_STORE_Q8_0: put_q8(k_at, v_at, s, at, k, v); return;
    }
}

static void get_q8(const unsigned char *k_at, const unsigned char *v_at, const md_kv_layer *s, float *k, float *v)
{
    const int8_t *kc = (const int8_t *)k_at, *vc = (const int8_t *)v_at;
    const uint16_t *ks = (const uint16_t *)(const void *)(k_at + (size_t)s->dim_k * MD_TILE);
    const uint16_t *vs = (const uint16_t *)(const void *)(v_at + (size_t)s->dim_v * MD_TILE);
    for (int32_t d = 0; d < s->dim_k; d++)
        for (int32_t j = 0; j < MD_TILE; j++)
            k[d * MD_TILE + j] = md_f32_from_f16(ks[d / 32 * MD_TILE + j]) * (float)kc[d * MD_TILE + j];
    for (int32_t b = 0; !s->v_in_k && b < MD_TILE * s->dim_v / 32; b++) {
        const float scale = md_f32_from_f16(vs[b]);
        for (int32_t i = 0; i < 32; i++)
            v[b * 32 + i] = scale * (float)vc[b * 32 + i];
    }
}

/* Values that are the first of the keys, turned so that a position's lie together. */
static void values_of_keys(const md_kv_layer *s, const float *k, float *v)
{
    for (int32_t d = 0; d < s->dim_v; d++)
        for (int32_t j = 0; j < MD_TILE; j++)
            v[(size_t)j * s->dim_v + d] = k[(size_t)d * MD_TILE + j];
}

void md_kv_get(const md_kern *kern, const md_kv_pool *p, int32_t page, int32_t layer, int32_t head, float *k_buffer,
               float *v_buffer, const float **k, const float **v)
{
    const md_kv_plane *pl = &p->plane[layer];
    const md_kv_layer *s = &pl->layer;
    const unsigned char *k_at = head_at(p, page, layer, head), *v_at = k_at + pl->k_bytes;
    *k = k_buffer;
    *v = v_buffer;
    switch (p->store) {
    case MD_KV_STORE_F32:
        *k = (const float *)(const void *)k_at;
        if (!s->v_in_k)
            *v = (const float *)(const void *)v_at;
        break;
    case MD_KV_STORE_F16:
        kern->from_half((const uint16_t *)(const void *)k_at, k_buffer, (int64_t)s->dim_k * MD_TILE);
        if (!s->v_in_k)
            kern->from_half((const uint16_t *)(const void *)v_at, v_buffer, (int64_t)s->dim_v * MD_TILE);
        break;
    case MD_KV_STORE_Q8_0: get_q8(k_at, v_at, s, k_buffer, v_buffer); break;
    }
    if (s->v_in_k)
        values_of_keys(s, *k, v_buffer);
}
