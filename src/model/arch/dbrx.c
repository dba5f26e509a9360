/* SPDX-License-Identifier: Apache-2.0
 *
 * DBRX (Databricks 2024): norms by mean and variance without a bias, queries, keys and values in one matrix and clamped, sixteen experts
 * with a normalised softmax. */
#include "model/arch.h"

static const md_rename names[] = {{MD_SLOT_FFN_NORM, "blk.%d.attn_output_norm.weight"}, {0}};

const md_arch md_arch_dbrx = {
    .name = "dbrx",
    .source = "DBRX release and reference code (Databricks 2024)",
    .need = MD_SET_QKV_ONE | MD_HAS(FFN_NORM) | MD_SET_MOE,
    .may = MD_SET_QKV | MD_HAS(OUTPUT),
    .rename = names,
    .layer_norm = true,
    .score = MD_SCORE_SOFTMAX,
    .normalise = true,
    .expert_width_is_ff = true,
};
