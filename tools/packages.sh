#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes sure that the Debian packages of the named groups are there (tools/packages.txt): names what is missing with the
# one line that installs it, and as root runs that line. On other systems it says so and leaves the rest to Meson.
#
# usage: tools/packages.sh GROUP...
set -eu
list=$(dirname "$0")/packages.txt

if ! command -v dpkg-query >/dev/null; then
    echo "packages: no dpkg here, so nothing is checked; $list names what Debian calls the parts" >&2
    exit 0
fi

missing=
for group in "$@"; do
    for package in $(awk -v group="$group" '!/^#/ && $2 == group { print $1 }' "$list"); do
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
            missing="$missing $package"
    done
done
[ -n "$missing" ] || exit 0

line="apt-get install -y --no-install-recommends$missing"
echo "missing packages:$missing" >&2
if [ "$(id -u)" -ne 0 ]; then
    echo "install them with: sudo $line" >&2
    exit 1
fi
echo "installing: $line" >&2
export DEBIAN_FRONTEND=noninteractive
# A fresh image has no package lists, and old ones may name files that are gone: then fetch them and try again.
if [ -z "$(find /var/lib/apt/lists -name '*_Packages*' 2>/dev/null | head -n 1)" ] || ! $line -o Dpkg::Use-Pty=0 -qq >/dev/null 2>&1; then
    apt-get update -qq
    $line -o Dpkg::Use-Pty=0 -qq >/dev/null
fi
