# SPDX-License-Identifier: Apache-2.0
"""medley batch on a small model: what it answers is what the same requests get one at a time; killed three times (SIGKILL) it goes on
and ends in the same bytes; Ctrl-C ends it with 130; a second process is refused; damaged and foreign journals are refused.

Run by meson as a test; exit 0 if all is well. Standard library only.
"""
import argparse
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time

LINES = 500
SECONDS = 120


class World:
    def __init__(self, program, tmp):
        self.program, self.tmp = program, tmp
        self.env = {**os.environ, 'HOME': tmp, 'XDG_CACHE_HOME': tmp}
        self.model = self.path('model.gguf')
        self.call('synth', '-o', self.model, '--arch', 'qwen3moe', '--experts', '8', '--top-k', '2', '--seed', '1', '--width', '256', '--ffn',
                  '512', '--layers', '4')

    def path(self, name):
        return os.path.join(self.tmp, name)

    def call(self, *args, code=0):
        r = subprocess.run([self.program, *args], env=self.env, capture_output=True, timeout=SECONDS)
        assert r.returncode == code, (args, r.returncode, r.stderr.decode(errors='replace'))
        return r

    def args(self, out, *more):
        return ['batch', self.model, '-i', self.path('in.jsonl'), '-o', self.path(out), *more]

    def start(self, out):
        return subprocess.Popen([self.program, *self.args(out)], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def read(self, name):
        with open(self.path(name), 'rb') as f:
            return f.read()


def request(i):
    """A third shares a long beginning; some are refused, some draw at random, some want several answers, some are embeddings."""
    body, url = {'max_tokens': 8 + i % 40}, '/v1/completions'
    if i % 3 == 0:
        url = '/v1/chat/completions'
        body['messages'] = [{'role': 'system', 'content': 'One and the same long beginning. ' * 8},
                            {'role': 'user', 'content': f'Question {i}'}]
    else:
        body['prompt'] = f'{i} {"and so on " * (i % 9)}'
    if i % 4 == 1:
        body['temperature'] = 0
    if i % 7 == 2:
        body['n'] = 2
    if i % 11 == 3:
        body['logprobs'] = True if i % 3 == 0 else 2
    if i % 13 == 4:
        body, url = {'input': [f'text {i}', 'another']}, '/v1/embeddings'
    if i % 50 == 5:
        body['no_such_field'] = 1
    return {'custom_id': f'request {i}', 'method': 'POST', 'url': url, 'body': body}


def write_input(world):
    with open(world.path('in.jsonl'), 'w') as f:
        for i in range(LINES):
            f.write(json.dumps(request(i)) + '\n' if i != 77 else 'this is no request\n')


def check_answers(world):
    lines = [json.loads(line) for line in world.read('whole.jsonl').splitlines()]
    assert len(lines) == LINES
    created = int(os.stat(world.path('in.jsonl')).st_mtime)
    for i, line in enumerate(lines):
        assert set(line) == {'id', 'custom_id', 'response', 'error'} and line['error'] is None, line
        assert line['custom_id'] == (f'request {i}' if i != 77 else None), line
        status, body = line['response']['status_code'], line['response']['body']
        assert status == (400 if i == 77 or i % 50 == 5 else 200), line
        if status == 400:
            assert body['error']['message'], line
        elif 'choices' in body:
            assert body['created'] == created and len(body['choices']) == (2 if i % 7 == 2 else 1), line
            assert body['usage']['prompt_tokens_details']['cached_tokens'] == 0, line
        else:
            assert [len(v['embedding']) for v in body['data']] == [256, 256], line
    assert len({line['id'] for line in lines}) == LINES


def answers_in(world, journal):
    """How many answers are committed: counted in a copy, since the process holds the journal itself."""
    copy = world.path('copy')
    for end in '', '-wal':
        if os.path.exists(copy + end):
            os.remove(copy + end)
        if os.path.exists(journal + end):
            shutil.copy(journal + end, copy + end)
    if not os.path.exists(copy):
        return 0
    db = sqlite3.connect(copy)
    try:
        return db.execute('SELECT count(*) FROM answer').fetchone()[0]
    except sqlite3.DatabaseError:  # it was copied in the middle of a change
        return 0
    finally:
        db.close()


def wait_for_answers(world, out, process, more_than):
    until = time.monotonic() + SECONDS
    while process.poll() is None and answers_in(world, world.path(out + '.journal')) <= more_than:
        assert time.monotonic() < until
        time.sleep(0.02)


def kill_three_times(world, want):
    answered, kills = 0, 0
    while kills < 3:
        process = world.start('killed.jsonl')
        wait_for_answers(world, 'killed.jsonl', process, answered)
        process.kill()
        said = process.communicate()[1].decode()
        assert process.returncode == -signal.SIGKILL, 'the batch is too short to be killed three times'
        assert kills == 0 or f'going on: {answered} of {LINES}' in said, said
        assert not os.path.exists(world.path('killed.jsonl'))
        now = answers_in(world, world.path('killed.jsonl.journal'))
        assert now > answered, said
        answered, kills = now, kills + 1
    summary = json.loads(world.call(*world.args('killed.jsonl', '--json')).stdout)
    assert summary['lines'] == LINES and summary['failed'] == 11 and summary['ok'] == LINES - 11, summary
    assert summary['resumed_lines'] == answered < LINES, summary
    assert world.read('killed.jsonl') == want
    assert not [f for f in os.listdir(world.tmp) if f.startswith('killed.jsonl.')]


def interrupt(world, want):
    process = world.start('stopped.jsonl')
    wait_for_answers(world, 'stopped.jsonl', process, 0)
    assert b'another process works on the journal' in world.call(*world.args('stopped.jsonl'), code=1).stderr
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=SECONDS)[1].decode()
    assert process.returncode == 130, (process.returncode, said)
    assert 'the same command goes on from there' in said and not os.path.exists(world.path('stopped.jsonl')), said
    other = world.call(*world.args('stopped.jsonl', '--ctx', '512'), code=2).stderr
    assert b'was begun with other settings: give --restart' in other, other
    world.call(*world.args('stopped.jsonl', '--parallel', '5', '--keep-journal'))
    assert world.read('stopped.jsonl') == want
    os.remove(world.path('stopped.jsonl'))
    summary = json.loads(world.call(*world.args('stopped.jsonl', '--json')).stdout)  # the journal has everything
    assert summary['resumed_lines'] == LINES and summary['steps'] == 0 and world.read('stopped.jsonl') == want, summary


def refuse(world):
    with open(world.path('diary'), 'w') as f:
        f.write('Dear diary, ' * 100)
    said = world.call(*world.args('no.jsonl', '--journal', world.path('diary'), '--restart'), code=2).stderr
    assert b'is not a journal of medley batch' in said, said
    assert world.read('diary').startswith(b'Dear') and not os.path.exists(world.path('no.jsonl'))


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--bin', required=True)
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        world = World(a.bin, tmp)
        write_input(world)
        world.call(*world.args('whole.jsonl'))
        check_answers(world)
        want = world.read('whole.jsonl')
        world.call(*world.args('alone.jsonl', '--parallel', '1'))
        assert world.read('alone.jsonl') == want
        kill_three_times(world, want)
        interrupt(world, want)
        refuse(world)


if __name__ == '__main__':
    main()
