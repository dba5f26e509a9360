# SPDX-License-Identifier: Apache-2.0
"""SmolLM3: every fourth layer has no rope."""

from transformers import SmolLM3Config

from ._tiny import rope, tiny


def config():
    return SmolLM3Config(**tiny(head_dim="absent", num_hidden_layers=4, rope_parameters=rope()))
