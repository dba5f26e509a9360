/* SPDX-License-Identifier: Apache-2.0
 *
 * FlexOlmo (Shi et al. 2025): OLMo 2's norms after both branches, OLMoE's experts. */
#include "model/arch.h"

const md_arch md_arch_flex_olmo = {
    .name = "flex-olmo",
    .source = "Shi et al. 2025 (FlexOlmo)",
    .need = (MD_SET_QKV & ~MD_HAS(ATTN_NORM)) | MD_HAS(Q_NORM_FULL) | MD_HAS(K_NORM_FULL) | MD_HAS(ATTN_POST_NORM) |
            MD_HAS(FFN_POST_NORM) | MD_SET_MOE,
    .may = MD_HAS(OUTPUT),
    .qk_norm = MD_QK_NORM_FULL,
    .score = MD_SCORE_SOFTMAX,
    .expert_width_is_ff = true,
};
