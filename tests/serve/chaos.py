# SPDX-License-Identifier: Apache-2.0
"""A fuzzer of `medley serve`'s protocol: hostile clients (bench/hostile.py) beside good ones, by seed, on a small random model.

First every hostile act once, one after the other, then several at once at random for --seconds. Good clients' answers must be those to the same
request alone; afterwards the server answers as before, is healthy, has nothing left to do, has not grown, and ends with code 0 and no word of a
sanitizer when it is asked to stop. A finding is repeated with its --seed, though not its timing.

usage: chaos.py --bin MEDLEY [--seconds N] [--seed N] [--model FILE]
"""
import argparse
import asyncio
import os
import re
import subprocess
import sys
import tempfile
import types

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'bench'))
from endpoint import Server, get
from hostile import Hostile
from serve_scenarios import Prompts, prepare
from serve_soak import Soak

ALARM = re.compile(r'AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|Assertion|corrupted|stack smashing')


def settings(o):
    return types.SimpleNamespace(form=o.form, more={'ignore_eos': True}, seed=o.seed, tokens_a_word=0.0, prompt=(8, 60), generate=12, requests=6, clients=3,
                                 hostile=4, minutes=o.seconds / 60, timeout=60 if o.patient else 30, growth=o.growth)


async def each_act(address, o):
    """Every act alone, then the server must be as before: what breaks it is named by the act."""
    s, wrong = settings(o), []
    await prepare(s, address)
    prompts = Prompts(s, 1, 'acts')
    one = Hostile(address, f'{o.seed}:acts', prompts.text, o.form, quick=True)
    for act in one.acts:
        before = len(one.wrong)
        await one.perform(act)
        try:
            status = (await get(address, '/health', 20)).status
        except OSError as e:
            status = str(e)
        if status != 200:
            wrong.append(f'after {act.__name__}: /health says {status}')
            break
        wrong += [f'{act.__name__}: {text}' for text in one.wrong[before:]]
    return len(one.acts), wrong


async def all_at_once(address, pid, o):
    return await Soak(settings(o), address, pid, quick=True).run()


def show(name, wrong, note=''):
    print(f"{'FAILED' if wrong else 'ok':7} {name}{': ' + note if note else ''}")
    for text in wrong:
        print(f'        {text}')
    return int(not wrong), int(bool(wrong))


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--bin', required=True)
    p.add_argument('--seconds', type=float, default=15)
    p.add_argument('--seed', type=int, default=1)
    p.add_argument('--model', help='in place of a random one')
    p.add_argument('--form', choices=['completion', 'chat'], default='completion')
    p.add_argument('--growth', type=float, default=48, help='MiB')
    p.add_argument('--patient', action='store_true', help='for a slow build, such as one with sanitizers')
    o = p.parse_args()
    with tempfile.TemporaryDirectory(prefix='medley-chaos-') as folder:
        model = o.model or os.path.join(folder, 'tiny.gguf')
        if not o.model:
            subprocess.run([o.bin, 'synth', '-q', '--arch', 'qwen3moe', '--experts', '8', '--top-k', '2', '-o', model], check=True)
        command = f"'{o.bin}' serve '{model}' --port {{port}} --parallel 4 --queue 64 --ctx 1024 --room 4096 --threads 2 --uses off"
        with Server(command, patience=120) as server:
            n, found = asyncio.run(each_act(server.address, o))
            counts = [show(f'each of {n} hostile acts', found)]
            report = asyncio.run(all_at_once(server.address, server.pid, o))
            acts, answers = sum(report['hostile'].values()), report['answered']
            counts.append(show(f'seed {o.seed}, {report["seconds"]:.0f} s at random', report['wrong'], f"{acts} hostile acts, {answers} good answers, {report['refused']} refused, "
                               f"memory grew by {report['growth'] / 2**20:.1f} MiB"))
            counts.append(show('good clients were answered', [] if answers > 5 and report['lost'] == 0 else [f'{answers} answered, {report["lost"]} lost']))
        said = server.said(100000)
        counts.append(show('the server ends as asked, without complaints', [f'code {server.code}: {said[-1500:]}'] if server.code or ALARM.search(said) else []))
    passed, failed = (sum(c) for c in zip(*counts))
    print(f'{passed} passed, {failed} failed')
    return int(failed > 0)


if __name__ == '__main__':
    sys.exit(main())
