# SPDX-License-Identifier: Apache-2.0
"""The other forms of a chat, and vectors as ranks: each function is a check of one running server."""
import json

from answers import TOOLS

SAID = 'root ::= "<think>why</think>so " "<tool_call>{\\"name\\": \\"look\\", \\"arguments\\": {\\"x\\": \\"a\\"}}</tool_call>"'
ASKED = [{'name': t['function']['name'], 'description': 'd', 'input_schema': t['function']['parameters']} for t in TOOLS]
FLAT = [{'type': 'function', **t['function']} for t in TOOLS]


def stream(s, path, body):
    """Data of an event stream whose events name their types twice."""
    with s.stream(path, body) as lines:
        found = []
        for name, data in lines:
            found.append(json.loads(data))
            assert found[-1]['type'] == name, (name, data)
        return found


def anthropic_text(s):
    body = {'model': 'm', 'max_tokens': 12, 'temperature': 0, 'system': [{'type': 'text', 'text': 'be good'}],
            'messages': [{'role': 'user', 'content': [{'type': 'text', 'text': 'hi'}]}]}
    r = s.ok('/v1/messages', body)
    chat = s.ok('/v1/chat/completions', {'messages': [{'role': 'system', 'content': 'be good'}, {'role': 'user', 'content': 'hi'}],
                                         'max_tokens': 12, 'temperature': 0})
    assert r['type'] == 'message' and r['role'] == 'assistant' and r['id'].startswith('msg_')
    assert r['content'] == [{'type': 'text', 'text': chat['choices'][0]['message']['content']}]
    assert r['stop_reason'] in ('max_tokens', 'end_turn') and r['usage']['output_tokens'] == chat['usage']['completion_tokens']
    events = stream(s, '/v1/messages', body)
    assert [e['type'] for e in events if e['type'] != 'content_block_delta'] == [
        'message_start', 'content_block_start', 'content_block_stop', 'message_delta', 'message_stop']
    assert ''.join(e['delta']['text'] for e in events if e['type'] == 'content_block_delta') == r['content'][0]['text']
    assert events[-2]['delta']['stop_reason'] == r['stop_reason'] and events[-2]['usage']['output_tokens'] == r['usage']['output_tokens']
    stopped = s.ok('/v1/messages', {**body, 'grammar': 'root ::= "one two three"', 'stop_sequences': ['two']})
    assert stopped['content'][0]['text'] == 'one ' and stopped['stop_reason'] == 'stop_sequence' and stopped['stop_sequence'] == 'two'


def anthropic_tools(s):
    body = {'max_tokens': 200, 'tools': ASKED, 'grammar': SAID, 'messages': [
        {'role': 'user', 'content': 'hi'},
        {'role': 'assistant', 'content': [{'type': 'thinking', 'thinking': 'hm', 'signature': ''}, {'type': 'text', 'text': 'I look'},
                                          {'type': 'tool_use', 'id': 't1', 'name': 'look', 'input': {'x': 'a'}}]},
        {'role': 'user', 'content': [{'type': 'tool_result', 'tool_use_id': 't1', 'content': [{'type': 'text', 'text': 'seen'}]}]}]}
    r = s.ok('/v1/messages', body)
    assert [b['type'] for b in r['content']] == ['thinking', 'text', 'tool_use'] and r['stop_reason'] == 'tool_use', r
    assert r['content'][0]['thinking'] == 'why' and r['content'][2]['name'] == 'look' and r['content'][2]['input'] == {'x': 'a'}
    events = stream(s, '/v1/messages', body)
    starts = [e for e in events if e['type'] == 'content_block_start']
    assert [e['index'] for e in starts] == [0, 1, 2] == [e['index'] for e in events if e['type'] == 'content_block_stop']
    assert [e['content_block']['type'] for e in starts] == ['thinking', 'text', 'tool_use']
    part = [e['delta'] for e in events if e['type'] == 'content_block_delta' and e['delta']['type'] == 'input_json_delta']
    assert json.loads(''.join(d['partial_json'] for d in part)) == {'x': 'a'}
    del body['grammar']
    for choice, name in (({'type': 'any'}, None), ({'type': 'tool', 'name': 'listen'}, 'listen')):
        r = s.ok('/v1/messages', {**body, 'tool_choice': choice})
        assert r['content'][-1]['type'] == 'tool_use' and (not name or r['content'][-1]['name'] == name), r
    for body, param in (({'messages': [{'role': 'user', 'content': 'x'}]}, 'max_tokens'), ({'max_tokens': 5}, 'messages'),
                        ({'max_tokens': 5, 'messages': [{'role': 'system', 'content': 'x'}]}, 'messages[0]'),
                        ({'max_tokens': 5, 'messages': [{'role': 'user', 'content': [{'type': 'image'}]}]}, 'messages[0]'),
                        ({'max_tokens': 5, 'messages': [{'role': 'user', 'content': [{'type': 'tool_result'}]}]}, 'messages[0]'),
                        ({'max_tokens': 5, 'messages': [{'role': 'user', 'content': 'x'}], 'system': 5}, 'system'),
                        ({'max_tokens': 5, 'messages': [{'role': 'user', 'content': 'x'}], 'tools': [{'name': 'x'}]}, 'tools'),
                        ({'max_tokens': 5, 'messages': [{'role': 'user', 'content': 'x'}], 'mcp_servers': []}, 'mcp_servers')):
        s.refused('/v1/messages', body, 400, param)


def responses_text(s):
    body = {'input': 'hi', 'instructions': 'be good', 'max_output_tokens': 12, 'temperature': 0, 'store': False}
    r = s.ok('/v1/responses', body)
    chat = s.ok('/v1/chat/completions', {'messages': [{'role': 'system', 'content': 'be good'}, {'role': 'user', 'content': 'hi'}],
                                         'max_tokens': 12, 'temperature': 0})
    item = r['output'][0]
    assert r['object'] == 'response' and item['type'] == 'message' and item['content'][0]['type'] == 'output_text'
    assert item['content'][0]['text'] == chat['choices'][0]['message']['content']
    cut = chat['choices'][0]['finish_reason'] == 'length'
    assert r['status'] == ('incomplete' if cut else 'completed') and (r['incomplete_details'] is not None) == cut
    assert r['usage']['total_tokens'] == chat['usage']['total_tokens']
    events = stream(s, '/v1/responses', body)
    assert [e['sequence_number'] for e in events] == list(range(len(events)))
    names = [e['type'] for e in events if e['type'] != 'response.output_text.delta']
    assert names == ['response.created', 'response.in_progress', 'response.output_item.added', 'response.content_part.added',
                     'response.output_text.done', 'response.content_part.done', 'response.output_item.done', 'response.' + r['status']], names
    text = ''.join(e['delta'] for e in events if e['type'] == 'response.output_text.delta')
    assert text == item['content'][0]['text'] == events[-1]['response']['output'][0]['content'][0]['text']


def responses_tools(s):
    body = {'tools': FLAT, 'grammar': SAID, 'input': [
        {'role': 'user', 'content': [{'type': 'input_text', 'text': 'hi'}]}, {'type': 'reasoning', 'summary': []},
        {'type': 'function_call', 'call_id': 'c1', 'name': 'look', 'arguments': '{"x": "b"}'},
        {'type': 'function_call_output', 'call_id': 'c1', 'output': 'seen'}]}
    r = s.ok('/v1/responses', body)
    kinds = ['reasoning', 'message', 'function_call']
    assert [i['type'] for i in r['output']] == kinds and json.loads(r['output'][2]['arguments']) == {'x': 'a'}, r
    events = stream(s, '/v1/responses', body)
    last = events[-1]['response']['output']
    assert [i['type'] for i in last] == kinds and events[-1]['type'] == 'response.completed'
    assert [e['item'] for e in events if e['type'] == 'response.output_item.done'] == last
    for a, b in zip(r['output'], last):
        assert {k: v for k, v in a.items() if 'id' not in k} == {k: v for k, v in b.items() if 'id' not in k}
    del body['grammar']
    r = s.ok('/v1/responses', {**body, 'tool_choice': {'type': 'function', 'name': 'listen'}})
    assert r['output'][-1]['name'] == 'listen' and json.loads(r['output'][-1]['arguments'])['far'] in (1, 2)
    f = {'format': {'type': 'json_schema', 'name': 'n', 'schema': {'const': 7}}}
    assert s.ok('/v1/responses', {'input': 'x', 'text': f})['output'][0]['content'][0]['text'] == '7'
    for body, param in (({}, 'input'), ({'input': 5}, 'input'), ({'input': [{'type': 'file'}]}, 'input[0]'),
                        ({'input': 'x', 'previous_response_id': 'r'}, 'previous_response_id'), ({'input': 'x', 'background': True}, 'background'),
                        ({'input': 'x', 'tools': [{'type': 'web_search'}]}, 'tools'), ({'input': 'x', 'truncation': 'auto'}, 'truncation'),
                        ({'input': 'x', 'instructions': []}, 'instructions')):
        s.refused('/v1/responses', body, 400, param)


def ranks(s):
    documents = ['something else', 'hello there', {'text': 'hello'}]
    r = s.ok('/v1/rerank', {'query': 'hello', 'documents': documents, 'return_documents': True})['results']
    assert sorted(x['index'] for x in r) == [0, 1, 2] and r[0]['index'] == 2 and abs(r[0]['relevance_score'] - 1) < 1e-5
    assert [x['relevance_score'] for x in r] == sorted((x['relevance_score'] for x in r), reverse=True)
    assert r[0]['document'] == {'text': 'hello'}
    assert len(s.ok('/v1/rerank', {'query': 'hello', 'documents': documents, 'top_n': 1})['results']) == 1
    for body, param in (({'documents': ['x']}, 'query'), ({'query': 'x'}, 'documents'), ({'query': 'x', 'documents': [5]}, 'documents'),
                        ({'query': 'x', 'documents': ['']}, 'documents')):
        s.refused('/v1/rerank', body, 400, param)


ALL = [anthropic_text, anthropic_tools, responses_text, responses_tools, ranks]
