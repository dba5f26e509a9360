/* SPDX-License-Identifier: Apache-2.0
 *
 * Snowflake Arctic (2024): a dense part as wide as the model, and beside it experts that read the layer's input under a norm of their
 * own. */
#include "model/arch.h"

static const md_rename names[] = {{MD_SLOT_FFN_NORM_ROUTED, "blk.%d.ffn_norm_exps.weight"}, {0}};

const md_arch md_arch_arctic = {
    .name = "arctic",
    .source = "Snowflake Arctic release and reference code (Snowflake 2024)",
    .need = MD_SET_QKV | MD_HAS(FFN_NORM) | MD_HAS(FFN_NORM_ROUTED) | MD_SET_FFN | MD_SET_MOE,
    .may = MD_HAS(OUTPUT) | MD_HAS(ROPE_FREQS),
    .rename = names,
    .rope_interleaved = true,
    .dense_width_is_embd = true,
    .score = MD_SCORE_SOFTMAX,
    .normalise = true,
    .expert_width_is_ff = true,
    .side = true,
    .routed_early = true,
};
