# SPDX-License-Identifier: Apache-2.0
"""Command-R+: as Command-R, with layer norms of queries and keys a head."""

from transformers import CohereConfig

from ._tiny import rope, tiny


def config():
    return CohereConfig(
        **tiny(
            head_dim="absent",
            num_hidden_layers=3,
            rms_norm_eps="absent",
            layer_norm_eps=3e-2,
            logit_scale=0.5,
            use_qk_norm=True,
            tie_word_embeddings=True,
            rope_parameters=rope(),
        )
    )
