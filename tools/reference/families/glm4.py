# SPDX-License-Identifier: Apache-2.0
"""GLM-4: interleaved rope on half of each head, norms after each branch."""

from transformers import Glm4Config

from ._tiny import rope, tiny


def config():
    return Glm4Config(**tiny(attention_bias=True, rope_parameters=rope(500.0, partial_rotary_factor=0.5)))
