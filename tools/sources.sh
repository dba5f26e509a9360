#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The C sources that the formatter keeps, one a line (.def tables are laid out by hand).
set -eu
cd "$(dirname "$0")/.."
find include src tests examples fuzz bench -name '*.[ch]' -o -name '*.inc' | LC_ALL=C sort
