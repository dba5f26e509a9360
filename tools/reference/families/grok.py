# SPDX-License-Identifier: Apache-2.0
"""Grok-1 (authors' code, 2024): norms before and after both branches, capped scores, tanh-gelu experts, scales of
embedding, scores and logits. The weights of the picked experts are used as softmax gave them; some public engines
renormalise them."""

import numpy as np
from plain import (
    QKV,
    Model,
    attention,
    decoder_metadata,
    decoder_shapes,
    experts,
    gated,
    gelu_tanh,
    heads,
    mixture,
    rms_norm,
    rope,
    softmax,
    top,
)

REFERENCE = "double-precision program after the authors' model code (Grok-1, 2024)"
KEYS = {
    "expert_count": 8,
    "expert_used_count": 2,
    "feed_forward_length": 48,
    "embedding_scale": 1.6,
    "logit_scale": 0.7,
    "attention.output_scale": 0.3,
    "attn_logit_softcapping": 4.0,
    "router_logit_softcapping": 30.0,
}
NORMS = {"attn_output_norm": (64,), "ffn_norm": (64,), "layer_output_norm": (64,)}
METADATA = decoder_metadata("grok", 3, **KEYS)
SHAPES = decoder_shapes(3, lambda l: {**QKV, **NORMS, **experts()})


def run(tensors, ids, layers=3, eps=3e-2, router_cap=0.0, logit_cap=0.0, normalise=False):
    m = Model(tensors)
    x = m["token_embd.weight"][ids] * np.float64(np.float32(1.6))
    for l in range(layers):
        t = m.layer(l)
        y = rms_norm(x, t["attn_norm"], eps)
        q, k = (rope(heads(y @ t[n].T, 16), 500.0) for n in ("attn_q", "attn_k"))
        y = attention(q, k, heads(y @ t["attn_v"].T, 16), np.float64(np.float32(0.3)), cap=4.0) @ t["attn_output"].T
        x = x + rms_norm(y, t["attn_output_norm"], eps)
        y = rms_norm(x, t["ffn_norm"], eps)
        logit = y @ t["ffn_gate_inp"].T
        if router_cap:
            logit = router_cap * np.tanh(logit / router_cap)
        score = softmax(logit)
        weight = score * top(score, 2)
        if normalise:
            weight = weight / weight.sum(-1, keepdims=True)
        out = mixture(y, weight, gated(gelu_tanh, t["ffn_gate_exps"], t["ffn_up_exps"], t["ffn_down_exps"]))
        if "ffn_up" in t:
            out = (out + gated(gelu_tanh, t["ffn_gate"], t["ffn_up"], t["ffn_down"])(y)) / np.sqrt(2)
        x = x + rms_norm(out, t["layer_output_norm"] if "layer_output_norm" in t else t["post_ffw_norm"], eps)
    logits = rms_norm(x, m["output_norm.weight"], eps) @ m["output.weight"].T * np.float64(np.float32(0.7))
    return logit_cap * np.tanh(logits / logit_cap) if logit_cap else logits
