/* SPDX-License-Identifier: Apache-2.0
 *
 * GLM-4-0414 (Z.ai 2025), dense: interleaved rope over a part of each head, gate and up in one matrix, and norms over the
 * outputs of attention and feed-forward before they join the residual. */
#include "model/arch.h"

const md_arch md_arch_glm4 = {
    .name = "glm4",
    .source = "GLM-4-0414 model card (Z.ai 2025)",
    .need = MD_SET_QKV | MD_HAS(ATTN_POST_NORM) | MD_HAS(FFN_NORM) | MD_HAS(FFN_POST_NORM) | MD_HAS(FFN_GATE_UP) |
            MD_HAS(FFN_DOWN),
    .may = MD_SET_QKV_BIAS | MD_HAS(OUTPUT),
    .rope_interleaved = true,
};
