/* SPDX-License-Identifier: Apache-2.0
 *
 * SmallThinker (Song et al. 2025): the router reads the layer's input before attention, so that experts can be fetched meanwhile; ReLU
 * gates; a window and rope on all layers but every fourth, beginning with the first. */
#include "model/arch.h"

const md_arch md_arch_smallthinker = {
    .name = "smallthinker",
    .source = "Song et al. 2025 (SmallThinker)",
    .need = MD_SET_QKV | MD_HAS(FFN_NORM) | MD_SET_MOE,
    .may = MD_HAS(OUTPUT),
    .window_every = 4,
    .window_first = true,
    .rope_in_windows = true,
    .act = MD_FFN_RELU,
    .score = MD_SCORE_SIGMOID,
    .normalise = true,
    .route_early = true,
};
