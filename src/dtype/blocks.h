/* SPDX-License-Identifier: Apache-2.0
 *
 * The blocks of the quantized tensor types as they lie in a file: one struct a type, made of bytes only, so that it has
 * alignment 1 and may be laid over any address of a mapped tensor. Multi-byte fields are little-endian and read with
 * md_load_*. What the fields mean is said where they are expanded (expand.h) and in docs/types.md. */
#ifndef MD_DTYPE_BLOCKS_H
#define MD_DTYPE_BLOCKS_H

#include <stdint.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensor data is little-endian and is read as it lies");

static inline uint16_t md_load_u16(const uint8_t p[2])
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint32_t md_load_u32(const uint8_t p[4])
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint64_t md_load_u64(const uint8_t p[8])
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* --- 32 weights (NVFP4, Q2_0: 64, Q1_0: 128) --- */

typedef struct md_block_q4_0 {
    uint8_t d[2];   /* half: scale */
    uint8_t qs[16]; /* low nibbles: weights 0-15, high nibbles: 16-31; likewise in all nibble types of 32 */
} md_block_q4_0;

typedef struct md_block_q4_1 {
    uint8_t d[2]; /* half: scale */
    uint8_t m[2]; /* half: minimum, added */
    uint8_t qs[16];
} md_block_q4_1;

typedef struct md_block_q5_0 {
    uint8_t d[2];
    uint8_t qh[4]; /* bit i: fifth bit of weight i */
    uint8_t qs[16];
} md_block_q5_0;

typedef struct md_block_q5_1 {
    uint8_t d[2];
    uint8_t m[2];
    uint8_t qh[4];
    uint8_t qs[16];
} md_block_q5_1;

typedef struct md_block_q8_0 {
    uint8_t d[2];
    uint8_t qs[32]; /* int8 */
} md_block_q8_0;

typedef struct md_block_iq4_nl {
    uint8_t d[2];
    uint8_t qs[16]; /* indices into md_iq4_values */
} md_block_iq4_nl;

typedef struct md_block_mxfp4 {
    uint8_t e;      /* E8M0 scale: 2^(e - 127) */
    uint8_t qs[16]; /* E2M1 */
} md_block_mxfp4;

typedef struct md_block_nvfp4 {
    uint8_t d[4];   /* E4M3 scale of each 16 weights; the sign bit is not used */
    uint8_t qs[32]; /* E2M1; 8 bytes for 16 weights, low nibbles: the first 8 */
} md_block_nvfp4;

typedef struct md_block_q1_0 {
    uint8_t d[2];
    uint8_t qs[16]; /* bit i%8 of byte i/8: sign of weight i, set = plus */
} md_block_q1_0;

typedef struct md_block_q2_0 {
    uint8_t d[2];
    uint8_t qs[16]; /* bits 2*(i%4) of byte i/4: weight i, plus 1 */
} md_block_q2_0;

/* --- 256 weights --- */

typedef struct md_block_q2_k {
    uint8_t scales[16]; /* low nibble: scale, high nibble: minimum of each 16 weights */
    uint8_t qs[64];     /* per half of 128: 32 bytes, bits 2j of byte l: weight 32 j + l */
    uint8_t d[2];
    uint8_t dmin[2];
} md_block_q2_k;

typedef struct md_block_q3_k {
    uint8_t hmask[32];  /* bit 4h + j of byte l: third bit of weight 128 h + 32 j + l */
    uint8_t qs[64];     /* low two bits, as in Q2_K */
    uint8_t scales[12]; /* 16 scales of 6 bits, plus 32: low nibbles in bytes 0-7, high pairs in bytes 8-11 */
    uint8_t d[2];
} md_block_q3_k;

typedef struct md_block_q4_k {
    uint8_t d[2];
    uint8_t dmin[2];
    uint8_t scales[12]; /* 8 scales and 8 minima of 6 bits, one of each for 32 weights */
    uint8_t qs[128];    /* per 64 weights: 32 bytes, low nibbles: the first 32 */
} md_block_q4_k;

typedef struct md_block_q5_k {
    uint8_t d[2];
    uint8_t dmin[2];
    uint8_t scales[12];
    uint8_t qh[32]; /* bit j of byte l: fifth bit of weight 32 j + l */
    uint8_t qs[128];
} md_block_q5_k;

typedef struct md_block_q6_k {
    uint8_t ql[128];    /* low four bits; per half of 128: 64 bytes, low nibbles: the first 64 */
    uint8_t qh[64];     /* high two bits; per half: 32 bytes, bits 2j of byte l: weight 32 j + l */
    uint8_t scales[16]; /* int8, one for 16 weights */
    uint8_t d[2];
} md_block_q6_k;

typedef struct md_block_iq1_s {
    uint8_t d[2];
    uint8_t qs[32];   /* low 8 bits of the index of each 8 weights */
    uint8_t qh[8][2]; /* per 32 weights: 4 times 3 high bits, 3 bits of scale, the sign of the shift */
} md_block_iq1_s;

typedef struct md_block_iq1_m {
    uint8_t qs[32];
    uint8_t qh[16];       /* a nibble per 8 weights: 3 high bits, the sign of the shift */
    uint8_t scales[4][2]; /* per 64 weights: 4 scales of 3 bits; the top nibbles together: the half d */
} md_block_iq1_m;

typedef struct md_block_iq2_xxs {
    uint8_t d[2];
    uint8_t qs[8][8]; /* per 32 weights: 4 indices, then 32 bits: 4 times 7 signs, 4 bits of scale */
} md_block_iq2_xxs;

typedef struct md_block_iq2_xs {
    uint8_t d[2];
    uint8_t qs[32][2]; /* per 8 weights: 9 bits of index, 7 signs */
    uint8_t scales[8]; /* a nibble per 16 weights */
} md_block_iq2_xs;

typedef struct md_block_iq2_s {
    uint8_t d[2];
    uint8_t qs[32];    /* low 8 bits of the index of each 8 weights */
    uint8_t signs[32]; /* 8 signs for each 8 weights */
    uint8_t qh[8];     /* per 32 weights: 4 times 2 high bits */
    uint8_t scales[8]; /* a nibble per 16 weights */
} md_block_iq2_s;

typedef struct md_block_iq3_xxs {
    uint8_t d[2];
    uint8_t qs[64];      /* the index of each 4 weights */
    uint8_t signs[8][4]; /* per 32 weights: 4 times 7 signs, 4 bits of scale */
} md_block_iq3_xxs;

typedef struct md_block_iq3_s {
    uint8_t d[2];
    uint8_t qs[64];    /* low 8 bits of the index of each 4 weights */
    uint8_t qh[8];     /* per 32 weights: 8 high bits */
    uint8_t signs[32]; /* 8 signs for each 8 weights */
    uint8_t scales[4]; /* a nibble per 32 weights */
} md_block_iq3_s;

typedef struct md_block_iq4_xs {
    uint8_t d[2];
    uint8_t scales_h[2]; /* per 32 weights: high 2 bits of the scale */
    uint8_t scales_l[4]; /* low 4 bits */
    uint8_t qs[8][16];   /* as IQ4_NL */
} md_block_iq4_xs;

typedef struct md_block_tq1_0 {
    uint8_t qs[48]; /* five base-3 digits a byte; 32 bytes for 160 weights, 16 for 80 */
    uint8_t qh[4];  /* four digits a byte, the last 16 weights */
    uint8_t d[2];
} md_block_tq1_0;

typedef struct md_block_tq2_0 {
    uint8_t qs[64]; /* as Q2_K, plus 1 */
    uint8_t d[2];
} md_block_tq2_0;

#endif
