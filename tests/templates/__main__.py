#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Renders every template of a folder with medley and with Python's jinja2, on conversations with system messages,
tools, calls, reasoning and parts, and tells how many agree.

usage: python3 tests/templates --dir DIR [--render PROGRAM] [--conversations FILE.json] [-v]

DIR is searched for *.jinja, *.j2 and *.jinja2, and for chat_template fields of tokenizer_config.json files. PROGRAM is
build/tests/templates/render unless told. Renderings agree when both give the same text or both fail. Each template
that differs anywhere is named with the first difference; -v shows all of them. Exit code: 0 all agree, 1 some do not,
77 jinja2 is missing.
"""
import argparse
import json
import os
import subprocess
import sys

sys.dont_write_bytecode = True
try:
    import reference
except ImportError as e:
    print(f'skipped: {e}')
    sys.exit(77)

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')


class Medley:
    """The renderer as a child process that answers line by line."""

    def __init__(self, program):
        self.child = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def render(self, source, variables):
        rest = {k: v for k, v in variables.items() if k != 'add_generation_prompt'}
        job = {'source': source, 'variables': rest, 'now': reference.NOW,
               'add_generation_prompt': variables.get('add_generation_prompt', False)}
        self.child.stdin.write(json.dumps(job).encode() + b'\n')
        self.child.stdin.flush()
        line = self.child.stdout.readline()
        if not line:
            sys.exit(f'{self.child.args[0]} ended early, with exit code {self.child.wait()}')
        answer = json.loads(line)
        if 'text' in answer:
            return 'text', answer['text']
        return 'refused' if answer['status'] == 'argument' else 'failed', answer['error']


def sources(folder):
    """(name, template source) of all that a folder holds."""
    for where, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(where, name)
            shown = os.path.relpath(path, folder)
            if name.endswith(('.jinja', '.j2', '.jinja2')):
                with open(path, encoding='utf-8', newline='') as f:
                    yield shown, f.read()
            elif name == 'tokenizer_config.json':
                with open(path, encoding='utf-8') as f:
                    found = json.load(f).get('chat_template') or []
                for one in [{'name': 'default', 'template': found}] if isinstance(found, str) else found:
                    yield f'{shown}:{one["name"]}', one['template']


def agree(theirs, ours):
    return theirs == ours if 'text' in (theirs[0], ours[0]) else True


def difference(theirs, ours):
    """Two lines that show where the results part."""
    if theirs[0] == ours[0] == 'text':
        at = next((i for i, (a, b) in enumerate(zip(theirs[1], ours[1])) if a != b), min(len(theirs[1]), len(ours[1])))
        theirs, ours = (('text', '...' * (at > 40) + t[1][max(0, at - 40):at + 40]) for t in (theirs, ours))
    both = (('jinja2', theirs), ('medley', ours))
    return '\n'.join(f'      {who}: {kind} {text[:200]!r}' for who, (kind, text) in both)


def main():
    p = argparse.ArgumentParser(prog='tests/templates', description=__doc__.split('\n\n')[0])
    p.add_argument('--dir', required=True)
    p.add_argument('--render', default=os.path.join(ROOT, 'build', 'tests', 'templates', 'render'))
    p.add_argument('--conversations', default=reference.CONVERSATIONS)
    p.add_argument('-v', '--verbose', action='store_true')
    o = p.parse_args()
    if not os.path.isdir(o.dir):
        p.error(f'{o.dir} is no folder')
    if not os.access(o.render, os.X_OK):
        p.error(f'{o.render} is not there: build it, or name it with --render')
    medley, env, talks = Medley(o.render), reference.environment(), reference.conversations(o.conversations)
    count, same, texts, whole = 0, 0, 0, 0
    for name, source in sources(o.dir):
        template = reference.compiled(env, source)
        differ = []
        rendered = 0
        for talk, variables in talks.items():
            theirs, ours = reference.render(template, variables), medley.render(source, variables)
            texts += theirs[0] == ours[0] == 'text'
            rendered += theirs[0] == 'text'
            if not agree(theirs, ours):
                differ.append((talk, theirs, ours))
        count += 1
        whole += not differ
        same += len(talks) - len(differ)
        if differ:
            print(f'differs: {name} ({len(differ)} of {len(talks)} conversations)')
        elif not rendered:
            print(f'note: {name} renders no conversation: {reference.render(template, talks[next(iter(talks))])[1]}')
        for talk, theirs, ours in differ if o.verbose else differ[:1]:
            print(f'   {talk}\n{difference(theirs, ours)}')
    print(f'{whole} of {count} templates agree; {same} of {count * len(talks)} renderings ({texts} texts, '
          f'{same - texts} that both refuse)')
    if count == 0:
        p.error(f'{o.dir} holds no templates')
    return 0 if whole == count else 1


if __name__ == '__main__':
    sys.exit(main())
