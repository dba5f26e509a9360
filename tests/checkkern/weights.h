/* SPDX-License-Identifier: Apache-2.0
 *
 * Random weights of any matrix type: every bit of the payload random, the scales of a size that a model has. */
#ifndef MD_TEST_CHECKKERN_WEIGHTS_H
#define MD_TEST_CHECKKERN_WEIGHTS_H

#include "dtype/blocks.h"
#include "dtype/dtype.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Where a block keeps its half-precision scale and, if the type has one, its minimum (else -1). */
typedef struct scale_place {
    md_type type;
    int d, m;
} scale_place;

#define SCALE_AT(NAME, name)                             \
    {                                                    \
        MD_TYPE_##NAME, offsetof(md_block_##name, d), -1 \
    }
#define SCALES_AT(NAME, name, min)                                                   \
    {                                                                                \
        MD_TYPE_##NAME, offsetof(md_block_##name, d), offsetof(md_block_##name, min) \
    }
static const scale_place scale_places[] = {
    SCALE_AT(Q4_0, q4_0),        SCALE_AT(Q5_0, q5_0),        SCALE_AT(Q8_0, q8_0),     SCALE_AT(IQ4_NL, iq4_nl),
    SCALE_AT(Q1_0, q1_0),        SCALE_AT(Q2_0, q2_0),        SCALE_AT(Q3_K, q3_k),     SCALE_AT(Q6_K, q6_k),
    SCALE_AT(IQ1_S, iq1_s),      SCALE_AT(IQ2_XXS, iq2_xxs),  SCALE_AT(IQ2_XS, iq2_xs), SCALE_AT(IQ2_S, iq2_s),
    SCALE_AT(IQ3_XXS, iq3_xxs),  SCALE_AT(IQ3_S, iq3_s),      SCALE_AT(IQ4_XS, iq4_xs), SCALE_AT(TQ1_0, tq1_0),
    SCALE_AT(TQ2_0, tq2_0),      SCALES_AT(Q4_1, q4_1, m),    SCALES_AT(Q5_1, q5_1, m), SCALES_AT(Q2_K, q2_k, dmin),
    SCALES_AT(Q4_K, q4_k, dmin), SCALES_AT(Q5_K, q5_k, dmin),
};

/* {type, -1, -1}: no halves. */
static inline scale_place scale_place_of(md_type t)
{
    for (size_t i = 0; i < sizeof scale_places / sizeof *scale_places; i++)
        if (scale_places[i].type == t)
            return scale_places[i];
    return (scale_place){t, -1, -1};
}

/* A half near 0.01, of either sign; r: random bits. */
static inline uint16_t sensible_half(uint64_t r)
{
    return md_float_to_half((r & 1 ? -1.0f : 1.0f) * (0.004f + 0.012f * (float)(r >> 40) * 0x1p-24f));
}

static inline void set_half(uint8_t *p, uint16_t h)
{
    p[0] = (uint8_t)h;
    p[1] = (uint8_t)(h >> 8);
}

/* Replaces the scales of one block of random bits by sensible ones. */
static inline void tame_block(md_type t, uint8_t *block, uint64_t (*next)(void))
{
    const scale_place at = scale_place_of(t);
    if (at.d >= 0)
        set_half(block + at.d, sensible_half(next()));
    if (at.m >= 0)
        set_half(block + at.m, sensible_half(next()));
    if (t == MD_TYPE_MXFP4)
        block[0] = (uint8_t)(118 + (next() >> 61));
    if (t == MD_TYPE_IQ1_M) { /* a nibble of the half on top of each word of scales */
        const uint16_t d = sensible_half(next());
        uint8_t *scales = block + offsetof(md_block_iq1_m, scales);
        for (int i = 0; i < 4; i++)
            scales[2 * i + 1] = (uint8_t)((scales[2 * i + 1] & 15) | (d >> 4 * i & 15) << 4);
    }
}

/* n weights (a multiple of the block) of type t at dst: all bits from next(), scales tamed; floats uniform in -1..1. */
static inline void random_weights(md_type t, void *dst, int64_t n, uint64_t (*next)(void))
{
    const md_type_info *info = md_type_get(t);
    uint8_t *p = dst;
    for (int64_t b = 0; b < n / info->block; b++, p += info->bytes) {
        if (info->cls == MD_CLASS_FLOAT) {
            const float x = (float)((double)(next() >> 11) * 0x1p-52 - 1.0);
            md_type_encode(t, &x, p, 1);
            continue;
        }
        for (int i = 0; i < info->bytes; i += 8) {
            const uint64_t r = next();
            memcpy(p + i, &r, (size_t)(info->bytes - i < 8 ? info->bytes - i : 8));
        }
        tame_block(t, p, next);
    }
}

#endif
