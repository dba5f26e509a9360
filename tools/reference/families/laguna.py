# SPDX-License-Identifier: Apache-2.0
"""Laguna: head counts a layer, gated attention, sigmoid router."""

from transformers import LagunaConfig

from ._tiny import rope, tiny, yarn


def config():
    return LagunaConfig(
        **tiny(
            num_hidden_layers=5,
            max_position_embeddings=4096,
            sliding_window=10,
            layer_types=["full_attention"] + ["sliding_attention"] * 3 + ["full_attention"],
            num_attention_heads_per_layer=[4, 6, 6, 6, 4],
            moe_intermediate_size=48,
            shared_expert_intermediate_size=40,
            num_experts=8,
            num_experts_per_tok=3,
            mlp_layer_types=["dense"] + ["sparse"] * 4,
            moe_routed_scaling_factor=2.5,
            gating=True,
            rope_parameters={
                "full_attention": yarn(partial_rotary_factor=0.5, attention_factor=1.1386294361119891),
                "sliding_attention": rope(10000.0, partial_rotary_factor=1.0),
            },
        )
    )
