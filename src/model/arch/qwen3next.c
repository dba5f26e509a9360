/* SPDX-License-Identifier: Apache-2.0
 *
 * Qwen3-Next (Alibaba 2025): three layers of four are gated delta nets (Yang et al. 2024), the fourth is attention with a gate for
 * each value of its output; experts routed by a normalised softmax, beside a gated shared one. */
#include "model/arch.h"

static const md_rename names[] = {{MD_SLOT_FFN_NORM, "blk.%d.post_attention_norm.weight"}, {0}};

const md_arch md_arch_qwen3next = {
    .name = "qwen3next",
    .source = "Qwen3-Next model card and reference code (Alibaba 2025); Yang et al. 2024 (gated delta networks)",
    .need = MD_SET_QKV | MD_SET_QK_NORM | MD_HAS(FFN_NORM) | MD_SET_FFN | MD_SET_MOE | MD_SET_SHARED |
            MD_HAS(SHARED_SCALE),
    .may = MD_SET_DELTA | MD_HAS(OUTPUT),
    .rename = names,
    .mixer_else = MD_MIXER_DELTA,
    .attention_every = 4,
    .qk_norm = MD_QK_NORM_HEAD,
    .gate_in_q = true,
    .router_tells = true,
    .score = MD_SCORE_SOFTMAX,
    .normalise = true,
};
