#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Speed of a model that is larger than the memory it may take, beside a peer under the same limit.

For each share of the model's size a memory cgroup gets that limit (and 64 MiB that are nobody's); `medley run --memory` runs in it with a
prompt that was never used before, then the peer's own bench program, which takes llama-bench's options, with its weights
mapped. The model's file is dropped from the page cache before every run, so both start cold; what a run reads of it counts
against the limit. Needs a cgroup that this user can write to (root). Standard library only.
"""
import argparse
import csv
import datetime
import json
import os
import random
import shlex
import subprocess
import sys

import versus

MORE = 64 << 20
FIELDS = ['date', 'machine', 'model', 'bytes', 'share', 'limit', 'test', 'rounds', 'medley', 'medley_low', 'medley_high', 'hit_rate',
          'bytes_a_token', 'peak_over_budget', 'peer_name', 'peer_args', 'peer', 'peer_low', 'peer_high', 'ratio']


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('model')
    p.add_argument('--bin', default=os.path.join(versus.ROOT, 'build', 'medley'), help='the medley program')
    p.add_argument('--share', default='50,25', metavar='PERCENT[,PERCENT]', help="limits, in percent of the model's size")
    p.add_argument('--peer', metavar='PATH', help="the peer's bench program; without it medley runs alone")
    p.add_argument('--peer-name', default='', metavar='NAME', help='which peer: its name, commit and date')
    p.add_argument('--peer-args', default='', metavar='ARGS', help='further options of the peer')
    p.add_argument('--args', default='', metavar='ARGS', help='further options of medley run')
    p.add_argument('--prompt', type=int, default=64, metavar='N', help='tokens of a prompt, about')
    p.add_argument('--generate', type=int, default=24, metavar='N')
    p.add_argument('--rounds', type=int, default=2)
    p.add_argument('--csv', default='', help='file to add the results to')
    return p.parse_args()


class Cgroup:
    """A memory cgroup of version 1 or 2 that lives as long as the `with` block."""

    def __init__(self, limit):
        one = os.path.isdir('/sys/fs/cgroup/memory')
        self.folder = f"/sys/fs/cgroup/{'memory/' if one else ''}medley-streaming-{os.getpid()}"
        self.limit, self.peak_file = limit, 'memory.max_usage_in_bytes' if one else 'memory.peak'
        self.limit_file = 'memory.limit_in_bytes' if one else 'memory.max'

    def __enter__(self):
        try:
            os.mkdir(self.folder)
            self._write(self.limit_file, self.limit)
        except OSError as e:
            sys.exit(f'cannot make a memory cgroup: {e}')
        return self

    def _write(self, name, value):
        with open(os.path.join(self.folder, name), 'w') as f:
            f.write(str(value))

    def run(self, command):
        done = subprocess.run(command, capture_output=True, text=True, errors='replace', preexec_fn=lambda: self._write('cgroup.procs', os.getpid()))
        if done.returncode:
            sys.exit(f'{shlex.join(command)} ended with {done.returncode}: {done.stderr.strip()[-600:]}')
        return done.stdout

    def peak(self):
        with open(os.path.join(self.folder, self.peak_file)) as f:
            return int(f.read())

    def __exit__(self, *_):
        try:
            self._write('memory.force_empty', 0)
        except OSError:
            pass  # version 2 has no such file
        os.rmdir(self.folder)


def drop(path):
    """Clean pages of the file leave the page cache."""
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def run_medley(o, limit, seed):
    """One answer: {test: tokens/s} and its figures."""
    words = random.Random(seed)
    prompt = ' '.join(''.join(words.choice('abcdefghijklmnopqrstuvwxyz') for _ in range(3)) for _ in range(o.prompt // 3))
    drop(o.model)
    with Cgroup(limit + MORE) as group:
        out = group.run([o.bin, 'run', o.model, '--raw', '-p', prompt, '-n', str(o.generate), '--temp', '1', '--seed', str(seed), '--ctx',
                         str(o.prompt * 2 + o.generate), '--memory', str(limit), '--json', '-q', *shlex.split(o.args)])
        figures = json.loads(out)['figures']
        figures['over'] = group.peak() - limit
    return {'prompt': figures['prompt_tokens_per_second'], 'generation': figures['generated_tokens_per_second']}, figures


def run_peer(o, limit):
    drop(o.model)
    with Cgroup(limit + MORE) as group:
        out = group.run([o.peer, '-m', o.model, '-t', str(len(os.sched_getaffinity(0))), '-r', '1', '-o', 'json', '-p', str(o.prompt), '-n',
                         str(o.generate), *shlex.split(o.peer_args)])
    return {('prompt' if r['n_gen'] == 0 else 'generation'): r['avg_ts'] for r in json.loads(out[out.index('['):])}


def measure(o, share):
    limit = os.path.getsize(o.model) * share // 100
    ours, theirs, figures = {}, {}, []
    for turn in range(o.rounds):
        for who in ('medley', 'peer') if turn % 2 == 0 else ('peer', 'medley'):
            if who == 'medley':
                found, f = run_medley(o, limit, random.SystemRandom().randrange(1 << 30))
                figures.append(f)
            elif o.peer:
                found = run_peer(o, limit)
            else:
                continue
            for test, speed in found.items():
                (ours if who == 'medley' else theirs).setdefault(test, []).append(speed)
    return limit, ours, theirs, figures


def rows(o, share, limit, ours, theirs, figures):
    stream = [f['streaming'] for f in figures]
    hits, misses = (sum(s[k] for s in stream) for k in ('hits', 'misses'))
    tokens = sum(f['prompt_tokens'] + f['generated_tokens'] for f in figures)
    for test, samples in ours.items():
        a = versus.spread(samples)
        b = versus.spread(theirs[test]) if test in theirs else ('', '', '')
        yield dict(zip(FIELDS, [datetime.date.today().isoformat(), versus.machine(), os.path.basename(o.model), os.path.getsize(o.model), share,
                                limit, test, o.rounds, *(round(x, 3) for x in a), round(hits / max(hits + misses, 1), 4),
                                sum(s['bytes_read'] for s in stream) // max(tokens, 1), max(f['over'] for f in figures), o.peer_name,
                                o.peer_args, *(x if x == '' else round(x, 3) for x in b), '' if b[0] == '' else round(a[0] / b[0], 2)]))


def show(found):
    for r in found:
        peer = '' if r['peer'] == '' else f"  peer {r['peer']:.2f} ({r['peer_low']:.2f} to {r['peer_high']:.2f})  ratio {r['ratio']}"
        print(f"{r['share']:3} %  {r['test']:10} {r['medley']:8.2f} tokens/s ({r['medley_low']:.2f} to {r['medley_high']:.2f})  hits {r['hit_rate']:.1%}  "
              f"read {r['bytes_a_token'] / 1e6:.0f} MB a token  peak {r['peak_over_budget'] / 2**20:+.0f} MiB of the budget{peer}")


def main():
    o = options()
    shares = [int(s) for s in o.share.split(',')]
    if o.rounds < 1 or not all(0 < s <= 1000 for s in shares):
        sys.exit('--rounds must be at least 1 and --share percents')
    for share in shares:
        found = list(rows(o, share, *measure(o, share)))
        show(found)
        if o.csv:
            new = not os.path.exists(o.csv)
            with open(o.csv, 'a', newline='') as f:
                w = csv.DictWriter(f, FIELDS, lineterminator='\n')
                if new:
                    w.writeheader()
                w.writerows(found)
    return 0


if __name__ == '__main__':
    sys.exit(main())
