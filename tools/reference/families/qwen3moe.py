# SPDX-License-Identifier: Apache-2.0
"""Qwen3 with experts."""

from transformers import Qwen3MoeConfig

from ._tiny import rope, tiny


def config():
    return Qwen3MoeConfig(
        **tiny(
            num_experts=8, num_experts_per_tok=3, moe_intermediate_size=48, norm_topk_prob=True, rope_parameters=rope()
        )
    )
