# SPDX-License-Identifier: Apache-2.0
"""Grammars: answers that follow a form."""
import ctypes
import json
from typing import Any, Mapping, Optional, Union

from ._library import call, lib
from .tokenizer import Tokenizer


class Grammar:
    """A compiled grammar, from GBNF. Immutable: any number of threads may use it.

    tokenizer: resolves tokens that the grammar gives by name."""

    def __init__(self, gbnf: str, tokenizer: Optional[Tokenizer] = None) -> None:
        self._pointer: Optional[int] = None
        data, pointer = gbnf.encode(), ctypes.c_void_p()
        call(lib.md_grammar_new, data, len(data), tokenizer._p if tokenizer else None, ctypes.byref(pointer))
        self._pointer = pointer.value

    @classmethod
    def from_schema(cls, schema: Union[str, bool, Mapping[str, Any]]) -> 'Grammar':
        """From a JSON Schema, as text or as what json.loads makes of one."""
        data = (schema if isinstance(schema, str) else json.dumps(schema)).encode()
        pointer = ctypes.c_void_p()
        call(lib.md_grammar_from_schema, data, len(data), ctypes.byref(pointer))
        g = cls.__new__(cls)
        g._pointer = pointer.value
        return g

    @property
    def text(self) -> str:
        """The grammar as GBNF."""
        return str(lib.md_grammar_text(self._pointer).decode('utf-8', 'replace'))

    def __del__(self) -> None:
        if getattr(self, '_pointer', None):
            lib.md_grammar_free(self._pointer)
            self._pointer = None


class Constraint:
    """One answer's way through a grammar."""

    def __init__(self, grammar: Grammar, tokenizer: Tokenizer, n_vocab: int) -> None:
        self._pointer: Optional[int] = None
        self._keep = grammar, tokenizer
        pointer = ctypes.c_void_p()
        call(lib.md_constraint_new, grammar._pointer, tokenizer._p, n_vocab, ctypes.byref(pointer))
        self._pointer = pointer.value

    def __del__(self) -> None:
        if getattr(self, '_pointer', None):
            lib.md_constraint_free(self._pointer)
            self._pointer = None
