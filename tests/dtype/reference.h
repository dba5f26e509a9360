/* SPDX-License-Identifier: Apache-2.0
 *
 * A second, independent reading of every block format: the value of one weight at a time, straight from its bits, in
 * double and in the published form of each formula. Slow and obvious on purpose. */
#ifndef MD_TEST_DTYPE_REFERENCE_H
#define MD_TEST_DTYPE_REFERENCE_H

#include "dtype/dtype.h"
#include "dtype/grids.h"
#include <math.h>
#include <stdint.h>

/* n bits from bit `at` on: bit k is bit k % 8 of byte k / 8. */
static int bits(const uint8_t *p, int at, int n)
{
    int v = 0;
    for (int k = 0; k < n; k++)
        v |= (p[(at + k) / 8] >> (at + k) % 8 & 1) << k;
    return v;
}

/* A small float of any layout: sign, exponent and mantissa bits from the top; all-ones exponents are inf and NaN if
 * `has_inf`. */
static double small_float(int v, int exponent_bits, int mantissa_bits, bool has_inf)
{
    const int bias = (1 << (exponent_bits - 1)) - 1;
    const int mantissa = v & ((1 << mantissa_bits) - 1);
    const int exponent = v >> mantissa_bits & ((1 << exponent_bits) - 1);
    const double sign = v >> (mantissa_bits + exponent_bits) & 1 ? -1.0 : 1.0;
    if (has_inf && exponent == (1 << exponent_bits) - 1)
        return mantissa ? NAN : sign * INFINITY;
    if (exponent == 0)
        return sign * ldexp(mantissa, 1 - bias - mantissa_bits);
    return sign * ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
}

static double half_at(const uint8_t *p)
{
    return small_float(bits(p, 0, 16), 5, 10, true);
}

static const double iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

static int byte_of(uint64_t word, int j)
{
    return (int8_t)(word >> 8 * j);
}

/* Sign j (-1 or 1) of 7 stored bits and the eighth that makes their number even. */
static double even_sign(int seven, int j)
{
    int ones = 0;
    for (int k = 0; k < 7; k++)
        ones += seven >> k & 1;
    return (j < 7 ? seven >> j & 1 : ones & 1) ? -1.0 : 1.0;
}

/* --- blocks of 32 to 128 --- */

static double reference_small(md_type t, const uint8_t *p, int i)
{
    const double d = half_at(p);
    const int nibble_bit = 8 * (i % 16) + 4 * (i / 16);
    switch (t) {
    case MD_TYPE_Q4_0: return d * (bits(p + 2, nibble_bit, 4) - 8);
    case MD_TYPE_Q4_1: return (float)(d * bits(p + 4, nibble_bit, 4)) + (float)half_at(p + 2);
    case MD_TYPE_Q5_0: return d * (bits(p + 6, nibble_bit, 4) + 16 * bits(p + 2, i, 1) - 16);
    case MD_TYPE_Q5_1:
        return (float)(d * (bits(p + 8, nibble_bit, 4) + 16 * bits(p + 4, i, 1))) + (float)half_at(p + 2);
    case MD_TYPE_Q8_0: return d * (int8_t)p[2 + i];
    case MD_TYPE_IQ4_NL: return d * iq4_values[bits(p + 2, nibble_bit, 4)];
    case MD_TYPE_MXFP4: return ldexp(small_float(bits(p + 1, nibble_bit, 4), 2, 1, false) + 0.0, p[0] - 127);
    case MD_TYPE_NVFP4: {
        const int k = i / 16;
        const double scale = p[k] == 0x7f ? 0.0 : small_float(p[k] & 0x7f, 4, 3, false);
        return scale * (small_float(bits(p + 4 + 8 * k, 8 * (i % 8) + 4 * (i % 16 / 8), 4), 2, 1, false) + 0.0);
    }
    case MD_TYPE_Q1_0: return bits(p + 2, i, 1) ? d : -d;
    case MD_TYPE_Q2_0: return d * (bits(p + 2, 2 * i, 2) - 1);
    default: return NAN;
    }
}

/* --- blocks of 256 with integer scales --- */

static double reference_q4_q5_k(const uint8_t *p, int i, int code)
{
    const uint8_t *s = p + 4;
    const int g = i / 32;
    const int scale = g < 4 ? bits(s + g, 0, 6) : bits(s + g + 4, 0, 4) + 16 * bits(s + g - 4, 6, 2);
    const int min = g < 4 ? bits(s + g + 4, 0, 6) : bits(s + g + 4, 4, 4) + 16 * bits(s + g, 6, 2);
    return (float)(half_at(p) * scale * code) - (float)(half_at(p + 2) * min);
}

static double reference_k(md_type t, const uint8_t *p, int i)
{
    const int group = i / 16, half = i / 128, in_half = i % 128;
    const int pair_bit = 8 * (32 * half + i % 32) + 2 * (in_half / 32);
    const int nibble_bit = 8 * (32 * (i / 64) + i % 32) + 4 * (i % 64 / 32);
    const int high_bit = 8 * (i % 32) + i / 32;
    switch (t) {
    case MD_TYPE_Q2_K:
        return (float)(half_at(p + 80) * bits(p + group, 0, 4) * bits(p + 16, pair_bit, 2)) -
               (float)(half_at(p + 82) * bits(p + group, 4, 4));
    case MD_TYPE_Q3_K: {
        const uint8_t *s = p + 96;
        const int scale = bits(s + group % 8, 4 * (group / 8), 4) + 16 * bits(s + 8 + group % 4, 2 * (group / 4), 2) -
                          32;
        return half_at(p + 108) * scale * (bits(p + 32, pair_bit, 2) + 4 * bits(p, high_bit, 1) - 4);
    }
    case MD_TYPE_Q4_K: return reference_q4_q5_k(p, i, bits(p + 16, nibble_bit, 4));
    case MD_TYPE_Q5_K: return reference_q4_q5_k(p, i, bits(p + 48, nibble_bit, 4) + 16 * bits(p + 16, high_bit, 1));
    case MD_TYPE_Q6_K: {
        const int low = bits(p + 64 * half, 8 * (in_half % 64) + 4 * (in_half / 64), 4);
        return half_at(p + 208) * (int8_t)p[192 + group] * (low + 16 * bits(p + 128, pair_bit, 2) - 32);
    }
    case MD_TYPE_TQ1_0: {
        const int k = i < 160 ? i / 32 : i < 240 ? (i - 160) / 16 : (i - 240) / 4;
        const int byte = i < 160 ? p[i % 32] : i < 240 ? p[32 + i % 16] : p[48 + i % 4];
        return half_at(p + 52) * ((int)(byte * pow(3, k + 1) / 256) % 3 - 1);
    }
    case MD_TYPE_TQ2_0: return half_at(p + 64) * (bits(p, pair_bit, 2) - 1);
    default: return NAN;
    }
}

/* --- blocks of 256 with codebooks: g counts 32s, k 8s, j inside the 8 --- */

static double reference_iq1(md_type t, const uint8_t *p, int i)
{
    const int g = i / 32, k = i / 8, j = i % 8;
    if (t == MD_TYPE_IQ1_S) {
        const uint8_t *qh = p + 34 + 2 * g;
        const int index = p[2 + k] + 256 * bits(qh, 3 * (k % 4), 3);
        const double delta = bits(qh, 15, 1) ? -0.125 : 0.125;
        return half_at(p) * (2 * bits(qh, 12, 3) + 1) * (byte_of(md_grid_iq1[index], j) / 8.0 + delta);
    }
    const uint8_t *qh = p + 32, *s = p + 48;
    const uint8_t d[2] = {(uint8_t)(s[1] >> 4 | (s[3] & 0xf0)), (uint8_t)(s[5] >> 4 | (s[7] & 0xf0))};
    const int index = p[k] + 256 * bits(qh, 4 * k, 3);
    const double delta = bits(qh, 4 * k + 3, 1) ? -0.125 : 0.125;
    const int scale = bits(s + 2 * (i / 64), 3 * (i % 64 / 16), 3);
    return half_at(d) * (2 * scale + 1) * (byte_of(md_grid_iq1[index], j) / 8.0 + delta);
}

static double reference_iq2(md_type t, const uint8_t *p, int i)
{
    const int g = i / 32, k = i / 8, j = i % 8;
    if (t == MD_TYPE_IQ2_XXS) {
        const uint8_t *q = p + 2 + 8 * g;
        const double scale = half_at(p) * (0.5 + bits(q + 4, 28, 4)) * 0.25;
        return scale * byte_of(md_grid_iq2_xxs[q[k % 4]], j) * even_sign(bits(q + 4, 7 * (k % 4), 7), j);
    }
    const uint8_t *scales = t == MD_TYPE_IQ2_XS ? p + 66 : p + 74;
    const double scale = half_at(p) * (0.5 + bits(scales, 4 * (i / 16), 4)) * 0.25;
    if (t == MD_TYPE_IQ2_XS) {
        const uint8_t *q = p + 2 + 2 * k;
        return scale * byte_of(md_grid_iq2_xs[bits(q, 0, 9)], j) * even_sign(bits(q, 9, 7), j);
    }
    const int index = p[2 + k] + 256 * bits(p + 66, 2 * k, 2);
    return scale * byte_of(md_grid_iq2_s[index], j) * (bits(p + 34, i, 1) ? -1.0 : 1.0);
}

static double reference_iq3(md_type t, const uint8_t *p, int i)
{
    const int g = i / 32, k = i / 8, j = i % 8;
    if (t == MD_TYPE_IQ3_XXS) {
        const uint8_t *signs = p + 66 + 4 * g;
        const double scale = half_at(p) * (0.5 + bits(signs, 28, 4)) * 0.5;
        return scale * byte_of(md_grid_iq3_xxs[p[2 + i / 4]], i % 4) * even_sign(bits(signs, 7 * (k % 4), 7), j);
    }
    const int index = p[2 + i / 4] + 256 * bits(p + 66, i / 4, 1);
    const double scale = half_at(p) * (1 + 2 * bits(p + 106, 4 * g, 4));
    return scale * byte_of(md_grid_iq3_s[index], i % 4) * (bits(p + 74, i, 1) ? -1.0 : 1.0);
}

static double reference_iq4_xs(const uint8_t *p, int i)
{
    const int g = i / 32;
    const int scale = bits(p + 4, 4 * g, 4) + 16 * bits(p + 2, 2 * g, 2) - 32;
    return half_at(p) * scale * iq4_values[bits(p + 8 + 16 * g, 8 * (i % 16) + 4 * (i % 32 / 16), 4)];
}

/* The value of weight i of a block of any quantized type. */
static float reference_weight(md_type t, const uint8_t *block, int i)
{
    switch (t) {
    case MD_TYPE_IQ1_S:
    case MD_TYPE_IQ1_M: return (float)reference_iq1(t, block, i);
    case MD_TYPE_IQ2_XXS:
    case MD_TYPE_IQ2_XS:
    case MD_TYPE_IQ2_S: return (float)reference_iq2(t, block, i);
    case MD_TYPE_IQ3_XXS:
    case MD_TYPE_IQ3_S: return (float)reference_iq3(t, block, i);
    case MD_TYPE_IQ4_XS: return (float)reference_iq4_xs(block, i);
    default: break;
    }
    return (float)(md_type_get(t)->block == 256 ? reference_k(t, block, i) : reference_small(t, block, i));
}

#endif
