# SPDX-License-Identifier: Apache-2.0
"""GLM-4.7-Flash: latent attention as in DeepSeek V3."""

from transformers import Glm4MoeLiteConfig

from ._tiny import one_epsilon, rope, tiny

EDIT = {"scoring_func": "sigmoid", "topk_method": "noaux_tc"}  # in the published config.json, not in the saved one


def config():
    return Glm4MoeLiteConfig(
        **tiny(
            head_dim="absent",
            num_key_value_heads=4,
            kv_lora_rank=32,
            q_lora_rank=40,
            qk_rope_head_dim=16,
            qk_nope_head_dim=24,
            v_head_dim=20,
            n_routed_experts=8,
            n_shared_experts=1,
            moe_intermediate_size=48,
            num_experts_per_tok=3,
            first_k_dense_replace=1,
            routed_scaling_factor=1.8,
            n_group=1,
            topk_group=1,
            norm_topk_prob=True,
            num_nextn_predict_layers=0,
            rope_parameters=rope(),
        )
    )


def prepare(model):
    one_epsilon(model)
