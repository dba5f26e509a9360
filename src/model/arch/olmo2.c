/* SPDX-License-Identifier: Apache-2.0
 *
 * OLMo 2 and 3 (Team OLMo 2024, 2025): norms over all heads of queries and keys, and after both branches rather than before; OLMo 3 has a
 * window on three layers of four, whose rope is not stretched. */
#include "model/arch.h"

const md_arch md_arch_olmo2 = {
    .name = "olmo2",
    .source = "Team OLMo 2024 (2 OLMo 2 Furious), 2025 (Olmo 3)",
    .need = (MD_SET_QKV & ~MD_HAS(ATTN_NORM)) | MD_HAS(Q_NORM_FULL) | MD_HAS(K_NORM_FULL) | MD_HAS(ATTN_POST_NORM) |
            MD_HAS(FFN_POST_NORM) | MD_SET_FFN,
    .may = MD_HAS(OUTPUT),
    .qk_norm = MD_QK_NORM_FULL,
    .window_every = 4,
    .windows_unscaled = true,
};
