# SPDX-License-Identifier: Apache-2.0
"""nomic-embed v2 (Nussbaum and Duderstadt 2025): every second layer has experts without gates, a softmax router whose
weights are not renormalised; biases elsewhere; rope. Values are the last hidden states."""

from plain import (
    Model,
    attention,
    decoder_metadata,
    decoder_shapes,
    gelu_erf,
    heads,
    layer_norm,
    mixture,
    rope,
    softmax,
    top,
)

REFERENCE = "double-precision program after the authors' model code (Nussbaum and Duderstadt 2025)"
POOLING = "mean"
METADATA = decoder_metadata(
    "nomic-bert-moe",
    4,
    **{
        "attention.head_count_kv": None,
        "attention.layer_norm_rms_epsilon": None,
        "attention.layer_norm_epsilon": 3e-2,
        "attention.causal": False,
        "pooling_type": 1,
        "rope.dimension_count": None,
        "moe_every_n_layers": 2,
        "expert_count": 8,
        "expert_used_count": 2,
        "tokenizer.ggml.token_type_count": 1,
    }
)
ATTENTION = {
    "attn_qkv": (192, 64),
    "attn_qkv.bias": (192,),
    "attn_output": (64, 64),
    "attn_output.bias": (64,),
    "attn_output_norm": (64,),
    "attn_output_norm.bias": (64,),
    "layer_output_norm": (64,),
    "layer_output_norm.bias": (64,),
}
DENSE = {"ffn_up": (80, 64), "ffn_up.bias": (80,), "ffn_down": (64, 80), "ffn_down.bias": (64,)}
ROUTED = {"ffn_gate_inp": (8, 64), "ffn_up_exps": (8, 80, 64), "ffn_down_exps": (8, 64, 80)}
SHAPES = decoder_shapes(
    4,
    lambda l: {**ATTENTION, **(ROUTED if l % 2 else DENSE)},
    **{
        "output.weight": None,
        "output_norm.weight": None,
        "token_types.weight": (1, 64),
        "token_embd_norm.weight": (64,),
        "token_embd_norm.bias": (64,),
    }
)


def run(tensors, ids, layers=4, eps=3e-2):
    m = Model(tensors)
    x = m["token_embd.weight"][ids] + m["token_types.weight"][0]
    x = layer_norm(x, m["token_embd_norm.weight"], m["token_embd_norm.bias"], eps)
    for l in range(layers):
        t = m.layer(l)
        q, k, v = (
            heads(y, 16) for y in (x @ t["attn_qkv"].T + t["attn_qkv.bias"]).reshape(len(ids), 3, 64).swapaxes(0, 1)
        )
        y = (
            attention(rope(q, 500.0), rope(k, 500.0), v, 16**-0.5, causal=False) @ t["attn_output"].T
            + t["attn_output.bias"]
        )
        x = layer_norm(x + y, t["attn_output_norm"], t["attn_output_norm.bias"], eps)
        if "ffn_up" in t:
            y = gelu_erf(x @ t["ffn_up"].T + t["ffn_up.bias"]) @ t["ffn_down"].T + t["ffn_down.bias"]
        else:
            score = softmax(x @ t["ffn_gate_inp"].T)
            y = mixture(
                x, score * top(score, 2), lambda z, e: gelu_erf(z @ t["ffn_up_exps"][e].T) @ t["ffn_down_exps"][e].T
            )
        x = layer_norm(x + y, t["layer_output_norm"], t["layer_output_norm.bias"], eps)
    return x
