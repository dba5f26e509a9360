# SPDX-License-Identifier: Apache-2.0
"""dots.llm1: sigmoid router with bias, shared experts, q/k norm."""

from transformers import Dots1Config

from ._tiny import rope, tiny

EDIT = {"scoring_func": "sigmoid"}  # in the published config.json, not in the saved one


def config():
    return Dots1Config(
        **tiny(
            n_routed_experts=8,
            n_shared_experts=2,
            moe_intermediate_size=48,
            num_experts_per_tok=3,
            first_k_dense_replace=1,
            norm_topk_prob=True,
            routed_scaling_factor=2.5,
            num_key_value_heads=4,
            sliding_window=None,
            rope_parameters=rope(),
        )
    )
