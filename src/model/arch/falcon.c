/* SPDX-License-Identifier: Apache-2.0
 *
 * Falcon (Almazrouei et al. 2023): attention and feed-forward side by side, under one norm (7B) or one each (40B); a feed-forward without a
 * gate. Its authors use the exact GELU, where public engines take the tanh form. */
#include "model/arch.h"

const md_arch md_arch_falcon = {
    .name = "falcon",
    .source = "Almazrouei et al. 2023 (Falcon) and reference code",
    .need = MD_SET_QKV_ONE | MD_HAS(ATTN_NORM_BIAS) | MD_HAS(FFN_UP) | MD_HAS(FFN_DOWN) | MD_HAS(OUTPUT_NORM_BIAS),
    .may = MD_SET_QKV | MD_HAS(ATTN_NORM_2) | MD_HAS(ATTN_NORM_2_BIAS) | MD_HAS(OUTPUT),
    .layer_norm = true,
    .parallel = true,
    .act = MD_FFN_GELU_ERF,
};
