# SPDX-License-Identifier: Apache-2.0
"""LFM2 with experts: sigmoid router with bias."""

from transformers import Lfm2MoeConfig

from ._tiny import rope, tiny


def config():
    return Lfm2MoeConfig(
        **tiny(
            tie_word_embeddings=True,
            head_dim="absent",
            rms_norm_eps="absent",
            norm_eps=3e-2,
            num_hidden_layers=4,
            conv_L_cache=3,
            conv_bias=False,
            layer_types=["conv", "full_attention", "conv", "full_attention"],
            num_dense_layers=1,
            num_experts=8,
            num_experts_per_tok=3,
            moe_intermediate_size=48,
            routed_scaling_factor=1.0,
            norm_topk_prob=True,
            use_expert_bias=True,
            rope_parameters=rope(),
        )
    )
