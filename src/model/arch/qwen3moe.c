/* SPDX-License-Identifier: Apache-2.0
 *
 * Qwen3 with experts (Yang et al. 2025): softmax over all experts, top-k, weights divided by their sum; no shared expert. */
#include "model/arch.h"

const md_arch md_arch_qwen3moe = {
    .name = "qwen3moe",
    .source = "Yang et al. 2025 (Qwen3)",
    .need = MD_SET_QKV | MD_HAS(Q_NORM) | MD_HAS(K_NORM) | MD_HAS(FFN_NORM) | MD_SET_MOE,
    .may = MD_HAS(OUTPUT),
    .qk_norm = MD_QK_NORM_HEAD,
    .score = MD_SCORE_SOFTMAX,
    .normalise = true,
};
