# SPDX-License-Identifier: Apache-2.0
"""OLMo 2: norms after each branch only, q/k norm over all heads."""

from transformers import Olmo2Config

from ._tiny import rope, tiny


def config():
    return Olmo2Config(**tiny(head_dim="absent", rope_parameters=rope()))
