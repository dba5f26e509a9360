/* SPDX-License-Identifier: Apache-2.0
 *
 * Products with a matrix for each head, as latent attention needs on its way into and out of the latent space. */
#include "ops/ops.h"

#include <string.h>

typedef struct heads_job {
    const md_ops *o;
    const md_weight *w;
    const md_rows *rows; /* (H, T, K) */
    const float *x;      /* (T, H, K), when turned */
    int64_t first, stride, n_rows, n_heads, t, k;
    int64_t share, shares; /* rows of a head's matrix in an item, items a head */
    float *wide;           /* (threads, MD_TURNED_ROWS, cols), when turned */
    float *out;
    int64_t ld;
} heads_job;

static void heads_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const heads_job *j = ctx;
    for (int64_t i = first; i < last; i++) {
        const int64_t h = i / j->shares, from = i % j->shares * j->share,
                      to = from + j->share < j->n_rows ? from + j->share : j->n_rows;
        const md_act act = md_rows_act_from(j->rows, j->w->type, h * j->t);
        const int64_t at = j->first + h * j->stride;
        md_matmul_stretch(j->o->kern, j->w, at + from, at + to, &act, NULL, j->t, j->out + h * j->n_rows + from,
                          j->n_heads * j->n_rows);
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
    j.share = (md_share_rows(o, w->cols, j.t) + MD_TILE_ROWS - 1) / MD_TILE_ROWS * MD_TILE_ROWS;
    j.share = j.share < n_rows ? j.share : n_rows;
    j.shares = (n_rows + j.share - 1) / j.share;
    md_pool_run(o->pool, n_heads * j.shares, 1, heads_items, &j);
}

/* One head: some rows of its matrix are widened once and added to every token's output, in ascending order of rows. */
static void turned_items(void *ctx, int64_t first, int64_t last, int thread)
{
    const heads_job *j = ctx;
    const int64_t cols = j->w->cols;
    float *wide = j->wide + thread * MD_TURNED_ROWS * cols;
    for (int64_t h = first; h < last; h++) {
        for (int64_t t = 0; t < j->t; t++)
            memset(j->out + (t * j->n_heads + h) * j->ld, 0, (size_t)cols * sizeof *j->out);
        for (int64_t r = 0, n; r < j->k; r += n) {
            n = j->k - r < MD_TURNED_ROWS ? j->k - r : MD_TURNED_ROWS;
            for (int64_t i = 0; i < n; i++)
                md_weight_row(j->w, j->first + h * j->stride + r + i, wide + i * cols);
            for (int64_t t = 0; t < j->t; t++)
                j->o->kern->axpys(j->out + (t * j->n_heads + h) * j->ld, wide, cols,
                                  j->x + (t * j->n_heads + h) * j->k + r, (int)n, cols);
        }
        if (j->w->scale)
            for (int64_t t = 0; t < j->t; t++)
                j->o->kern->scale(j->out + (t * j->n_heads + h) * j->ld, *j->w->scale, cols);
    }
}

void md_matmul_heads_turned(const md_ops *o, const md_weight *w, int64_t first, int64_t stride, const float *x,
                            int64_t t, int64_t k, int64_t n_heads, float *wide, float *out, int64_t ld)
{
    heads_job j = {.o = o,
                   .w = w,
                   .x = x,
                   .first = first,
                   .stride = stride,
                   .n_heads = n_heads,
                   .t = t,
                   .k = k,
                   .wide = wide,
                   .out = out,
                   .ld = ld};
    md_pool_run(o->pool, n_heads, 1, turned_items, &j);
}
