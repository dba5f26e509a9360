/* SPDX-License-Identifier: Apache-2.0
 *
 * BERT (Devlin et al. 2018) and its kin (RoBERTa, MiniLM, BGE, E5): positions and token types are learned and added to the
 * embedding, which has a norm of its own; norms come after each residual; biases everywhere. All tokens are of the first
 * type. The feed-forward's GELU is the exact one, as the authors have it, where public engines take the tanh form. */
#include "model/arch.h"

const md_arch md_arch_bert = {
    .name = "bert",
    .source = "Devlin et al. 2018 (BERT)",
    .need = MD_HAS(POSITION_EMBD) | MD_HAS(EMBD_NORM) | MD_HAS(EMBD_NORM_BIAS) | MD_HAS(ATTN_OUT) |
            MD_HAS(ATTN_AFTER_NORM) | MD_HAS(ATTN_AFTER_NORM_BIAS) | MD_HAS(FFN_UP) | MD_HAS(FFN_DOWN) |
            MD_HAS(FFN_AFTER_NORM) | MD_HAS(FFN_AFTER_NORM_BIAS),
    .may = MD_HAS(TOKEN_TYPES) | MD_HAS(Q) | MD_HAS(K) | MD_HAS(V) | MD_SET_QKV_BIAS | MD_HAS(QKV) | MD_HAS(QKV_BIAS) |
           MD_HAS(ATTN_OUT_BIAS) | MD_HAS(FFN_UP_BIAS) | MD_HAS(FFN_DOWN_BIAS),
    .encoder = true,
    .layer_norm = true,
    .no_rope = true,
    .act = MD_FFN_GELU_ERF,
};
