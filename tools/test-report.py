#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the tests of a build folder and counts single tests, not programs.

A cmocka program counts what its own summary says; a program that prints a line "N passed, N failed[, N skipped]" counts
that; any other counts as one test. A program that dies counts as at least one failure. Prints a line a suite, the output
of what failed, and last "N passed, N failed, N skipped". Exit code 1 if anything failed or nothing ran.

usage: tools/test-report.py BUILD-FOLDER [--suite NAME]... [--timeout-multiplier N] [--totals FILE]
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys
from collections import Counter

CMOCKA = re.compile(r"^\[  (PASSED|SKIPPED|FAILED) +\] (\d+) test\(s\)", re.MULTILINE)
CMOCKA_NOISE = re.compile(r"^\[( RUN  |       OK |  PASSED  )")
OWN = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?\.?$", re.MULTILINE)
KINDS = ("passed", "failed", "skipped")
OUTPUT_LINES = 40  # of a failing program


def count(result, text):
    """Counter of single tests of one program."""
    counts = Counter()
    cmocka, own = CMOCKA.findall(text), OWN.findall(text)
    if cmocka:
        for kind, n in cmocka:
            counts[kind.lower()] += int(n)
    elif own:
        for kind, n in zip(KINDS, own[-1]):
            counts[kind] += int(n or 0)
    elif result == "SKIP":
        counts["skipped"] += 1
    elif result == "OK":
        counts["passed"] += 1
    if result not in ("OK", "SKIP", "EXPECTEDFAIL") and counts["failed"] == 0:
        counts["failed"] += 1
    return counts


def run_meson(args):
    """Runs `meson test`; yields one record a program. Meson's own exit code says less than the records do."""
    log = pathlib.Path(args.build) / "meson-logs" / "testlog.json"
    log.unlink(missing_ok=True)
    command = ["meson", "test", "-C", args.build, "--no-rebuild", "-t", str(args.timeout_multiplier)]
    for suite in args.suite:
        command += ["--suite", suite]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    if not log.exists():
        sys.exit(f"meson ran no tests:\n{run.stdout}")
    with open(log, encoding="utf-8", errors="replace") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def main():
    parser = argparse.ArgumentParser(description="run tests, count single tests")
    parser.add_argument("build")
    parser.add_argument("--suite", action="append", default=[])
    parser.add_argument("--timeout-multiplier", type=float, default=1)
    parser.add_argument("--totals", help="also write the counts to this file as JSON")
    args = parser.parse_args()

    total, suites, seconds = Counter(), {}, Counter()
    for record in run_meson(args):
        text = (record.get("stdout") or "") + "\n" + (record.get("stderr") or "")
        counts = count(record["result"], text)
        suite = record["name"].split(" / ")[0].split(":")[-1]
        suites.setdefault(suite, Counter()).update(counts)
        seconds[suite] += record.get("duration") or 0
        total.update(counts)
        if counts["failed"]:
            lines = [line for line in text.splitlines() if line.strip() and not CMOCKA_NOISE.match(line)]
            tail = "\n".join("    " + line for line in lines[-OUTPUT_LINES:])
            print(f"FAILED {record['name']} ({record['result']}, exit code {record.get('returncode')})\n{tail}")
    for suite in sorted(suites):
        c = suites[suite]
        print(f"{suite:12} {c['passed']:5} passed, {c['failed']} failed, {c['skipped']} skipped ({seconds[suite]:.1f} s)")
    if args.totals:
        pathlib.Path(args.totals).write_text(json.dumps({kind: total[kind] for kind in KINDS}))
    print(", ".join(f"{total[kind]} {kind}" for kind in KINDS))
    return total["failed"] > 0 or total["passed"] == 0


if __name__ == "__main__":
    sys.exit(main())
