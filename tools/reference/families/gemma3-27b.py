# SPDX-License-Identifier: Apache-2.0
"""Gemma 3 27B: 62 layers, by which its attention scale (width over heads, not head size) is known; files do not say it."""

from transformers import Gemma3TextConfig

from ._tiny import rope, tiny


def config():
    return Gemma3TextConfig(
        **tiny(
            num_hidden_layers=62,
            hidden_size=32,
            intermediate_size=24,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=24,
            query_pre_attn_scalar=16,
            hidden_activation="gelu_pytorch_tanh",
            sliding_window=10,
            tie_word_embeddings=True,
            rope_parameters={"full_attention": rope(50000.0, "linear", factor=8.0), "sliding_attention": rope(10000.0)},
        )
    )
