# SPDX-License-Identifier: Apache-2.0
"""FlexOlmo (Shi et al. 2025): OLMo 2 with experts in place of the feed-forward, weights not renormalised. No public
converter knows it; the layout is OLMo 2's with OLMoE's names for the experts."""

import re

import numpy as np
from transformers import FlexOlmoConfig

from ._tiny import rope, tiny

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "post_attention_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
    "mlp.gate": "ffn_gate_inp",
    "mlp.experts.gate_proj": "ffn_gate_exps",
    "mlp.experts.up_proj": "ffn_up_exps",
    "mlp.experts.down_proj": "ffn_down_exps",
}


def config():
    return FlexOlmoConfig(
        **tiny(head_dim="absent", num_experts=6, num_experts_per_tok=3, intermediate_size=48, rope_parameters=rope())
    )


def to_gguf(tensors):
    c = config()
    key = lambda k: "flex-olmo." + k
    metadata = [
        ("str", "general.architecture", "flex-olmo"),
        ("u32", key("block_count"), 3),
        ("u32", key("context_length"), 512),
        ("u32", key("embedding_length"), c.hidden_size),
        ("u32", key("feed_forward_length"), c.intermediate_size),
        ("u32", key("attention.head_count"), 4),
        ("u32", key("attention.head_count_kv"), 2),
        ("f32", key("rope.freq_base"), 500.0),
        ("f32", key("attention.layer_norm_rms_epsilon"), c.rms_norm_eps),
        ("u32", key("expert_count"), 6),
        ("u32", key("expert_used_count"), 3),
        ("u32", key("vocab_size"), 96),
    ]
    out = {
        "token_embd.weight": tensors["model.embed_tokens.weight"],
        "output_norm.weight": tensors["model.norm.weight"],
        "output.weight": tensors["lm_head.weight"],
    }
    for l in range(c.num_hidden_layers):
        prefix = "model.layers.%d." % l
        parts = {}
        for name, v in tensors.items():
            if name.startswith(prefix):
                part = re.sub(r"experts\.\d+\.", "experts.", name[len(prefix) :]).removesuffix(".weight")
                number = re.search(r"experts\.(\d+)\.", name)
                parts.setdefault(part, []).append((int(number[1]) if number else 0, v))
        for part, pieces in parts.items():
            pieces = [v for _, v in sorted(pieces, key=lambda p: p[0])]
            v = np.stack(pieces) if "experts" in part else pieces[0]
            out["blk.%d.%s.weight" % (l, NAMES[part])] = v
    return metadata, out
