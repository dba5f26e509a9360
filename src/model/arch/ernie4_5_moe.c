/* SPDX-License-Identifier: Apache-2.0
 *
 * ERNIE 4.5 with experts (Baidu 2025): softmax with a bias for the selection, normalised; shared experts, leading dense layers. */
#include "model/arch.h"

const md_arch md_arch_ernie4_5_moe = {
    .name = "ernie4_5-moe",
    .source = "ERNIE 4.5 technical report (Baidu 2025)",
    .need = MD_SET_QKV | MD_HAS(FFN_NORM) | MD_SET_FFN | MD_SET_MOE,
    .may = MD_SET_QKV_BIAS | MD_HAS(ATTN_OUT_BIAS) | MD_HAS(SELECT_BIAS) | MD_SET_SHARED | MD_HAS(OUTPUT),
    .rope_interleaved = true,
    .score = MD_SCORE_SOFTMAX,
    .normalise = true,
    .router_tells = true,
};
