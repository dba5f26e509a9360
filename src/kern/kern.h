/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernels: one table of functions per instruction set, filled at compile time and chosen once. docs/numerics.md defines
 * what each must compute; every table gives the same bits. No allocation, no threads, no input or output, no model words:
 * callers cut the work and own the memory.
 *
 * Letters: T rows of activations (tokens), N rows of weights, K columns. */
#ifndef MD_KERN_KERN_H
#define MD_KERN_KERN_H

#include "dtype/dtype.h"
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
    const int16_t *sum16; /* (T, k/16) sums of codes of each group of 16; Q256 */
} md_act;

/* out[t * ld_out + r] = dot(w row r, activation row rows[t]) for r in [first, last), t in [0, n_rows). */
typedef struct md_product {
    const void *w; /* row 0 of the weights; may be unaligned */
    size_t row_bytes;
    int64_t first, last; /* rows of the weights */
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

/* One tile of attention for one query head (docs/numerics.md, section 7). */
typedef struct md_attend {
    const float *q;  /* (dim_k) */
    const float *kt; /* (dim_k, MD_TILE): keys, one a column */
    const float *v;  /* (MD_TILE, dim_v) */
    int dim_k, dim_v;
    int first, last;      /* visible keys of the tile, [first, last) */
    float scale, softcap; /* softcap 0: none */
    float slope;          /* each score loses slope * its distance from `at`; 0: none */
    int at;               /* the row's place, counted from the tile's first key */
    float *m, *l;         /* running maximum and sum */
    float *acc;           /* (dim_v) */
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

    void (*quantize32)(const float *x, int64_t k, int8_t *code, float *scale, float *sum32);
    void (*quantize256)(const float *x, int64_t k, int8_t *code, float *scale, int16_t *sum16);
    void (*mul[MD_N_TYPES])(const md_product *m); /* NULL for DATA types */

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
    void (*scale)(float *x, float a, int64_t n);

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
} md_kern;

/* The table for this machine: the best that CPU and operating system support, or the one named ("scalar", "avx2").
 * NULL for a name that is unknown or that this machine cannot run. Thread-safe. */
const md_kern *md_kern_get(const char *isa);
/* Names of the tables that this machine can run, NULL-ended, worst first. */
const char *const *md_kern_names(void);

#endif
