/* SPDX-License-Identifier: Apache-2.0
 *
 * Threaded operations over rows: quantizing activations, products, element-wise steps, attention. They cut work into items
 * whose results do not depend on the cut. Nothing here allocates; buffers are the caller's.
 *
 * Letters: T rows (tokens), D model width, N rows and K columns of a weight. */
#ifndef MD_OPS_OPS_H
#define MD_OPS_OPS_H

#include "base/pool.h"
#include "kern/kern.h"
#include <stdbool.h>

typedef struct md_ops {
    const md_kern *kern; /* borrowed */
    md_pool *pool;       /* borrowed */
    int64_t grain_rows;  /* smallest share of weight rows a thread gets; 0: by size of the work */
} md_ops;

/* A weight matrix (N, K) as stored. All pointers borrowed. */
typedef struct md_weight {
    md_type type;
    int64_t rows, cols; /* N, K */
    size_t row_bytes;
    const void *data;   /* NULL: no such weight */
    const float *scale; /* one factor for the finished product, or NULL */
    const float *bias;  /* (N), or NULL */
} md_weight;

/* Rows of activations with the forms that products ask for, made on demand. Buffers are (max rows, max K). */
typedef struct md_rows {
    const float *x; /* (T, K), set by md_rows_set */
    int64_t n, k;   /* T, K of what is set */
    bool have32, have256;
    int8_t *code32, *code256; /* owned by whoever planned the scratch; NULL if no weight wants them */
    float *scale32, *sum32, *scale256;
    int16_t *sum16;
} md_rows;

/* Points rows at x (n, k); forgets quantized forms. */
void md_rows_set(md_rows *r, const float *x, int64_t n, int64_t k);
/* Makes the form that weights of type t want (if it is not there yet). */
void md_rows_need(const md_ops *o, md_rows *r, md_type t);
md_act md_rows_act(const md_rows *r, md_type t);

/* out (T, ld) = rows * w^T, then scale and bias. */
void md_matmul(const md_ops *o, const md_weight *w, md_rows *x, float *out, int64_t ld);

/* y (T, D) = rms(x) row by row. */
void md_rms_norm_rows(const md_ops *o, const float *x, const float *w, float *y, int64_t n, int64_t d, float eps);
/* x (T, D) += y * r; r == 1: plain addition. */
void md_residual(const md_ops *o, float *x, const float *y, int64_t n, int64_t d, float r);

/* MD_FFN_SILU with a limit above 0 clamps: silu(gate) from above, up on both sides. */
typedef enum md_ffn_act { MD_FFN_SILU, MD_FFN_OAI, MD_FFN_GELU } md_ffn_act;
/* y = act(gate) * up, row by row; rows of width f. y may be gate. */
void md_ffn_activate(const md_ops *o, md_ffn_act act, float alpha, float limit, const float *gate, const float *up,
                     float *y, int64_t n, int64_t f);

/* The same for rows (n, 2f) that hold gate, then up; hidden (n, f). */
void md_ffn_activate_pairs(const md_ops *o, md_ffn_act act, float alpha, float limit, const float *gate_up,
                           float *hidden, int64_t n, int64_t f);

/* Adds a bias to one finished stretch of rows [first, last) of an output row, after an optional scale. */
static inline void md_finish_rows(float *out, const float *scale, const float *bias, int64_t first, int64_t last)
{
    if (scale)
        for (int64_t r = first; r < last; r++)
            out[r] *= *scale;
    if (bias)
        for (int64_t r = first; r < last; r++)
            out[r] += bias[r];
}

/* How many rows of a (?, K) weight make a fair share when each meets t rows of activations. */
int64_t md_share_rows(const md_ops *o, int64_t k, int64_t t);

#endif
