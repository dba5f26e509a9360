# SPDX-License-Identifier: Apache-2.0
"""Arcee: a Llama with a squared ReLU and no gate."""

from transformers import ArceeConfig

from ._tiny import rope, tiny


def config():
    return ArceeConfig(**tiny(rope_parameters=rope()))
