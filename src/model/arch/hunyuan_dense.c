/* SPDX-License-Identifier: Apache-2.0
 *
 * Hunyuan, dense (Tencent 2025): norms over the heads of q and k after rope. */
#include "model/arch.h"

const md_arch md_arch_hunyuan_dense = {
    .name = "hunyuan-dense",
    .source = "Hunyuan dense model cards (Tencent 2025)",
    .need = MD_SET_QKV | MD_HAS(Q_NORM) | MD_HAS(K_NORM) | MD_HAS(FFN_NORM) | MD_SET_FFN,
    .may = MD_HAS(OUTPUT),
    .qk_norm = MD_QK_NORM_HEAD,
    .qk_norm_last = true,
};
