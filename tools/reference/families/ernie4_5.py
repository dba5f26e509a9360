# SPDX-License-Identifier: Apache-2.0
"""ERNIE 4.5, dense."""

from transformers import Ernie4_5Config

from ._tiny import rope, tiny


def config():
    return Ernie4_5Config(**tiny(rope_parameters=rope()))
