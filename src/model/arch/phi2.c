/* SPDX-License-Identifier: Apache-2.0
 *
 * Phi 1.5 and 2 (Microsoft 2023): attention and feed-forward side by side under one norm by mean and variance, biases everywhere, part of
 * each head turned. */
#include "model/arch.h"

const md_arch md_arch_phi2 = {
    .name = "phi2",
    .source = "Phi-2 release and reference code (Microsoft 2023)",
    .need = MD_HAS(ATTN_NORM) | MD_HAS(ATTN_NORM_BIAS) | MD_HAS(ATTN_OUT) | MD_HAS(ATTN_OUT_BIAS) | MD_HAS(FFN_UP) |
            MD_HAS(FFN_UP_BIAS) | MD_HAS(FFN_DOWN) | MD_HAS(FFN_DOWN_BIAS) | MD_HAS(OUTPUT_NORM_BIAS) |
            MD_HAS(OUTPUT_BIAS),
    .may = MD_HAS(Q) | MD_HAS(K) | MD_HAS(V) | MD_SET_QKV_BIAS | MD_HAS(QKV) | MD_HAS(QKV_BIAS) | MD_HAS(OUTPUT),
    .layer_norm = true,
    .parallel = true,
    .act = MD_FFN_GELU,
};
