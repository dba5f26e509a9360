# SPDX-License-Identifier: Apache-2.0
"""Qwen3, dense: q/k norms a head."""

from transformers import Qwen3Config

from ._tiny import rope, tiny


def config():
    return Qwen3Config(**tiny(rope_parameters=rope()))
