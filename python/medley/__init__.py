# SPDX-License-Identifier: Apache-2.0
"""medley: mixture-of-experts language models on CPUs. A thin layer over the C library; docs/python.md has examples."""
from ._library import __version__
from .chat import Message, Rendered, Template
from .errors import (ArgumentError, CancelledError, Error, FileError, FormatError, InternalError, LimitError,
                     OutOfMemoryError, UnsupportedError)
from .generate import Generation, Result, Sampler
from .grammar import Grammar
from .model import Description, Model, ModelInfo, TensorInfo, describe
from .session import Saved, Sequence, Session, logits_hash
from .tokenizer import Tokenizer

__all__ = [
    'ArgumentError', 'CancelledError', 'Description', 'Error', 'FileError', 'FormatError', 'Generation', 'Grammar',
    'InternalError', 'LimitError', 'Message', 'Model', 'ModelInfo', 'OutOfMemoryError', 'Rendered', 'Result',
    'Sampler', 'Saved', 'Sequence', 'Session', 'Template', 'TensorInfo', 'Tokenizer', 'UnsupportedError',
    '__version__', 'describe', 'logits_hash',
]
