# SPDX-License-Identifier: Apache-2.0
"""Granite 4 without experts: Mamba-2 layers, attention without rope, a dense feed-forward."""

from transformers import GraniteMoeHybridConfig

from ._tiny import rope, tiny

EDIT = {"layer_types": ["mamba", "attention", "mamba", "mamba"]}  # as in the published config.json


def config():
    return GraniteMoeHybridConfig(
        **tiny(
            head_dim="absent",
            num_hidden_layers=4,
            num_local_experts=0,
            num_experts_per_tok=0,
            intermediate_size=72,
            shared_intermediate_size=72,
            embedding_multiplier=3.0,
            logits_scaling=2.0,
            residual_multiplier=0.6,
            attention_multiplier=0.2,
            position_embedding_type="nope",
            layer_types=["mamba", "attention", "mamba", "mamba"],
            mamba_n_heads=8,
            mamba_d_head=16,
            mamba_n_groups=1,
            mamba_d_state=16,
            mamba_d_conv=4,
            mamba_expand=2,
            mamba_chunk_size=8,
            mamba_conv_bias=True,
            mamba_proj_bias=False,
            rope_parameters=rope(),
        )
    )
