# SPDX-License-Identifier: Apache-2.0
"""OLMo 3: OLMo 2 with windows; the rope of the full layers is scaled, that of the windows is not."""

from transformers import Olmo3Config

from ._tiny import rope, tiny, yarn

YARN = yarn(attention_factor=1.1386294361119891)
EDIT = {"rope_parameters": YARN}  # published files say it once for all layers


def config():
    return Olmo3Config(
        **tiny(
            head_dim="absent",
            num_hidden_layers=4,
            max_position_embeddings=4096,
            sliding_window=10,
            rope_parameters={"full_attention": YARN, "sliding_attention": rope(100.0)},
        )
    )
