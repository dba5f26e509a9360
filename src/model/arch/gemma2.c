/* SPDX-License-Identifier: Apache-2.0
 *
 * Gemma 2 (Riviere et al. 2024): embeddings times sqrt(n), norms before and after both branches, a window on every other layer
 * beginning with the first, soft-capped scores and logits, gelu. The 27B model, 46 layers, scales scores by the model width
 * a head; the file does not say so. */
#include "model/arch.h"

const md_arch md_arch_gemma2 = {
    .name = "gemma2",
    .source = "Riviere et al. 2024 (Gemma 2)",
    .need = MD_SET_QKV | MD_HAS(ATTN_POST_NORM) | MD_HAS(FFN_NORM) | MD_HAS(FFN_POST_NORM) | MD_SET_FFN,
    .may = MD_HAS(OUTPUT),
    .window_every = 2,
    .wide_scale_layers = 46,
    .act = MD_FFN_GELU,
    .embed_sqrt = true,
};
