/* SPDX-License-Identifier: Apache-2.0
 *
 * What tests of threaded operations share: every cut of the work that must not change a bit, and rows of
 * activations. */
#ifndef MD_TEST_OPS_TEST_H
#define MD_TEST_OPS_TEST_H

#include "checkkern/check.h"
#include "checkkern/weights.h"
#include "ops/ops.h"

/* Runs `each` under 1, 2, 3 and 7 threads, each with the smallest shares given. */
typedef void cut_fn(const md_ops *ops, void *ctx);
static inline void under_cuts(const md_kern *kern, const int64_t *grains, int n_grains, cut_fn *each, void *ctx)
{
    static const int threads[] = {1, 2, 3, 7};
    for (int i = 0; i < COUNT(threads); i++) {
        md_error err = {0};
        md_pool *pool;
        if (md_pool_new(threads[i], &pool, &err) != MD_OK)
            fail_msg("%s", err.message);
        for (int g = 0; g < n_grains; g++) {
            const md_ops ops = {.kern = kern, .pool = pool, .grain_rows = grains[g]};
            each(&ops, ctx);
        }
        md_pool_free(pool);
    }
}

static inline void under_every_cut(const md_kern *kern, cut_fn *each, void *ctx)
{
    static const int64_t grains[] = {0, 1, 7};
    under_cuts(kern, grains, COUNT(grains), each, ctx);
}

/* For what cuts its work without asking for a smallest share. */
static inline void under_every_count(const md_kern *kern, cut_fn *each, void *ctx)
{
    under_cuts(kern, &(const int64_t){0}, 1, each, ctx);
}

/* Buffers for at most n rows of k values. */
static inline md_rows rows_new(int64_t n, int64_t k)
{
    const size_t values = (size_t)(n * k) + 1;
    md_rows r = {.code32 = malloc(values),
                 .code256 = malloc(values),
                 .scale32 = malloc(values * 4 / 32 + 4),
                 .sum32 = malloc(values * 4 / 32 + 4),
                 .isum32 = malloc(values * 2 / 32 + 2),
                 .scale256 = malloc(values * 4 / 256 + 4),
                 .sum16 = malloc(values * 2 / 16 + 2)};
    assert_true(r.code32 && r.code256 && r.scale32 && r.sum32 && r.isum32 && r.scale256 && r.sum16);
    return r;
}

static inline void rows_free(md_rows *r)
{
    free(r->code32);
    free(r->code256);
    free(r->scale32);
    free(r->sum32);
    free(r->isum32);
    free(r->scale256);
    free(r->sum16);
}

/* A weight of random payload; data is freed by weight_free. */
static inline md_weight weight_new(md_type t, int64_t rows, int64_t cols)
{
    md_weight w = {.type = t, .rows = rows, .cols = cols};
    assert_true(md_type_row_bytes(t, cols, &w.row_bytes));
    void *data = malloc((size_t)rows * w.row_bytes);
    assert_non_null(data);
    random_weights(t, data, rows * cols, random_u64);
    w.data = data;
    return w;
}

/* A copy of w in tiles where its type and rows allow it, else of w as it is; scale and bias stay w's. */
static inline md_weight weight_woven(const md_weight *w)
{
    md_weight out = *w;
    const size_t bytes = (size_t)w->rows * w->row_bytes;
    if (!w->data)
        return out;
    char *data = malloc(bytes);
    assert_non_null(data);
    out.data = data;
    if (!md_tile_has(w->type) || w->rows % MD_TILE_ROWS != 0) {
        memcpy(data, w->data, bytes);
        return out;
    }
    out.layout = MD_LAYOUT_TILES;
    const size_t step = MD_TILE_ROWS * w->row_bytes;
    for (size_t at = 0; at < bytes; at += step)
        md_tile_weave(w->type, (const char *)w->data + at, w->row_bytes, w->cols / md_type_get(w->type)->block,
                      data + at);
    return out;
}

static inline float *floats_new(int64_t n, fill f)
{
    float *x = malloc((size_t)n * sizeof *x + 1);
    assert_non_null(x);
    fill_floats(x, n, f);
    return x;
}

static inline void weight_free(md_weight *w)
{
    free((void *)(uintptr_t)w->data);
    free((void *)(uintptr_t)w->scale);
    free((void *)(uintptr_t)w->bias);
}

#endif
