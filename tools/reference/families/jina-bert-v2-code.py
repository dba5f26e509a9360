# SPDX-License-Identifier: Apache-2.0
"""Jina embeddings v2 for code: as jina-bert-v2, but queries and keys have norms over all heads, the layer's input is added
once more after the attention's norm, under a norm of its own, and the matrix of both holds up before gate. Values are the
last hidden states."""

import numpy as np
from plain import Model, alibi_slopes, attention, decoder_metadata, decoder_shapes, gelu_erf, heads, layer_norm

REFERENCE = "double-precision program after the authors' model code (jina-embeddings-v2-base-code)"
POOLING = "mean"
METADATA = decoder_metadata(
    "jina-bert-v2",
    3,
    **{
        "attention.head_count": 4,
        "attention.head_count_kv": None,
        "attention.layer_norm_rms_epsilon": None,
        "attention.layer_norm_epsilon": 3e-2,
        "attention.causal": False,
        "pooling_type": 1,
        "rope.dimension_count": None,
        "rope.freq_base": None,
        "tokenizer.ggml.token_type_count": 2,
    }
)
VECTORS = ("attn_q_norm", "attn_k_norm", "attn_output_norm", "attn_norm_2", "layer_output_norm")
SHAPES = decoder_shapes(
    3,
    lambda l: {
        "attn_q": (64, 64),
        "attn_q.bias": (64,),
        "attn_k": (64, 64),
        "attn_k.bias": (64,),
        "attn_v": (64, 64),
        "attn_v.bias": (64,),
        "attn_output": (64, 64),
        "attn_output.bias": (64,),
        "ffn_up": (160, 64),
        "ffn_down": (64, 80),
        "ffn_down.bias": (64,),
        **{n: (64,) for n in VECTORS},
        **{n + ".bias": (64,) for n in VECTORS},
    },
    **{
        "output.weight": None,
        "output_norm.weight": None,
        "token_types.weight": (2, 64),
        "token_embd_norm.weight": (64,),
        "token_embd_norm.bias": (64,),
    }
)


def run(tensors, ids, layers=3, eps=3e-2):
    m = Model(tensors)
    x = m["token_embd.weight"][ids] + m["token_types.weight"][0]
    x = layer_norm(x, m["token_embd_norm.weight"], m["token_embd_norm.bias"], eps)
    for l in range(layers):
        t = m.layer(l)
        norm = lambda y, n: layer_norm(y, t[n], t[n + ".bias"], eps)
        q, k, v = (x @ t[n].T + t[n + ".bias"] for n in ("attn_q", "attn_k", "attn_v"))
        q, k, v = (heads(y, 16) for y in (norm(q, "attn_q_norm"), norm(k, "attn_k_norm"), v))
        y = (
            attention(q, k, v, 16**-0.5, causal=False, slopes=alibi_slopes(4)) @ t["attn_output"].T
            + t["attn_output.bias"]
        )
        y = norm(x + y, "attn_output_norm")
        x = norm(x + y, "attn_norm_2")
        up, gate = np.split(x @ t["ffn_up"].T, 2, axis=-1)
        x = norm(x + (up * gelu_erf(gate)) @ t["ffn_down"].T + t["ffn_down.bias"], "layer_output_norm")
    return x
