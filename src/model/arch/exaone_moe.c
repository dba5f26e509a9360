/* SPDX-License-Identifier: Apache-2.0
 *
 * K-EXAONE (LG AI Research 2026): a window and rope on three layers of four, neither on the fourth; norms over the heads of queries and
 * keys; a sigmoid router with a bias for the selection, a shared expert. */
#include "model/arch.h"

const md_arch md_arch_exaone_moe = {
    .name = "exaone-moe",
    .source = "K-EXAONE technical report (LG AI Research 2026)",
    .need = MD_SET_QKV | MD_SET_QK_NORM | MD_HAS(FFN_NORM) | MD_SET_FFN | MD_SET_MOE | MD_SET_SHARED,
    .may = MD_HAS(SELECT_BIAS) | MD_HAS(OUTPUT) | MD_HAS(ROPE_FREQS),
    .qk_norm = MD_QK_NORM_HEAD,
    .window_every = 4,
    .rope_in_windows = true,
    .score = MD_SCORE_SIGMOID,
    .router_tells = true,
};
