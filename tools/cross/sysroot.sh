#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What a build for 64-bit Arm on another machine needs beside Debian's cross compiler (packages gcc-aarch64-linux-gnu and
# libc6-dev-arm64-cross): Debian's arm64 packages of our libraries, unpacked into FOLDER; FOLDER/cross.ini for `meson setup
# --cross-file`, whose path is printed; and FOLDER/run, by which Meson runs tests: a program of that build in qemu's user
# mode (package qemu-user), as the processor that QEMU_CPU names. Nothing is installed and no root is needed: to install
# them beside their amd64 twins would first bring half the system to its newest versions.
# Exit code 3: the packages could not be fetched.
#
# usage: tools/cross/sysroot.sh FOLDER
set -eu
PACKAGES="libpcre2-dev libpcre2-8-0 libutf8proc-dev libutf8proc2 libjansson-dev libjansson4 libmd-dev libmd0 libcmocka-dev libcmocka0"

here=$(cd "$(dirname "$0")" && pwd)
root=${1:?"usage: tools/cross/sysroot.sh FOLDER"}
mkdir -p "$root"
root=$(cd "$root" && pwd)

if [ "$(cat "$root/packages" 2>/dev/null)" != "$PACKAGES" ]; then
    # An apt of its own, with the machine's sources and keys: its lists, and which packages it has, stay as they are.
    work=$(mktemp -d "$root/.fetch.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
    cat >"$work/apt.conf" <<END
Dir::State::lists "$work/lists";
Dir::State::status "/dev/null";
Dir::Cache "$work/cache";
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "";
Acquire::Languages "none";
END
    export APT_CONFIG="$work/apt.conf"
    apt-get update -qq >"$work/log" 2>&1 || true # one source that fails need not be the one that matters
    (cd "$work" && apt-get download -qq $PACKAGES) >>"$work/log" 2>&1 ||
        { cat "$work/log" >&2; echo "sysroot: the arm64 packages cannot be fetched" >&2; exit 3; }
    for package in "$work"/*.deb; do dpkg-deb -x "$package" "$root"; done
    echo "$PACKAGES" >"$root/packages"
fi
cat >"$root/run" <<END
#!/bin/sh
exec qemu-aarch64 -L /usr/aarch64-linux-gnu -E LD_LIBRARY_PATH="$root/usr/lib/aarch64-linux-gnu" "\$@"
END
chmod +x "$root/run"
sed "s|@SYSROOT@|$root|g" "$here/aarch64.ini" >"$root/cross.ini"
echo "$root/cross.ini"
