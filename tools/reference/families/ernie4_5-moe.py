# SPDX-License-Identifier: Apache-2.0
"""ERNIE 4.5 with experts: softmax router with a bias that only selects, shared experts."""

from transformers import Ernie4_5_MoeConfig

from ._tiny import rope, tiny

SEED = 1


def config():
    return Ernie4_5_MoeConfig(
        **tiny(
            head_dim="absent",
            intermediate_size=192,
            moe_num_experts=8,
            moe_k=3,
            moe_intermediate_size=48,
            moe_num_shared_experts=2,
            moe_layer_start_index=1,
            moe_layer_end_index=2,
            moe_layer_interval=1,
            rope_parameters=rope(),
        )
    )
