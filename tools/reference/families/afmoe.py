# SPDX-License-Identifier: Apache-2.0
"""AFMoE (Trinity): gated attention, four norms, windows with rope and full layers without."""

from transformers import AfmoeConfig

from ._tiny import rope, tiny

EDIT = {"route_norm": True, "score_func": "sigmoid"}  # as in the published config.json


def config():
    return AfmoeConfig(
        **tiny(
            num_hidden_layers=5,
            sliding_window=10,
            global_attn_every_n_layers=4,
            num_dense_layers=1,
            moe_intermediate_size=48,
            num_experts=8,
            num_experts_per_tok=3,
            num_shared_experts=1,
            route_scale=2.5,
            mup_enabled=True,
            rope_parameters=rope(),
        )
    )
