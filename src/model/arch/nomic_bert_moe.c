/* SPDX-License-Identifier: Apache-2.0
 *
 * Nomic Embed 2 (Nussbaum & Duderstadt 2025): BERT with rope and biases, where every second layer has experts without gates
 * and biases, weighed by a softmax over all of them that is not renormalised. The GELU is the exact one. */
#include "model/arch.h"

const md_arch md_arch_nomic_bert_moe = {
    .name = "nomic-bert-moe",
    .source = "Nussbaum & Duderstadt 2025 (Training Sparse Mixture Of Experts Text Embedding Models)",
    .need = MD_HAS(EMBD_NORM) | MD_HAS(EMBD_NORM_BIAS) | MD_HAS(ATTN_OUT) | MD_HAS(ATTN_AFTER_NORM) |
            MD_HAS(ATTN_AFTER_NORM_BIAS) | MD_HAS(FFN_UP) | MD_HAS(FFN_DOWN) | MD_HAS(ROUTER) | MD_HAS(UP_EXPS) |
            MD_HAS(DOWN_EXPS) | MD_HAS(FFN_AFTER_NORM) | MD_HAS(FFN_AFTER_NORM_BIAS),
    .may = MD_HAS(TOKEN_TYPES) | MD_HAS(Q) | MD_HAS(K) | MD_HAS(V) | MD_SET_QKV_BIAS | MD_HAS(QKV) | MD_HAS(QKV_BIAS) |
           MD_HAS(ATTN_OUT_BIAS) | MD_HAS(FFN_UP_BIAS) | MD_HAS(FFN_DOWN_BIAS),
    .encoder = true,
    .layer_norm = true,
    .act = MD_FFN_GELU_ERF,
    .expert_width_is_ff = true,
    .router_tells = true,
};
