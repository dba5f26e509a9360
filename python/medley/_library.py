# SPDX-License-Identifier: Apache-2.0
"""The shared library: where it is, its prototypes, statuses as exceptions, and what it hands out."""
import ctypes
import ctypes.util
import glob
import os
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import Any, Callable, Iterator, List, Optional, TypeVar

from . import _api
from .errors import ArgumentError, exception_of

Progress = Callable[[int, int], Optional[bool]]

__version__ = f'{_api.MD_VERSION_MAJOR}.{_api.MD_VERSION_MINOR}.{_api.MD_VERSION_PATCH}'


def _path() -> str:
    """MEDLEY_LIBRARY, the library inside this package (a wheel), or the system's."""
    here = os.path.dirname(os.path.abspath(__file__))
    bundled = os.path.join(here, 'libmedley.so')
    found = os.environ.get('MEDLEY_LIBRARY') or (bundled if os.path.exists(bundled) else ctypes.util.find_library('medley'))
    if not found:
        raise ImportError('libmedley was not found: install it, or name the file in MEDLEY_LIBRARY')
    return found


def _load() -> ctypes.CDLL:
    # What a wheel brings for the library to link with: one that is loaded already is the one that is used.
    for needed in sorted(glob.glob(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'libs', '*.so*'))):
        ctypes.CDLL(needed, mode=ctypes.RTLD_GLOBAL)
    lib = ctypes.CDLL(_path())
    for name, (result, parameters) in _api.FUNCTIONS.items():
        try:
            fn = getattr(lib, name)
        except AttributeError:
            raise ImportError(f'{lib._name} has no {name}: this module was made for medley {__version__}') from None
        fn.restype, fn.argtypes = result, parameters
    version = lib.md_version().decode()
    if version != __version__:
        raise ImportError(f'{lib._name} is medley {version}, and this module was made for {__version__}')
    return lib


lib = _load()


def call(fn: Callable[..., int], *args: Any) -> None:
    """Calls a function that returns a status and takes an md_error last; raises what it reports."""
    err = _api.md_error()
    status = fn(*args, ctypes.byref(err))
    if status != _api.MD_OK:
        raise exception_of(status, err.message.decode(errors='replace'))


@contextmanager
def progress_of(progress: Optional[Progress]) -> Iterator[Any]:
    """`progress` in C's form, for calls inside the `with` block. What it raises cannot pass through C: it stops the work,
    and comes out of the block. So does an interrupt, which Python notices only while it runs."""
    failed: List[BaseException] = []

    @_api.md_progress_fn
    def on_progress(_user: Any, done: int, total: int) -> bool:
        try:
            return progress is None or progress(done, total) is not False
        except BaseException as e:
            failed.append(e)
            return False
    try:
        yield on_progress
    except Exception:
        if failed:
            raise failed[0] from None
        raise


_H = TypeVar('_H', bound='Handle')


class Handle(ABC):
    """Something of the library that close() gives back: a context manager, closed at the latest when it is dropped."""
    _kind: str
    _pointer: Optional[int] = None

    @property
    def _p(self) -> int:
        if not self._pointer:
            raise ArgumentError(f'the {self._kind} was closed')
        return self._pointer

    @abstractmethod
    def close(self) -> None:
        """Gives it back. May be called again."""

    def __enter__(self: _H) -> _H:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __del__(self) -> None:
        if self._pointer:
            self.close()


def text_at(address: 'int | None', n: int) -> bytes:
    return ctypes.string_at(address, n) if address and n else b''


def path_bytes(path: 'str | bytes | os.PathLike[Any]') -> bytes:
    name = os.fsencode(path)
    if b'\0' in name:
        raise ValueError('a file name cannot hold a zero byte')
    return name
