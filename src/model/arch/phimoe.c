/* SPDX-License-Identifier: Apache-2.0
 *
 * Phi 3.5 MoE (Microsoft 2024): norms by mean and variance, biases, LongRoPE; two experts by SparseMixer, which weighs each against those
 * near it. Public engines route by plain softmax; ours follows the authors. */
#include "model/arch.h"

const md_arch md_arch_phimoe = {
    .name = "phimoe",
    .source = "Phi-3 technical report; GRIN: Liu et al. 2024; reference code",
    .need = MD_HAS(ATTN_NORM) | MD_HAS(ATTN_NORM_BIAS) | MD_HAS(ATTN_OUT) | MD_HAS(ATTN_OUT_BIAS) | MD_HAS(FFN_NORM) |
            MD_HAS(FFN_NORM_BIAS) | MD_SET_MOE | MD_HAS(OUTPUT_NORM_BIAS),
    .may = MD_HAS(Q) | MD_HAS(K) | MD_HAS(V) | MD_SET_QKV_BIAS | MD_HAS(QKV) | MD_HAS(QKV_BIAS) | MD_HAS(OUTPUT) |
           MD_HAS(OUTPUT_BIAS) | MD_HAS(ROPE_LONG) | MD_HAS(ROPE_SHORT),
    .layer_norm = true,
    .window_all = true,
    .score = MD_SCORE_SPARSE_MIXER,
    .expert_width_is_ff = true,
};
