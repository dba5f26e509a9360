/* SPDX-License-Identifier: Apache-2.0
 *
 * Steps that treat every row by itself: norms, residuals, activations. */
#include "ops/ops.h"

/* Values that outweigh the cost of handing out a share. */
#define SHARE_VALUES 16384

static int64_t grain(int64_t d)
{
    const int64_t g = SHARE_VALUES / (d > 0 ? d : 1);
    return g > 1 ? g : 1;
}

typedef struct row_job {
    const md_ops *o;
    const float *x, *y, *w;
    float *out;
    int64_t d, stride;
    float a, b;
    md_ffn_act act;
} row_job;

static void norm_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const row_job *j = ctx;
    for (int64_t t = first; t < last; t++)
        j->o->kern->rms_norm(j->x + t * j->d, j->w, j->out + t * j->d, j->d, j->a);
}

void md_rms_norm_rows(const md_ops *o, const float *x, const float *w, float *y, int64_t n, int64_t d, float eps)
{
    row_job j = {.o = o, .x = x, .w = w, .out = y, .d = d, .a = eps};
    md_pool_run(o->pool, n, grain(d), norm_items, &j);
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

/* Rows of gate at x, of up at y, both `stride` apart; rows of out `d` apart. */
static void activate_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const row_job *j = ctx;
    for (int64_t t = first; t < last; t++) {
        const float *gate = j->x + t * j->stride, *up = j->y + t * j->stride;
        if (j->act == MD_FFN_OAI)
            j->o->kern->oai_mul(gate, up, j->out + t * j->d, j->d, j->a, j->b);
        else if (j->act == MD_FFN_GELU)
            j->o->kern->gelu_mul(gate, up, j->out + t * j->d, j->d);
        else if (j->b > 0.0f)
            j->o->kern->silu_clamp_mul(gate, up, j->out + t * j->d, j->d, j->b);
        else
            j->o->kern->silu_mul(gate, up, j->out + t * j->d, j->d);
    }
}

void md_ffn_activate(const md_ops *o, md_ffn_act act, float alpha, float limit, const float *gate, const float *up,
                     float *y, int64_t n, int64_t f)
{
    row_job j = {.o = o, .x = gate, .y = up, .out = y, .d = f, .stride = f, .a = alpha, .b = limit, .act = act};
    md_pool_run(o->pool, n, grain(f), activate_items, &j);
}

void md_ffn_activate_pairs(const md_ops *o, md_ffn_act act, float alpha, float limit, const float *gate_up,
                           float *hidden, int64_t n, int64_t f)
{
    row_job j = {.o = o,
                 .x = gate_up,
                 .y = gate_up + f,
                 .out = hidden,
                 .d = f,
                 .stride = 2 * f,
                 .a = alpha,
                 .b = limit,
                 .act = act};
    md_pool_run(o->pool, n, grain(f), activate_items, &j);
}
