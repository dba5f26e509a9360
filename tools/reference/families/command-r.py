# SPDX-License-Identifier: Apache-2.0
"""Command-R: one layer norm without bias feeds both branches; logits scaled."""

from transformers import CohereConfig

from ._tiny import rope, tiny


def config():
    return CohereConfig(
        **tiny(
            head_dim="absent",
            rms_norm_eps="absent",
            layer_norm_eps=3e-2,
            logit_scale=0.5,
            tie_word_embeddings=True,
            rope_parameters=rope(),
        )
    )
