/* SPDX-License-Identifier: Apache-2.0
 *
 * Ling and Ring 2 (Ant Group 2025): q, k and v in one matrix, norms over heads, half of each head turns; a sigmoid router
 * with a bias for the selection and groups judged by their best two, weights divided by their sum and scaled; shared
 * experts; leading dense layers. */
#include "model/arch.h"

const md_arch md_arch_bailingmoe2 = {
    .name = "bailingmoe2",
    .source = "Ling 2.0 technical report (Ant Group 2025)",
    .need = MD_SET_QKV_ONE | MD_HAS(Q_NORM) | MD_HAS(K_NORM) | MD_HAS(FFN_NORM) | MD_SET_FFN | MD_SET_MOE |
            MD_SET_SHARED,
    .may = MD_HAS(QKV_BIAS) | MD_HAS(ATTN_OUT_BIAS) | MD_HAS(SELECT_BIAS) | MD_HAS(OUTPUT),
    .qk_norm = MD_QK_NORM_HEAD,
    .score = MD_SCORE_SIGMOID,
    .normalise = true,
    .shared_per_expert = true,
};
