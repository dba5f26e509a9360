# SPDX-License-Identifier: Apache-2.0
"""Mellum 2: windows and full layers with their own ropes, experts."""

from transformers import MellumConfig

from ._tiny import rope, tiny, yarn


def config():
    return MellumConfig(
        **tiny(
            num_hidden_layers=4,
            max_position_embeddings=4096,
            sliding_window=10,
            layer_types=["sliding_attention", "sliding_attention", "sliding_attention", "full_attention"],
            moe_intermediate_size=48,
            num_local_experts=8,
            num_experts_per_tok=3,
            norm_topk_prob=True,
            mlp_layer_types=["sparse"] * 4,
            rope_parameters={"full_attention": yarn(), "sliding_attention": rope(10000.0)},
        )
    )
