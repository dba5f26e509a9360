# SPDX-License-Identifier: Apache-2.0
"""DeepSeekMoE (Dai et al. 2024), the first generation: softmax over all experts, the weights of the picked as they are,
shared experts beside them, leading dense layers. Queries and keys are stored for interleaved rope."""

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

REFERENCE = "double-precision program after Dai et al. 2024 and the authors' model code"
METADATA = decoder_metadata(
    "deepseek",
    3,
    **{
        "expert_count": 8,
        "expert_used_count": 3,
        "expert_feed_forward_length": 48,
        "expert_shared_count": 2,
        "expert_weights_scale": 1.0,
        "leading_dense_block_count": 1,
        "rope.scaling.type": "none",
    }
)
DENSE = {"ffn_norm": (64,), "ffn_gate": (80, 64), "ffn_up": (80, 64), "ffn_down": (64, 80)}
ROUTED = {
    "ffn_norm": (64,),
    "ffn_gate_shexp": (96, 64),
    "ffn_up_shexp": (96, 64),
    "ffn_down_shexp": (64, 96),
    **experts(),
}
SHAPES = decoder_shapes(3, lambda l: {**QKV, **(DENSE if l == 0 else ROUTED)})


def run(tensors, ids, layers=3, normalise=False, eps=3e-2):
    m = Model(tensors)
    x = m["token_embd.weight"][ids]
    for l in range(layers):
        t = m.layer(l)
        y = rms_norm(x, t["attn_norm"], eps)
        q, k = (rope(heads(y @ t[n].T, 16), 500.0, interleaved=True) for n in ("attn_q", "attn_k"))
        x = x + attention(q, k, heads(y @ t["attn_v"].T, 16), 16**-0.5) @ t["attn_output"].T
        y = rms_norm(x, t["ffn_norm"], eps)
        if "ffn_gate" in t:
            x = x + gated(silu, t["ffn_gate"], t["ffn_up"], t["ffn_down"])(y)
            continue
        score = softmax(y @ t["ffn_gate_inp"].T)
        weight = score * top(score, 3)
        if normalise:
            weight = weight / weight.sum(-1, keepdims=True)
        x = (
            x
            + mixture(y, weight, gated(silu, t["ffn_gate_exps"], t["ffn_up_exps"], t["ffn_down_exps"]))
            + gated(silu, t["ffn_gate_shexp"], t["ffn_up_shexp"], t["ffn_down_shexp"])(y)
        )
    return rms_norm(x, m["output_norm.weight"], eps) @ m["output.weight"].T
