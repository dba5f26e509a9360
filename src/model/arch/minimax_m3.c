/* SPDX-License-Identifier: Apache-2.0
 *
 * MiniMax M3 (MiniMax 2026): norms over heads, half of each turned; gpt-oss's clamped swish everywhere; a sigmoid router with a bias for the
 * selection, a shared expert. An indexer picks blocks of keys: up to as many positions as it picks the context is whole, and is limited to
 * those. */
#include "model/arch.h"

const md_arch md_arch_minimax_m3 = {
    .name = "minimax-m3",
    .source = "reference code (MiniMax 2026)",
    .need = MD_SET_QKV | MD_SET_QK_NORM | MD_HAS(FFN_NORM) | MD_SET_FFN | MD_SET_MOE | MD_SET_SHARED,
    .may = MD_HAS(SELECT_BIAS) | MD_HAS(OUTPUT),
    .qk_norm = MD_QK_NORM_HEAD,
    .act = MD_FFN_OAI,
    .act_alpha = 1.702f,
    .act_limit = 7.0f,
    .score = MD_SCORE_SIGMOID,
};
