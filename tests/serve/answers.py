# SPDX-License-Identifier: Apache-2.0
"""What the server answers: each function is a check of one running server."""
import base64
import json
import math
import struct

LONG = 'all work and no play makes jack a dull boy. '


def text_of(chunks):
    return ''.join(c['choices'][0]['delta'].get('content') or '' for c in chunks if c['choices'])


def chats_whole_and_streamed_are_equal(s):
    for more in ({}, {'temperature': 0.9, 'seed': 7}, {'max_tokens': 1}, {'stop': ['W']}):
        body = {'messages': [{'role': 'user', 'content': 'hello'}], 'max_tokens': 24, 'temperature': 0, **more}
        whole = s.ok('/v1/chat/completions', body)
        chunks = s.chunks('/v1/chat/completions', {**body, 'stream_options': {'include_usage': True}})
        assert whole['object'] == 'chat.completion' and whole['id'].startswith('chatcmpl-')
        assert {c['object'] for c in chunks} == {'chat.completion.chunk'} and len({c['id'] for c in chunks}) == 1
        assert chunks[0]['choices'][0]['delta'] == {'role': 'assistant', 'content': ''}
        assert text_of(chunks) == whole['choices'][0]['message']['content']
        assert chunks[-1]['choices'] == []
        for key in ('prompt_tokens', 'completion_tokens', 'total_tokens'):
            assert chunks[-1]['usage'][key] == whole['usage'][key]
        assert [c['choices'][0]['finish_reason'] for c in chunks[:-1]][-1] == whole['choices'][0]['finish_reason']


def a_prompt_is_cached(s):
    messages = [{'role': 'user', 'content': 'cache ' + LONG * 6}]
    first = s.ok('/v1/chat/completions', {'messages': messages, 'max_tokens': 4, 'temperature': 0})
    again = s.ok('/v1/chat/completions', {'messages': messages, 'max_tokens': 4, 'temperature': 0})
    assert first['choices'][0]['message'] == again['choices'][0]['message']
    assert again['usage']['prompt_tokens_details']['cached_tokens'] >= 64, again['usage']
    assert again['usage']['prompt_tokens'] == first['usage']['prompt_tokens']


def several_choices(s):
    body = {'messages': [{'role': 'user', 'content': 'hi'}], 'max_tokens': 12, 'temperature': 1.5, 'seed': 1, 'n': 3}
    whole = s.ok('/v1/chat/completions', body)
    texts = [c['message']['content'] for c in whole['choices']]
    assert [c['index'] for c in whole['choices']] == [0, 1, 2] and len(set(texts)) > 1
    assert texts == [c['message']['content'] for c in s.ok('/v1/chat/completions', body)['choices']]
    assert texts[0] == s.ok('/v1/chat/completions', {**body, 'n': 1})['choices'][0]['message']['content']
    streamed = ['', '', '']
    for c in s.chunks('/v1/chat/completions', body):
        for choice in c['choices']:
            streamed[choice['index']] += choice['delta'].get('content', '')
    assert streamed == texts
    assert whole['usage']['completion_tokens'] == 36 and whole['usage']['prompt_tokens'] < 40


def logprobs_of_chats(s):
    r = s.chat(logprobs=True, top_logprobs=3)
    content = r['choices'][0]['logprobs']['content']
    assert len(content) == r['usage']['completion_tokens']
    for token in content:
        top = token['top_logprobs']
        assert len(top) == 3 and [t['logprob'] for t in top] == sorted((t['logprob'] for t in top), reverse=True)
        assert abs(token['logprob'] - top[0]['logprob']) < 1e-6  # greedy
        assert sum(math.exp(t['logprob']) for t in top) <= 1.0001
        assert token['bytes'] == top[0]['bytes']
    streamed = []
    for c in s.chunks('/v1/chat/completions', {'messages': [{'role': 'user', 'content': 'hi'}], 'max_tokens': 8, 'temperature': 0,
                                               'logprobs': True, 'top_logprobs': 3}):
        streamed += c['choices'][0]['logprobs']['content']
    assert streamed == content
    assert s.chat()['choices'][0]['logprobs'] is None


def completions(s):
    body = {'prompt': 'once', 'max_tokens': 10, 'temperature': 0, 'logprobs': 2}
    r = s.ok('/v1/completions', body)
    choice, p = r['choices'][0], r['choices'][0]['logprobs']
    assert r['object'] == 'text_completion' and len(p['tokens']) == len(p['token_logprobs']) == len(p['text_offset']) == 10
    assert all(len(t) <= 2 for t in p['top_logprobs']) and p['text_offset'][0] == 0
    chunks = s.chunks('/v1/completions', body)
    assert ''.join(c['choices'][0]['text'] for c in chunks) == choice['text']
    ids = s.ok('/tokenize', {'content': 'once', 'add_special': True})['tokens']
    assert s.ok('/v1/completions', {**body, 'prompt': ids})['choices'][0] == choice
    several = s.ok('/v1/completions', {**body, 'prompt': ['twice', 'once'], 'n': 2})
    assert [c['index'] for c in several['choices']] == [0, 1, 2, 3]
    assert several['choices'][2]['text'] == several['choices'][3]['text'] == choice['text']
    assert len(s.ok('/v1/completions', {'prompt': 'x', 'ignore_eos': True})['choices'][0]['text']) > 0
    assert s.ok('/v1/completions', {'prompt': 'x', 'ignore_eos': True})['usage']['completion_tokens'] == 16


def samplers(s):
    free = s.chat(logprobs=True)['choices'][0]['logprobs']['content'][0]
    first = s.ok('/tokenize', {'content': bytes(free['bytes']).decode('latin-1')})['tokens']
    if len(first) == 1 and max(free['bytes']) < 128:
        banned = s.chat(logprobs=True, logit_bias={str(first[0]): -100})['choices'][0]['logprobs']['content'][0]
        assert banned['token'] != free['token']
    forced = s.chat(logit_bias={'65': 1000}, max_tokens=3, logprobs=True)['choices'][0]['logprobs']['content']
    assert len({t['token'] for t in forced}) == 1
    s.chat(temperature=0.7, top_p=0.9, top_k=20, min_p=0.01, typical_p=0.9, repeat_penalty=1.1, presence_penalty=0.1,
           frequency_penalty=0.1, repeat_last_n=32, dry_multiplier=0.8, dry_sequence_breakers=['\n'], xtc_probability=0.1, seed=3,
           top_n_sigma=2, user='u', metadata={}, store=False, service_tier='auto', parallel_tool_calls=True, n=None)
    s.chat(temperature=1, mirostat=2, mirostat_tau=4)
    assert s.chat(temperature=1, seed=5)['choices'] == s.chat(temperature=1, seed=5)['choices']


def formats(s):
    schema = {'type': 'object', 'properties': {'x': {'enum': ['a', 'b']}, 'y': {'type': 'integer', 'minimum': 1, 'maximum': 9}},
              'required': ['x', 'y'], 'additionalProperties': False}
    f = {'type': 'json_schema', 'json_schema': {'name': 'n', 'strict': True, 'schema': schema}}
    r = s.chat(response_format=f, max_tokens=100)
    v = json.loads(r['choices'][0]['message']['content'])
    assert v['x'] in 'ab' and 1 <= v['y'] <= 9 and r['choices'][0]['finish_reason'] == 'stop'
    chunks = s.chunks('/v1/chat/completions', {'messages': [{'role': 'user', 'content': 'hi'}], 'temperature': 0, 'response_format': f})
    assert json.loads(text_of(chunks)) == v
    assert s.chat(response_format={'type': 'json_object'}, max_tokens=3)['choices'][0]['message']['content'][0] == '{'
    assert s.chat(response_format={'type': 'text'})['choices'][0]['finish_reason'] in ('stop', 'length')
    assert s.chat(grammar='root ::= "yes" | "no"')['choices'][0]['message']['content'] in ('yes', 'no')
    assert s.ok('/v1/completions', {'prompt': 'x', 'json_schema': {'const': 5}})['choices'][0]['text'] == '5'
    e = s.refused('/v1/chat/completions', {'messages': [{'role': 'user', 'content': 'x'}], 'response_format': {
        'type': 'json_schema', 'json_schema': {'schema': {'type': 'array', 'uniqueItems': True}}}}, 400, 'response_format')
    assert 'uniqueItems' in e['message'], e
    s.refused('/v1/chat/completions', {'messages': [{'role': 'user', 'content': 'x'}], 'grammar': 'root = 1'}, 400, 'grammar')


TOOLS = [{'type': 'function', 'function': {'name': 'look', 'description': 'looks', 'parameters': {
              'type': 'object', 'properties': {'x': {'enum': ['a', 'b']}}, 'required': ['x']}}},
         {'type': 'function', 'function': {'name': 'listen', 'parameters': {
             'type': 'object', 'properties': {'far': {'$ref': '#/$defs/d'}}, 'required': ['far'], '$defs': {'d': {'enum': [1, 2]}}}}}]


def calls_of(chunks):
    found = []
    for c in chunks:
        for call in c['choices'][0]['delta'].get('tool_calls', []):
            if call['index'] == len(found):
                found.append({'id': call['id'], 'name': call['function']['name'], 'arguments': ''})
            found[call['index']]['arguments'] += call['function']['arguments']
    return found


def forced_calls(s):
    for choice, name in (('required', None), ({'type': 'function', 'function': {'name': 'listen'}}, 'listen')):
        r = s.chat(tools=TOOLS, tool_choice=choice, max_tokens=200)['choices'][0]
        assert r['finish_reason'] == 'tool_calls' and r['message']['content'] is None, r
        call = r['message']['tool_calls'][0]
        assert call['type'] == 'function' and call['id'] and (name is None or call['function']['name'] == name)
        arguments = json.loads(call['function']['arguments'])
        assert arguments.get('x') in ('a', 'b') or arguments.get('far') in (1, 2)
        chunks = s.chunks('/v1/chat/completions', {'messages': [{'role': 'user', 'content': 'hi'}], 'temperature': 0, 'tools': TOOLS,
                                                   'tool_choice': choice})
        streamed = calls_of(chunks)
        assert [(c['name'], c['arguments']) for c in streamed] == [(call['function']['name'], call['function']['arguments'])]
        assert chunks[-1]['choices'][0]['finish_reason'] == 'tool_calls'
    s.refused('/v1/chat/completions', {'messages': [{'role': 'user', 'content': 'x'}], 'tools': TOOLS,
                                       'tool_choice': {'type': 'function', 'function': {'name': 'run'}}}, 400, 'tool_choice', 'run')
    s.refused('/v1/chat/completions', {'messages': [{'role': 'user', 'content': 'x'}], 'tool_choice': 'required'}, 400, 'tool_choice')


def calls_in_answers(s):
    """The model is made to say what a trained one would."""
    said = '"so <think>" "well<" "tool_call>{\\"name\\": \\"look\\", \\"arguments\\": {\\"x\\": \\"a\\"}}</tool_call>"'
    r = s.chat(tools=TOOLS, grammar='root ::= ' + said, max_tokens=200)['choices'][0]
    assert r['message']['content'] == 'so <think>well' and r['finish_reason'] == 'tool_calls', r
    assert r['message']['tool_calls'][0]['function'] == {'name': 'look', 'arguments': '{"x":"a"}'}
    without = s.chat(grammar='root ::= ' + said, max_tokens=200)['choices'][0]
    assert without['message']['content'].endswith('</tool_call>') and without['finish_reason'] == 'stop'
    none = s.chat(tools=TOOLS, tool_choice='none', grammar='root ::= ' + said, max_tokens=200)['choices'][0]
    assert none['message']['content'] == without['message']['content']
    body = {'messages': [{'role': 'user', 'content': 'hi'}], 'tools': TOOLS, 'grammar': 'root ::= ' + said, 'max_tokens': 200}
    chunks = s.chunks('/v1/chat/completions', body)
    assert text_of(chunks) == 'so <think>well' and calls_of(chunks)[0]['arguments'] == '{"x":"a"}'


def reasoning(s):
    r = s.chat(grammar='root ::= "<think>why\\n</think>\\n\\nso"', max_tokens=100)['choices'][0]['message']
    assert r['reasoning_content'] == 'why\n' and r['content'] == 'so', r
    inside = s.chat(grammar='root ::= "why</think>so"', chat_template_kwargs={'enable_thinking': True}, max_tokens=100)['choices'][0]
    assert inside['message']['reasoning_content'] == 'why' and inside['message']['content'] == 'so'
    chunks = s.chunks('/v1/chat/completions', {'messages': [{'role': 'user', 'content': 'hi'}], 'grammar': 'root ::= "<think>why</think>so"'})
    assert ''.join(c['choices'][0]['delta'].get('reasoning_content', '') for c in chunks) == 'why' and text_of(chunks) == 'so'
    f = {'type': 'json_schema', 'json_schema': {'schema': {'const': 'x'}}}
    both = s.chat(response_format=f, chat_template_kwargs={'enable_thinking': True}, max_tokens=400, logit_bias={'60': 30})['choices'][0]
    assert both['finish_reason'] == 'length' or both['message']['content'] == '"x"', both


def templates(s):
    calls = [{'id': 'c', 'type': 'function', 'function': {'name': 'look', 'arguments': '{"x": "b"}'}}]
    r = s.ok('/apply-template', {'messages': [{'role': 'developer', 'content': [{'type': 'text', 'text': 'be '}, {'type': 'text', 'text': 'good'}]},
                                              {'role': 'assistant', 'content': None, 'tool_calls': calls},
                                              {'role': 'tool', 'tool_call_id': 'c', 'content': 'seen'}], 'tools': TOOLS})
    assert '<|im_start|>system\nbe good<|im_end|>' in r['prompt'] and '<tool_call>b</tool_call>' in r['prompt'], r
    assert '"looks"' in r['prompt'] and '<|im_start|>tool\nseen' in r['prompt']


def tokens(s):
    t = s.ok('/tokenize', {'content': 'hello <|im_end|>', 'with_pieces': True})['tokens']
    assert t[-1]['piece'] == '<|im_end|>'
    assert ''.join(p['piece'] for p in t) == 'hello <|im_end|>'
    ids = s.ok('/tokenize', {'content': 'hello <|im_end|>', 'parse_special': False})['tokens']
    assert s.ok('/detokenize', {'tokens': ids})['content'] == 'hello <|im_end|>'
    s.refused('/detokenize', {'tokens': [1, 10 ** 9]}, 400, 'tokens')
    s.refused('/detokenize', {'tokens': 5}, 400, 'tokens')
    s.refused('/tokenize', {}, 400, 'content')


def embeddings(s):
    one = s.ok('/v1/embeddings', {'input': 'hello', 'model': 'm'})
    v = one['data'][0]['embedding']
    assert len(v) == 64 and abs(sum(x * x for x in v) - 1) < 1e-4 and one['usage']['prompt_tokens'] > 0
    several = s.ok('/v1/embeddings', {'input': ['other', 'hello'], 'encoding_format': 'base64'})
    raw = base64.b64decode(several['data'][1]['embedding'])
    assert all(abs(a - b) < 1e-6 for a, b in zip(struct.unpack('<64f', raw), v))
    ids = s.ok('/tokenize', {'content': 'hello', 'parse_special': False})['tokens']
    assert s.ok('/v1/embeddings', {'input': [ids]})['data'][0]['embedding'] == v
    mean = s.ok('/v1/embeddings', {'input': 'hello', 'pooling': 'mean'})['data'][0]['embedding']
    assert mean != v
    s.refused('/v1/embeddings', {'input': 'x', 'dimensions': 5}, 400, 'dimensions')
    s.refused('/v1/embeddings', {'input': ''}, 400, 'input')
    s.refused('/v1/embeddings', {'input': []}, 400, 'input')


def models(s):
    m = s.get('/v1/models').json
    assert m['object'] == 'list' and m['data'][0]['id'] == 'tiny' and m['data'][0]['object'] == 'model'
    assert s.get('/v1/models/tiny').json['id'] == 'tiny'
    assert s.get('/v1/models/huge').status == 404
    assert s.get('/health').json == {'status': 'ok'}
    props = s.get('/props').json
    assert props['chat_template'] and props['eos_token'] == '<|im_end|>'


def metrics(s):
    def read():
        lines = [line for line in s.get('/metrics').body.decode().splitlines() if not line.startswith('#')]
        return {k: float(v) for k, v in (line.rsplit(' ', 1) for line in lines)}
    before = read()
    s.chat(max_tokens=5, ignore_eos=True)
    after = read()
    name = 'medley_requests_total{endpoint="/v1/chat/completions",status="200"}'
    assert after[name] == before.get(name, 0) + 1
    assert after['medley_answer_tokens_total'] == before['medley_answer_tokens_total'] + 5
    assert after['medley_time_to_first_token_seconds_count'] == before['medley_time_to_first_token_seconds_count'] + 1
    assert after['medley_time_between_tokens_seconds_count'] == before['medley_time_between_tokens_seconds_count'] + 4
    assert after['medley_time_between_tokens_seconds_bucket{le="+Inf"}'] == after['medley_time_between_tokens_seconds_count']


ALL = [chats_whole_and_streamed_are_equal, a_prompt_is_cached, several_choices, logprobs_of_chats, completions, samplers, formats,
       forced_calls, calls_in_answers, reasoning, templates, tokens, embeddings, models, metrics]
