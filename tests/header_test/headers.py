#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles each public header alone, twice included, as strict C17 and, if there is a compiler for it, as C++11.

usage: headers.py --include DIR -- C-COMPILER [ARGUMENT...]
"""
import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile

STRICT = ["-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]


def compilers(c_compiler):
    yield "C", "c", c_compiler + ["-std=c17"]
    for name in ("g++", "clang++"):
        if shutil.which(name):
            yield "C++ (" + name + ")", "cc", [name, "-std=c++11"]
            return
    print("no C++ compiler here: headers are checked as C only")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--include", type=pathlib.Path, required=True)
    parser.add_argument("compiler", nargs="+")
    args = parser.parse_args()
    headers = sorted(args.include.rglob("*.h"))
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for language, suffix, command in compilers(args.compiler):
            for header in headers:
                name = header.relative_to(args.include).as_posix()
                source = pathlib.Path(folder) / ("alone." + suffix)
                source.write_text(f"#include <{name}>\n#include <{name}>\nint main(void);\n")
                run = subprocess.run(command + STRICT + ["-I", str(args.include), str(source)],
                                     capture_output=True, text=True, check=False)
                ok = run.returncode == 0
                passed, failed = passed + ok, failed + (not ok)
                if not ok:
                    print(f"{name} does not compile alone as {language}:\n{run.stdout}{run.stderr}")
    print(f"{passed} passed, {failed} failed")
    return failed != 0 or passed == 0


if __name__ == "__main__":
    sys.exit(main())
