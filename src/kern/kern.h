/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernels: one table of functions per instruction set, filled at compile time and chosen once. docs/numerics.md defines
 * what each must compute; every table gives the same bits. No allocation, no threads, no input or output, no model words:
 * callers cut the work and own the memory.
 *
 * Letters: T rows of activations (tokens), N rows of weights, K columns. */
#ifndef MD_KERN_KERN_H
#define MD_KERN_KERN_H

#include "dtype/tile.h"
#include <stddef.h>
#include <stdint.h>

/* Keys in a tile of attention, and positions in a page of the KV cache. */
#define MD_TILE 64

/* Rows of activations in the form that a product wants. A view: every pointer is borrowed. */
typedef struct md_act {
    md_act_kind kind;
    int64_t k;            /* values a row */
    const float *f32;     /* (T, k) MD_ACT_F32 */
    const int8_t *code;   /* (T, k) Q32, Q256 */
    const float *scale;   /* (T, k/32 or k/256) */
    const float *sum32;   /* (T, k/32) scale * sum of codes; Q32 */
    const int16_t *isum;  /* (T, k/32) sums of codes; Q32 */
    const int16_t *sum16; /* (T, k/16) sums of codes of each group of 16; Q256 */
} md_act;

/* out[t * ld_out + r] = dot(w row r, activation row rows[t]) for r in [first, last), t in [0, n_rows). */
typedef struct md_product {
    const void *w;       /* row 0 of the weights, or tile 0; may be unaligned */
    size_t row_bytes;    /* of one row, in tiles too: those are 8 * row_bytes apart */
    int64_t first, last; /* rows of the weights; multiples of 8 with tiles */
    const md_act *act;
    const int32_t *rows; /* (n_rows) rows of act, or NULL: 0 .. n_rows-1 */
    int64_t n_rows;
    float *out;
    int64_t ld_out;
} md_product;

typedef struct md_rope_args {
    const float *cs; /* (n_rot/2, 2) cosine and sine for this position, magnitude included */
    int n_rot;       /* values of a head that turn */
    int head_dim;
    int n_heads;
    int interleaved; /* pairs are neighbours; else half-split */
} md_rope_args;

/* How the KV cache keeps values (docs/numerics.md, section 7). */
typedef enum md_kv_store { MD_KV_STORE_F32, MD_KV_STORE_F16, MD_KV_STORE_Q8_0 } md_kv_store;

/* A tile of attention: the keys and values of one head in a page of the KV cache, as the cache keeps them. Q8_0 has codes in the same
 * shapes, and a half-precision scale for each 32 values along a head. Borrowed; 2-byte aligned or better. */
typedef struct md_kv_tile {
    md_kv_store store;
    int dim_k, dim_v;
    const void *k;           /* (dim_k, MD_TILE): keys, one a column */
    const void *v;           /* (MD_TILE, dim_v); NULL: values are the first dim_v values of the keys */
    const uint16_t *k_scale; /* (dim_k / 32, MD_TILE) */
    const uint16_t *v_scale; /* (MD_TILE, dim_v / 32) */
} md_kv_tile;

/* One query: one head of one row. */
typedef struct md_query {
    const float *q;  /* (dim_k) */
    float *acc;      /* (dim_v) */
    float *ml;       /* (2): running maximum and sum */
    int first, last; /* visible keys of the tile, [first, last), not empty */
    int at;          /* the row's place, counted from the tile's first key */
    float slope;     /* each score loses slope * its distance from `at`; 0: none */
} md_query;

/* One tile of attention for n queries (docs/numerics.md, section 7). */
typedef struct md_attend {
    const md_kv_tile *tile;
    const md_kv_tile *next; /* the tile that these queries meet after this one, or NULL: a hint to fetch it */
    const md_query *query;
    int n;
    float scale, softcap; /* softcap 0: none */
} md_attend;

typedef struct md_delta {
    float *state; /* (dim_k, dim_v) */
    const float *q, *k, *v;
    float decay, beta;
    int dim_k, dim_v;
    float *work; /* (dim_v) */
    float *out;  /* (dim_v) */
} md_delta;

typedef struct md_ssd {
    float *state;           /* (dim_k, dim_v) */
    const float *x, *b, *c; /* (dim_v), (dim_k), (dim_k) */
    float decay, step, d;
    int dim_k, dim_v;
    float *out; /* (dim_v) */
} md_ssd;

typedef struct md_conv {
    const float *const *x; /* (taps) inputs (n), the oldest first */
    const float *w;        /* (taps, n), rows ld_w apart */
    int64_t ld_w;
    const float *bias; /* (n) or NULL */
    float *y;          /* (n) */
    int64_t n;
    int taps;
} md_conv;

typedef struct md_kern {
    const char *isa; /* "scalar", "avx2"... */

    void (*quantize32)(const float *x, int64_t k, int8_t *code, float *scale, float *sum32, int16_t *isum);
    void (*quantize256)(const float *x, int64_t k, int8_t *code, float *scale, int16_t *sum16);
    void (*mul[MD_N_TYPES])(const md_product *m);       /* rows as in files; NULL for DATA types */
    void (*mul_tiles[MD_N_TYPES])(const md_product *m); /* rows in tiles; NULL for types without */

    float (*dot16)(const float *a, const float *b, int64_t n);
    void (*rms_norm)(const float *x, const float *w, float *y, int64_t n, float eps); /* w NULL: ones; y may be x */
    /* by mean and variance; w and b may be NULL; y may be x */
    void (*layer_norm)(const float *x, const float *w, const float *b, float *y, int64_t n, float eps);
    void (*rope)(const md_rope_args *a, float *x); /* x (n_heads, head_dim), in place */
    void (*softmax)(float *x, int64_t n);          /* in place; -infinity gives 0 */
    void (*sigmoid)(float *x, int64_t n);
    void (*softplus)(float *x, int64_t n);
    void (*exp)(float *x, int64_t n);
    void (*silu_mul)(const float *gate, const float *up, float *y, int64_t n);
    void (*oai_mul)(const float *gate, const float *up, float *y, int64_t n, float alpha, float limit);
    void (*silu_clamp_mul)(const float *gate, const float *up, float *y, int64_t n, float limit);
    void (*gelu_mul)(const float *gate, const float *up, float *y, int64_t n);
    void (*silu)(float *x, int64_t n);
    void (*gelu)(float *x, int64_t n);
    void (*gelu_erf)(float *x, int64_t n);
    void (*relu)(float *x, int64_t n);
    void (*mul_into)(float *x, const float *y, int64_t n); /* x *= y */
    void (*clamp)(float *x, int64_t n, float limit);       /* to [-limit, limit] */
    void (*softcap)(float *x, int64_t n, float cap);
    void (*add)(float *x, const float *y, int64_t n);           /* x += y */
    void (*axpy)(float *x, const float *y, float a, int64_t n); /* x = fma(y, a, x) */
    /* x = fma(y_r, a_r, x) for rows r = 0, 1, ... of y, ld apart */
    void (*axpys)(float *x, const float *y, int64_t ld, const float *a, int n_rows, int64_t n);
    void (*scale)(float *x, float a, int64_t n);
    /* y = x_0 * w_0 + x_1 * w_1 + ... in binary64 from +0, in that order, rounded once; x (n_parts) rows of n */
    void (*combine)(const float *const *x, const float *w, int n_parts, float *y, int64_t n);

    void (*attend)(const md_attend *a);
    void (*attend_sink)(float z, float *m, float *l, float *acc, int dim_v);
    void (*attend_finish)(float l, const float *acc, float *out, int dim_v);
    /* One step of the gated delta rule in one head: state (dim_k, dim_v), in place (docs/numerics.md, section 11). */
    void (*delta)(const md_delta *a);
    /* One step of a Mamba-2 head, likewise. */
    void (*ssd)(const md_ssd *a);
    /* One row of a convolution along time, each channel by itself. */
    void (*conv)(const md_conv *a);
    void (*to_half)(const float *x, uint16_t *y, int64_t n);
    void (*from_half)(const uint16_t *x, float *y, int64_t n);
    /* Q8_0 as the KV cache keeps it (docs/numerics.md, section 7): n / 32 blocks, d their scales as halves. */
    void (*to_q8)(const float *x, int8_t *code, uint16_t *d, int64_t n);
} md_kern;

/* The table for this machine: the best that CPU and operating system support, or the one named: "scalar", "avx2", "avx512",
 * "avx512vnni", "neon", "neondot".
 * NULL for a name that is unknown or that this machine cannot run. Thread-safe. */
const md_kern *md_kern_get(const char *isa);
/* Names of the tables that this machine can run, NULL-ended, worst first. */
const char *const *md_kern_names(void);

#endif
