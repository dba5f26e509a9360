# SPDX-License-Identifier: Apache-2.0
"""Jina embeddings v2 (Gunther et al. 2023): BERT with a symmetric linear bias by distance in place of positions and a
gated gelu, gate first, in one matrix. Values are the last hidden states."""

import numpy as np
from plain import Model, alibi_slopes, attention, decoder_metadata, decoder_shapes, gelu_erf, heads, layer_norm

REFERENCE = "double-precision program after Gunther et al. 2023 and the authors' model code"
POOLING = "mean"
METADATA = decoder_metadata(
    "jina-bert-v2",
    3,
    **{
        "attention.head_count": 6,
        "attention.head_count_kv": None,
        "embedding_length": 96,
        "attention.layer_norm_rms_epsilon": None,
        "attention.layer_norm_epsilon": 3e-2,
        "attention.causal": False,
        "pooling_type": 1,
        "rope.dimension_count": None,
        "rope.freq_base": None,
        "tokenizer.ggml.token_type_count": 2,
    }
)
SHAPES = decoder_shapes(
    3,
    lambda l: {
        "attn_q": (96, 96),
        "attn_q.bias": (96,),
        "attn_k": (96, 96),
        "attn_k.bias": (96,),
        "attn_v": (96, 96),
        "attn_v.bias": (96,),
        "attn_output": (96, 96),
        "attn_output.bias": (96,),
        "attn_output_norm": (96,),
        "attn_output_norm.bias": (96,),
        "layer_output_norm": (96,),
        "layer_output_norm.bias": (96,),
        "ffn_up": (160, 96),
        "ffn_down": (96, 80),
        "ffn_down.bias": (96,),
    },
    **{
        "token_embd.weight": (96, 96),
        "output.weight": None,
        "output_norm.weight": None,
        "token_types.weight": (2, 96),
        "token_embd_norm.weight": (96,),
        "token_embd_norm.bias": (96,),
    }
)


def run(tensors, ids, layers=3, eps=3e-2):
    m = Model(tensors)
    x = m["token_embd.weight"][ids] + m["token_types.weight"][0]
    x = layer_norm(x, m["token_embd_norm.weight"], m["token_embd_norm.bias"], eps)
    for l in range(layers):
        t = m.layer(l)
        q, k, v = (heads(x @ t[n].T + t[n + ".bias"], 16) for n in ("attn_q", "attn_k", "attn_v"))
        y = (
            attention(q, k, v, 16**-0.5, causal=False, slopes=alibi_slopes(6)) @ t["attn_output"].T
            + t["attn_output.bias"]
        )
        x = layer_norm(x + y, t["attn_output_norm"], t["attn_output_norm.bias"], eps)
        gate, up = np.split(x @ t["ffn_up"].T, 2, axis=-1)
        y = (gelu_erf(gate) * up) @ t["ffn_down"].T + t["ffn_down.bias"]
        x = layer_norm(x + y, t["layer_output_norm"], t["layer_output_norm.bias"], eps)
    return x
