/* SPDX-License-Identifier: Apache-2.0
 *
 * dots.llm1 (rednote 2025): norms over the heads of queries and keys; a sigmoid router with a bias for the selection, shared experts,
 * leading dense layers. */
#include "model/arch.h"

const md_arch md_arch_dots1 = {
    .name = "dots1",
    .source = "dots.llm1 technical report (rednote 2025)",
    .need = MD_SET_QKV | MD_SET_QK_NORM | MD_HAS(FFN_NORM) | MD_SET_FFN | MD_SET_MOE | MD_SET_SHARED,
    .may = MD_HAS(SELECT_BIAS) | MD_HAS(OUTPUT) | MD_HAS(ROPE_FREQS),
    .qk_norm = MD_QK_NORM_HEAD,
    .score = MD_SCORE_SIGMOID,
};
