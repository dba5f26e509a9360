# SPDX-License-Identifier: Apache-2.0
"""LFM2: gated short convolutions between attention layers."""

from transformers import Lfm2Config

from ._tiny import rope, tiny


def config():
    return Lfm2Config(
        **tiny(
            tie_word_embeddings=True,
            head_dim="absent",
            rms_norm_eps="absent",
            norm_eps=3e-2,
            num_hidden_layers=4,
            block_auto_adjust_ff_dim=False,
            conv_L_cache=3,
            conv_bias=False,
            layer_types=["conv", "conv", "full_attention", "conv"],
            rope_parameters=rope(),
        )
    )
