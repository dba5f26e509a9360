# SPDX-License-Identifier: Apache-2.0
"""Full load for minutes: clients whose every answer must be that to the same request alone, beside hostile ones (hostile.py).

Afterwards the server must be healthy, have no request left, answer as before, and its memory must not have grown since the first quarter.
It ends by itself."""
import asyncio
import collections
import random
import time

from endpoint import Asking, ask, body, get, median, memory
from hostile import Hostile
from serve_scenarios import Prompts, prepare

MOST_WRONG = 5  # of one kind that are told in full


class Soak:
    def __init__(self, o, address, pid, quick=False):
        self.o, self.address, self.pid, self.quick = o, address, pid, quick
        self.end = time.monotonic() + 60 * o.minutes
        self.references, self.wrong, self.ids, self.rss = [], [], set(), []
        self.count = collections.Counter()

    def say(self, text):
        kind = text.split(':')[0][:30]
        self.count['wrong'] += 1
        self.count[kind] += 1
        if self.count[kind] <= MOST_WRONG:
            self.wrong.append(text)

    async def alone(self, prompt):
        return await ask(self.address, self.o.form, prompt, self.o.generate, self.o.timeout, **self.o.more)

    async def client(self, number):
        rng = random.Random(f'{self.o.seed}:client:{number}')
        while time.monotonic() < self.end:
            prompt, text = rng.choice(self.references)
            whole = rng.random() < 0.25
            more = {'stream': False, 'stream_options': None} if whole else {}
            self.count['asked'] += 1
            try:
                asking = await Asking(self.address, *body(self.address, self.o.form, prompt, self.o.generate, **self.o.more, **more)).open()
            except OSError as e:
                self.say(f'no connection: {e}')
                await asyncio.sleep(0.2)
                continue
            answer = await asking.answer(self.o.timeout)
            if answer.status in (429, 503):  # that a server is full is an answer, too
                self.count['refused'] += 1
                await asyncio.sleep(0.1)
                continue
            self.judge(answer, text)

    def judge(self, answer, text):
        if answer.error:
            return self.say(f'lost: {answer.error}')
        self.count['answered'] += 1
        self.count['tokens'] += answer.tokens
        if answer.id in self.ids:
            self.say(f"doubled: two answers have the id '{answer.id}'")
        self.ids.add(answer.id)
        if answer.text != text:
            self.say(f'another answer than alone: {answer.text[:120]!r}, not {text[:120]!r}')
        return None

    async def hostile(self, one):
        while time.monotonic() < self.end:
            await one.act()

    async def watch(self):
        while time.monotonic() < self.end:
            self.rss.append(memory(self.pid))
            await asyncio.sleep(min(0.5, 60 * self.o.minutes / 40))

    def growth(self):
        """Bytes between the second quarter and the last one (the first fills caches)."""
        n = len(self.rss)
        return max(median(self.rss[3 * n // 4:]) - median(self.rss[n // 4:n // 2]), 0) if n >= 8 else 0

    async def still_well(self):
        """Nothing is left of those who went."""
        reply = await get(self.address, '/health')
        if reply.status != 200:
            self.say(f'/health says {reply.status} at the end')
        for prompt, text in self.references:
            answer = await self.alone(prompt)
            if answer.error or answer.text != text:
                self.say(f'at the end another answer than at the beginning: {answer.error or answer.text[:120]!r}')
        for _ in range(50):
            left = await busy_slots(self.address)
            if not left:
                return
            await asyncio.sleep(0.1)
        self.say(f'{left} requests still run, and nobody waits for them')

    async def run(self):
        o = self.o
        await prepare(o, self.address)
        prompts = Prompts(o, 0, 'soak')
        for _ in range(o.requests):
            prompt = prompts.some(*o.prompt)
            answer = await self.alone(prompt)
            if answer.error:
                self.say(f'alone: {answer.error}')
            self.references.append((prompt, answer.text))
        enemies = [Hostile(self.address, f'{o.seed}:{i}', prompts.text, o.form, self.quick) for i in range(o.hostile)]
        begin, self.end = time.monotonic(), time.monotonic() + 60 * o.minutes
        await asyncio.gather(self.watch(), *(self.client(i) for i in range(o.clients)), *(self.hostile(e) for e in enemies))
        seconds = time.monotonic() - begin
        await self.still_well()
        return self.report(enemies, seconds)

    def report(self, enemies, seconds):
        acts, statuses = (sum((getattr(e, name) for e in enemies), collections.Counter()) for name in ('counts', 'statuses'))
        for text in (text for e in enemies for text in e.wrong):
            self.say(text)
        asked, ended = self.count['asked'], self.count['answered'] + self.count['refused']
        grown = self.growth()
        if grown > self.o.growth * (1 << 20):
            self.say(f'memory grew by {grown / 2**20:.1f} MiB')
        return {'seconds': round(seconds, 1), 'asked': asked, 'answered': self.count['answered'], 'refused': self.count['refused'], 'lost': asked - ended,
                'tokens_per_s': round(self.count['tokens'] / seconds, 2), 'hostile': dict(sorted(acts.items())),
                'statuses': {str(k): n for k, n in sorted(statuses.items())}, 'rss_first': self.rss[0] if self.rss else 0,
                'rss_last': self.rss[-1] if self.rss else 0, 'rss_peak': memory(self.pid, 'VmHWM'), 'growth': round(grown), 'n_wrong': self.count['wrong'],
                'wrong': self.wrong}


async def busy_slots(address):
    """Requests that a server says to be at work on; 0 where it does not tell."""
    reply = await get(address, '/slots')
    told = reply.json() if reply.status == 200 else None
    if isinstance(told, dict):
        return told.get('running', 0) + told.get('waiting', 0)
    return sum(bool(s.get('is_processing')) for s in told or [])


async def run(o, address, pid):
    return await Soak(o, address, pid).run()


def text(report):
    lines = [f"{report['seconds']:.0f} s: {report['asked']} asked, {report['answered']} answered as alone or told below, {report['refused']} refused, {report['lost']} lost; "
             f"{report['tokens_per_s']:.1f} tokens/s",
             f"{sum(report['hostile'].values())} hostile acts: " + ', '.join(f"{n} {name.replace('_', ' ')}" for name, n in report['hostile'].items()),
             'answered with: ' + ', '.join(f"{n} {'nothing' if k == '0' else k}" for k, n in report['statuses'].items()),
             f"memory: {report['rss_first'] >> 20} MiB first, {report['rss_last'] >> 20} last, {report['rss_peak'] >> 20} at most; growth {report['growth'] / 2**20:.1f} MiB"]
    return '\n'.join(lines + [f"{report['n_wrong']} wrong" + (':' if report['wrong'] else '')] + ['  ' + w for w in report['wrong']])
