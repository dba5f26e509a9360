# SPDX-License-Identifier: Apache-2.0
"""Gemma 3: five windows to one full layer, each with its rope."""

from transformers import Gemma3TextConfig

from ._tiny import rope, tiny


def config():
    return Gemma3TextConfig(
        **tiny(
            num_hidden_layers=7,
            hidden_activation="gelu_pytorch_tanh",
            query_pre_attn_scalar=24,
            sliding_window=10,
            tie_word_embeddings=True,
            rope_parameters={"full_attention": rope(50000.0, "linear", factor=4.0), "sliding_attention": rope(10000.0)},
        )
    )
