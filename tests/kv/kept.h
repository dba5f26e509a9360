/* SPDX-License-Identifier: Apache-2.0
 *
 * What the bits of a tile stand for, value by value: section 7 of docs/numerics.md and the layout that kern.h describes. */
#ifndef MD_TEST_KV_KEPT_H
#define MD_TEST_KV_KEPT_H

#include "dtype/dtype.h"
#include "kv/kv.h"

static inline float kept_at(md_kv_store store, const void *p, int64_t at, uint16_t scale)
{
    if (store == MD_KV_STORE_F32)
        return ((const float *)p)[at];
    if (store == MD_KV_STORE_F16)
        return md_half_to_float(((const uint16_t *)p)[at]);
    return md_half_to_float(scale) * (float)((const int8_t *)p)[at];
}

/* Dimension d of the key at position j. */
static inline float kept_key(const md_kv_tile *t, int j, int d)
{
    return kept_at(t->store, t->k, d * MD_TILE + j, t->k_scale ? t->k_scale[d / 32 * MD_TILE + j] : 0);
}

static inline float kept_value(const md_kv_tile *t, int j, int d)
{
    if (!t->v)
        return kept_key(t, j, d);
    return kept_at(t->store, t->v, j * t->dim_v + d, t->v_scale ? t->v_scale[j * (t->dim_v / 32) + d / 32] : 0);
}

#endif
