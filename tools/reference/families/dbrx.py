# SPDX-License-Identifier: Apache-2.0
"""DBRX: layer norms without bias, fused and clamped q/k/v, experts renormalised."""

from transformers import DbrxConfig

from ._tiny import rope


def config():
    return DbrxConfig(
        vocab_size=96,
        d_model=64,
        n_heads=4,
        n_layers=3,
        max_seq_len=512,
        attn_config=dict(kv_n_heads=2, clip_qkv=1.5, rope_theta=500.0),
        ffn_config=dict(ffn_hidden_size=48, moe_num_experts=8, moe_top_k=3, hidden_size=64),
        rope_parameters=rope(),
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=None,
    )
