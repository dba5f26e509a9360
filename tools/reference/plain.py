# SPDX-License-Identifier: Apache-2.0
"""Double-precision parts of a transformer in numpy, for families that transformers lacks. A family's module puts them
together from its authors' code, over the tensors as GGUF has them."""

import numpy as np


def rms_norm(x, w, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * w


def layer_norm(x, w, b, eps):
    d = x - x.mean(-1, keepdims=True)
    return d / np.sqrt((d * d).mean(-1, keepdims=True) + eps) * w + (0 if b is None else b)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def silu(x):
    return x * sigmoid(x)


def relu(x):
    return np.maximum(x, 0)


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def gelu_erf(x):
    from math import erf

    return 0.5 * x * (1 + np.vectorize(erf)(x / np.sqrt(2)))


def rope(x, base, interleaved=False):
    """x: (rows, heads, head size), all of it rotated; pairs are neighbours or half a head apart."""
    half = x.shape[-1] // 2
    angle = np.arange(x.shape[0])[:, None, None] * base ** (-np.arange(half) / half)
    c, s = np.cos(angle), np.sin(angle)
    a, b = (x[..., 0::2], x[..., 1::2]) if interleaved else (x[..., :half], x[..., half:])
    pair = (a * c - b * s, a * s + b * c)
    return np.stack(pair, -1).reshape(x.shape) if interleaved else np.concatenate(pair, -1)


def alibi_slopes(n_head, most=8.0):
    """Press et al. 2022, for any number of heads."""
    power = 1 << (n_head.bit_length() - 1)
    first = [2.0 ** (-most * (i + 1) / power) for i in range(power)]
    rest = [2.0 ** (-most / 2 * (2 * i + 1) / power) for i in range(n_head - power)]
    return np.array(first + rest)


def attention(q, k, v, scale, causal=True, window=0, cap=0.0, slopes=None):
    """q: (rows, heads, size), k and v: (rows, key heads, size). Gives (rows, heads * value size). window: keys seen, the
    row's own included; cap: scores go through cap * tanh(score / cap); slopes: of a linear bias by distance."""
    rows, heads = q.shape[:2]
    group = heads // k.shape[1]
    i, j = np.arange(rows)[:, None], np.arange(rows)[None]
    seen = (j <= i) if causal else np.ones((rows, rows), bool)
    if window:
        seen = seen & (i - j < window)
    out = np.zeros((rows, heads, v.shape[2]))
    for h in range(heads):
        score = q[:, h] @ k[:, h // group].T * scale
        if cap:
            score = cap * np.tanh(score / cap)
        if slopes is not None:
            score = score - slopes[h] * abs(i - j)
        out[:, h] = softmax(np.where(seen, score, -np.inf)) @ v[:, h // group]
    return out.reshape(rows, -1)


def mixture(x, weight, expert):
    """Rows of x through the experts that weight (rows, experts) gives more than nothing; expert(x, e)."""
    out = 0
    for e in range(weight.shape[1]):
        out = out + weight[:, e : e + 1] * expert(x, e)
    return out


def top(score, k):
    """1 for the k largest of each row, else 0."""
    mask = np.zeros_like(score)
    np.put_along_axis(mask, np.argsort(-score, axis=-1, kind="stable")[:, :k], 1, -1)
    return mask


class Model:
    """Tensors by name in 64-bit float; layer(l) gives those of a layer by the rest of their name."""

    def __init__(self, tensors):
        self.t = {n: v.astype(np.float64) for n, v in tensors.items()}

    def __getitem__(self, name):
        return self.t[name]

    def layer(self, l):
        prefix = "blk.%d." % l
        return {n[len(prefix) :].removesuffix(".weight"): v for n, v in self.t.items() if n.startswith(prefix)}


def heads(x, size):
    return x.reshape(x.shape[0], -1, size)


def gated(act, gate, up, down):
    return (
        lambda x, e=None: (act(x @ (gate if e is None else gate[e]).T) * (x @ (up if e is None else up[e]).T))
        @ (down if e is None else down[e]).T
    )


def decoder_metadata(arch, layers, **more):
    """Sizes that the plain decoders share."""
    base = {
        "block_count": layers,
        "context_length": 512,
        "embedding_length": 64,
        "feed_forward_length": 80,
        "attention.head_count": 4,
        "attention.head_count_kv": 2,
        "rope.freq_base": 500.0,
        "vocab_size": 96,
        "rope.dimension_count": 16,
        "attention.layer_norm_rms_epsilon": 3e-2,
    }
    base.update(more)
    kind = lambda v: (
        "bool" if isinstance(v, bool) else "u32" if isinstance(v, int) else "f32" if isinstance(v, float) else "str"
    )
    rows = [("str", "general.architecture", arch)]
    for key, v in base.items():
        if v is not None:
            full = key if "." in key and key.startswith("tokenizer") else arch + "." + key
            rows.append((kind(v), full, v))
    return rows


def decoder_shapes(layers, parts, **top_level):
    """Shapes, outermost first: parts(l) gives those of layer l by the rest of their name."""
    out = {"token_embd.weight": (96, 64), "output_norm.weight": (64,), "output.weight": (96, 64)}
    out.update(top_level)
    for l in range(layers):
        for name, shape in parts(l).items():
            out["blk.%d.%s%s" % (l, name, "" if name.endswith("bias") else ".weight")] = shape
    return {n: s for n, s in out.items() if s}


QKV = {"attn_norm": (64,), "attn_q": (64, 64), "attn_k": (32, 64), "attn_v": (32, 64), "attn_output": (64, 64)}


def experts(n=8, width=48):
    return {
        "ffn_gate_inp": (n, 64),
        "ffn_gate_exps": (n, width, 64),
        "ffn_up_exps": (n, width, 64),
        "ffn_down_exps": (n, 64, width),
    }
