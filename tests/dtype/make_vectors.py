#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes vectors.h: random blocks of the types that no shared fixture covers, with the values that the decoders of the
`gguf` Python package (pip install gguf numpy) give for them.

usage: tests/dtype/make_vectors.py > tests/dtype/vectors.h
"""
import numpy as np
from gguf import GGMLQuantizationType as T, GGML_QUANT_SIZES, quants

HEADER = """\
/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks and their values as an independent decoder gives them, written by make_vectors.py. */
#include <stdint.h>

// clang-format off"""


def blocks(t, n, rng):
    block, size = GGML_QUANT_SIZES[t]
    data = rng.integers(0, 256, (n, size), dtype=np.uint8)
    halves = {T.Q3_K: [108], T.Q5_1: [0, 2]}.get(t, [])
    for at in halves:  # scales of reasonable size
        data[:, at:at + 2] = rng.uniform(-0.05, 0.05, n).astype(np.float16).reshape(-1, 1).view(np.uint8)
    if t == T.IQ1_M:  # the top nibbles of four words make up a half: sign and exponent are in the last
        data[:, 55] = (data[:, 55] & 0x0f) | 0x20
    return data


def write(name, ctype, values, form, per_line):
    print(f"static const {ctype} {name}[{len(values)}] = {{")
    for at in range(0, len(values), per_line):
        print("    " + ", ".join(form.format(int(v)) for v in values[at:at + per_line]) + ",")
    print("};")


def main():
    rng = np.random.default_rng(7)
    print(HEADER)
    for t, n in ((T.Q3_K, 1), (T.Q5_1, 3), (T.IQ1_M, 1), (T.NVFP4, 2)):
        data = blocks(t, n, rng)
        values = quants.dequantize(data, t).astype(np.float32)
        assert np.isfinite(values).all()
        write(f"{t.name.lower()}_blocks", "uint8_t", data.ravel(), "0x{:02x}", 18)
        write(f"{t.name.lower()}_values", "uint32_t", values.ravel().view(np.uint32), "0x{:08x}", 9)
    print("// clang-format on")


if __name__ == "__main__":
    main()
