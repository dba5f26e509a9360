# SPDX-License-Identifier: Apache-2.0
"""What takes more than one command to show: agreement between commands, interrupts, full disks, terminals, chats.

Each function of ALL gets a World (run.py) with an empty folder, and raises AssertionError, or Skip.
"""
import array
import fcntl
import json
import math
import os
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import xml.etree.ElementTree

import terminal

COMMANDS = ['run', 'serve', 'batch', 'inspect', 'tokenize', 'detokenize', 'template', 'eval', 'embed', 'upcycle', 'pack', 'bench', 'synth', 'plan', 'trace', 'completion', 'help']


class Skip(Exception):
    pass


def figures(stderr):
    """(logits hash, numerics key) of the line of figures."""
    m = re.search(r'logits ([0-9a-f]{16}) \| (.*)$', stderr.decode(), re.M)
    assert m, stderr
    return m[1], m[2]


def tree(path):
    return sorted(os.path.join(d, f) for d, _, files in os.walk(path) for f in files)


# ---- help, versions, completions ----

def help_of_every_command(w):
    everything = w.ok('--help')
    assert everything == w.ok('help') == w.ok('-h')
    assert not re.search(r'^  man ', everything, re.M)
    for c in COMMANDS:
        assert re.search(rf'^  {c} ', everything, re.M), c
        text = w.ok(c, '--help')
        assert text == w.ok('help', c) == w.ok(c, '-h')
        assert text.startswith(f'Usage: medley {c}') and '\nOptions:\n' in text and '\nExample' in text
        assert f'medley {c}' in text.split('\nExample')[1]
        assert max(len(line) for line in text.split('\n')) <= 100, c
    assert 'Usage: medley man' in w.ok('man', '--help')


def version(w):
    assert re.fullmatch(r'medley \d+\.\d+\.\d+\n', w.ok('--version'))
    assert w.ok('-V') == w.ok('--version')


def every_bound_that_help_shows(w):
    n = 0
    for c in COMMANDS:
        text = re.sub(r'\n {20,}', ' ', w.ok(c, '--help'))
        for name, low, high in re.findall(r'--([\w-]+) [NXKSR] .*[\[;] ?(-?\d+) to (\d+)\]', text):
            for value in (int(low) - 1, int(high) + 1):
                r = w.run(c, 'x', f'--{name}', value)
                said = r.stderr.decode()
                assert r.returncode == 2 and f'--{name} {value} is out of range' in said, said
                assert f'{low} to {high}' in said, said
                n += 1
        for name, low, high in re.findall(r'--([\w-]+) [NXKSR] .*(?:above|at least) (\d+) and (?:below|at most) (\d+)\]', text):
            for value in (int(low) - 1, int(high) + 1):
                r = w.run(c, 'x', f'--{name}', value)
                assert r.returncode == 2 and f'--{name} {value} is out of range' in r.stderr.decode(), r.stderr
                n += 1
    assert n > 40, n


def docs_name_every_option(w):
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'docs', 'cli.md')
    docs = open(path).read()
    for c in COMMANDS:
        section = re.search(rf'^## medley {c}\b.*?(?=^## |\Z)', docs, re.M | re.S)
        assert section, f'docs/cli.md has no section on {c}'
        for name in re.findall(r'^ +(?:-\w, )?--([\w-]+)', w.ok(c, '--help'), re.M):
            assert f'`--{name}' in section[0] or name == 'help', f'docs/cli.md, {c}: --{name} is missing'


def _completion(w, shell, check):
    if not shutil.which(shell):
        raise Skip(f'{shell} is not installed')
    path = os.path.join(w.tmp, 'script')
    with open(path, 'w') as f:
        f.write(w.ok('completion', shell))
    subprocess.run(check + [path], check=True)
    return path


def completion_for_bash(w):
    path = _completion(w, 'bash', ['bash', '-n'])

    def complete(*words):
        script = f'source {path}; COMP_WORDS=({" ".join(words)} ""); COMP_CWORD={len(words)}; COMP_WORDS[COMP_CWORD]=$1; ' \
                 '_medley; printf "%s\\n" "${COMPREPLY[@]}"'
        return lambda prefix: subprocess.run(['bash', '-c', script, 'bash', prefix], check=True, capture_output=True,
                                             text=True).stdout.split()
    assert complete('medley')('') == COMMANDS + ['--help', '--version']
    assert complete('medley')('in') == ['inspect']
    assert complete('medley', 'run', 'm')('--te') == ['--template', '--temp']
    assert complete('medley', 'run', 'm', '--kv-type')('f') == ['f32', 'f16']
    assert complete('medley', 'completion')('') == ['bash', 'zsh', 'fish']
    assert '--tensors' not in complete('medley', 'run', 'm')('--')


def completion_for_zsh(w):
    _completion(w, 'zsh', ['zsh', '-n'])


def completion_for_fish(w):
    _completion(w, 'fish', ['fish', '--no-execute'])


# ---- inspect ----

def inspect_in_json_and_in_text(w):
    o = json.loads(w.ok('inspect', '{moe}', '--json', '--tensors', '--metadata', '--memory', '--ctx', '256', '--check'))
    assert o['architecture'] == 'qwen3moe' and o['experts'] == 8 and o['experts_used'] == 2
    assert sum(p['weights'] for p in o['parts'].values()) == o['weights'] > o['weights_active'] > 0
    assert sum(t['bytes'] for t in o['tensors']) == sum(p['bytes'] for p in o['parts'].values())
    assert sum(p['bytes'] for p in o['types'].values()) == sum(p['bytes'] for p in o['parts'].values())
    assert all(math.prod(t['shape']) > 0 for t in o['tensors'])
    assert o['file_bytes'] == os.path.getsize(w.paths['moe'])
    keys = {m['key']: m['value'] for m in o['metadata']}
    assert keys['general.architecture'] == 'qwen3moe' and keys['qwen3moe.expert_count'] == 8
    assert o['has_chat_template'] and o['chat_template_front'].startswith('{%')
    assert o['check'] == [] and o['memory']['total'] >= o['memory']['weights'] + o['memory']['kv']
    text = w.ok('inspect', '{moe}', '--tensors', '--metadata', '--memory', '--check')
    for piece in ('qwen3moe', '8, 2 used per token', 'blk.1.ffn_gate_inp.weight', 'general.architecture', 'routed experts',
                  'every weight is a reasonable number', 'chat template   yes'):
        assert piece in text, piece


def inspect_shows_no_control_characters(w):
    import gguf_edit
    path = os.path.join(w.tmp, 'evil.gguf')
    with open(path, 'wb') as f:
        f.write(gguf_edit.make(w.paths['dense'], [['set', 'general.name', 'string', 'a\x1b]0;owned\x07\u009b31m'],
                                                  ['rename', 'output_norm.weight', 'output_norm.weight\x1b[2J'],
                                                  ['set', 'evil\x1b[0m', 'string', '\x1b[1m\x7f']]))
    for args in (['inspect', path, '--metadata', '--tensors'], ['inspect', path]):
        out = w.ok(*args)
        assert 'owned' in out
        assert not re.search('[\x00-\x08\x0b-\x1f\x7f-\x9f]', out), args
    r = w.run('run', path, '-p', 'hi')  # the tensor's name is not the one that is wanted
    assert r.returncode == 1 and not re.search(b'[\x00-\x09\x0b-\x1f\x7f]', r.stderr), r.stderr
    assert terminal.is_harmless(terminal.show(w, ['inspect', path, '--json', '--metadata'])[0])


# ---- tokens ----

TEXTS = ['Hello world', ' two  spaces ', 'naïve café 北京 🙂\n\ttab', '<|im_start|>user', 'a\r\nb', '']


def tokens_and_back(w):
    for text in TEXTS:
        path = os.path.join(w.tmp, 'text')
        with open(path, 'wb') as f:
            f.write(text.encode())
        ids = w.ok('tokenize', '{dense}', '--no-bos', '--file', path)
        assert w.ok('tokenize', '{dense}', '--no-bos', stdin=text.encode()) == ids
        if text:
            assert w.ok('tokenize', '{dense}', '--no-bos', '--', text) == ids
        assert w.run('detokenize', '{dense}', stdin=ids.encode()).stdout == text.encode(), text
        o = json.loads(w.ok('tokenize', '{dense}', '--no-bos', '--json', '--file', path))
        assert o['tokens'] == [int(i) for i in ids.split()] and len(o['pieces']) == len(o['tokens'])
        pieces = w.ok('tokenize', '{dense}', '--no-bos', '--pieces', '--file', path).splitlines()
        assert [int(p.split('\t')[0]) for p in pieces] == o['tokens']
        assert [json.loads(p.split('\t')[1]) for p in pieces] == o['pieces']


def special_tokens_on_request(w):
    plain = w.ok('tokenize', '{dense}', '--no-bos', '<|im_start|>user').split()
    special = w.ok('tokenize', '{dense}', '--no-bos', '--special', '<|im_start|>user').split()
    assert len(special) < len(plain)
    assert w.ok('detokenize', '{dense}', *special) == 'user'
    assert w.ok('detokenize', '{dense}', '--special', *special) == '<|im_start|>user'


def bytes_that_are_no_text(w):
    raw = bytes(range(128, 256)) + b'\x00\xff'
    ids = w.ok('tokenize', '{dense}', '--no-bos', stdin=raw).split()
    assert len(ids) >= 1
    json.loads(w.ok('tokenize', '{dense}', '--json', stdin=raw))
    assert '\ufffd' in w.ok('detokenize', '{dense}', *ids)


# ---- run ----

def one_answer_in_json(w):
    r = w.run('run', '{moe}', '-p', 'hi', '-n', 12, '--ignore-eog', '--seed', 7, '--json')
    assert r.returncode == 0 and r.stderr == b'', r.stderr
    o = json.loads(r.stdout)
    assert o['finish'] == 'length' and len(o['tokens']) == 12
    f = o['figures']
    assert f['generated_tokens'] == 12 and f['seed'] == 7 and f['prompt_tokens'] > 5
    assert re.fullmatch('[0-9a-f]{16}', f['logits_hash']) and 'kv=f16' in f['numerics_key']
    assert f['peak_memory_bytes'] > 1000000 and f['load_seconds'] > 0
    assert w.run('detokenize', '{moe}', *o['tokens']).stdout.decode(errors='replace') == o['text']


def same_seed_same_text(w):
    def once(*more, model='{moe}'):
        r = w.run('run', model, '-p', 'Tell me', '-n', 40, '--ignore-eog', *more)
        assert r.returncode == 0, r.stderr
        return r.stdout, figures(r.stderr)
    for model in ('{moe}', '{dense}'):
        first = once('--seed', 5, '--threads', 1, model=model)
        assert first == once('--seed', 5, '--threads', 2, model=model) == once('--seed', 5, '--threads', 3, model=model)
        assert first[0] != once('--seed', 6, model=model)[0]
        greedy = once('--temp', 0, model=model)
        assert greedy == once('--temp', 0, '--seed', 9, model=model)
    r = w.run('run', '{moe}', '-p', 'Tell me', '-n', 40, '--ignore-eog')
    seed = re.search(rb'seed (\d+)', r.stderr)[1].decode()  # drawn, and enough to repeat the run
    assert once('--seed', seed)[0] == r.stdout


def prompt_from_everywhere(w):
    path = os.path.join(w.tmp, 'p')
    with open(path, 'w') as f:
        f.write('Tell me\n')
    by_option = w.ok('run', '{dense}', '-p', 'Tell me', '-n', 8, '--temp', 0)
    assert by_option == w.ok('run', '{dense}', '--file', path, '-n', 8, '--temp', 0)
    assert by_option == w.ok('run', '{dense}', '-n', 8, '--temp', 0, stdin=b'Tell me\n')
    assert by_option.endswith('\n')


def stop_strings_and_limits(w):
    long = w.ok('run', '{dense}', '-p', 'x', '-n', 60, '--temp', 0, '--ignore-eog', '-q').rstrip('\n')
    plain = [c for c in long if c.isalnum() and c.isascii()]
    assert plain, repr(long)
    stop = plain[-1]
    o = json.loads(w.ok('run', '{dense}', '-p', 'x', '-n', 60, '--temp', 0, '--ignore-eog', '--json', '--stop', stop))
    assert o['finish'] == 'stop' and o['text'] == long[:long.index(stop)], (o, long)
    o = json.loads(w.ok('run', '{dense}', '-p', 'x', '-n', 0, '--json'))
    assert o['text'] == '' and o['tokens'] == [] and o['finish'] == 'length'
    r = w.run('run', '{dense}', '-p', 'x', '--raw', '--temp', 0, '--ignore-eog', '--ctx', 64)
    assert r.returncode == 0 and b'the context of 64 tokens is full' in r.stderr and b'--ctx' in r.stderr, r.stderr


def raw_text_and_templates(w):
    def tokens(*args):
        return json.loads(w.ok('run', '{dense}', '-n', 1, '--json', *args))['figures']['prompt_tokens']
    assert tokens('-p', 'abc', '--raw') == len(w.ok('tokenize', '{dense}', 'abc').split())
    assert tokens('-p', '<|im_start|>', '--raw') == 1 + tokens('-p', 'a', '--raw') - 1
    # What a user types stays text in a chat, whatever it looks like; behind a template it is not even special.
    assert tokens('-p', '<|im_start|>') > tokens('-p', 'a') + 3
    template = '{{ messages[0].content }}'
    assert tokens('-p', 'abc', '--template', template) == tokens('-p', 'abc', '--raw')
    path = os.path.join(w.tmp, 't.jinja')
    with open(path, 'w') as f:
        f.write(template)
    assert tokens('-p', 'abc', '--template', path) == tokens('-p', 'abc', '--raw')
    assert tokens('-p', 'abc', '--system', 'Be nice') > tokens('-p', 'abc')


def model_without_a_template(w):
    import gguf_edit
    path = os.path.join(w.tmp, 'plain.gguf')
    with open(path, 'wb') as f:
        f.write(gguf_edit.make(w.paths['dense'], [['drop_key', 'tokenizer.chat_template']]))
    r = w.run('run', path, '-p', 'hi', '-n', 4)
    assert r.returncode == 0 and b'no chat template' in r.stderr, r.stderr
    r = w.run('run', path, '-p', 'hi', '--system', 'x')
    assert r.returncode == 2 and b'--system needs a chat template' in r.stderr, r.stderr


def logit_bias_forbids_and_forces(w):
    greedy = json.loads(w.ok('run', '{dense}', '-p', 'x', '-n', 1, '--temp', 0, '--ignore-eog', '--json'))['tokens'][0]
    other = json.loads(w.ok('run', '{dense}', '-p', 'x', '-n', 1, '--temp', 0, '--ignore-eog', '--json', '--logit-bias',
                            f'{greedy}=-inf'))['tokens'][0]
    assert other != greedy
    forced = json.loads(w.ok('run', '{dense}', '-p', 'x', '-n', 5, '--ignore-eog', '--json', '--logit-bias', '97=1e6'))
    assert forced['tokens'] == [97] * 5


def masked_experts_are_not_used(w):
    def experts(*mask):
        r = w.run('eval', '{moe}', '--token-ids', '{ids}', '--routing-out', 'r.json', *mask)
        assert r.returncode == 0, r.stderr
        layers = json.load(open(os.path.join(w.tmp, 'r.json')))['experts']
        return [{e for position in layers[l] for e in position} for l in ('0', '1')], figures(r.stderr)
    used, free = experts()
    off = sorted(used[0])[0]
    masked, key = experts('--experts-off', f'0:{off}')
    assert off not in masked[0] and key[0] != free[0] and key[1] != free[1]
    everywhere, _ = experts('--experts-off', '*:0-3')
    assert not (everywhere[0] | everywhere[1]) & {0, 1, 2, 3}
    forced, _ = experts('--experts-on', '1:5')
    layers = json.load(open(os.path.join(w.tmp, 'r.json')))['experts']
    assert all(5 in position for position in layers['1'])
    assert experts('--experts-off', '0:1,1:2', '--experts-off', '1:3')[1] == experts('--experts-off', '0:1,1:2-3')[1]


def notes_and_figures_can_be_silenced(w):
    r = w.run('run', '{dense}', '-p', 'hi', '-n', 4, '-q')
    assert r.returncode == 0 and r.stderr == b''


# ---- eval ----

def _eval_ids(w, *more, model='{moe}'):
    r = w.run('eval', model, '--token-ids', '{ids}', '--logits-out', 'l.f32', *more)
    assert r.returncode == 0, r.stderr
    return open(os.path.join(w.tmp, 'l.f32'), 'rb').read(), figures(r.stderr)


def logits_do_not_depend_on_chunks_or_threads(w):
    for model in ('{moe}', '{dense}'):
        whole = _eval_ids(w, model=model)
        assert len(whole[0]) == 40 * 320 * 4
        for more in (['--step'], ['--chunk', 7], ['--chunk', 64], ['--threads', 1], ['--threads', 3, '--chunk', 3]):
            assert _eval_ids(w, *more, model=model) == whole, (model, more)
        assert 'kv=f32' in whole[1][1]
        half = _eval_ids(w, '--kv-type', 'f16', model=model)
        assert half[1][0] != whole[1][0] and 'kv=f16' in half[1][1]
        a, b = array.array('f', whole[0]), array.array('f', half[0])
        assert max(abs(x - y) for x, y in zip(a, b)) < 0.05


def routing_has_the_form_of_the_fixtures(w):
    w.ok('eval', '{moe}', '--token-ids', '{ids}', '--routing-out', 'r.json', '-q')
    o = json.load(open(os.path.join(w.tmp, 'r.json')))
    assert list(o) == ['experts'] and sorted(o['experts']) == ['0', '1']
    for positions in o['experts'].values():
        assert len(positions) == 40 and all(len(p) == 2 == len(set(p)) and max(p) < 8 for p in positions)


def trace_of_an_evaluation(w):
    w.ok('eval', '{moe}', '--token-ids', '{ids}', '--routing-out', 'r.json', '--chunk', 7, '--trace', 'one', '-q')
    w.ok('eval', '{moe}', '--token-ids', '{ids}', '--step', '--trace', 'two', '-q')
    routing = json.load(open(os.path.join(w.tmp, 'r.json')))['experts']
    s = json.loads(w.ok('trace', 'summary', 'one', '--against', 'two', '--json'))
    assert (s['steps'], s['rows'], s['timed_steps']) == (6, 40, 6) and s['seconds'] > 0, s
    for layer in s['layers']:
        chosen = [e for p in routing[str(layer['layer'])] for e in p]
        assert layer['count'] == [chosen.count(e) for e in range(8)], layer
        assert layer['choices'] == 80 and layer['divergence'] == 0 and 'hits' not in layer
        again = sum(len(set(a) & set(b)) for a, b in zip(routing[str(layer['layer'])], routing[str(layer['layer'])][1:]))
        assert abs(layer['repeated'] - again / 78) < 1e-9, (layer, again)
    assert s['total']['choices'] == 160 and s['total']['divergence'] == 0
    parts = json.loads(w.ok('inspect', '{moe}', '--json'))['parts']
    assert s['layers'][0]['expert_bytes'] * 16 == parts['routed experts']['bytes']


def trace_of_a_bench(w):
    """All sessions go into one file: warming up and two runs of three steps for each number of threads."""
    w.ok('bench', '{moe}', '-p', '0', '-n', '3', '-b', '2', '-r', '2', '-t', '1,2', '-q', '--trace', 't')
    s = json.loads(w.ok('trace', 'summary', 't', '--json'))
    assert (s['steps'], s['rows'], s['timed_steps']) == (18, 36, 18), s
    assert all(layer['choices'] == 72 for layer in s['layers']), s


def picture_of_a_trace(w):
    w.ok('trace', 'heatmap', '{trace}', '-o', 'h.svg')
    w.ok('trace', 'heatmap', '{trace}', '-o', 'h.svg', '--force')
    svg = xml.etree.ElementTree.parse(os.path.join(w.tmp, 'h.svg')).getroot()
    ns = '{http://www.w3.org/2000/svg}'
    assert svg.tag == ns + 'svg'
    cells = [c for p in svg.iter(ns + 'path') for c in p.get('d').split('M')[1:]]
    assert len(cells) == 16 == len(set(cells)), cells
    words = [t.text for t in svg.iter(ns + 'text')]
    assert 'use of experts (columns) in layers (rows): 10 steps, 40 rows' in words and 'the mean' in words, words


def fixtures_agree(w):
    if not w.conformance:
        raise Skip('no conformance fixtures')
    for name in ('llama-dense', 'mixtral', 'qwen3moe'):
        js = json.load(open(os.path.join(w.conformance, 'models', name + '.json')))
        ref = array.array('f', open(os.path.join(w.conformance, 'models', js['logits']), 'rb').read())
        for p in js['prompts']:
            ids = os.path.join(w.tmp, 'ids')
            with open(ids, 'w') as f:
                f.write('\n'.join(map(str, p['tokens'])))
            w.ok('eval', os.path.join(w.conformance, 'models', js['model']), '--token-ids', ids, '--logits-out', 'l.f32',
                 '--routing-out', 'r.json')
            got = array.array('f', open(os.path.join(w.tmp, 'l.f32'), 'rb').read())
            at = p['logits_offset'] // 4
            assert max(abs(x - y) for x, y in zip(got, ref[at:at + len(got)])) <= js['tolerance']['max_abs'], name
            experts = json.load(open(os.path.join(w.tmp, 'r.json')))['experts']
            for layer, want in p.get('experts', {}).items():
                assert [set(e) for e in experts[layer]] == [set(e) for e in want], (name, layer)


def perplexity(w):
    o = json.loads(w.ok('eval', '{dense}', '--text', '{long}', '--ctx', 64, '--json'))
    assert abs(math.exp(o['nll']) - o['perplexity']) < 1e-6 * o['perplexity'] and o['error'] > 0
    assert o['windows'] >= 2 and o['context'] == 64
    text = w.ok('eval', '{dense}', '--text', '{long}', '--ctx', 64)
    assert re.match(r'perplexity [\d.]+ \+- [\d.]+ over \d+ tokens in \d+ windows of 64\n', text), text
    short = json.loads(w.ok('eval', '{dense}', '--text', '{long}', '--ctx', 64, '--max-tokens', 128, '--json'))
    assert short['windows'] == 2 and short['scored_tokens'] < o['scored_tokens']


def vectors_together_and_apart(w):
    """A text's vector does not depend on the texts beside it, on threads, or on the form of the output."""
    texts = ['hello', 'the world ' * 30, 'and', 'a longer one than most of the others here']
    with open(os.path.join(w.tmp, 'texts'), 'w') as f:
        f.write('\n'.join(texts))
    for model in ('{encoder}', '{moe}'):
        together = w.ok('embed', model, *texts).splitlines()
        assert len(set(together)) == len(texts)
        assert [w.ok('embed', model, t).rstrip('\n') for t in texts] == together
        assert w.ok('embed', model, '--file', '{tmp}/texts', '-t', '2').splitlines() == together
        said = json.loads(w.ok('embed', model, '--file', '{tmp}/texts', '--json'))
        w.ok('embed', model, '--file', '{tmp}/texts', '--raw-f32', '{tmp}/v.f32')
        with open(os.path.join(w.tmp, 'v.f32'), 'rb') as f:
            raw = struct.unpack(f'<{len(texts) * 64}f', f.read())
        for i, line in enumerate(together):
            vector = [float(x) for x in line.split()]
            assert vector == said['texts'][i]['vector'], model
            assert max(abs(a - b) for a, b in zip(vector, raw[64 * i:64 * i + 64])) < 1e-8
            assert abs(sum(x * x for x in vector) - 1) < 1e-6


def outputs_replace_what_was_there(w):
    path = os.path.join(w.tmp, 'l.f32')
    with open(path, 'w') as f:
        f.write('old')
    _eval_ids(w)
    assert os.path.getsize(path) == 40 * 320 * 4 and os.listdir(w.tmp) == ['l.f32']


# ---- upcycle ----

def upcycled_twin_says_the_same(w):
    o = json.loads(w.ok('upcycle', '{dense}', '-o', 'twin.gguf', '--experts', 4, '--top-k', 2, '--json'))
    assert o['layers'] == 2 and o['experts'] == 4 and o['bytes_out'] == os.path.getsize(os.path.join(w.tmp, 'twin.gguf'))
    info = json.loads(w.ok('inspect', 'twin.gguf', '--json'))
    assert info['experts'] == 4 and info['experts_used'] == 2
    args = ['-p', 'Tell me', '-n', 30, '--temp', 0, '--ignore-eog', '-q']
    assert w.ok('run', 'twin.gguf', *args) == w.ok('run', '{dense}', *args)
    again = w.run('upcycle', '{dense}', '-o', 'twin.gguf')
    assert again.returncode == 2 and b'--force' in again.stderr
    before = open(os.path.join(w.tmp, 'twin.gguf'), 'rb').read()
    w.ok('upcycle', '{dense}', '-o', 'twin.gguf', '--experts', 4, '--top-k', 2, '--force')
    assert open(os.path.join(w.tmp, 'twin.gguf'), 'rb').read() == before
    w.ok('upcycle', '{dense}', '-o', 'twin.gguf', '--experts', 4, '--top-k', 2, '--force', '--seed', 1)
    assert open(os.path.join(w.tmp, 'twin.gguf'), 'rb').read() != before


def dropped_neurons_are_counted(w):
    o = json.loads(w.ok('upcycle', '{dense}', '-o', 'drop.gguf', '--experts', 4, '--top-k', 2, '--drop-ratio', 0.5, '--json'))
    assert o['neurons_redrawn'] > 0
    w.ok('run', 'drop.gguf', '-p', 'hi', '-n', 4)


# ---- interrupts and full disks ----

def _big(w):
    """A model large enough that writing its mixture takes a while."""
    path = os.path.join(w.models, 'big.gguf')
    if not os.path.exists(path):
        w.ok('synth', '-o', path, '--arch', 'llama', '--width', 256, '--ffn', 8192, '--layers', 2)
    return path


def _interrupted_upcycle(w, number):
    out = os.path.join(w.tmp, 'out.gguf')
    p = subprocess.Popen([w.program, 'upcycle', _big(w), '-o', out, '--experts', '64'], env=w.env, stderr=subprocess.PIPE)
    end = time.monotonic() + 60
    while time.monotonic() < end:  # until it is well into writing
        written = int(re.search(r'wchar: (\d+)', open(f'/proc/{p.pid}/io').read())[1])
        if written > 8 << 20 or p.poll() is not None:
            break
        time.sleep(0.002)
    assert p.poll() is None, 'it was over before it could be interrupted'
    p.send_signal(number)
    _, err = p.communicate(timeout=60)
    assert os.listdir(w.tmp) == [], tree(w.tmp)
    return p.returncode, err


def interrupt_while_writing(w):
    code, err = _interrupted_upcycle(w, signal.SIGINT)
    assert code == 130 and err == b'', (code, err)


def terminate_while_writing(w):
    code, err = _interrupted_upcycle(w, signal.SIGTERM)
    assert code == 143 and err == b'', (code, err)


def kill_while_writing(w):
    code, _ = _interrupted_upcycle(w, signal.SIGKILL)
    assert code == -signal.SIGKILL


F_SETPIPE_SZ = getattr(fcntl, 'F_SETPIPE_SZ', 1031)


def cpu_ticks(pid):
    with open(f'/proc/{pid}/stat') as f:
        fields = f.read().rsplit(')', 1)[1].split()
    return int(fields[11]) + int(fields[12])


def interrupt_an_answer(w):
    p = subprocess.Popen([w.program, 'run', w.paths['dense'], '-p', 'hi', '--raw', '--ignore-eog', '--ctx', '65536'], env=w.env,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    first = p.stdout.read(1)
    p.send_signal(signal.SIGINT)
    rest, err = p.communicate(timeout=60)
    assert p.returncode == 130 and first + rest, (p.returncode, err)
    assert figures(err) and b'medley:' not in err


def interrupt_a_write_that_waits(w):
    """Nobody reads, so the answer waits in the pipe: Ctrl-C ends it, and is no failure of the output."""
    p = subprocess.Popen([w.program, 'run', w.paths['dense'], '-p', 'hi', '--raw', '--ignore-eog', '--ctx', '65536'], env=w.env,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    fcntl.fcntl(p.stdout, F_SETPIPE_SZ, 4096)
    first = p.stdout.read(1)
    deadline = time.monotonic() + 60
    before = -1
    while (done := cpu_ticks(p.pid)) != before and time.monotonic() < deadline:
        before = done
        time.sleep(0.3)
    p.send_signal(signal.SIGINT)
    p.wait(timeout=60)
    _, err = p.communicate()
    assert p.returncode == 130 and first and b'cannot write' not in err, (p.returncode, err)


def interrupt_an_evaluation(w):
    ids = os.path.join(w.tmp, 'many')
    with open(ids, 'w') as f:
        f.write('5 ' * 30000)
    p = subprocess.Popen([w.program, 'eval', w.paths['dense'], '--token-ids', ids, '--logits-out', os.path.join(w.tmp, 'x')],
                         env=w.env, stderr=subprocess.PIPE)
    time.sleep(0.5)
    p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=60)
    assert p.returncode == 130 and err == b'', (p.returncode, err)
    assert os.listdir(w.tmp) == ['many']


class SmallDisk:
    """A file system of 1 MiB. Only root may mount one."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix='medley-disk-')
        r = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'none', self.path], capture_output=True, text=True)
        if r.returncode != 0:
            os.rmdir(self.path)
            raise Skip('a small file system cannot be mounted here: ' + r.stderr.strip())
        return self.path

    def __exit__(self, *_):
        subprocess.run(['umount', self.path], check=True)
        os.rmdir(self.path)


def full_disk(w):
    if os.geteuid() != 0:
        raise Skip('needs root')
    with SmallDisk() as disk:
        for args in (['upcycle', '{dense}', '-o', f'{disk}/x.gguf', '--experts', 8],
                     ['synth', '-o', f'{disk}/x.gguf', '--width', 512],
                     ['eval', '{dense}', '--token-ids', 'many', '--logits-out', f'{disk}/x.f32']):
            with open(os.path.join(w.tmp, 'many'), 'w') as f:
                f.write('5 ' * 1000)
            r = w.run(*args)
            said = r.stderr.decode()
            assert r.returncode == 1 and re.search(rf"medley: .*{disk}/x.*No space left on device\n\Z", said), said
            assert said.count('\n') == 1 and os.listdir(disk) == [], (said, os.listdir(disk))


def picture_of_a_bench(w):
    path = os.path.join(w.tmp, 'bench.svg')
    out = json.loads(w.ok('bench', '{moe}', '-p', 5, '-n', 2, '-r', 1, '-t', '1,2', '--json', '--svg', path))
    assert [(r['test'], r['threads']) for r in out['results']] == [('pp5', 1), ('tg2', 1), ('pp5', 2), ('tg2', 2)]
    svg = xml.etree.ElementTree.parse(path).getroot()
    ns = '{http://www.w3.org/2000/svg}'
    assert svg.tag == ns + 'svg'
    words = [t.text for t in svg.iter(ns + 'text')]
    for r in out['results']:
        assert f"{r['test']} ({r['threads']} thr)" in words and any(t.startswith(f"{r['tokens_per_s']:.1f}") for t in words), words
        parts = r['seconds_per_token']
        assert parts['experts'] > 0 and 0 < sum(parts.values()) < 1.01 / r['tokens_per_s'], r
    right = max(float(b.get('x')) + float(b.get('width')) for b in svg.iter(ns + 'rect') if b.get('x'))
    assert right <= float(svg.get('width'))


def reader_that_goes_away(w):
    p = subprocess.Popen([w.program, 'run', w.paths['dense'], '-p', 'hi', '--raw', '--ignore-eog', '--ctx', '65536', '-q'],
                         env=w.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    p.stdout.read(1)
    p.stdout.close()
    err = p.stderr.read()
    assert p.wait(timeout=60) == 1 and err == b'', err


def context_that_does_not_fit_into_memory(w):
    wide = os.path.join(w.tmp, 'wide.gguf')
    w.ok('synth', '-o', wide, '--width', 256, '--kv-heads', 4, '--layers', 24)
    memory = json.loads(w.ok('inspect', wide, '--json', '--memory', '--ctx', 16777216, '--kv-type', 'f32'))['memory']
    free = 1024 * int(re.search(r'MemAvailable: *(\d+) kB', open('/proc/meminfo').read())[1])
    if memory['kv'] < 2 * free:
        raise Skip('this machine has too much memory')
    r = w.run('run', wide, '-p', 'hi', '--ctx', 16777216, '--kv-type', 'f32')
    assert r.returncode == 1 and re.fullmatch(rb'medley: a context of 16777216 tokens takes .* is free: .*--ctx.*\n', r.stderr), r


# ---- terminals ----

def hostile_answer_on_a_terminal(w):
    bias = []
    esc = json.loads(w.ok('tokenize', '{dense}', '--no-bos', '--json', stdin=b'\x1b'))['tokens']
    assert len(esc) == 1
    bias = ['--logit-bias', f'{esc[0]}=1e6']
    args = ['run', '{dense}', '-p', 'hi', '-n', '4', '-q', *bias]
    assert w.run(*args).stdout == b'\x1b\x1b\x1b\x1b\n'  # in a pipe: what the model said
    out, status = terminal.show(w, args)
    assert status == 0 and b'\x1b' not in out and '\ufffd'.encode() * 4 in out, out


def progress_only_on_terminals(w):
    args = ['upcycle', _big(w), '-o', 'x.gguf', '--experts', '4', '--drop-ratio', '0.5', '--force']  # drawing weights anew takes its time
    r = w.run(*args)
    assert r.returncode == 0 and b'\r' not in r.stderr and r.stderr.count(b'\n') == 2, r.stderr
    out, status = terminal.show(w, args)
    assert status == 0 and re.search(rb'writing \[[#.]{30}\]', out), out
    out, status = terminal.show(w, args, env={'TERM': 'dumb'})
    assert status == 0 and b'writing' not in out, out


def a_chat(w):
    t = terminal.Terminal(w, ['run', '{dense}', '-n', '12', '--temp', '0', '--ignore-eog'])
    t.wait('Ctrl-D leaves')
    t.say('Hello there\n', after='> ')
    t.say('and once more\n', after='> ')
    t.say('/tokens\n', after='> ')
    counted = int(re.search(rb'The conversation has (\d+) tokens', t.wait('room for 4096'))[1])
    assert counted > 40, counted
    t.say('/nonsense\n', after='> ')
    t.wait("unknown command '/nonsense'")
    t.say('/help\n', after='> ')
    t.wait('/reset')
    t.say('/save talk.json\n', after='> ')
    t.wait('4 messages were saved')
    t.say('/reset\n', after='> ')
    t.wait('forgotten')
    t.say('/tokens\n', after='> ')
    t.wait('has 0 tokens')
    t.say('\x04', after='> ')
    assert t.end() == 0
    assert b'| logits ' in t.seen
    messages = json.load(open(os.path.join(w.tmp, 'talk.json')))['messages']
    assert [m['role'] for m in messages] == ['user', 'assistant'] * 2
    assert [m['content'] for m in messages[::2]] == ['Hello there', 'and once more']
    first = w.ok('run', '{dense}', '-n', 12, '--temp', 0, '--ignore-eog', '-q', '-p', 'Hello there')
    assert messages[1]['content'] == first.rstrip('\n') or messages[1]['content'] + '\n' == first, (messages[1], first)


def chat_is_interrupted_and_left(w):
    t = terminal.Terminal(w, ['run', '{dense}', '--raw', '--ignore-eog', '--ctx', '65536'])
    t.say('go on\n', after='> ')
    t.wait('go on')
    time.sleep(0.5)
    t.say('\x03')
    t.wait('(stopped)')
    t.say('two \\\n', after='> ')
    t.say('lines\n', after='... ')
    time.sleep(0.5)
    t.say('\x03')
    t.wait('(stopped)')
    t.say('half a line\x03', after='> ')
    t.wait('Ctrl-C again')
    t.say('\x03', after='> ')
    assert t.end() == 0, t.seen


def chat_goes_on_after_a_full_context(w):
    t = terminal.Terminal(w, ['run', '{dense}', '--ctx', '128', '--ignore-eog', '--temp', '0', '-n', '20'])
    t.say('x' * 200 + '\n', after='> ')
    t.wait('too long')
    t.say('hi\n', after='> ')
    t.say('/tokens\n', after='> ')
    t.wait('room for 128')
    t.say('/exit\n', after='> ')
    assert t.end() == 0, t.seen


def chat_is_terminated(w):
    t = terminal.Terminal(w, ['run', '{dense}'])
    t.wait('> ')
    time.sleep(0.1)
    os.kill(t.pid, signal.SIGTERM)
    assert t.end() == 143, t.seen


def history_is_kept(w):
    path = os.path.join(w.env['XDG_STATE_HOME'], 'medley', 'history')
    t = terminal.Terminal(w, ['run', '{dense}', '-n', '1'])
    t.say('a line to remember\n', after='> ')
    t.say('\x04', after='> ')
    assert t.end() == 0
    if not os.path.exists(path):
        raise Skip('built without line editing')
    assert os.stat(path).st_mode & 0o077 == 0
    t = terminal.Terminal(w, ['run', '{dense}', '-n', '1'])
    t.say('\x10', after='> ')
    t.wait('a line to remember')
    t.say('\n')
    t.say('\x04', after='> ')
    assert t.end() == 0


ALL = [
    help_of_every_command, version, every_bound_that_help_shows, docs_name_every_option, completion_for_bash,
    completion_for_zsh, completion_for_fish, inspect_in_json_and_in_text, inspect_shows_no_control_characters, tokens_and_back,
    special_tokens_on_request, bytes_that_are_no_text, one_answer_in_json, same_seed_same_text, prompt_from_everywhere,
    stop_strings_and_limits, raw_text_and_templates, model_without_a_template, logit_bias_forbids_and_forces,
    masked_experts_are_not_used, notes_and_figures_can_be_silenced, logits_do_not_depend_on_chunks_or_threads,
    routing_has_the_form_of_the_fixtures, trace_of_an_evaluation, trace_of_a_bench, picture_of_a_trace, fixtures_agree, perplexity, vectors_together_and_apart, outputs_replace_what_was_there,
    upcycled_twin_says_the_same, dropped_neurons_are_counted, interrupt_while_writing, terminate_while_writing,
    kill_while_writing, interrupt_an_answer, interrupt_a_write_that_waits, interrupt_an_evaluation, full_disk, picture_of_a_bench,
    reader_that_goes_away,
    hostile_answer_on_a_terminal, progress_only_on_terminals, a_chat, chat_is_interrupted_and_left,
    chat_goes_on_after_a_full_context, chat_is_terminated, history_is_kept, context_that_does_not_fit_into_memory,
]
