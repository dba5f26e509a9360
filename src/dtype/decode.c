/* SPDX-License-Identifier: Apache-2.0
 *
 * The exact scalar decoder: any type to floats, in the order of steps that the formats define (expand.h). The project
 * is compiled without contraction, and so these values are the same everywhere. Pure functions; thread-safe. */
#include "dtype/dtype.h"

#include "dtype/expand.h"
#include <string.h>

float md_half_to_float(uint16_t h)
{
    return md_f32_from_f16(h);
}

uint16_t md_float_to_half(float f)
{
    return md_f16_from_f32(f);
}

float md_bf16_to_float(uint16_t h)
{
    return md_f32_from_bf16(h);
}

uint16_t md_float_to_bf16(float f)
{
    return md_bf16_from_f32(f);
}

static void expand256(md_type t, const void *block, md_expand256 *e)
{
    switch (t) {
    case MD_TYPE_Q2_K: md_expand_q2_k(block, e); break;
    case MD_TYPE_Q3_K: md_expand_q3_k(block, e); break;
    case MD_TYPE_Q4_K: md_expand_q4_k(block, e); break;
    case MD_TYPE_Q5_K: md_expand_q5_k(block, e); break;
    case MD_TYPE_Q6_K: md_expand_q6_k(block, e); break;
    case MD_TYPE_IQ1_S: md_expand_iq1_s(block, e); break;
    case MD_TYPE_IQ1_M: md_expand_iq1_m(block, e); break;
    case MD_TYPE_IQ2_XXS: md_expand_iq2_xxs(block, e); break;
    case MD_TYPE_IQ2_XS: md_expand_iq2_xs(block, e); break;
    case MD_TYPE_IQ2_S: md_expand_iq2_s(block, e); break;
    case MD_TYPE_IQ3_XXS: md_expand_iq3_xxs(block, e); break;
    case MD_TYPE_IQ3_S: md_expand_iq3_s(block, e); break;
    case MD_TYPE_IQ4_XS: md_expand_iq4_xs(block, e); break;
    case MD_TYPE_TQ1_0: md_expand_tq1_0(block, e); break;
    case MD_TYPE_TQ2_0: md_expand_tq2_0(block, e); break;
    default: break; /* the other types never come here */
    }
}

static void expand32(md_type t, const void *block, int group, md_expand32 *e)
{
    switch (t) {
    case MD_TYPE_Q4_0: md_expand_q4_0(block, group, e); break;
    case MD_TYPE_Q4_1: md_expand_q4_1(block, group, e); break;
    case MD_TYPE_Q5_0: md_expand_q5_0(block, group, e); break;
    case MD_TYPE_Q5_1: md_expand_q5_1(block, group, e); break;
    case MD_TYPE_Q8_0: md_expand_q8_0(block, group, e); break;
    case MD_TYPE_IQ4_NL: md_expand_iq4_nl(block, group, e); break;
    case MD_TYPE_MXFP4: md_expand_mxfp4(block, group, e); break;
    case MD_TYPE_NVFP4: md_expand_nvfp4(block, group, e); break;
    case MD_TYPE_Q1_0: md_expand_q1_0(block, group, e); break;
    case MD_TYPE_Q2_0: md_expand_q2_0(block, group, e); break;
    default: break;
    }
}

static void decode_block256(md_type t, const unsigned char *block, float *dst)
{
    md_expand256 e = {0};
    expand256(t, block, &e);
    const bool has_min = md_type_has_min(t);
    for (int g = 0; g < 16; g++) {
        const float scale = e.d * (float)e.sub[g];
        float *out = dst + 16 * g;
        for (int i = 0; i < 16; i++)
            out[i] = scale * (float)e.code[16 * g + i];
        if (!has_min) /* and no subtraction of 0 either: a NaN or infinite dmin belongs to no one here */
            continue;
        const float min = e.dmin * (float)e.min[g];
        for (int i = 0; i < 16; i++)
            out[i] -= min;
    }
}

static void decode_group32(md_type t, const unsigned char *block, int group, float *dst)
{
    md_expand32 e = {0};
    expand32(t, block, group, &e);
    for (int i = 0; i < 32; i++)
        dst[i] = e.d[i / 16] * (float)e.code[i];
    if (!md_type_has_min(t)) /* adding 0 would turn -0 into 0 */
        return;
    for (int i = 0; i < 32; i++)
        dst[i] += e.m;
}

static void decode_quant(md_type t, const unsigned char *src, float *dst, int64_t n)
{
    const md_type_info *info = md_type_get(t);
    for (int64_t at = 0; at < n; at += info->block, src += info->bytes) {
        if (info->act == MD_ACT_Q256)
            decode_block256(t, src, dst + at);
        else
            for (int group = 0; group < info->block / 32; group++)
                decode_group32(t, src, group, dst + at + 32 * group);
    }
}

/* A plain type, one C type at a time; the bytes may be unaligned. */
#define DECODE_PLAIN(ctype, expr)                           \
    for (int64_t i = 0; i < n; i++) {                       \
        ctype v;                                            \
        memcpy(&v, bytes + (size_t)i * sizeof v, sizeof v); \
        dst[i] = (expr);                                    \
    }                                                       \
    break

void md_type_decode(md_type t, const void *src, float *dst, int64_t n)
{
    const unsigned char *bytes = src;
    switch (t) {
    case MD_TYPE_F32: memcpy(dst, src, (size_t)n * sizeof *dst); break;
    case MD_TYPE_F16: DECODE_PLAIN(uint16_t, md_f32_from_f16(v));
    case MD_TYPE_BF16: DECODE_PLAIN(uint16_t, md_f32_from_bf16(v));
    case MD_TYPE_F64: DECODE_PLAIN(double, (float)v);
    case MD_TYPE_I8: DECODE_PLAIN(int8_t, (float)v);
    case MD_TYPE_I16: DECODE_PLAIN(int16_t, (float)v);
    case MD_TYPE_I32: DECODE_PLAIN(int32_t, (float)v);
    case MD_TYPE_I64: DECODE_PLAIN(int64_t, (float)v);
    default: decode_quant(t, bytes, dst, n); break;
    }
}
