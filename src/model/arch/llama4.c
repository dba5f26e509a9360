/* SPDX-License-Identifier: Apache-2.0
 *
 * Llama 4 (Meta 2025): three layers of four see only their own stretch of 8192 positions and norm their turned heads without weights; the
 * fourth has no rope, sees everything and grows its queries with position. One expert by sigmoid, whose input is weighed rather than its
 * output, beside a shared one; in every layer or every second. */
#include "model/arch.h"

const md_arch md_arch_llama4 = {
    .name = "llama4",
    .source = "The Llama 4 herd and reference code (Meta 2025)",
    .need = MD_SET_QKV | MD_HAS(FFN_NORM) | MD_SET_FFN | MD_SET_MOE | MD_SET_SHARED,
    .may = MD_HAS(OUTPUT) | MD_HAS(ROPE_FREQS),
    .rope_interleaved = true,
    .qk_norm_plain = true,
    .qk_norm_not_experts = 128,
    .qk_norm_last = true,
    .qk_norm_needs_rope = true,
    .no_rope_every = 4,
    .chunk = 8192,
    .temper = 0.1f,
    .temper_floor = 8192,
    .temper_shift = 1,
    .score = MD_SCORE_SIGMOID,
    .select = MD_SELECT_LOGIT,
    .router_tells = true,
    .shared_is_expert = true,
    .weigh_input = true,
};
