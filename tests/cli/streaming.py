# SPDX-License-Identifier: Apache-2.0
"""bench/streaming.py: its arithmetic and its cgroups with programs that print what they are told to, below a folder that looks as cgroups
do; and once with the real medley.

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

MORE = 64 << 20
MODEL_BYTES = 1000 << 20

FAKE_MEDLEY = '''#!/usr/bin/env python3
import glob, json, os, sys
a = sys.argv[1:]
at = lambda name: a[a.index(name) + 1]
open({log!r}, 'a').write(f"medley {{a[0]}}{{'' if '--memory' in a else ' free'}} {{a[1].split('/')[-1]}}\\n")
stream = {{"slots": 5, "experts": 10, "hits": 30, "misses": 10, "bytes_read": 8000000, "wait_seconds": 1.0,
          "ahead": {{"read": 10, "used": 6}}}}
if '--memory' in a:
    group, = [g for g in glob.glob({cgroups!r} + '/medley-streaming-*') if open(g + '/cgroup.procs').read() == str(os.getpid())]
    limit = int(open(group + '/' + {limit!r}).read())
    assert int(at('--memory')) == limit - {more}, a
    open(group + '/' + {peak!r}, 'w').write(str(limit - {more} + 1024))
if a[0] == 'run':
    assert '--seed' in a and '-p' in a and '--ctx' in a and at('--uses') == 'off', a
    print(json.dumps({{"figures": {{"prompt_tokens": 60, "generated_tokens": 20, "prompt_tokens_per_second": 30.0,
                                  "generated_tokens_per_second": 10.0, "streaming": stream}}}}))
elif {fits} or '--memory' in a:
    assert '--fresh' in a and at('--repeat') == '2' and at('--batch') == '1,4', a
    free = '--memory' not in a
    def result(batch, speed):
        n = 0 if batch else 64
        r = {{"test": "x", "tokens_per_s": speed, "samples": [speed, speed], "prompt": n, "generate": 0 if n else 20, "batch": max(batch, 1)}}
        return r if free else r | {{"streaming": stream}}
    print(json.dumps({{"results": [result(0, 400.0 if free else 100.0), result(1, 25.0 if free else 4.0), result(4, 50.0 if free else 40.0)]}}))
else:
    print(json.dumps({{"results": [{{"tokens_per_s": 1.0, "prompt": 64, "batch": 1, "streaming": stream}}]}}))
'''

FAKE_PEER = '''#!/usr/bin/env python3
import json, sys
a = sys.argv[1:]
if '--help' in a:
    sys.exit(print({help!r}))
open({log!r}, 'a').write("{name} " + ' '.join(w for w in a if w in ('--no-warmup', '-w', '0')) + ' ' + a[a.index('-m') + 1].split('/')[-1] + '\\n')
if {fails}:
    sys.exit("cannot allocate")
assert '-fa' in a and a[a.index('-r') + 1] in '12', a
print("a word first")
print(json.dumps([{{"n_prompt": 64, "n_gen": 0, "avg_ts": 20.0, "samples_ts": [20.0]}}, {{"n_prompt": 0, "n_gen": 20, "avg_ts": 2.0}}]))
'''

FAKE_DISK = '''#!/usr/bin/env python3
import sys
if sys.argv[sys.argv.index('--backend') + 1] == 'io_uring':
    sys.exit(0)
print('{"reader": "4 threads, direct", "in_flight": 1, "bytes_per_s": 200000}')
print('{"reader": "4 threads, direct", "in_flight": 8, "bytes_per_s": 500000}')
print('{"reader": "4 threads, buffered", "in_flight": 8, "bytes_per_s": 900000000}')
'''


class Case:
    def __init__(self, script, folder, version=1, fits=True, fails=False):
        self.script, self.folder = script, folder
        self.log, self.csv = os.path.join(folder, 'log'), os.path.join(folder, 'results.csv')
        root = os.path.join(folder, 'cgroups')
        self.groups = os.path.join(root, 'memory') if version == 1 else root
        os.makedirs(self.groups)
        if version == 2:
            for name, text in (('cgroup.controllers', 'cpu memory'), ('cgroup.subtree_control', 'cpu')):
                with open(os.path.join(root, name), 'w') as f:
                    f.write(text)
        self.root = root
        names = ('memory.limit_in_bytes', 'memory.max_usage_in_bytes') if version == 1 else ('memory.max', 'memory.peak')
        self.medley = write_program(os.path.join(folder, 'medley'), FAKE_MEDLEY.format(log=self.log, cgroups=self.groups, limit=names[0],
                                                                                    peak=names[1], more=MORE, fits=fits))
        self.peers = [write_program(os.path.join(folder, name), FAKE_PEER.format(log=self.log, help=text, name=name, fails=fails and name == 'b'))
                      for name, text in (('a', '--no-warmup  skip'), ('b', '-w, --warmup <0|1>'))]
        self.disk = write_program(os.path.join(folder, 'bench-disk'), FAKE_DISK)
        for name in ('m.gguf', 'p.gguf'):
            with open(os.path.join(folder, name), 'wb') as f:
                f.truncate(MODEL_BYTES if name == 'm.gguf' else MODEL_BYTES + 4096)

    def run(self, *more, model='m.gguf'):
        return subprocess.run([sys.executable, self.script, *('='.join(os.path.join(self.folder, m) for m in model.split('=')) for model in [model]),
                               '--bin', self.medley, '--disk', self.disk, '--cgroups', self.root, '--csv', self.csv, '--share', '50', '--batch',
                               '1,4', '--rounds', '2', '--repeat', '2', '--generate', '20', '--prompt', '64', '--peer',
                               f'one 1234 of 2026-01-02={self.peers[0]} -fa 1', '--peer', f'two={self.peers[1]} -fa off', *more],
                              capture_output=True, text=True)

    def results(self, *more, **named):
        done = self.run('--json', *more, **named)
        assert done.returncode == 0, done.stderr
        return {(r['state'], r['test'], r['engine']): r for r in json.loads(done.stdout)['results']}


def figures_and_the_bound(script, folder):
    c = Case(script, folder)
    found = c.results()
    ours, peer = found['warm', 'generation', 'medley'], found['warm', 'generation', 'one 1234 of 2026-01-02']
    assert ours['tokens_per_s'] == 4.0 and ours['samples'] == 4 and ours['ratio'] == '' and ours['limit'] == MODEL_BYTES // 2
    # 2 rounds of 8 MB for 2 answers of 20 tokens, of which 16 of 20 experts were of use; the disk gives 0.5 MB/s: 0.32 s a token beat
    # 0.04 s in memory
    assert (ours['bytes_a_token'], ours['missed_a_token']) == (200000, 160000) and ours['disk'] == 500000 and ours['resident'] == 25.0
    assert abs(ours['of_bound'] - 4.0 / (1 / 0.32)) < 1e-3
    assert ours['hit_rate'] == 0.75 and abs(ours['waited'] - 1.0 / 10.0) < 1e-3  # 40 tokens at 4 a second
    assert peer['ratio'] == 2.0 and peer['args'] == '-fa 1' and peer['hit_rate'] == '' and peer['of_bound'] == ''
    # Four sequences: 40000 bytes a token are 0.08 s.
    many = found['warm', 'generation x4', 'medley']
    assert many['batch'] == 4 and many['bytes_a_token'] == 50000 and abs(many['of_bound'] - 40.0 * 0.08) < 1e-3
    assert ('warm', 'generation x4', 'two') not in found
    # Cold, prompt and answer are not told apart: 8 MB for 80 tokens, no bound.
    cold = found['cold', 'prompt', 'medley']
    assert cold['tokens_per_s'] == 30.0 and cold['bytes_a_token'] == 100000 and cold['of_bound'] == '' and cold['samples'] == 2
    assert found['cold', 'prompt', 'two']['ratio'] == 1.5 and found['cold', 'generation', 'two']['ratio'] == 5.0
    assert all(r['peak_over_budget'] == 1024 for r in found.values() if r['engine'] == 'medley')


def everyone_has_a_turn(script, folder):
    c = Case(script, folder)
    c.results(model='m.gguf=p.gguf')
    with open(c.log) as f:
        lines = [' '.join(line.split()) for line in f]
    # Once without a limit, and again in every warm round; cold and warm in an order that turns round. Peers get the model, medley the form it was given.
    cold = ['medley run p.gguf', 'a --no-warmup m.gguf', 'b -w 0 m.gguf']
    warm = ['medley bench p.gguf', 'a m.gguf', 'b m.gguf']
    free = ['medley bench free p.gguf']
    assert lines == free + cold + cold[::-1] + free + warm + free + warm[::-1], lines


def cgroups_of_version_2(script, folder):
    c = Case(script, folder, version=2)
    assert all(r['peak_over_budget'] == 1024 for r in c.results('--state', 'warm').values() if r['engine'] == 'medley')
    with open(os.path.join(c.root, 'cgroup.subtree_control')) as f:
        assert f.read() == '+memory'
    with open(os.path.join(c.root, 'cgroup.controllers'), 'w') as f:
        f.write('cpu io')
    done = c.run()
    assert done.returncode == 1 and 'no memory controller' in done.stderr


def a_model_that_does_not_fit_has_no_bound(script, folder):
    c = Case(script, folder, fits=False)
    assert all(r['of_bound'] == '' and r['resident'] == '' for r in c.results('--state', 'warm').values())


def a_peer_that_fails_is_left_out(script, folder):
    c = Case(script, folder, fails=True)
    done = c.run()
    assert done.returncode == 0 and 'cannot allocate' in done.stderr, done.stderr
    with open(c.csv, newline='') as f:
        rows = list(csv.DictReader(f))
    assert {r['engine'] for r in rows} == {'medley', 'one 1234 of 2026-01-02'}
    assert 'generation x4' in done.stdout and '+0 MiB' in done.stdout


def results_are_added_to_a_table(script, folder):
    c = Case(script, folder)
    for _ in range(2):
        done = c.run('--state', 'cold', '--share', '60,40')
        assert done.returncode == 0, done.stderr
    with open(c.csv, newline='') as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == 2 * 2 * 2 * 3 and {r['share'] for r in rows} == {'60', '40'}
    with open(c.csv, 'w') as f:
        f.write('other,columns\n')
    done = c.run()
    assert done.returncode == 1 and 'other columns' in done.stderr


def nonsense_is_refused(script, folder):
    c = Case(script, folder)
    for more, words in ((['--share', '0'], 'percents'), (['--state', 'hot'], "'hot'"), (['--peer', 'name'], "'name'"), (['--batch', '0'], 'at least 1'),
                        (['--share', 'half'], "'half'"), (['--disk', '/nowhere'], 'no program'), (['--cgroups', folder], 'cgroup')):
        done = c.run(*more)
        assert done.returncode == 1 and words in done.stderr and 'Traceback' not in done.stderr, (more, done.stderr)
    assert 'no model' in c.run(model='nowhere.gguf').stderr


def with_the_real_program(script, folder, medley):
    """No limit holds in a folder that only looks like cgroups; what is printed must hang together all the same."""
    c = Case(script, folder)
    model = os.path.join(folder, 'moe.gguf')
    subprocess.run([medley, 'synth', '--arch', 'qwen3moe', '--vocab', '90000', '--experts', '32', '-o', model], check=True)
    with open(model, 'ab') as f:
        f.truncate(400 << 20)  # so that half of it is a budget
    done = subprocess.run([sys.executable, script, model, '--bin', medley, '--disk-rate', '500', '--cgroups', c.root, '--csv', '', '--share', '50',
                           '--batch', '1,4', '--rounds', '1', '--repeat', '2', '--generate', '4', '--prompt', '12', '--json'], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)['results']
    assert [(r['state'], r['test']) for r in found] == [('cold', 'prompt'), ('cold', 'generation'), ('warm', 'prompt'), ('warm', 'generation'),
                                                        ('warm', 'generation x4')]
    assert all(r['low'] <= r['tokens_per_s'] <= r['high'] and 0 <= r['hit_rate'] <= 1 and r['resident'] != '' for r in found[2:])
    assert all(r['of_bound'] != '' and r['disk'] == 500000000 for r in found[2:]) and found[0]['bytes_a_token'] > 0


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--streaming', required=True)
    p.add_argument('--bin', required=True)
    o = p.parse_args()
    for case in (figures_and_the_bound, everyone_has_a_turn, cgroups_of_version_2, a_model_that_does_not_fit_has_no_bound, a_peer_that_fails_is_left_out,
                 results_are_added_to_a_table, nonsense_is_refused):
        with tempfile.TemporaryDirectory() as folder:
            case(o.streaming, folder)
    with tempfile.TemporaryDirectory() as folder:
        with_the_real_program(o.streaming, folder, o.bin)


if __name__ == '__main__':
    main()
