# SPDX-License-Identifier: Apache-2.0
"""gpt-oss: sinks, windows on even layers, biases everywhere, yarn, clamped activation."""

from transformers import GptOssConfig

from ._tiny import tiny, yarn

SEED = 3


def config():
    return GptOssConfig(
        **tiny(
            num_hidden_layers=4,
            max_position_embeddings=4096,
            intermediate_size=48,
            num_local_experts=8,
            num_experts_per_tok=3,
            sliding_window=10,
            rope_parameters=yarn(truncate=True),
        )
    )
