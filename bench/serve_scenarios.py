# SPDX-License-Identifier: Apache-2.0
"""What bench/serve.py does to an endpoint: each scenario runs once and gives rows of figures.

Prompts are words at random, by seed and number, so that every engine is asked the same; each begins with a number of its own, so that none
begins as another does. Lengths in tokens are met by counting, with the server's own usage figures, how many tokens a word has.
"""
import asyncio
import hashlib
import random
import sys
import time

from endpoint import Asking, ask, body, find_model, median, percentile

WORDS = ('time year people way day man thing woman life child world school state family student group country problem hand part place '
         'case week company system program question work government number night point home water room mother area money story fact '
         'month lot right study book eye job word business issue side kind head house service friend father power hour game line end '
         'member law car city community name president team minute idea body information back parent face others level office door '
         'health person art war history party result change morning reason research girl guy moment air teacher force education').split()


class Prompts:
    """Texts that no two turns share. `tokens_a_word` is measured once."""

    def __init__(self, o, turn, what):
        self.o, self.label, self.count = o, f'{o.seed}:{what}:{turn}', 0
        self.random = random.Random(self.label)

    def text(self, tokens):
        self.count += 1
        words = self.random.choices(WORDS, k=max(round(tokens / self.o.tokens_a_word), 1))
        return f'{self.random.randrange(10 ** 6):06d} {self.count}: ' + ' '.join(words)

    def some(self, least, most):
        return self.text(self.random.randint(least, most))


async def prepare(o, address):
    """The model's name and the tokens of a word; also what the first request of a server costs does not count. Ends on a server that
    cannot answer."""
    await find_model(address)
    counts = []
    for n in (40, 80):
        words = random.Random(n).choices(WORDS, k=n)
        answer = await ask(address, o.form, ' '.join(words), 2, **o.more)
        if answer.error:
            sys.exit(f'http://{address.host}:{address.port} cannot answer: {answer.error}')
        counts.append(answer.prompt_tokens)
    if not o.tokens_a_word:
        if counts[1] <= counts[0]:
            sys.exit(f'http://{address.host}:{address.port} does not tell how many tokens a prompt has')
        o.tokens_a_word = (counts[1] - counts[0]) / 40


def digest(answers):
    """Of all texts in order: the same for the same bits, whatever ran beside."""
    return hashlib.sha256('\0'.join(a.text for a in answers).encode()).hexdigest()[:16]


def latencies(answers):
    first, gaps = [a.first for a in answers if a.times], [g for a in answers for g in a.gaps]
    return {f'ttft_p{p}': percentile(first, p) for p in (50, 95, 99)} | {f'tbt_p{p}': percentile(gaps, p) for p in (50, 95, 99)}


def figures(answers, begin):
    """Of requests that began at `begin`: counts, rates, latencies. What failed counts only as failed."""
    good = [a for a in answers if not a.error]
    seconds = max((a.done for a in good), default=begin + 1) - begin
    tokens, prompt = sum(a.tokens for a in good), sum(a.prompt_tokens for a in good)
    return {'requests': len(answers), 'failed': len(answers) - len(good), 'seconds': seconds, 'tokens': tokens, 'prompt_tokens': prompt,
            'tokens_per_s': tokens / seconds, 'all_tokens_per_s': (tokens + prompt) / seconds,
            'pieces_a_token': sum(len(a.times) for a in good) / max(tokens, 1), 'answers': digest(answers),
            'errors': sorted({a.error for a in answers if a.error})[:3]} | latencies(good)


async def load(o, address, turn):
    """N clients, each of whom asks again as soon as it was answered."""
    prompts = Prompts(o, turn, 'load')
    waiting = [prompts.some(*o.prompt) for _ in range(o.clients * o.requests)]
    answers, numbers = [None] * len(waiting), iter(range(len(waiting)))

    async def client():
        for i in numbers:
            answers[i] = await ask(address, o.form, waiting[i], o.generate, o.timeout, **o.more)

    begin = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(o.clients)))
    return [{'point': ''} | figures(answers, begin)]


async def offered(o, address, turn):
    """Requests that come at a rate, whether or not earlier ones were answered (a Poisson process)."""
    rows = []
    for rate in o.rates:
        prompts, tasks = Prompts(o, turn, f'offered {rate}'), []
        clock = random.Random(f'{o.seed}:{turn}:{rate}:arrivals')
        begin = due = time.perf_counter()
        while True:
            due += clock.expovariate(rate)
            if due - begin >= o.seconds and tasks:
                break
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            tasks.append(asyncio.create_task(ask(address, o.form, prompts.some(*o.prompt), o.generate, o.timeout, **o.more)))
        rows.append({'point': rate} | figures(await asyncio.gather(*tasks), begin))
    return rows


# ---- interference ----

async def decodes(o, address, prompts):
    """So many answers under way, each with its first token; a server that cannot do so many at once ends the run."""
    asking = await asyncio.gather(*(Asking(address, *body(address, o.form, prompts.some(*o.prompt), o.decode, **o.more)).open()
                                    for _ in range(o.clients)))
    tasks = [asyncio.create_task(a.answer(o.timeout)) for a in asking]
    for a in asking:
        await asyncio.wait_for(a.started.wait(), o.timeout)
    return asking, tasks


async def hang_up(asking, tasks):
    for a in asking:
        a.hang_up()
    return await asyncio.gather(*tasks)


def gaps_within(asking, begin, end):
    found = []
    for a in asking:
        times = a.so_far()
        found += [later - at for at, later in zip(times, times[1:]) if later > begin and at < end]
    return found


def running(tasks):
    return not any(t.done() for t in tasks)


async def interference(o, address, turn):
    """Time between tokens of the same number of decodes, alone and while long prompts arrive one after the other."""
    prompts = Prompts(o, turn, 'interference')
    asking, tasks = await decodes(o, address, prompts)
    begin = time.perf_counter()
    while time.perf_counter() < begin + o.seconds and running(tasks):
        await asyncio.sleep(0.02)
    end = time.perf_counter()
    await hang_up(asking, tasks)
    alone = gaps_within(asking, begin, end)

    asking, tasks = await decodes(o, address, prompts)
    begin, arrived = time.perf_counter(), []
    while len(arrived) < o.requests:
        arrived.append(await ask(address, o.form, prompts.text(o.long), 1, o.timeout, **o.more))
        if not running(tasks):
            break
    end = time.perf_counter()
    await hang_up(asking, tasks)
    if len(arrived) < o.requests:
        sys.exit(f'the answers that prompts should disturb ended before {o.requests} prompts were done: raise --decode')
    beside = gaps_within(asking, begin, end)
    found = figures(arrived, begin)
    for key in ('tokens_per_s', 'all_tokens_per_s', 'answers'):
        found[key] = ''
    return [{'point': ''} | found | {f'tbt_p{p}': percentile(beside, p) for p in (50, 95, 99)} |
            {f'tbt_p{p}_alone': percentile(alone, p) for p in (50, 95, 99)} |
            {'times': percentile(beside, 99) / max(percentile(alone, 99), 1e-9)}]


async def prefix(o, address, turn):
    """A beginning that a server sees for the first time, and the same with another end."""
    prompts, cold, warm = Prompts(o, turn, 'prefix'), [], []
    begin = time.perf_counter()
    for _ in range(o.requests):
        shared = prompts.text(o.prefix)
        for answers in (cold, warm):
            answers.append(await ask(address, o.form, f'{shared}\n{prompts.text(16)}', o.generate, o.timeout, **o.more))
    good = [[a.first for a in answers if not a.error and a.times] for answers in (cold, warm)]
    found = figures(cold + warm, begin)
    return [{'point': ''} | found | {'ttft_cold': median(good[0]), 'ttft_warm': median(good[1]),
                                     'cached_tokens': median([a.cached_tokens for a in warm]),
                                     'times': median(good[0]) / max(median(good[1]), 1e-9)}]
