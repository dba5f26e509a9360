#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How well `medley plan` predicts: for each model, budget, batch and number of threads, what it says and what is then measured.

A budget is a percentage of the model's size, or `all` for everything resident. A streamed model's single answers are those of `medley run`,
each with a prompt that was never used before and from a cold page cache: the bench repeats its tokens, which a cache of experts would
learn. The rest is measured by `medley bench`. Both run in a memory cgroup of that limit (as in streaming.py); a budget below the least
that works is left out. Since machines, and disks most of all, change within minutes, the profile is measured anew right before and right
after each repetition, by its microbenchmarks alone; what is predicted for it is the mean of the two. A configuration's figures are the
medians of its repetitions. Needs a cgroup that this user can write to (root). Standard library only.
"""
import argparse
import datetime
import json
import os
import random
import shlex
import subprocess
import sys
import tempfile

import streaming
import table
import versus

FIELDS = ['date', 'machine', 'model', 'bytes', 'budget', 'memory', 'threads', 'batch', 'test', 'predicted', 'predicted_low', 'predicted_high', 'measured', 'low', 'high', 'error']


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
    p.add_argument('--cgroups', default='/sys/fs/cgroup', metavar='DIR', help='where cgroups are mounted [/sys/fs/cgroup]')
    p.add_argument('--csv', default='', help='file to add the results to')
    return p.parse_args()


class Machine:
    """Runs commands with a profile folder of its own."""

    def __init__(self, o, folder):
        self.o, self.env = o, dict(os.environ, XDG_CACHE_HOME=folder)

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


SAID = {'load': 'load_seconds', 'prompt': 'prompt_tokens_per_s', 'first prompt': 'first_prompt_tokens_per_s', 'generation': 'generation_tokens_per_s'}


def plan(m, model, memory, threads, batch, prompt, measure):
    """{test: figure}"""
    o = m.o
    command = [o.bin, 'plan', model, '--json', '-q', '--threads', str(threads), '--batch', str(batch), '--prompt', str(prompt), '--chunk', '512',
               '--ctx', str(positions(o, batch)), *shlex.split(o.args)]
    if memory:
        command += ['--memory', str(memory)]
    if measure:
        command.append('--measure')
    rows = m.plain(command)['rows']
    row = next(r for r in rows if r['resident'] == (memory == 0) and memory in (0, r['memory']))
    return {test: row[name] for test, name in SAID.items()}


def bench(m, model, memory, threads, batch):
    o = m.o
    command = [o.bin, 'bench', model, '--json', '-q', '--threads', str(threads), '--batch', str(batch), '--prompt', str(o.prompt), '--chunk', '512',
               '--depth', str(o.prompt), '--generate', str(o.generate), '--repeat', '2', '--fresh', *shlex.split(o.args)]
    out = m.limited(command + ['--memory', str(memory)], memory) if memory else m.plain(command)
    return {'prompt' if r['prompt'] else 'generation': r['tokens_per_s'] for r in out['results']}


def new_prompt(m, model):
    """A prompt of about so many tokens (four bytes a word), and how many they are."""
    words = random.SystemRandom()
    text = ' '.join(''.join(words.choice('abcdefghijklmnopqrstuvwxyz') for _ in range(3)) for _ in range(m.o.prompt // 4))
    return text, len(m.plain([m.o.bin, 'tokenize', model, '--json', text])['tokens'])


def answer(m, model, memory, threads, prompt):
    o = m.o
    streaming.drop(model)
    f = m.limited([o.bin, 'run', model, '--raw', '-p', prompt, '-n', str(o.generate), '--temp', '1', '--ignore-eog', '--uses', 'off', '--ctx',
                   str(positions(o, 1)), '--threads', str(threads), '--memory', str(memory), '--json', '-q', *shlex.split(o.args)], memory)['figures']
    return {'load': f['load_seconds'], 'first prompt': f['prompt_tokens_per_second'], 'generation': f['generated_tokens_per_second']}


def repetitions(m, model, memory, threads, batch):
    """What was predicted and what was measured, each time."""
    single = memory and batch == 1
    plan(m, model, memory, threads, batch, m.o.prompt, True)
    for _ in range(m.o.repeat):
        text, tokens = new_prompt(m, model) if single else ('', m.o.prompt)
        before = plan(m, model, memory, threads, batch, tokens, False)
        found = answer(m, model, memory, threads, text) if single else bench(m, model, memory, threads, batch)
        after = plan(m, model, memory, threads, batch, tokens, True)
        yield {test: (before[test] + after[test]) / 2 for test in found}, found


def compare(m, model, budget, threads, batch):
    size = os.path.getsize(model)
    memory = 0 if budget == 'all' else size * int(budget) // 100
    try:
        both = list(repetitions(m, model, memory, threads, batch))
    except RuntimeError as e:
        print(f'{os.path.basename(model)} at {budget} %: left out: {e}')
        return
    for test in both[0][1]:
        predicted, measured = (versus.spread([turn[k][test] for turn in both]) for k in (0, 1))
        yield dict(zip(FIELDS, [datetime.date.today().isoformat(), versus.machine(), os.path.basename(model), size, budget, memory, threads, batch,
                                test, *(round(x, 3) for x in (*predicted, *measured)), round(predicted[0] / measured[0] - 1, 4)]))


def show(r):
    unit = 's' if r['test'] == 'load' else 'tokens/s'
    print(f"{r['model']:28} {r['budget']:>4} % {r['threads']:2} threads, batch {r['batch']:3}  {r['test']:12} predicted {r['predicted']:8.2f} "
          f"({r['predicted_low']:.2f} to {r['predicted_high']:.2f})  measured {r['measured']:8.2f} ({r['low']:.2f} to {r['high']:.2f}) {unit}  "
          f"{r['error']:+7.1%}", flush=True)


def conclude(rows):
    def say(name, found):
        errors = [abs(r['error']) for r in found]
        if errors:
            print(f'{name}: {len(errors)} configurations, mean error {sum(errors) / len(errors):.1%}, worst {max(errors):.1%}')

    for streamed in (False, True):
        for test in SAID:
            say(f"{test}, {'within a budget' if streamed else 'everything resident'}", [r for r in rows if r['test'] == test and (r['budget'] != 'all') == streamed])
    say('all tokens/s', [r for r in rows if r['test'] != 'load'])


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
        table.append(o.csv, FIELDS, rows)
    return 0


if __name__ == '__main__':
    sys.exit(main())
