# SPDX-License-Identifier: Apache-2.0
"""Llama 4 with stretches of 10 positions and a temperature that begins at the eighth, which published models have at 8192."""

from . import llama4

MORE = {
    "llama4.attention.chunk_size": ("u32", 10),
    "llama4.attention.temperature_length": ("u32", 8),
    "llama4.attention.temperature_scale": ("f32", 0.25),
}


def config():
    return llama4.config(chunk=10, floor=8, scale=0.25)
