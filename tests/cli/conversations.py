# SPDX-License-Identifier: Apache-2.0
"""Conversations that are saved, loaded and too long. Each function of ALL gets a World (run.py) with an empty folder."""
import json
import os
import re

import terminal

GREEDY = ['--temp', '0', '-n', '12', '--ignore-eog']


def hash_of(shown):
    return re.search(rb'logits ([0-9a-f]{16}) ', shown)[1]


def chat(w, args, *lines):
    """A chat of these lines; what it showed."""
    t = terminal.Terminal(w, ['run', *args])
    for line in lines:
        t.say(line + '\n', after='> ')
    t.say('\x04', after='> ')
    assert t.end() == 0, t.seen
    return t.seen


def tokens_of(shown):
    return int(re.findall(rb'The conversation has (\d+) tokens', shown)[-1])


def saved_state_gives_the_same_bits(w):
    for kv in ('f16', 'q8_0'):
        args = ['{moe}', *GREEDY, '--kv-type', kv] if kv == 'f16' else ['{dense}', *GREEDY, '--kv-type', 'f32']
        straight = chat(w, args, 'Hello there', f'/save {kv}.mdl', 'and once more', '/tokens')
        assert b'2 messages were saved' in straight
        loaded = chat(w, [*args, '--load', f'{kv}.mdl'], 'and once more', '/tokens')
        assert b'A conversation of 2 messages was loaded' in loaded, loaded
        assert hash_of(loaded) == hash_of(straight) and tokens_of(loaded) == tokens_of(straight)
        again = chat(w, args, 'something else', f'/load {kv}.mdl', 'and once more', '/tokens')
        assert hash_of(again) == hash_of(straight) and tokens_of(again) == tokens_of(straight)


def loading_costs_no_prefill(w):
    chat(w, ['{dense}', *GREEDY], 'x' * 900, '/save long.mdl')
    r = w.run('run', '{dense}', '--load', 'long.mdl', '-p', 'go on', *GREEDY, '--json')
    assert r.returncode == 0, r.stderr
    with_state = json.loads(r.stdout)
    os.rename(os.path.join(w.tmp, 'long.mdl'), os.path.join(w.tmp, 'x'))
    chat(w, ['{dense}', *GREEDY, '--load', 'x'], '/save long.json')
    r = w.run('run', '{dense}', '--load', 'long.json', '-p', 'go on', *GREEDY, '--json')
    assert r.returncode == 0, r.stderr
    without = json.loads(r.stdout)
    assert with_state['tokens'] == without['tokens'] and \
        with_state['figures']['logits_hash'] == without['figures']['logits_hash']
    assert with_state['figures']['prompt_tokens'] < 60 and without['figures']['prompt_tokens'] > 500, (with_state, without)


def other_numerics_read_the_text_again(w):
    chat(w, ['{dense}', *GREEDY], 'Hello there ' * 6, '/save a.mdl')
    for more, why in ((['{dense}', '--kv-type', 'f32'], 'other numerics'), (['{moe}'], 'another model'),
                      (['{dense}', '--ctx', '64'], 'no room')):
        r = w.run('run', *more, '--load', 'a.mdl', '-p', 'hi', '--temp', 0, '-n', 1)
        note = r.stderr.decode()
        assert f'note: ' in note and why in note and 'read again' in note, note
        assert r.returncode == (1 if why == 'no room' else 0), note
    direct = w.run('run', '{dense}', '--kv-type', 'f32', '--load', 'a.mdl', '-p', 'hi', '--json', *GREEDY)
    first = json.loads(direct.stdout)
    chat(w, ['{dense}', '--load', 'a.mdl'], '/save a.json')
    second = json.loads(w.ok('run', '{dense}', '--kv-type', 'f32', '--load', 'a.json', '-p', 'hi', '--json', *GREEDY))
    assert first['tokens'] == second['tokens']


def raw_text_is_saved_too(w):
    args = ['{dense}', '--raw', *GREEDY]
    straight = chat(w, args, 'Once upon', '/save t.mdl', ' a time')
    loaded = chat(w, [*args, '--load', 't.mdl'], ' a time')
    assert hash_of(loaded) == hash_of(straight)
    chat(w, [*args, '--load', 't.mdl'], '/save t.json')
    text = json.load(open(os.path.join(w.tmp, 't.json')))['text']
    assert text.startswith('Once upon'), text
    for args, why in ((['{dense}'], b'give --raw'), (['{dense}', '--raw'], None)):
        r = w.run('run', *args, '--load', 't.mdl', '-p', ' a', '-n', 1)
        assert (r.returncode == 2 and why in r.stderr) if why else r.returncode == 0, r.stderr


def what_was_made_without_experts_is_not_saved(w):
    """--on-miss changes results: keys and values made so stay in the session, and exact ones are not taken up."""
    args = ['{moe}', *GREEDY, '--memory', '600M']
    shown = chat(w, [*args, '--on-miss', 'skip:1'], 'Hello there', '/save made.mdl', '/save made.json')
    assert b'(--on-miss), so its keys and values are not' in shown and b'2 messages were saved' in shown, shown
    assert not os.path.exists(os.path.join(w.tmp, 'made.mdl')) and os.path.exists(os.path.join(w.tmp, 'made.json'))
    assert b'2 messages were saved' in chat(w, args, 'Hello there', '/save exact.mdl')
    loaded = chat(w, [*args, '--on-miss', 'skip:1', '--load', 'exact.mdl'], '/tokens')
    assert b'0 tokens need not be read again' in loaded, loaded


def broken_conversations(w):
    chat(w, ['{dense}', *GREEDY], 'Hello there', '/save a.mdl')
    path = os.path.join(w.tmp, 'a.mdl')
    whole = open(path, 'rb').read()
    cases = {'cut.mdl': (whole[:-5], 'cut off or damaged'), 'empty.mdl': (b'', 'not a saved'),
             'no.mdl': (b'x' * 500, 'not a saved'),
             'bad.mdl': (whole[:999] + bytes([whole[999] ^ 1]) + whole[1000:], 'checksum'),
             'bad.json': (b'{"messages": [', 'line 1'), 'list.json': (b'[1]', 'no conversation'),
             'role.json': (b'{"messages": [{"role": "queen", "content": "x"}]}', 'message 1'),
             'part.json': (b'{"messages": [{"role": "user"}]}', 'message 1'),
             'zero.json': (b'{"messages": [{"role": "user", "content": "a\\u0000b"}]}', '')}
    for name, (data, why) in cases.items():
        with open(os.path.join(w.tmp, name), 'wb') as f:
            f.write(data)
        r = w.run('run', '{dense}', '--load', name, '-p', 'hi')
        said = r.stderr.decode()
        assert r.returncode in (1, 2) and said.count('\n') == 1 and said.startswith('medley: ') and why in said, (name, said)
        assert name in said, said
    r = w.run('run', '{dense}', '--load', 'nowhere.mdl', '-p', 'hi')
    assert r.returncode == 1 and b'No such file' in r.stderr
    assert w.run('run', '{dense}', '--load', 'a.mdl', '--system', 'x', '-p', 'hi').returncode == 2
    # In a chat the conversation goes on as it was.
    t = chat(w, ['{dense}', *GREEDY], 'Hello there', '/load bad.mdl', '/load list.json', '/tokens')
    assert b'checksum' in t and b'no conversation' in t and tokens_of(t) > 20


def saving_replaces_only_its_own_file(w):
    with open(os.path.join(w.tmp, 'mine.json'), 'w') as f:
        f.write('precious')
    t = chat(w, ['{dense}', *GREEDY], 'Hello', '/save mine.json', '/save own.mdl', 'again', '/save own.mdl', '/save', '/load')
    assert b'exists and is not' in t and b'/save wants a file name' in t and b'/load wants a file name' in t
    assert b'2 messages were saved' in t and b'4 messages were saved' in t
    assert open(os.path.join(w.tmp, 'mine.json')).read() == 'precious'
    assert sorted(os.listdir(w.tmp)) == ['mine.json', 'own.mdl']


# ---- a full context ----

CTX = ['--ctx', '256', '--temp', '0', '--ignore-eog']


def overflow_stops_or_is_an_error(w):
    r = w.run('run', '{dense}', '-p', 'x' * 50, *CTX, '--json')
    assert r.returncode == 0 and json.loads(r.stdout)['finish'] == 'context' and b'full' in r.stderr
    r = w.run('run', '{dense}', '-p', 'x' * 50, *CTX, '--ctx-overflow', 'error')
    assert r.returncode == 1 and b'medley: the context of 256 tokens is full after' in r.stderr, r.stderr
    r = w.run('run', '{dense}', '-p', 'x' * 500, *CTX, '--ctx-overflow', 'drop')  # one turn cannot be dropped
    assert r.returncode == 1 and b'free' in r.stderr, r.stderr


def dropped_turns_are_as_if_never_said(w):
    args = ['{dense}', *CTX, '-n', '20', '--ctx-overflow', 'drop', '--system', 'Be brief.']
    lines = [f'{i} ' + 'word ' * 8 for i in range(6)]
    t = chat(w, args, *lines[:5], '/save a.json', '/tokens')
    assert b'the oldest' in t and b'messages were dropped' in t, t
    saved = json.load(open(os.path.join(w.tmp, 'a.json')))
    kept = saved['messages'][:1] + saved['messages'][saved['kept_from']:]
    assert len(saved['messages']) == 11 and saved['kept_from'] > 1 and kept[1]['role'] == 'user'
    assert tokens_of(t) <= 256
    # What is kept, told to a model that never heard the rest, gives the same answer.
    with open(os.path.join(w.tmp, 'kept.json'), 'w') as f:
        json.dump({'messages': kept[:-2]}, f)
    fresh = w.ok('run', '{dense}', '--ctx', '256', '--temp', '0', '--ignore-eog', '-n', '20', '-q', '--load', 'kept.json',
                 '-p', kept[-2]['content'])
    assert fresh.rstrip('\n') == kept[-1]['content'].rstrip('\n'), (fresh, kept[-1])
    # And a loaded conversation still leaves out what was left out.
    again = chat(w, [*args[:-2], '--load', 'a.json'], lines[5], '/tokens')
    assert tokens_of(again) <= 256


def a_long_answer_drops_turns_on_its_way(w):
    args = ['{dense}', *CTX, '--ctx-overflow', 'drop']
    t = chat(w, [*args, '-n', '40'], 'one', 'two', '/save a.json')
    assert b'dropped' not in t
    r = w.run('run', *args, '-n', '150', '--load', 'a.json', '-p', 'three', '--json')
    o = json.loads(r.stdout)
    assert r.returncode == 0 and o['finish'] == 'length' and len(o['tokens']) == 150, o
    assert b'messages were dropped' in r.stderr, r.stderr
    with open(os.path.join(w.tmp, 'form'), 'w') as f:
        f.write('root ::= (("a" | "b" | "c") ("d" | "e")){80}')
    form = ['--grammar', 'form']  # it goes on where it was
    bound = json.loads(w.ok('run', *args, '-n', '151', '--load', 'a.json', '-p', 'three', '--json', *form))
    assert re.fullmatch('([abc][de])*[abc]?', bound['text'].strip('\n')) and len(bound['tokens']) == 151, bound
    text = w.ok('detokenize', '{dense}', *map(str, o['tokens']))
    assert text.rstrip('\n').lstrip(' ') == o['text'].rstrip('\n').lstrip(' '), (text, o['text'])


def raw_text_loses_its_oldest_half(w):
    r = w.run('run', '{dense}', '--raw', '-p', 'Once upon a time', *CTX, '--ctx-overflow', 'drop', '-n', '700', '--json')
    o = json.loads(r.stdout)
    assert r.returncode == 0 and o['finish'] == 'length' and len(o['tokens']) == 700, o['finish']
    assert b'tokens were dropped' in r.stderr, r.stderr


# ---- metadata overrides ----

def overrides(w):
    def routed(*more):
        w.ok('eval', '{moe}', '--token-ids', '{ids}', '--routing-out', 'r.json', '-q', *more)
        layers = json.load(open(os.path.join(w.tmp, 'r.json')))['experts']
        return {len(row) for rows in layers.values() for row in rows}
    assert routed() == {2} and routed('--override', 'qwen3moe.expert_used_count=int:5') == {5}
    o = json.loads(w.ok('inspect', '{moe}', '--json', '--override', 'qwen3moe.expert_used_count=int:4', '--override',
                        'general.name=str:Mine'))
    assert o['experts_used'] == 4 and o['name'] == 'Mine'
    template = ['--override', 'tokenizer.chat_template=str:{{ messages[0].content }}!']
    r = w.run('run', '{moe}', '-p', 'hi', '-n', 1, *template)
    assert r.returncode == 0 and b' overrides=' in r.stderr, r.stderr
    for bad, why in (('k=u8:1', "unknown type 'u8'"), ('k', 'KEY=TYPE:VALUE'), ('k=int:x', 'not a whole number')):
        for command, more in (('run', ['-p', 'x']), ('eval', ['--text', '{long}']), ('inspect', [])):
            r = w.run(command, '{moe}', *more, '--override', bad)
            said = r.stderr.decode()
            assert r.returncode == 2 and why in said and said.count('\n') == 1, (command, said)


ALL = [saved_state_gives_the_same_bits, loading_costs_no_prefill, other_numerics_read_the_text_again, raw_text_is_saved_too,
       what_was_made_without_experts_is_not_saved, broken_conversations, saving_replaces_only_its_own_file, overflow_stops_or_is_an_error,
       dropped_turns_are_as_if_never_said, a_long_answer_drops_turns_on_its_way, raw_text_loses_its_oldest_half, overrides]
