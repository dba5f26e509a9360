# SPDX-License-Identifier: Apache-2.0
"""What the tiny models share: sizes that are small, odd where it helps and never equal where a mix-up could hide."""


def tiny(**changes):
    """Configuration of a decoder: grouped queries, head size not width / heads, a norm epsilon that shows."""
    base = dict(
        vocab_size=96,
        hidden_size=64,
        intermediate_size=80,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=24,
        max_position_embeddings=512,
        rms_norm_eps=3e-2,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=None,
    )
    base.update(changes)
    return {k: v for k, v in base.items() if v != "absent"}


def rope(theta=500.0, kind="default", **more):
    return dict(rope_type=kind, rope_theta=theta, **more)


def yarn(**more):
    """Yarn whose ramp lies within the rotated values, so that both of its ends show."""
    base = dict(rope_theta=100.0, factor=4.0, original_max_position_embeddings=1024, beta_fast=32.0, beta_slow=1.0)
    base.update(more)
    return dict(rope_type="yarn", **base)


def one_epsilon(model, eps=3e-2):
    """Norms that transformers gives a fixed epsilon get the model's: files have one for all."""
    for m in model.modules():
        if hasattr(m, "variance_epsilon"):
            m.variance_epsilon = eps
