#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the formatter does not see: the licence line, blanks at line ends, tabs, length walls (1200 lines a file, 150 a
# function; tools/style-allow.txt names the exempt, and may only shrink), names of model families outside their files.
#
# usage: tools/check-style.sh
set -eu
cd "$(dirname "$0")/.."
allow=tools/style-allow.txt
report=$(mktemp)
trap 'rm -f "$report"' EXIT

allowed() { # RULE FILE: is there a row for it?
    grep -v '^#' "$allow" | while read -r rule pattern; do
        # shellcheck disable=SC2254
        [ "$rule" = "$1" ] && case $2 in $pattern) echo yes && break ;; esac
    done | grep -q yes
}

text() { find include src tests examples fuzz bench tools docs python share web .ci Makefile meson.build meson_options.txt ./*.md \
    -type f \( -name '*.[ch]' -o -name '*.inc' -o -name '*.def' -o -name '*.py' -o -name '*.sh' -o -name '*.md' -o \
    -name '*.js' -o -name '*.mjs' -o -name '*.css' -o -name '*.html' -o -name '*.svg' -o \
    -path 'tools/*.txt' -o -name 'meson*' -o -name Makefile -o -path .ci/run \) ! -path '*/corpus/*' ! -path '*/data/*' | LC_ALL=C sort; }

for file in $(text); do
    case $file in
    *.md) ;;
    *) head -n 2 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0' || echo "$file: no SPDX line at its top" ;;
    esac
    grep -nE '[[:blank:]]+$' "$file" | sed "s|^\([0-9]*\):.*|$file:\1: blanks at the end of the line|"
    case $file in *.[ch] | *.inc | *.def | *.py | web/* | *.mjs)
        grep -nP '\t' "$file" | sed "s|^\([0-9]*\):.*|$file:\1: a tab|" ;;
    esac
    [ -z "$(tail -c 1 "$file")" ] || echo "$file: no newline at its end"
done >"$report"

for file in $(tools/sources.sh); do
    lines=$(wc -l <"$file")
    [ "$lines" -le 1200 ] || allowed length "$file" || echo "$file: $lines lines; the wall is 1200"
    # The formatter puts a function's braces alone at the start of a line.
    allowed length "$file" || awk -v file="$file" '
        /^\{$/ { start = NR }
        /^\}$/ && start { if (NR - start > 150) printf "%s:%d: a function of %d lines; the wall is 150\n", file, start, NR - start; start = 0 }
    ' "$file"
done >>"$report"

uncommented() { # FILE: its lines without /* comments */; a comment may name what it describes
    awk '{
        out = ""
        while (length($0))
            if (inside) { at = index($0, "*/"); inside = !at; $0 = at ? substr($0, at + 2) : "" }
            else { at = index($0, "/*"); out = out (at ? substr($0, 1, at - 1) : $0); inside = at > 0; $0 = at ? substr($0, at + 2) : "" }
        print out
    }' "$1"
}

# The engine asks features, never names: families are named in src/model/arch/ and where the allow-list says.
names=$(sed -n 's/^ *\.name = "\([^"]*\)".*/\1/p' src/model/arch/*.c 2>/dev/null | sed 's/[-_]/[-_]?/g' | sort -u | tr '\n' '|')
if [ -n "$names" ]; then
    for file in $(find src -name '*.[ch]' ! -path 'src/model/arch/*' | LC_ALL=C sort); do
        allowed family "$file" || uncommented "$file" | grep -niE "(^|[^a-z0-9])(${names%|})([^a-z]|$)" |
            sed "s|^\([0-9]*\):\(.*\)|$file:\1: names a model family:\2|"
    done >>"$report"
fi

cat "$report"
if [ -s "$report" ]; then
    exit 1
fi
echo "style: $(text | wc -l) files"
