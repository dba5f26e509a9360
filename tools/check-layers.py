#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks every #include of src/, include/ and examples/ against tools/layers.txt.

A quoted include names a file of src/ ("room/file.h") or one beside it ("file.h"); public headers are written <medley/...>.
Public headers include only each other, examples only public headers; tests and fuzzers are free.

usage: tools/check-layers.py [ROOT]
"""
import pathlib
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>|(\S+))', re.MULTILINE)
SUFFIXES = {".c", ".h", ".inc", ".def"}


def read_law(path):
    """Room -> rooms it may include; every row names only rooms above it in the file."""
    law = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        line = line.split("#")[0].strip()
        if not line:
            continue
        room, colon, others = line.partition(":")
        if not colon or room in law:
            sys.exit(f"{path}:{number}: not a row of its own: '{line}'")
        for other in others.split():
            if other not in law:
                sys.exit(f"{path}:{number}: {room} may not include {other}, which does not stand above it")
        law[room] = set(others.split())
    return law


class Checker:
    def __init__(self, root):
        self.root = root
        self.law = read_law(root / "tools" / "layers.txt")
        self.problems = []
        self.n_includes = 0

    def file(self, path, room):
        text = path.read_text(encoding="utf-8")
        for match in INCLUDE.finditer(text):
            line = text.count("\n", 0, match.start(1 if match[1] else 0)) + 1
            self.n_includes += 1
            problem = self.quoted(path, room, match[1]) if match[1] else self.angled(match[2]) if match[2] else \
                f"include of a macro, {match[3]}: nobody can check it"
            if problem:
                self.problems.append(f"{path.relative_to(self.root)}:{line}: {problem}")

    def angled(self, name):
        if name.startswith("medley/"):
            return None if (self.root / "include" / name).is_file() else f"<{name}> does not exist"
        if name.split("/")[0] in self.law and (self.root / "src" / name).is_file():
            return f"<{name}> is ours and not public: write it in quotes"
        return None

    def quoted(self, path, room, name):
        if ".." in name.split("/"):
            return f'"{name}" climbs out of its folder'
        target = self.root / "src" / name
        beside = path.parent / name
        if target.is_file() and "/" in name:
            other = name.split("/")[0]
        elif beside.is_file():
            other = room
        else:
            return f'"{name}" is neither in src/ nor beside this file'
        if room is None:
            return f'"{name}": only <medley/...> here'
        if other in self.law[room] | {room, "base"}:
            return None
        return f'{room} may not include {other} ("{name}", tools/layers.txt)'

    def run(self):
        for folder in sorted(p for p in (self.root / "src").iterdir() if p.is_dir()):
            if folder.name not in self.law:
                self.problems.append(f"src/{folder.name}: no row in tools/layers.txt")
                continue
            for path in sorted(folder.rglob("*")):
                if path.suffix in SUFFIXES:
                    self.file(path, folder.name)
        for name in ("include", "examples"):
            for path in sorted((self.root / name).rglob("*")):
                if path.suffix in SUFFIXES:
                    self.file(path, None)


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent).resolve()
    checker = Checker(root)
    checker.run()
    print("\n".join(checker.problems + [f"layers: {checker.n_includes} includes, {len(checker.problems)} wrong"]))
    return bool(checker.problems) or checker.n_includes == 0


if __name__ == "__main__":
    sys.exit(main())
