#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs every fuzzer (fuzz/targets/NAME.c) for SECONDS under ASan and UBSan with clang's libFuzzer, FUZZ_JOBS at a time
# (as many as there are cores), and ends with a table. A fuzzer that found something starts again until its time is up or
# it found five. Inputs that reached something new are kept in the build folder, so that the next run starts from them;
# one that crashes, hangs or takes too much memory is written there, named in the output, and belongs into
# fuzz/corpus/NAME/ once the fault is mended. docs/fuzzing.md says more.
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

# The words that the code under test knows: the string literals of its sources.
dictionary() { # NAME
    local sources
    case $1 in
    gguf) sources=(src/format/*.c) ;;
    model) sources=(src/model/*.c src/model/*.def src/model/arch/*.c) ;;
    request) sources=(src/serve/*.c) ;;
    saved) sources=(fuzz/targets/saved.c src/model/seq_save.c) ;;
    template) sources=(src/text/jinja*.c src/text/chat*.c) ;;
    tokenizer) sources=(src/text/tok*.c src/text/pretok*.c) ;;
    trace) sources=(src/trace/*) ;;
    *) sources=(src/text/"$1"*.c) ;;
    esac
    grep -ohE '"[^"\\%]{2,48}"' "${sources[@]}" 2>/dev/null | LC_ALL=C sort -u
}

fuzz_one() {
    local name=$1 work=$PWD/$build/found-$1 end=$((SECONDS + seconds)) start=$SECONDS rounds=0 found=0 runs coverage
    mkdir -p "$work/corpus"
    rm -f "$work"/log.*
    local seeds=("fuzz/corpus/$name") options=() timeout=10
    [ "$name" = model ] && timeout=60 # a recipe is opened again for everything that it lacks
    dictionary "$name" >"$work/dictionary" || true
    [ -s "$work/dictionary" ] && options=("-dict=$work/dictionary") # an empty one is an error
    [ -n "${FUZZ_SEED:-}" ] && options+=("-seed=$FUZZ_SEED") # the same inputs in the same order
    [ "$name" = model ] && seeds+=(fuzz/corpus/gguf)
    while [ "$SECONDS" -lt "$end" ] && [ "$found" -lt 5 ]; do
        rounds=$((rounds + 1))
        UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 "$build/fuzz/fuzz-$name" -max_total_time=$((end - SECONDS)) \
            -timeout=$timeout -rss_limit_mb=2048 -malloc_limit_mb=512 -max_len=65536 -print_final_stats=1 \
            "${options[@]}" -artifact_prefix="$work/" "$work/corpus" "${seeds[@]}" >"$work/log.$rounds" 2>&1 && break
        found=$((found + 1))
        echo "fuzz $name: FAILED"
        grep -vE '^(#[0-9]|INFO)' "$work/log.$rounds" | tail -n 40
    done
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work"/log.* | awk '{ n += $1 } END { printf "%d", n }')
    coverage=$(sed -n 's/^#.* cov: \([0-9]*\) .*/\1/p' "$work/log.$rounds" | tail -n 1)
    printf '%s\t%d\t%d\t%d\t%s\t%d\t%d\n' "$name" $((SECONDS - start)) "$runs" $((runs / (SECONDS - start + 1))) \
        "${coverage:-0}" "$(find "$work/corpus" -type f | wc -l)" "$found" >"$work/row"
}
export -f fuzz_one dictionary
export build seconds
printf '%s\n' "${names[@]}" | xargs -P "${FUZZ_JOBS:-$(nproc)}" -I NAME bash -c 'fuzz_one NAME'

for name in "${names[@]}"; do cat "$build/found-$name/row"; done | awk -F '\t' '
    BEGIN { form = "%-10s %8s %12s %8s %9s %7s %9s\n"
            printf form, "fuzzer", "seconds", "executions", "a second", "coverage", "corpus", "findings" }
    { printf form, $1, $2, $3, $4, $5, $6, $7; findings += $7; runs += $3 }
    END { printf "fuzz: %d fuzzers, %d executions, %d findings\n", NR, runs, findings; exit findings > 0 }'
