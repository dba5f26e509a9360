# SPDX-License-Identifier: Apache-2.0
"""Seed-OSS: q/k/v biases."""

from transformers import SeedOssConfig

from ._tiny import rope, tiny


def config():
    return SeedOssConfig(**tiny(attention_bias=True, attention_out_bias=False, rope_parameters=rope()))
