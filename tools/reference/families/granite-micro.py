# SPDX-License-Identifier: Apache-2.0
"""Granite 4 micro: attention layers only, which then have rope; converters make a plain granite of it."""

from transformers import GraniteMoeHybridConfig

from ._tiny import rope, tiny

EDIT = {"layer_types": ["attention"] * 3}  # as in the published config.json


def config():
    return GraniteMoeHybridConfig(
        **tiny(
            head_dim="absent",
            num_local_experts=0,
            num_experts_per_tok=0,
            intermediate_size=72,
            shared_intermediate_size=72,
            embedding_multiplier=3.0,
            logits_scaling=2.0,
            residual_multiplier=0.6,
            attention_multiplier=0.2,
            position_embedding_type="rope",
            layer_types=["attention"] * 3,
            mamba_n_heads=8,
            mamba_d_head=16,
            mamba_n_groups=1,
            mamba_d_state=16,
            mamba_d_conv=4,
            mamba_expand=2,
            mamba_chunk_size=8,
            rope_parameters=rope(),
        )
    )
