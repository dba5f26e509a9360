/* SPDX-License-Identifier: Apache-2.0
 *
 * Gemma 3 (Kamath et al. 2025): as Gemma 2 without soft-caps, with norms over the heads of q and k, and a window on five of six
 * layers whose rope base is 10000 and unscaled. The 27B model, 62 layers, scales scores by the model width a head. */
#include "model/arch.h"

const md_arch md_arch_gemma3 = {
    .name = "gemma3",
    .source = "Kamath et al. 2025 (Gemma 3)",
    .need = MD_SET_QKV | MD_HAS(Q_NORM) | MD_HAS(K_NORM) | MD_HAS(ATTN_POST_NORM) | MD_HAS(FFN_NORM) |
            MD_HAS(FFN_POST_NORM) | MD_SET_FFN,
    .may = MD_HAS(OUTPUT),
    .qk_norm = MD_QK_NORM_HEAD,
    .window_every = 6,
    .window_rope_base = 10000.0f,
    .wide_scale_layers = 62,
    .act = MD_FFN_GELU,
    .embed_sqrt = true,
};
