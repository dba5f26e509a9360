# SPDX-License-Identifier: Apache-2.0
"""Gemma 4 with experts beside the dense part; keys serve as values on full layers."""

from transformers import Gemma4TextConfig

from ._tiny import rope, tiny


def config():
    return Gemma4TextConfig(
        **tiny(
            num_hidden_layers=6,
            sliding_window=10,
            tie_word_embeddings=True,
            final_logit_softcapping=6.0,
            layer_types=["sliding_attention", "sliding_attention", "full_attention"] * 2,
            global_head_dim=32,
            num_global_key_value_heads=1,
            attention_k_eq_v=True,
            hidden_size_per_layer_input=0,
            num_kv_shared_layers=0,
            enable_moe_block=True,
            num_experts=8,
            top_k_experts=3,
            moe_intermediate_size=48,
            rope_parameters={
                "full_attention": rope(50000.0, "proportional", partial_rotary_factor=0.25),
                "sliding_attention": rope(10000.0),
            },
        )
    )
