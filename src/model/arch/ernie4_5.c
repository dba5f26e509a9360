/* SPDX-License-Identifier: Apache-2.0
 *
 * ERNIE 4.5, dense (Baidu 2025): a Llama with interleaved rope, a head size of its own and the output tied to the
 * embedding. */
#include "model/arch.h"

const md_arch md_arch_ernie4_5 = {
    .name = "ernie4_5",
    .source = "ERNIE 4.5 technical report (Baidu 2025)",
    .need = MD_SET_QKV | MD_HAS(FFN_NORM) | MD_SET_FFN,
    .may = MD_SET_QKV_BIAS | MD_HAS(ATTN_OUT_BIAS) | MD_HAS(OUTPUT),
    .rope_interleaved = true,
};
