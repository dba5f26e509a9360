# SPDX-License-Identifier: Apache-2.0
"""Qwen 3.5, dense: gated delta net and gated attention, sectioned rope, more value heads than key heads."""

from transformers import Qwen3_5TextConfig

from ._tiny import rope, tiny


def config():
    return Qwen3_5TextConfig(
        **tiny(
            num_hidden_layers=4,
            rms_norm_eps=1e-6,
            head_dim=32,
            linear_conv_kernel_dim=4,
            linear_key_head_dim=16,
            linear_value_head_dim=16,
            linear_num_key_heads=2,
            linear_num_value_heads=6,
            rope_parameters=rope(500.0, partial_rotary_factor=0.25, mrope_section=[2, 1, 1], mrope_interleaved=True),
        )
    )
