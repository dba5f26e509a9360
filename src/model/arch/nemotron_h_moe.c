/* SPDX-License-Identifier: Apache-2.0
 *
 * Nemotron 3 (NVIDIA 2025): Nemotron-H with experts, routed by sigmoids with a selection bias and groups, beside a shared one;
 * large models' experts work in a latent space that the router and the shared expert do not enter. */
#include "model/arch.h"

static const md_rename names[] = {{MD_SLOT_FFN_NORM, "blk.%d.attn_norm.weight"}, {0}};

const md_arch md_arch_nemotron_h_moe = {
    .name = "nemotron_h_moe",
    .source = "Nemotron 3 report (NVIDIA 2025); Dao & Gu 2024 (Mamba-2)",
    .need = MD_SET_QKV | MD_HAS(FFN_NORM) | MD_HAS(FFN_UP) | MD_HAS(FFN_DOWN) | MD_HAS(ROUTER) | MD_HAS(UP_EXPS) |
            MD_HAS(DOWN_EXPS) | MD_HAS(UP_SHEXP) | MD_HAS(DOWN_SHEXP),
    .may = MD_SET_MAMBA | MD_SET_QKV_BIAS | MD_HAS(ATTN_OUT_BIAS) | MD_HAS(QKV) | MD_HAS(QKV_BIAS) |
           MD_HAS(FFN_UP_BIAS) | MD_HAS(FFN_DOWN_BIAS) | MD_HAS(SELECT_BIAS) | MD_HAS(LATENT_DOWN) | MD_HAS(LATENT_UP) |
           MD_HAS(OUTPUT),
    .rename = names,
    .one_branch = true,
    .mixer_else = MD_MIXER_MAMBA,
    .no_rope = true,
    .act = MD_FFN_RELU2,
    .router_tells = true,
    .score = MD_SCORE_SIGMOID,
    .normalise = true,
};
