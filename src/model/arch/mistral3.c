/* SPDX-License-Identifier: Apache-2.0
 *
 * Ministral 3 (Mistral AI 2025): a Llama with YaRN, whose queries grow with position; experts as Mixtral's where the file has them. */
#include "model/arch.h"

const md_arch md_arch_mistral3 = {
    .name = "mistral3",
    .source = "Ministral 3 model cards and reference code (Mistral AI 2025)",
    .need = MD_SET_QKV | MD_HAS(FFN_NORM) | MD_SET_FFN | MD_SET_MOE,
    .may = MD_SET_SHARED | MD_HAS(OUTPUT) | MD_HAS(ROPE_FREQS),
    .rope_interleaved = true,
    .score = MD_SCORE_SOFTMAX,
    .normalise = true,
    .expert_width_is_ff = true,
};
