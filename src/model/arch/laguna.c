/* SPDX-License-Identifier: Apache-2.0
 *
 * Laguna (Poolside 2026): head counts, rope widths and bases by layer, windows, a softplus gate for each head or each value of attention; a
 * sigmoid router with a bias for the selection, a shared expert, leading dense layers. */
#include "model/arch.h"

const md_arch md_arch_laguna = {
    .name = "laguna",
    .source = "reference code (Poolside 2026)",
    .need = MD_SET_QKV | MD_SET_QK_NORM | MD_HAS(ATTN_GATE) | MD_HAS(FFN_NORM) | MD_SET_FFN | MD_SET_MOE |
            MD_SET_SHARED,
    .may = MD_HAS(ATTN_GATE_EACH) | MD_HAS(SELECT_BIAS) | MD_HAS(OUTPUT),
    .qk_norm = MD_QK_NORM_HEAD,
    .gate_act = MD_GATE_SOFTPLUS,
    .window_every = 4,
    .window_first = true,
    .windows_unscaled = true,
    .score = MD_SCORE_SIGMOID,
};
