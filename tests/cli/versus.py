# SPDX-License-Identifier: Apache-2.0
"""bench/versus.py: its arithmetic with two programs that print what they are told to, and once with the real medley.

Run by meson as a test; exit 0 if all is well.
"""
import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile

from programs import write_program

FAKE_MEDLEY = '''#!/usr/bin/env python3
import json
turn = open({count!r}).read().count('m'); open({count!r}, 'a').write('m')
def result(test, tokens, batch_bytes):
    r = {{"test": test, "tokens_per_s": tokens[turn], "samples": [tokens[turn]], "batch": 1, "logits_hash": {hashes}[turn]}}
    if batch_bytes:
        r |= {{"step_bytes": batch_bytes, "roof_gb_per_s": 2.0}}
    return r
print(json.dumps({{"machine": {{"cores": 7, "isa": "avx2"}}, "model": {{"name": "small, \\"fake\\"", "bytes": 5}},
                  "results": [result("pp512", [90.0, 100.0, 500.0], 0), result("tg64", [10.0, 20.0, 15.0], 1e8),
                              result("tg64@d4096", [5.0, 5.0, 5.0], 2e8)]}}))
'''

FAKE_PEER = '''#!/usr/bin/env python3
import json, sys
a = sys.argv[1:]
open({count!r}, 'a').write('p')
at = lambda name: a[a.index(name) + 1]
assert at('-t') == '3' and at('-o') == 'json' and at('-fa') == '1' and at('-r') == '1', a
rows = []
for n in at('-p').split(','):
    if n != '0':
        rows.append({{"n_prompt": int(n), "n_gen": 0, "avg_ts": 40.0, "samples_ts": [40.0]}})
for n in at('-n').split(','):
    if n != '0':
        depth = int(at('-d')) if '-d' in a else 0
        rows.append({{"n_prompt": 0, "n_gen": int(n), "n_depth": depth, "avg_ts": 12.0 if not depth else 4.0}})
if '-gp' in a:
    depth, n = map(int, at('-gp').split(','))
    rows.append({{"n_prompt": depth, "n_gen": n, "avg_ts": 2.0}})
print("a word first")
print(json.dumps(rows))
'''


class Case:
    def __init__(self, versus, folder, hashes=('aa', 'aa', 'aa')):
        self.versus, self.folder = versus, folder
        self.count, self.csv = os.path.join(folder, 'count'), os.path.join(folder, 'results.csv')
        open(self.count, 'w').close()
        self.medley = write_program(os.path.join(folder, 'medley'), FAKE_MEDLEY.format(count=self.count, hashes=list(hashes)))
        self.peer = write_program(os.path.join(folder, 'peer'), FAKE_PEER.format(count=self.count))

    def run(self, *more):
        return subprocess.run([sys.executable, self.versus, 'm.gguf', '--bin', self.medley, '--peer', self.peer, '--peer-name',
                               'fake 1234567 2026-01-02', '--peer-args', '-fa 1', '--threads', '3', '--generate', '64', '--depth',
                               '0,4096', '--csv', self.csv, *more], capture_output=True, text=True)


def medians_and_ratios(versus, folder):
    c = Case(versus, folder)
    done = c.run('--json')
    assert done.returncode == 0, done.stderr
    found = {r['test']: r for r in json.loads(done.stdout)['results']}
    assert list(found) == ['pp512', 'tg64', 'tg64@d4096']
    pp, tg, deep = found.values()
    assert (pp['medley'], pp['medley_low'], pp['medley_high'], pp['peer'], pp['ratio']) == (100.0, 90.0, 500.0, 40.0, 2.5)
    assert (tg['medley'], tg['peer'], tg['ratio']) == (15.0, 12.0, 1.25)
    assert tg['share_of_roof'] == 0.75 and pp['share_of_roof'] == ''  # 1e8 bytes, 15 a second, of 2e9
    assert deep['ratio'] == 1.25 and deep['peer'] == 4.0
    # The peer is started twice a round: with and without a depth. Who goes first changes.
    assert open(c.count).read() == 'mpp' + 'ppm' + 'mpp'


def results_are_added_to_a_table(versus, folder):
    c = Case(versus, folder)
    assert c.run().returncode == 0
    open(c.count, 'w').close()
    done = c.run()
    assert done.returncode == 0 and 'fake 1234567 2026-01-02 -fa 1' in done.stdout and '2.50' in done.stdout, done.stdout + done.stderr
    with open(c.csv, newline='') as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == 6 and rows[0]['model'] == 'm.gguf' and rows[0]['peer_name'] == 'fake 1234567 2026-01-02' and rows[5]['test'] == 'tg64@d4096'
    assert rows[0]['isa'] == 'avx2' and rows[0]['cores'] == '7' and rows[0]['peer_args'] == '-fa 1' and 'family' in rows[0]['machine']


def a_peer_with_another_option_for_depth(versus, folder):
    done = Case(versus, folder).run('--json', '--peer-depth', 'gp')
    assert done.returncode == 0, done.stderr
    assert {r['test']: r['peer'] for r in json.loads(done.stdout)['results']} == {'pp512': 40.0, 'tg64': 12.0, 'tg64@d4096': 2.0}


def other_logits_are_an_error(versus, folder):
    c = Case(versus, folder, hashes=('aa', 'bb', 'aa'))
    done = c.run()
    assert done.returncode == 1 and 'logits differ' in done.stderr and not os.path.exists(c.csv)


def a_peer_that_fails_is_an_error(versus, folder):
    c = Case(versus, folder)
    write_program(c.peer, '#!/bin/sh\necho no such model >&2\nexit 3\n')
    done = c.run()
    assert done.returncode == 1 and 'no such model' in done.stderr and not os.path.exists(c.csv)


def with_the_real_program(versus, folder, medley):
    c = Case(versus, folder)
    model = os.path.join(folder, 'm.gguf')
    subprocess.run([medley, 'synth', '--arch', 'qwen3moe', '-o', model], check=True)
    done = subprocess.run([sys.executable, versus, model, '--bin', medley, '--peer', c.peer, '--peer-name', 'x', '--peer-args', '-fa 1',
                           '--threads', '3', '--prompt', '8', '--generate', '4', '--rounds', '2', '--csv', '', '--json'],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)['results']
    assert [r['test'] for r in results] == ['pp8', 'tg4']
    assert all(r['medley_low'] <= r['medley'] <= r['medley_high'] and r['threads'] == 3 for r in results)
    assert abs(results[0]['ratio'] - results[0]['medley'] / 40.0) < 1e-3


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--versus', required=True)
    p.add_argument('--bin', required=True)
    o = p.parse_args()
    for case in (medians_and_ratios, results_are_added_to_a_table, a_peer_with_another_option_for_depth, other_logits_are_an_error,
                 a_peer_that_fails_is_an_error):
        with tempfile.TemporaryDirectory() as folder:
            case(o.versus, folder)
    with tempfile.TemporaryDirectory() as folder:
        with_the_real_program(o.versus, folder, o.bin)


if __name__ == '__main__':
    main()
