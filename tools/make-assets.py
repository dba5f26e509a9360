#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes files as a C table for src/serve/assets.h: the server's page, built into the program.

usage: make-assets.py -o OUT.c [FILE...]
"""
import argparse
import os

TYPES = {'.html': 'text/html; charset=utf-8', '.css': 'text/css; charset=utf-8', '.js': 'text/javascript; charset=utf-8',
         '.svg': 'image/svg+xml', '.png': 'image/png', '.ico': 'image/x-icon', '.json': 'application/json',
         '.txt': 'text/plain; charset=utf-8', '.woff2': 'font/woff2'}


def rows(data):
    for i in range(0, len(data), 24):
        yield '    ' + ','.join(str(b) for b in data[i:i + 24]) + ',\n'


def main():
    p = argparse.ArgumentParser()
    p.add_argument('-o', '--output', required=True)
    p.add_argument('files', nargs='*')
    o = p.parse_args()
    names = [os.path.basename(f) for f in o.files]
    assert len(set(names)) == len(names), 'two files of one name'
    with open(o.output, 'w') as out:
        out.write('/* SPDX-License-Identifier: Apache-2.0\n *\n * Written by tools/make-assets.py. */\n#include "serve/assets.h"\n\n')
        for i, path in enumerate(o.files):
            with open(path, 'rb') as f:
                data = f.read()
            out.write(f'static const unsigned char bytes_{i}[] = {{\n' + ''.join(rows(data)) + '    0};\n')
        out.write('const md_asset md_assets[] = {\n')
        for i, name in enumerate(names):
            out.write(f'    {{"{name}", "{TYPES[os.path.splitext(name)[1]]}", bytes_{i}, sizeof bytes_{i} - 1}},\n')
        out.write(f'    {{0, 0, 0, 0}},\n}};\nconst size_t md_n_assets = {len(names)};\n')


if __name__ == '__main__':
    main()
