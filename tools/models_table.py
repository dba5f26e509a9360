#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/models.md from test results: which families there are, what each was checked against and how close it came.

    models_table.py --results FILE [--medley PROGRAM --conformance FOLDER]   write docs/models.md
    models_table.py --check                                                  is it complete and true to the tree?

FILE is what `test-reference --results FILE` wrote; with PROGRAM and FOLDER the golden models are measured too. The
families come from src/model/arch/, their models and notes from docs/models.in."""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

OWN = "the project's own"  # models that nobody else has
ROOT = Path(__file__).resolve().parent.parent
HEAD = """# Models

Made by `tools/models_table.py` from test results; do not edit. One row a family, by its `general.architecture`. A family is
listed as supported only if another implementation computes the same: a **golden** model (logits of a public engine, checked
once more in double precision), or a **reference** (a tiny random model, computed in 64-bit float by Hugging Face
transformers, or where that lacks the family by a double-precision program written from its authors' publication;
[tools/reference](../tools/reference/README.md) makes them, `tests/reference` compares). Every check runs the whole prompt,
pieces of it and single tokens; the three must give the same bits (an encoder takes a sequence at once).

"""


def read_families(root):
    """{name: source} of the registered families."""
    folder = root / "src" / "model" / "arch"
    ids = re.findall(r"^MD_FAMILY\((\w+)\)", (folder / "families.def").read_text(), re.M)
    out = {}
    for i in ids:
        text = (folder / (i + ".c")).read_text()
        name, source = re.search(r'\.name = "([^"]+)"', text), re.search(r'\.source = ((?:"[^"]*"\s*)+)', text)
        if not name:
            sys.exit("%s.c has no name" % i)
        out[name[1]] = "".join(re.findall(r'"([^"]*)"', source[1])) if source else ""
    return out


def read_descriptions(root):
    """{name: (golden models, models, notes)}"""
    out = {}
    for line in (root / "docs" / "models.in").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            head, models, notes = (part.strip() for part in line.split("|"))
            name, _, golden = head.partition(" golden: ")
            out[name] = (golden.split(), models, notes)
    return out


def read_references(root):
    """{file name without ending: {"arch":, "reference":, "tolerance":, "second":}}"""
    out = {}
    for path in sorted((root / "tests" / "reference").glob("*.txt")):
        facts = {}
        for line in path.read_text().splitlines():
            word, _, rest = line.partition(" ")
            if word in ("reference", "tolerance", "spread", "second"):
                facts[word] = rest
            elif line.startswith("kv str general.architecture "):
                facts["arch"] = line.rsplit(" ", 1)[1]
        out[path.stem] = facts
    return out


def golden_models(root):
    """Names of the golden models that the test suite runs."""
    listed = (root / "tools" / "conform-list.txt").read_text().splitlines()
    compiled = re.findall(r'GOLDEN\("([^"]+)"', (root / "tests" / "golden" / "conform.c").read_text())
    return set(compiled) | {line for line in listed if line and not line.startswith("#")}


def measure_golden(program, folder, name):
    """(tolerance, difference) of a golden model as text, all prompts, keys and values in 32-bit float. Where engines may
    quantize the activations the difference is relative: root mean square of it over that of the logits."""
    import array

    base = Path(folder) / "models" / name
    facts = json.loads(Path(str(base) + ".json").read_text())
    worst = squares = norm = 0.0
    with tempfile.TemporaryDirectory() as tmp:
        for prompt in facts["prompts"]:
            (Path(tmp) / "ids").write_text(" ".join(map(str, prompt["tokens"])))
            subprocess.run(
                [program, "eval", str(base) + ".gguf", "--token-ids", tmp + "/ids", "--logits-out", tmp + "/out", "-q"],
                check=True,
                stderr=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
            got = array.array("f", (Path(tmp) / "out").read_bytes())
            want = array.array(
                "f", Path(str(base) + ".logits.f32").read_bytes()[prompt["logits_offset"] :][: 4 * len(got)]
            )
            worst = max(worst, max(abs(a - b) for a, b in zip(got, want)))
            squares += sum((a - b) ** 2 for a, b in zip(got, want))
            norm += sum(b * b for b in want)
    relative = facts.get("tolerance_quantized_activations")
    if relative and worst > facts["tolerance"]["max_abs"]:
        return short(relative["rel_rms"]) + " relative", short((squares / norm) ** 0.5) + " relative"
    return short(facts["tolerance"]["max_abs"]), short(worst)


def read_results(path):
    out = {}
    for line in Path(path).read_text().splitlines():
        name, _, worst, tolerance, _, _ = line.split("\t")
        out[name] = (float(worst), float(tolerance))
    return out


def short(number):
    return "%.2g" % number if number >= 0.01 else ("%.1e" % number).replace("e-0", "e-")


def checks_of(name, golden, references):
    return ["golden " + g for g in golden] + ["reference " + r for r, f in references.items() if f["arch"] == name]


def family_table(families, descriptions, references, wanted):
    out = ["| `general.architecture` | models | described in | checked by | notes |", "|---|---|---|---|---|"]
    for name in sorted(families):
        golden, models, notes = descriptions[name]
        checks = checks_of(name, golden, references)
        if OWN in models:
            checks = ["its own tests"]
        if bool(checks) == wanted:
            out.append("| `%s` | %s | %s | %s | %s |" % (name, models, families[name], ", ".join(checks), notes))
    return out if len(out) > 2 else []


def check_table(descriptions, references, results, measured):
    out = ["| check | against | tolerance | largest difference | a second engine's |", "|---|---|---|---|---|"]
    for name in sorted(measured):
        tolerance, worst = measured[name]
        out.append("| golden %s | a public engine and double precision | %s | %s | |" % (name, tolerance, worst))
    for name, facts in references.items():
        if name not in results:
            sys.exit("the results lack '%s': run the test again" % name)
        worst, tolerance = results[name]
        if worst > tolerance:
            sys.exit("'%s' did not pass: %g of %g" % (name, worst, tolerance))
        second = short(float(facts["second"])) if "second" in facts else ""
        out.append(
            "| reference %s | %s | %s | %s | %s |" % (name, facts["reference"], short(tolerance), short(worst), second)
        )
    return out


def write(root, results, program, conformance):
    families, descriptions, references = read_families(root), read_descriptions(root), read_references(root)
    lacking = sorted(set(families) - set(descriptions))
    if lacking:
        sys.exit("docs/models.in lacks %s" % ", ".join(lacking))
    measured = {}
    for name in families:
        for g in descriptions[name][0] if program else ():
            measured[g] = measure_golden(program, conformance, g)
    text = HEAD + "\n".join(family_table(families, descriptions, references, True)) + "\n"
    loose = family_table(families, descriptions, references, False)
    if loose:
        text += (
            "\n## Not checked yet\n\nThese load, but no other implementation has confirmed them: do not rely on what they"
            " say.\n\n" + "\n".join(loose) + "\n"
        )
    text += (
        "\n## Checks\n\nLargest absolute difference of any logit (of any hidden value for encoders). The last column is"
        " the difference of a\npublic engine to the same reference, where it reads the file: some 3e-3 where a GELU is, which"
        " it looks up in 16 bits; a\nlarge one is a known disagreement, which the notes above name.\n\n"
        + "\n".join(check_table(descriptions, references, read_results(results), measured))
        + "\n"
    )
    (root / "docs" / "models.md").write_text(text)


def check(root):
    """What is wrong, as sentences."""
    families, descriptions, references = read_families(root), read_descriptions(root), read_references(root)
    text = (root / "docs" / "models.md").read_text()
    rows = {m[1]: m[2] for m in re.finditer(r"^\| `([^`]+)` \|[^|]*\|[^|]*\|([^|]*)\|", text, re.M)}
    rows.pop("general.architecture")  # the heads of the tables
    wrong = ["docs/models.md has no row for '%s'" % f for f in families if f not in rows]
    wrong += ["docs/models.md has a row for '%s', which is not registered" % f for f in rows if f not in families]
    named = set(re.findall(r"reference ([\w.-]+)", "\n".join(rows.values())))
    wrong += ["docs/models.md names reference '%s', which has no file" % n for n in sorted(named - set(references))]
    wrong += ["tests/reference/%s.txt is in no row of docs/models.md" % n for n in sorted(set(references) - named)]
    for name, facts in references.items():
        if (
            name in named
            and "| reference %s | %s | %s |" % (name, facts["reference"], short(float(facts["tolerance"]))) not in text
        ):
            wrong.append("docs/models.md tells another tolerance or source of '%s' than its file" % name)
        if facts["arch"] not in families:
            wrong.append("tests/reference/%s.txt is of '%s', which is not registered" % (name, facts["arch"]))
    run = golden_models(root)
    wrong += [
        "'%s' is said to be checked by golden model '%s', which no test runs" % (f, g)
        for f in families
        for g in descriptions.get(f, ([],))[0]
        if g not in run
    ]
    return wrong


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--check", action="store_true")
    p.add_argument("--results", help="written by test-reference --results")
    p.add_argument("--medley", help="program that measures the golden models")
    p.add_argument("--conformance", help="folder of the golden models")
    args = p.parse_args()
    if args.check:
        wrong = check(ROOT)
        print("\n".join(wrong) if wrong else "docs/models.md is complete")
        return 1 if wrong else 0
    if not args.results or bool(args.medley) != bool(args.conformance):
        p.error("give --results FILE, and --medley with --conformance")
    write(ROOT, args.results, args.medley, args.conformance)
    return 0


if __name__ == "__main__":
    sys.exit(main())
