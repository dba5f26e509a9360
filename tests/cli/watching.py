# SPDX-License-Identifier: Apache-2.0
"""`medley run --watch` on a terminal: the view is there, and the text is as it is without it. Each function of ALL gets a World
(run.py) with an empty folder."""
import json
import os
import re
import time

import terminal

ROWS, COLUMNS = 24, 70
LONG = ['run', '{moe}', '--raw', '-p', 'ab', '-n', '3000', '--temp', '0', '--ignore-eog']
RELEASE = b'\x1b7\x1b[r\x1b8\x1b7\x1b[E\x1b[J\x1b8'


def screen_of(shown, rows=ROWS, columns=COLUMNS):
    return terminal.Screen(rows, columns).feed(shown)


def answer_of(shown):
    """The text above the figures, with all that scrolled away."""
    return screen_of(shown).text().split('\nload ')[0]


def watch_leaves_the_text_as_it_is(w):
    plain = terminal.Terminal(w, LONG, rows=ROWS, columns=COLUMNS)
    assert plain.end() == 0
    watched = terminal.Terminal(w, [*LONG, '--watch', '--memory', '600M', '--trace', 'both'], rows=ROWS, columns=COLUMNS)
    assert watched.end() == 0, watched.seen[-500:]
    assert watched.seen.count(b'\x1b7\x1b[') >= 4, watched.seen[:500]  # drawn again and again
    assert len(answer_of(plain.seen)) > 2000 and answer_of(watched.seen) == answer_of(plain.seen), answer_of(watched.seen)
    assert watched.seen.count(RELEASE) == 1
    view = screen_of(watched.seen[:watched.seen.index(RELEASE)]).shown()[-4:]
    assert re.match(r'(prompt|answer) \d+.*\| slots 16 of 16$|answer \d+ \| [0-9.]+ tokens/s \| hits \d+ %', view[0]), view
    assert [v[:8] for v in view[1:3]] == ['      0 ', '      1 '] and view[3].startswith('layers by experts'), view
    assert b'\x1b[0;32m' in watched.seen
    trace = json.loads(w.ok('trace', 'summary', 'both', '--json'))
    assert trace['rows'] == 3001, trace['rows']  # both look at one session


def watch_without_colours(w):
    t = terminal.Terminal(w, [*LONG, '--watch'], rows=ROWS, columns=COLUMNS, env={'NO_COLOR': '1'})
    assert t.end() == 0
    assert 'used lately'.encode() in t.seen and not re.search(rb'\x1b\[[0-9;]*m', t.seen)


def watch_is_stopped_resized_and_interrupted(w):
    t = terminal.Terminal(w, [*LONG[:-5], '-n', '100000', '--ctx', '110000', '--temp', '0', '--ignore-eog', '--watch'], rows=ROWS,
                          columns=COLUMNS)
    t.wait('tokens/s')
    t.resize(16, 50)
    t.wait('\x1b[1;12r')
    t.say('\x1a')  # its process group is an orphan, which nothing stops: the lines are given back and taken again
    t.wait(RELEASE.decode())
    t.wait('\x1b[1;12r')
    t.resize(6, 50)  # too small for a view
    t.wait(RELEASE.decode())
    time.sleep(0.3)
    t.resize(16, 50)
    t.wait('\x1b[1;12r')
    t.say('\x03')
    assert t.end() == 130, t.seen[-300:]
    last = t.seen.rindex(RELEASE)
    assert b'\x1b[1;12r' not in t.seen[last:] and b'tokens/s |' not in t.seen[last:].split(b'load ')[0]


def watch_is_killed(w):
    """The third signal kills at once, and the terminal is whole all the same."""
    t = terminal.Terminal(w, [*LONG[:-5], '-n', '100000', '--ctx', '110000', '--ignore-eog', '--watch'], rows=ROWS, columns=COLUMNS)
    t.wait('tokens/s')
    for _ in range(3):
        os.kill(t.pid, 2)
    t.end()
    assert screen_of(t.seen).bottom == ROWS - 1 and t.seen.rindex(RELEASE) > t.seen.rindex(b'\x1b[1;20r')


def watch_in_a_chat(w):
    t = terminal.Terminal(w, ['run', '{moe}', '-n', '300', '--temp', '0', '--ignore-eog', '--watch'], rows=ROWS, columns=COLUMNS)
    for line in ('Hello there', 'and once more'):
        t.say(line + '\n', after='> ')
        t.wait('\x1b[1;20r')
        t.wait(RELEASE.decode())
    t.say('\x04', after='> ')
    assert t.end() == 0 and t.seen.count(RELEASE) == 2


def watch_a_dense_model(w):
    t = terminal.Terminal(w, ['run', '{dense}', '--raw', '-p', 'ab', '-n', '20', '--ignore-eog', '--watch', '--json'], rows=ROWS,
                          columns=COLUMNS)
    assert t.end() == 0
    assert b'\x1b[1;23r' in t.seen and b'prompt 0 of ' in t.seen and b'layers' not in t.seen


def watch_where_it_cannot_be(w):
    r = w.run('run', '{moe}', '-p', 'ab', '--watch')
    assert r.returncode == 2 and r.stderr.count(b'\n') == 1
    assert b'--watch draws on a terminal, and standard error is none' in r.stderr, r.stderr
    shown, code = terminal.show(w, ['run', '{moe}', '-p', 'ab', '--watch', '-q'])
    assert code == 2 and b'--quiet wants none' in shown
    shown, code = terminal.show(w, ['run', '{moe}', '-p', 'ab', '--watch'], env={'TERM': 'dumb'})
    assert code == 2 and b'standard error is none' in shown


ALL = [
    watch_leaves_the_text_as_it_is, watch_without_colours, watch_is_stopped_resized_and_interrupted, watch_is_killed, watch_in_a_chat,
    watch_a_dense_model, watch_where_it_cannot_be,
]
