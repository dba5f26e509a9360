#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/text/templates/NAME.json for every NAME.jinja there: what Python's jinja2 makes of each conversation of
conversations.json. Needs jinja2 3.1.

usage: tools/make_template_goldens.py [--check]

Each file maps the name of a conversation to the text, to {"refused": message} where the template calls raise_exception,
or to {"failed": reason} where it cannot be rendered. --check writes nothing and exits with 1 if a file would change.
"""
import argparse
import glob
import json
import os
import sys

sys.dont_write_bytecode = True
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..')
sys.path.insert(0, os.path.join(ROOT, 'tests', 'templates'))
import reference


def golden(env, source, talks):
    template = reference.compiled(env, source)
    made = {}
    for name, variables in talks.items():
        kind, text = reference.render(template, variables)
        made[name] = text if kind == 'text' else {kind: text}
    return json.dumps(made, ensure_ascii=False, indent=1).replace('\u2028', '\\u2028') + '\n'


def main():
    p = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    p.add_argument('--check', action='store_true')
    check = p.parse_args().check
    env, talks, stale = reference.environment(), reference.conversations(), []
    paths = sorted(glob.glob(os.path.join(ROOT, 'tests', 'text', 'templates', '*.jinja')))
    for path in paths:
        with open(path, encoding='utf-8', newline='') as f:
            text = golden(env, f.read(), talks)
        out = path.removesuffix('.jinja') + '.json'
        old = open(out, encoding='utf-8').read() if os.path.exists(out) else None
        if old == text:
            continue
        stale.append(os.path.basename(out))
        if not check:
            with open(out, 'w', encoding='utf-8') as f:
                f.write(text)
    print(f'{len(paths)} templates, {len(talks)} conversations; {"would change" if check else "changed"}: '
          f'{", ".join(stale) or "none"}')
    return 1 if check and stale else 0


if __name__ == '__main__':
    sys.exit(main())
