/* SPDX-License-Identifier: Apache-2.0
 *
 * A spec with its defaults filled in: what the maker of random models works from. Features are written without a prefix,
 * for the tables of synth.c live off their brevity; nobody else includes this. */
#ifndef MD_SHAPE_SYNTH_SPEC_H
#define MD_SHAPE_SYNTH_SPEC_H

#include "shape/synth.h"

enum feature {
    MOE = 1 << 0,         /* experts in place of a dense FFN */
    SHARED = 1 << 1,      /* a shared expert */
    SHARED_GATE = 1 << 2, /* scaled by a gate of its own */
    QKV_BIAS = 1 << 3,
    OUT_BIAS = 1 << 4,    /* on the attention output */
    EXPERT_BIAS = 1 << 5, /* on router and experts */
    HEAD_NORM = 1 << 6,   /* q and k normed head by head */
    FULL_NORM = 1 << 7,   /* q and k normed over all heads */
    SINKS = 1 << 8,
    POST_NORM = 1 << 9,     /* the second norm is called post_attention_norm */
    FF_IS_EXPERT = 1 << 10, /* feed_forward_length is the width of an expert */
    EXPERT_FF = 1 << 11,    /* expert_feed_forward_length is there */
    MULTIPLIERS = 1 << 12,  /* Granite's */
    WINDOW = 1 << 13,
    YARN = 1 << 14,
    /* asked for by the spec, in families that may */
    LEGACY = 1 << 15,
    FUSED = 1 << 16,
    FACTORS = 1 << 17,
    TIED = 1 << 18,
    ROUTER_BY_NAME = 1 << 19,
    ENCODER = 1 << 20, /* BERT's: learned positions, norms after the residuals, biases, no gate and no output matrix */
    LATENT = 1 << 21, /* DeepSeek's attention: keys and values from one narrow vector; dense FFNs in the first layers */
    /* what the named router asks for is at the top (synth.h) */
};

typedef struct md_synth_family {
    const char *arch;
    unsigned has, may;
    float rope_base, norm_eps;
} md_synth_family;

enum type_class { ATTN, FFN, EMBD, OUT, PLAIN, N_CLASSES }; /* PLAIN: F32 always */

enum { YARN_FACTOR = 32 };

typedef struct md_synth {
    md_synth_spec spec;
    const md_synth_family *family;
    const md_synth_router *router; /* borrowed, or NULL */
    int expert;                    /* whose tensor is under way */
    unsigned features;
    md_type type[N_CLASSES];
    md_synth_tensor *tensor; /* owned, [n_tensors] */
    size_t n_tensors, cap;
} md_synth;

/* Fills everything but the tensors, or says which field makes no sense. */
md_status md_synth_begin(md_synth *s, const md_synth_spec *spec, md_error *err) MD_MUST_USE;
/* What a letter of synth.c's tables stands for. */
int64_t md_synth_size(const md_synth *s, char letter);
/* Where experts have widths of their own, every other one is twice as wide. */
int md_synth_width(const md_synth *s, int expert);

#endif
