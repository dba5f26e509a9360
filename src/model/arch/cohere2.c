/* SPDX-License-Identifier: Apache-2.0
 *
 * Command R7B and A (Cohere 2024, 2025): attention and feed-forward side by side under one norm by mean and variance; a window and rope
 * on three layers of four, neither on the fourth; logits times a scale. */
#include "model/arch.h"

const md_arch md_arch_cohere2 = {
    .name = "cohere2",
    .source = "Command A technical report (Cohere 2025)",
    .need = MD_SET_QKV | MD_SET_FFN,
    .may = MD_HAS(OUTPUT) | MD_HAS(ROPE_FREQS),
    .layer_norm = true,
    .parallel = true,
    .rope_interleaved = true,
    .window_every = 4,
    .rope_in_windows = true,
    .score = MD_SCORE_SOFTMAX,
    .metadata_scales = true,
    .logit_multiplies = true,
};
