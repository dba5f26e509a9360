/* SPDX-License-Identifier: Apache-2.0
 *
 * This project's own mixture of experts, for routers from the literature that no public file has (docs/routers.md): the
 * attention of Qwen3, gated experts, and whatever the metadata asks of the router. A name of its own, so that engines that do
 * not know these keys refuse the file rather than ignore them. */
#include "model/arch.h"

const md_arch md_arch_medley_moe = {
    .name = "medley-moe",
    .source = "docs/routers.md",
    .need = MD_SET_QKV | MD_SET_QK_NORM | MD_HAS(FFN_NORM) | MD_SET_MOE,
    .may = MD_HAS(OUTPUT) | MD_SET_SHARED,
    .qk_norm = MD_QK_NORM_HEAD,
    .score = MD_SCORE_SOFTMAX,
};
