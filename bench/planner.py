#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How well `medley plan` predicts: for each model, budget, batch and number of threads, what it says and what is then measured.

A budget is a percentage of the model's size, or `all` for everything resident. A streamed model's single answers are those of `medley run`,
each with a prompt that was never used before and from a cold page cache: the bench repeats its tokens, which a cache of experts would
learn. The rest is measured by `medley bench`. Both run in a memory cgroup of that limit (as in streaming.py); a budget below the least
that works is left out. A measured figure is the median of all repetitions. The machine's profile is measured anew at the beginning,
since it belongs to the hour. Needs a cgroup that this user can write to (root). Standard library only.
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
import tempfile

import streaming
import versus

FIELDS = ['date', 'machine', 'model', 'bytes', 'budget', 'memory', 'threads', 'batch', 'test', 'predicted', 'measured', 'low', 'high', 'error']


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('model', nargs='+')
    p.add_argument('--bin', default=os.path.join(versus.ROOT, 'build', 'medley'), help='the medley program')
    p.add_argument('--budgets', default='all,70,50', metavar='LIST', help="percent of the model's size, or all")
    p.add_argument('--batches', default='1', metavar='N[,N]')
    p.add_argument('--threads', default=str(len(os.sched_getaffinity(0))), metavar='N[,N]')
    p.add_argument('--prompt', type=int, default=512, metavar='N')
    p.add_argument('--generate', type=int, default=32, metavar='N')
    p.add_argument('--repeat', type=int, default=3, metavar='N')
    p.add_argument('--args', default='', metavar='ARGS', help='further options of both commands, such as --read-ahead off')
    p.add_argument('--wrap', default='', metavar='COMMAND', help='put before every command, such as one that raises its priority')
    p.add_argument('--best', action='store_true', help='compare with the best repetition, not the median: for machines that others use')
    p.add_argument('--cgroups', default='/sys/fs/cgroup', metavar='DIR', help='where cgroups are mounted [/sys/fs/cgroup]')
    p.add_argument('--csv', default='', help='file to add the results to')
    return p.parse_args()


class Machine:
    """Runs commands with a profile folder of its own."""

    def __init__(self, o, folder):
        self.o, self.env, self.measured = o, dict(os.environ, XDG_CACHE_HOME=folder), set()

    def plain(self, command):
        done = subprocess.run(shlex.split(self.o.wrap) + command, capture_output=True, text=True, env=self.env)
        if done.returncode:
            raise RuntimeError(f'{shlex.join(command)} ended with {done.returncode}: {done.stderr.strip()[-600:]}')
        return json.loads(done.stdout)

    def limited(self, command, limit):
        with streaming.Cgroup(self.o.cgroups, limit + streaming.MORE) as group:
            return json.loads(group.run(shlex.split(self.o.wrap) + command))


def positions(o, batch):
    """The room that `medley bench` takes for keys and values (src/run/bench.c)."""
    pages = lambda n: (n + 63) // 64 * 64
    return max(pages(o.prompt) + 64, batch * (pages(o.prompt + o.generate) + 64))


def plan(m, model, memory, threads, batch):
    o = m.o
    command = [o.bin, 'plan', model, '--json', '-q', '--threads', str(threads), '--batch', str(batch), '--prompt', str(o.prompt), '--chunk', '512',
               '--ctx', str(positions(o, batch)), *shlex.split(o.args)]
    if memory:
        command += ['--memory', str(memory)]
    if threads not in m.measured:
        command.append('--measure')
        m.measured.add(threads)
    rows = m.plain(command)['rows']
    return next(r for r in rows if r['resident'] == (memory == 0) and memory in (0, r['memory']))


def bench(m, model, memory, threads, batch):
    o = m.o
    command = [o.bin, 'bench', model, '--json', '-q', '--threads', str(threads), '--batch', str(batch), '--prompt', str(o.prompt), '--chunk', '512',
               '--depth', str(o.prompt), '--generate', str(o.generate), '--repeat', str(o.repeat), *shlex.split(o.args)]
    out = m.limited(command + ['--memory', str(memory)], memory) if memory else m.plain(command)
    return {'prompt' if r['prompt'] else 'generation': r for r in out['results']}


def answer(m, model, memory, threads):
    """A first prompt of about so many tokens (four bytes a word), and what is written behind it."""
    o, found = m.o, {'first prompt': [], 'generation': []}
    for _ in range(o.repeat):
        words = random.SystemRandom()
        prompt = ' '.join(''.join(words.choice('abcdefghijklmnopqrstuvwxyz') for _ in range(3)) for _ in range(o.prompt // 4))
        streaming.drop(model)
        f = m.limited([o.bin, 'run', model, '--raw', '-p', prompt, '-n', str(o.generate), '--temp', '1', '--ignore-eog', '--uses', 'off', '--ctx',
                       str(positions(o, 1)), '--threads', str(threads), '--memory', str(memory), '--json', '-q', *shlex.split(o.args)], memory)['figures']
        found['first prompt'].append(f['prompt_tokens_per_second'])
        found['generation'].append(f['generated_tokens_per_second'])
    return {test: dict(zip(('tokens_per_s', 'lowest', 'highest'), versus.spread(v))) for test, v in found.items()}


def compare(m, model, budget, threads, batch):
    size = os.path.getsize(model)
    memory = 0 if budget == 'all' else size * int(budget) // 100
    try:
        said = plan(m, model, memory, threads, batch)
    except RuntimeError as e:
        print(f'{os.path.basename(model)} at {budget} %: left out: {e}')
        return
    found = answer(m, model, memory, threads) if memory and batch == 1 else bench(m, model, memory, threads, batch)
    for test, r in found.items():
        predicted = said[f"{test.replace(' ', '_')}_tokens_per_s"]
        measured = r['highest'] if m.o.best else r['tokens_per_s']
        yield dict(zip(FIELDS, [datetime.date.today().isoformat(), versus.machine(), os.path.basename(model), size, budget, memory, threads, batch,
                                test, round(predicted, 3), round(measured, 3), round(r['lowest'], 3), round(r['highest'], 3),
                                round(predicted / measured - 1, 4)]))


def show(r):
    print(f"{r['model']:28} {r['budget']:>4} % {r['threads']:2} threads, batch {r['batch']:3}  {r['test']:12} predicted {r['predicted']:9.2f}  measured "
          f"{r['measured']:9.2f} ({r['low']:.2f} to {r['high']:.2f})  {r['error']:+7.1%}", flush=True)


def conclude(rows):
    for test in ('prompt', 'first prompt', 'generation'):
        errors = [abs(r['error']) for r in rows if r['test'] == test]
        if errors:
            print(f'{test}: {len(errors)} configurations, mean error {sum(errors) / len(errors):.1%}, worst {max(errors):.1%}')
    errors = [abs(r['error']) for r in rows]
    print(f'all: mean error {sum(errors) / max(len(errors), 1):.1%}, worst {max(errors, default=0):.1%}')


def main():
    o = options()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        m = Machine(o, folder)
        for model in o.model:
            for budget in o.budgets.split(','):
                for threads in map(int, o.threads.split(',')):
                    for batch in map(int, o.batches.split(',')):
                        for r in compare(m, model, budget, threads, batch):
                            show(r)
                            rows.append(r)
    conclude(rows)
    if o.csv:
        new = not os.path.exists(o.csv)
        with open(o.csv, 'a', newline='') as f:
            w = csv.DictWriter(f, FIELDS, lineterminator='\n')
            if new:
                w.writeheader()
            w.writerows(rows)
    return 0


if __name__ == '__main__':
    sys.exit(main())
