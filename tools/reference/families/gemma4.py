# SPDX-License-Identifier: Apache-2.0
"""Gemma 4, dense: embeddings a layer, shared keys and values, two head sizes."""

from transformers import Gemma4TextConfig

from ._tiny import rope, tiny


def config():
    return Gemma4TextConfig(
        **tiny(
            num_hidden_layers=6,
            sliding_window=10,
            tie_word_embeddings=True,
            final_logit_softcapping=6.0,
            layer_types=["sliding_attention", "sliding_attention", "full_attention"] * 2,
            global_head_dim=32,
            vocab_size_per_layer_input=96,
            hidden_size_per_layer_input=16,
            num_kv_shared_layers=3,
            use_double_wide_mlp=False,
            rope_parameters={
                "full_attention": rope(50000.0, "proportional", partial_rotary_factor=0.25),
                "sliding_attention": rope(10000.0),
            },
        )
    )
