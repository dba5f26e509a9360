# SPDX-License-Identifier: Apache-2.0
"""Models: describing and opening them."""
import ctypes
import json
import os
import weakref
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from . import _api
from ._library import Handle, Progress, call, lib, path_bytes, progress_of, text_at
from .chat import Message, Rendered, Template
from .embed import embed
from .errors import ArgumentError, UnsupportedError
from .session import Session
from .tokenizer import Tokenizer

Path = Union[str, bytes, 'os.PathLike[Any]']
Overrides = Mapping[str, Union[bool, int, float, str]]


@dataclass(frozen=True)
class ModelInfo:
    """What a header tells. Counts of experts are 0 for dense models."""
    arch: str
    name: str
    tokenizer: str
    router: str
    n_layer: int
    n_embd: int
    n_vocab: int
    n_ctx_train: int
    n_head: int
    n_head_kv: int
    n_head_dim: int
    n_ff: int
    n_expert: int
    n_expert_used: int
    n_expert_shared: int
    n_ff_expert: int
    has_chat_template: bool
    causal: bool
    """False: every position sees the whole text, as in encoders."""
    has_logits: bool
    """False: there is no output matrix, so the model gives vectors and no answers."""
    pooling: str
    """What Model.embed does unless told: "mean", "cls", "last", "none" or "rank"."""
    weights: int
    weights_active: int
    file_bytes: int
    parts: Dict[str, Dict[str, int]]
    """By part ("routed experts"...): tensors, weights, bytes."""


@dataclass(frozen=True)
class TensorInfo:
    name: str
    type: str
    shape: Tuple[int, ...]
    """Innermost first."""
    bytes: int
    part: str


@dataclass(frozen=True)
class Description:
    """A file's header: `describe`."""
    info: ModelInfo
    metadata: Dict[str, Any]
    """Arrays and long texts show their front only."""
    tensors: List[TensorInfo]


def _info(c: Any) -> ModelInfo:
    values = {}
    for name, _ in c._fields_:
        if name in ModelInfo.__dataclass_fields__:
            v = getattr(c, name)
            values[name] = v.decode('utf-8', 'replace') if isinstance(v, bytes) else v
    values['pooling'] = lib.md_pooling_name(c.pooling).decode()
    parts = {lib.md_part_name(i).decode(): {f: getattr(p, f) for f, _ in p._fields_} for i, p in enumerate(c.part)}
    return ModelInfo(parts={k: v for k, v in parts.items() if v['tensors']}, **values)


def _override(key: str, value: Union[bool, int, float, str]) -> bytes:
    kind = {bool: 'bool', int: 'int', float: 'float', str: 'str'}.get(type(value))
    if kind is None:
        raise ArgumentError(f'override {key!r}: a {type(value).__name__} is not a bool, int, float or str')
    text = f'{key}={kind}:{str(value).lower() if kind == "bool" else value}'
    if '\0' in text or '=' in key:
        raise ArgumentError(f'override {key!r}: no zero bytes, and no "=" in a key')
    return text.encode()


def _model_args(overrides: Optional[Overrides]) -> Any:
    texts = [_override(k, v) for k, v in (overrides or {}).items()]
    return _api.md_model_args(override=(ctypes.c_char_p * len(texts))(*texts), n_override=len(texts))


def describe(path: Path, *, overrides: Optional[Overrides] = None) -> Description:
    """Reads a model's header; no weights."""
    d = ctypes.c_void_p()
    args = _model_args(overrides)
    call(lib.md_model_describe, path_bytes(path), ctypes.byref(args), ctypes.byref(d))
    try:
        metadata, tensors = {}, []
        m, t = _api.md_metadata_info(), _api.md_tensor_info()
        for i in range(lib.md_description_n_metadata(d)):
            lib.md_description_metadata(d, i, ctypes.byref(m))
            text = m.value.decode('utf-8', 'replace')
            try:
                metadata[m.key.decode('utf-8', 'replace')] = json.loads(text, strict=False)
            except ValueError:
                metadata[m.key.decode('utf-8', 'replace')] = text
        for i in range(lib.md_description_n_tensors(d)):
            lib.md_description_tensor(d, i, ctypes.byref(t))
            tensors.append(TensorInfo(t.name.decode('utf-8', 'replace'), t.type.decode(), tuple(t.dim[:t.n_dims]), t.bytes,
                                      lib.md_part_name(t.part).decode()))
        return Description(_info(lib.md_description_info(d).contents), metadata, tensors)
    finally:
        lib.md_description_free(d)


class Model(Handle):
    """An open model: weights mapped, shared by any number of sessions and threads. A context manager.

    overrides: metadata that counts in place of the file's. progress: called with (bytes done, bytes in all); returning
    False stops with CancelledError."""
    _kind = 'model'

    def __init__(self, path: Path, *, overrides: Optional[Overrides] = None, progress: Optional[Progress] = None) -> None:
        self._sessions: 'weakref.WeakSet[Session]' = weakref.WeakSet()
        self._template: Optional[Template] = None
        pointer, args = ctypes.c_void_p(), _model_args(overrides)
        with progress_of(progress) as args.progress:
            call(lib.md_model_open, path_bytes(path), ctypes.byref(args), ctypes.byref(pointer))
        self._pointer = pointer.value

    @property
    def info(self) -> ModelInfo:
        return _info(lib.md_model_get_info(self._p).contents)

    @property
    def notes(self) -> List[str]:
        """What was noticed while opening, such as tensors that are not used."""
        return [lib.md_model_note(self._p, i).decode('utf-8', 'replace') for i in range(lib.md_model_n_notes(self._p))]

    @property
    def tokenizer(self) -> Tokenizer:
        pointer = lib.md_model_tokenizer(self._p)
        if not pointer:
            raise UnsupportedError(lib.md_model_tokenizer_error(self._p).decode('utf-8', 'replace'))
        return Tokenizer(self, pointer)

    @property
    def chat_template(self) -> Optional[str]:
        """The source of the model's own template."""
        n = ctypes.c_size_t()
        address = lib.md_model_chat_template(self._p, ctypes.byref(n))
        return text_at(address, n.value).decode('utf-8', 'replace') if address is not None else None

    def chat(self, messages: Sequence[Message], **more: Any) -> Rendered:
        """The prompt that the model's own template makes of messages; arguments as of Template.render."""
        if self._template is None:
            source = self.chat_template
            if source is None:
                raise UnsupportedError('the model has no chat template: use Template')
            self._template = Template(source)
        return self._template.render(messages, self.tokenizer, **more)

    def session(self, **options: Any) -> Session:
        """A new session; options as of Session."""
        return Session(self, **options)

    def embed(self, texts: Sequence[Union[str, bytes]], *, pooling: str = 'model', normalize: bool = True,
              threads: int = 0, progress: Optional[Progress] = None) -> List[Any]:
        """A vector of each text: a memoryview of n_embd floats. With pooling "none" a list with one of each token.

        pooling: "mean", "cls", "last", "none", or "model" for what the model was made for. normalize: bring vectors to
        length 1. threads: 0 takes all physical cores. progress: called with (tokens done, tokens in all); returning False
        stops with CancelledError. Texts share steps, so many in one call are faster than one in each; no bit differs."""
        return embed(self, texts, pooling, normalize, threads, progress)

    def close(self) -> None:
        """Closes the model and its sessions. May be called again."""
        for session in list(self._sessions):
            session.close()
        if self._pointer:
            lib.md_model_close(self._pointer)
            self._pointer = None
