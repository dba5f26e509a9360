# SPDX-License-Identifier: Apache-2.0
"""DeepSeek V3: query compression, yarn with its softmax scale, sigmoid router with groups by the sum of two."""

from transformers import DeepseekV3Config

from ._tiny import one_epsilon, tiny, yarn

EDIT = {"scoring_func": "sigmoid", "topk_method": "noaux_tc"}  # in the published config.json, not in the saved one


def config():
    return DeepseekV3Config(
        **tiny(
            head_dim="absent",
            max_position_embeddings=4096,
            num_key_value_heads=4,
            kv_lora_rank=32,
            q_lora_rank=40,
            qk_rope_head_dim=16,
            qk_nope_head_dim=24,
            v_head_dim=20,
            first_k_dense_replace=1,
            n_routed_experts=8,
            n_shared_experts=1,
            moe_intermediate_size=48,
            num_experts_per_tok=3,
            routed_scaling_factor=2.5,
            n_group=4,
            topk_group=2,
            norm_topk_prob=True,
            num_nextn_predict_layers=0,
            rope_parameters=yarn(mscale=1.0, mscale_all_dim=1.0),
        )
    )


def prepare(model):
    one_epsilon(model)
