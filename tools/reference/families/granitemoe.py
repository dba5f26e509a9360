# SPDX-License-Identifier: Apache-2.0
"""Granite 3 with experts."""

from transformers import GraniteMoeConfig

from ._tiny import rope, tiny


def config():
    return GraniteMoeConfig(
        **tiny(
            head_dim="absent",
            intermediate_size=48,
            num_local_experts=8,
            num_experts_per_tok=3,
            embedding_multiplier=3.0,
            logits_scaling=2.0,
            residual_multiplier=0.6,
            attention_multiplier=0.2,
            rope_parameters=rope(),
        )
    )
