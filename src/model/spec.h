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

/* The largest of all layers. Counts of floats a row, but for what says otherwise. */
typedef struct md_maxima {
    int32_t q, k, v, att, gate; /* attention: as projected, or as the cache wants them if that is wider */
    int32_t latent;             /* all heads' vectors on their way into or out of the latent space */
    int32_t mixed;              /* what recurrent mixers project, gates included */
    int32_t dim_k, dim_v, head; /* of a head; heads */
    int32_t ff, expert, pick, expert_width, n_rot;
    int32_t expert_embd;                    /* of experts in a latent space */
    int32_t q_rank;                         /* compressed queries */
    int32_t n_conv;                         /* channels of a convolution */
    int32_t recurrent_head, recurrent_dim;  /* numbers a head of a recurrent mixer, its larger size */
    bool parallel, early, side, route_norm; /* some layer needs a copy of the stream or of its branches */
    int32_t rounds;                         /* of iterated routing */
    int32_t carried, residual;              /* what routers hand to the next one: a state, logits */
    int32_t capacity;                       /* tokens that an expert takes of a window */
} md_maxima;

/* Where rope gets its frequencies. One entry per distinct setting; layers refer to it by index. */
typedef struct md_rope_spec {
    int32_t n_rot;
    bool interleaved;
    float magnitude;                /* multiplies cosine and sine */
    const double *freq, *freq_long; /* (n_rot / 2) radians a position; in the model's arena */
    int32_t ctx_short;              /* contexts above this take freq_long (LongRoPE, Ding et al. 2024) */
} md_rope_spec;

/* Norms of queries and keys: over each head with one weight vector for all, over all heads together, over each head with a
 * weight vector each. */
typedef enum md_qk_norm { MD_QK_NORM_NONE, MD_QK_NORM_HEAD, MD_QK_NORM_FULL, MD_QK_NORM_EACH } md_qk_norm;

/* What a layer does before its feed-forward. */
typedef enum md_mixer {
    MD_MIXER_NONE,
    MD_MIXER_ATTENTION,
    MD_MIXER_DELTA, /* gated delta rule (Yang et al. 2024) */
    MD_MIXER_MAMBA, /* state-space duality, Mamba-2 (Dao & Gu 2024) */
    MD_MIXER_CONV,  /* gated short convolution (LFM2 2025) */
} md_mixer;

/* Latent attention (DeepSeek-V2 2024): keys and values of all heads are one compressed vector and one rotated key. It runs
 * absorbed: queries are taken into the latent space, so the cache holds (rank + n_rot) a position and no values of its own. */
typedef struct md_latent_spec {
    int32_t rank, n_rot;
    int32_t dim_nope, dim_v; /* a head's unrotated query, and its output */
    md_weight q_a;           /* (rank of queries, D); data NULL: queries are not compressed */
    md_norm q_a_norm;
    md_weight kv_a; /* (rank + n_rot, D) */
    md_norm kv_norm;
    /* Matrices of every head: head h's rows begin at row first + h * stride. */
    md_weight k_up; /* (rank, dim_nope) a head; turned: (dim_nope, rank) */
    md_weight v_up; /* (dim_v, rank) a head */
    bool k_turned;
    int64_t k_first, k_stride, v_first, v_stride;
} md_latent_spec;

typedef struct md_attn_spec {
    int32_t n_head, n_head_kv;
    int32_t dim_k, dim_v; /* of a head, as the cache holds them */
    int32_t window;       /* keys seen, the row's own included; 0: all */
    int32_t chunk;        /* keys seen are those of the row's own stretch of this many positions; 0: all */
    int32_t rope;         /* index of md_spec.rope, -1: none */
    float scale, softcap;
    md_qk_norm qk_norm;
    bool qk_norm_last; /* after rope rather than before it */
    bool v_norm;       /* values are normed a head, without weights */
    float v_eps;
    bool keys_are_values; /* values are the keys as projected */
    float value_scale;    /* multiplies the values; 1: none */
    float clip;           /* queries, keys and values are clamped to this; 0: none */
    float temper; /* queries grow with position: 1 + temper * log(1 + floor((pos + temper_shift) / temper_floor)) */
    int32_t temper_floor, temper_shift;
    const float *slope;      /* (H) biases by distance (ALiBi, Press et al. 2022); NULL: none */
    int32_t cache;           /* the layer whose keys and values are read: its own, or an earlier one's */
    md_norm norm, post_norm; /* before the branch; over its output, before the residual */
    md_norm after_norm;      /* over the stream, after the residual */
    md_norm again_norm;      /* if any: the layer's input is added to the stream once more, then this norm */
    md_weight q, k, v, out;
    bool gate_in_q;         /* q has 2 * dim_k rows a head: queries, then a gate for each value of the head's output */
    md_norm q_norm, k_norm; /* (dim_k), all heads, or (H, dim_k) */
    const float *sinks;     /* (H) or NULL */
    md_weight gate;         /* (H, D) or (H * dim_v, D): weighs heads' outputs; data NULL: none */
    md_gate_act gate_act;
    const md_latent_spec *latent; /* NULL: keys and values are projected as they are */
} md_attn_spec;

/* Taps of a convolution, at most. */
#define MD_CONV_TAPS 64

/* A mixer whose past is a state of fixed size: a convolution's last inputs and, but for MD_MIXER_CONV, one matrix a head. */
typedef struct md_recurrent_spec {
    md_mixer mixer;
    int32_t n_k_head, n_v_head; /* key heads (or groups); value heads */
    int32_t dim_k, dim_v;       /* of a head */
    int32_t kernel, n_conv;     /* taps and channels of the convolution */
    bool grouped;               /* DELTA: `in` has, for each key head: q, k, its values, its gates */
    bool paired;                /* DELTA: `beta` has, for each key head: its values' betas, their alphas */
    bool head_repeats;          /* value head v goes with key head v % n_k_head; else with v / (values a key head) */
    float eps;                  /* DELTA: of the norms of queries and keys */
    md_norm norm, post_norm, after_norm;
    md_weight in;   /* what is convolved: DELTA q k v (and gates, if grouped); MAMBA gates x B C dt; CONV B C x */
    md_weight gate; /* DELTA: (n_v_head * dim_v, D) unless grouped */
    md_weight beta, alpha;         /* DELTA: (n_v_head, D) each; paired: beta holds both */
    const float *conv, *conv_bias; /* (kernel, n_conv), in the arena; (n_conv) or NULL */
    const float *dt_bias, *a, *d;  /* (n_v_head) */
    md_norm out_norm;              /* DELTA: (dim_v), over each head; MAMBA: over each group */
    md_weight out;
    int64_t conv_at, state_at; /* where the layer's parts begin in a sequence's state; floats */
} md_recurrent_spec;

typedef struct md_ffn_spec {
    md_norm norm, post_norm, after_norm; /* as in md_attn_spec */
    md_ffn_act act;
    float alpha, limit; /* of the activation, in the routed experts */
    float dense_limit;  /* the limit in the dense part and the shared expert */
    /* dense: width 0 if there is none. gate.data NULL: act(up) without a gate */
    int32_t width;
    md_weight gate, up, down;
    /* routed: n_expert 0 if there are none */
    md_router router;
    int32_t expert_width;
    md_weight route;                  /* (E, D); iterated: (rounds, E, D); with a carried state: (E, H) */
    md_norm route_norm;               /* MD_NORM_NONE: the router reads what the experts read; else the normed stream */
    float route_softcap;              /* of the router's logits; 0: none */
    bool route_early;                 /* the router reads the layer's input, as it is */
    const float *select_bias;         /* (E): added for the selection only, or NULL */
    bool gated;                       /* experts and the shared one have gates */
    bool weigh_input;                 /* a weight multiplies what its expert reads, not what it gives */
    md_expert *expert;                /* (FFNs), in the model's arena */
    int32_t expert_embd;              /* what experts read and give: D, or the width of a latent space */
    md_weight latent_down, latent_up; /* into that space (expert_embd, D) and out of it; data NULL: there is none */
    md_expert_others others;          /* the experts that are no FFN; E counts them */
    /* routers that remember */
    int32_t choice_mean; /* where experts choose tokens of a whole sequence: experts a token has on average */
    bool route_first;    /* no layer with experts comes before */
    md_weight
        route_residual; /* (E, E): times the logits of the layer with experts before, adds to these; data NULL: none */
    md_weight route_project; /* (H, D): what goes into the carried state; data NULL: none is carried */
    int64_t counts_at;       /* with a capacity: where the layer's counts (rounds, E) begin in a sequence's state */
    int32_t rounds;          /* times that the experts run, each on the output of the one before; 1: as usual */
    bool rounds_inner;       /* a round adds what it read; the last one's output is the stream, without a residual */
    /* dense and routed side by side: each part's own norms; the routed part may read the layer's input */
    md_norm norm_routed, post_dense, post_routed;
    bool routed_early;
    float
        side_scale; /* multiplies the sum of both, or of routed and shared experts where there is no dense part; 1: none */
    /* shared, beside the routed: width 0 if there is none */
    int32_t shared_width;
    md_weight shared_gate, shared_up, shared_down;
    const float *shared_scale; /* (D): its sigmoid(dot) weighs the shared expert; NULL: weight 1 */
} md_ffn_spec;

/* A vector of its own for every token at every layer (Gemma 3n, 2025). */
typedef struct md_token_layer_spec {
    int32_t width;        /* 0: none */
    md_weight embed;      /* (N, n_layer * width) */
    md_weight project;    /* (n_layer * width, D) */
    md_norm project_norm; /* (width) */
} md_token_layer_spec;

typedef struct md_layer {
    md_mixer mixer;
    md_attn_spec attn;                  /* of MD_MIXER_ATTENTION */
    const md_recurrent_spec *recurrent; /* of the others */
    bool has_ffn;
    bool parallel; /* the feed-forward reads the stream as it was before the mixer */
    md_ffn_spec ffn;
    md_weight token_gate, token_project; /* of the layer's own token vector: (width, D), (D, width) */
    md_norm token_norm;
    float out_scale; /* multiplies the stream at the end; 1: none */
} md_layer;

/* A stretch of layers that runs up to `count` times (Bae et al. 2025, "Mixture-of-Recursions"): a token that leaves stays out.
 * Rounds are layers of their own here, with weights and cache of the first round's. */
typedef struct md_recursion_spec {
    int32_t first, length, count; /* count 0: none */
    float scale;
    const float *threshold;   /* (count) */
    const float *const *gate; /* (count) of (D) */
} md_recursion_spec;

typedef struct md_spec {
    int32_t n_layer, n_embd, n_vocab, n_ctx;
    int32_t ctx_limit;                              /* positions that this version can compute; 0: any number */
    bool causal;                                    /* false: a sequence is one unit, and every row sees all of it */
    float embed_scale, residual_scale, logit_scale; /* 1: none; logit_scale multiplies */
    float logit_softcap;                            /* 0: none */
    md_rope_spec *rope;                             /* in the arena */
    int32_t n_rope;
    md_layer *layer;         /* (n_layer), in the arena */
    md_weight embed;         /* (N, D) */
    md_weight position;      /* (n_ctx, D): added to the embedding; data NULL: none */
    const float *token_type; /* (D): the first type's, added to the embedding; or NULL */
    md_norm embed_norm, out_norm;
    md_token_layer_spec token_layer;
    md_weight output;            /* (N, D); the embedding itself when tied; data NULL: an encoder without one */
    int64_t state_floats;        /* of a sequence, all layers; 0: no recurrent layer, no capacity */
    bool routed;                 /* some layer has experts */
    md_weight gru_in, gru_state; /* of a recurrent router, (3 H, H) each with bias; data NULL: none */
    md_recursion_spec recursion;
    /* the largest of all layers, for planning scratch */
    md_maxima max;
} md_spec;

#endif
