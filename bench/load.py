#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long models take to load: opening, binding, tokenizer and session, until the first token could be read.

usage: bench/load.py --bin build/medley [--runs 5] MODEL.gguf...

Prints a line for each file, slowest last: the median of the runs in milliseconds, and their least and greatest. The time is the
`load` figure of `medley run --json`, which begins when the program opens the file.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys


def load_ms(program, model):
    run = subprocess.run([program, "run", model, "--raw", "-p", "a", "-n", "1", "--temp", "0", "--json"], capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit("%s: %s" % (model, run.stderr.strip()))
    return 1000 * json.loads(run.stdout)["figures"]["load_seconds"]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bin", required=True)
    p.add_argument("--runs", type=int, default=5)
    p.add_argument("models", nargs="+")
    a = p.parse_args()
    rows = []
    for model in a.models:
        times = [load_ms(a.bin, model) for _ in range(a.runs)]
        rows.append((statistics.median(times), min(times), max(times), pathlib.Path(model).name))
    for median, least, greatest, name in sorted(rows):
        print("%8.1f ms (%.1f to %.1f)  %s" % (median, least, greatest, name))


if __name__ == "__main__":
    main()
