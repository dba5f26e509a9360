/* SPDX-License-Identifier: Apache-2.0
 *
 * Grok 1 and 2 (xAI 2024, 2025): norms before and after both branches, capped scores, GELU; the picked experts keep the weights that softmax
 * gave them, which public engines renormalise. Grok 2 has a dense part beside its experts, both scaled by sqrt(1/2), and caps its router;
 * converters write the cap for Grok 1 too, whose authors do not. Scales are the file's, or Grok 1's. Beyond the length that Grok 2 was trained at its scores have a temperature,
 * which is not there: the context is limited to it. */
#include "model/arch.h"

static const md_rename names[] = {{MD_SLOT_ATTN_POST_NORM, "blk.%d.attn_output_norm.weight"},
                                  {MD_SLOT_FFN_POST_NORM, "blk.%d.layer_output_norm.weight"},
                                  {0}};

const md_arch md_arch_grok = {
    .name = "grok",
    .source = "Grok-1 release (xAI 2024), Grok-2 release (xAI 2025)",
    .need = MD_SET_QKV | MD_HAS(ATTN_POST_NORM) | MD_HAS(FFN_NORM) | MD_HAS(FFN_POST_NORM) | MD_SET_FFN | MD_SET_MOE,
    .may = MD_HAS(OUTPUT),
    .rename = names,
    .attn_scale = 0.08838834764831845f,
    .attn_softcap = 30.0f,
    .temper_ends = true,
    .act = MD_FFN_GELU,
    .score = MD_SCORE_SOFTMAX,
    .route_cap_beside = true,
    .expert_width_is_ff = true,
    .side = true,
    .side_scale = 0.70710678f,
    .metadata_scales = true,
    .logit_multiplies = true,
    .embed_scale = 78.38367176906169f,
    .logit_scale = 0.5773502691896257f,
};
