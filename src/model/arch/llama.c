/* SPDX-License-Identifier: Apache-2.0
 *
 * Llama (Touvron et al. 2023) and what is stored under its name: Llama 2 and 3, Mistral 7B (Jiang et al. 2023), SmolLM,
 * and with experts Mixtral (Jiang et al. 2024: softmax over all experts, top-k, weights divided by their sum). Llama 3.1's
 * stretched frequencies come as rope_freqs.weight, one divisor a pair. */
#include "model/arch.h"

const md_arch md_arch_llama = {
    .name = "llama",
    .source = "Touvron et al. 2023; Jiang et al. 2024 (Mixtral)",
    .need = MD_SET_QKV | MD_HAS(FFN_NORM) | MD_SET_FFN | MD_SET_MOE,
    .may = MD_SET_QKV_BIAS | MD_HAS(ATTN_OUT_BIAS) | MD_HAS(ROPE_FREQS) | MD_HAS(OUTPUT) | MD_HAS(FFN_GATE_BIAS) |
           MD_HAS(FFN_UP_BIAS) | MD_HAS(FFN_DOWN_BIAS),
    .rope_interleaved = true,
    .score = MD_SCORE_SOFTMAX,
    .normalise = true,
    .expert_width_is_ff = true,
};
