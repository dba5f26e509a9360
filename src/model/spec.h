/* SPDX-License-Identifier: Apache-2.0
 *
 * What a model is, as the engine sees it: numbers and switches, no family names. Families fill this (`arch/`); the forward
 * pass reads it. Immutable once bound.
 *
 * Letters: D model width, H query heads, G key/value heads, F ffn width, E experts, X expert width, S shared width, N
 * vocabulary. */
#ifndef MD_MODEL_SPEC_H
#define MD_MODEL_SPEC_H

#include "expert/expert.h"
#include "kv/kv.h"
#include "ops/ops.h"
#include "route/route.h"

/* Where rope gets its frequencies. One entry per distinct setting; layers refer to it by index. */
typedef struct md_rope_spec {
    int32_t n_rot;
    bool interleaved;
    float magnitude;    /* multiplies cosine and sine */
    const double *freq; /* (n_rot / 2) radians a position; in the model's arena */
} md_rope_spec;

typedef enum md_qk_norm { MD_QK_NORM_NONE, MD_QK_NORM_HEAD, MD_QK_NORM_FULL } md_qk_norm;

typedef struct md_attn_spec {
    int32_t n_head, n_head_kv;
    int32_t dim_k, dim_v; /* values a head */
    int32_t window;       /* keys seen, the row's own included; 0: all */
    int32_t rope;         /* index of md_model.rope, -1: none */
    float scale, softcap;
    md_qk_norm qk_norm; /* over each head, or over all heads together */
    bool qk_norm_last;  /* after rope rather than before it */
    float value_scale;  /* multiplies the values; 1: none */
    const float *norm;  /* (D) */
    md_weight q, k, v, out;
    const float *q_norm, *k_norm; /* (dim_k) or all heads */
    const float *sinks;           /* (H) or NULL */
    md_weight gate;               /* (H, D): its sigmoid weighs each head's output; data NULL: none */
    const float *post_norm;       /* (D): over the branch's output, before the residual; NULL: none */
} md_attn_spec;

typedef struct md_ffn_spec {
    const float *norm; /* (D) */
    md_ffn_act act;
    float alpha, limit;     /* of the activation, in the routed experts */
    float dense_limit;      /* the limit in the dense part and the shared expert */
    const float *post_norm; /* (D): over the branch's output, before the residual; NULL: none */
    /* dense: width 0 if there is none */
    int32_t width;
    md_weight gate, up, down;
    /* routed: n_expert 0 if there are none */
    md_router router;
    int32_t expert_width;
    md_weight route;          /* (E, D) */
    const float *select_bias; /* (E): added for the selection only, or NULL */
    md_expert *expert;        /* (E), in the model's arena */
    /* shared, beside the routed: width 0 if there is none */
    int32_t shared_width;
    md_weight shared_gate, shared_up, shared_down;
    const float *shared_scale; /* (D): its sigmoid(dot) weighs the shared expert; NULL: weight 1 */
} md_ffn_spec;

typedef struct md_layer {
    md_attn_spec attn;
    md_ffn_spec ffn;
} md_layer;

typedef struct md_spec {
    int32_t n_layer, n_embd, n_vocab, n_ctx;
    float norm_eps;
    float embed_scale, residual_scale, logit_scale; /* 1: none */
    float logit_softcap;                            /* 0: none */
    md_rope_spec *rope;                             /* in the arena */
    int32_t n_rope;
    md_layer *layer; /* (n_layer), in the arena */
    md_weight embed; /* (N, D) */
    const float *out_norm;
    md_weight output; /* (N, D); the embedding itself when tied */
    /* the largest of all layers, for planning scratch */
    int32_t max_q, max_k, max_v, max_dim_k, max_dim_v, max_head, max_ff, max_expert, max_pick, max_expert_width,
        max_n_rot;
} md_spec;

#endif
