# SPDX-License-Identifier: Apache-2.0
"""How a family's tensors are laid out in GGUF, found by experiment.

A public converter is run over a checkpoint whose every number says where it stands. What comes out shows, for each
element of each GGUF tensor, which element of which checkpoint tensor it is and whether something was added to it. So
nobody's reading of a layout enters, and the reverse way is known exactly: GGUF weights go back into a checkpoint, which
transformers loads as it would any other.
"""

import importlib
import json
import logging
import re
import sys
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

FIRST = 1024  # places are numbered from here, so that small numbers are known to be the converter's own
STEP = 4  # a number n of the probe is STEP * place; what is left says what the converter added (1 for some norms)


def converter(folder):
    """The modules of a public converter: its checkpoint classes and its GGUF library."""
    folder = Path(folder).resolve()
    for path in (folder, folder / "gguf-py"):
        if str(path) not in sys.path:
            sys.path.insert(0, str(path))
    logging.disable(logging.WARNING)
    return importlib.import_module("conversion"), importlib.import_module("gguf")


def convert(tools, checkpoint, out, n_vocab, edit):
    """Checkpoint folder to GGUF in 32-bit float, without a tokenizer. edit: what the configuration says in place of what
    transformers wrote, where published files differ; or a function that
    makes metadata and tensors, for what no public converter knows."""
    import torch

    conversion, gguf = tools
    if callable(edit):
        write_gguf(tools, out, *edit(load_checkpoint(checkpoint)))
        return
    hparams = {**conversion.ModelBase.load_hparams(Path(checkpoint), False), **edit}
    hparams = {k: v for k, v in hparams.items() if not (isinstance(v, str) and v == "absent")}
    family = conversion.get_model_class(
        conversion.get_model_architecture(hparams, conversion.ModelType.TEXT), mmproj=False
    )

    family.no_mtp = True  # layers that predict further tokens do not enter the logits

    def set_vocab(model):
        if not any("tokenizer.ggml.model" in shard for shard in model.gguf_writer.kv_data):
            model.gguf_writer.add_tokenizer_model("none")
        if not any(key.endswith(".vocab_size") for shard in model.gguf_writer.kv_data for key in shard):
            model.gguf_writer.add_vocab_size(n_vocab)
        if types := model.hparams.get("type_vocab_size"):
            model.gguf_writer.add_token_type_count(types)

    for c in descendants(conversion.TextModel):
        if "set_vocab" in vars(c):
            c.set_vocab = set_vocab
    with torch.inference_mode():
        family(Path(checkpoint), gguf.LlamaFileType.ALL_F32, Path(out), eager=True, hparams=hparams).write()


def descendants(c):
    return [c] + [d for s in c.__subclasses__() for d in descendants(s)]


def read_gguf(tools, path):
    """(metadata as [(type, key, value)], tensors as {name: array, outermost first})."""
    gguf = tools[1]
    reader = gguf.GGUFReader(path)
    kinds = {
        gguf.GGUFValueType.UINT32: "u32",
        gguf.GGUFValueType.INT32: "i32",
        gguf.GGUFValueType.FLOAT32: "f32",
        gguf.GGUFValueType.BOOL: "bool",
        gguf.GGUFValueType.STRING: "str",
        gguf.GGUFValueType.UINT64: "u64",
        gguf.GGUFValueType.UINT8: "u8",
        gguf.GGUFValueType.INT64: "i64",
    }
    arch = reader.fields["general.architecture"].contents()
    metadata = []
    for key, field in reader.fields.items():
        if key == "general.architecture" or key.startswith(arch + ".") or key.endswith("token_type_count"):
            kind = kinds[field.types[-1]] + ("[]" if len(field.types) > 1 else "")
            metadata.append((kind, key, field.contents()))
    tensors = {}
    for t in reader.tensors:
        assert t.tensor_type.name == "F32", (t.name, t.tensor_type.name)
        tensors[t.name] = np.array(t.data).reshape([int(n) for n in reversed(t.shape)])
    return metadata, tensors


def write_gguf(tools, path, metadata, tensors):
    gguf = tools[1]
    w = gguf.GGUFWriter(path, metadata[0][2])
    add = {"u32": w.add_uint32, "i32": w.add_int32, "f32": w.add_float32, "bool": w.add_bool, "str": w.add_string}
    for kind, key, value in metadata[1:]:
        w.add_array(key, value) if kind.endswith("[]") else add[kind](key, value)
    if not any(key == "tokenizer.ggml.model" for _, key, _ in metadata):
        w.add_tokenizer_model("none")
    for name, v in tensors.items():
        w.add_tensor(name, np.ascontiguousarray(v, np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def load_checkpoint(folder):
    out = {}
    for path in sorted(Path(folder).glob("*.safetensors")):
        with safe_open(path, "np") as f:
            for name in f.keys():
                out[name] = f.get_tensor(name).astype(np.float32)
    return out


def save_checkpoint(folder, tensors):
    for path in Path(folder).glob("*.safetensors*"):
        path.unlink()
    save_file(
        {k: np.ascontiguousarray(v) for k, v in tensors.items()},
        Path(folder) / "model.safetensors",
        metadata={"format": "pt"},
    )


class Layout:
    """The map of one model: for each GGUF tensor the places its elements come from.

    place[t]: the number of the checkpoint element behind each element; change[t]: what was done to its value on the way,
    a number that was added or "-exp"; constant[t]: values of a tensor that the converter made without the checkpoint.
    """

    LOGS = r"A_log$"  # checkpoint tensors that GGUF stores as -exp of their values

    def __init__(self, tools, folder, work, n_vocab, edit, publish=None):
        """publish: renames and splits, where transformers saves other tensors than converters expect."""
        self.shapes = {k: v.shape for k, v in load_checkpoint(folder).items()}
        self.names = sorted(self.shapes)
        self.base, at = {}, FIRST
        for name in self.names:
            self.base[name] = at
            at += int(np.prod(self.shapes[name]))
        assert at * STEP < 1 << 24, "%d numbers are too many to number in 32-bit float" % at
        self.end = at
        self.starts = np.array([self.base[n] for n in self.names])
        numbered = {n: self._numbered(n) for n in self.names}
        save_checkpoint(folder, publish(numbered) if publish else numbered)
        convert(tools, folder, work, n_vocab, edit)
        self.metadata, probed = read_gguf(tools, work)
        self.place, self.change, self.constant = {}, {}, {}
        for name, got in probed.items():
            self._trace(name, got)

    def _numbered(self, name):
        n = int(np.prod(self.shapes[name]))
        v = (self.base[name] + np.arange(n)).reshape(self.shapes[name]) * STEP
        return np.log(v).astype(np.float32) if re.search(self.LOGS, name) else v.astype(np.float32)

    def _trace(self, name, got):
        if (got < 0).all():  # exp of a logarithm in 32-bit float: near a number, and the next is STEP away
            place = np.rint(-got.astype(np.float64) / STEP).astype(np.int64)
            assert (abs(place * STEP + got) < 0.25 * STEP).all(), name
            self.place[name], self.change[name] = place, "-exp"
            return
        inside = (got >= STEP * FIRST) & (got < STEP * self.end)
        if not inside.any():
            self.constant[name] = got
            return
        assert inside.all() and (got == np.rint(got)).all(), name + " is no rearrangement of the checkpoint"
        whole = got.astype(np.int64)
        self.change[name] = int(whole.flat[0]) % STEP
        assert (whole % STEP == self.change[name]).all(), name
        self.place[name] = whole // STEP

    def _undo(self, name, values):
        if self.change[name] == "-exp":
            return np.log(-values.astype(np.float64)).astype(np.float32)
        return values - np.float32(self.change[name])

    def checkpoint(self, tensors):
        """GGUF tensors back to checkpoint tensors."""
        flat = {n: np.zeros(int(np.prod(s)), np.float32) for n, s in self.shapes.items()}
        seen = {n: np.zeros(int(np.prod(s)), bool) for n, s in self.shapes.items()}
        for name, place in self.place.items():
            at = place.ravel()
            owner = np.searchsorted(self.starts, at, side="right") - 1
            v = self._undo(name, tensors[name]).ravel()
            for o in np.unique(owner):
                pick, n = owner == o, self.names[o]
                flat[n][at[pick] - self.base[n]] = v[pick]
                seen[n][at[pick] - self.base[n]] = True
        unused = [n for n in self.names if not seen[n].all()]
        return {n: v.reshape(self.shapes[n]) for n, v in flat.items()}, unused


def write_stubs(folder, n_vocab, pooling):
    """What converters look into beside the weights: the number of tokens, how an encoder's values are pooled."""
    folder = Path(folder)
    stub = {"model": {"type": "WordPiece", "vocab": {"t%d" % i: i for i in range(n_vocab)}}, "added_tokens": []}
    (folder / "tokenizer.json").write_text(json.dumps(stub))
    if pooling:
        (folder / "modules.json").write_text(json.dumps([{"type": "models.Pooling", "path": "pooling"}]))
        (folder / "pooling").mkdir()
        key = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token"}[pooling]
        (folder / "pooling" / "config.json").write_text(json.dumps({key: True}))
