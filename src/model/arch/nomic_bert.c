/* SPDX-License-Identifier: Apache-2.0
 *
 * Nomic Embed 1 and 1.5 (Nussbaum et al. 2024): BERT with rope in place of positions, a gated SiLU and no biases. */
#include "model/arch.h"

const md_arch md_arch_nomic_bert = {
    .name = "nomic-bert",
    .source = "Nussbaum et al. 2024 (Nomic Embed)",
    .need = MD_HAS(EMBD_NORM) | MD_HAS(EMBD_NORM_BIAS) | MD_HAS(ATTN_OUT) | MD_HAS(ATTN_AFTER_NORM) |
            MD_HAS(ATTN_AFTER_NORM_BIAS) | MD_SET_FFN | MD_HAS(FFN_AFTER_NORM) | MD_HAS(FFN_AFTER_NORM_BIAS),
    .may = MD_HAS(TOKEN_TYPES) | MD_HAS(Q) | MD_HAS(K) | MD_HAS(V) | MD_SET_QKV_BIAS | MD_HAS(QKV) | MD_HAS(QKV_BIAS) |
           MD_HAS(ATTN_OUT_BIAS) | MD_HAS(FFN_UP_BIAS) | MD_HAS(FFN_DOWN_BIAS),
    .encoder = true,
    .layer_norm = true,
};
