# SPDX-License-Identifier: Apache-2.0
"""Ministral 3: yarn and a temperature that grows with the position."""

from transformers import Ministral3Config

from ._tiny import tiny, yarn


def config():
    return Ministral3Config(
        **tiny(
            sliding_window=None,
            rope_parameters=yarn(
                original_max_position_embeddings=16,
                beta_fast=1.5,
                beta_slow=0.2,
                mscale=1.0,
                mscale_all_dim=1.0,
                llama_4_scaling_beta=0.1,
            ),
        )
    )
