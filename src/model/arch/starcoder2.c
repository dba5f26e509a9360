/* SPDX-License-Identifier: Apache-2.0
 *
 * StarCoder 2 (Lozhkov et al. 2024): norms by mean and variance, biases everywhere, a feed-forward without a gate, a window on every layer. */
#include "model/arch.h"

const md_arch md_arch_starcoder2 = {
    .name = "starcoder2",
    .source = "Lozhkov et al. 2024 (StarCoder 2 and The Stack v2)",
    .need = MD_HAS(ATTN_NORM) | MD_HAS(ATTN_NORM_BIAS) | MD_HAS(ATTN_OUT) | MD_HAS(ATTN_OUT_BIAS) | MD_HAS(FFN_NORM) |
            MD_HAS(FFN_NORM_BIAS) | MD_HAS(FFN_UP) | MD_HAS(FFN_UP_BIAS) | MD_HAS(FFN_DOWN) | MD_HAS(FFN_DOWN_BIAS) |
            MD_HAS(OUTPUT_NORM_BIAS),
    .may = MD_HAS(Q) | MD_HAS(K) | MD_HAS(V) | MD_SET_QKV_BIAS | MD_HAS(QKV) | MD_HAS(QKV_BIAS) | MD_HAS(OUTPUT),
    .layer_norm = true,
    .window_all = true,
    .act = MD_FFN_GELU,
};
