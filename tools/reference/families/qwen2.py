# SPDX-License-Identifier: Apache-2.0
"""Qwen2: q/k/v biases."""

from transformers import Qwen2Config

from ._tiny import rope, tiny


def config():
    return Qwen2Config(**tiny(head_dim="absent", rope_parameters=rope()))
