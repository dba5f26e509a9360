# SPDX-License-Identifier: Apache-2.0
"""Gemma 2: soft caps on scores and logits, a window on every other layer."""

from transformers import Gemma2Config

from ._tiny import rope, tiny


def config():
    return Gemma2Config(
        **tiny(
            num_hidden_layers=4,
            hidden_activation="gelu_pytorch_tanh",
            query_pre_attn_scalar=24,
            attn_logit_softcapping=3.0,
            final_logit_softcapping=5.0,
            sliding_window=10,
            tie_word_embeddings=True,
            rope_parameters=rope(10000.0),
        )
    )
