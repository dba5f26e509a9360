/* SPDX-License-Identifier: Apache-2.0
 *
 * Random weights. Each number is a function of (seed, tensor name, index) through Philox, made with integer arithmetic
 * and one multiplication, so that files are the same on every machine, whatever the number of threads. Types with an
 * encoder are rounded from floats. For the others, and for all types of codes when it must be fast, a block is random
 * bits, and its scale is set so that the values come out about as large as asked: what a block under scale 1 decodes to
 * is measured, not known from a table. */
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
    {MD_TYPE_Q4_0, offsetof(md_block_q4_0, d), FORM_HALF, 1.0f},
    {MD_TYPE_Q4_1, offsetof(md_block_q4_1, d), FORM_HALF, 1.0f},
    {MD_TYPE_Q4_1, offsetof(md_block_q4_1, m), FORM_HALF, -7.5f},
    {MD_TYPE_Q5_0, offsetof(md_block_q5_0, d), FORM_HALF, 1.0f},
    {MD_TYPE_Q5_1, offsetof(md_block_q5_1, d), FORM_HALF, 1.0f},
    {MD_TYPE_Q5_1, offsetof(md_block_q5_1, m), FORM_HALF, -15.5f},
    {MD_TYPE_Q8_0, offsetof(md_block_q8_0, d), FORM_HALF, 1.0f},
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

static bool has_form(md_type type, scale_form form)
{
    for (int i = 0; i < N_SCALE_FIELDS; i++)
        if (scale_fields[i].type == type && scale_fields[i].form == form)
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

#define WINDOW_BYTES ((size_t)8 << 20)

void md_synth_sink_done(md_synth_sink *k)
{
    md_free(k->window);
    md_free(k->row);
    k->window = NULL;
    k->row = NULL;
}

typedef struct fill_job {
    uint64_t seed, stream;
    const md_synth_tensor *t;
    const md_type_info *type;
    const float *row_factor; /* borrowed, or NULL */
    md_synth_sink *sink;
    size_t row_bytes;
    int64_t first_row; /* of the window */
    bool encoded;
    bool may_negate; /* scales */
    float scale;     /* of random codes */
} fill_job;

static void encode_row(const fill_job *j, int64_t row, unsigned char *out, int thread)
{
    const int64_t n = j->t->dim[0];
    float *x = j->sink->row + (size_t)thread * j->sink->row_cap;
    fill_floats(j->seed, j->stream, j->t, row * n, n, x);
    if (j->row_factor)
        for (int64_t i = 0; i < n; i++)
            x[i] *= j->row_factor[row];
    md_type_encode(j->t->type, x, out, n);
}

/* What no quantizer writes: -128 in Q8_0. */
static void tame_codes(unsigned char *block)
{
    uint8_t *q = ((md_block_q8_0 *)block)->qs;
    for (int i = 0; i < 32; i++)
        q[i] = q[i] == 0x80 ? 0x81 : q[i];
}

/* Codes such as -8 to 7 are below zero on average. In a deep model such a mean would grow until all tokens look alike,
 * so every other block, at random, has a scale below zero. */
static void draw_row(const fill_job *j, int64_t row, unsigned char *out)
{
    const int64_t blocks = j->t->dim[0] / j->type->block;
    for (int64_t i = 0; i < blocks; i++, out += j->type->bytes) {
        const uint64_t index = (uint64_t)(row * blocks + i);
        const md_rand4 r = md_philox(j->seed, index, j->stream ^ SCALE_STREAM);
        const float scale = j->scale * (0.5f + (float)(r.v[0] >> 8) * 0x1p-24f);
        fill_block(j->seed, j->stream, index, out, j->type->bytes);
        set_scale(j->t->type, out, j->may_negate && r.v[1] & 1 ? -scale : scale);
        if (j->t->type == MD_TYPE_Q8_0)
            tame_codes(out);
    }
}

/* Rows first .. last - 1 of the window. */
static void fill_rows(void *ctx, int64_t first, int64_t last, int thread)
{
    const fill_job *j = ctx;
    for (int64_t r = first; r < last; r++) {
        unsigned char *out = j->sink->window + (size_t)r * j->row_bytes;
        if (j->encoded)
            encode_row(j, j->first_row + r, out, thread);
        else
            draw_row(j, j->first_row + r, out);
    }
}

static md_status make_room(fill_job *j, md_error *err)
{
    md_synth_sink *k = j->sink;
    const size_t window = j->row_bytes > WINDOW_BYTES ? j->row_bytes : WINDOW_BYTES, row = (size_t)j->t->dim[0];
    if (window > k->window_cap) {
        md_free(k->window);
        k->window = md_calloc(window, 1);
        k->window_cap = k->window ? window : 0;
        if (!k->window)
            return md_fail_memory(err, "a window of weights");
    }
    if (j->encoded && row > k->row_cap) {
        md_free(k->row);
        k->row = md_calloc((size_t)md_pool_threads(k->pool), row * sizeof *k->row);
        k->row_cap = k->row ? row : 0;
        if (!k->row)
            return md_fail_memory(err, "a row of weights");
    }
    return MD_OK;
}

md_status md_synth_fill(uint64_t seed, const md_synth_tensor *t, const float *row_factor, md_synth_sink *k,
                        md_error *err)
{
    fill_job j = {.seed = seed,
                  .stream = md_rand_stream(t->name),
                  .t = t,
                  .type = md_type_get(t->type),
                  .row_factor = row_factor,
                  .sink = k,
                  .encoded = md_type_can_encode(t->type) && !(t->codes && has_scale(t->type))};
    MD_FAIL_IF(!md_type_row_bytes(t->type, t->dim[0], &j.row_bytes), MD_ERR_INTERNAL,
               "tensor '%s' has a row of broken blocks", t->name);
    MD_FAIL_IF(!j.encoded && !has_scale(t->type), MD_ERR_UNSUPPORTED, "tensor '%s': random %s is not possible", t->name,
               j.type->name);
    MD_TRY(make_room(&j, err));
    j.may_negate = t->codes && has_form(t->type, FORM_HALF);
    if (!j.encoded)
        j.scale = t->spread / unit_rms(seed, j.stream, t, j.type);
    int64_t rows = 1;
    for (int i = 1; i < t->n_dims; i++)
        rows *= t->dim[i];
    const int64_t at_once = (int64_t)(k->window_cap / j.row_bytes);
    for (int64_t at = 0; at < rows; at += at_once) {
        const int64_t now = rows - at < at_once ? rows - at : at_once;
        j.first_row = at;
        md_pool_run(k->pool, now, 1, fill_rows, &j);
        MD_TRY(md_gguf_data(k->writer, k->window, (size_t)now * j.row_bytes, err));
        k->done += (uint64_t)now * j.row_bytes;
        MD_FAIL_IF(k->progress && !k->progress(k->progress_user, k->done, k->total), MD_ERR_CANCELLED,
                   "the random model was given up; nothing was written");
    }
    return MD_OK;
}
