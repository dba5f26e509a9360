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

#define MD_HAS(NAME) (1ull << MD_SLOT_##NAME)

/* Usual sets. */
#define MD_SET_QKV      (MD_HAS(ATTN_NORM) | MD_HAS(Q) | MD_HAS(K) | MD_HAS(V) | MD_HAS(ATTN_OUT))
#define MD_SET_QKV_ONE  (MD_HAS(ATTN_NORM) | MD_HAS(QKV) | MD_HAS(ATTN_OUT)) /* q, k and v in one matrix */
#define MD_SET_QKV_BIAS (MD_HAS(Q_BIAS) | MD_HAS(K_BIAS) | MD_HAS(V_BIAS))
#define MD_SET_FFN      (MD_HAS(FFN_GATE) | MD_HAS(FFN_UP) | MD_HAS(FFN_DOWN))
#define MD_SET_MOE      (MD_HAS(ROUTER) | MD_HAS(GATE_EXPS) | MD_HAS(UP_EXPS) | MD_HAS(DOWN_EXPS))
#define MD_SET_SHARED   (MD_HAS(GATE_SHEXP) | MD_HAS(UP_SHEXP) | MD_HAS(DOWN_SHEXP))

typedef struct md_rename {
    md_slot slot;
    const char *name; /* in place of the usual name */
} md_rename;

typedef struct md_arch {
    const char *name;   /* general.architecture */
    const char *source; /* where its arithmetic is described */

    /* tensors: what every layer must have, what it may have; dense and routed parts are asked for where a layer has
     * that kind of feed-forward */
    unsigned long long need, may;
    const md_rename *rename; /* ended by name NULL; or NULL */

    /* attention */
    bool rope_interleaved;
    md_qk_norm qk_norm;     /* which kind, if the file has the norms */
    bool qk_norm_last;      /* after rope */
    int32_t no_rope_every;  /* every n-th layer has no rope (n, 2n...); 0: none */
    int32_t window_every;   /* with a sliding window, where the file does not say which layers have it: layer l has it
                             * unless l % n == n-1; 0: no layer */
    float window_rope_base; /* rope base of the layers with a window, then without scaling; 0: as the others, unless
                             * the file says */
    int32_t wide_scale_layers; /* models of this many layers scale scores by 1/sqrt(D/H), not by 1/sqrt(head size) */

    /* experts */
    md_score score;
    bool normalise;
    bool router_tells;       /* a layer has experts if the file has its router */
    bool expert_width_is_ff; /* the experts' width is feed_forward_length */
    bool shared_per_expert;  /* the metadata gives the width of one shared expert and their number */
    md_ffn_act act;
    float act_alpha, act_limit;

    /* scales read from metadata: embedding, residual, attention, logit (divides) */
    bool metadata_scales;
    bool embed_sqrt; /* embeddings times sqrt(D) */
} md_arch;

/* NULL when there is no such family. */
const md_arch *md_arch_find(const char *name, size_t n);
/* All of them, NULL-ended. */
extern const md_arch *const md_arch_all[];

#endif
