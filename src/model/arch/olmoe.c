/* SPDX-License-Identifier: Apache-2.0
 *
 * OLMoE (Muennighoff et al. 2024): RMS norms over all heads of q and of k together, before rope; softmax over all
 * experts, the weights of the picked as they are. */
#include "model/arch.h"

const md_arch md_arch_olmoe = {
    .name = "olmoe",
    .source = "Muennighoff et al. 2024",
    .need = MD_SET_QKV | MD_HAS(Q_NORM_FULL) | MD_HAS(K_NORM_FULL) | MD_HAS(FFN_NORM) | MD_SET_MOE,
    .may = MD_HAS(OUTPUT),
    .qk_norm = MD_QK_NORM_FULL,
    .score = MD_SCORE_SOFTMAX,
    .expert_width_is_ff = true,
};
