/* SPDX-License-Identifier: Apache-2.0
 *
 * Granite 3 (IBM 2024), dense: a Llama with four multipliers: embedding, residual, attention scale, and a divisor of the
 * logits. */
#include "model/arch.h"

const md_arch md_arch_granite = {
    .name = "granite",
    .source = "Granite 3.0 report (IBM 2024)",
    .need = MD_SET_QKV | MD_HAS(FFN_NORM) | MD_SET_FFN,
    .may = MD_SET_QKV_BIAS | MD_HAS(ATTN_OUT_BIAS) | MD_HAS(OUTPUT) | MD_HAS(ROPE_FREQS),
    .rope_interleaved = true,
    .metadata_scales = true,
};
