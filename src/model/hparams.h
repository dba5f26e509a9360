/* SPDX-License-Identifier: Apache-2.0
 *
 * The numbers of a model as its metadata gives them, checked for range and for agreement with each other, before any
 * tensor is looked at. */
#ifndef MD_MODEL_HPARAMS_H
#define MD_MODEL_HPARAMS_H

#include "base/mem.h"
#include "format/gguf.h"
#include "model/arch.h"

#include <medley/model.h>

typedef enum md_rope_scaling { MD_ROPE_NO_SCALING, MD_ROPE_LINEAR, MD_ROPE_YARN, MD_ROPE_LONG } md_rope_scaling;

/* What may differ from layer to layer. */
typedef struct md_layer_hparams {
    md_mixer mixer;
    bool has_ffn, routed; /* has experts */
    bool windowed, rope;
    int32_t n_head, n_head_kv, dim_k, dim_v;
    int32_t n_ff, expert_width, n_expert_used;
    int32_t cache; /* the layer whose keys and values it reads */
    int32_t n_rot;
    float rope_base;
    bool rope_scaled;          /* the model's rope scaling applies */
    bool rope_factors;         /* so do the file's factors */
    float limit, shared_limit; /* clamps of activations, 0: none */
} md_layer_hparams;

/* Sizes of latent attention. */
typedef struct md_latent_hparams {
    int32_t rank, q_rank; /* q_rank 0: queries are not compressed */
    int32_t dim_nope, dim_v;
} md_latent_hparams;

/* Sizes of recurrent mixers. */
typedef struct md_recurrent_hparams {
    int32_t n_k_head, n_v_head, dim_k, dim_v;
    int32_t kernel, n_conv, n_in; /* taps and channels of the convolution; values projected */
} md_recurrent_hparams;

/* The most different widths that the experts of a model may have. */
#define MD_MAX_WIDTHS 64

/* What routers have beyond the switches of md_router (docs/routers.md). */
typedef struct md_router_hparams {
    int32_t n_constant, n_copy, n_zero; /* experts that are no FFN */
    int32_t *width;                     /* (n_expert) in the arena; NULL: all are expert_width */
    int32_t *widths, n_width;           /* each width once */
    int32_t rounds;                     /* of iterated routing, 1: as usual */
    bool rounds_inner;
    int32_t carried; /* numbers carried from layer to layer; 0: none */
} md_router_hparams;

/* A stretch of layers that runs several times. */
typedef struct md_recursion_hparams {
    int32_t first, length, count; /* count 1: none */
    float scale, *threshold;      /* (count), in the arena */
} md_recursion_hparams;

typedef struct md_hparams {
    int32_t n_layer, n_embd, n_vocab, n_ctx;
    int32_t dim_k, dim_v, n_rot;
    md_latent_hparams latent;
    md_recurrent_hparams recurrent;
    int32_t token_layer; /* width of the token vector of each layer; 0: none */
    float value_scale, attn_softcap, logit_softcap, clip;
    md_layer_hparams *layer; /* (n_layer), in the arena */
    float norm_eps;
    bool layer_norm;   /* norms are by mean and variance */
    int32_t ctx_limit; /* the context ends here for want of something beyond; 0: no such limit */
    float router_softcap;
    float rope_base, rope_factor, rope_attn_factor, yarn_beta_fast, yarn_beta_slow, yarn_ext_factor, yarn_log,
        yarn_magnitude; /* magnitude 0: by rule */
    md_rope_scaling rope_scaling;
    int32_t rope_ctx_orig;
    bool no_rope;
    int32_t window, chunk;
    float temper;
    int32_t temper_floor;
    float embed_scale, residual_scale, logit_scale, attn_scale; /* attn_scale 0: 1/sqrt(dim_k) */
    int32_t n_expert, n_expert_used, n_dense_first, expert_width, shared_width;
    int32_t expert_embd; /* what experts read and give: n_embd, or their latent space */
    md_router router;
    md_router_hparams routing;
    md_recursion_hparams recursion;
    bool causal;
    md_pooling pooling;
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
/* Parts of md_hparams_read: the heads, widths and mixers of the layers (hp->layer exists and is zero), then what depends
 * on them. */
md_status md_hparams_read_layers(const md_gguf *g, const md_arch *arch, const char *prefix, md_hparams *hp,
                                 md_error *err) MD_MUST_USE;
md_status md_hparams_read_settings(const md_gguf *g, const md_arch *arch, const char *prefix, md_hparams *hp,
                                   md_error *err) MD_MUST_USE;

/* --- readers of one key, for this room: `prefix.suffix` --- */
typedef struct md_key_reader {
    const md_gguf *g;
    const char *prefix; /* the architecture's name */
    md_error *err;
} md_key_reader;
const char *md_key_of(const md_key_reader *r, const char *suffix, char buf[static 128]);
/* An integer in [min, max]; required when fallback < 0. */
md_status md_key_i32(const md_key_reader *r, const char *suffix, int32_t min, int32_t max, int32_t fallback,
                     int32_t *out) MD_MUST_USE;
/* Parts of md_hparams_read for what docs/routers.md describes: the experts that are no FFN come first, since they count. */
md_status md_hparams_read_others(const md_key_reader *r, md_hparams *hp) MD_MUST_USE;
md_status md_hparams_read_router(const md_key_reader *r, md_arena *arena, md_hparams *hp) MD_MUST_USE;
/* The router in one line for people, with what is beyond its switches. */
void md_hparams_describe_router(const md_hparams *hp, char *buf, size_t n);
md_status md_hparams_read_recursion(const md_key_reader *r, md_arena *arena, md_hparams *hp) MD_MUST_USE;
/* *io stays as it is when the key is absent. */
md_status md_key_f32(const md_key_reader *r, const char *suffix, float *io) MD_MUST_USE;

/* Frequencies of a layer's rope, in radians a position, (n_rot / 2); factors (n_rot / 2) divide them, or NULL. */
void md_rope_frequencies(const md_hparams *hp, const md_layer_hparams *l, const float *factors, double *freq,
                         float *magnitude);
/* What YaRN multiplies the scores of latent attention by. */
float md_rope_score_scale(const md_hparams *hp);

#endif
