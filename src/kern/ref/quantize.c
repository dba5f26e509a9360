/* SPDX-License-Identifier: Apache-2.0
 *
 * Activations to int8 codes (docs/numerics.md, section 3). */
#include "kern/ref/quantize.h"

#define TINY 0x1p-100f

/* Codes of one block of n values; returns the block's scale. The largest magnitude is found on bit patterns, where NaN
 * and infinity are the largest of all, so that one comparison finds them too. */
static inline float quantize_block(const float *restrict x, int n, int8_t *restrict code)
{
    uint32_t top = 0;
    for (int i = 0; i < n; i++) {
        const uint32_t mag = md_float_to_bits(x[i]) & 0x7fffffffu;
        top = mag > top ? mag : top;
    }
    const float amax = md_bits_to_float(top);
    if (top >= 0x7f800000u || amax < TINY) {
        for (int i = 0; i < n; i++)
            code[i] = 0;
        return top >= 0x7f800000u ? NAN : 0.0f;
    }
    const float inverse = 127.0f / amax;
    for (int i = 0; i < n; i++)
        code[i] = (int8_t)(int32_t)(md_float_to_bits(x[i] * inverse + 0x1.8p23f) - 0x4b400000u);
    return amax / 127.0f;
}

void MD_K(quantize32)(const float *x, int64_t k, int8_t *code, float *scale, float *sum32, int16_t *isum)
{
    for (int64_t b = 0; b < k / 32; b++) {
        scale[b] = quantize_block(x + b * 32, 32, code + b * 32);
        int sum = 0;
        for (int i = 0; i < 32; i++)
            sum += code[b * 32 + i];
        isum[b] = (int16_t)sum;
        sum32[b] = scale[b] * (float)sum;
    }
}

void MD_K(quantize256)(const float *x, int64_t k, int8_t *code, float *scale, int16_t *sum16)
{
    for (int64_t b = 0; b < k / 256; b++)
        scale[b] = quantize_block(x + b * 256, 256, code + b * 256);
    for (int64_t g = 0; g < k / 16; g++) {
        int sum = 0;
        for (int i = 0; i < 16; i++)
            sum += code[g * 16 + i];
        sum16[g] = (int16_t)sum;
    }
}
