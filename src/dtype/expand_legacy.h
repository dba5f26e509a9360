/* SPDX-License-Identifier: Apache-2.0
 *
 * Expanding the types whose activations come in groups of 32: the plain 4, 5 and 8 bit types, the codebook type IQ4_NL,
 * the microscaling floats (OCP MX specification 1.0: E2M1 values under an E8M0 scale; NVFP4: under E4M3 scales) and the
 * one and two bit types. `group` counts the 32s of a block. Included through dtype/expand.h. */
#ifndef MD_DTYPE_EXPAND_LEGACY_H
#define MD_DTYPE_EXPAND_LEGACY_H

#include "dtype/expand_base.h"

static inline void md_set_scale32(const uint8_t d[2], md_expand32 *restrict e)
{
    e->d[0] = e->d[1] = md_f32_from_f16(md_load_u16(d));
    e->m = 0.0f;
}

static inline void md_expand_q4_0(const void *restrict block, int group, md_expand32 *restrict e)
{
    const md_block_q4_0 *b = block;
    (void)group;
    md_set_scale32(b->d, e);
    for (int j = 0; j < 16; j++)
        e->code[j] = (int8_t)((b->qs[j] & 15) - 8);
    for (int j = 0; j < 16; j++)
        e->code[16 + j] = (int8_t)((b->qs[j] >> 4) - 8);
}

static inline void md_expand_q4_1(const void *restrict block, int group, md_expand32 *restrict e)
{
    const md_block_q4_1 *b = block;
    (void)group;
    md_set_scale32(b->d, e);
    e->m = md_f32_from_f16(md_load_u16(b->m));
    for (int j = 0; j < 16; j++)
        e->code[j] = (int8_t)(b->qs[j] & 15);
    for (int j = 0; j < 16; j++)
        e->code[16 + j] = (int8_t)(b->qs[j] >> 4);
}

/* 5-bit codes, in words of 8: nibbles, with the byte `set` or'ed in where the weight's bit of qh is 1, `clear` where it
 * is 0. */
static inline void md_codes5(const uint8_t qs[16], const uint8_t qh[4], uint8_t set, uint8_t clear,
                             int8_t code[restrict 32])
{
    for (int l = 0; l < 4; l++) {
        const uint64_t mask = md_bit_masks[qh[l]];
        const uint64_t nibbles = md_load_u64(qs + 8 * (l & 1)) >> 4 * (l >> 1) & MD_BYTES(15);
        md_store8(code + 8 * l, nibbles | (mask & MD_BYTES(set)) | (~mask & MD_BYTES(clear)));
    }
}

static inline void md_expand_q5_0(const void *restrict block, int group, md_expand32 *restrict e)
{
    const md_block_q5_0 *b = block;
    (void)group;
    md_set_scale32(b->d, e);
    md_codes5(b->qs, b->qh, 0, 0xf0, e->code); /* minus 16 is 0xf0 on top of a nibble */
}

static inline void md_expand_q5_1(const void *restrict block, int group, md_expand32 *restrict e)
{
    const md_block_q5_1 *b = block;
    (void)group;
    md_set_scale32(b->d, e);
    e->m = md_f32_from_f16(md_load_u16(b->m));
    md_codes5(b->qs, b->qh, 0x10, 0, e->code);
}

/* The only type with codes of -128: quantizers keep to -127, but a file may hold it. */
static inline void md_expand_q8_0(const void *restrict block, int group, md_expand32 *restrict e)
{
    const md_block_q8_0 *b = block;
    (void)group;
    md_set_scale32(b->d, e);
    memcpy(e->code, b->qs, 32);
}

static inline void md_expand_iq4_nl(const void *restrict block, int group, md_expand32 *restrict e)
{
    const md_block_iq4_nl *b = block;
    (void)group;
    md_set_scale32(b->d, e);
    md_lookup16(md_iq4_values, b->qs, e->code, e->code + 16);
}

/* Half of an E8M0 scale (the codes are twice the values): 2^(e - 128). The standard makes e = 255 a NaN; public engines
 * read it as 2^127 like any other exponent, and so does this one. */
static inline float md_e8m0_half(uint8_t e)
{
    return md_bits_to_float(e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23);
}

static inline void md_expand_mxfp4(const void *restrict block, int group, md_expand32 *restrict e)
{
    const md_block_mxfp4 *b = block;
    (void)group;
    e->d[0] = e->d[1] = md_e8m0_half(b->e);
    e->m = 0.0f;
    md_lookup16(md_e2m1_values, b->qs, e->code, e->code + 16);
}

/* Half of an E4M3 scale (bias 7): as a half float it has 3 of 10 mantissa bits and a bias greater by 8. The sign bit is
 * passed over; 0x7f, the standard's NaN, is 0 (as in public engines), though 0xff is a number. */
static inline float md_e4m3_half(uint8_t x)
{
    const uint16_t as_half = (uint16_t)((x & 0x7f) << 7);
    return x == 0x7f ? 0.0f : md_f32_from_f16(as_half) * 0x1p7f;
}

static inline void md_expand_nvfp4(const void *restrict block, int group, md_expand32 *restrict e)
{
    const md_block_nvfp4 *b = block;
    int8_t lo[16], hi[16];
    md_lookup16(md_e2m1_values, b->qs + 16 * group, lo, hi); /* the bytes of both 16s at once */
    for (int k = 0; k < 2; k++) {
        e->d[k] = md_e4m3_half(b->d[2 * group + k]);
        memcpy(e->code + 16 * k, lo + 8 * k, 8);
        memcpy(e->code + 16 * k + 8, hi + 8 * k, 8);
    }
    e->m = 0.0f;
}

static inline void md_expand_q1_0(const void *restrict block, int group, md_expand32 *restrict e)
{
    const md_block_q1_0 *b = block;
    md_set_scale32(b->d, e);
    for (int l = 0; l < 4; l++) /* 0xff for a clear bit, 1 for a set one */
        md_store8(e->code + 8 * l, ~md_bit_masks[b->qs[4 * group + l]] | MD_BYTES(1));
}

static inline void md_expand_q2_0(const void *restrict block, int group, md_expand32 *restrict e)
{
    const md_block_q2_0 *b = block;
    md_set_scale32(b->d, e);
    for (int l = 0; l < 4; l++) {
        uint64_t x = md_load_u16(b->qs + 8 * group + 2 * l); /* 8 pairs of bits, to be spread over 8 bytes */
        x = (x | x << 24) & 0x000000ff000000ffu;
        x = (x | x << 12) & 0x000f000f000f000fu;
        x = (x | x << 6) & MD_BYTES(3);
        md_store8(e->code + 8 * l, (x + MD_BYTES(0x7f)) ^ MD_BYTES(0x80)); /* minus 1 */
    }
}

#endif
