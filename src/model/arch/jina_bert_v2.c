/* SPDX-License-Identifier: Apache-2.0
 *
 * Jina Embeddings 2 (Guenther et al. 2023): BERT with a symmetric bias by distance (ALiBi, Press et al. 2022) in place of
 * positions and a gated GELU, the exact one, whose gate comes first where one matrix holds gate and up. The model for code
 * has norms over all heads' queries and keys, adds a layer's input once more after the attention's norm, under a norm of
 * its own, and holds up before gate: so the authors' model code; public engines take its gate for up. */
#include "model/arch.h"

const md_arch md_arch_jina_bert_v2 = {
    .name = "jina-bert-v2",
    .source = "Guenther et al. 2023 (Jina Embeddings 2) and the authors' model code",
    .need = MD_HAS(EMBD_NORM) | MD_HAS(EMBD_NORM_BIAS) | MD_HAS(ATTN_OUT) | MD_HAS(ATTN_AFTER_NORM) |
            MD_HAS(ATTN_AFTER_NORM_BIAS) | MD_HAS(FFN_DOWN) | MD_HAS(FFN_AFTER_NORM) | MD_HAS(FFN_AFTER_NORM_BIAS),
    .may = MD_HAS(TOKEN_TYPES) | MD_HAS(Q) | MD_HAS(K) | MD_HAS(V) | MD_SET_QKV_BIAS | MD_HAS(QKV) | MD_HAS(QKV_BIAS) |
           MD_HAS(Q_NORM_FULL) | MD_HAS(K_NORM_FULL) | MD_HAS(Q_NORM_BIAS) | MD_HAS(K_NORM_BIAS) | MD_HAS(ATTN_NORM_2) |
           MD_HAS(ATTN_NORM_2_BIAS) | MD_HAS(ATTN_OUT_BIAS) | MD_HAS(FFN_GATE_UP) | MD_HAS(FFN_GATE_UP_BIAS) |
           MD_HAS(FFN_GATE) | MD_HAS(FFN_UP) | MD_HAS(FFN_UP_BIAS) | MD_HAS(FFN_DOWN_BIAS),
    .encoder = true,
    .layer_norm = true,
    .no_rope = true,
    .linear_bias = true,
    .qk_norm = MD_QK_NORM_FULL,
    .input_again = true,
    .act = MD_FFN_GELU_ERF,
};
