# SPDX-License-Identifier: Apache-2.0
"""A llama whose file asks for yarn."""

from transformers import LlamaConfig

from ._tiny import tiny, yarn


def config():
    return LlamaConfig(**tiny(max_position_embeddings=4096, rope_parameters=yarn(beta_fast=16.0, beta_slow=2.0)))
