# SPDX-License-Identifier: Apache-2.0
"""Phi-3 with long-context rope factors, of which the short ones apply here."""

from transformers import Phi3Config

from ._tiny import rope, tiny


def config():
    return Phi3Config(
        **tiny(
            head_dim="absent",
            max_position_embeddings=16384,
            original_max_position_embeddings=4096,
            sliding_window=None,
            rope_parameters=rope(
                500.0,
                "longrope",
                partial_rotary_factor=1.0,
                original_max_position_embeddings=4096,
                short_factor=[1.0 + 0.2 * i for i in range(8)],
                long_factor=[2.0 + i for i in range(8)],
            ),
        )
    )
