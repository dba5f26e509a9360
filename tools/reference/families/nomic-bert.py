# SPDX-License-Identifier: Apache-2.0
"""nomic-bert: BERT with rope, a gated feed-forward and no biases. Values are the last hidden states."""

from transformers import NomicBertConfig

from ._tiny import rope, tiny

AUTO = "AutoModel"
POOLING = "cls"
EDIT = {  # as in the published config.json
    "n_positions": 8192,
    "max_trained_positions": 2048,
    "activation_function": "swiglu",
    "causal": False,
    "qkv_proj_bias": False,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "prenorm": False,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None,
    "rotary_emb_base": 1000,
    "n_embd": 64,
    "n_inner": 80,
    "n_head": 4,
    "n_layer": 3,
    "layer_norm_epsilon": 3e-2,
}


def config():
    return NomicBertConfig(
        **tiny(
            head_dim=16,
            rms_norm_eps="absent",
            layer_norm_eps=3e-2,
            num_key_value_heads="absent",
            pad_token_id=0,
            type_vocab_size=2,
            rope_parameters=rope(1000.0),
        )
    )


def forward(model, ids):
    return model(input_ids=ids).last_hidden_state
