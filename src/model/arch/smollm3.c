/* SPDX-License-Identifier: Apache-2.0
 *
 * SmolLM3 (Hugging Face 2025): a Llama whose every fourth layer has no rope (Yang et al. 2025, "Rope to Nope and back
 * again"). */
#include "model/arch.h"

const md_arch md_arch_smollm3 = {
    .name = "smollm3",
    .source = "SmolLM3 report (Hugging Face 2025)",
    .need = MD_SET_QKV | MD_HAS(FFN_NORM) | MD_SET_FFN,
    .may = MD_HAS(OUTPUT),
    .rope_interleaved = true,
    .no_rope_every = 4,
};
