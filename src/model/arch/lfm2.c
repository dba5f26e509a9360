/* SPDX-License-Identifier: Apache-2.0
 *
 * LFM2 (Liquid AI 2025): layers without key heads mix by a gated short convolution, the others attend, with norms of heads. The
 * norm after the last layer goes by a name that other families use for one after the embedding. */
#include "model/arch.h"

static const md_rename names[] = {{MD_SLOT_OUTPUT_NORM, "token_embd_norm.weight"}, {0}};

const md_arch md_arch_lfm2 = {
    .name = "lfm2",
    .source = "LFM2 report (Liquid AI 2025)",
    .need = MD_SET_QKV | MD_SET_QK_NORM | MD_HAS(FFN_NORM) | MD_SET_FFN,
    .may = MD_SET_CONV | MD_HAS(QKV) | MD_HAS(OUTPUT),
    .rename = names,
    .mixer_else = MD_MIXER_CONV,
    .qk_norm = MD_QK_NORM_HEAD,
    .window_all = true,
};
