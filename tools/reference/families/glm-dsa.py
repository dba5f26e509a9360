# SPDX-License-Identifier: Apache-2.0
"""GLM with a sparse-attention indexer, dense here because every position is within its choice."""

from transformers import GlmMoeDsaConfig

from ._tiny import one_epsilon, rope, tiny

EDIT = {"scoring_func": "sigmoid"}  # as in the published config.json


SEED = 1


def config():
    return GlmMoeDsaConfig(
        **tiny(
            head_dim="absent",
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
            n_group=1,
            topk_group=1,
            norm_topk_prob=True,
            num_nextn_predict_layers=0,
            index_topk=64,
            index_head_dim=64,
            index_n_heads=4,
            rope_parameters=rope(),
        )
    )


def prepare(model):
    one_epsilon(model)
