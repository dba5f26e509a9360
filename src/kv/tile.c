/* SPDX-License-Identifier: Apache-2.0
 *
 * What a page holds and how it becomes floats (docs/numerics.md, section 7). Keys: (dim_k, MD_TILE); values: (MD_TILE,
 * dim_v). Q8_0 keeps codes in the same shapes, followed by half-precision scales: keys (dim_k / 32, MD_TILE), values
 * (MD_TILE, dim_v / 32). */
#include "kv/pool.h"

#include <string.h>

static unsigned char *head_at(const md_kv_pool *p, int32_t page, int32_t layer, int32_t head)
{
    const md_kv_plane *pl = &p->plane[layer];
    return p->memory + (size_t)page * p->page_bytes + pl->at + (size_t)head * (pl->k_bytes + pl->v_bytes);
}

/* Dimensions of a key that are turned at a time. */
#define TURN 128

static uint16_t *key_scales(const md_kv_plane *pl, unsigned char *k_at)
{
    return (uint16_t *)(void *)(k_at + (size_t)pl->layer.dim_k * MD_TILE);
}

static uint16_t *value_scales(const md_kv_plane *pl, unsigned char *v_at)
{
    return (uint16_t *)(void *)(v_at + (size_t)pl->layer.dim_v * MD_TILE);
}

static void put_f16(const md_kern *kern, const md_kv_plane *pl, unsigned char *k_at, int32_t at, const float *k,
                    const float *v)
{
    const md_kv_layer *s = &pl->layer;
    uint16_t half[TURN], *kt = (uint16_t *)(void *)k_at;
    for (int32_t from = 0; from < s->dim_k; from += TURN) {
        const int32_t n = s->dim_k - from < TURN ? s->dim_k - from : TURN;
        kern->to_half(k + from, half, n);
        for (int32_t d = 0; d < n; d++)
            kt[(size_t)(from + d) * MD_TILE + at] = half[d];
    }
    if (!s->v_in_k)
        kern->to_half(v, (uint16_t *)(void *)(k_at + pl->k_bytes) + (size_t)at * s->dim_v, s->dim_v);
}

static void put_q8(const md_kern *kern, const md_kv_plane *pl, unsigned char *k_at, int32_t at, const float *k,
                   const float *v)
{
    const md_kv_layer *s = &pl->layer;
    int8_t code[TURN];
    uint16_t scale[TURN / 32];
    for (int32_t from = 0; from < s->dim_k; from += TURN) {
        const int32_t n = s->dim_k - from < TURN ? s->dim_k - from : TURN;
        kern->to_q8(k + from, code, scale, n);
        for (int32_t d = 0; d < n; d++)
            k_at[(size_t)(from + d) * MD_TILE + at] = (unsigned char)code[d];
        for (int32_t b = 0; b < n / 32; b++)
            key_scales(pl, k_at)[(from / 32 + b) * MD_TILE + at] = scale[b];
    }
    unsigned char *v_at = k_at + pl->k_bytes;
    if (!s->v_in_k)
        kern->to_q8(v, (int8_t *)v_at + (size_t)at * s->dim_v, value_scales(pl, v_at) + at * (s->dim_v / 32), s->dim_v);
}

void md_kv_put(const md_kern *kern, md_kv_pool *p, int32_t page, int32_t layer, int32_t head, int32_t at,
               const float *k, const float *v)
{
    const md_kv_plane *pl = &p->plane[layer];
    const md_kv_layer *s = &pl->layer;
    unsigned char *k_at = head_at(p, page, layer, head);
    switch (p->store) {
    case MD_KV_STORE_F32: {
        float *kt = (float *)(void *)k_at;
        for (int32_t d = 0; d < s->dim_k; d++)
            kt[(size_t)d * MD_TILE + at] = k[d];
        if (!s->v_in_k)
            memcpy((float *)(void *)(k_at + pl->k_bytes) + (size_t)at * s->dim_v, v, (size_t)s->dim_v * 4);
        return;
    }
    case MD_KV_STORE_F16: put_f16(kern, pl, k_at, at, k, v); return;
    case MD_KV_STORE_Q8_0: put_q8(kern, pl, k_at, at, k, v); return;
    }
}

md_kv_tile md_kv_tile_at(const md_kv_pool *p, int32_t page, int32_t layer, int32_t head)
{
    const md_kv_plane *pl = &p->plane[layer];
    unsigned char *k_at = head_at(p, page, layer, head), *v_at = k_at + pl->k_bytes;
    const bool has_v = !pl->layer.v_in_k, codes = p->store == MD_KV_STORE_Q8_0;
    return (md_kv_tile){.store = p->store,
                        .dim_k = pl->layer.dim_k,
                        .dim_v = pl->layer.dim_v,
                        .k = k_at,
                        .v = has_v ? v_at : NULL,
                        .k_scale = codes ? key_scales(pl, k_at) : NULL,
                        .v_scale = codes && has_v ? value_scales(pl, v_at) : NULL};
}
