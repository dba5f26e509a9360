# SPDX-License-Identifier: Apache-2.0
"""The committed form of a reference: lines of words. See tools/reference/README.md for the grammar."""

import numpy as np


def number(v):
    """The shortest decimal that gives the same 32-bit float back."""
    return repr(float(str(np.float32(v))))


def metadata_line(kind, key, value):
    base = kind.rstrip("[]")
    values = value if kind.endswith("[]") else [value]
    if base == "f32":
        text = " ".join(number(v) for v in values)
    elif base == "bool":
        text = " ".join(str(int(v)) for v in values)
    else:
        text = " ".join(str(v) for v in values)
    return "kv %s %s %s" % (kind, key, text)


def write(path, ref, second, n_rows, n_columns):
    import transformers

    family = ref["family"]
    columns = [int(c) for c in np.linspace(1, ref["exact"][0].shape[1] - 2, n_columns)]
    out = [
        "# Made by tools/reference/make.py; do not edit.",
        "family " + ref["name"],
        "reference " + getattr(family, "REFERENCE", "transformers %s, 64-bit float" % transformers.__version__),
        "rounding %.3g" % ref["rounding"],
        "spread %.4g" % ref["spread"],
        "tolerance %.3g" % ref["tolerance"],
    ]
    if second is not None:
        out.append("second %.3g" % second)
    out.append("seed %d" % ref["seed"])
    if ref["hidden"]:
        out.append("hidden")
    out += [metadata_line(*m) for m in ref["metadata"]]
    for t in ref["order"]:
        dims = " ".join(str(n) for n in reversed(ref["shapes"][t]))
        n = len(ref["shapes"][t])
        if t in ref["rows"]:
            out.append("tensor %s %d %s %s %s" % ((t, n, dims) + tuple(number(v) for v in ref["rows"][t])))
        else:
            out.append("values %s %d %s %s" % (t, n, dims, " ".join(number(v) for v in ref["constant"][t].ravel())))
    for ids, exact in zip(ref["seqs"], ref["exact"]):
        out.append("prompt %d %s" % (len(ids), " ".join(map(str, ids))))
        for r in range(len(ids) - n_rows, len(ids)):
            out.append("row %d %s" % (r, " ".join("%.7g" % v for v in exact[r])))
        for c in columns:
            out.append("column %d %s" % (c, " ".join("%.7g" % v for v in exact[:, c])))
    path.write_text("\n".join(out) + "\n")
