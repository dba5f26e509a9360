/* SPDX-License-Identifier: Apache-2.0
 *
 * Gemma 4 (Google DeepMind 2026): heads of two sizes, windows on most layers, values normed without weights and taken from the
 * keys where a layer has none, keys and values of the last layers shared, rope factors on layers without a window, a scale of 1 for
 * scores; token vectors for every layer; experts beside the dense part, routed by the stream under a norm without weights. */
#include "model/arch.h"

const md_arch md_arch_gemma4 = {
    .name = "gemma4",
    .source = "Gemma 4 model card and reference code (Google DeepMind 2026)",
    .need = MD_SET_QKV | MD_SET_QK_NORM | MD_HAS(ATTN_POST_NORM) | MD_HAS(FFN_NORM) | MD_HAS(FFN_POST_NORM) |
            MD_SET_FFN | MD_SET_MOE,
    .may = MD_HAS(QKV) | MD_HAS(OUTPUT) | MD_HAS(ROPE_FREQS) | MD_HAS(LAYER_SCALE) | MD_HAS(ROUTE_SCALE) |
           MD_HAS(FFN_NORM_ROUTED) | MD_HAS(FFN_POST_DENSE) | MD_HAS(FFN_POST_ROUTED) | MD_HAS(TOKEN_LAYER_EMBD) |
           MD_HAS(TOKEN_LAYER_PROJ) | MD_HAS(TOKEN_LAYER_NORM) | MD_HAS(TOKEN_GATE) | MD_HAS(TOKEN_PROJ) |
           MD_HAS(TOKEN_POST_NORM),
    .qk_norm = MD_QK_NORM_HEAD,
    .v_norm = true,
    .keys_are_values = true,
    .attn_scale = 1.0f,
    .factors_not_in_windows = true,
    .act = MD_FFN_GELU,
    .score = MD_SCORE_SOFTMAX,
    .normalise = true,
    .router_tells = true,
    .side = true,
    .route_norm = true,
    .embed_sqrt = true,
};
