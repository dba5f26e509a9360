# SPDX-License-Identifier: Apache-2.0
"""Qwen 1.5 and 2 with experts: shared expert with a gate."""

from transformers import Qwen2MoeConfig

from ._tiny import rope, tiny


def config():
    return Qwen2MoeConfig(
        **tiny(
            head_dim="absent",
            num_experts=8,
            num_experts_per_tok=3,
            moe_intermediate_size=48,
            shared_expert_intermediate_size=40,
            norm_topk_prob=False,
            rope_parameters=rope(),
        )
    )
