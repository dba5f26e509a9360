/* SPDX-License-Identifier: Apache-2.0
 *
 * IEEE 754 binary16 and bfloat16 to float and back, in integer steps that every compiler turns into selects: no tables,
 * no branches, the same bits on every machine, whatever its flush-to-zero mode. To float is exact. To 16 bits rounds to
 * nearest, ties to even; beyond the largest finite number lies infinity; subnormals are kept. A NaN keeps its sign and
 * the upper bits of its payload; it stays signalling towards float and becomes quiet towards 16 bits. */
#ifndef MD_DTYPE_HALF_H
#define MD_DTYPE_HALF_H

#include <stdint.h>
#include <string.h>

static inline float md_bits_to_float(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t md_float_to_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static inline float md_f32_from_f16(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    const uint32_t mag = (uint32_t)(h & 0x7fff) << 13;
    const uint32_t bias = (127 - 15) << 23;
    /* Infinity and NaN: the exponent goes up to 255, by the bias twice. */
    const uint32_t normal = mag + (mag >= (31u << 23) ? 2 * bias : bias);
    /* Zero and subnormals: 1.m * 2^-14 minus 2^-14, exact. */
    const uint32_t tiny = md_float_to_bits(md_bits_to_float(mag + bias + (1u << 23)) - 0x1p-14f);
    return md_bits_to_float(sign | (mag < (1u << 23) ? tiny : normal));
}

static inline uint16_t md_f16_from_f32(float f)
{
    const uint32_t bits = md_float_to_bits(f);
    const uint32_t mag = bits & 0x7fffffff;
    /* Adding half a unit less the tie bit carries into the exponent when it must, up to infinity. */
    const uint32_t normal = ((mag + 0xfff + (mag >> 13 & 1)) >> 13) - ((127 - 15) << 10);
    /* Below 2^-14 a half counts units of 2^-24: so do the low bits of 0.5 + x. */
    const uint32_t tiny = md_float_to_bits(md_bits_to_float(mag < 0x38800000 ? mag : 0) + 0.5f) - 0x3f000000;
    const uint32_t nan = 0x7e00 | (mag >> 13 & 0x3ff);
    uint32_t h = mag < 0x38800000 ? tiny : normal;
    h = mag >= 0x47800000 ? 0x7c00 : h;
    h = mag > 0x7f800000 ? nan : h;
    return (uint16_t)(bits >> 16 & 0x8000) | (uint16_t)h;
}

static inline float md_f32_from_bf16(uint16_t h)
{
    return md_bits_to_float((uint32_t)h << 16);
}

static inline uint16_t md_bf16_from_f32(float f)
{
    const uint32_t bits = md_float_to_bits(f);
    const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    const uint32_t nan = bits >> 16 | 0x40;
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? nan : rounded);
}

#endif
