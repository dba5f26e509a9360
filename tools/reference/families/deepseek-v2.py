# SPDX-License-Identifier: Apache-2.0
"""DeepSeek V2: latent attention with query compression, yarn, group-limited softmax router."""

from transformers import DeepseekV2Config

from ._tiny import one_epsilon, tiny, yarn


def config():
    return DeepseekV2Config(
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
            n_shared_experts=2,
            moe_intermediate_size=48,
            num_experts_per_tok=3,
            routed_scaling_factor=1.5,
            topk_method="group_limited_greedy",
            n_group=4,
            topk_group=2,
            rope_parameters=yarn(mscale=0.707, mscale_all_dim=0.707),
        )
    )


def prepare(model):
    one_epsilon(model)
