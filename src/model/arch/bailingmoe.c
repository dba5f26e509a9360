/* SPDX-License-Identifier: Apache-2.0
 *
 * Ling Lite and Plus (Ling Team 2025): softmax over all experts, normalised if the file says so, beside shared experts; a head is as
 * long as its rope. */
#include "model/arch.h"

const md_arch md_arch_bailingmoe = {
    .name = "bailingmoe",
    .source = "Every FLOP Counts (Ling Team 2025)",
    .need = MD_SET_QKV | MD_HAS(FFN_NORM) | MD_SET_FFN | MD_SET_MOE | MD_SET_SHARED,
    .may = MD_HAS(OUTPUT) | MD_HAS(ROPE_FREQS) | MD_SET_QKV_BIAS,
    .rope_interleaved = true,
    .head_is_rope = true,
    .score = MD_SCORE_SOFTMAX,
};
