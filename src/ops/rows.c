/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows of activations and the forms that products want. */
#include "ops/ops.h"

/* Values that outweigh the cost of handing out a share. */
#define SHARE_VALUES 16384

void md_rows_set(md_rows *r, const float *x, int64_t n, int64_t k)
{
    r->x = x;
    r->n = n;
    r->k = k;
    r->have32 = r->have256 = false;
}

void md_rows_quantize(const md_kern *k, const md_rows *r, md_act_kind kind, int64_t row, int64_t first, int64_t n,
                      const float *x)
{
    const int64_t at = row * r->k + first;
    if (kind == MD_ACT_Q32) {
        const int64_t b = row * (r->k / 32) + first / 32;
        k->quantize32(x, n, r->code32 + at, r->scale32 + b, r->sum32 + b, r->isum32 + b);
    } else if (kind == MD_ACT_Q256) {
        k->quantize256(x, n, r->code256 + at, r->scale256 + row * (r->k / 256) + first / 256,
                       r->sum16 + row * (r->k / 16) + first / 16);
    }
}

typedef struct quantize_job {
    const md_kern *kern;
    const md_rows *r;
    md_act_kind kind;
} quantize_job;

static void quantize_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const quantize_job *j = ctx;
    for (int64_t t = first; t < last; t++)
        md_rows_quantize(j->kern, j->r, j->kind, t, 0, j->r->k, j->r->x + t * j->r->k);
}

void md_rows_need(const md_ops *o, md_rows *r, md_type t)
{
    const md_act_kind kind = md_type_get(t)->act;
    bool *const have = kind == MD_ACT_Q32 ? &r->have32 : &r->have256;
    if ((kind != MD_ACT_Q32 && kind != MD_ACT_Q256) || *have)
        return;
    quantize_job j = {.kern = o->kern, .r = r, .kind = kind};
    md_pool_run(o->pool, r->n, SHARE_VALUES / (r->k > 0 ? r->k : 1) + 1, quantize_items, &j);
    *have = true;
}

md_act md_rows_act(const md_rows *r, md_type t)
{
    const md_act_kind kind = md_type_get(t)->act;
    md_act a = {.kind = kind, .k = r->k, .f32 = r->x};
    if (kind == MD_ACT_Q32) {
        a.code = r->code32;
        a.scale = r->scale32;
        a.sum32 = r->sum32;
        a.isum = r->isum32;
    } else if (kind == MD_ACT_Q256) {
        a.code = r->code256;
        a.scale = r->scale256;
        a.sum16 = r->sum16;
    }
    return a;
}

md_act md_rows_act_from(const md_rows *r, md_type t, int64_t first)
{
    const md_rows rest = md_rows_view(r, first, r->k);
    return md_rows_act(&rest, t);
}

/* Where rows are no whole number of blocks, there is room to round up. */
static int64_t blocks_before(int64_t values, int64_t block)
{
    return (values + block - 1) / block;
}

md_rows md_rows_view(const md_rows *r, int64_t first, int64_t k)
{
    const int64_t at = first * r->k;
    md_rows v = *r;
    v.k = k;
    v.n = r->n - first;
    v.x = r->x ? r->x + at : NULL;
    if (r->code32) {
        v.code32 += at;
        v.scale32 += blocks_before(at, 32);
        v.sum32 += blocks_before(at, 32);
        v.isum32 += blocks_before(at, 32);
    }
    if (r->code256) {
        v.code256 += at;
        v.scale256 += blocks_before(at, 256);
        v.sum16 += blocks_before(at, 16);
    }
    return v;
}
