/* SPDX-License-Identifier: Apache-2.0
 *
 * Expanding the codebook types. The published definitions have scales like d * (0.5 + s) / 4; here the fractions are
 * gathered into d, which is exact: (d / 8) * (2 s + 1). Every index is masked to the size of its codebook, so no block
 * can reach beyond one. Included through dtype/expand.h. */
#ifndef MD_DTYPE_EXPAND_IQ_H
#define MD_DTYPE_EXPAND_IQ_H

#include "dtype/expand_base.h"
#include "dtype/grids.h"

/* sub = 2 s + 1, from 8 bytes with a nibble s for each 16 weights. */
static inline void md_odd_scales16(const uint8_t scales[8], int16_t sub[restrict 16])
{
    for (int g = 0; g < 8; g++) {
        sub[2 * g] = (int16_t)(2 * (scales[g] & 15) + 1);
        sub[2 * g + 1] = (int16_t)(2 * (scales[g] >> 4) + 1);
    }
}

static inline void md_expand_iq2_xxs(const void *restrict block, md_expand256 *restrict e)
{
    const md_block_iq2_xxs *b = block;
    e->d = md_f32_from_f16(md_load_u16(b->d)) * 0.125f;
    for (int g = 0; g < 8; g++) {
        const uint32_t fields = md_load_u32(b->qs[g] + 4);
        e->sub[2 * g] = e->sub[2 * g + 1] = (int16_t)(2 * (fields >> 28) + 1);
        for (int l = 0; l < 4; l++) {
            const uint64_t values = md_grid_iq2_xxs[b->qs[g][l]];
            md_store8(e->code + 32 * g + 8 * l, md_negate8(values, md_even_masks[fields >> 7 * l & 127]));
        }
    }
}

static inline void md_expand_iq2_xs(const void *restrict block, md_expand256 *restrict e)
{
    const md_block_iq2_xs *b = block;
    e->d = md_f32_from_f16(md_load_u16(b->d)) * 0.125f;
    md_odd_scales16(b->scales, e->sub);
    for (int k = 0; k < 32; k++) {
        const uint32_t q = md_load_u16(b->qs[k]);
        md_store8(e->code + 8 * k, md_negate8(md_grid_iq2_xs[q & 511], md_even_masks[q >> 9]));
    }
}

static inline void md_expand_iq2_s(const void *restrict block, md_expand256 *restrict e)
{
    const md_block_iq2_s *b = block;
    e->d = md_f32_from_f16(md_load_u16(b->d)) * 0.125f;
    md_odd_scales16(b->scales, e->sub);
    for (int g = 0; g < 8; g++) {
        for (int l = 0; l < 4; l++) {
            const uint64_t values = md_grid_iq2_s[b->qs[4 * g + l] | (b->qh[g] >> 2 * l & 3) << 8];
            md_store8(e->code + 32 * g + 8 * l, md_negate8(values, md_bit_masks[b->signs[4 * g + l]]));
        }
    }
}

static inline void md_expand_iq3_xxs(const void *restrict block, md_expand256 *restrict e)
{
    const md_block_iq3_xxs *b = block;
    e->d = md_f32_from_f16(md_load_u16(b->d)) * 0.25f;
    for (int g = 0; g < 8; g++) {
        const uint32_t fields = md_load_u32(b->signs[g]);
        e->sub[2 * g] = e->sub[2 * g + 1] = (int16_t)(2 * (fields >> 28) + 1);
        for (int l = 0; l < 4; l++) {
            const uint8_t *q = b->qs + 8 * g + 2 * l;
            const uint64_t values = md_grid_iq3_xxs[q[0]] | (uint64_t)md_grid_iq3_xxs[q[1]] << 32;
            md_store8(e->code + 32 * g + 8 * l, md_negate8(values, md_even_masks[fields >> 7 * l & 127]));
        }
    }
}

static inline void md_expand_iq3_s(const void *restrict block, md_expand256 *restrict e)
{
    const md_block_iq3_s *b = block;
    e->d = md_f32_from_f16(md_load_u16(b->d));
    for (int g = 0; g < 8; g++) {
        const int s = b->scales[g / 2] >> 4 * (g % 2) & 15;
        e->sub[2 * g] = e->sub[2 * g + 1] = (int16_t)(2 * s + 1);
        const uint32_t high = (uint32_t)b->qh[g] << 8;
        for (int l = 0; l < 4; l++) {
            const uint8_t *q = b->qs + 8 * g + 2 * l;
            const uint32_t first = md_grid_iq3_s[q[0] | (high >> 2 * l & 256)];
            const uint32_t second = md_grid_iq3_s[q[1] | (high >> (2 * l + 1) & 256)];
            const uint64_t values = first | (uint64_t)second << 32;
            md_store8(e->code + 32 * g + 8 * l, md_negate8(values, md_bit_masks[b->signs[4 * g + l]]));
        }
    }
}

/* The IQ1 entry (bytes -8, 0, 8) with 1 added to each byte, or taken off where `down` is 1. Flipping the top bits keeps
 * the bytes from borrowing of each other. */
static inline uint64_t md_shifted_iq1(uint32_t index, uint32_t down)
{
    const uint64_t ones = MD_BYTES(1), tops = MD_BYTES(0x80);
    return ((md_grid_iq1[index] ^ tops) + ones - 2 * down * ones) ^ tops;
}

static inline void md_expand_iq1_s(const void *restrict block, md_expand256 *restrict e)
{
    const md_block_iq1_s *b = block;
    e->d = md_f32_from_f16(md_load_u16(b->d)) * 0.125f;
    for (int g = 0; g < 8; g++) {
        const uint32_t qh = md_load_u16(b->qh[g]);
        e->sub[2 * g] = e->sub[2 * g + 1] = (int16_t)(2 * (qh >> 12 & 7) + 1);
        for (int l = 0; l < 4; l++) {
            const uint32_t index = b->qs[4 * g + l] | (qh >> 3 * l & 7) << 8;
            md_store8(e->code + 32 * g + 8 * l, md_shifted_iq1(index, qh >> 15));
        }
    }
}

static inline void md_expand_iq1_m(const void *restrict block, md_expand256 *restrict e)
{
    const md_block_iq1_m *b = block;
    uint32_t d = 0;
    for (int k = 0; k < 4; k++) {
        const uint32_t scales = md_load_u16(b->scales[k]);
        d |= scales >> 12 << 4 * k;
        for (int j = 0; j < 4; j++)
            e->sub[4 * k + j] = (int16_t)(2 * (scales >> 3 * j & 7) + 1);
    }
    e->d = md_f32_from_f16((uint16_t)d) * 0.125f;
    for (int g = 0; g < 8; g++) {
        const uint32_t qh = md_load_u16(b->qh + 2 * g);
        for (int l = 0; l < 4; l++) {
            const uint32_t index = b->qs[4 * g + l] | (qh >> 4 * l & 7) << 8;
            md_store8(e->code + 32 * g + 8 * l, md_shifted_iq1(index, qh >> (4 * l + 3) & 1));
        }
    }
}

static inline void md_expand_iq4_xs(const void *restrict block, md_expand256 *restrict e)
{
    const md_block_iq4_xs *b = block;
    e->d = md_f32_from_f16(md_load_u16(b->d));
    const uint32_t scales_h = md_load_u16(b->scales_h);
    for (int g = 0; g < 8; g++) {
        const int low = b->scales_l[g / 2] >> 4 * (g % 2) & 15;
        const int high = (int)(scales_h >> 2 * g & 3);
        e->sub[2 * g] = e->sub[2 * g + 1] = (int16_t)((low | high << 4) - 32);
        md_lookup16(md_iq4_values, b->qs[g], e->code + 32 * g, e->code + 32 * g + 16);
    }
}

#endif
