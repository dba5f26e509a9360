# SPDX-License-Identifier: Apache-2.0
"""Falcon 7B: one key head, one norm for both branches."""

from transformers import FalconConfig

from ._tiny import rope, tiny


def config():
    return FalconConfig(
        **tiny(
            head_dim="absent",
            num_key_value_heads="absent",
            rms_norm_eps="absent",
            layer_norm_epsilon=3e-2,
            multi_query=True,
            num_kv_heads=1,
            parallel_attn=True,
            new_decoder_architecture=False,
            bias=False,
            alibi=False,
            ffn_hidden_size=256,
            rope_parameters=rope(10000.0),
            intermediate_size="absent",
        )
    )
