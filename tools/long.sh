#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What takes too long for every change: perplexity of the real model and of its 8-expert twin over the Debian FAQ (24,576
# tokens; the two must agree within 0.5 %) and of Gemma 3 270M over its first 60,000 bytes, the thread tests again and again,
# every fuzzer for ten minutes.
#
# usage: tools/long.sh BUILD-FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:?"usage: tools/long.sh BUILD-FOLDER"}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cache=${XDG_CACHE_HOME:-$HOME/.cache}/medley

text=$cache/debian-faq-11.1.txt
if [ ! -e "$text" ]; then
    echo "fetching the Debian FAQ (package debian-faq)"
    (cd "$work" && { apt-get download -qq debian-faq=11.1 2>/dev/null || { apt-get update -qq && apt-get download -qq debian-faq=11.1; }; })
    dpkg-deb -x "$work"/debian-faq_*.deb "$work/faq"
    gunzip -c "$work/faq/usr/share/doc/debian/FAQ/debian-faq.en.txt.gz" >"$work/text"
    mv "$work/text" "$text"
fi

moe=$(tools/get-model.sh --moe "$build/medley")
dense=$(tools/get-model.sh)
for name in dense moe; do
    echo "medley eval ${!name##*/} --text ${text##*/} --ctx 512 --max-tokens 24576"
    "$build/medley" eval "${!name}" --text "$text" --ctx 512 --max-tokens 24576 --json >"$work/$name.json"
    cat "$work/$name.json"
done
python3 - "$work/dense.json" "$work/moe.json" <<'END'
import json, sys
dense, moe = (json.load(open(path)) for path in sys.argv[1:])
apart = abs(moe["perplexity"] / dense["perplexity"] - 1)
print(f"perplexity {dense['perplexity']:.4f} dense, {moe['perplexity']:.4f} as 8 experts: {100 * apart:.3f} % apart")
sys.exit(apart > 0.005)
END

head -c 60000 "$text" >"$work/front"
echo "medley eval gemma-3-270m-q4_k_m.gguf --text FIRST-60000-BYTES --ctx 512"
"$build/medley" eval "$(tools/get-gemma.sh)" --text "$work/front" --ctx 512 --json

meson test -C "$build" --suite base --suite ops --suite run --repeat 20 --quiet
tools/fuzz.sh 600
