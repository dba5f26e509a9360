# SPDX-License-Identifier: Apache-2.0
"""Mixtral."""

from transformers import MixtralConfig

from ._tiny import rope, tiny


def config():
    return MixtralConfig(
        **tiny(
            num_local_experts=8,
            num_experts_per_tok=2,
            intermediate_size=48,
            sliding_window=None,
            rope_parameters=rope(),
        )
    )
