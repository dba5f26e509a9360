/* SPDX-License-Identifier: Apache-2.0
 *
 * Nemotron-H (NVIDIA 2025): a layer is one branch, Mamba-2 (Dao & Gu 2024), attention without rope, or a feed-forward of relu
 * squared without a gate; one norm before each. Steps have no lower bound: one port of the authors' code bounds those of prompts
 * at 0.001, but not those of single tokens. */
#include "model/arch.h"

static const md_rename names[] = {{MD_SLOT_FFN_NORM, "blk.%d.attn_norm.weight"}, {0}};

const md_arch md_arch_nemotron_h = {
    .name = "nemotron_h",
    .source = "Nemotron-H report (NVIDIA 2025); Dao & Gu 2024 (Mamba-2)",
    .need = MD_SET_QKV | MD_HAS(FFN_NORM) | MD_HAS(FFN_UP) | MD_HAS(FFN_DOWN),
    .may = MD_SET_MAMBA | MD_SET_QKV_BIAS | MD_HAS(ATTN_OUT_BIAS) | MD_HAS(QKV) | MD_HAS(QKV_BIAS) |
           MD_HAS(FFN_UP_BIAS) | MD_HAS(FFN_DOWN_BIAS) | MD_HAS(OUTPUT),
    .rename = names,
    .one_branch = true,
    .mixer_else = MD_MIXER_MAMBA,
    .no_rope = true,
    .act = MD_FFN_RELU2,
};
