# SPDX-License-Identifier: Apache-2.0
"""Llama 4: chunked attention, no rope and temperature on every fourth layer, top-1 experts weighed at their input."""

from transformers import Llama4TextConfig

from ._tiny import rope, tiny


def config(chunk=8192, floor=8192, scale=0.1):
    return Llama4TextConfig(
        **tiny(
            num_hidden_layers=4,
            intermediate_size=48,
            intermediate_size_mlp=80,
            num_local_experts=4,
            num_experts_per_tok=1,
            interleave_moe_layer_step=2,
            use_qk_norm=True,
            attention_chunk_size=chunk,
            floor_scale=floor,
            attn_scale=scale,
            attn_temperature_tuning=True,
            no_rope_layers=[1, 1, 1, 0],
            rope_parameters=rope(),
        )
    )
