#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seed files of the GGUF fuzzer: small files that between them hold every kind of value, every branch of the
tensor table, and the errors next door. The same files each time.

    tools/make_gguf_corpus.py fuzz/corpus/gguf
"""
import pathlib
import struct
import sys

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
FORMAT = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B", U64: "Q", I64: "q", F64: "d"}


def text(s):
    raw = s.encode() if isinstance(s, str) else s
    return struct.pack("<Q", len(raw)) + raw


def value(kind, v):
    return text(v) if kind == STRING else struct.pack("<" + FORMAT[kind], v)


def key(name, kind, v):
    return text(name) + struct.pack("<I", kind) + value(kind, v)


def array(name, elem, values):
    head = text(name) + struct.pack("<IIQ", ARRAY, elem, len(values))
    return head + b"".join(value(elem, v) for v in values)


def tensor(name, dims, type_id, offset):
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, type_id, offset)


def model(keys=(), tensors=(), data=b"", version=3, align=32, counts=None):
    n_tensors, n_keys = counts or (len(tensors), len(keys))
    head = b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_keys) + b"".join(keys) + b"".join(tensors)
    return head + bytes(-len(head) % align) + data if tensors else head


SCALARS = [key("u8", U8, 200), key("i8", I8, -3), key("u16", U16, 65535), key("i16", I16, -2), key("u32", U32, 7),
           key("i32", I32, -7), key("f32", F32, 1.5), key("bool", BOOL, 1), key("text", STRING, "x"),
           key("u64", U64, 2**64 - 1), key("i64", I64, -2**63), key("f64", F64, 1e300)]
ARRAYS = [array(f"a{kind}", kind, [0, 1]) for kind in FORMAT] + [array("texts", STRING, ["a", "", b"\0\xff"]),
                                                                 array("none", F32, [])]
# (type id, weights in a block, bytes of a block)
BLOCKS = [(0, 1, 4), (1, 1, 2), (2, 32, 18), (8, 32, 34), (12, 256, 144), (39, 32, 17), (24, 1, 1)]


def all_types():
    table, data = [], b""
    for type_id, weights, size in BLOCKS:
        table.append(tensor(f"blk.{type_id}.weight", [weights, 2], type_id, len(data)))
        data += bytes(2 * size)
        data += bytes(-len(data) % 32)
    return model([key("general.architecture", STRING, "llama")], table, data)


def packed(names=("blk.0.ffn_gate_exps.weight", "blk.0.ffn_up_exps.weight"), offsets=(0, 64), tensors=(1, 1), version=2):
    """Two experts of two 2 x 4 matrices of F32, each expert a row of 96 bytes."""
    keys = [key("general.architecture", STRING, "medley-packed"), key("medley.packed.architecture", STRING, "olmoe"),
            key("medley.packed.version", U32, version), key("medley.packed.identity", U64, 1),
            array("medley.packed.layout", U8, [0, 0, 0]), array("medley.packed.checksum", U64, [0, 0, 0]),
            array("medley.packed.view.name", STRING, names), array("medley.packed.view.type", U32, [0, 0]),
            array("medley.packed.view.shape", U64, [2, 4, 2] * 2), array("medley.packed.view.tensor", U32, tensors),
            array("medley.packed.view.offset", U64, offsets)]
    return model(keys, [tensor("t", [8], 0, 0), tensor("blk.0.ffn_exps", [96, 2], 24, 32)], bytes(32 + 192))


def seeds():
    one = [tensor("t", [8], 0, 0)]
    yield "empty", b""
    yield "nothing", model()
    yield "scalars", model(SCALARS)
    yield "arrays", model(ARRAYS)
    yield "types", all_types()
    yield "version-1", model(version=1)
    yield "version-2", model(SCALARS[:3], one, bytes(32), version=2)
    yield "big-endian", b"GGUF" + struct.pack(">IQQ", 3, 0, 0)
    yield "dims", model([], [tensor("0d", [], 0, 0), tensor("4d", [2, 1, 2, 1], 0, 32)], bytes(48))
    yield "align-64", model([key("general.alignment", U32, 64)], [tensor("a", [1], 0, 64), tensor("b", [1], 0, 0)],
                            bytes(68), align=64)
    yield "align-bad", model([key("general.alignment", U32, 24)], one, bytes(32))
    yield "split", model([key("split.no", U16, 0), key("split.count", U16, 3), key("split.tensors.count", I32, 1)], one,
                         bytes(32))
    yield "cut-off", model([], one, bytes(31))
    yield "overlap", model([], [tensor("a", [9], 0, 0), tensor("b", [1], 0, 32)], bytes(64))
    yield "twice", model([key("k", U8, 1), key("k", U8, 2)])
    yield "tensor-twice", model([], [tensor("t", [1], 0, 0), tensor("t", [1], 0, 32)], bytes(64))
    yield "nested", model([text("n") + struct.pack("<IIQIQ", ARRAY, ARRAY, 1, U8, 0)])
    yield "bool-2", model([key("b", BOOL, 2)])
    yield "kind-13", model([text("k") + struct.pack("<IQ", 13, 0)])
    yield "count-huge", model(counts=(2**60, 2**60))
    yield "array-huge", model([text("a") + struct.pack("<IIQ", ARRAY, STRING, 2**60)])
    yield "string-huge", model([text("s") + struct.pack("<IQ", STRING, 2**64 - 1)])
    yield "dims-huge", model([], [tensor("t", [2**32, 2**32], 0, 0)])
    yield "dim-zero", model([], [tensor("t", [0], 0, 0)])
    yield "dims-5", model([], [tensor("t", [1] * 5, 0, 0)], bytes(32))
    yield "row-uneven", model([], [tensor("t", [33], 2, 0)], bytes(64))
    yield "offset-uneven", model([], [tensor("t", [1], 0, 4)], bytes(64))
    yield "offset-huge", model([], [tensor("t", [1], 0, 2**64 - 32)], bytes(64))
    yield "type-unknown", model([], [tensor("t", [1], 9999, 0)], bytes(32))
    yield "type-withdrawn", model([], [tensor("t", [32], 4, 0)], bytes(32))
    yield "packed", packed()
    yield "packed-outside", packed(offsets=(0, 96))
    yield "packed-overlap", packed(offsets=(0, 0))
    yield "packed-nowhere", packed(tensors=(1, 2))
    yield "packed-not-bytes", packed(tensors=(0, 0))
    yield "packed-twice", packed(names=("blk.0.ffn_up_exps.weight",) * 2)
    yield "packed-no-expert", packed(names=("a", "b"))
    yield "packed-version-3", packed(version=3)
    yield "ggjt", b"tjgg" + bytes(28)
    yield "safetensors", text("{}")


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in seeds():
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
