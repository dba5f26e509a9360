# SPDX-License-Identifier: Apache-2.0
"""Chat templates: messages to a prompt."""
import ctypes
import json
import time
from dataclasses import dataclass
from typing import Any, List, Mapping, Optional, Sequence, Tuple, Union

from . import _api
from ._library import call, lib, text_at
from .tokenizer import Tokenizer

Message = Mapping[str, Any]


@dataclass(frozen=True)
class Rendered:
    """A prompt. text is all of it; tokens are its tokens, with special tokens only where the template itself wrote them."""
    text: str
    tokens: List[int]


def _c_messages(messages: Sequence[Message]) -> 'Tuple[Optional[ctypes.Array[Any]], bool]':
    """Messages that are a role and a text as the library's own; others go through JSON."""
    plain = all(set(m) <= {'role', 'content'} and isinstance(m.get('role'), str) and
                isinstance(m.get('content'), (str, type(None))) and '\0' not in m['role'] + (m.get('content') or '')
                for m in messages)
    if not plain:
        return None, False
    array = (_api.md_message * len(messages))()
    for c, m in zip(array, messages):
        c.role = m['role'].encode()
        c.content = m['content'].encode() if m.get('content') is not None else None
    return array, True


class Template:
    """A compiled Jinja chat template. Immutable: any number of threads may use it."""

    def __init__(self, source: Union[str, bytes]) -> None:
        data = source.encode() if isinstance(source, str) else source
        pointer = ctypes.c_void_p()
        self._pointer: Optional[int] = None
        call(lib.md_template_new, data, len(data), ctypes.byref(pointer))
        self._pointer = pointer.value

    def render(self, messages: Sequence[Message], tokenizer: Tokenizer, *, add_generation_prompt: bool = True,
               now: Optional[int] = None, **variables: Any) -> Rendered:
        """Renders messages and tokenizes the result.

        messages: mappings with "role" and "content", and whatever else the template knows ("tool_calls"...). now: Unix
        time for strftime_now, the present by default. variables: what else the template sees, such as tools=[...] or
        enable_thinking=False; anything that JSON can say."""
        array, plain = _c_messages(messages)
        if not plain:
            variables = {**variables, 'messages': list(messages)}

        def name(token: Optional[int]) -> bytes:
            return (tokenizer.token_bytes(token) if token is not None else None) or b''
        args = _api.md_chat_args(
            message=array, n_messages=len(messages) if plain else 0, add_generation_prompt=add_generation_prompt,
            bos_token=name(tokenizer.bos), eos_token=name(tokenizer.eos),
            extra_json=json.dumps(variables).encode() if variables else None, now=int(time.time()) if now is None else now)
        out, tokens = _api.md_rendered(), _api.md_tokens()
        try:
            call(lib.md_template_render, self._pointer, ctypes.byref(args), ctypes.byref(out))
            call(lib.md_rendered_tokenize, ctypes.byref(out), tokenizer._p, ctypes.byref(tokens))
            return Rendered(text_at(out.text, out.n).decode('utf-8', 'replace'), tokens.id[:tokens.n] if tokens.n else [])
        finally:
            lib.md_rendered_done(ctypes.byref(out))
            lib.md_tokens_done(ctypes.byref(tokens))

    def __del__(self) -> None:
        if getattr(self, '_pointer', None):
            lib.md_template_free(self._pointer)
            self._pointer = None
