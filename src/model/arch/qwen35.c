/* SPDX-License-Identifier: Apache-2.0
 *
 * Qwen3.5 (Alibaba 2026): as Qwen3-Next, with dense feed-forwards; a gated delta net's projections are tensors of their own and
 * its value heads go round the key heads. Rope is cut into sections for time and place; those of text are all the same
 * position, so it is plain rope. */
#include "model/arch.h"

static const md_rename names[] = {{MD_SLOT_FFN_NORM, "blk.%d.post_attention_norm.weight"}, {0}};

const md_arch md_arch_qwen35 = {
    .name = "qwen35",
    .source = "Qwen3.5 model card and reference code (Alibaba 2026); Yang et al. 2024 (gated delta networks)",
    .need = MD_SET_QKV | MD_SET_QK_NORM | MD_HAS(FFN_NORM) | MD_SET_FFN,
    .may = MD_SET_DELTA | MD_HAS(QKV) | MD_HAS(OUTPUT),
    .rename = names,
    .mixer_else = MD_MIXER_DELTA,
    .attention_every = 4,
    .delta_repeats = true,
    .qk_norm = MD_QK_NORM_HEAD,
    .gate_in_q = true,
};
