/* SPDX-License-Identifier: Apache-2.0
 *
 * Products, cut over rows of the weight: each output element is one thread's, whole. Several weights that read the same rows are
 * cut as if they stood below each other. */
#include "ops/ops.h"

/* Multiply-adds that outweigh the cost of handing out a share (a microsecond or so at tens of billions a second). */
#define LEAST_WORK ((int64_t)1 << 15)
/* Weight rows that several rows of activations must meet at least, once they are gathered. */
#define MANY_LEAST 64
/* Weight rows that kernels take together; shares are whole steps. */
#define STEP       16

int64_t md_share_rows(const md_ops *o, int64_t k, int64_t t)
{
    if (o->grain_rows > 0)
        return o->grain_rows;
    const int64_t row = (k > 0 ? k : 1) * (t > 0 ? t : 1), rows = md_round_up(LEAST_WORK / row + 1, STEP);
    return t < 4 || rows > MANY_LEAST ? rows : MANY_LEAST;
}

void md_matmul_stretch(const md_kern *k, const md_weight *w, int64_t first, int64_t last, const md_act *act,
                       const int32_t *rows, int64_t n, float *out, int64_t ld)
{
    /* in tiles, too, row 8 i begins at 8 i rows' bytes */
    const md_product m = {.w = (const char *)w->data + (size_t)first * w->row_bytes,
                          .row_bytes = w->row_bytes,
                          .last = last - first,
                          .act = act,
                          .rows = rows,
                          .n_rows = n,
                          .out = out,
                          .ld_out = ld};
    md_weight_mul(k, w)(&m);
    if (w->scale || w->bias)
        for (int64_t t = 0; t < n; t++)
            md_finish_rows(out + t * ld, w->scale, w->bias ? w->bias + first : NULL, 0, last - first);
}

typedef struct matmul_job {
    const md_ops *o;
    const md_matmul_part *part;
    const md_rows *x;
    int64_t step; /* rows of an item */
} matmul_job;

static int64_t items_of(const md_weight *w, int64_t step)
{
    return w->data ? (w->rows + step - 1) / step : 0;
}

static void matmul_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const matmul_job *j = ctx;
    const md_matmul_part *p = j->part;
    int64_t from = 0; /* the part's first item */
    for (int64_t i = first; i < last;) {
        const int64_t to = from + items_of(p->w, j->step);
        if (i >= to) {
            from = to;
            p++;
            continue;
        }
        /* neighbours of one part are one stretch */
        const int64_t end = last < to ? last : to, row = (i - from) * j->step, end_row = (end - from) * j->step;
        const md_act act = md_rows_act(j->x, p->w->type);
        md_matmul_stretch(j->o->kern, p->w, row, end_row < p->w->rows ? end_row : p->w->rows, &act, NULL, j->x->n,
                          p->out + row, p->ld);
        i = end;
    }
}

void md_matmul_parts(const md_ops *o, const md_matmul_part *part, int n, md_rows *x)
{
    const int64_t least = md_share_rows(o, x->k, x->n);
    matmul_job j = {.o = o, .part = part, .x = x, .step = o->grain_rows > 0 ? md_round_up(least, MD_TILE_ROWS) : STEP};
    int64_t items = 0;
    for (int i = 0; i < n; i++) {
        if (part[i].w->data)
            md_rows_need(o, x, part[i].w->type);
        items += items_of(part[i].w, j.step);
    }
    md_pool_run(o->pool, items, o->grain_rows > 0 ? 1 : least / STEP, matmul_items, &j);
}

void md_matmul(const md_ops *o, const md_weight *w, md_rows *x, float *out, int64_t ld)
{
    md_matmul_parts(o, &(md_matmul_part){.w = w, .out = out, .ld = ld}, 1, x);
}
