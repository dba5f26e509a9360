#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The official `openai` clients for Python and JavaScript against `medley serve`: installs both, pinned (tests/clients/), from
# their registries into the folder WORK, starts servers on a small random model with a chat template that knows tools, and on the real
# model if tools/get-model.sh has left it in the cache, and runs both suites. The last line counts.
# Says SKIP and ends with 0 if the registries cannot be reached, unless both clients are in WORK from before.
#
# usage: tools/client-tests.sh PROGRAM [WORK]
set -euo pipefail
program=$(realpath "${1:?"usage: tools/client-tests.sh PROGRAM [WORK]"}")
cd "$(dirname "$0")/.."
suites=$PWD/tests/clients
mkdir -p "${2:-build-clients}"
work=$(realpath "${2:-build-clients}")
real=${XDG_CACHE_HOME:-$HOME/.cache}/medley/SmolLM2-135M-8x.gguf
key=sk-test-$$

install_python() {
    cmp -s "$suites/requirements.txt" "$work/venv/installed.txt" && return
    rm -rf "$work/venv"
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: -r "$suites/requirements.txt" || return
    cp "$suites/requirements.txt" "$work/venv/installed.txt"
}

install_javascript() {
    command -v node >/dev/null && command -v npm >/dev/null || { echo "there is no node and npm here"; return 1; }
    cp "$suites/package.json" "$suites/package-lock.json" "$suites/openai.test.mjs" "$work/"
    cmp -s "$suites/package-lock.json" "$work/node_modules/installed.json" && return
    (cd "$work" && npm ci --ignore-scripts --no-audit --no-fund --silent) || return
    cp "$suites/package-lock.json" "$work/node_modules/installed.json"
}

pids=()
stop() {
    local pid
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" || { echo "a server ended with $?"; return 1; }; done
    pids=()
}
trap 'stop || true' EXIT

# start NAME ARGUMENT...: a server; its address in $url
start() {
    local name=$1
    shift
    "$program" serve "$@" --port 0 --uses off --json >"$work/$name.out" 2>"$work/$name.err" &
    pids+=($!)
    for _ in $(seq 600); do
        url=$(sed -n 's/.*"url": *"\([^"]*\)".*/\1/p' "$work/$name.out")
        [ -n "$url" ] && return
        kill -0 "${pids[-1]}" 2>/dev/null || break
        sleep 0.1
    done
    cat "$work/$name.err"
    return 1
}

skipped=()
install_python >"$work/python.log" 2>&1 || skipped+=("Python")
install_javascript >"$work/javascript.log" 2>&1 || skipped+=("JavaScript")
for language in "${skipped[@]}"; do
    echo "SKIP: the official client for $language cannot be installed here: $(tail -n 1 "$work/${language,,}.log" | cut -c 1-200)"
done
[ ${#skipped[@]} -lt 2 ] || exit 0

"$program" synth -q --force --arch qwen3moe --experts 8 --top-k 2 -o "$work/tiny.gguf"
echo "$key" >"$work/keys"
chmod 600 "$work/keys"
start plain "$work/tiny.gguf" --template "$suites/hermes.jinja" --parallel 8
export MEDLEY_URL=$url
start keys "$work/tiny.gguf" --parallel 1 --queue 1 --api-key-file "$work/keys"
export MEDLEY_KEYS_URL=$url MEDLEY_KEY=$key MEDLEY_REAL_URL=
if [ -e "$real" ]; then
    start real "$real" --ctx 2048
    export MEDLEY_REAL_URL=$url
fi

failed=0 total=(0 0 0)
add() { # PASSED FAILED SKIPPED
    total=($((total[0] + $1)) $((total[1] + $2)) $((total[2] + $3)))
}
if [[ " ${skipped[*]} " != *" Python "* ]]; then
    code=0
    "$work/venv/bin/python" -B "$suites/test_openai.py" >"$work/python.txt" 2>&1 || code=$?
    [ "$code" -eq 0 ] && grep -E '^(SKIP|openai)' "$work/python.txt" || cat "$work/python.txt"
    [ "$code" -eq 0 ] || failed=1
    read -r p f s < <(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p' "$work/python.txt") || { p=0 f=1 s=0; }
    add "$p" "$f" "$s"
fi
if [[ " ${skipped[*]} " != *" JavaScript "* ]]; then
    code=0
    (cd "$work" && node --test --test-reporter=spec openai.test.mjs) >"$work/javascript.txt" 2>&1 || code=$?
    [ "$code" -eq 0 ] && grep -E '# ' "$work/javascript.txt" || cat "$work/javascript.txt"
    [ "$code" -eq 0 ] || failed=1
    echo "openai $(sed -n 's/.*"openai": "\(.*\)"/\1/p' "$suites/package.json") for JavaScript, node $(node --version)"
    count() { sed -n "s/^[^a-z]*$1 \([0-9]*\)$/\1/p" "$work/javascript.txt" | tail -n 1; }
    add "$(count pass)" "$(count fail)" "$(count skipped)"
fi
stop || failed=1
echo "${total[0]} passed, ${total[1]} failed, ${total[2]} skipped"
[ "$failed" -eq 0 ]
