# SPDX-License-Identifier: Apache-2.0
"""A llama with linearly scaled rope and biases in attention."""

from transformers import LlamaConfig

from ._tiny import rope, tiny


def config():
    return LlamaConfig(**tiny(attention_bias=True, rope_parameters=rope(500.0, "linear", factor=2.5)))
