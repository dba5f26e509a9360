# SPDX-License-Identifier: Apache-2.0
"""Command-R7B: three windowed layers with rope to one full layer without."""

from transformers import Cohere2Config

from ._tiny import rope, tiny

EDIT = {"rotary_pct": 1.0}  # in the published config.json, not in the saved one


def config():
    return Cohere2Config(
        **tiny(
            num_hidden_layers=5,
            head_dim=16,
            rms_norm_eps="absent",
            layer_norm_eps=3e-2,
            logit_scale=0.5,
            sliding_window=10,
            tie_word_embeddings=True,
            rope_parameters=rope(),
        )
    )
