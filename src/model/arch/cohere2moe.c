/* SPDX-License-Identifier: Apache-2.0
 *
 * Command A with experts (Cohere 2026): as cohere2, with experts after leading dense layers, which have rope too; the sum of the routed
 * and the shared experts is halved. */
#include "model/arch.h"

const md_arch md_arch_cohere2moe = {
    .name = "cohere2moe",
    .also = "cohere2_moe",
    .source = "reference code (Cohere 2026)",
    .need = MD_SET_QKV | MD_SET_FFN | MD_SET_MOE,
    .may = MD_SET_SHARED | MD_HAS(OUTPUT) | MD_HAS(ROPE_FREQS),
    .layer_norm = true,
    .norm_by_eps = true,
    .parallel = true,
    .rope_interleaved = true,
    .window_every = 4,
    .window_first = true,
    .rope_in_windows = true,
    .rope_in_dense_first = true,
    .score = MD_SCORE_SIGMOID,
    .router_tells = true,
    .side_scale = 0.5f,
    .metadata_scales = true,
    .logit_multiplies = true,
};
