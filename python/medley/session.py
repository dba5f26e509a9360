# SPDX-License-Identifier: Apache-2.0
"""Sessions and sequences: running a model."""
import array
import ctypes
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Iterable, Iterator, List, Optional, Sequence as Seq, TYPE_CHECKING, Union

from . import _api
from ._library import Handle, call, lib, path_bytes, text_at
from .errors import ArgumentError, UnsupportedError
from .generate import Generation, Sampler, _Stream, floats
from .grammar import Constraint, Grammar

if TYPE_CHECKING:
    from .model import Model, Path

_KV_TYPES = {'f32': _api.MD_KV_F32, 'f16': _api.MD_KV_F16, 'q8_0': _api.MD_KV_Q8_0}
_STATES = {'normal': _api.MD_EXPERT_NORMAL, 'off': _api.MD_EXPERT_OFF, 'forced': _api.MD_EXPERT_FORCED}


def logits_hash(rows: Iterable[Any]) -> int:
    """Folds rows of logits into the hash that medley prints."""
    h = _api.MD_HASH_START
    for row in rows:
        values = floats(row)
        h = lib.md_logits_hash(h, values, len(values))
    return int(h)


@dataclass(frozen=True)
class Saved:
    """What Sequence.load found beside the state."""
    tokens: List[int]
    text: bytes
    restored: bool
    """False: made under another model file, numerics key or release, so the sequence is as it was."""


class Session(Handle):
    """KV pages, threads and scratch for one model. One thread at a time; what would break that raises ArgumentError.

    threads: 0 takes all physical cores. positions: room of all sequences together. kv_type: "f32", "f16" or "q8_0".
    rows: most tokens of one step. logits: most rows of a step that give logits. memory: refuse to take more bytes."""
    _kind = 'session'

    def __init__(self, model: 'Model', *, threads: int = 0, positions: Optional[int] = None, rows: Optional[int] = None,
                 logits: int = 1, sequences: int = 8, kv_type: Optional[str] = None, memory: int = 0,
                 isa: Optional[str] = None) -> None:
        if kv_type is not None and kv_type not in _KV_TYPES:
            raise ArgumentError(f'kv_type {kv_type!r}: it must be one of {", ".join(_KV_TYPES)}')
        args = _api.md_session_args()
        lib.md_session_args_default(model._p, ctypes.byref(args))
        args.n_threads, args.n_logits, args.n_sequences = threads, logits, sequences
        args.memory, args.isa = memory, isa.encode() if isa else None
        if rows is not None:  # else as suits the model
            args.n_rows = rows
        if kv_type is not None:
            args.kv_type = _KV_TYPES[kv_type]
        if positions is not None:
            args.n_positions = positions
        self._open(model, args)

    @classmethod
    def _for_texts(cls, model: 'Model', longest: int, threads: int) -> 'Session':
        """One that suits md_embed, for texts of up to `longest` tokens."""
        args = _api.md_session_args()
        lib.md_embed_session_args(model._p, longest, ctypes.byref(args))
        args.n_threads = threads
        session = cls.__new__(cls)
        session._open(model, args)
        return session

    def _open(self, model: 'Model', args: Any) -> None:
        self._busy = threading.Lock()
        self._dropped: List[int] = []  # sequences that went while a step was under way
        self._stream: Optional[_Stream] = None  # of the answer under way
        self.model = model
        self._n_logits, self._n_vocab = args.n_logits, model.info.n_vocab
        pointer = ctypes.c_void_p()
        call(lib.md_session_new, model._p, ctypes.byref(args), ctypes.byref(pointer))
        self._pointer = pointer.value
        model._sessions.add(self)

    def _acquire(self) -> None:
        if not self._busy.acquire(blocking=False):
            raise ArgumentError('the session is busy with an answer: wait for its end, or close it')
        self._free_dropped()

    def _release(self) -> None:
        self._busy.release()

    def _free_dropped(self) -> None:
        while self._dropped:
            pointer = self._dropped.pop()
            if self._pointer:
                lib.md_seq_free(pointer)

    @contextmanager
    def _use(self) -> Iterator[int]:
        self._acquire()
        try:
            yield self._p
        finally:
            self._release()

    @property
    def threads(self) -> int:
        return int(lib.md_session_threads(self._p))

    @property
    def free_positions(self) -> int:
        with self._use() as p:
            return int(lib.md_session_free_positions(p))

    def sequence(self) -> 'Sequence':
        """A new, empty sequence."""
        pointer = ctypes.c_void_p()
        with self._use() as p:
            call(lib.md_seq_new, p, ctypes.byref(pointer))
        return Sequence(self, pointer.value or 0)

    def close(self) -> None:
        """Frees the session and its sequences; an answer under way is stopped. May be called again."""
        stream = self._stream
        if stream is not None:
            stream.stop.set()
        with self._busy:
            if self._pointer:
                lib.md_session_free(self._pointer)
                self._pointer = None


class Sequence(Handle):
    """A text that the model has read: its KV cache. Made by Session.sequence and fork. len() is its positions."""
    _kind = 'sequence'

    def __init__(self, session: Session, pointer: int) -> None:
        self._session, self._pointer = session, pointer

    @property
    def _p(self) -> int:
        self._session._p
        return super()._p

    def __len__(self) -> int:
        return int(lib.md_seq_length(self._p))

    def __bool__(self) -> bool:
        return True

    def eval(self, tokens: Seq[int], *, logits: Optional[str] = 'last') -> Any:
        """Reads tokens. logits: "last" gives the last token's logits, "all" a list with each one's, None nothing.

        Logits are a memoryview of n_vocab floats, a copy; numpy.asarray() makes an array of it without another."""
        if logits not in ('last', 'all', None):
            raise ArgumentError(f'logits {logits!r}: it must be "last", "all" or None')
        if len(tokens) == 0:
            raise ArgumentError('there are no tokens to read')
        n_vocab, rows = self._session._n_vocab, []  # type: int, List[memoryview]
        with self._session._use() as s:
            step = lib.md_session_max_rows(s)
            if logits == 'all':
                step = min(step, self._session._n_logits)
            before = len(self)
            try:
                for at in range(0, len(tokens), step):
                    rows += self._step(s, tokens[at:at + step], at + step >= len(tokens), logits, n_vocab)
            except Exception:
                if len(self) > before:  # earlier steps of the same call
                    call(lib.md_seq_trim, self._p, before)
                raise
        return rows if logits == 'all' else rows[-1] if logits else None

    def _step(self, session: int, tokens: Seq[int], is_last: bool, logits: Optional[str], n_vocab: int) -> List[memoryview]:
        n = len(tokens)
        wanted = [logits == 'all' or (logits == 'last' and is_last and i == n - 1) for i in range(n)]
        batch = _api.md_batch(n=n, token=(ctypes.c_int32 * n)(*tokens), seq=(ctypes.c_void_p * n)(*[self._p] * n),
                              want=(ctypes.c_uint8 * n)(*(_api.MD_WANT_LOGITS if w else 0 for w in wanted)))
        call(lib.md_decode, session, ctypes.byref(batch))
        rows = []
        for i in range(n):
            if wanted[i]:
                row = array.array('f', bytes(4 * n_vocab))
                ctypes.memmove(row.buffer_info()[0], lib.md_step_logits(session, i), 4 * n_vocab)
                rows.append(memoryview(row))
        return rows

    def generate(self, prompt: Union[str, Seq[int]], *, max_tokens: Optional[int] = None, stop: Seq[str] = (),
                 sampler: Optional[Sampler] = None, special: bool = False, ignore_eog: bool = False,
                 grammar: Optional[Grammar] = None, **settings: Any) -> Generation:
        """Reads a prompt and answers: an iterator over pieces of text.

        prompt: tokens, or a text that is taken as it is (Model.chat makes a prompt of messages). sampler: or its settings
        right here, such as temperature=0. stop: texts before which the answer ends. special: show special tokens.
        grammar: what the answer must follow."""
        model = self._session.model
        if isinstance(prompt, str):
            prompt = model.tokenizer.encode(prompt, bos=len(self) == 0, inner=len(self) > 0)
        if sampler is None:
            sampler = Sampler(model.info.n_vocab, **settings)
        elif settings:
            raise ArgumentError(f'a sampler was given, and settings beside it: {", ".join(settings)}')
        constraint = Constraint(grammar, model.tokenizer, model.info.n_vocab) if grammar else None
        return Generation(self, prompt, sampler, max_tokens, stop, special, ignore_eog, constraint)

    def fork(self) -> 'Sequence':
        """A new sequence with the same past; pages are shared until one of the two writes."""
        pointer = ctypes.c_void_p()
        with self._session._use():
            call(lib.md_seq_fork, self._p, ctypes.byref(pointer))
        return Sequence(self._session, pointer.value or 0)

    def trim(self, n: int) -> None:
        """Forgets all positions from n on."""
        with self._session._use():
            call(lib.md_seq_trim, self._p, n)

    def mask_expert(self, layer: int, expert: int, state: str) -> None:
        """"off", "forced" or "normal", while the sequence is empty."""
        if state not in _STATES:
            raise ArgumentError(f'expert state {state!r}: it must be one of {", ".join(_STATES)}')
        with self._session._use():
            call(lib.md_seq_mask_expert, self._p, layer, expert, _STATES[state])

    @property
    def numerics_key(self) -> str:
        """Everything but file and tokens that its logits depend on."""
        buffer = ctypes.create_string_buffer(512)
        lib.md_seq_numerics_key(self._p, buffer, len(buffer))
        return buffer.value.decode()

    def save(self, path: 'Path', *, tokens: Seq[int] = (), text: Union[str, bytes] = b'') -> None:
        """Writes the state to a file. tokens: all of the sequence's, to find them again. text: anything else."""
        data = text.encode() if isinstance(text, str) else text
        args = _api.md_seq_save_args(token=(ctypes.c_int32 * len(tokens))(*tokens), n_tokens=len(tokens), text=data,
                                     n_text=len(data))
        with self._session._use():
            call(lib.md_seq_save, self._p, ctypes.byref(args), path_bytes(path))

    def load(self, path: 'Path') -> Saved:
        """Becomes what was saved, bit for bit. What was made under another model file, numerics key or release is not
        taken; then `restored` is False, and tokens and text can be run anew."""
        saved, n = ctypes.c_void_p(), ctypes.c_size_t()
        call(lib.md_saved_open, path_bytes(path), ctypes.byref(saved))
        try:
            restored = True
            with self._session._use():
                try:
                    call(lib.md_seq_load, self._p, saved)
                except UnsupportedError:
                    restored = False
            first = lib.md_saved_tokens(saved, ctypes.byref(n))
            tokens = first[:n.value] if n.value else []
            return Saved(tokens, text_at(lib.md_saved_text(saved, ctypes.byref(n)), n.value), restored)
        finally:
            lib.md_saved_close(saved)

    def close(self) -> None:
        """Frees the sequence. May be called again."""
        pointer, self._pointer = self._pointer, 0
        if not pointer or not self._session._pointer:
            return
        self._session._dropped.append(pointer)
        if self._session._busy.acquire(blocking=False):  # else whoever holds it frees it next time
            try:
                self._session._free_dropped()
            finally:
                self._session._busy.release()
