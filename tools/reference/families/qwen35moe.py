# SPDX-License-Identifier: Apache-2.0
"""Qwen 3.5 with experts: as Qwen3-Next, other projections, sectioned rope."""

from transformers import Qwen3_5MoeTextConfig

from ._tiny import rope, tiny


def config():
    return Qwen3_5MoeTextConfig(
        **tiny(
            num_hidden_layers=4,
            rms_norm_eps=1e-6,
            head_dim=32,
            linear_conv_kernel_dim=4,
            linear_key_head_dim=16,
            linear_value_head_dim=16,
            linear_num_key_heads=2,
            linear_num_value_heads=4,
            num_experts=8,
            num_experts_per_tok=3,
            moe_intermediate_size=48,
            shared_expert_intermediate_size=40,
            rope_parameters=rope(500.0, partial_rotary_factor=0.25, mrope_section=[2, 1, 1], mrope_interleaved=True),
        )
    )
