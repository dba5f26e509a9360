#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the built library shows: the shared one exports md_* only, and every external symbol of the static ones begins with
# md_, so that it can be linked into any program. Outside src/kern no object uses vector registers wider than the
# baseline's: only kernels are chosen by what the processor can do.
#
# usage: tools/check-symbols.sh BUILD-FOLDER
set -eu
cd "${1:?"usage: tools/check-symbols.sh BUILD-FOLDER"}"
bad=0

foreign() { awk 'NF >= 3 { print $3 }' | grep -v '^md_' | sort -u || true; }

exported=$(nm -D --defined-only src/libmedley.so | grep -c ' md_' || true)
others=$(nm -D --defined-only src/libmedley.so | foreign)
if [ "$exported" -eq 0 ] || [ -n "$others" ]; then
    echo "src/libmedley.so: $exported md_* symbols; others:" $others
    bad=1
fi

for library in $(find src -name '*.a'); do
    others=$(nm --defined-only --extern-only "$library" 2>/dev/null | foreign)
    [ -z "$others" ] || { echo "$library: external symbols without md_:" $others; bad=1; }
done

case $(uname -m) in
x86_64 | i?86)
    for object in $(find src -name '*.o' ! -path '*kern*'); do
        if objdump -d --no-show-raw-insn "$object" | grep -qE '%[yz]mm'; then
            echo "$object: AVX registers outside src/kern"
            bad=1
        fi
    done
    ;;
esac
[ "$bad" -eq 0 ] && echo "symbols: $exported exported, all md_*"
exit "$bad"
