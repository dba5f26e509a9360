# SPDX-License-Identifier: Apache-2.0
"""Gemma: embeddings times sqrt(n), norms that add one, gelu."""

from transformers import GemmaConfig

from ._tiny import rope, tiny


def config():
    return GemmaConfig(**tiny(tie_word_embeddings=True, rope_parameters=rope(10000.0)))
