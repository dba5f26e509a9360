/* SPDX-License-Identifier: Apache-2.0
 *
 * Expanding the K types (blocks of 256 with integer scales, and minima, of smaller groups) and the ternary types.
 * Included through dtype/expand.h. */
#ifndef MD_DTYPE_EXPAND_K_H
#define MD_DTYPE_EXPAND_K_H

#include "dtype/expand_base.h"

/* code = 2-bit field - offset: per half of 128, bits 2j of byte l belong to weight 32 j + l. */
static inline void md_codes2(const uint8_t qs[64], int offset, int8_t code[restrict 256])
{
    for (int h = 0; h < 2; h++) {
        for (int l = 0; l < 32; l++) {
            const int q = qs[32 * h + l];
            code[128 * h + l] = (int8_t)((q & 3) - offset);
            code[128 * h + 32 + l] = (int8_t)((q >> 2 & 3) - offset);
            code[128 * h + 64 + l] = (int8_t)((q >> 4 & 3) - offset);
            code[128 * h + 96 + l] = (int8_t)((q >> 6) - offset);
        }
    }
}

static inline void md_expand_q2_k(const void *restrict block, md_expand256 *restrict e)
{
    const md_block_q2_k *b = block;
    e->d = md_f32_from_f16(md_load_u16(b->d));
    e->dmin = md_f32_from_f16(md_load_u16(b->dmin));
    for (int i = 0; i < 16; i++)
        e->sub[i] = (int16_t)(b->scales[i] & 15);
    for (int i = 0; i < 16; i++)
        e->min[i] = (int16_t)(b->scales[i] >> 4);
    md_codes2(b->qs, 0, e->code);
}

static inline void md_expand_q3_k(const void *restrict block, md_expand256 *restrict e)
{
    const md_block_q3_k *b = block;
    e->d = md_f32_from_f16(md_load_u16(b->d));
    for (int q = 0; q < 4; q++) {
        for (int k = 0; k < 4; k++) {
            const int low = b->scales[4 * (q & 1) + k] >> 4 * (q >> 1) & 15;
            const int high = b->scales[8 + k] >> 2 * q & 3;
            e->sub[4 * q + k] = (int16_t)((low | high << 4) - 32);
        }
    }
    for (int h = 0; h < 2; h++) {
        for (int j = 0; j < 4; j++) {
            for (int l = 0; l < 32; l++) {
                const int low = b->qs[32 * h + l] >> 2 * j & 3;
                const int high = b->hmask[l] >> (4 * h + j) & 1;
                e->code[128 * h + 32 * j + l] = (int8_t)(low + 4 * high - 4);
            }
        }
    }
}

/* The 8 scales and 8 minima of Q4_K and Q5_K, for groups of 32. The first four of each are the low six bits of bytes
 * 0-3 and 4-7; the others have their low four bits in bytes 8-11 and their high two on top of bytes 0-3 and 4-7. */
static inline void md_scales_k(const uint8_t scales[12], md_expand256 *restrict e)
{
    const uint32_t a = md_load_u32(scales), b = md_load_u32(scales + 4), c = md_load_u32(scales + 8);
    const uint32_t word[4] = {
        a & 0x3f3f3f3f,
        (c & 0x0f0f0f0f) | (a >> 2 & 0x30303030),
        b & 0x3f3f3f3f,
        (c >> 4 & 0x0f0f0f0f) | (b >> 2 & 0x30303030),
    };
    uint8_t value[16];
    memcpy(value, word, sizeof value);
    for (int g = 0; g < 8; g++)
        e->sub[2 * g] = e->sub[2 * g + 1] = value[g];
    for (int g = 0; g < 8; g++)
        e->min[2 * g] = e->min[2 * g + 1] = value[8 + g];
}

static inline void md_expand_q4_k(const void *restrict block, md_expand256 *restrict e)
{
    const md_block_q4_k *b = block;
    e->d = md_f32_from_f16(md_load_u16(b->d));
    e->dmin = md_f32_from_f16(md_load_u16(b->dmin));
    md_scales_k(b->scales, e);
    for (int q = 0; q < 4; q++) {
        for (int l = 0; l < 32; l++)
            e->code[64 * q + l] = (int8_t)(b->qs[32 * q + l] & 15);
        for (int l = 0; l < 32; l++)
            e->code[64 * q + 32 + l] = (int8_t)(b->qs[32 * q + l] >> 4);
    }
}

static inline void md_expand_q5_k(const void *restrict block, md_expand256 *restrict e)
{
    const md_block_q5_k *b = block;
    e->d = md_f32_from_f16(md_load_u16(b->d));
    e->dmin = md_f32_from_f16(md_load_u16(b->dmin));
    md_scales_k(b->scales, e);
    for (int q = 0; q < 4; q++) {
        for (int l = 0; l < 32; l++)
            e->code[64 * q + l] = (int8_t)((b->qs[32 * q + l] & 15) | (b->qh[l] >> 2 * q & 1) << 4);
        for (int l = 0; l < 32; l++)
            e->code[64 * q + 32 + l] = (int8_t)(b->qs[32 * q + l] >> 4 | (b->qh[l] >> (2 * q + 1) & 1) << 4);
    }
}

static inline void md_expand_q6_k(const void *restrict block, md_expand256 *restrict e)
{
    const md_block_q6_k *b = block;
    e->d = md_f32_from_f16(md_load_u16(b->d));
    for (int i = 0; i < 16; i++)
        e->sub[i] = (int8_t)b->scales[i];
    for (int h = 0; h < 2; h++) {
        for (int j = 0; j < 2; j++) { /* bytes 32 j + l of ql: low nibbles, then high */
            for (int l = 0; l < 32; l++) {
                const int low = b->ql[64 * h + 32 * j + l] & 15;
                const int high = b->qh[32 * h + l] >> 2 * j & 3;
                e->code[128 * h + 32 * j + l] = (int8_t)((low | high << 4) - 32);
            }
            for (int l = 0; l < 32; l++) {
                const int low = b->ql[64 * h + 32 * j + l] >> 4;
                const int high = b->qh[32 * h + l] >> (4 + 2 * j) & 3;
                e->code[128 * h + 64 + 32 * j + l] = (int8_t)((low | high << 4) - 32);
            }
        }
    }
}

/* A byte is (about) the fraction 0.d1d2d3d4d5 in base 3, times 256: times 3^k puts digit k + 1 right behind the point
 * once the digits before it are cut off. The code is the digit minus 1. */
static inline int8_t md_digit3(uint8_t byte, uint8_t power)
{
    const uint8_t fraction = (uint8_t)(byte * power);
    return (int8_t)((uint8_t)((uint16_t)(fraction * 3) >> 8) - 1);
}

static inline void md_expand_tq1_0(const void *restrict block, md_expand256 *restrict e)
{
    const md_block_tq1_0 *b = block;
    e->d = md_f32_from_f16(md_load_u16(b->d));
    for (int i = 0; i < 16; i++)
        e->sub[i] = 1;
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    for (int k = 0; k < 5; k++)
        for (int m = 0; m < 32; m++)
            e->code[32 * k + m] = md_digit3(b->qs[m], power[k]);
    /* The short rows that are left, laid out as one loop. */
    uint8_t byte[96], factor[96];
    for (int k = 0; k < 5; k++) {
        memcpy(byte + 16 * k, b->qs + 32, 16);
        memset(factor + 16 * k, power[k], 16);
    }
    for (int k = 0; k < 4; k++) {
        memcpy(byte + 80 + 4 * k, b->qh, 4);
        memset(factor + 80 + 4 * k, power[k], 4);
    }
    for (int i = 0; i < 96; i++)
        e->code[160 + i] = md_digit3(byte[i], factor[i]);
}

/* The field holds 0, 1, 2; a 3 reads as the code 2. */
static inline void md_expand_tq2_0(const void *restrict block, md_expand256 *restrict e)
{
    const md_block_tq2_0 *b = block;
    e->d = md_f32_from_f16(md_load_u16(b->d));
    for (int i = 0; i < 16; i++)
        e->sub[i] = 1;
    md_codes2(b->qs, 1, e->code);
}

#endif
