/* SPDX-License-Identifier: Apache-2.0
 *
 * gpt-oss (OpenAI 2025): biases everywhere, one sink logit a head, a window on every other layer beginning with the
 * first; the router picks on logits and takes a softmax over the picked; clamped swish with alpha 1.702 and up + 1. */
#include "model/arch.h"

static const md_rename names[] = {{MD_SLOT_FFN_NORM, "blk.%d.post_attention_norm.weight"}, {0}};

const md_arch md_arch_gpt_oss = {
    .name = "gpt-oss",
    .source = "gpt-oss model card (OpenAI 2025)",
    .need = MD_SET_QKV | MD_SET_QKV_BIAS | MD_HAS(ATTN_OUT_BIAS) | MD_HAS(SINKS) | MD_HAS(FFN_NORM) | MD_SET_MOE |
            MD_HAS(ROUTER_BIAS) | MD_HAS(GATE_EXPS_BIAS) | MD_HAS(UP_EXPS_BIAS) | MD_HAS(DOWN_EXPS_BIAS),
    .may = MD_HAS(OUTPUT),
    .rename = names,
    .window_every = 2,
    .score = MD_SCORE_SOFTMAX_PICKED,
    .act = MD_FFN_OAI,
    .act_alpha = 1.702f,
    .act_limit = 7.0f,
};
