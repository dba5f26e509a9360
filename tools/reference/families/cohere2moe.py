# SPDX-License-Identifier: Apache-2.0
"""Command with experts."""

from transformers import Cohere2MoeConfig

from ._tiny import rope, tiny


def config():
    return Cohere2MoeConfig(
        **tiny(
            num_hidden_layers=5,
            rms_norm_eps="absent",
            layer_norm_eps=3e-2,
            logit_scale=0.5,
            sliding_window=10,
            num_experts=8,
            num_experts_per_tok=3,
            num_shared_experts=1,
            first_k_dense_replace=1,
            prefix_dense_intermediate_size=72,
            expert_selection_fn="sigmoid",
            tie_word_embeddings=True,
            rope_parameters=rope(),
        )
    )
