/* SPDX-License-Identifier: Apache-2.0
 *
 * Steps that treat every row by itself: norms, residuals, activations. */
#include "ops/ops.h"

#include <string.h>

/* Values that outweigh the cost of handing out a share. */
#define SHARE_VALUES 16384

static int64_t grain(int64_t d)
{
    const int64_t g = SHARE_VALUES / (d > 0 ? d : 1);
    return g > 1 ? g : 1;
}

typedef struct row_job {
    const md_ops *o;
    const float *x, *y;
    const md_norm *norm;
    float *out;
    int64_t d;
    float a;
} row_job;

void md_norm_row(const md_kern *k, const md_norm *norm, const float *x, float *y, int64_t d)
{
    if (norm->kind == MD_NORM_RMS)
        k->rms_norm(x, norm->w, y, d, norm->eps);
    else if (norm->kind == MD_NORM_LAYER)
        k->layer_norm(x, norm->w, norm->b, y, d, norm->eps);
    else if (y != x)
        memcpy(y, x, (size_t)d * sizeof *y);
}

static void any_norm_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const row_job *j = ctx;
    for (int64_t t = first; t < last; t++)
        md_norm_row(j->o->kern, j->norm, j->x + t * j->d, j->out + t * j->d, j->d);
}

void md_norm_rows(const md_ops *o, const md_norm *norm, const float *x, float *y, int64_t n, int64_t d)
{
    if (norm->kind == MD_NORM_NONE && y == x)
        return;
    row_job j = {.o = o, .x = x, .out = y, .d = d, .norm = norm};
    md_pool_run(o->pool, n, grain(d), any_norm_items, &j);
}

static void residual_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const row_job *j = ctx;
    float *out = j->out + first * j->d;
    const float *y = j->y + first * j->d;
    const int64_t n = (last - first) * j->d;
    if (j->a == 1.0f)
        j->o->kern->add(out, y, n);
    else
        j->o->kern->axpy(out, y, j->a, n);
}

void md_residual(const md_ops *o, float *x, const float *y, int64_t n, int64_t d, float r)
{
    row_job j = {.o = o, .y = y, .out = x, .d = d, .a = r};
    md_pool_run(o->pool, n, grain(d), residual_items, &j);
}

static void activate(const md_kern *k, md_ffn_act act, float *x, int64_t n)
{
    switch (act) {
    case MD_FFN_SILU:
    case MD_FFN_OAI: k->silu(x, n); return;
    case MD_FFN_GELU: k->gelu(x, n); return;
    case MD_FFN_GELU_ERF: k->gelu_erf(x, n); return;
    case MD_FFN_RELU: k->relu(x, n); return;
    case MD_FFN_RELU2:
        k->relu(x, n);
        k->mul_into(x, x, n);
        return;
    }
}

/* Acts that have no kernel of their own with a gate: the activation, then the product. */
static void activate_then_multiply(const md_kern *k, md_ffn_act act, const float *gate, const float *up, float *y,
                                   int64_t n)
{
    if (y != gate)
        memcpy(y, gate, (size_t)n * sizeof *y);
    activate(k, act, y, n);
    if (up)
        k->mul_into(y, up, n);
}

void md_ffn_activate(const md_kern *k, md_ffn_act act, float alpha, float limit, const float *gate, const float *up,
                     float *y, int64_t n)
{
    if (!up)
        activate_then_multiply(k, act, gate, NULL, y, n);
    else if (act == MD_FFN_OAI)
        k->oai_mul(gate, up, y, n, alpha, limit);
    else if (act == MD_FFN_GELU)
        k->gelu_mul(gate, up, y, n);
    else if (act != MD_FFN_SILU)
        activate_then_multiply(k, act, gate, up, y, n);
    else if (limit > 0.0f)
        k->silu_clamp_mul(gate, up, y, n, limit);
    else
        k->silu_mul(gate, up, y, n);
}
