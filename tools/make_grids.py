#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes src/dtype/grids.c: the codebooks of the IQ1, IQ2 and IQ3 tensor types, and the tables that spread sign bits.

The numbers of the codebooks are part of the formats. They are taken from the `gguf` Python package (pip install gguf
numpy), which keeps them in a packed form, and written as one little-endian word per entry, so that byte j of a word
belongs to weight j. The IQ1 codebook is written times 8, see grids.h.

usage: tools/make_grids.py > src/dtype/grids.c
"""
import numpy as np
from gguf import quants

HEADER = """\
/* SPDX-License-Identifier: Apache-2.0
 *
 * The codebooks of the IQ1, IQ2 and IQ3 tensor types and the masks of grids.h, written by tools/make_grids.py. Part of
 * the formats: no entry may change. Constant data; thread-safe. */
#include "dtype/grids.h"

// clang-format off"""

TABLES = [  # our name, class of the package, bits of an entry, factor
    ("iq2_xxs", quants.IQ2_XXS, 64, 1),
    ("iq2_xs", quants.IQ2_XS, 64, 1),
    ("iq2_s", quants.IQ2_S, 64, 1),
    ("iq3_xxs", quants.IQ3_XXS, 32, 1),
    ("iq3_s", quants.IQ3_S, 32, 1),
    ("iq1", quants.IQ1_S, 64, 8),
]


def entries(cls, bits, factor):
    cls.init_grid()
    rows = (cls.grid * factor).reshape(-1, bits // 8).astype(np.int8)
    return rows.view(f"<u{bits // 8}").ravel()


def mask(bits):
    return sum(0xff << 8 * j for j in range(8) if bits >> j & 1)


def even(signs):
    return signs | (signs.bit_count() & 1) << 7


def write(name, bits, words):
    per_line = 5 if bits == 64 else 9
    print(f"\nconst uint{bits}_t {name}[{len(words)}] = {{")
    for at in range(0, len(words), per_line):
        print("    " + ", ".join(f"0x{int(w):0{bits // 4}x}" for w in words[at:at + per_line]) + ",")
    print("};")


def main():
    print(HEADER)
    write("md_bit_masks", 64, [mask(b) for b in range(256)])
    write("md_even_masks", 64, [mask(even(s)) for s in range(128)])
    for name, cls, bits, factor in TABLES:
        write(f"md_grid_{name}", bits, entries(cls, bits, factor))
    print("// clang-format on")


if __name__ == "__main__":
    main()
