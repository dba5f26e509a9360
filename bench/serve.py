#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Load on OpenAI-style servers of this machine: medley's, and any other's by its address. Scenarios:

  load          N clients, each of whom asks again as soon as it was answered: tokens/s, time to the first token (TTFT), time
                between tokens (TBT)
  offered       requests at given rates, whether or not earlier ones were answered: the same over offered load, with plots (--svg)
  interference  N answers under way, alone and while long prompts arrive: how many times longer TBT p99 gets. The server needs room for
                one request more than --clients
  prefix        a long beginning for the first time and again with another end: how many times sooner the first token comes
  soak          full load for some MINUTES beside clients that vanish, stall and send garbage: every answer is compared with that to the
                same request alone, memory is watched

A server is given by its address, or by the command that starts it (--start 'medley serve MODEL --port {port}'), which then runs only
while it is measured. With --against or --against-start a second one is measured in turns with the first, on the same prompts.
Tokens are counted by the servers' usage figures; TBT is the time between pieces of an answer as they arrive. docs/serving.md has examples.
Standard library only.
"""
import argparse
import asyncio
import contextlib
import datetime
import json
import os
import signal
import statistics
import sys

import serve_plot
import serve_scenarios
import serve_soak
import table
import versus
from endpoint import Address, Server, memory

FIELDS = ['date', 'machine', 'cores', 'model', 'scenario', 'point', 'clients', 'prompt', 'generate', 'engine', 'args', 'rounds', 'requests',
          'failed', 'tokens_per_s', 'low', 'high', 'all_tokens_per_s', 'ttft_p50', 'ttft_p95', 'ttft_p99', 'tbt_p50', 'tbt_p95', 'tbt_p99',
          'tbt_p99_alone', 'ttft_cold', 'ttft_warm', 'times', 'ratio', 'peak_rss', 'answers']
MAIN = {'load': 'tokens_per_s', 'offered': 'tokens_per_s', 'interference': 'times', 'prefix': 'times'}
GENERATE = {'load': 64, 'offered': 64, 'interference': 1, 'prefix': 4, 'soak': 24}
REQUESTS = {'load': 4, 'offered': 1, 'interference': 3, 'prefix': 5, 'soak': 16}


def parser():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('scenario', choices=[*MAIN, 'soak'])
    p.add_argument('words', nargs='*', metavar='[MINUTES] [ADDRESS]', help='minutes of soak; http://127.0.0.1:PORT')
    p.add_argument('--start', metavar='COMMAND', help='starts the server; {port} stands for the port')
    p.add_argument('--against', metavar='ADDRESS', help='a second server')
    p.add_argument('--against-start', metavar='COMMAND', help='starts it')
    p.add_argument('--name', default='medley', help='what the first server is called [%(default)s]')
    p.add_argument('--against-name', default='peer', help='the second, with commit and date [%(default)s]')
    p.add_argument('--args', default='', help='settings of the first server to tell beside its figures [its command]')
    p.add_argument('--against-args', default='', help='those of the second [its command]')
    p.add_argument('--model', default='', help='the model asked for [the first that a server lists]')
    p.add_argument('--model-name', default='', help='what results call it [the same]')
    p.add_argument('--api-key-file', metavar='FILE', help='its first line is the key')
    p.add_argument('--pid', type=int, default=0, help='the process of a server given by its address, to watch its memory')
    p.add_argument('--form', choices=['completion', 'chat'], default='completion', help='which requests [%(default)s]')
    p.add_argument('--clients', type=int, default=16, help='clients, or answers under way [%(default)s]')
    p.add_argument('--requests', type=int, help='of each client; long prompts; prefixes; different requests of soak [4, 3, 5, 16]')
    p.add_argument('--prompt', default='32-256', metavar='N[-N]', help='tokens of a prompt, evenly spread [%(default)s]')
    p.add_argument('--generate', type=int, metavar='N', help='tokens of an answer [64; prefix 4, soak 24]')
    p.add_argument('--decode', type=int, default=1000, metavar='N', help='tokens of an answer that prompts disturb, at most [%(default)s]')
    p.add_argument('--long', type=int, default=2048, metavar='N', help='tokens of a long prompt [%(default)s]')
    p.add_argument('--prefix', type=int, default=1024, metavar='N', help='tokens of a shared beginning [%(default)s]')
    p.add_argument('--rates', default='0.5,1,2,4', metavar='R[,R]', help='requests a second [%(default)s]')
    p.add_argument('--seconds', type=float, default=20, help='time at each rate; of answers alone [%(default)s]')
    p.add_argument('--rounds', type=int, default=3, help='times that each server is measured [%(default)s]')
    p.add_argument('--seed', type=int, default=0, help='of prompts and arrivals [%(default)s]')
    p.add_argument('--timeout', type=float, default=600, help='seconds that an answer may take [%(default)s]')
    p.add_argument('--end-early', action='store_true', help='answers may end before --generate; else ignore_eos is sent')
    p.add_argument('--hostile', type=int, default=4, help='hostile clients of soak [%(default)s]')
    p.add_argument('--growth', type=float, default=32, metavar='MIB', help='growth of memory that soak allows [%(default)s]')
    p.add_argument('--csv', default=os.path.join(versus.ROOT, 'bench', 'serve.csv'), help='file to add results to; "": none [%(default)s]')
    p.add_argument('--svg', metavar='FILE', help='plots of offered')
    p.add_argument('--json', action='store_true', help='print one JSON object in place of the table')
    return p


def options():
    o = parser().parse_args()
    if o.scenario == 'soak':
        try:
            o.minutes = float(o.words.pop(0))
        except (IndexError, ValueError):
            sys.exit('soak needs a number of minutes')
    if len(o.words) > 1 or bool(o.words) == bool(o.start) or (o.against and o.against_start):
        sys.exit('give the address of a server, or --start a command (and likewise one of --against and --against-start)')
    o.generate, o.requests = o.generate or GENERATE[o.scenario], o.requests or REQUESTS[o.scenario]
    try:
        least, _, most = o.prompt.partition('-')
        o.rates = sorted(float(r) for r in o.rates.split(','))
        o.prompt_text, o.prompt = o.prompt, (int(least), int(most or least))
    except ValueError:
        sys.exit('--prompt is N or N-N, --rates are numbers with commas between them')
    if min(o.clients, o.requests, o.generate, o.rounds, o.prompt[0], o.seconds, o.rates[0]) <= 0 or o.prompt[1] < o.prompt[0] or o.rounds < 1:
        sys.exit('numbers must be above 0, and the end of --prompt not below its begin')
    o.more = {} if o.end_early else {'ignore_eos': True}
    o.tokens_a_word = 0.0
    o.key = ''
    if o.api_key_file:
        with open(o.api_key_file) as f:
            o.key = next((line.strip() for line in f if line.strip() and line[0] != '#'), '')
    return o


class Side:
    """One of the servers that are compared."""

    def __init__(self, o, name, args, address, start, pid=0):
        self.o, self.name, self.start, self.pid = o, name, start, pid
        self.args = args or start or address
        self.address = Address(address, o.model, o.key) if address else None
        self.rounds, self.peaks, self.server = [], [], None

    @contextlib.contextmanager
    def up(self):
        """(address, process or 0)"""
        if self.address:
            yield self.address, self.pid
            return
        with Server(self.start, self.o.model, self.o.key) as self.server:
            yield self.server.address, self.server.pid

    def measure(self, turn):
        async def run(address):
            await serve_scenarios.prepare(self.o, address)
            return await getattr(serve_scenarios, self.o.scenario)(self.o, address, turn)

        with self.up() as (address, pid):
            rows = asyncio.run(run(address))
            self.peaks.append(memory(pid, 'VmHWM') if pid else 0)
        self.o.model_name = self.o.model_name or address.model
        for row in rows:
            for error in row.pop('errors'):
                print(f'{self.name}: {error}', file=sys.stderr)
        self.rounds.append(rows)


def sides(o):
    found = [Side(o, o.name, o.args, o.words[0] if o.words else None, o.start, o.pid)]
    if o.against or o.against_start:
        found.append(Side(o, o.against_name, o.against_args, o.against, o.against_start))
    return found


def summary(o, side, at, first):
    """One row over all rounds: medians, and the spread of what the scenario is about. first: the same point of the first server."""
    rounds = [rows[at] for rows in side.rounds]
    row = {k: (statistics.median(r[k] for r in rounds) if isinstance(rounds[0][k], float) else rounds[0][k]) for k in rounds[0]}
    main = MAIN[o.scenario]
    values = [r[main] for r in rounds]
    row |= {'requests': sum(r['requests'] for r in rounds), 'failed': sum(r['failed'] for r in rounds), 'low': min(values), 'high': max(values),
            'answers': rounds[0]['answers'], 'engine': side.name, 'args': side.args, 'rounds': len(rounds), 'samples': values,
            'peak_rss': max(side.peaks) or '', 'scenario': o.scenario, 'date': datetime.date.today().isoformat(), 'machine': versus.machine(),
            'cores': len(os.sched_getaffinity(0)), 'model': o.model_name, 'clients': o.clients, 'generate': o.generate,
            'prompt': {'interference': o.long, 'prefix': o.prefix}.get(o.scenario, o.prompt_text)}
    row['ratio'] = first[main] / row[main] if first and row[main] else ''
    return row


def for_csv(row):
    def short(x):
        return float(f'{x:.5g}') if isinstance(x, float) else x
    return {k: short(row.get(k, '')) for k in FIELDS}


# ---- tables ----

COLUMNS = {  # title, width, text of a row
    'load': [('tokens/s', 10, lambda r: f"{r['tokens_per_s']:.1f}"), ('(low to high)', 20, lambda r: f"({r['low']:.1f} to {r['high']:.1f})"),
             ('with prompts', 14, lambda r: f"{r['all_tokens_per_s']:.1f}"),
             ('TTFT p50/p95/p99 s', 24, lambda r: '/'.join(f"{r[f'ttft_p{p}']:.2f}" for p in (50, 95, 99))),
             ('TBT p50/p95/p99 ms', 22, lambda r: '/'.join(f"{1e3 * r[f'tbt_p{p}']:.0f}" for p in (50, 95, 99)))],
    'interference': [('TBT p99 alone', 15, lambda r: f"{1e3 * r['tbt_p99_alone']:.0f} ms"), ('beside prompts', 16, lambda r: f"{1e3 * r['tbt_p99']:.0f} ms"),
                     ('times', 8, lambda r: f"{r['times']:.2f}"), ('(low to high)', 18, lambda r: f"({r['low']:.2f} to {r['high']:.2f})"),
                     ('TBT p50', 16, lambda r: f"{1e3 * r['tbt_p50_alone']:.0f} -> {1e3 * r['tbt_p50']:.0f} ms"),
                     ('TTFT of prompts', 17, lambda r: f"{r['ttft_p50']:.2f} s")],
    'prefix': [('TTFT first', 12, lambda r: f"{1e3 * r['ttft_cold']:.0f} ms"), ('again', 10, lambda r: f"{1e3 * r['ttft_warm']:.0f} ms"),
               ('times', 8, lambda r: f"{r['times']:.2f}"), ('(low to high)', 18, lambda r: f"({r['low']:.2f} to {r['high']:.2f})"),
               ('cached', 9, lambda r: f"{r['cached_tokens']:.0f}")],
}
COLUMNS['offered'] = [('req/s', 7, lambda r: f"{r['point']:g}"), *COLUMNS['load']]


def show(o, rows):
    print(f"{o.model_name}, {o.scenario}: {rows[0]['clients']} clients, prompts of {rows[0]['prompt']} tokens, answers of {o.generate}; {rows[0]['rounds']} rounds; "
          f"{rows[0]['machine']}\n")
    columns = [('engine', 26, lambda r: r['engine'][:25]), *COLUMNS[o.scenario], ('failed', 8, lambda r: str(r['failed'])),
               ('peak MiB', 10, lambda r: f"{r['peak_rss'] >> 20}" if r['peak_rss'] else '-'),
               ('ratio', 7, lambda r: f"{r['ratio']:.2f}" if r['ratio'] else '')]
    print(''.join(f'{title:<{w}}' if i == 0 else f'{title:>{w}}' for i, (title, w, _) in enumerate(columns)))
    for r in rows:
        print(''.join(f'{text(r):<{w}}' if i == 0 else f'{text(r):>{w}}' for i, (_, w, text) in enumerate(columns)))


def compare(o):
    found = sides(o)
    for turn in range(o.rounds):
        for side in found[::1 if turn % 2 == 0 else -1]:
            side.measure(turn)
    rows = []
    for at in range(len(found[0].rounds[0])):
        first = None
        for side in found:
            rows.append(summary(o, side, at, first))
            first = first or rows[-1]
    if o.svg and o.scenario == 'offered':
        with open(o.svg, 'w') as f:
            f.write(serve_plot.svg(f'{o.model_name} over offered load', {s.name: [r for r in rows if r['engine'] == s.name] for s in found}))
    if o.csv:
        table.append(o.csv, FIELDS, [for_csv(r) for r in rows])
    if o.json:
        print(json.dumps({'scenario': o.scenario, 'results': rows}, indent=1))
    else:
        show(o, rows)
    return int(any(r['failed'] for r in rows))


def soak(o):
    side = sides(o)[0]
    with side.up() as (address, pid):
        report = asyncio.run(serve_soak.run(o, address, pid))
    if side.server and side.server.code:
        report['wrong'].append(f'the server ended with {side.server.code}: {side.server.said()}')
    print(json.dumps(report, indent=1) if o.json else serve_soak.text(report))
    return int(bool(report['wrong']))


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('ended by a signal'))  # so that servers end, too
    o = options()
    return soak(o) if o.scenario == 'soak' else compare(o)


if __name__ == '__main__':
    sys.exit(main())
