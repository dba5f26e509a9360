/* SPDX-License-Identifier: Apache-2.0
 *
 * Arcee Foundation Models (Arcee AI 2025): a Llama whose feed-forward has no gate and squares its ReLU. */
#include "model/arch.h"

const md_arch md_arch_arcee = {
    .name = "arcee",
    .source = "AFM-4.5B model card and reference code (Arcee AI 2025)",
    .need = MD_SET_QKV | MD_HAS(FFN_NORM) | MD_HAS(FFN_UP) | MD_HAS(FFN_DOWN),
    .may = MD_HAS(OUTPUT) | MD_HAS(ROPE_FREQS),
    .rope_interleaved = true,
    .act = MD_FFN_RELU2,
};
