/* SPDX-License-Identifier: Apache-2.0
 *
 * MiniMax-M2 (2025): norms over all heads of q and of k together, half of each head turns; a sigmoid router with a bias for
 * the selection, weights divided by their sum. */
#include "model/arch.h"

const md_arch md_arch_minimax_m2 = {
    .name = "minimax-m2",
    .source = "MiniMax-M2 model card (2025)",
    .need = MD_SET_QKV | MD_HAS(Q_NORM_FULL) | MD_HAS(K_NORM_FULL) | MD_HAS(FFN_NORM) | MD_SET_MOE |
            MD_HAS(SELECT_BIAS),
    .may = MD_HAS(OUTPUT),
    .qk_norm = MD_QK_NORM_FULL,
    .score = MD_SCORE_SIGMOID,
    .normalise = true,
};
