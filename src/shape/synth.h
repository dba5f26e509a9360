/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the maker of test models share: the plan of one tensor, and the two makers of content. */
#ifndef MD_SHAPE_SYNTH_H
#define MD_SHAPE_SYNTH_H

#include "dtype/dtype.h"
#include "format/gguf.h"
#include "base/pool.h"
#include <medley/unstable/synth.h>
#include <stdbool.h>

/* One tensor to write: where its values come from is a pure function of (seed, name, index). */
typedef struct md_synth_tensor {
    char name[64];
    md_type type;
    int n_dims;
    int64_t dim[3];
    enum { MD_SYNTH_NORMAL, MD_SYNTH_UNIFORM } law;
    float center, spread; /* standard deviation of the normal law; half the width of the uniform one */
    bool codes;           /* random codes for every type that has some: much faster than encoding random numbers */
    bool router;          /* what a skew changes */
} md_synth_tensor;

/* Where tensors are made: a window of rows at a time, in parallel, then written. */
typedef struct md_synth_sink {
    md_gguf_writer *writer; /* borrowed */
    md_pool *pool;          /* borrowed */
    unsigned char *window;  /* owned, MD_SYNTH_WINDOW bytes or one row */
    float *row;             /* owned, [threads][row_cap] */
    size_t window_cap, row_cap;
    md_progress_fn *progress; /* may be NULL */
    void *progress_user;
    uint64_t done, total; /* bytes */
} md_synth_sink;
void md_synth_sink_done(md_synth_sink *k);

/* Gives the tensor's data to the writer, which expects it next. Types without an encoder (all that have codes, with
 * t->codes) get random codes under scales that make the values about as large as `spread`. row_factor: (rows) multiplies
 * the numbers of each row of a type that is encoded, or NULL. The bytes do not depend on the number of threads. */
md_status md_synth_fill(uint64_t seed, const md_synth_tensor *t, const float *row_factor, md_synth_sink *k,
                        md_error *err) MD_MUST_USE;

/* --- synth_like.c --- */
/* Fills what the spec leaves open with the sizes of spec->like, and the types of the first and last matrix. */
md_status md_synth_like(md_synth_spec *s, md_error *err) MD_MUST_USE;
/* The type itself if rows of that many values can have it, else the one that public quantizers take in its place. */
md_type md_synth_fitting_type(md_type type, int64_t row);
md_status md_synth_check_skew(const md_synth_spec *s, md_error *err) MD_MUST_USE;
/* factor (n_expert) of a router's rows: makes the chance of an expert to be chosen follow Zipf's law with exponent
 * s->skew, the order of experts drawn from the stream. */
md_status md_synth_skew(const md_synth_spec *s, uint64_t stream, float *factor, md_error *err) MD_MUST_USE;

/* What a router of docs/routers.md needs beyond a layer of experts. Bits of the maker's features, from the top. */
enum {
    MD_SYNTH_THRESHOLDS = 1 << 30,
    MD_SYNTH_EXPERT_SCALE = 1 << 29,
    MD_SYNTH_RESIDUAL = 1 << 28,
    MD_SYNTH_WIDTHS = 1 << 27,
    MD_SYNTH_ROUNDS = 1 << 26,
    MD_SYNTH_CARRIED = 1 << 25,
    MD_SYNTH_RECURSION = 1 << 24,
    MD_SYNTH_CONSTANT = 1 << 23,
};

/* One key: text, true, a number that is not 0, or a count. */
typedef struct md_synth_key {
    const char *suffix; /* behind "ARCH." */
    const char *text;
    bool yes;
    float f32;
    uint32_t u32;
} md_synth_key;

typedef struct md_synth_router {
    const char *name;
    unsigned features;
    int n_layer, n_used;              /* what the router needs; 0: as usual */
    int constant, copy, zero, rounds; /* 0: none */
    bool encoder;
    md_synth_key keys[4]; /* ended by suffix NULL, or full */
} md_synth_router;

md_status md_synth_router_find(const char *name, const md_synth_router **out, md_error *err) MD_MUST_USE;
/* The names, one after the other; NULL after the last. */
const char *md_synth_router_name(size_t i);
/* width (n_expert): of each expert, where they differ. carried: numbers from layer to layer. */
md_status md_synth_router_keys(const md_synth_router *r, const char *arch, const int *width, int n_expert, int carried,
                               md_gguf_writer *w, md_error *err) MD_MUST_USE;

/* Sets the tokenizer's keys: a byte-level BPE of exactly n_vocab tokens, and a chat template. */
md_status md_synth_tokenizer(int n_vocab, md_gguf_writer *w, md_error *err) MD_MUST_USE;
/* The least n_vocab. */
int md_synth_vocab_min(void);

#endif
