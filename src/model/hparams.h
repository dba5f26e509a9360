/* SPDX-License-Identifier: Apache-2.0
 *
 * The numbers of a model as its metadata gives them, checked for range and for agreement with each other, before any
 * tensor is looked at. */
#ifndef MD_MODEL_HPARAMS_H
#define MD_MODEL_HPARAMS_H

#include "base/mem.h"
#include "format/gguf.h"
#include "model/arch.h"

typedef enum md_rope_scaling { MD_ROPE_NO_SCALING, MD_ROPE_LINEAR, MD_ROPE_YARN } md_rope_scaling;

/* What may differ from layer to layer beside head counts and widths. */
typedef struct md_layer_hparams {
    bool routed; /* has experts */
    bool windowed;
    int32_t n_rot;
    float rope_base;
    bool rope_scaled;          /* the model's rope scaling applies */
    float limit, shared_limit; /* clamps of activations, 0: none */
} md_layer_hparams;

typedef struct md_hparams {
    int32_t n_layer, n_embd, n_vocab, n_ctx;
    int32_t *n_head, *n_head_kv, *n_ff; /* (n_layer), in the arena */
    int32_t dim_k, dim_v, n_rot;
    float value_scale, attn_softcap, logit_softcap;
    md_layer_hparams *layer; /* (n_layer), in the arena */
    float norm_eps;
    float rope_base, rope_factor, rope_attn_factor, yarn_beta_fast, yarn_beta_slow, yarn_ext_factor;
    md_rope_scaling rope_scaling;
    int32_t rope_ctx_orig;
    int32_t window;
    float embed_scale, residual_scale, logit_scale, attn_scale; /* attn_scale 0: 1/sqrt(dim_k) */
    int32_t n_expert, n_expert_used, n_dense_first, expert_width, shared_width;
    md_router router;
} md_hparams;

/* The file's architecture, or MD_ERR_UNSUPPORTED naming it. */
md_status md_hparams_arch(const md_gguf *g, const md_arch **out, md_error *err) MD_MUST_USE;
md_status md_hparams_read(const md_gguf *g, const md_arch *arch, md_arena *arena, md_hparams *out,
                          md_error *err) MD_MUST_USE;
/* A key that holds one value for all layers, or an array with one for each. */
typedef struct md_layer_array {
    char key[128];
    const md_gguf_kv *kv; /* NULL when the file lacks it; else element i is layer i's, or 0 everybody's */
    bool array;
} md_layer_array;
md_status md_layer_array_find(const md_gguf *g, const char *prefix, const char *suffix, int32_t n_layer,
                              md_layer_array *out, md_error *err) MD_MUST_USE;
/* Fills hp->layer; called by md_hparams_read. */
md_status md_hparams_read_layers(const md_gguf *g, const md_arch *arch, md_arena *arena, md_hparams *hp,
                                 md_error *err) MD_MUST_USE;
/* Frequencies of a layer's rope, in radians a position, (n_rot / 2); factors (n_rot / 2) divide them, or NULL. */
void md_rope_frequencies(const md_hparams *hp, const md_layer_hparams *l, const float *factors, double *freq,
                         float *magnitude);

#endif
