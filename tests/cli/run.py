#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Transcripts of the program: cases/*.txt, and what needs more than one command in
checks.py, conversations.py and watching.py. Standard library only.

usage: run.py --bin MEDLEY [--conformance DIR|none] [--only TEXT]

Prints a line per case that fails or is skipped and a last line 'N passed, N failed, N skipped'. Models are made by
`medley synth` in a temporary folder. A case file consists of cases:

    == name                       what the case shows
    file NAME MODEL: EDIT: EDIT   a broken copy of a model, see gguf_edit.py
    write NAME WORDS              a file with these words
    args WORDS                    the command line, in shell quoting, after 'medley'
    stdin-hex HEX                 standard input (else empty)
    stdout-to PATH                standard output goes there
    exit N                        the exit code
    stdout REGEX, stderr REGEX    what is found in the output (Python regular expressions, '.' includes line feeds)
    absent PATH                   what must not exist afterwards
    holds PATH WORDS              what a file must hold afterwards

A case that exits with 1 or 2 must end in exactly one line 'medley: sentence' on standard error and may leave nothing
behind in the temporary folder beyond what its directives made. {tmp}, {dense}, {moe}... stand for paths.
"""
import argparse
import glob
import os
import re
import shlex
import subprocess
import sys
import tempfile
import traceback

sys.dont_write_bytecode = True  # the source folder stays as it is
import checks
import conversations
import gguf_edit
import watching

HERE = os.path.dirname(os.path.abspath(__file__))


class World:
    """Where cases run: the program, a folder of their own, and the models."""

    def __init__(self, program, conformance, tmp):
        self.program, self.conformance, self.models = program, conformance, os.path.join(tmp, 'models')
        self.tmp = os.path.join(tmp, 'case')
        self.env = {'HOME': tmp, 'XDG_STATE_HOME': os.path.join(tmp, 'state'), 'TERM': 'xterm', 'PATH': os.environ['PATH']}
        for name in os.environ:  # how sanitizers and coverage are told what to do
            if name.endswith('SAN_OPTIONS') or name.startswith('LLVM_PROFILE'):
                self.env[name] = os.environ[name]
        os.makedirs(self.models)
        self.paths = {'tmp': self.tmp}
        self._synth('dense', '--arch', 'llama')
        self._synth('moe', '--arch', 'qwen3moe', '--experts', '8', '--top-k', '2', '--seed', '1')
        self._synth('encoder', '--arch', 'bert')
        self._synth('iq', '--arch', 'llama', '--type-ffn', 'IQ2_XXS', '--width', '256', '--ffn', '512')
        self._write('ids', ' '.join(str(i % 250) for i in range(40)))
        self._write('long', 'all work and no play ' * 60)
        self.paths['streaming'] = os.path.join(self.models, 'streaming.gguf')
        subprocess.run([program, 'pack', self.paths['moe'], '-o', self.paths['streaming'], '--for-streaming', '-q'], check=True, env=self.env)
        self.paths['trace'] = os.path.join(self.models, 'trace')
        subprocess.run([program, 'eval', self.paths['moe'], '--token-ids', self.paths['ids'], '--chunk', '4', '-q', '--trace',
                        self.paths['trace']], check=True, env=self.env)

    def _synth(self, name, *options):
        path = os.path.join(self.models, name + '.gguf')
        subprocess.run([self.program, 'synth', '-o', path, *options], check=True, env=self.env)
        self.paths[name] = path

    def _write(self, name, text):
        self.paths[name] = os.path.join(self.models, name)
        with open(self.paths[name], 'w') as f:
            f.write(text)

    def fill(self, text):
        return re.sub(r'\{(\w+)\}', lambda m: self.paths[m[1]], text)

    def clear(self):
        subprocess.run(['rm', '-rf', self.tmp], check=True)
        os.makedirs(self.tmp)

    def run(self, *args, stdin=b'', stdout=subprocess.PIPE, timeout=120, env=None):
        """Runs the program; args may hold {names}. The result's stdout and stderr are bytes."""
        argv = [self.program, *(self.fill(str(a)) for a in args)]
        return subprocess.run(argv, input=stdin, stdout=stdout, stderr=subprocess.PIPE, timeout=timeout,
                              env={**self.env, **(env or {})}, cwd=self.tmp)

    def ok(self, *args, **more):
        """The standard output, as text, of a command that must succeed."""
        r = self.run(*args, **more)
        assert r.returncode == 0, f'{args}: exit {r.returncode}: {r.stderr.decode(errors="replace")}'
        return r.stdout.decode()


def read_cases(path):
    """(name, [(directive, rest)...]) of each case of a file."""
    cases = []
    for number, line in enumerate(open(path), 1):
        line = line.strip()
        if line.startswith('== '):
            cases.append((line[3:], []))
        elif line and not line.startswith('#'):
            assert cases, f'{path}:{number}: a directive before the first case'
            word, _, rest = line.partition(' ')
            cases[-1][1].append((word, rest))
    return cases


def prepare(world, directives):
    """Makes the files of a case and returns (argv, stdin, stdout path, expectations)."""
    argv, stdin, out, expect = [], b'', None, []
    for word, rest in directives:
        if word == 'file':
            name, model, *edits = shlex.split(rest.replace(': ', ' : '))
            assert model.rstrip(':') in world.paths, model
            split, part = [], []
            for w in edits[1:] if edits[:1] == [':'] else edits:
                if w == ':':
                    split.append(part)
                    part = []
                else:
                    part.append(w)
            split.append(part)
            with open(os.path.join(world.tmp, name), 'wb') as f:
                f.write(gguf_edit.make(world.paths[model.rstrip(':')], split))
        elif word == 'write':
            name, _, text = rest.partition(' ')
            with open(os.path.join(world.tmp, name), 'w') as f:
                f.write(text)
        elif word == 'args':
            argv = shlex.split(rest)
        elif word == 'stdin-hex':
            stdin = bytes.fromhex(rest)
        elif word == 'stdout-to':
            out = rest
        else:
            expect.append((word, world.fill(rest) if word in ('absent', 'holds') else rest))
    return argv, stdin, out, expect


def judge(result, expect):
    """Raises AssertionError if a finished command is not what the case expects."""
    out = (result.stdout or b'').decode(errors='replace')
    err = result.stderr.decode(errors='replace')
    for word, rest in expect:
        if word == 'exit':
            assert result.returncode == int(rest), f'exit {result.returncode}, not {rest}: {err}'
        elif word in ('stdout', 'stderr'):
            text = out if word == 'stdout' else err
            assert re.search(rest, text, re.S), f'{word} has no /{rest}/: {text[:500]!r}'
        elif word == 'absent':
            assert not os.path.exists(rest), f'{rest} is there'
        elif word == 'holds':
            path, _, text = rest.partition(' ')
            assert open(path).read() == text, f'{path} was changed'
        else:
            raise AssertionError(f'unknown directive {word}')
    if result.returncode != 0:
        last = err.rstrip('\n').split('\n')[-1]
        assert err.endswith('\n') and len(re.findall(r'^medley: ', err, re.M)) == 1, f'not one sentence: {err!r}'
        assert last.startswith('medley: ') and len(last) > 20, f'no sentence at the end: {err!r}'


def run_case(world, directives):
    argv, stdin, out, expect = prepare(world, directives)
    assert any(word == 'exit' for word, _ in expect), 'a case must say how the program exits'
    before = sorted(os.listdir(world.tmp))
    if out:
        with open(out, 'wb') as f:
            result = world.run(*argv, stdin=stdin, stdout=f)
    else:
        result = world.run(*argv, stdin=stdin)
    judge(result, expect)
    after = sorted(os.listdir(world.tmp))
    assert result.returncode == 0 or after == before, f'left behind: {set(after) - set(before)}'


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--bin', required=True)
    p.add_argument('--conformance', default='none')
    p.add_argument('--only', default='')
    o = p.parse_args()
    count = {'passed': 0, 'failed': 0, 'skipped': 0}

    def attempt(name, fn):
        if o.only not in name:
            return
        world.clear()
        try:
            fn()
        except checks.Skip as e:
            print(f'SKIP {name}: {e}')
            count['skipped'] += 1
        except Exception as e:
            if not isinstance(e, AssertionError):
                traceback.print_exc()
            print(f'FAIL {name}: {e}')
            count['failed'] += 1
        else:
            count['passed'] += 1

    with tempfile.TemporaryDirectory(prefix='medley-cli-') as tmp:
        world = World(os.path.abspath(o.bin), None if o.conformance == 'none' else o.conformance, tmp)
        for path in sorted(glob.glob(os.path.join(HERE, 'cases', '*.txt'))):
            stem = os.path.basename(path)[:-4]
            for name, directives in read_cases(path):
                attempt(f'{stem}: {name}', lambda: run_case(world, directives))
        for fn in checks.ALL + conversations.ALL + watching.ALL:
            attempt(f'checks: {fn.__name__.replace("_", " ")}', lambda: fn(world))
    print('{passed} passed, {failed} failed, {skipped} skipped'.format(**count))
    sys.exit(count['failed'] > 0 or count['passed'] == 0)


if __name__ == '__main__':
    main()
