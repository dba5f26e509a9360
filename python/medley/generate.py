# SPDX-License-Identifier: Apache-2.0
"""Answers: how tokens are chosen, and the stream of text."""
import ctypes
import queue
import threading
from dataclasses import dataclass
from typing import Any, Iterator, List, Mapping, Optional, Sequence as Seq, TYPE_CHECKING

from . import _api
from ._library import call, lib, text_at
from .errors import ArgumentError
from .grammar import Constraint

if TYPE_CHECKING:
    from .session import Sequence, Session


def floats(values: Any) -> 'ctypes.Array[ctypes.c_float]':
    """A copy of 32-bit floats that offer the buffer protocol."""
    view = memoryview(values)
    if view.format not in ('f', '<f') or not view.c_contiguous:
        raise ArgumentError(f'logits must be contiguous 32-bit floats, not of format {view.format!r}')
    return (ctypes.c_float * (view.nbytes // 4)).from_buffer_copy(view.cast('B'))


class Sampler:
    """Picks tokens. Settings are the fields of md_sampler_args: seed, temperature, top_k, top_p, min_p...; what is not
    given has the library's default. logit_bias: {token: bias}; -inf forbids a token."""

    def __init__(self, n_vocab: int, *, logit_bias: Optional[Mapping[int, float]] = None, **settings: Any) -> None:
        self._pointer: Optional[int] = None
        self._n_vocab = n_vocab
        args = _api.md_sampler_args()
        lib.md_sampler_args_default(ctypes.byref(args))
        known = [name for name, c in args._fields_ if name not in ('bias', 'n_bias')]
        keep: List[Any] = []  # arrays that args point to, until the sampler has been made
        for name, value in settings.items():
            if name not in known:
                raise ArgumentError(f'there is no sampler setting {name!r}: there are {", ".join(known)}')
            if isinstance(value, str):
                value = value.encode()
            elif isinstance(value, (list, tuple)):
                value = (ctypes.c_char_p * len(value))(*(v.encode() for v in value))
            keep.append(value)
            try:
                setattr(args, name, value)
            except TypeError as e:
                raise ArgumentError(f'sampler setting {name!r}: {e}') from None
        items = [_api.md_logit_bias(token, bias) for token, bias in (logit_bias or {}).items()]
        biases = (_api.md_logit_bias * len(items))(*items)
        args.bias, args.n_bias = biases, len(biases)
        pointer = ctypes.c_void_p()
        call(lib.md_sampler_new, ctypes.byref(args), n_vocab, ctypes.byref(pointer))
        self._pointer = pointer.value

    def accept(self, token: int) -> None:
        """Tells of a token of the prompt or the answer: what penalties look at."""
        lib.md_sampler_accept(self._pointer, token)

    def reset(self) -> None:
        lib.md_sampler_reset(self._pointer)

    def sample(self, logits: Any, position: int) -> int:
        """The token that follows `position`. logits: floats with the buffer protocol, such as Sequence.eval gives."""
        array = floats(logits)
        if len(array) != self._n_vocab:
            raise ArgumentError(f'{len(array)} logits were given to a sampler for {self._n_vocab} tokens')
        out = ctypes.c_int32()
        call(lib.md_sample, self._pointer, array, position, ctypes.byref(out))
        return out.value

    def __del__(self) -> None:
        if getattr(self, '_pointer', None):
            lib.md_sampler_free(self._pointer)
            self._pointer = None


@dataclass(frozen=True)
class Result:
    """How an answer went. finish: "eog", "stop", "length", "context", "cancelled" or "grammar"."""
    finish: str
    tokens: List[int]
    n_prompt: int
    prompt_seconds: float
    generate_seconds: float
    logits_hash: int


class _Stream:
    """What the thread of an answer and its reader share. The thread knows nothing of the Generation, so that dropping
    that one stops it."""

    def __init__(self) -> None:
        self.pieces: 'queue.SimpleQueue[Optional[bytes]]' = queue.SimpleQueue()  # None: the answer is over
        self.stop = threading.Event()
        self.result: Optional[Result] = None
        self.error: Optional[BaseException] = None


def _run(stream: _Stream, session: 'Session', pointer: int, args: Any, _keep: Any) -> None:
    out = _api.md_generate_result()
    try:
        call(lib.md_generate, pointer, ctypes.byref(args), ctypes.byref(out))
        tokens = lib.md_generated_tokens(pointer)[:out.n_generated] if out.n_generated else []
        stream.result = Result(lib.md_finish_name(out.finish).decode(), tokens, out.n_prompt, out.prompt_seconds,
                               out.generate_seconds, out.logits_hash)
    except BaseException as e:
        stream.error = e
    finally:
        session._stream = None
        session._release()
        stream.pieces.put(None)


class Generation:
    """An answer under way: iterate over it for pieces of text. Made by Sequence.generate.

    The library runs in a thread of its own until the answer ends; the session is busy for so long. close(), which leaving
    a `with` block and dropping the object do too, stops it. After the end `result` tells how it went."""

    def __init__(self, sequence: 'Sequence', prompt: Seq[int], sampler: Sampler, max_tokens: Optional[int], stop: Seq[str],
                 special: bool, ignore_eog: bool, constraint: Optional[Constraint] = None) -> None:
        self._thread: Optional[threading.Thread] = None
        self._stream = stream = _Stream()
        self._over = False
        texts = [s.encode() for s in stop]
        if any(b'\0' in t for t in texts):
            raise ArgumentError('a stop string cannot hold a zero byte')
        fields = dict(_api.md_generate_args._fields_)

        def on_text(_user: Any, text: Optional[int], n: int) -> bool:
            if n:
                stream.pieces.put(text_at(text, n))
            return not stream.stop.is_set()

        def on_prompt(_user: Any, _done: int, _total: int) -> bool:
            return not stream.stop.is_set()
        args = _api.md_generate_args(
            prompt=(ctypes.c_int32 * len(prompt))(*prompt), n_prompt=len(prompt),
            max_tokens=-1 if max_tokens is None else max_tokens, sampler=sampler._pointer,
            stop=(ctypes.c_char_p * len(texts))(*texts), n_stop=len(texts), special=special, ignore_eog=ignore_eog,
            constraint=constraint._pointer if constraint else None,
            on_text=fields['on_text'](on_text), on_prompt=fields['on_prompt'](on_prompt))
        session = sequence._session
        session._acquire()
        try:
            self._thread = threading.Thread(target=_run, daemon=True,
                                            args=(stream, session, sequence._p, args, (sampler, constraint)))
            session._stream = stream
            self._thread.start()
        except BaseException:
            session._stream = None
            session._release()
            raise
        self._sequence = sequence  # it stays while its answer is wanted

    @property
    def result(self) -> Optional[Result]:
        """How it went, once it is over; None before that and after an error."""
        return self._stream.result

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        piece = None if self._over else self._stream.pieces.get()
        if piece is not None:
            return piece.decode('utf-8', 'replace')
        self._over = True
        self._join()
        error, self._stream.error = self._stream.error, None
        if error is not None:
            raise error
        raise StopIteration

    def _join(self) -> None:
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def text(self) -> str:
        """All that is still to come."""
        return ''.join(self)

    def close(self) -> None:
        """Stops the answer and waits until the library has let go of the session. What was said stays in the sequence."""
        self._stream.stop.set()
        self._join()

    def __enter__(self) -> 'Generation':
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, '_stream'):
            self._stream.stop.set()
