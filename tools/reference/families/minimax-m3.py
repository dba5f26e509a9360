# SPDX-License-Identifier: Apache-2.0
"""MiniMax M3: gated and clamped activation, shared expert, part of each head rotated; its choice of key blocks covers every
position here, so that attention is dense."""

import re

import numpy as np
from transformers import MiniMaxM3VLTextConfig

from ._tiny import rope, tiny

EDIT = {  # as in the published config.json
    "architectures": ["MiniMaxM3SparseForCausalLM"],
    "n_shared_experts": 1,
    "moe_layer_freq": [0, 1, 1],
    "scoring_func": "sigmoid",
    "sparse_attention_config": {
        "sparse_num_index_heads": 4,
        "sparse_index_dim": 32,
        "sparse_topk_blocks": 16,
        "sparse_block_size": 128,
        "sparse_local_block": 1,
    },
}


def config():
    return MiniMaxM3VLTextConfig(
        **tiny(
            num_local_experts=8,
            num_experts_per_tok=3,
            intermediate_size=48,
            dense_intermediate_size=80,
            shared_intermediate_size=48,
            routed_scaling_factor=2.0,
            rotary_dim=12,
            mlp_layer_types=["dense", "sparse", "sparse"],
            layer_types=["full_attention", "minimax_m3_sparse", "minimax_m3_sparse"],
            index_head_dim=32,
            rope_parameters=rope(500.0, partial_rotary_factor=0.5),
        )
    )


def publish(tensors):
    """The checkpoint as its authors name and split it; transformers saves the fused form of this model."""
    out = {}
    for name, v in tensors.items():
        name = re.sub(r"\.mlp\.(experts|gate\.weight|shared_experts)", r".block_sparse_moe.\1", name)
        name = name.replace(".mlp.gate.e_score", ".block_sparse_moe.e_score").replace(".indexer.", ".index_")
        base = name.rsplit(".gate_up_proj", 1)[0].rsplit(".down_proj", 1)[0]
        if name.endswith("experts.gate_up_proj"):
            for i, e in enumerate(v):
                out["%s.%d.w1.weight" % (base, i)], out["%s.%d.w3.weight" % (base, i)] = np.split(e, 2)
        elif name.endswith("experts.down_proj"):
            out.update(("%s.%d.w2.weight" % (base, i), e) for i, e in enumerate(v))
        elif name.endswith("gate_up_proj.weight"):
            out[base + ".gate_proj.weight"], out[base + ".up_proj.weight"] = np.split(v, 2)
        else:
            out[name] = v
    return out
