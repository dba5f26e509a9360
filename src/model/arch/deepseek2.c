/* SPDX-License-Identifier: Apache-2.0
 *
 * DeepSeek-V2, V2.5, V3, R1 and what was built like them (Kimi-K2, GLM-4.7-Flash, GigaChat 3): latent attention in both layouts,
 * leading dense layers, one wide shared expert; softmax routers limited to groups by their best expert (V2) or sigmoid
 * routers with a bias for the selection, limited to groups by their best two (V3). Files without a scoring function are V2's,
 * but for GLM-4.7-Flash's, told by its vocabulary. */
#include "model/arch.h"

const md_arch md_arch_deepseek2 = {
    .name = "deepseek2",
    .source = "DeepSeek-V2 (2024), DeepSeek-V3 technical report (2024)",
    .need = MD_HAS(ATTN_NORM) | MD_HAS(KV_A) | MD_HAS(KV_A_NORM) | MD_HAS(ATTN_OUT) | MD_HAS(FFN_NORM) | MD_SET_FFN |
            MD_SET_MOE | MD_SET_SHARED,
    .may = MD_HAS(Q) | MD_HAS(Q_A) | MD_HAS(Q_A_NORM) | MD_HAS(Q_B) | MD_HAS(KV_B) | MD_HAS(K_B) | MD_HAS(V_B) |
           MD_HAS(SELECT_BIAS) | MD_HAS(OUTPUT) | MD_HAS(ROPE_FREQS),
    .latent = true,
    .rope_interleaved = true,
    .score = MD_SCORE_SOFTMAX,
    .sigmoid_vocab = 154880,
};
