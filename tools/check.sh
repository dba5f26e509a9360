#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Everything that can be checked without running a test: format, style, layers, and, of a build, its symbols.
#
# usage: tools/check.sh [BUILD-FOLDER]
set -eu
here=$(dirname "$0")
bad=0
unformatted=$(cd "$here/.." && tools/sources.sh | xargs clang-format --dry-run 2>&1 | sed -n 's/:[0-9]*:[0-9]*: warning.*//p' | uniq)
[ -z "$unformatted" ] || { echo "not as clang-format would have it (make format):" $unformatted; bad=1; }
"$here/check-style.sh" || bad=1
"$here/check-layers.py" || bad=1
if [ $# -gt 0 ]; then
    ninja -C "$1" -t targets all | sed -n 's|^\(src/.*\.\(a\|so[0-9.]*\)\): [cS].*|\1|p' | xargs ninja -C "$1" >/dev/null || bad=1
    "$here/check-symbols.sh" "$1" || bad=1
fi
exit "$bad"
