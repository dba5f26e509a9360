#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Starts `medley serve` with small random models and asks it everything. Standard library only.

usage: run.py --bin MEDLEY [--only TEXT]

Prints a line per check that fails and a last line 'N passed, N failed, N skipped'.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import traceback

sys.dont_write_bytecode = True  # the source folder stays as it is
import answers
import behaviour
import forms
from harness import TEMPLATE, Server


class World:
    """The program and its models."""

    def __init__(self, program, tmp):
        self.program, self.tmp = program, tmp
        self.tiny, self.long = self.path('tiny.gguf'), self.path('long.gguf')
        self.encoder = self.path('encoder.gguf')
        self.synth(self.tiny, '--arch', 'qwen3moe')
        self.synth(self.long, '--arch', 'qwen3moe', '--trained-ctx', '65536')
        self.synth(self.encoder, '--arch', 'bert')

    def path(self, name):
        return os.path.join(self.tmp, name)

    def synth(self, path, *options):
        subprocess.run([self.program, 'synth', '-o', path, *options], check=True, capture_output=True)

    def write(self, name, text, mode=0o600):
        with open(self.path(name), 'w') as f:
            f.write(text)
        os.chmod(self.path(name), mode)
        return self.path(name)

    def server(self, *options, model=None):
        return Server(self.program, model or self.tiny, *options)


def run(name, check, *args):
    try:
        skipped = check(*args)
    except Exception as e:
        traceback.print_exc()
        print(f'FAIL {name.replace("_", " ")}: {e}')
        return 'failed'
    if skipped:
        print(f'SKIP {name.replace("_", " ")}: {skipped}')
    return 'skipped' if skipped else 'passed'


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--bin', required=True)
    p.add_argument('--only', default='')
    o = p.parse_args()
    count = {'passed': 0, 'failed': 0, 'skipped': 0}
    with tempfile.TemporaryDirectory(prefix='medley-serve-') as tmp:
        w = World(os.path.abspath(o.bin), tmp)
        with w.server('--template', w.write('chat.jinja', TEMPLATE)) as s:
            for check in answers.ALL + forms.ALL:
                if o.only in check.__name__:
                    count[run(check.__name__, check, s)] += 1
        for check in behaviour.ALL:
            if o.only in check.__name__:
                count[run(check.__name__, check, w)] += 1
    print('{passed} passed, {failed} failed, {skipped} skipped'.format(**count))
    sys.exit(count['failed'] > 0)


if __name__ == '__main__':
    main()
