/* SPDX-License-Identifier: Apache-2.0
 *
 * Command R and R+ (Cohere 2024): attention and feed-forward side by side under one norm by mean and variance; the larger models norm
 * each head of queries and keys with weights of its own. */
#include "model/arch.h"

const md_arch md_arch_command_r = {
    .name = "command-r",
    .source = "Command R model cards and reference code (Cohere 2024)",
    .need = MD_SET_QKV | MD_SET_FFN,
    .may = MD_HAS(Q_NORM_EACH) | MD_HAS(K_NORM_EACH) | MD_SET_QKV_BIAS | MD_HAS(OUTPUT) | MD_HAS(ROPE_FREQS),
    .layer_norm = true,
    .parallel = true,
    .rope_interleaved = true,
    .qk_norm = MD_QK_NORM_EACH,
    .metadata_scales = true,
    .logit_multiplies = true,
};
