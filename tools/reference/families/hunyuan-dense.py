# SPDX-License-Identifier: Apache-2.0
"""Hunyuan, dense: q/k norm after rope."""

from transformers import HunYuanDenseV1Config

from ._tiny import rope, tiny


def config():
    return HunYuanDenseV1Config(**tiny(tie_word_embeddings=True, rope_parameters=rope()))
