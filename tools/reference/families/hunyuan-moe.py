# SPDX-License-Identifier: Apache-2.0
"""Hunyuan with experts and an ungated shared one."""

from transformers import HunYuanMoEV1Config

from ._tiny import rope, tiny

EDIT = {
    "moe_intermediate_size": [48] * 3,
    "moe_topk": [3] * 3,
    "num_shared_expert": [1] * 3,
}  # as in the published config.json


def config():
    return HunYuanMoEV1Config(
        **tiny(
            num_experts=8,
            moe_topk=3,
            num_shared_expert=1,
            intermediate_size=48,
            moe_intermediate_size=48,
            tie_word_embeddings=True,
            rope_parameters=rope(),
        )
    )
