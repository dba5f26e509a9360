/* SPDX-License-Identifier: Apache-2.0
 *
 * Hunyuan-A13B (Tencent 2025): norms over the heads of q and k after rope; softmax over all experts, weights divided by their
 * sum; an ungated shared expert. */
#include "model/arch.h"

const md_arch md_arch_hunyuan_moe = {
    .name = "hunyuan-moe",
    .source = "Hunyuan-A13B technical report (Tencent 2025)",
    .need = MD_SET_QKV | MD_HAS(Q_NORM) | MD_HAS(K_NORM) | MD_HAS(FFN_NORM) | MD_SET_MOE | MD_SET_SHARED,
    .may = MD_HAS(OUTPUT),
    .qk_norm = MD_QK_NORM_HEAD,
    .qk_norm_last = true,
    .score = MD_SCORE_SOFTMAX,
    .normalise = true,
};
