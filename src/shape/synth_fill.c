/* SPDX-License-Identifier: Apache-2.0
 *
 * Random weights. Each number is a function of (seed, tensor name, index) through Philox, made with integer arithmetic
 * and one multiplication, so that files are the same on every machine. Types with an encoder are rounded from floats.
 * For the others a block is random bits, and its scale is set so that the values come out about as large as asked:
 * what a block under scale 1 decodes to is measured, not known from a table. */
#include "shape/synth.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/status.h"
#include "dtype/blocks.h"

#include <math.h>
#include <string.h>

/* ---- floats ---- */

/* Two numbers near enough to the standard normal law: each the sum of four uniform ones of 16 bits. */
static void two_normals(uint64_t seed, uint64_t stream, uint64_t pair, float out[2])
{
    const md_rand4 r = md_philox(seed, pair, stream);
    for (int i = 0; i < 2; i++) {
        const uint32_t a = r.v[2 * i], b = r.v[2 * i + 1];
        const int sum = (int)((a & 0xffff) + (a >> 16) + (b & 0xffff) + (b >> 16));
        out[i] = (float)(sum - 131070) * (1.0f / 37837.2266f); /* mean 4 * 65535 / 2; deviation 65536 / sqrt(3) */
    }
}

/* Elements first .. first + n - 1 of the tensor. */
static void fill_floats(uint64_t seed, uint64_t stream, const md_synth_tensor *t, int64_t first, int64_t n, float *x)
{
    float pair[2] = {0, 0};
    for (int64_t i = 0; i < n; i++) {
        const uint64_t at = (uint64_t)(first + i);
        if (t->law == MD_SYNTH_UNIFORM) {
            x[i] = t->center + t->spread * (2.0f * md_rand_uniform(seed, stream, at) - 1.0f);
            continue;
        }
        if (i == 0 || at % 2 == 0)
            two_normals(seed, stream, at / 2, pair);
        x[i] = t->center + t->spread * pair[at % 2];
    }
}

/* ---- random blocks ---- */

typedef enum scale_form {
    FORM_HALF,  /* binary16 */
    FORM_E8M0,  /* a power of two, biased by 127 */
    FORM_E4M3,  /* four of them, 8 bits with 3 of mantissa */
    FORM_IQ1_M, /* binary16, a nibble in the top of each of four words */
} scale_form;

/* Where a type keeps its scales. `share`: what the field gets of the block's scale; the minima of K types are scaled so
 * that they centre the values. NVFP4 has a tensor beside it that divides by the same 64. */
static const struct {
    md_type type;
    size_t at;
    scale_form form;
    float share;
} scale_fields[] = {
    {MD_TYPE_Q2_K, offsetof(md_block_q2_k, d), FORM_HALF, 1.0f},
    {MD_TYPE_Q2_K, offsetof(md_block_q2_k, dmin), FORM_HALF, 1.5f},
    {MD_TYPE_Q3_K, offsetof(md_block_q3_k, d), FORM_HALF, 1.0f},
    {MD_TYPE_Q4_K, offsetof(md_block_q4_k, d), FORM_HALF, 1.0f},
    {MD_TYPE_Q4_K, offsetof(md_block_q4_k, dmin), FORM_HALF, 7.5f},
    {MD_TYPE_Q5_K, offsetof(md_block_q5_k, d), FORM_HALF, 1.0f},
    {MD_TYPE_Q5_K, offsetof(md_block_q5_k, dmin), FORM_HALF, 15.5f},
    {MD_TYPE_Q6_K, offsetof(md_block_q6_k, d), FORM_HALF, 1.0f},
    {MD_TYPE_IQ1_S, offsetof(md_block_iq1_s, d), FORM_HALF, 1.0f},
    {MD_TYPE_IQ1_M, offsetof(md_block_iq1_m, scales), FORM_IQ1_M, 1.0f},
    {MD_TYPE_IQ2_XXS, offsetof(md_block_iq2_xxs, d), FORM_HALF, 1.0f},
    {MD_TYPE_IQ2_XS, offsetof(md_block_iq2_xs, d), FORM_HALF, 1.0f},
    {MD_TYPE_IQ2_S, offsetof(md_block_iq2_s, d), FORM_HALF, 1.0f},
    {MD_TYPE_IQ3_XXS, offsetof(md_block_iq3_xxs, d), FORM_HALF, 1.0f},
    {MD_TYPE_IQ3_S, offsetof(md_block_iq3_s, d), FORM_HALF, 1.0f},
    {MD_TYPE_IQ4_NL, offsetof(md_block_iq4_nl, d), FORM_HALF, 1.0f},
    {MD_TYPE_IQ4_XS, offsetof(md_block_iq4_xs, d), FORM_HALF, 1.0f},
    {MD_TYPE_TQ1_0, offsetof(md_block_tq1_0, d), FORM_HALF, 1.0f},
    {MD_TYPE_TQ2_0, offsetof(md_block_tq2_0, d), FORM_HALF, 1.0f},
    {MD_TYPE_MXFP4, offsetof(md_block_mxfp4, e), FORM_E8M0, 1.0f},
    {MD_TYPE_NVFP4, offsetof(md_block_nvfp4, d), FORM_E4M3, 64.0f},
    {MD_TYPE_Q1_0, offsetof(md_block_q1_0, d), FORM_HALF, 1.0f},
    {MD_TYPE_Q2_0, offsetof(md_block_q2_0, d), FORM_HALF, 1.0f},
};
enum { N_SCALE_FIELDS = sizeof scale_fields / sizeof *scale_fields };

/* The E4M3 number below x > 0 (bias 7, largest 448), at least the smallest normal one. */
static uint8_t e4m3_below(float x)
{
    int exponent;
    const float fraction = frexpf(x, &exponent); /* 0.5 to 1 */
    if (exponent + 6 < 1)
        return 1 << 3;
    if (exponent + 6 > 15)
        return 0x7e;
    const int code = (exponent + 6) << 3 | (int)((fraction - 0.5f) * 16.0f);
    return (uint8_t)(code > 0x7e ? 0x7e : code);
}

static void put_scale(unsigned char *field, scale_form form, float scale)
{
    const uint16_t half = md_float_to_half(scale);
    int exponent;
    switch (form) {
    case FORM_HALF: memcpy(field, &half, sizeof half); break;
    case FORM_E8M0:
        frexpf(scale, &exponent);
        field[0] = (uint8_t)(exponent - 1 < -126 ? 1 : exponent - 1 + 127);
        break;
    case FORM_E4M3: memset(field, e4m3_below(scale), 4); break;
    case FORM_IQ1_M:
        for (int i = 0; i < 4; i++) /* word i: the top nibble of its second byte */
            field[2 * i + 1] = (unsigned char)((field[2 * i + 1] & 0x0f) | (half >> 4 * i & 0xf) << 4);
        break;
    }
}

static void set_scale(md_type type, unsigned char *block, float scale)
{
    for (int i = 0; i < N_SCALE_FIELDS; i++)
        if (scale_fields[i].type == type)
            put_scale(block + scale_fields[i].at, scale_fields[i].form, scale * scale_fields[i].share);
}

static bool has_scale(md_type type)
{
    for (int i = 0; i < N_SCALE_FIELDS; i++)
        if (scale_fields[i].type == type)
            return true;
    return false;
}

enum { BLOCK_BYTES_MAX = 512, BLOCK_MAX = 256, SCALE_STREAM = 1 };

/* Random codes for block `index`; the scale is still to be set. */
static void fill_block(uint64_t seed, uint64_t stream, uint64_t index, unsigned char *block, int bytes)
{
    for (int at = 0; at < bytes; at += (int)sizeof(md_rand4)) {
        const md_rand4 r = md_philox(seed, index << 6 | (uint64_t)at / sizeof r, stream);
        const int left = bytes - at;
        memcpy(block + at, r.v, left < (int)sizeof r ? (size_t)left : sizeof r);
    }
}

/* Root of the mean square of what blocks under scale 1 decode to, times the share of NVFP4's tensor beside it. */
static float unit_rms(uint64_t seed, uint64_t stream, const md_synth_tensor *t, const md_type_info *type)
{
    enum { SAMPLE = 16 };
    unsigned char block[BLOCK_BYTES_MAX];
    float x[BLOCK_MAX];
    double sum = 0;
    for (uint64_t i = 0; i < SAMPLE; i++) {
        fill_block(seed, stream, i, block, type->bytes);
        set_scale(t->type, block, 1.0f);
        md_type_decode(t->type, block, x, type->block);
        for (int j = 0; j < type->block; j++)
            sum += (double)x[j] * (double)x[j];
    }
    const double rms = sqrt(sum / (SAMPLE * type->block));
    return (float)(t->type == MD_TYPE_NVFP4 ? rms / 64.0 : rms);
}

/* ---- tensors ---- */

static md_status fill_encoded(uint64_t seed, uint64_t stream, const md_synth_tensor *t, int64_t rows, size_t row_bytes,
                              md_gguf_writer *w, md_error *err)
{
    float *x = md_calloc((size_t)t->dim[0], sizeof *x);
    unsigned char *bytes = md_calloc(row_bytes, 1);
    md_status status = x && bytes ? MD_OK : md_fail_memory(err, "a row of weights");
    for (int64_t r = 0; r < rows && status == MD_OK; r++) {
        fill_floats(seed, stream, t, r * t->dim[0], t->dim[0], x);
        md_type_encode(t->type, x, bytes, t->dim[0]);
        status = md_gguf_data(w, bytes, row_bytes, err);
    }
    md_free(x);
    md_free(bytes);
    return status;
}

static md_status fill_random(uint64_t seed, uint64_t stream, const md_synth_tensor *t, int64_t rows, md_gguf_writer *w,
                             md_error *err)
{
    const md_type_info *type = md_type_get(t->type);
    const float scale = t->spread / unit_rms(seed, stream, t, type);
    const uint64_t n_blocks = (uint64_t)(rows * (t->dim[0] / type->block));
    unsigned char block[BLOCK_BYTES_MAX];
    for (uint64_t i = 0; i < n_blocks; i++) {
        fill_block(seed, stream, i, block, type->bytes);
        set_scale(t->type, block, scale * (0.5f + md_rand_uniform(seed, stream ^ SCALE_STREAM, i)));
        MD_TRY(md_gguf_data(w, block, (size_t)type->bytes, err));
    }
    return MD_OK;
}

md_status md_synth_fill(uint64_t seed, const md_synth_tensor *t, md_gguf_writer *w, md_error *err)
{
    size_t row_bytes;
    int64_t rows = 1;
    for (int i = 1; i < t->n_dims; i++)
        rows *= t->dim[i];
    MD_FAIL_IF(!md_type_row_bytes(t->type, t->dim[0], &row_bytes), MD_ERR_INTERNAL,
               "tensor '%s' has a row of broken blocks", t->name);
    const uint64_t stream = md_rand_stream(t->name);
    if (md_type_can_encode(t->type))
        return fill_encoded(seed, stream, t, rows, row_bytes, w, err);
    MD_FAIL_IF(!has_scale(t->type), MD_ERR_UNSUPPORTED, "tensor '%s': random %s is not possible", t->name,
               md_type_get(t->type)->name);
    return fill_random(seed, stream, t, rows, w, err);
}
