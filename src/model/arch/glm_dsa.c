/* SPDX-License-Identifier: Apache-2.0
 *
 * GLM-5 (Z.ai 2026): DeepSeek-V3's layers with an indexer that picks which keys are seen. Up to as many positions as it picks, that is all of
 * them: the context is limited to those, and the indexer's tensors are not used. */
#include "model/arch.h"

const md_arch md_arch_glm_dsa = {
    .name = "glm-dsa",
    .source = "GLM-5 technical report (Z.ai 2026); DeepSeek-V3.2 (2025)",
    .need = MD_HAS(ATTN_NORM) | MD_HAS(KV_A) | MD_HAS(KV_A_NORM) | MD_HAS(ATTN_OUT) | MD_HAS(FFN_NORM) | MD_SET_FFN |
            MD_SET_MOE | MD_SET_SHARED,
    .may = MD_HAS(Q) | MD_HAS(Q_A) | MD_HAS(Q_A_NORM) | MD_HAS(Q_B) | MD_HAS(KV_B) | MD_HAS(K_B) | MD_HAS(V_B) |
           MD_HAS(SELECT_BIAS) | MD_HAS(OUTPUT),
    .latent = true,
    .rope_interleaved = true,
    .score = MD_SCORE_SIGMOID,
};
