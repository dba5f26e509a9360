# SPDX-License-Identifier: Apache-2.0
"""Snowflake Arctic: a dense feed-forward in the usual place and, beside the whole layer, experts over its normed input.
The weights of the two picked are renormalised. Queries and keys are stored for interleaved rope."""

from plain import (
    QKV,
    Model,
    attention,
    decoder_metadata,
    decoder_shapes,
    experts,
    gated,
    heads,
    mixture,
    rms_norm,
    rope,
    silu,
    softmax,
    top,
)

REFERENCE = "double-precision program after the authors' model code (Arctic, 2024)"
METADATA = decoder_metadata("arctic", 3, **{"expert_count": 8, "expert_used_count": 2, "feed_forward_length": 48})
SHAPES = decoder_shapes(
    3,
    lambda l: {
        **QKV,
        "ffn_norm": (64,),
        "ffn_norm_exps": (64,),
        "ffn_gate": (64, 64),
        "ffn_up": (64, 64),
        "ffn_down": (64, 64),
        **experts(),
    },
)


def run(tensors, ids, layers=3, eps=3e-2):
    m = Model(tensors)
    x = m["token_embd.weight"][ids]
    for l in range(layers):
        t = m.layer(l)
        y = rms_norm(x, t["attn_norm"], eps)
        q, k = (rope(heads(y @ t[n].T, 16), 500.0, interleaved=True) for n in ("attn_q", "attn_k"))
        mid = x + attention(q, k, heads(y @ t["attn_v"].T, 16), 16**-0.5) @ t["attn_output"].T
        dense = mid + gated(silu, t["ffn_gate"], t["ffn_up"], t["ffn_down"])(rms_norm(mid, t["ffn_norm"], eps))
        y = rms_norm(x, t["ffn_norm_exps"], eps)
        score = softmax(y @ t["ffn_gate_inp"].T)
        weight = score * top(score, 2)
        weight = weight / weight.sum(-1, keepdims=True)
        x = dense + mixture(y, weight, gated(silu, t["ffn_gate_exps"], t["ffn_up_exps"], t["ffn_down_exps"]))
    return rms_norm(x, m["output_norm.weight"], eps) @ m["output.weight"].T
