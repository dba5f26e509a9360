/* SPDX-License-Identifier: Apache-2.0
 *
 * Step 3.5 (StepFun 2026): head counts, rope widths and bases by layer, windows on most layers, one sigmoid gate an attention
 * head; a sigmoid router with a bias for the selection; activations clamped on some layers; a shared expert. */
#include "model/arch.h"

const md_arch md_arch_step35 = {
    .name = "step35",
    .source = "Step 3.5 Flash technical report (StepFun 2026)",
    .need = MD_SET_QKV | MD_HAS(FFN_NORM) | MD_SET_FFN | MD_SET_MOE | MD_SET_SHARED,
    .may = MD_HAS(Q_NORM) | MD_HAS(K_NORM) | MD_HAS(ATTN_GATE) | MD_HAS(SELECT_BIAS) | MD_HAS(OUTPUT) |
           MD_HAS(ROPE_FREQS),
    .qk_norm = MD_QK_NORM_HEAD,
    .router_tells = true,
    .score = MD_SCORE_SIGMOID,
    .normalise = true,
};
