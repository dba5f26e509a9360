# SPDX-License-Identifier: Apache-2.0
"""Errors of the library as exceptions: one class a status, the library's own sentence as the text."""
from . import _api


class Error(Exception):
    """What all of them are. `str()` gives one sentence: what, where, what to do."""


class ArgumentError(Error, ValueError):
    """The call makes no sense: fix the call."""


class FileError(Error, OSError):
    """The system refused to read or write."""


class FormatError(Error, ValueError):
    """A file, prompt or template is malformed."""


class UnsupportedError(Error):
    """Well formed, but not something this build can do."""


class OutOfMemoryError(Error, MemoryError):
    """Memory could not be had."""


class LimitError(Error):
    """A stated limit was reached: context, batch, steps, output size."""


class CancelledError(Error):
    """A callback asked to stop."""


class InternalError(Error, RuntimeError):
    """A fault of the library's own."""


_CLASSES = {
    _api.MD_ERR_ARGUMENT: ArgumentError, _api.MD_ERR_IO: FileError, _api.MD_ERR_FORMAT: FormatError,
    _api.MD_ERR_UNSUPPORTED: UnsupportedError, _api.MD_ERR_MEMORY: OutOfMemoryError, _api.MD_ERR_LIMIT: LimitError,
    _api.MD_ERR_CANCELLED: CancelledError,
}


def exception_of(status: int, message: str) -> Error:
    return _CLASSES.get(status, InternalError)(message)
