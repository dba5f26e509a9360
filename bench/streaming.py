#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Speed of models that are larger than the memory they may take, beside other engines under the same limit.

For each model and each share of its size a memory cgroup gets that limit (and 64 MiB that are nobody's), and in it run, in an order that
changes from round to round:

  cold   `medley run` with a prompt that was never used before and nothing known of earlier ones, and each peer's bench program
         without its warm-up
  warm   `medley bench --fresh`: several prompts and answers in one process, none used twice, with 1, 4, 16 sequences; and each
         peer's bench program with its warm-up

The model's file is dropped from the page cache before every run, and what a run reads of it counts against the limit. Peers are bench
programs with llama-bench's options and JSON; those answer one sequence at a time. Before that, without a limit, `medley bench` measures the
model with all weights in memory, and bench-disk what the disk gives from the model's own file. With both goes a bound for the warm
tests: no engine that reads the bytes that were missed can be faster than

  1 / max(time of a token with all weights in memory, bytes missed for a token / bytes that the disk gives in a second)

Needs a memory cgroup, version 1 or 2, that this user can write to (root), and `ninja bench/bench-disk`. Standard library only.
"""
import argparse
import datetime
import errno
import glob
import itertools
import json
import os
import random
import re
import shlex
import subprocess
import sys
import time

import table
import versus

MORE = 64 << 20
STATES = ('cold', 'warm')
FIELDS = ['date', 'machine', 'model', 'bytes', 'share', 'limit', 'state', 'test', 'batch', 'engine', 'args', 'samples', 'tokens_per_s', 'low', 'high',
          'ratio', 'hit_rate', 'bytes_a_token', 'missed_a_token', 'waited', 'peak_over_budget', 'resident', 'disk', 'of_bound']


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('models', nargs='+', metavar='MODEL[=FILE]', help='a model; with =FILE, medley runs that form of it (packed for streaming)')
    p.add_argument('--bin', default=os.path.join(versus.ROOT, 'build', 'medley'), help='the medley program')
    p.add_argument('--disk', metavar='PATH', help='the bench-disk program [beside medley, in bench/]')
    p.add_argument('--disk-rate', type=float, default=0, metavar='MB', help='MB/s of the disk, in place of measuring it')
    p.add_argument('--share', default='100,60,40,25', metavar='PERCENT[,PERCENT]', help="limits, in percent of the model's size [%(default)s]")
    p.add_argument('--state', default='cold,warm', metavar='NAME[,NAME]', help='what is measured [%(default)s]')
    p.add_argument('--batch', default='1,4,16', metavar='N[,N]', help='sequences that medley generates at once when warm [%(default)s]')
    p.add_argument('--peer', action='append', default=[], metavar='"NAME=PATH [ARGS]"',
                   help="another engine's bench program, with options; NAME is to tell commit and date; may be given several times")
    p.add_argument('--args', default='', metavar='ARGS', help='further options of medley run and bench')
    p.add_argument('--prompt', type=int, default=128, metavar='N', help='tokens of a prompt (about, when cold) [%(default)s]')
    p.add_argument('--generate', type=int, default=32, metavar='N', help='tokens of an answer [%(default)s]')
    p.add_argument('--rounds', type=int, default=2, help='times that every program is started [%(default)s]')
    p.add_argument('--repeat', type=int, default=3, help='prompts and answers of a warm process that count [%(default)s]')
    p.add_argument('--cgroups', default='/sys/fs/cgroup', metavar='DIR', help='where cgroups are mounted [%(default)s]')
    p.add_argument('--csv', default=os.path.join(versus.ROOT, 'bench', 'streaming.csv'), help='file to add the results to; "": none')
    p.add_argument('--json', action='store_true', help='print one JSON object in place of the tables')
    o = p.parse_args()
    o.shares, o.batches, o.states = numbers(o.share), numbers(o.batch), o.state.split(',')
    o.peers = [Peer(text) for text in o.peer]
    o.disk = o.disk or os.path.join(os.path.dirname(os.path.abspath(o.bin)), 'bench', 'bench-disk')
    if min(o.rounds, o.repeat, o.prompt, o.generate) < 1 or not all(0 < s <= 1000 for s in o.shares) or not all(0 < b for b in o.batches):
        sys.exit('--rounds, --repeat, --prompt, --generate and --batch must be at least 1, and --share percents')
    for program in [o.bin] + [p.path for p in o.peers] + [o.disk] * ('warm' in o.states and not o.disk_rate):
        if not os.access(program, os.X_OK):
            sys.exit(f"there is no program '{program}'" + (': build it with ninja bench/bench-disk, or give --disk-rate' if program == o.disk else ''))
    if not set(o.states) <= set(STATES):
        sys.exit(f"--state is '{o.state}', but must be {' or '.join(STATES)}, or both with a comma between them")
    return o


def numbers(text):
    try:
        return [int(n) for n in text.split(',')]
    except ValueError:
        sys.exit(f"'{text}' must be whole numbers with commas between them")


# ---- a limit of memory ----

class Cgroup:
    """A memory cgroup of version 1 or 2 that lives as long as the `with` block."""
    count = itertools.count()

    def __init__(self, root, limit):
        self.one = os.path.isdir(os.path.join(root, 'memory'))
        name = f'medley-streaming-{os.getpid()}-{next(Cgroup.count)}'
        self.root, self.limit, self.highest = root, limit, 0
        self.folder = os.path.join(root, 'memory', name) if self.one else os.path.join(root, name)
        self.peak_file = 'memory.max_usage_in_bytes' if self.one else 'memory.peak'
        self.now_file = 'memory.usage_in_bytes' if self.one else 'memory.current'

    def __enter__(self):
        try:
            if not self.one:
                self._enable()
            os.mkdir(self.folder)
            self._write('memory.limit_in_bytes' if self.one else 'memory.max', self.limit)
        except OSError as e:
            sys.exit(f'cannot make a memory cgroup: {e}')
        for name, value in (('memory.memsw.limit_in_bytes', self.limit), ('memory.swap.max', 0)):
            if os.path.exists(os.path.join(self.folder, name)):  # where there is swap, none for this
                self._write(name, value)
        return self

    def _enable(self):
        """Version 2: the children of the root must be allowed to have the controller."""
        with open(os.path.join(self.root, 'cgroup.controllers')) as f:
            if 'memory' not in f.read().split():
                sys.exit(f'{self.root} has no memory controller')
        path = os.path.join(self.root, 'cgroup.subtree_control')
        with open(path) as f:
            enabled = f.read().split()
        if 'memory' not in enabled:
            with open(path, 'w') as f:
                f.write('+memory')

    def _write(self, name, value):
        with open(os.path.join(self.folder, name), 'w') as f:
            f.write(str(value))

    def _read(self, name):
        try:
            with open(os.path.join(self.folder, name)) as f:
                return int(f.read())
        except (OSError, ValueError):
            return None

    def run(self, command):
        """The standard output of a command that ran in the group. Raises Failed."""
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors='replace',
                                 preexec_fn=lambda: self._write('cgroup.procs', os.getpid()))
        while True:
            try:
                out, err = child.communicate(timeout=0.1)
                break
            except subprocess.TimeoutExpired:
                self.highest = max(self.highest, self._read(self.now_file) or 0)
        if child.returncode:
            raise Failed(command, child.returncode, err)
        return out

    def over(self):
        """Bytes of the highest use, page cache included, beyond the limit less what is nobody's; '' where the kernel does not tell."""
        peak = self._read(self.peak_file) or self.highest
        return peak - (self.limit - MORE) if peak else ''

    def __exit__(self, *_):
        if self.one:
            try:
                self._write('memory.force_empty', 0)
            except OSError:
                pass
        for left in range(49, -1, -1):
            try:
                return os.rmdir(self.folder)
            except OSError as e:
                if left == 0 or e.errno != errno.EBUSY:  # busy: a process that is gone is still counted for a moment
                    return print(f'{self.folder} stays behind: {e.strerror}', file=sys.stderr)
                time.sleep(0.02)


class Failed(Exception):
    def __init__(self, command, code, err):
        how = f'was killed by signal {-code}' if code < 0 else f'ended with {code}'
        super().__init__(f'{shlex.join(command)} {how}: {err.strip()[-600:]}')


# ---- the model and the machine ----

def parts(path):
    """The files of a model, which may be split."""
    found = re.fullmatch(r'(.*)-\d{5}-of-(\d{5})\.gguf', path)
    return sorted(glob.glob(f'{glob.escape(found[1])}-?????-of-{found[2]}.gguf')) if found else [path]


def drop(path):
    """Clean pages of the files leave the page cache."""
    for part in parts(path):
        fd = os.open(part, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


class Model:
    def __init__(self, text):
        self.path, _, form = text.partition('=')
        self.ours = form or self.path
        for path in (self.path, self.ours):
            if not os.path.isfile(path):
                sys.exit(f"there is no model '{path}'")
        self.name = os.path.basename(self.path) + (f' as {os.path.basename(form)}' if form else '')
        self.bytes = sum(map(os.path.getsize, parts(self.path)))
        self.disk, self.resident = 0, {}


def disk_rate(o, model):
    """Bytes a second at the number of reads in flight that gives the most, past the page cache if that can be; the median of three
    times, since one lucky figure would be no bound."""
    return o.disk_rate * 1e6 or sorted(best_disk_rate(o, parts(model.ours)[0]) for _ in range(3))[1]


def best_disk_rate(o, path):
    rows = []
    for backend in ('io_uring', 'threads'):  # the second where the first is not to be had
        if not rows:
            out = versus.run([o.disk, path, '--backend', backend, '--seconds', '0.5', '--json'])
            rows = [json.loads(line) for line in out.splitlines()]
    direct = [r['bytes_per_s'] for r in rows if 'direct' in r['reader']]
    return max(direct or [r['bytes_per_s'] for r in rows])


def batch_of(result):
    return 0 if result['prompt'] else result['batch']


def test_name(batch):
    return 'prompt' if batch == 0 else 'generation' if batch == 1 else f'generation x{batch}'


def bench_command(o, model, repeat):
    return [o.bin, 'bench', model.ours, '--prompt', str(o.prompt), '--generate', str(o.generate), '--batch', ','.join(map(str, o.batches)),
            '--repeat', str(repeat), '--fresh', '--json', '-q', *shlex.split(o.args)]


def measure_resident(o, model):
    """Fills model.resident, {batch: tokens/s} with all weights in memory, batch 0 for the prompt; nothing if they do not fit. Called again
    in every round: a bound is what was possible at best."""
    found = json.loads(versus.run(bench_command(o, model, o.repeat)))['results']
    if not any('streaming' in r for r in found):
        for r in found:
            model.resident[batch_of(r)] = max(r['tokens_per_s'], model.resident.get(batch_of(r), 0))


# ---- engines: each gives {batch: figures} of one run ----

def figures(samples, stream=None, tokens=1, seconds=0, over=''):
    return {'samples': samples, 'over': over} | (streamed(stream, tokens, seconds) if stream else {})


def streamed(stream, tokens, seconds):
    """What the store did for so many tokens. Missed are the bytes that some token needed; others were read ahead for nothing."""
    ahead = stream.get('ahead', {'read': 0, 'used': 0})
    asked = stream['misses'] + ahead['read']
    missed = stream['bytes_read'] * (stream['misses'] + ahead['used']) / asked if asked else 0
    return {'hits': stream['hits'], 'misses': stream['misses'], 'read': stream['bytes_read'], 'missed': min(missed, stream['bytes_read']),
            'wait': stream['wait_seconds'], 'tokens': tokens, 'seconds': seconds}


class Medley:
    name = 'medley'

    def __init__(self, o):
        self.args = o.args

    def cold(self, o, model, group):
        words = random.SystemRandom()
        prompt = ' '.join(''.join(words.choice('abcdefghijklmnopqrstuvwxyz') for _ in range(3)) for _ in range(max(o.prompt // 3, 1)))
        out = group.run([o.bin, 'run', model.ours, '--raw', '-p', prompt, '-n', str(o.generate), '--temp', '1', '--seed',
                         str(words.randrange(1 << 30)), '--ctx', str(o.prompt * 2 + o.generate), '--memory', str(group.limit - MORE), '--uses',
                         'off', '--json', '-q', *shlex.split(o.args)])
        f = json.loads(out)['figures']
        n = {0: f['prompt_tokens'], 1: f['generated_tokens']}
        speed = {0: f['prompt_tokens_per_second'], 1: f['generated_tokens_per_second']}
        both = streamed(f['streaming'], sum(n.values()), sum(n[k] / speed[k] for k in n)) if 'streaming' in f else {}  # not told apart
        return {k: figures([speed[k]], over=group.over()) | both for k in n}

    def warm(self, o, model, group):
        out = json.loads(group.run(bench_command(o, model, o.repeat) + ['--memory', str(group.limit - MORE)]))
        found = {}
        for r in out['results']:
            tokens = r['prompt'] or r['generate'] * r['batch']
            found[batch_of(r)] = figures(r['samples'], r.get('streaming'), tokens * len(r['samples']), sum(tokens / s for s in r['samples']),
                                         group.over())
        return found


class Peer:
    def __init__(self, text):
        self.name, _, rest = text.partition('=')
        words = shlex.split(rest)
        if not self.name or not words:
            sys.exit(f"--peer is '{text}', but must be a name, '=', and a program with its options")
        self.path, self.own, self.args = words[0], words[1:], shlex.join(words[1:])
        self.help = None

    def no_warm_up(self):
        """How this program is told not to warm up: forks differ."""
        if self.help is None:
            done = subprocess.run([self.path, '--help'], capture_output=True, text=True, errors='replace')
            self.help = done.stdout + done.stderr
        return ['--no-warmup'] if '--no-warmup' in self.help else ['-w', '0'] if '--warmup' in self.help else []

    def _run(self, o, model, group, more):
        out = group.run([self.path, '-m', model.path, '-t', str(len(os.sched_getaffinity(0))), '-o', 'json', '-p', str(o.prompt), '-n',
                         str(o.generate), *more, *self.own])
        return {0 if r['n_gen'] == 0 else 1: figures(r.get('samples_ts') or [r['avg_ts']], over=group.over())
                for r in json.loads(out[out.index('['):])}  # some builds say something first

    def cold(self, o, model, group):
        return self._run(o, model, group, ['-r', '1', *self.no_warm_up()])

    def warm(self, o, model, group):
        return self._run(o, model, group, ['-r', str(o.repeat)])


# ---- all together ----

def measure(o, model, share, state):
    """{engine's index: {batch: [figures]}}; 0 is medley."""
    engines = [Medley(o), *o.peers]
    limit = model.bytes * share // 100
    found = {i: {} for i in range(len(engines))}
    for turn in range(o.rounds):
        if state == 'warm' and model.resident:
            measure_resident(o, model)
        for i in list(found)[::1 if turn % 2 == 0 else -1]:
            drop(model.path)
            drop(model.ours)
            with Cgroup(o.cgroups, limit + MORE) as group:
                try:
                    one = getattr(engines[i], state)(o, model, group)
                except Failed as e:
                    print(e, file=sys.stderr)  # that an engine cannot run within the limit is a finding, too
                    continue
            for batch, f in one.items():
                found[i].setdefault(batch, []).append(f)
    return engines, found


def bound(model, batch, missed):
    """Tokens a second that nobody can exceed; None if one of its halves is not known."""
    if batch not in model.resident or not model.disk:
        return None
    return 1 / max(1 / model.resident[batch], missed / model.disk)


def row(o, model, share, state, batch, engine, runs, ours):
    speed, low, high = versus.spread([s for f in runs for s in f['samples']])
    r = dict.fromkeys(FIELDS, '') | {
        'date': datetime.date.today().isoformat(), 'machine': versus.machine(), 'model': model.name, 'bytes': model.bytes, 'share': share,
        'limit': model.bytes * share // 100, 'state': state, 'test': test_name(batch), 'batch': max(batch, 1), 'engine': engine.name,
        'args': engine.args, 'samples': sum(len(f['samples']) for f in runs), 'tokens_per_s': round(speed, 3), 'low': round(low, 3),
        'high': round(high, 3), 'peak_over_budget': max((f['over'] for f in runs if f['over'] != ''), default=''),
        'disk': round(model.disk) or '', 'resident': round(model.resident[batch], 3) if batch in model.resident else ''}
    if isinstance(engine, Peer):
        r['ratio'] = round(ours / speed, 3) if ours else ''
    if all('read' in f for f in runs):
        total = {k: sum(f[k] for f in runs) for k in ('hits', 'misses', 'read', 'missed', 'tokens', 'wait', 'seconds')}
        missed = total['missed'] / total['tokens']
        most = bound(model, batch, missed) if state == 'warm' else None  # cold, bytes of prompt and answer are not told apart
        r |= {'hit_rate': round(total['hits'] / max(total['hits'] + total['misses'], 1), 4), 'bytes_a_token': round(total['read'] / total['tokens']), 'missed_a_token': round(missed),
              'waited': round(total['wait'] / total['seconds'], 3), 'of_bound': round(speed / most, 3) if most else ''}
    return r


def rows(o, model, share, state):
    engines, found = measure(o, model, share, state)
    for batch in sorted(set().union(*found.values())):
        ours = versus.spread([s for f in found[0][batch] for s in f['samples']])[0] if batch in found[0] else 0
        for i, engine in enumerate(engines):
            if batch in found[i]:
                yield row(o, model, share, state, batch, engine, found[i][batch], ours)


def percent(x):
    return '-' if x == '' else f'{x:.1%}'


def show_head(model):
    speeds = ', '.join(f'{test_name(b)} {s:.1f}' for b, s in model.resident.items()) or 'does not fit'
    print(f'\n{model.name}, {model.bytes / 1e9:.2f} GB; disk {model.disk / 1e6:.0f} MB/s; all in memory, tokens/s: {speeds}\n')
    print(f"{'of size':>7} {'state':5} {'test':15} {'engine':22}{'tokens/s':>10} {'(low to high)':22}{'ratio':>7}{'hits':>8}{'MB/token':>10}"
          f"{'waited':>8}{'of bound':>10}{'peak':>10}")


def show(found):
    for r in found:
        spread = f"({r['low']:.2f} to {r['high']:.2f})"
        ratio = '' if r['ratio'] == '' else f"{r['ratio']:.2f}"
        read = '-' if r['bytes_a_token'] == '' else f"{r['bytes_a_token'] / 1e6:.1f}"
        peak = '-' if r['peak_over_budget'] == '' else f"{r['peak_over_budget'] / 2**20:+.0f} MiB"
        print(f"{r['share']:5} % {r['state']:5} {r['test']:15} {r['engine'][:21]:22}{r['tokens_per_s']:10.2f} {spread:22}{ratio:>7}{percent(r['hit_rate']):>8}"
              f"{read:>10}{percent(r['waited']):>8}{percent(r['of_bound']):>10}{peak:>10}", flush=True)


def main():
    o = options()
    models, everything, failed = [Model(text) for text in o.models], [], False
    if o.csv:
        table.append(o.csv, FIELDS, [])  # whether it can be added to, before anything is measured
    for model in models:
        if 'warm' in o.states:
            model.disk = disk_rate(o, model)
            measure_resident(o, model)
        if not o.json:
            show_head(model)
        for share, state in itertools.product(o.shares, o.states):
            found = list(rows(o, model, share, state))
            everything += found
            failed |= not any(r['engine'] == Medley.name for r in found)
            if o.csv:
                table.append(o.csv, FIELDS, found)
            if not o.json:
                show(found)
    if o.json:
        print(json.dumps({'results': everything}, indent=1))
    return int(failed)


if __name__ == '__main__':
    sys.exit(main())
