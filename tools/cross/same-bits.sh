#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Do two builds of the program give the same logits, bit for bit? Feeds 48 tokens to conformance models of many families and
# tensor types, on this machine with its best kernels and, with every kernel table of 64-bit Arm, by the other program, whose
# command may begin with what runs it.
#
# usage: tools/cross/same-bits.sh PROGRAM OTHER-PROGRAM
set -eu
here=${1:?"usage: tools/cross/same-bits.sh PROGRAM OTHER-PROGRAM"}
there=${2:?"usage: tools/cross/same-bits.sh PROGRAM OTHER-PROGRAM"}
MODELS="q-mixtral-q4_k q-mixtral-legacy q-mixtral-q2_k q-mixtral-q4_0 q-mixtral-q8_0 q-qwen3moe-mxfp4 q-qwen3moe-iq
    q-qwen3moe-iq-low q-qwen3moe-f16 q-llama-bf16 deepseek2-mla gemma2 gpt-oss qwen3next"
TABLES="scalar neon neondot"

folder=$(dirname "$0")/../../../shared/conformance/models
if [ ! -d "$folder" ]; then
    echo "SKIP: the conformance fixtures are not here"
    exit 0
fi
ids=$(mktemp)
trap 'rm -f "$ids"' EXIT
seq 1 48 >"$ids"

# hash MODEL COMMAND...
hash() {
    model=$folder/$1.gguf
    shift
    "$@" --token-ids "$ids" --json "$model" | sed -n 's/.*"logits_hash": "\([0-9a-f]*\)".*/\1/p'
}

bad=0 n=0
for name in $MODELS; do
    expected=$(hash "$name" "$here" eval)
    for table in $TABLES; do
        # $there is a command: its words are meant to fall apart.
        got=$(hash "$name" $there eval --isa "$table")
        n=$((n + 1))
        [ -n "$got" ] && [ "$got" = "$expected" ] && continue
        echo "$name, $table: logits hash ${got:-missing}, here ${expected:-missing}"
        bad=$((bad + 1))
    done
done
echo "same bits: $n runs of $(echo $MODELS | wc -w) models, $bad other"
[ "$bad" -eq 0 ]
