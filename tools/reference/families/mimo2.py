# SPDX-License-Identifier: Apache-2.0
"""MiMo V2: sinks on window layers, narrower values, two ropes, sigmoid router with bias."""

from transformers import MiMoV2FlashConfig

from ._tiny import rope, tiny

EDIT = {
    "hybrid_layer_pattern": [0, 1, 1, 1, 0],
    "swa_num_key_value_heads": 4,
    "swa_head_dim": 24,
    "swa_v_head_dim": 16,
    "swa_num_attention_heads": 4,
    "topk_method": "noaux_tc",
    "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0, "partial_rotary_factor": 0.334},
    "rope_theta": 5000.0,
    "swa_rope_theta": 10000.0,
    "scoring_func": "sigmoid",
    "moe_layer_freq": [0, 1, 1, 1, 1],
    "add_swa_attention_sink_bias": True,
    "layernorm_epsilon": 0.03,
}  # as in the published config.json


def config():
    return MiMoV2FlashConfig(
        **tiny(
            num_hidden_layers=5,
            head_dim=24,
            v_head_dim=16,
            sliding_window=10,
            moe_intermediate_size=48,
            n_routed_experts=8,
            num_experts_per_tok=3,
            layer_types=["full_attention"] + ["sliding_attention"] * 3 + ["full_attention"],
            mlp_layer_types=["dense"] + ["sparse"] * 4,
            rope_parameters={
                "full_attention": rope(5000.0, partial_rotary_factor=0.334),
                "sliding_attention": rope(10000.0, partial_rotary_factor=0.334),
            },
        )
    )
