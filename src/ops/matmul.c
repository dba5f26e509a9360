/* SPDX-License-Identifier: Apache-2.0
 *
 * Products, cut over rows of the weight: each output element is one thread's, whole. */
#include "ops/ops.h"

/* Multiply-adds that outweigh the cost of handing out a share (some microseconds at a few billion a second). */
#define SHARE_WORK ((int64_t)1 << 16)

int64_t md_share_rows(const md_ops *o, int64_t k, int64_t t)
{
    if (o->grain_rows > 0)
        return o->grain_rows;
    const int64_t row = (k > 0 ? k : 1) * (t > 0 ? t : 1), rows = SHARE_WORK / row;
    return rows > 1 ? rows : 1;
}

typedef struct matmul_job {
    const md_ops *o;
    const md_weight *w;
    const md_act *act;
    int64_t n, ld;
    float *out;
} matmul_job;

static void matmul_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const matmul_job *j = ctx;
    const md_product m = {.w = j->w->data,
                          .row_bytes = j->w->row_bytes,
                          .first = first,
                          .last = last,
                          .act = j->act,
                          .n_rows = j->n,
                          .out = j->out,
                          .ld_out = j->ld};
    j->o->kern->mul[j->w->type](&m);
    if (j->w->scale || j->w->bias)
        for (int64_t t = 0; t < j->n; t++)
            md_finish_rows(j->out + t * j->ld, j->w->scale, j->w->bias, first, last);
}

void md_matmul(const md_ops *o, const md_weight *w, md_rows *x, float *out, int64_t ld)
{
    md_rows_need(o, x, w->type);
    const md_act act = md_rows_act(x, w->type);
    matmul_job j = {.o = o, .w = w, .act = &act, .n = x->n, .ld = ld, .out = out};
    md_pool_run(o->pool, w->rows, md_share_rows(o, w->cols, x->n), matmul_items, &j);
}
