/* SPDX-License-Identifier: Apache-2.0
 *
 * Products with a matrix for each head, as latent attention needs on its way into and out of the latent space. */
#include "ops/ops.h"

typedef struct heads_job {
    const md_ops *o;
    const md_weight *w;
    const md_rows *rows; /* (H, T, K) */
    const float *x;      /* (T, H, K), when turned */
    int64_t first, stride, n_rows, n_heads, t, k;
    int64_t share, shares; /* rows of a head's matrix in an item, items a head */
    float *row;            /* (threads, cols), when turned */
    float *out;
    int64_t ld;
} heads_job;

/* The rows of head h of an activation. */
static md_act act_of_head(const heads_job *j, int64_t h)
{
    md_act a = md_rows_act(j->rows, j->w->type);
    const int64_t at = h * j->t;
    if (a.f32)
        a.f32 += at * a.k;
    if (a.code)
        a.code += at * a.k;
    if (a.scale)
        a.scale += at * (a.k / (a.kind == MD_ACT_Q32 ? 32 : 256));
    if (a.sum32)
        a.sum32 += at * (a.k / 32);
    if (a.sum16)
        a.sum16 += at * (a.k / 16);
    return a;
}

static const char *row_of(const heads_job *j, int64_t h)
{
    return (const char *)j->w->data + (size_t)(j->first + h * j->stride) * j->w->row_bytes;
}

static void heads_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const heads_job *j = ctx;
    for (int64_t i = first; i < last; i++) {
        const int64_t h = i / j->shares, from = i % j->shares * j->share,
                      to = from + j->share < j->n_rows ? from + j->share : j->n_rows;
        const md_act act = act_of_head(j, h);
        const md_product m = {.w = row_of(j, h),
                              .row_bytes = j->w->row_bytes,
                              .first = from,
                              .last = to,
                              .act = &act,
                              .n_rows = j->t,
                              .out = j->out + h * j->n_rows,
                              .ld_out = j->n_heads * j->n_rows};
        j->o->kern->mul[j->w->type](&m);
        if (j->w->scale)
            for (int64_t t = 0; t < j->t; t++)
                md_finish_rows(m.out + t * m.ld_out, j->w->scale, NULL, from, to);
    }
}

void md_matmul_heads(const md_ops *o, const md_weight *w, int64_t first, int64_t stride, int64_t n_rows, md_rows *x,
                     int64_t n_heads, float *out)
{
    md_rows_need(o, x, w->type);
    heads_job j = {.o = o,
                   .w = w,
                   .rows = x,
                   .first = first,
                   .stride = stride,
                   .n_rows = n_rows,
                   .n_heads = n_heads,
                   .t = x->n / n_heads,
                   .out = out};
    j.share = md_share_rows(o, w->cols, j.t);
    j.share = j.share < n_rows ? j.share : n_rows;
    j.shares = (n_rows + j.share - 1) / j.share;
    md_pool_run(o->pool, n_heads * j.shares, 1, heads_items, &j);
}

/* One head: each row of its matrix is widened once and added to every token's output, in ascending order of rows. */
static void turned_items(void *ctx, int64_t first, int64_t last, int thread)
{
    const heads_job *j = ctx;
    const int64_t cols = j->w->cols;
    float *row = j->row + thread * cols;
    for (int64_t h = first; h < last; h++) {
        for (int64_t t = 0; t < j->t; t++)
            for (int64_t c = 0; c < cols; c++)
                j->out[(t * j->n_heads + h) * j->ld + c] = 0.0f;
        for (int64_t r = 0; r < j->k; r++) {
            md_type_decode(j->w->type, row_of(j, h) + (size_t)r * j->w->row_bytes, row, cols);
            for (int64_t t = 0; t < j->t; t++)
                j->o->kern->axpy(j->out + (t * j->n_heads + h) * j->ld, row, j->x[(t * j->n_heads + h) * j->k + r],
                                 cols);
        }
        if (j->w->scale)
            for (int64_t t = 0; t < j->t; t++)
                j->o->kern->scale(j->out + (t * j->n_heads + h) * j->ld, *j->w->scale, cols);
    }
}

void md_matmul_heads_turned(const md_ops *o, const md_weight *w, int64_t first, int64_t stride, const float *x,
                            int64_t t, int64_t k, int64_t n_heads, float *row, float *out, int64_t ld)
{
    heads_job j = {.o = o,
                   .w = w,
                   .x = x,
                   .first = first,
                   .stride = stride,
                   .n_heads = n_heads,
                   .t = t,
                   .k = k,
                   .row = row,
                   .out = out,
                   .ld = ld};
    md_pool_run(o->pool, n_heads, 1, turned_items, &j);
}
