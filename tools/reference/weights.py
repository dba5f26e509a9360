# SPDX-License-Identifier: Apache-2.0
"""Weights from a name and a few numbers, the same bits in every language: element i of a tensor is

    ((splitmix64(h + i) >> 40) / 2^24 - 0.5) * scale + offset        in 32-bit float, h = FNV-1a 64 of the name

tests/reference/reference.c has the same in C. `rule` chooses scale and offset so that activations and logits stay at a
few units and every tensor shows in the logits.
"""

import re

import numpy as np

MASK = (1 << 64) - 1


def name_hash(name, seed=0):
    h = 0xCBF29CE484222325 ^ seed
    for b in name.encode():
        h = ((h ^ b) * 0x100000001B3) & MASK
    return h


def splitmix64(x):
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def values(name, shape, scale, offset, seed=0):
    """shape: as numpy has it, outermost first."""
    n = int(np.prod(shape))
    with np.errstate(over="ignore"):
        bits = splitmix64(np.uint64(name_hash(name, seed)) + np.arange(n, dtype=np.uint64)) >> np.uint64(40)
    u = bits.astype(np.float32) / np.float32(1 << 24) - np.float32(0.5)
    return (u * np.float32(scale) + np.float32(offset)).reshape(shape)


# (pattern over the tensor's name, gain of a matrix or range of a vector, offset); the first that fits
RULES = [
    (r"token_embd\.weight|token_types\.weight|position_embd\.weight|per_layer_token_embd", ("range", 3.4, 0.0)),
    (r"norm\.weight$|norm_\d\.weight$|norm_exps\.weight$", ("range", 0.8, 1.0)),
    (r"norm\.bias$|norm_\d\.bias$", ("range", 0.5, 0.0)),
    (r"(output|cls|lm_head)\.weight$(?<!attn_output\.weight)(?<!cls\.output\.weight)", ("gain", 2.0, 0.0)),
    (r"ffn_gate_inp\.weight$", ("gain", 2.5, 0.0)),
    (r"exp_probs_b", ("range", 0.4, 0.0)),
    (r"attn_sinks", ("range", 3.0, 0.5)),
    (r"ssm_a$", ("range", 1.4, -1.0)),
    (r"ssm_dt\.bias$", ("range", 2.0, -0.5)),
    (r"ssm_d$", ("range", 0.8, 1.0)),
    (r"ssm_conv1d\.weight$|shortconv\.conv\.weight$", ("range", 1.8, 0.0)),
    (r"layer_output_scale|\.scale$|_scale$", ("range", 0.6, 1.0)),
    (r"attn_[qk]\.weight$|attn_qkv\.weight$", ("gain", 1.6, 0.0)),
    (r"bias$|_b$", ("range", 0.8, 0.0)),
]


def rule(name, shape, tied, overrides=()):
    """(scale, offset) of a tensor. tied: the embedding serves as output matrix too."""
    overrides = list(overrides) + ([(r"^token_embd\.weight", ("range", 0.8, 0.0))] if tied else [])
    for pattern, (kind, amount, offset) in overrides + RULES + [(r"", ("gain", 1.2, 0.0))]:
        if re.search(pattern, name):
            scale = amount * (12.0 / shape[-1]) ** 0.5 if kind == "gain" else amount
            return float(np.float32(round(scale, 6))), float(offset)
    raise AssertionError
