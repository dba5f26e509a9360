# SPDX-License-Identifier: Apache-2.0
"""Grok-2: Grok-1 with a dense feed-forward beside the experts (the sum over sqrt 2), router logits and output logits
capped."""

from plain import QKV, decoder_metadata, decoder_shapes, experts

from . import grok

REFERENCE = "double-precision program after the authors' release (Grok-2, 2025)"
METADATA = decoder_metadata(
    "grok",
    3,
    **{
        **grok.KEYS,
        "feed_forward_length": 80,
        "expert_feed_forward_length": 48,
        "router_logit_softcapping": 1.5,
        "final_logit_softcapping": 2.0,
    }
)
NORMS = {"attn_output_norm": (64,), "ffn_norm": (64,), "post_ffw_norm": (64,)}
SHAPES = decoder_shapes(
    3, lambda l: {**QKV, **NORMS, **experts(), "ffn_gate": (80, 64), "ffn_up": (80, 64), "ffn_down": (64, 80)}
)


def run(tensors, ids):
    return grok.run(tensors, ids, router_cap=1.5, logit_cap=2.0)
