/* SPDX-License-Identifier: Apache-2.0
 *
 * Gemma (Gemma Team 2024): a Llama with GELU, embeddings times sqrt(D) and a head size of its own. */
#include "model/arch.h"

const md_arch md_arch_gemma = {
    .name = "gemma",
    .source = "Gemma Team 2024 (Gemma)",
    .need = MD_SET_QKV | MD_HAS(FFN_NORM) | MD_SET_FFN,
    .may = MD_HAS(OUTPUT),
    .act = MD_FFN_GELU,
    .embed_sqrt = true,
};
