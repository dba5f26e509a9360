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
    md_layout layout;   /* TILES: data is tiles; N is a multiple of 8 */
    int64_t rows, cols; /* N, K */
    size_t row_bytes;
    const void *data;   /* NULL: no such weight */
    const float *scale; /* one factor for the finished product, or NULL */
    const float *bias;  /* (N), or NULL */
} md_weight;

/* n >= 0 up to the next multiple of step. */
static inline int64_t md_round_up(int64_t n, int64_t step)
{
    return (n + step - 1) / step * step;
}

typedef void md_mul_fn(const md_product *m);
/* The kernel that multiplies a weight. */
static inline md_mul_fn *md_weight_mul(const md_kern *k, const md_weight *w)
{
    return w->layout == MD_LAYOUT_TILES ? k->mul_tiles[w->type] : k->mul[w->type];
}

/* y (K) = row r of w, decoded exactly; without the weight's scale. */
void md_weight_row(const md_weight *w, int64_t r, float *y);

/* Rows of activations with the forms that products ask for, made on demand. Buffers are (max rows, max K). */
typedef struct md_rows {
    const float *x; /* (T, K), set by md_rows_set */
    int64_t n, k;   /* T, K of what is set */
    bool have32, have256;
    int8_t *code32, *code256; /* owned by whoever planned the scratch; NULL if no weight wants them */
    float *scale32, *sum32, *scale256;
    int16_t *isum32, *sum16;
} md_rows;

/* Points rows at x (n, k); forgets quantized forms. */
void md_rows_set(md_rows *r, const float *x, int64_t n, int64_t k);
/* Makes the form that weights of type t want (if it is not there yet). */
void md_rows_need(const md_ops *o, md_rows *r, md_type t);
md_act md_rows_act(const md_rows *r, md_type t);
/* The same from row `first` on. */
md_act md_rows_act_from(const md_rows *r, md_type t, int64_t first);
/* Buffers of r for rows of k <= r->k values, where row `first` of r would be. */
md_rows md_rows_view(const md_rows *r, int64_t first, int64_t k);
/* Makes part of a form, columns [first, first + n) of one row, from values at x; both are multiples of the form's block. By whoever
 * runs it. */
void md_rows_quantize(const md_kern *k, const md_rows *r, md_act_kind kind, int64_t row, int64_t first, int64_t n,
                      const float *x);

/* out (T, ld) = rows * w^T, then scale and bias. */
void md_matmul(const md_ops *o, const md_weight *w, md_rows *x, float *out, int64_t ld);

/* The same for several weights that read the same rows, as one piece of work; parts whose weight has no data are left out. */
typedef struct md_matmul_part {
    const md_weight *w;
    float *out;
    int64_t ld;
} md_matmul_part;
void md_matmul_parts(const md_ops *o, const md_matmul_part *part, int n, md_rows *x);

/* A norm of a row: by its root mean square, or by mean and variance. Weights and bias borrowed; NULL: ones, zeros. */
typedef enum md_norm_kind { MD_NORM_NONE, MD_NORM_RMS, MD_NORM_LAYER } md_norm_kind;
typedef struct md_norm {
    md_norm_kind kind;
    const float *w, *b; /* (D) */
    float eps;
} md_norm;
/* y (T, D) = norm(x) row by row; a copy if there is none. y may be x. */
void md_norm_rows(const md_ops *o, const md_norm *norm, const float *x, float *y, int64_t n, int64_t d);
/* One row, by whoever runs it. */
void md_norm_row(const md_kern *k, const md_norm *norm, const float *x, float *y, int64_t d);

/* x (T, D) += y * r; r == 1: plain addition. */
void md_residual(const md_ops *o, float *x, const float *y, int64_t n, int64_t d, float r);

/* MD_FFN_SILU with a limit above 0 clamps: silu(gate) from above, up on both sides. GELU is the tanh form, GELU_ERF the
 * exact one, RELU2 the square of RELU. */
typedef enum md_ffn_act { MD_FFN_SILU, MD_FFN_OAI, MD_FFN_GELU, MD_FFN_GELU_ERF, MD_FFN_RELU, MD_FFN_RELU2 } md_ffn_act;
/* What turns a gate into a weight. */
typedef enum md_gate_act { MD_GATE_SIGMOID, MD_GATE_SOFTPLUS } md_gate_act;
/* y (n) = act(gate) * up; up NULL (not with OAI): act(gate). y may be gate. By whoever runs it. */
void md_ffn_activate(const md_kern *k, md_ffn_act act, float alpha, float limit, const float *gate, const float *up,
                     float *y, int64_t n);

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

/* out (n, ld) = rows[0..n) of act times rows [first, last) of w, with scale and bias, by whoever runs it; row `first` gives column 0.
 * rows NULL: 0..n-1. With tiles, first and last are multiples of 8. */
void md_matmul_stretch(const md_kern *k, const md_weight *w, int64_t first, int64_t last, const md_act *act,
                       const int32_t *rows, int64_t n, float *out, int64_t ld);

/* Asks for the beginning of row `row` and on, which a product is to stream next: kernels look ahead only inside of what they are given. */
static inline void md_weight_fetch(const md_weight *w, int64_t row)
{
    enum { BYTES = 16384, LINE = 64 };
    const char *at = (const char *)w->data + (size_t)row * w->row_bytes;
    const int64_t left = (w->rows - row) * (int64_t)w->row_bytes;
    for (int64_t i = 0; i < BYTES && i < left; i += LINE)
        __builtin_prefetch(at + i, 0, 2);
}

/* Matrices of H heads (N rows a head, at row first + h * stride of w), each on its own rows: x holds (H, T, K), out (T, H * N). */
void md_matmul_heads(const md_ops *o, const md_weight *w, int64_t first, int64_t stride, int64_t n_rows, md_rows *x,
                     int64_t n_heads, float *out);
/* The same from the other side: out (T, H, ld) = x * w, w having K rows of `cols` values a head; out's first values of each head are
 * written. wide: (threads, MD_TURNED_ROWS, cols) floats. */
#define MD_TURNED_ROWS 8
void md_matmul_heads_turned(const md_ops *o, const md_weight *w, int64_t first, int64_t stride, const float *x,
                            int64_t t, int64_t k, int64_t n_heads, float *wide, float *out, int64_t ld);

/* How many rows of a (?, K) weight are worth handing out when each meets t rows of activations. */
int64_t md_share_rows(const md_ops *o, int64_t k, int64_t t);

#endif
