# SPDX-License-Identifier: Apache-2.0
"""SmallThinker (Song et al. 2025): the router reads the layer's input before attention and before any norm; relu experts;
every fourth layer, beginning with the first, sees all and has no rope where the model has windows."""

from plain import (
    Model,
    attention,
    decoder_metadata,
    decoder_shapes,
    experts,
    gated,
    heads,
    mixture,
    relu,
    rms_norm,
    rope,
    sigmoid,
    top,
)

REFERENCE = "double-precision program after Song et al. 2025 and the authors' model code"
# the window is longer than the prompts: public engines take it for 4096 whatever the file says
METADATA = decoder_metadata(
    "smallthinker",
    5,
    **{
        "attention.key_length": 24,
        "attention.value_length": 24,
        "rope.dimension_count": None,
        "expert_count": 8,
        "expert_used_count": 3,
        "expert_feed_forward_length": 48,
        "feed_forward_length": 48,
        "expert_gating_func": 2,
        "attention.sliding_window": 4096,
    }
)
SHAPES = decoder_shapes(
    5,
    lambda l: {
        "attn_norm": (64,),
        "attn_q": (96, 64),
        "attn_k": (48, 64),
        "attn_v": (48, 64),
        "attn_output": (64, 96),
        "ffn_norm": (64,),
        **experts(),
    },
)


def run(tensors, ids, layers=5, eps=3e-2):
    m = Model(tensors)
    x = m["token_embd.weight"][ids]
    for l in range(layers):
        t = m.layer(l)
        logit = x @ t["ffn_gate_inp"].T
        y = rms_norm(x, t["attn_norm"], eps)
        q, k = (heads(y @ t[n].T, 24) for n in ("attn_q", "attn_k"))
        if l % 4:
            q, k = rope(q, 500.0), rope(k, 500.0)
        x = x + attention(q, k, heads(y @ t["attn_v"].T, 24), 24**-0.5) @ t["attn_output"].T
        y = rms_norm(x, t["ffn_norm"], eps)
        weight = sigmoid(logit) * top(logit, 3)
        weight = weight / weight.sum(-1, keepdims=True)
        x = x + mixture(y, weight, gated(relu, t["ffn_gate_exps"], t["ffn_up_exps"], t["ffn_down_exps"]))
    return rms_norm(x, m["output_norm.weight"], eps) @ m["output.weight"].T
