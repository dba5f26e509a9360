/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of upcycling share: the plan, which says for every tensor of the output where its bytes come from, and
 * the drawing anew of neurons. Nothing outside src/shape/ includes this. */
#ifndef MD_SHAPE_UPCYCLE_H
#define MD_SHAPE_UPCYCLE_H

#include "format/gguf.h"
#include <medley/shape.h>

/* The three matrices of a gated FFN. Gate and up have a row per hidden neuron, down a column. */
typedef enum md_ffn_part { MD_FFN_GATE, MD_FFN_UP, MD_FFN_DOWN, MD_N_FFN_PARTS } md_ffn_part;

typedef enum md_upcycle_kind {
    MD_UPCYCLE_COPY,    /* as it is */
    MD_UPCYCLE_EXPERTS, /* src once per expert, maybe with neurons drawn anew */
    MD_UPCYCLE_SCALES,  /* src, one number, once per expert */
    MD_UPCYCLE_ROUTER,  /* drawn at random; src NULL */
} md_upcycle_kind;

typedef struct md_upcycle_tensor {
    md_upcycle_kind kind;
    const md_gguf_tensor *src; /* borrowed from the input */
    int32_t layer;             /* -1: COPY */
    md_ffn_part part;          /* EXPERTS and SCALES */
    char name[96];             /* of the output tensor; COPY: unused */
    size_t bytes;              /* in the output */
} md_upcycle_tensor;

/* A layer's FFN. */
typedef struct md_upcycle_layer {
    const md_gguf_tensor *part[MD_N_FFN_PARTS];
    int64_t n_ff;
    int64_t group;    /* hidden neurons that are drawn anew together: a block of ffn_down's type */
    int64_t n_redraw; /* groups drawn anew in every expert; 0 for plain copies */
} md_upcycle_layer;

typedef struct md_upcycle_plan {
    const md_gguf *in;
    const md_upcycle_args *args;
    const char *arch_in, *arch_out; /* static */
    bool set_expert_width;          /* the output names its experts' width in a key of its own */
    int32_t n_layer;
    int64_t n_embd;
    md_upcycle_layer *layer;   /* owned, [n_layer] */
    md_upcycle_tensor *tensor; /* owned, [n_tensors], in output order */
    size_t n_tensors;
    uint64_t bytes, weights; /* of the output's tensors */
} md_upcycle_plan;

/* Checks everything that can be checked before a byte is written. Call md_upcycle_plan_done on failure, too. */
md_status md_upcycle_plan_make(const md_gguf *in, const md_upcycle_args *args, md_upcycle_plan *out,
                               md_error *err) MD_MUST_USE;
void md_upcycle_plan_done(md_upcycle_plan *p);

/* --- drop-upcycling of one matrix of one expert --- */
typedef md_status md_upcycle_put_fn(void *user, const void *bytes, size_t n, md_error *err);
/* Puts tensor t's bytes for one expert, row by row: the values of the neurons that are chosen for this layer and expert
 * are drawn from a normal distribution with the mean and spread that they have in t->src, all else is copied. */
md_status md_upcycle_redraw(const md_upcycle_plan *p, const md_upcycle_tensor *t, int32_t expert,
                            md_upcycle_put_fn *put, void *user, md_error *err) MD_MUST_USE;

#endif
