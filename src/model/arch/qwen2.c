/* SPDX-License-Identifier: Apache-2.0
 *
 * Qwen2 and Qwen2.5 (Yang et al. 2024): biases on q, k and v; half-split rope. */
#include "model/arch.h"

const md_arch md_arch_qwen2 = {
    .name = "qwen2",
    .source = "Yang et al. 2024 (Qwen2)",
    .need = MD_SET_QKV | MD_SET_QKV_BIAS | MD_HAS(FFN_NORM) | MD_SET_FFN,
    .may = MD_HAS(OUTPUT) | MD_HAS(ATTN_OUT_BIAS),
};
