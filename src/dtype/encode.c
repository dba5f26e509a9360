/* SPDX-License-Identifier: Apache-2.0
 *
 * Encoding to the plain types, simply and deterministically (the quantizers with importance live elsewhere). The rule:
 * the scale of a block is chosen from its extremes, as the field does, and rounded to the half that is stored; then
 * each weight gets the code whose *decoded* value is nearest, ties away from zero. Codes for the scale before rounding
 * can only be as good or worse.
 *   Q4_0, Q5_0  scale = value of largest magnitude / -8 (-16): the extreme is hit, on the longer side of the codes
 *   Q4_1, Q5_1  minimum = least value; scale = what is left from the rounded minimum to the greatest value / 15 (31)
 *   Q8_0        scale = largest magnitude / 127; -128 is not used
 * Scales and minima beyond the range of half become its largest number, so that finite weights stay finite; a scale too
 * small for a half becomes the smallest one. Pure functions; thread-safe. */
#include "dtype/dtype.h"

#include "dtype/blocks.h"
#include "dtype/half.h"
#include <math.h>
#include <string.h>

#define HALF_MAX  65504.0f
#define HALF_TINY 0x1p-24f /* the least subnormal */

/* Stores x as the nearest finite half, zero without a sign; returns what was stored. */
static float put_half(uint8_t at[2], float x)
{
    uint16_t h = md_f16_from_f32(fminf(fmaxf(x, -HALF_MAX), HALF_MAX));
    h = h == 0x8000 ? 0 : h;
    memcpy(at, &h, sizeof h);
    return md_f32_from_f16(h);
}

static float put_scale(uint8_t at[2], float x)
{
    const bool vanishes = x != 0.0f && fabsf(x) < HALF_TINY;
    return put_half(at, vanishes ? copysignf(HALF_TINY, x) : x);
}

/* The integer q in low..high with q * scale nearest to x. */
static int nearest_code(float x, float scale, int low, int high)
{
    if (scale == 0.0f)
        return 0;
    return (int)fminf(fmaxf(roundf(x / scale), (float)low), (float)high);
}

static float largest_by_magnitude(const float *x, int n)
{
    float best = 0.0f;
    for (int i = 0; i < n; i++)
        best = fabsf(x[i]) > fabsf(best) ? x[i] : best;
    return best;
}

/* Codes of -half..half-1, stored plus half. */
static void encode_signed(const float *x, int half, uint8_t d[2], uint8_t code[32])
{
    const float scale = put_scale(d, largest_by_magnitude(x, 32) / (float)-half);
    for (int i = 0; i < 32; i++)
        code[i] = (uint8_t)(nearest_code(x[i], scale, -half, half - 1) + half);
}

/* Codes of 0..top above a minimum. */
static void encode_range(const float *x, int top, uint8_t d[2], uint8_t m[2], uint8_t code[32])
{
    float least = x[0], greatest = x[0];
    for (int i = 1; i < 32; i++) {
        least = fminf(least, x[i]);
        greatest = fmaxf(greatest, x[i]);
    }
    const float min = put_half(m, least);
    const float scale = put_scale(d, fmaxf(greatest - min, 0.0f) / (float)top);
    for (int i = 0; i < 32; i++)
        code[i] = (uint8_t)nearest_code(x[i] - min, scale, 0, top);
}

static void pack_nibbles(const uint8_t code[32], uint8_t qs[16])
{
    for (int i = 0; i < 16; i++)
        qs[i] = (uint8_t)((code[i] & 15) | (code[16 + i] & 15) << 4);
}

static void pack_fifth_bits(const uint8_t code[32], uint8_t qh[4])
{
    memset(qh, 0, 4);
    for (int i = 0; i < 32; i++)
        qh[i / 8] = (uint8_t)(qh[i / 8] | (code[i] >> 4 & 1) << i % 8);
}

static void encode_q4_0(const float *x, md_block_q4_0 *b)
{
    uint8_t code[32];
    encode_signed(x, 8, b->d, code);
    pack_nibbles(code, b->qs);
}

static void encode_q4_1(const float *x, md_block_q4_1 *b)
{
    uint8_t code[32];
    encode_range(x, 15, b->d, b->m, code);
    pack_nibbles(code, b->qs);
}

static void encode_q5_0(const float *x, md_block_q5_0 *b)
{
    uint8_t code[32];
    encode_signed(x, 16, b->d, code);
    pack_nibbles(code, b->qs);
    pack_fifth_bits(code, b->qh);
}

static void encode_q5_1(const float *x, md_block_q5_1 *b)
{
    uint8_t code[32];
    encode_range(x, 31, b->d, b->m, code);
    pack_nibbles(code, b->qs);
    pack_fifth_bits(code, b->qh);
}

static void encode_q8_0(const float *x, md_block_q8_0 *b)
{
    const float scale = put_scale(b->d, fabsf(largest_by_magnitude(x, 32)) / 127.0f);
    for (int i = 0; i < 32; i++)
        b->qs[i] = (uint8_t)nearest_code(x[i], scale, -127, 127);
}

static void encode_16bit(const float *x, unsigned char *dst, int64_t n, uint16_t (*round)(float))
{
    for (int64_t i = 0; i < n; i++) {
        const uint16_t h = round(x[i]);
        memcpy(dst + 2 * i, &h, sizeof h);
    }
}

bool md_type_can_encode(md_type t)
{
    switch (t) {
    case MD_TYPE_F32:
    case MD_TYPE_F16:
    case MD_TYPE_BF16:
    case MD_TYPE_Q4_0:
    case MD_TYPE_Q4_1:
    case MD_TYPE_Q5_0:
    case MD_TYPE_Q5_1:
    case MD_TYPE_Q8_0: return true;
    default: return false;
    }
}

void md_type_encode(md_type t, const float *src, void *dst, int64_t n)
{
    const int64_t n_blocks = n / 32;
    switch (t) {
    case MD_TYPE_F32: memcpy(dst, src, (size_t)n * sizeof *src); break;
    case MD_TYPE_F16: encode_16bit(src, dst, n, md_f16_from_f32); break;
    case MD_TYPE_BF16: encode_16bit(src, dst, n, md_bf16_from_f32); break;
#define ENCODE_BLOCKS(encode_one, block_type)            \
    for (int64_t i = 0; i < n_blocks; i++)               \
        encode_one(src + 32 * i, (block_type *)dst + i); \
    break
    case MD_TYPE_Q4_0: ENCODE_BLOCKS(encode_q4_0, md_block_q4_0);
    case MD_TYPE_Q4_1: ENCODE_BLOCKS(encode_q4_1, md_block_q4_1);
    case MD_TYPE_Q5_0: ENCODE_BLOCKS(encode_q5_0, md_block_q5_0);
    case MD_TYPE_Q5_1: ENCODE_BLOCKS(encode_q5_1, md_block_q5_1);
    case MD_TYPE_Q8_0: ENCODE_BLOCKS(encode_q8_0, md_block_q8_0);
    default: break; /* the caller did not ask md_type_can_encode */
    }
}
