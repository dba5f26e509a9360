/* SPDX-License-Identifier: Apache-2.0
 *
 * A family of models as data: one `const md_arch` per file in `arch/`, listed in arch/registry.c. The binder reads hyperparameters
 * and tensors by these rows; whatever a family does differently is a field here that any family may use. */
#ifndef MD_MODEL_ARCH_H
#define MD_MODEL_ARCH_H

#include "model/spec.h"

/* Tensors of a layer and of the model; slots.def has each one's name and shape. ORDER SLOTS */
typedef enum md_slot {
#define MD_SLOT(NAME, name, kind, part, d0, d1, d2) MD_SLOT_##NAME,
#include "model/slots.def"
#undef MD_SLOT
    MD_N_SLOTS
} md_slot;

/* A set of slots. gcc and clang have 128-bit integers on every 64-bit machine; there are too many slots for 64 bits. */
__extension__ typedef unsigned __int128 md_slot_set;
#define MD_HAS(NAME) ((md_slot_set)1 << MD_SLOT_##NAME)

/* Usual sets. */
#define MD_SET_QKV      (MD_HAS(ATTN_NORM) | MD_HAS(Q) | MD_HAS(K) | MD_HAS(V) | MD_HAS(ATTN_OUT))
#define MD_SET_QKV_ONE  (MD_HAS(ATTN_NORM) | MD_HAS(QKV) | MD_HAS(ATTN_OUT)) /* q, k and v in one matrix */
#define MD_SET_QKV_BIAS (MD_HAS(Q_BIAS) | MD_HAS(K_BIAS) | MD_HAS(V_BIAS))
#define MD_SET_FFN      (MD_HAS(FFN_GATE) | MD_HAS(FFN_UP) | MD_HAS(FFN_DOWN))
#define MD_SET_MOE      (MD_HAS(ROUTER) | MD_HAS(GATE_EXPS) | MD_HAS(UP_EXPS) | MD_HAS(DOWN_EXPS))
#define MD_SET_QK_NORM  (MD_HAS(Q_NORM) | MD_HAS(K_NORM))
#define MD_SET_DELTA                                                                                     \
    (MD_HAS(SSM_IN) | MD_HAS(DELTA_QKV) | MD_HAS(DELTA_GATE) | MD_HAS(DELTA_BA) | MD_HAS(DELTA_BETA) |   \
     MD_HAS(DELTA_ALPHA) | MD_HAS(SSM_CONV) | MD_HAS(SSM_DT_BIAS) | MD_HAS(SSM_A) | MD_HAS(DELTA_NORM) | \
     MD_HAS(SSM_OUT))
#define MD_SET_MAMBA                                                                                     \
    (MD_HAS(SSM_IN) | MD_HAS(SSM_CONV) | MD_HAS(SSM_CONV_BIAS) | MD_HAS(SSM_DT_BIAS) | MD_HAS(MAMBA_A) | \
     MD_HAS(MAMBA_D) | MD_HAS(MAMBA_NORM) | MD_HAS(SSM_OUT))
#define MD_SET_CONV   (MD_HAS(CONV_IN) | MD_HAS(CONV_TAPS) | MD_HAS(CONV_OUT))
#define MD_SET_SHARED (MD_HAS(GATE_SHEXP) | MD_HAS(UP_SHEXP) | MD_HAS(DOWN_SHEXP))

typedef struct md_rename {
    md_slot slot;
    const char *name; /* in place of the usual name */
} md_rename;

typedef struct md_arch {
    const char *name;   /* general.architecture */
    const char *also;   /* another spelling of it, or NULL */
    const char *source; /* where its arithmetic is described */

    /* tensors: what every layer must have, what it may have; dense and routed parts are asked for where a layer has
     * that kind of feed-forward. A norm that is in neither set is none; a feed-forward without FFN_GATE has no gate. */
    md_slot_set need, may;
    const md_rename *rename; /* ended by name NULL; or NULL */

    /* the stream */
    bool encoder;     /* rows see the whole sequence */
    bool layer_norm;  /* norms by mean and variance */
    bool norm_by_eps; /* unless the file has the other kind's epsilon alone */
    bool
        parallel; /* the feed-forward reads the stream as it was before the mixer; with one norm for both unless the file
                      * has FFN_NORM */
    bool
        one_branch; /* a layer is a mixer or a feed-forward, not both: a feed-forward where feed_forward_length is above 0
                      * or there is a router, else attention where it has key heads, else mixer_else */

    /* mixers */
    md_mixer mixer_else;     /* layers without key heads; or, with attention_every n, all but layers n-1, 2n-1... */
    int32_t attention_every; /* unless the file says (full_attention_interval) */
    bool delta_repeats;      /* value heads go round the key heads, rather than in runs */

    /* attention */
    bool latent;      /* latent attention */
    bool input_again; /* with ATTN_NORM_2 a layer's input is added once more after the attention, that norm follows, and
                       * FFN_GATE_UP holds up before gate */
    bool rope_interleaved;
    bool no_rope;                /* no layer turns its heads */
    bool rope_told;              /* nor do they where rope.scaling.finetuned is false */
    md_qk_norm qk_norm;          /* which kind, if the file has the norms; they are RMS norms unless layer_norm */
    bool qk_norm_plain;          /* heads are normed without weights */
    bool qk_norm_needs_rope;     /* only in layers with rope */
    int32_t qk_norm_not_experts; /* models with this many experts have none; 0: all have */
    bool qk_norm_last;           /* after rope */
    bool v_norm;                 /* values too, without weights */
    bool keys_are_values;        /* in layers that lack V */
    bool gate_in_q;
    md_gate_act gate_act;
    bool linear_bias;         /* attention scores lose a slope times the distance (ALiBi) */
    float attn_scale;         /* of scores, unless the file says; 0: 1/sqrt(head size) */
    float attn_softcap;       /* unless the file says; 0: none */
    bool temper_ends;         /* the context ends where the file's temperature by position would begin */
    int32_t no_rope_every;    /* every n-th layer has no rope (n, 2n...); 0: none */
    bool rope_in_windows;     /* in models with windows only layers with one have rope */
    bool rope_in_dense_first; /* and leading dense layers */
    bool head_is_rope;        /* without a key length, a head is as long as its rope */
    int32_t window_every;     /* with a sliding window, where the file does not say which layers have it: layer l has it
                               * unless l % n == n-1; 0: no layer */
    bool window_first;        /* it is layers 0, n, 2n... that lack it */
    bool window_all;          /* every layer has it */
    bool windows_unscaled;    /* rope is not stretched there */
    int32_t chunk; /* layers with rope see only their row's stretch of this many positions, unless the file says */
    float temper;  /* queries grow with position in layers without rope, unless the file says; 0: not */
    int32_t temper_floor, temper_shift;
    float window_rope_base; /* rope base of the layers with a window, then without scaling; 0: as the others, unless
                               * the file says */
    bool factors_not_in_windows; /* the file's rope factors are for layers without a window */
    int32_t wide_scale_layers;   /* models of this many layers scale scores by 1/sqrt(D/H), not by 1/sqrt(head size) */

    /* feed-forward */
    md_ffn_act act;
    float act_alpha, act_limit;
    bool dense_width_is_embd; /* the dense part is D wide */

    /* experts */
    md_score score;
    md_select select;      /* what experts are ranked by, unless the file says */
    int32_t sigmoid_vocab; /* files with this vocabulary and no scoring function score by sigmoid; 0: none */
    bool normalise;
    bool router_tells;       /* a layer has experts if the file has its router */
    bool expert_width_is_ff; /* the experts' width is feed_forward_length */
    bool shared_per_expert;  /* the metadata gives the width of one shared expert and their number */
    bool shared_is_expert;   /* without either there is one, as wide as an expert */
    bool side;               /* a layer with experts has its dense part too, beside them */
    bool routed_early;       /* experts beside a dense part read the layer's input */
    bool route_norm;         /* the router reads the stream, normed and times ROUTE_SCALE / sqrt(D) */
    bool route_cap_beside;   /* a cap of the router's logits counts only in layers with a dense part */
    bool route_early;        /* the router reads the layer's input as it is */
    bool weigh_input;
    float side_scale; /* of the sum of experts and a dense part, or of experts and shared ones; 0: 1 */

    /* scales read from metadata: embedding, residual, attention, logit (divides, or multiplies) */
    bool metadata_scales, logit_multiplies;
    float embed_scale, logit_scale; /* unless the file says; 0: 1 */
    bool embed_sqrt;                /* embeddings times sqrt(D) */
} md_arch;

/* NULL when there is no such family. */
const md_arch *md_arch_find(const char *name, size_t n);
/* All of them, NULL-ended. */
extern const md_arch *const md_arch_all[];

#endif
