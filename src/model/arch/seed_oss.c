/* SPDX-License-Identifier: Apache-2.0
 *
 * Seed-OSS (ByteDance 2025): biases on q, k and v; the norm before the feed-forward is called post_attention_norm. */
#include "model/arch.h"

static const md_rename names[] = {{MD_SLOT_FFN_NORM, "blk.%d.post_attention_norm.weight"}, {0}};

const md_arch md_arch_seed_oss = {
    .name = "seed_oss",
    .also = "seed-oss",
    .source = "Seed-OSS model card (ByteDance 2025)",
    .need = MD_SET_QKV | MD_SET_QKV_BIAS | MD_HAS(FFN_NORM) | MD_SET_FFN,
    .may = MD_HAS(OUTPUT),
    .rename = names,
};
