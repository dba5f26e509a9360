# SPDX-License-Identifier: Apache-2.0
"""Nemotron-H with experts: Mamba-2, attention and squared-relu experts, one of them a layer."""

from transformers import NemotronHConfig

from ._tiny import tiny

EDIT = {"hybrid_override_pattern": "ME*MEM"}  # as in the published config.json


def config():
    return NemotronHConfig(
        **tiny(
            rms_norm_eps="absent",
            layer_norm_epsilon=3e-2,
            layers_block_type=["mamba", "moe", "attention", "mamba", "moe", "mamba"],
            num_hidden_layers=6,
            ssm_state_size=16,
            mamba_num_heads=8,
            mamba_head_dim=16,
            n_groups=2,
            conv_kernel=4,
            expand=2,
            chunk_size=8,
            n_routed_experts=8,
            n_shared_experts=1,
            moe_intermediate_size=48,
            moe_shared_expert_intermediate_size=40,
            num_experts_per_tok=3,
            routed_scaling_factor=2.5,
            n_group=1,
            topk_group=1,
            norm_topk_prob=True,
        )
    )
