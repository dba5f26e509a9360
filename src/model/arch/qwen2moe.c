/* SPDX-License-Identifier: Apache-2.0
 *
 * Qwen1.5-MoE and Qwen2-57B-A14B (Yang et al. 2024): softmax over all experts, the weights of the picked as they are, not
 * divided by their sum; one shared expert weighed by a sigmoid of its own. */
#include "model/arch.h"

const md_arch md_arch_qwen2moe = {
    .name = "qwen2moe",
    .source = "Yang et al. 2024 (Qwen2)",
    .need = MD_SET_QKV | MD_SET_QKV_BIAS | MD_HAS(FFN_NORM) | MD_SET_MOE | MD_SET_SHARED | MD_HAS(SHARED_SCALE),
    .may = MD_HAS(OUTPUT) | MD_HAS(ATTN_OUT_BIAS),
    .score = MD_SCORE_SOFTMAX,
};
