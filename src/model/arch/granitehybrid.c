/* SPDX-License-Identifier: Apache-2.0
 *
 * Granite 4 (IBM 2025): most layers are Mamba-2 (Dao & Gu 2024), those with key heads attend, mostly without rope; experts as
 * in Granite 3 beside an ungated shared one, or a dense feed-forward in the small models; Granite's four scales. */
#include "model/arch.h"

const md_arch md_arch_granitehybrid = {
    .name = "granitehybrid",
    .source = "Granite 4.0 model card and reference code (IBM 2025); Dao & Gu 2024 (Mamba-2)",
    .need = MD_SET_QKV | MD_HAS(FFN_NORM) | MD_SET_FFN | MD_SET_MOE | MD_SET_SHARED,
    .may = MD_SET_MAMBA | MD_HAS(OUTPUT) | MD_HAS(ROPE_FREQS) | MD_HAS(QKV) | MD_HAS(ATTN_OUT_BIAS),
    .mixer_else = MD_MIXER_MAMBA,
    .rope_interleaved = true,
    .rope_told = true,
    .score = MD_SCORE_SOFTMAX,
    .normalise = true,
    .expert_width_is_ff = true,
    .metadata_scales = true,
};
