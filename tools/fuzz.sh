#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs every fuzzer (fuzz/targets/NAME.c) for SECONDS under ASan and UBSan with clang's libFuzzer, as many at a time as
# there are cores. New inputs are kept in the build folder, so that the next run starts from them; one that crashes is
# written there, named in the output, and belongs into fuzz/corpus/NAME/ once the fault is mended.
#
# usage: tools/fuzz.sh SECONDS [NAME...]
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:?"usage: tools/fuzz.sh SECONDS [NAME...]"}
shift
build=${FUZZ_BUILD:-build-fuzz}

if [ ! -e "$build/build.ninja" ]; then
    # The whole library is instrumented for coverage, the targets alone are linked with libFuzzer's main.
    CC=clang meson setup "$build" -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false \
        -Dc_args=-fsanitize=fuzzer-no-link -Doptimization=1 >/dev/null
fi
if [ $# -gt 0 ]; then
    names=("$@")
else
    mapfile -t names < <(ninja -C "$build" -t targets all | sed -n 's|^fuzz/fuzz-\([a-z0-9_-]*\): .*|\1|p' | sort)
fi
[ ${#names[@]} -gt 0 ] || { echo "there is no fuzzer" >&2; exit 1; }
ninja -C "$build" "${names[@]/#/fuzz/fuzz-}" >"$build/build.log" || { cat "$build/build.log"; exit 1; }

fuzz_one() {
    local name=$1 work=$PWD/$build/found-$1
    mkdir -p "$work/corpus"
    local args=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1
        -artifact_prefix="$work/")
    local dictionary=fuzz/corpus/$name.dict
    [ -e "$dictionary" ] && args+=(-dict="$dictionary")
    if UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 "$build/fuzz/fuzz-$name" "${args[@]}" "$work/corpus" \
        "fuzz/corpus/$name" >"$work/log" 2>&1; then
        echo "fuzz $name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log") inputs, nothing found"
    else
        echo "fuzz $name: FAILED"
        grep -vE '^(#[0-9]|INFO)' "$work/log" | tail -n 40
        return 1
    fi
}
export -f fuzz_one
export build seconds
printf '%s\n' "${names[@]}" | xargs -P "$(nproc)" -I NAME bash -c 'fuzz_one NAME'
