# SPDX-License-Identifier: Apache-2.0
"""Text to token ids and back."""
import ctypes
from typing import Any, Iterable, List, Optional, Union

from . import _api
from ._library import call, lib, text_at


class Tokenizer:
    """The tokenizer of a model. Immutable: any number of threads may use it. Lives as long as its model is open."""

    def __init__(self, owner: Any, pointer: int) -> None:
        self._owner, self._pointer = owner, pointer

    @property
    def _p(self) -> int:
        self._owner._p  # raises when the model was closed
        return self._pointer

    def encode(self, text: Union[str, bytes], *, bos: bool = True, special: bool = False, inner: bool = False) -> List[int]:
        """The tokens of a text.

        bos: put the token that the model wants in front there (and the one at the end). special: names of special tokens
        in the text become those tokens. inner: the text continues an earlier piece."""
        data = text.encode('utf-8', 'surrogateescape') if isinstance(text, str) else bytes(text)
        flags = (bos and _api.MD_TOKENIZE_BOS) | (special and _api.MD_TOKENIZE_SPECIAL) | (inner and _api.MD_TOKENIZE_INNER)
        out = _api.md_tokens()
        try:
            call(lib.md_tokenize, self._p, data, len(data), flags, ctypes.byref(out))
            return out.id[:out.n] if out.n else []
        finally:
            lib.md_tokens_done(ctypes.byref(out))

    def decode(self, ids: Iterable[int], *, special: bool = False, first: bool = True) -> str:
        """The text of tokens; what is not valid UTF-8 is U+FFFD.

        special: show special tokens by name. first: the tokens start a text, so a leading space that the tokenizer added
        is dropped."""
        d = lib.md_detok_new(self._p, special, first)
        if not d:
            raise MemoryError('out of memory for a detokenizer')
        text, n, parts = ctypes.c_void_p(), ctypes.c_size_t(), []
        try:
            for i in ids:
                call(lib.md_detok_push, d, i, ctypes.byref(text), ctypes.byref(n))
                parts.append(text_at(text.value, n.value))
            call(lib.md_detok_finish, d, ctypes.byref(text), ctypes.byref(n))
            parts.append(text_at(text.value, n.value))
        finally:
            lib.md_detok_free(d)
        return b''.join(parts).decode('utf-8', 'replace')

    def token_bytes(self, token: int) -> Optional[bytes]:
        """The token's bytes; special tokens give their name. None for an id out of range."""
        n = ctypes.c_size_t()
        address = lib.md_token_bytes(self._p, token, ctypes.byref(n))
        return text_at(address, n.value) if address is not None else None

    def find(self, name: Union[str, bytes]) -> Optional[int]:
        """The id of a token by its exact stored name, or None."""
        data = name.encode() if isinstance(name, str) else name
        token = lib.md_token_find(self._p, data, len(data))
        return token if token >= 0 else None

    def is_special(self, token: int) -> bool:
        return bool(lib.md_token_is_special(self._p, token))

    def is_eog(self, token: int) -> bool:
        """Does this token end an answer?"""
        return bool(lib.md_token_is_eog(self._p, token))

    def __len__(self) -> int:
        return int(lib.md_tokenizer_size(self._p))

    @property
    def bos(self) -> Optional[int]:
        token = lib.md_token_bos(self._p)
        return token if token >= 0 else None

    @property
    def eos(self) -> Optional[int]:
        token = lib.md_token_eos(self._p)
        return token if token >= 0 else None

    @property
    def adds_bos(self) -> bool:
        return bool(lib.md_tokenizer_adds_bos(self._p))

    @property
    def kind(self) -> str:
        """"bpe", "spm"..."""
        return str(lib.md_tokenizer_kind(self._p).decode())
