# SPDX-License-Identifier: Apache-2.0
"""Phi-3 beyond its first context: the long rope factors apply to the longer prompt, the short ones to the shorter."""

from transformers import Phi3Config

from ._tiny import rope, tiny


def config():
    return Phi3Config(
        **tiny(
            head_dim="absent",
            max_position_embeddings=512,
            original_max_position_embeddings=16,
            sliding_window=None,
            rope_parameters=rope(
                500.0,
                "longrope",
                partial_rotary_factor=1.0,
                original_max_position_embeddings=16,
                short_factor=[1.0 + 0.2 * i for i in range(8)],
                long_factor=[2.0 + i for i in range(8)],
            ),
        )
    )
