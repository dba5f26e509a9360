/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows of activations and the forms that products want. */
#include "ops/ops.h"

void md_rows_set(md_rows *r, const float *x, int64_t n, int64_t k)
{
    r->x = x;
    r->n = n;
    r->k = k;
    r->have32 = r->have256 = false;
}

typedef struct quantize_job {
    const md_ops *o;
    md_rows *r;
} quantize_job;

static void quantize32_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const quantize_job *j = ctx;
    const md_rows *r = j->r;
    const int64_t k = r->k, b = k / 32;
    for (int64_t t = first; t < last; t++)
        j->o->kern->quantize32(r->x + t * k, k, r->code32 + t * k, r->scale32 + t * b, r->sum32 + t * b);
}

static void quantize256_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const quantize_job *j = ctx;
    const md_rows *r = j->r;
    const int64_t k = r->k;
    for (int64_t t = first; t < last; t++)
        j->o->kern->quantize256(r->x + t * k, k, r->code256 + t * k, r->scale256 + t * (k / 256),
                                r->sum16 + t * (k / 16));
}

void md_rows_need(const md_ops *o, md_rows *r, md_type t)
{
    quantize_job j = {.o = o, .r = r};
    const md_act_kind kind = md_type_get(t)->act;
    if (kind == MD_ACT_Q32 && !r->have32) {
        md_pool_run(o->pool, r->n, 8, quantize32_items, &j);
        r->have32 = true;
    } else if (kind == MD_ACT_Q256 && !r->have256) {
        md_pool_run(o->pool, r->n, 8, quantize256_items, &j);
        r->have256 = true;
    }
}

md_act md_rows_act(const md_rows *r, md_type t)
{
    const md_act_kind kind = md_type_get(t)->act;
    md_act a = {.kind = kind, .k = r->k, .f32 = r->x};
    if (kind == MD_ACT_Q32) {
        a.code = r->code32;
        a.scale = r->scale32;
        a.sum32 = r->sum32;
    } else if (kind == MD_ACT_Q256) {
        a.code = r->code256;
        a.scale = r->scale256;
        a.sum16 = r->sum16;
    }
    return a;
}
