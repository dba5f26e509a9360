# SPDX-License-Identifier: Apache-2.0
"""OLMoE: q/k norm over all heads, weights of the picked not renormalised."""

from transformers import OlmoeConfig

from ._tiny import rope, tiny


def config():
    return OlmoeConfig(
        **tiny(
            head_dim="absent",
            rms_norm_eps=1e-5,
            num_experts=8,
            num_key_value_heads=4,
            num_experts_per_tok=3,
            norm_topk_prob=False,
            intermediate_size=48,
            rope_parameters=rope(),
        )
    )
