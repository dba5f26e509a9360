/* SPDX-License-Identifier: Apache-2.0
 *
 * AFMoE (Arcee Trinity 2025): norms before and after both branches, a gate for each value of attention, rope only in layers with
 * a window, embeddings times sqrt(D); a sigmoid router with a bias for the selection, leading dense layers, a shared expert. */
#include "model/arch.h"

const md_arch md_arch_afmoe = {
    .name = "afmoe",
    .source = "Trinity technical report and reference code (Arcee AI 2025)",
    .need = MD_SET_QKV | MD_SET_QK_NORM | MD_HAS(ATTN_GATE_EACH) | MD_HAS(ATTN_POST_NORM) | MD_HAS(FFN_NORM) |
            MD_HAS(FFN_POST_NORM) | MD_SET_FFN | MD_SET_MOE | MD_SET_SHARED,
    .may = MD_HAS(SELECT_BIAS) | MD_HAS(OUTPUT),
    .qk_norm = MD_QK_NORM_HEAD,
    .window_every = 4,
    .rope_in_windows = true,
    .score = MD_SCORE_SIGMOID,
    .embed_sqrt = true,
};
