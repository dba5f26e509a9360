/* SPDX-License-Identifier: Apache-2.0
 *
 * DeepSeekMoE 16B, V1 (Dai et al. 2024): many small experts by softmax without renormalising, shared experts, a leading dense layer. */
#include "model/arch.h"

const md_arch md_arch_deepseek = {
    .name = "deepseek",
    .source = "Dai et al. 2024 (DeepSeekMoE)",
    .need = MD_SET_QKV | MD_HAS(FFN_NORM) | MD_SET_FFN | MD_SET_MOE | MD_SET_SHARED,
    .may = MD_HAS(OUTPUT) | MD_HAS(ROPE_FREQS),
    .rope_interleaved = true,
    .score = MD_SCORE_SOFTMAX,
};
