# SPDX-License-Identifier: Apache-2.0
"""bench/serve.py: its figures with a server whose speed is known (stand_in.py), and that soak sees what goes wrong.

Bounds are sharp below, where they tell whether time is counted at all, and wide above: the machine may be busy.
Run by meson as a test; the last line counts.
"""
import csv
import json
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
BENCH = os.path.join(HERE, '..', '..', 'bench', 'serve.py')
STAND_IN = f'{sys.executable} {os.path.join(HERE, "stand_in.py")} {{port}}'


def bench(*words):
    return subprocess.run([sys.executable, '-B', BENCH, *words], capture_output=True, text=True)


def results(*words):
    done = bench(*words, '--json', '--csv', '')
    if done.returncode:
        raise AssertionError(done.stderr[-2000:])
    return json.loads(done.stdout)['results']


class Figures(unittest.TestCase):
    def test_load_counts_and_times(self):
        row, = results('load', '--start', STAND_IN + ' --prefill 0.001 --token 0.02', '--clients', '3', '--requests', '2', '--generate', '6', '--prompt', '40', '--rounds', '1')
        self.assertEqual((row['requests'], row['failed'], row['tokens']), (6, 0, 36))
        self.assertAlmostEqual(row['pieces_a_token'], 1.0)
        self.assertTrue(0.0195 < row['tbt_p50'] < 0.1, row['tbt_p50'])
        self.assertTrue(0.018 < row['ttft_p50'] < 0.3, row['ttft_p50'])  # about 20 words: a word has two tokens there
        self.assertTrue(3 * 6 * 2 / 3 < row['tokens_per_s'] < 3 * 6 * 2 / 0.24, row['tokens_per_s'])
        self.assertEqual(row['prompt_tokens'], row['prompt_tokens'] // 6 * 6)
        self.assertGreater(row['peak_rss'], 1 << 20)

    def test_the_same_answers_each_time(self):
        again = ['load', '--start', STAND_IN, '--clients', '2', '--requests', '2', '--generate', '4', '--rounds', '1']
        one, two, other = results(*again), results(*again, '--form', 'completion'), results(*again, '--seed', '1')
        self.assertEqual(one[0]['answers'], two[0]['answers'])
        self.assertNotEqual(one[0]['answers'], other[0]['answers'])

    def test_two_servers_in_turns(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'a.csv')
            done = bench('load', '--start', STAND_IN + ' --token 0.01', '--against-start', STAND_IN + ' --token 0.03', '--against-name', 'slow one', '--clients', '2',
                         '--requests', '2', '--generate', '10', '--rounds', '2', '--csv', path, '--form', 'chat')
            self.assertEqual(done.returncode, 0, done.stderr)
            with open(path, newline='') as f:
                ours, theirs = csv.DictReader(f)
        self.assertEqual((ours['engine'], theirs['engine'], theirs['rounds']), ('medley', 'slow one', '2'))
        self.assertEqual(ours['ratio'], '')
        self.assertTrue(1.3 < float(theirs['ratio']) < 5, theirs['ratio'])
        self.assertIn('slow one', done.stdout)

    def test_offered_load_and_its_plots(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'a.svg')
            rows = results('offered', '--start', STAND_IN, '--rates', '20,5', '--seconds', '1', '--generate', '5', '--rounds', '1', '--svg', path)
            with open(path) as f:
                text = f.read()
        self.assertEqual([r['point'] for r in rows], [5, 20])
        self.assertTrue(1 <= rows[0]['requests'] <= 15 and 8 <= rows[1]['requests'] <= 40, rows)
        self.assertTrue(text.startswith('<svg') and text.count('<path') > 10 and 'medley' in text)

    def test_interference(self):
        # Decodes of the stand-in are not disturbed.
        row, = results('interference', '--start', STAND_IN + ' --prefill 0.0002 --token 0.01', '--clients', '3', '--long', '400', '--requests', '2', '--seconds', '0.5', '--rounds', '1')
        self.assertTrue(0.1 < row['times'] < 10, row)
        self.assertTrue(0.009 < row['tbt_p99_alone'] < 0.5, row)
        self.assertTrue(0.035 < row['ttft_p50'] < 1, row)  # 200 words

    def test_a_prefix_that_is_kept(self):
        row, = results('prefix', '--start', STAND_IN + ' --prefill 0.0005', '--prefix', '512', '--requests', '3', '--rounds', '1')
        self.assertTrue(0.12 < row['ttft_cold'] < 1, row)
        self.assertGreater(row['times'], 1.3)
        self.assertEqual(row['cached_tokens'], 256)

    def test_failures_are_told(self):
        done = bench('load', '--start', STAND_IN + ' --fault lost', '--clients', '2', '--requests', '5', '--generate', '4', '--rounds', '1', '--json', '--csv', '')
        self.assertEqual(done.returncode, 1)
        self.assertIn('broke off', done.stderr)
        self.assertGreater(json.loads(done.stdout)['results'][0]['failed'], 0)


class Soak(unittest.TestCase):
    def soak(self, fault='', *more):
        done = bench('soak', '0.04', '--start', STAND_IN + (f' --fault {fault}' if fault else ''), '--clients', '4', '--hostile', '0', '--generate', '4', '--requests', '4', '--json',
                     '--csv', '', *more)
        report = json.loads(done.stdout)
        self.assertEqual(done.returncode, int(bool(report['wrong'])), done.stderr)
        return report

    def test_all_is_well(self):
        report = self.soak('', '--hostile', '3')
        self.assertEqual(report['wrong'], [])
        self.assertGreater(report['answered'], 20)
        self.assertEqual((report['asked'], report['lost']), (report['answered'] + report['refused'], 0))
        self.assertGreater(sum(report['hostile'].values()), 2)

    def test_what_goes_wrong_is_seen(self):
        for fault, word in (('lost', 'lost'), ('doubled', 'doubled'), ('other', 'another answer'), ('slot', 'still run')):
            with self.subTest(fault):
                self.assertIn(word, ' '.join(self.soak(fault)['wrong']))

    def test_memory_that_grows_is_seen(self):
        self.assertIn('memory grew', ' '.join(self.soak('leak', '--growth', '1', '--clients', '8')['wrong']))


class Refusals(unittest.TestCase):
    def test_only_this_machine(self):
        for address in ('http://192.0.2.1:80', 'http://example.invalid:1', 'https://127.0.0.1:1', 'file:///tmp'):
            done = bench('load', address)
            self.assertTrue(done.returncode and 'loopback' in done.stderr, (address, done.stderr))

    def test_a_server_that_does_not_start(self):
        done = bench('load', '--start', 'sh -c "echo no model {port} >&2; exit 3"')
        self.assertTrue(done.returncode and 'no model' in done.stderr, done.stderr)

    def test_words_that_make_no_sense(self):
        for words in (['soak'], ['load'], ['load', 'http://127.0.0.1:1', '--start', 'x {port}'], ['load', '--start', 'x'], ['load', 'http://127.0.0.1:1', '--prompt', '9-2']):
            done = bench(*words)
            self.assertTrue(done.returncode == 1 and 'Traceback' not in done.stderr, (words, done.stderr))


if __name__ == '__main__':
    result = unittest.main(exit=False, verbosity=0).result
    failed = len(result.failures) + len(result.errors)
    print(f'{result.testsRun - failed} passed, {failed} failed, {len(result.skipped)} skipped')
    sys.exit(failed > 0)
