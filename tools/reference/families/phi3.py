# SPDX-License-Identifier: Apache-2.0
"""Phi-3: fused projections, window."""

from transformers import Phi3Config

from ._tiny import rope, tiny


def config():
    return Phi3Config(
        **tiny(head_dim="absent", sliding_window=10, rope_parameters=rope(500.0, partial_rotary_factor=0.75))
    )
