# SPDX-License-Identifier: Apache-2.0
"""Granite 3, dense: four multipliers."""

from transformers import GraniteConfig

from ._tiny import rope, tiny


def config():
    return GraniteConfig(
        **tiny(
            head_dim="absent",
            embedding_multiplier=3.0,
            logits_scaling=2.0,
            residual_multiplier=0.6,
            attention_multiplier=0.2,
            rope_parameters=rope(),
        )
    )
