#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Speed of medley beside a peer's own bench program, on one model, in alternating runs.

The peer's program takes llama-bench's options and prints its JSON. Every round runs `medley bench` and then the peer, so that
a noisy machine is noisy for both; the order changes from round to round. Medians are over all samples of all rounds.
docs/bench.md has examples. Standard library only.
"""
import argparse
import datetime
import json
import os
import re
import shlex
import statistics
import subprocess
import sys

import table

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FIELDS = ['date', 'machine', 'cores', 'isa', 'threads', 'model', 'bytes', 'test', 'rounds', 'medley', 'medley_low', 'medley_high',
          'share_of_roof', 'peer_name', 'peer_args', 'peer', 'peer_low', 'peer_high', 'ratio', 'logits_hash']


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('model')
    p.add_argument('--bin', default=os.path.join(ROOT, 'build', 'medley'), help='the medley program')
    p.add_argument('--peer', required=True, metavar='PATH', help="the peer's bench program")
    p.add_argument('--peer-name', required=True, metavar='NAME', help='which peer: its name, commit and date')
    p.add_argument('--peer-args', default='', metavar='ARGS', help='further options of the peer, such as "-fa 1"')
    p.add_argument('--peer-depth', choices=['d', 'gp'], default='d',
                   help='how the peer is told a depth: -d N, or -gp N,TOKENS')
    p.add_argument('--args', default='', metavar='ARGS', help='further options of medley bench, such as "--isa avx2"')
    p.add_argument('--prompt', default='512', metavar='N[,N]')
    p.add_argument('--generate', default='128', metavar='N[,N]')
    p.add_argument('--depth', default='0', metavar='N[,N]')
    p.add_argument('--threads', type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument('--rounds', type=int, default=3, help='times that both programs are started')
    p.add_argument('--repeat', type=int, default=1, help='measured runs of each test in a round')
    p.add_argument('--csv', default=os.path.join(ROOT, 'bench', 'results.csv'), help='file to add the results to; "": none')
    p.add_argument('--json', action='store_true', help='print one JSON object in place of the table')
    return p.parse_args()


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, errors='replace')
    if done.returncode:
        sys.exit(f'{shlex.join(command)} ended with {done.returncode}: {done.stderr.strip()[-600:]}')
    return done.stdout


def numbers(text):
    return [int(n) for n in text.split(',') if int(n) > 0]


def run_medley(o):
    out = json.loads(run([o.bin, 'bench', o.model, '--prompt', o.prompt, '--generate', o.generate, '--depth', o.depth, '--threads',
                          str(o.threads), '--repeat', str(o.repeat), '--json', '-q', *shlex.split(o.args)]))
    return out, {r['test']: r['samples'] for r in out['results']}


def peer_commands(o):
    """One command for what the peer measures at depth 0, and one for each other depth."""
    common = [o.peer, '-m', o.model, '-t', str(o.threads), '-r', str(o.repeat), '-o', 'json', *shlex.split(o.peer_args)]
    prompts, tokens = numbers(o.prompt), numbers(o.generate)
    if prompts or (tokens and '0' in o.depth.split(',')):
        yield common + ['-p', ','.join(map(str, prompts)) or '0', '-n', ','.join(map(str, tokens)) if '0' in o.depth.split(',') and tokens else '0']
    for depth in numbers(o.depth):
        if tokens and o.peer_depth == 'd':
            yield common + ['-p', '0', '-n', ','.join(map(str, tokens)), '-d', str(depth)]
        for n in tokens if o.peer_depth == 'gp' else []:
            yield common + ['-p', '0', '-n', '0', '-gp', f'{depth},{n}']


def peer_test(row):
    """The name that medley gives to the same test."""
    prompt, tokens = int(row['n_prompt']), int(row['n_gen'])
    if tokens == 0:
        return f'pp{prompt}'
    depth = int(row.get('n_depth') or 0) or prompt
    return f'tg{tokens}@d{depth}' if depth else f'tg{tokens}'


def run_peer(o):
    samples = {}
    for command in peer_commands(o):
        out = run(command)
        for row in json.loads(out[out.index('['):]):  # some builds say something first
            samples.setdefault(peer_test(row), []).extend(row.get('samples_ts') or [row['avg_ts']])
    return samples


def machine():
    """The processor in its maker's numbers."""
    try:
        with open('/proc/cpuinfo') as f:
            text = f.read()
    except OSError:
        return 'unknown'
    name = {k: (re.search(rf'^{k}\s*: (.*)$', text, re.M) or ['', ''])[1] for k in ('model name', 'cpu family', 'model')}
    return f"{name['model name'] or 'unknown'} (family {name['cpu family'] or '?'}, model {name['model'] or '?'})"


def spread(samples):
    return statistics.median(samples), min(samples), max(samples)


def measure(o):
    ours, theirs, hashes, last = {}, {}, {}, None
    for turn in range(o.rounds):
        for who in ('medley', 'peer') if turn % 2 == 0 else ('peer', 'medley'):
            if who == 'peer':
                found, into = run_peer(o), theirs
            else:
                (last, found), into = run_medley(o), ours
                for r in last['results']:
                    hashes.setdefault(r['test'], set()).add(r['logits_hash'])
            for test, samples in found.items():
                into.setdefault(test, []).extend(samples)
    for test, seen in hashes.items():
        if len(seen) > 1:
            sys.exit(f'{test}: logits differ between runs: {sorted(seen)}')
    return ours, theirs, last


def rows(o, ours, theirs, last):
    today = datetime.date.today().isoformat()
    for r in last['results']:
        test = r['test']
        if test not in theirs:
            print(f'{test}: the peer did not measure this', file=sys.stderr)
            continue
        a, b = spread(ours[test]), spread(theirs[test])
        roof = r.get('roof_gb_per_s', 0)
        share = r['step_bytes'] * a[0] / r['batch'] * 1e-9 / roof if roof else ''
        yield dict(zip(FIELDS, [today, machine(), last['machine']['cores'], last['machine']['isa'], o.threads, os.path.basename(o.model),
                                last['model']['bytes'], test, o.rounds, *(round(x, 3) for x in a), share and round(share, 3), o.peer_name,
                                o.peer_args, *(round(x, 3) for x in b), round(a[0] / b[0], 3), r['logits_hash']]))


def show(o, found):
    if not found:
        return
    print(f"{found[0]['model']}, {found[0]['threads']} threads, {o.rounds} rounds; {found[0]['machine']}, {found[0]['isa']} kernels")
    print(f"peer: {o.peer_name} {o.peer_args}\n")
    print(f"{'test':16}{'medley':>10}{'(low to high)':>20}{'of roof':>9}{'peer':>10}{'(low to high)':>20}{'ratio':>8}")
    for r in found:
        ours, theirs = (f"({r[k + '_low']:.1f} to {r[k + '_high']:.1f})" for k in ('medley', 'peer'))
        share = f"{r['share_of_roof']:.0%}" if r['share_of_roof'] != '' else '-'
        print(f"{r['test']:16}{r['medley']:10.2f}{ours:>20}{share:>9}{r['peer']:10.2f}{theirs:>20}{r['ratio']:8.2f}")


def main():
    o = options()
    if o.rounds < 1 or o.repeat < 1:
        sys.exit('--rounds and --repeat must be at least 1')
    ours, theirs, last = measure(o)
    found = list(rows(o, ours, theirs, last))
    if o.csv:
        table.append(o.csv, FIELDS, found)
    if o.json:
        print(json.dumps({'peer': o.peer_name, 'rounds': o.rounds, 'results': found}, indent=1))
    else:
        show(o, found)
    return 0 if found else 1


if __name__ == '__main__':
    sys.exit(main())
