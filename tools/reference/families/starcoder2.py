# SPDX-License-Identifier: Apache-2.0
"""StarCoder 2: layer norms, biases, a feed-forward without gate."""

from transformers import Starcoder2Config

from ._tiny import rope, tiny


def config():
    return Starcoder2Config(
        **tiny(
            head_dim="absent",
            rms_norm_eps="absent",
            norm_epsilon=3e-2,
            sliding_window=None,
            use_bias=True,
            hidden_act="gelu_pytorch_tanh",
            rope_parameters=rope(),
        )
    )
