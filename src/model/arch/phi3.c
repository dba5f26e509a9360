/* SPDX-License-Identifier: Apache-2.0
 *
 * Phi 3, 3.5 and 4 (Microsoft 2024): a Llama with joined matrices; long contexts by LongRoPE; a window in the smallest. */
#include "model/arch.h"

const md_arch md_arch_phi3 = {
    .name = "phi3",
    .source = "Phi-3 technical report (Microsoft 2024)",
    .need = MD_HAS(ATTN_NORM) | MD_HAS(ATTN_OUT) | MD_HAS(FFN_NORM) | MD_HAS(FFN_GATE_UP) | MD_HAS(FFN_DOWN),
    .may = MD_HAS(QKV) | MD_HAS(QKV_BIAS) | MD_HAS(Q) | MD_HAS(K) | MD_HAS(V) | MD_HAS(OUTPUT) | MD_HAS(ROPE_LONG) |
           MD_HAS(ROPE_SHORT),
    .window_all = true,
};
