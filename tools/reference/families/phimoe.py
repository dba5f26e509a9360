# SPDX-License-Identifier: Apache-2.0
"""Phi-3.5-MoE: the sparsemixer choice of two, biases, layer norms."""

from transformers import PhimoeConfig

from ._tiny import rope, tiny

SEED = 5
EDIT = {"architectures": ["PhiMoEForCausalLM"]}  # as in the published config.json


def config():
    return PhimoeConfig(
        **tiny(
            head_dim="absent",
            num_local_experts=8,
            num_experts_per_tok=2,
            attention_bias=True,
            lm_head_bias=True,
            max_position_embeddings=16384,
            original_max_position_embeddings=4096,
            rope_parameters=rope(
                500.0,
                "longrope",
                original_max_position_embeddings=4096,
                short_mscale=1.0801234497346435,
                long_mscale=1.0801234497346435,
                short_factor=[1.0 + 0.2 * i for i in range(8)],
                long_factor=[2.0 + i for i in range(8)],
            ),
        )
    )
