/* SPDX-License-Identifier: Apache-2.0
 *
 * Mellum 2 (JetBrains 2026): Qwen3's experts with a window on three layers of four, whose rope is not stretched. */
#include "model/arch.h"

const md_arch md_arch_mellum = {
    .name = "mellum",
    .source = "reference code (JetBrains 2026)",
    .need = MD_SET_QKV | MD_SET_QK_NORM | MD_HAS(FFN_NORM) | MD_SET_MOE,
    .may = MD_HAS(OUTPUT),
    .qk_norm = MD_QK_NORM_HEAD,
    .window_every = 4,
    .windows_unscaled = true,
    .score = MD_SCORE_SOFTMAX,
    .normalise = true,
};
