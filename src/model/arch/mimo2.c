/* SPDX-License-Identifier: Apache-2.0
 *
 * MiMo-V2 (Xiaomi 2025): windows with sinks and a rope base of their own on most layers, key heads that differ by layer,
 * value heads narrower than key heads, scaled values; a sigmoid router with a bias for the selection. */
#include "model/arch.h"

const md_arch md_arch_mimo2 = {
    .name = "mimo2",
    .source = "MiMo-V2-Flash technical report (Xiaomi 2025)",
    .need = MD_SET_QKV | MD_HAS(FFN_NORM) | MD_SET_FFN | MD_SET_MOE,
    .may = MD_HAS(SINKS) | MD_HAS(SELECT_BIAS) | MD_HAS(OUTPUT),
    .router_tells = true,
    .score = MD_SCORE_SIGMOID,
    .normalise = true,
};
