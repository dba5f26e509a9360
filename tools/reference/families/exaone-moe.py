# SPDX-License-Identifier: Apache-2.0
"""EXAONE MoE: windows with rope, full layers without, sigmoid router with bias."""

from transformers import ExaoneMoeConfig

from ._tiny import rope, tiny

EDIT = {"scoring_func": "sigmoid"}  # as in the published config.json


def config():
    return ExaoneMoeConfig(
        **tiny(
            num_hidden_layers=5,
            sliding_window=10,
            sliding_window_pattern=4,
            first_k_dense_replace=1,
            moe_intermediate_size=48,
            num_experts=8,
            num_experts_per_tok=3,
            num_shared_experts=1,
            norm_topk_prob=True,
            routed_scaling_factor=2.5,
            n_group=1,
            topk_group=1,
            rope_parameters=rope(),
        )
    )
