# SPDX-License-Identifier: Apache-2.0
"""Vectors of texts."""
import ctypes
from itertools import islice
from typing import Any, List, Optional, Sequence as Seq, TYPE_CHECKING, Union

from . import _api
from ._library import Progress, call, lib, progress_of
from .errors import ArgumentError
from .session import Session

if TYPE_CHECKING:
    from .model import Model

_POOLINGS = {lib.md_pooling_name(p).decode(): p for p in range(_api.MD_POOLING_NONE, _api.MD_POOLING_MODEL + 1)}


def _inputs(model: 'Model', texts: Seq[Union[str, bytes]]) -> Any:
    tokenizer, inputs = model.tokenizer, (_api.md_embed_input * len(texts))()
    for i, text in enumerate(texts):
        ids = tokenizer.encode(text)
        inputs[i].token, inputs[i].n = (ctypes.c_int32 * len(ids))(*ids), len(ids)
    return inputs


def embed(model: 'Model', texts: Seq[Union[str, bytes]], pooling: str, normalize: bool, threads: int,
          progress: Optional[Progress]) -> List[Any]:
    """Model.embed."""
    if isinstance(texts, (str, bytes)):
        raise ArgumentError('a text was given where a list of texts is wanted')
    if pooling not in _POOLINGS:
        raise ArgumentError(f'pooling {pooling!r}: it must be one of {", ".join(_POOLINGS)}')
    if len(texts) == 0:
        return []
    inputs, info = _inputs(model, texts), model.info
    width = info.n_embd
    counts = [lib.md_embed_count(model._p, ctypes.byref(i), _POOLINGS[pooling]) for i in inputs]
    out = (ctypes.c_float * (sum(counts) * width))()
    args = _api.md_embed_args(pooling=_POOLINGS[pooling], raw=not normalize)
    with Session._for_texts(model, max([1, *(i.n for i in inputs)]), threads) as session, session._use() as s, \
            progress_of(progress) as args.progress:
        call(lib.md_embed, s, inputs, len(inputs), ctypes.byref(args), out)
    floats = memoryview(out).cast('B').cast('f')
    vectors = (floats[at:at + width] for at in range(0, len(floats), width))
    if (info.pooling if pooling == 'model' else pooling) != 'none':
        return list(vectors)
    return [list(islice(vectors, n)) for n in counts]
