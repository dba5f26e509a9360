#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Tests of the page of `medley serve` (web/, tests/web/): its layout, its parts in Node.js, and the whole in a headless
# Chromium against the server. Installs what that needs: as root Debian's chromium, and in any case what
# tests/web/package-lock.json pins, into the build folder. Where Node.js, those packages or a browser cannot be had it says
# SKIP and why, and goes on with what there is.
#
# usage: tools/web-test.sh BUILD-FOLDER          the folder with the program
#        tools/web-test.sh BUILD-FOLDER --unit   only what needs nothing but Node.js; skipped: exit code 77
#        tools/web-test.sh BUILD-FOLDER --write  lays out the sources in place, and does nothing else
set -eu
build=$(cd "$1" && pwd)
what=${2-all}
cd "$(dirname "$0")/.."
modules=$build/web-test

skip() {
    echo "SKIP: $1"
    [ "$what" != --unit ] || exit 77
    exit 0
}

# What Node.js counts, as one line that tools/test-report.py reads; before it what failed.
count() {
    code=0
    node --test --test-reporter=tap "$@" >"$modules/log.txt" 2>&1 || code=$?
    number() { sed -n "s/^# $1 \([0-9]*\)\$/\1/p" "$modules/log.txt" | tail -n 1; }
    [ "$code" -eq 0 ] || sed -n '/^not ok/,/^  \.\.\./p' "$modules/log.txt"
    echo "$(number pass) passed, $(number fail) failed, $(number skipped) skipped"
    return "$code"
}

command -v node >/dev/null || skip "there is no Node.js here (Debian: nodejs, npm)"
version=$(node -p 'process.versions.node.split(".")[0]')
[ "$version" -ge 18 ] || skip "Node.js is older than version 18"
mkdir -p "$modules"
[ "$what" = --write ] || count tests/web/unit/*.test.mjs
[ "$what" != --unit ] || exit 0

[ "$version" -ge 20 ] || skip "Node.js is older than version 20, so the page is not tested in a browser"

command -v npm >/dev/null || skip "there is no npm here, so the page is not tested in a browser"
if ! cmp -s tests/web/package-lock.json "$modules/package-lock.json" || [ ! -d "$modules/node_modules" ]; then
    rm -f "$modules/package-lock.json"
    mkdir -p "$modules/new"
    cp tests/web/package.json tests/web/package-lock.json "$modules/new"
    npm ci --prefix "$modules/new" --ignore-scripts --no-audit --no-fund >"$modules/npm.txt" 2>&1 ||
        skip "npm cannot fetch playwright-core, axe-core and prettier, so the page is not tested in a browser"
    rm -rf "$modules/node_modules"
    mv "$modules/new/"* "$modules"
fi

layout() { node "$modules/node_modules/prettier/bin/prettier.cjs" --config tests/web/prettier.json "$@" web tests/web; }
if [ "$what" = --write ]; then
    layout --log-level warn --write
    exit 0
fi
layout --log-level warn --check || {
    echo "not as prettier would have it: tools/web-test.sh $1 --write" >&2
    exit 1
}

CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
if [ -z "$CHROMIUM" ]; then
    [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null || skip "there is no Chromium here (Debian: chromium)"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } >"$modules/apt.txt" 2>&1 ||
        skip "Chromium cannot be installed here, so the page is not tested in a browser"
    CHROMIUM=$(command -v chromium)
fi
"$build/medley" serve --help >/dev/null 2>&1 || skip "this medley has no server: it was built without libmicrohttpd"
export CHROMIUM MEDLEY="$build/medley" MEDLEY_TEST_MODULES="$modules"
count tests/web/browser.test.mjs
