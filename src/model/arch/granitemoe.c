/* SPDX-License-Identifier: Apache-2.0
 *
 * Granite 3 with experts (IBM 2024): top-k, then softmax over the picked, which equals softmax over all divided by the
 * sum of the picked. Later versions add an ungated shared expert. */
#include "model/arch.h"

const md_arch md_arch_granitemoe = {
    .name = "granitemoe",
    .source = "Granite 3.0 report (IBM 2024)",
    .need = MD_SET_QKV | MD_HAS(FFN_NORM) | MD_SET_MOE,
    .may = MD_HAS(OUTPUT) | MD_HAS(ROPE_FREQS) | MD_SET_SHARED,
    .rope_interleaved = true,
    .score = MD_SCORE_SOFTMAX,
    .normalise = true,
    .expert_width_is_ff = true,
    .metadata_scales = true,
};
