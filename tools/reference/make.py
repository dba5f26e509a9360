#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes reference files: a tiny random model of a family, and the logits that Hugging Face transformers computes for it.

    make.py --converter DIR [--out tests/reference] [--gguf DIR] FAMILY... | --all

DIR is a checkout of a public converter from checkpoints to GGUF. See tools/reference/README.md.
"""

import argparse
import importlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import layout  # noqa: E402
import textfile  # noqa: E402
import weights  # noqa: E402

LENGTHS = (7, 33)
N_COLUMNS = 8  # vocabulary ids whose logits are kept for every position
N_ROWS = 2  # last positions whose logits are kept whole


def prompts(n_vocab, seed):
    return [
        [
            int(v)
            for v in weights.splitmix64(np.arange(n, dtype=np.uint64) + np.uint64(1000 * seed + n))
            % np.uint64(n_vocab - 2)
            + np.uint64(2)
        ]
        for n in LENGTHS
    ]


def make_config(family):
    """The family's configuration, with what all share unless it says otherwise."""
    config = family.config()
    config.dtype = "float32"
    return config


def auto_class(family):
    import transformers

    return getattr(transformers, getattr(family, "AUTO", "AutoModelForCausalLM"))


def save_random(family, folder):
    """A checkpoint folder with the right names and shapes."""
    import torch

    torch.manual_seed(0)
    config = make_config(family)
    auto = auto_class(family)
    model = auto.from_config(config) if hasattr(auto, "from_config") else auto(config)
    model.float().save_pretrained(folder)
    layout.write_stubs(folder, config.get_text_config().vocab_size, getattr(family, "POOLING", None))


def perturbed(tensors, amount):
    rng = np.random.default_rng(1)
    return {n: (v * (1 + amount * rng.standard_normal(v.shape))).astype(np.float32) for n, v in tensors.items()}


def spread_of(rows):
    return float(np.std(np.concatenate([r.ravel() for r in rows])))


def worst(a, b):
    return max(float(np.abs(x - y).max()) for x, y in zip(a, b))


def reference(family, folder, checkpoint, seqs):
    """float64 logits and what their neighbourhood looks like."""
    import hf

    forward, prepare = getattr(family, "forward", None), getattr(family, "prepare", None)
    run = lambda double: hf.logits(folder, auto_class(family), seqs, double, forward, prepare)
    layout.save_checkpoint(folder, checkpoint)
    exact, bad = run(True)
    single, _ = run(False)
    steps = []
    for amount in (1e-4, 1e-5):
        layout.save_checkpoint(folder, perturbed(checkpoint, amount))
        steps.append(worst(exact, run(True)[0]))
    layout.save_checkpoint(folder, checkpoint)
    return exact, worst(exact, single), steps, bad


def make_plain(name, family, tools, work):
    """A family that transformers lacks: its module has the shapes and a double-precision program."""
    seed, hidden = getattr(family, "SEED", 0), hasattr(family, "POOLING")
    tied = "output.weight" not in family.SHAPES and not hidden
    rows = {t: weights.rule(t, s, tied, getattr(family, "WEIGHTS", ())) for t, s in family.SHAPES.items()}
    tensors = {t: weights.values(t, s, *rows[t], seed) for t, s in family.SHAPES.items()}
    gguf_path = work / (name + ".gguf")
    layout.write_gguf(tools, gguf_path, family.METADATA, tensors)
    seqs = prompts(96, seed)
    run = lambda t: [family.run(t, np.array(ids)) for ids in seqs]
    exact = run(tensors)
    steps = [worst(exact, run(perturbed(tensors, amount))) for amount in (1e-4, 1e-5)]
    return finish(name, family, family.METADATA, rows, tensors, {}, seqs, exact, 0.0, steps, gguf_path)


def finish(name, family, metadata, rows, tensors, constant, seqs, exact, rounding, steps, gguf_path):
    spread = spread_of(exact)
    tolerance = max(1e-4 * spread, 20 * rounding)
    print(
        "%-16s params %7d spread %.3g f32 error %.2g; weights off by 1e-4, 1e-5: %.2g, %.2g; tolerance %.2g"
        % (name, sum(v.size for v in tensors.values()), spread, rounding, steps[0], steps[1], tolerance),
        flush=True,
    )
    if steps[0] > 25 * steps[1] or rounding > 1e-3 * spread:
        print("    WARNING: a choice is close; change SEED")
    return dict(
        name=name,
        family=family,
        metadata=metadata,
        rows=rows,
        shapes={t: v.shape for t, v in tensors.items()},
        order=list(tensors),
        constant=constant,
        seqs=seqs,
        exact=exact,
        rounding=rounding,
        spread=spread,
        tolerance=tolerance,
        gguf=gguf_path,
        seed=getattr(family, "SEED", 0),
        hidden=hasattr(family, "POOLING"),
    )


def make(name, tools, work):
    family = importlib.import_module("families." + name)
    if hasattr(family, "run"):
        return make_plain(name, family, tools, work)
    folder = work / "checkpoint"
    shutil.rmtree(folder, ignore_errors=True)
    save_random(family, folder)
    n_vocab = getattr(family, "N_VOCAB", 96)
    edit = getattr(family, "EDIT", {})
    if hasattr(family, "to_gguf"):
        edit = family.to_gguf  # the project's own layout
    publish = getattr(family, "publish", None)
    lay = layout.Layout(tools, folder, work / "probe.gguf", n_vocab, edit, publish)
    seed = getattr(family, "SEED", 0)
    tensors, rows = {}, {}
    for t, place in lay.place.items():
        rows[t] = weights.rule(
            t,
            place.shape,
            "output.weight" not in lay.place and not hasattr(family, "POOLING"),
            getattr(family, "WEIGHTS", ()),
        )
        tensors[t] = weights.values(t, place.shape, *rows[t], seed)
    checkpoint, unused = lay.checkpoint(tensors)
    layout.save_checkpoint(folder, publish(checkpoint) if publish else checkpoint)
    gguf_path = work / (name + ".gguf")
    layout.convert(tools, folder, gguf_path, n_vocab, edit)
    metadata, got = layout.read_gguf(tools, gguf_path)
    metadata += [(kind, key, value) for key, (kind, value) in getattr(family, "MORE", {}).items()]
    inexact = []
    for t, v in got.items():
        want = tensors.get(t, lay.constant.get(t))
        if not np.array_equal(v, want):
            off = float(np.abs(v - want).max())
            assert lay.change.get(t) == "-exp" and off < 1e-5, "%s does not come back: off by %g" % (t, off)
            inexact.append((t, off))
    seqs = prompts(n_vocab, seed)
    exact, rounding, steps, bad = reference(family, folder, checkpoint, seqs)
    assert not bad, "transformers did not take the checkpoint as it is: %s" % bad
    ref = finish(name, family, metadata, rows, got, lay.constant, seqs, exact, rounding, steps, gguf_path)
    for what, v in (
        ("not from the file", unused),
        ("inexact", inexact),
        ("constants", sorted(lay.constant)),
    ):
        if v:
            print("    %s: %s" % (what, v))
    return ref


def second_engine(command, ref, work):
    """Largest difference to another program's values: CMD MODEL IDS OUT, OUT in 32-bit float, all positions; an encoder's
    hidden states with --hidden in front."""
    command = command.split() + (["--hidden"] if ref["hidden"] else [])
    off = 0.0
    for ids, exact in zip(ref["seqs"], ref["exact"]):
        (work / "ids").write_text(" ".join(map(str, ids)))
        run = subprocess.run(
            command + [str(ref["gguf"]), str(work / "ids"), str(work / "out.f32")], capture_output=True, text=True
        )
        if run.returncode:
            return None, (run.stderr.strip().splitlines() or [str(run.returncode)])[-1]
        got = np.fromfile(work / "out.f32", "<f4").reshape(exact.shape)
        off = max(off, float(np.abs(got - exact).max()))
    return off, ""


def export(ref, folder):
    folder.mkdir(parents=True, exist_ok=True)
    base = folder / ref["name"]
    shutil.copy(ref["gguf"], base.with_suffix(".gguf"))
    for ids, exact in zip(ref["seqs"], ref["exact"]):
        tag = "-%d" % len(ids)
        Path(str(base) + tag + ".ids").write_text(" ".join(map(str, ids)) + "\n")
        exact.astype("<f4").tofile(str(base) + tag + ".f32")


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("family", nargs="*")
    p.add_argument("--all", action="store_true", help="every family in families/")
    p.add_argument("--converter", required=True, help="checkout of a public converter to GGUF")
    p.add_argument("--out", default=str(HERE.parent.parent / "tests" / "reference"), help="folder of the .txt files")
    p.add_argument("--gguf", help="also write model, ids and all logits to this folder")
    p.add_argument("--engine", help="compare with another program, called as: CMD MODEL IDS OUT")
    args = p.parse_args()
    names = sorted(f.stem for f in (HERE / "families").glob("[a-z]*.py")) if args.all else args.family
    tools = layout.converter(args.converter)
    failed = 0
    for name in names:
        with tempfile.TemporaryDirectory() as tmp:
            try:
                ref = make(name, tools, Path(tmp))
            except Exception as e:  # one family must not stop the others
                import traceback

                traceback.print_exc()
                print("%-16s FAILED: %s" % (name, str(e)[:300]), flush=True)
                failed += 1
                continue
            second = None
            if args.engine:
                second, why = second_engine(args.engine, ref, Path(tmp))
                print("    second engine: %s" % ("max abs %.2g" % second if second is not None else "failed: " + why))
            Path(args.out).mkdir(parents=True, exist_ok=True)
            textfile.write(Path(args.out) / (name + ".txt"), ref, second, N_ROWS, N_COLUMNS)
            if args.gguf:
                export(ref, Path(args.gguf))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
