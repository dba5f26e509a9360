# SPDX-License-Identifier: Apache-2.0
"""Nemotron-H: Mamba-2, attention without rope and squared-relu feed-forward, one of them a layer."""

from transformers import NemotronHConfig

from ._tiny import tiny

EDIT = {  # as in the published config.json
    "hybrid_override_pattern": "M-*M-M",
    "num_experts_per_tok": "absent",
    "n_routed_experts": "absent",
    "n_shared_experts": "absent",
    "n_group": "absent",
    "topk_group": "absent",
    "norm_topk_prob": "absent",
    "routed_scaling_factor": "absent",
    "moe_intermediate_size": "absent",
    "moe_shared_expert_intermediate_size": "absent",
}


def config():
    return NemotronHConfig(
        **tiny(
            rms_norm_eps="absent",
            layer_norm_epsilon=3e-2,
            num_hidden_layers=6,
            layers_block_type=["mamba", "mlp", "attention", "mamba", "mlp", "mamba"],
            ssm_state_size=16,
            mamba_num_heads=8,
            mamba_head_dim=16,
            n_groups=2,
            conv_kernel=4,
            expand=2,
            chunk_size=8,
        )
    )
