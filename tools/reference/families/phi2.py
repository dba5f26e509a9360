# SPDX-License-Identifier: Apache-2.0
"""Phi-2: one norm feeds attention and feed-forward side by side; biases everywhere."""

from transformers import PhiConfig

from ._tiny import rope, tiny


def config():
    return PhiConfig(
        **tiny(
            head_dim="absent",
            rms_norm_eps="absent",
            layer_norm_eps=3e-2,
            num_key_value_heads=4,
            intermediate_size=256,
            hidden_act="gelu_new",
            rope_parameters=rope(10000.0, partial_rotary_factor=0.5),
        )
    )
