# SPDX-License-Identifier: Apache-2.0
"""The shared library: where it is, its prototypes, statuses as exceptions."""
import ctypes
import ctypes.util
import glob
import os
from typing import Any, Callable

from . import _api
from .errors import exception_of

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


def text_at(address: 'int | None', n: int) -> bytes:
    return ctypes.string_at(address, n) if address and n else b''


def path_bytes(path: 'str | bytes | os.PathLike[Any]') -> bytes:
    name = os.fsencode(path)
    if b'\0' in name:
        raise ValueError('a file name cannot hold a zero byte')
    return name
