# SPDX-License-Identifier: Apache-2.0
"""MiniMax M2: q/k norm over all heads together."""

from transformers import MiniMaxM2Config

from ._tiny import rope, tiny

EDIT = {"rotary_dim": 12, "scoring_func": "sigmoid"}  # as in the published config.json


def config():
    return MiniMaxM2Config(
        **tiny(
            num_local_experts=8,
            num_experts_per_tok=3,
            intermediate_size=48,
            rope_parameters=rope(500.0, partial_rotary_factor=0.5),
        )
    )
