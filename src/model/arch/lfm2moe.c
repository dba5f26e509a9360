/* SPDX-License-Identifier: Apache-2.0
 *
 * LFM2 with experts (Liquid AI 2025): as LFM2; after the leading dense layers, experts routed by sigmoids with a selection
 * bias, weights normalised. */
#include "model/arch.h"

static const md_rename names[] = {{MD_SLOT_OUTPUT_NORM, "token_embd_norm.weight"}, {0}};

const md_arch md_arch_lfm2moe = {
    .name = "lfm2moe",
    .source = "LFM2 report and reference code (Liquid AI 2025)",
    .need = MD_SET_QKV | MD_SET_QK_NORM | MD_HAS(FFN_NORM) | MD_SET_FFN | MD_SET_MOE,
    .may = MD_SET_CONV | MD_HAS(SELECT_BIAS) | MD_HAS(QKV) | MD_HAS(OUTPUT),
    .rename = names,
    .mixer_else = MD_MIXER_CONV,
    .qk_norm = MD_QK_NORM_HEAD,
    .window_all = true,
    .score = MD_SCORE_SIGMOID,
    .normalise = true,
};
