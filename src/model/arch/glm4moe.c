/* SPDX-License-Identifier: Apache-2.0
 *
 * GLM-4.5 to 4.7 (Zeng et al. 2025): half of each head turns, optional norms over the heads of q and k, a leading dense layer,
 * a sigmoid router with a bias for the selection, a shared expert. The norm before the feed-forward is called
 * post_attention_norm; the last block predicts further tokens and is left out. */
#include "model/arch.h"

static const md_rename names[] = {{MD_SLOT_FFN_NORM, "blk.%d.post_attention_norm.weight"}, {0}};

const md_arch md_arch_glm4moe = {
    .name = "glm4moe",
    .source = "Zeng et al. 2025 (GLM-4.5)",
    .need = MD_SET_QKV | MD_HAS(FFN_NORM) | MD_SET_FFN | MD_SET_MOE | MD_SET_SHARED,
    .may = MD_SET_QKV_BIAS | MD_HAS(Q_NORM) | MD_HAS(K_NORM) | MD_HAS(SELECT_BIAS) | MD_HAS(OUTPUT),
    .rename = names,
    .qk_norm = MD_QK_NORM_HEAD,
    .score = MD_SCORE_SIGMOID,
    .normalise = true,
};
