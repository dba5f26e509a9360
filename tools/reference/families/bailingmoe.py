# SPDX-License-Identifier: Apache-2.0
"""Ling, the first generation: as DeepSeekMoE without dense layers, weights renormalised. Files hold the output matrix
already normalised, where the model asks for it."""

from plain import QKV, decoder_metadata, decoder_shapes

from . import deepseek

REFERENCE = "double-precision program after the authors' model code (Ling, 2025)"
METADATA = decoder_metadata(
    "bailingmoe",
    3,
    **{
        "expert_count": 8,
        "expert_used_count": 3,
        "expert_feed_forward_length": 48,
        "expert_shared_count": 2,
        "expert_weights_scale": 1.0,
        "expert_weights_norm": True,
        "leading_dense_block_count": 0,
    }
)
SHAPES = decoder_shapes(3, lambda l: {**QKV, **deepseek.ROUTED})


def run(tensors, ids):
    return deepseek.run(tensors, ids, normalise=True)
