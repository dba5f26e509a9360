# SPDX-License-Identifier: Apache-2.0
"""GLM-4.5: sigmoid router with bias, shared expert, half of each head rotated."""

from transformers import Glm4MoeConfig

from ._tiny import rope, tiny


def config():
    return Glm4MoeConfig(
        **tiny(
            n_routed_experts=8,
            n_shared_experts=1,
            moe_intermediate_size=48,
            num_experts_per_tok=3,
            first_k_dense_replace=1,
            routed_scaling_factor=2.5,
            n_group=1,
            topk_group=1,
            norm_topk_prob=True,
            use_qk_norm=True,
            attention_bias=True,
            num_nextn_predict_layers=0,
            rope_parameters=rope(500.0, partial_rotary_factor=0.5),
        )
    )
