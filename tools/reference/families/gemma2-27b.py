# SPDX-License-Identifier: Apache-2.0
"""Gemma 2 27B: 46 layers, by which its attention scale (width over heads, not head size) is known; files do not say it."""

from transformers import Gemma2Config

from ._tiny import rope, tiny


def config():
    return Gemma2Config(
        **tiny(
            num_hidden_layers=46,
            hidden_size=32,
            intermediate_size=24,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=24,
            query_pre_attn_scalar=16,
            hidden_activation="gelu_pytorch_tanh",
            attn_logit_softcapping=3.0,
            final_logit_softcapping=5.0,
            sliding_window=10,
            tie_word_embeddings=True,
            rope_parameters=rope(10000.0),
        )
    )
