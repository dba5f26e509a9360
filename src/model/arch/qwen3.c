/* SPDX-License-Identifier: Apache-2.0
 *
 * Qwen3, dense (Yang et al. 2025): RMS norms over each head of q and k before rope; no biases. */
#include "model/arch.h"

const md_arch md_arch_qwen3 = {
    .name = "qwen3",
    .source = "Yang et al. 2025 (Qwen3)",
    .need = MD_SET_QKV | MD_HAS(Q_NORM) | MD_HAS(K_NORM) | MD_HAS(FFN_NORM) | MD_SET_FFN,
    .may = MD_HAS(OUTPUT),
    .qk_norm = MD_QK_NORM_HEAD,
};
