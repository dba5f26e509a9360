# SPDX-License-Identifier: Apache-2.0
"""Llama 3: rope scaled by wave length, stored as factors."""

from transformers import LlamaConfig

from ._tiny import rope, tiny


def config():
    return LlamaConfig(
        **tiny(
            rope_parameters=rope(
                500.0,
                "llama3",
                factor=8.0,
                low_freq_factor=1.0,
                high_freq_factor=4.0,
                original_max_position_embeddings=64,
            )
        )
    )
