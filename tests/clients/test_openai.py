# SPDX-License-Identifier: Apache-2.0
"""The official Python client against `medley serve`. tools/client-tests.sh installs the client, starts the servers and says where they are:

  MEDLEY_URL        a server without keys
  MEDLEY_KEYS_URL   one that wants MEDLEY_KEY, answers one request at a time and lets one wait
  MEDLEY_REAL_URL   one with a model that has learnt to talk, or ""

The last line counts.
"""
import json
import math
import os
import re
import sys
import threading
import unittest

import openai
from openai import OpenAI

URL, KEYS_URL, KEY, REAL_URL = (os.environ.get(f'MEDLEY_{name}', '') for name in ('URL', 'KEYS_URL', 'KEY', 'REAL_URL'))
HELLO = [{'role': 'system', 'content': 'Be brief.'}, {'role': 'user', 'content': 'Say something.'}]
GREEDY = {'temperature': 0, 'extra_body': {'ignore_eos': True}}
WEATHER = {'type': 'function', 'function': {'name': 'get_weather', 'description': 'The weather of a city', 'parameters': {
    'type': 'object', 'properties': {'city': {'type': 'string', 'enum': ['Paris', 'Rome']}, 'days': {'type': 'integer', 'minimum': 1, 'maximum': 9}},
    'required': ['city', 'days'], 'additionalProperties': False}}}
CLOCK = {'type': 'function', 'function': {'name': 'get_time', 'parameters': {
    'type': 'object', 'properties': {'zone': {'enum': ['UTC', 'CET']}}, 'required': ['zone'], 'additionalProperties': False}}}
COLOUR = {'type': 'object', 'properties': {'colour': {'type': 'string', 'enum': ['red', 'green', 'blue']}, 'light': {'type': 'boolean'}},
          'required': ['colour', 'light'], 'additionalProperties': False}


def client_of(url, key='none'):
    return OpenAI(base_url=url + '/v1', api_key=key, max_retries=0, timeout=120)


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.client = client_of(URL)
        cls.model = cls.client.models.list().data[0].id

    def chat(self, **more):
        return self.client.chat.completions.create(**{'model': self.model, 'messages': HELLO, 'max_tokens': 12} | GREEDY | more)

    def complete(self, prompt='Once upon', **more):
        return self.client.completions.create(**{'model': self.model, 'prompt': prompt, 'max_tokens': 8} | GREEDY | more)


class Models(Case):
    def test_list_and_retrieve(self):
        self.assertEqual(self.client.models.retrieve(self.model).id, self.model)
        self.assertEqual([m.object for m in self.client.models.list()], ['model'])

    def test_another_model_is_not_found(self):
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve('no-such-model')


class Chat(Case):
    def test_an_answer(self):
        r = self.chat()
        self.assertEqual((r.object, len(r.choices), r.choices[0].message.role, r.choices[0].finish_reason), ('chat.completion', 1, 'assistant', 'length'))
        self.assertTrue(r.id and r.created > 0 and r.choices[0].message.content)
        self.assertEqual((r.usage.completion_tokens, r.usage.total_tokens), (12, r.usage.prompt_tokens + 12))

    def test_a_stream_says_the_same(self):
        whole, parts, last, chunks = self.chat(), [], None, 0
        with self.chat(stream=True, stream_options={'include_usage': True}) as stream:
            for chunk in stream:
                chunks += 1
                self.assertEqual(chunk.object, 'chat.completion.chunk')
                if chunk.choices:
                    parts.append(chunk.choices[0].delta.content or '')
                    last = chunk.choices[0].finish_reason or last
                usage = chunk.usage
        self.assertEqual((''.join(parts), last), (whole.choices[0].message.content, 'length'))
        self.assertEqual(usage.completion_tokens, 12)
        self.assertGreater(chunks, 3)

    def test_a_stream_that_is_closed_early(self):
        stream = self.chat(stream=True, max_tokens=500)
        next(iter(stream))
        stream.close()
        self.assertTrue(self.chat().choices)

    def test_the_streaming_helper(self):
        with self.client.chat.completions.stream(model=self.model, messages=HELLO, max_tokens=6, temperature=0) as stream:
            kinds = {event.type for event in stream}
            self.assertIn('content.delta', kinds)
            self.assertTrue(stream.current_completion_snapshot.choices[0].message.content)

    def test_several_answers(self):
        r = self.chat(n=3, temperature=1.0, seed=7)
        self.assertEqual([c.index for c in r.choices], [0, 1, 2])
        self.assertGreater(len({c.message.content for c in r.choices}), 1)
        seen = {}
        for chunk in self.chat(n=2, temperature=1.0, seed=7, stream=True):
            for c in chunk.choices:
                seen[c.index] = seen.get(c.index, '') + (c.delta.content or '')
        self.assertEqual(seen, {c.index: c.message.content for c in r.choices[:2]})

    def test_a_seed_gives_the_same_again(self):
        one, two, other = (self.chat(temperature=1.5, seed=s).choices[0].message.content for s in (5, 5, 6))
        self.assertEqual(one, two)
        self.assertNotEqual(one, other)

    def test_stop(self):
        text = self.chat(max_tokens=24).choices[0].message.content
        cut = next(c for i, c in enumerate(text) if i > 2 and c.isprintable())
        r = self.chat(max_tokens=24, stop=[cut])
        self.assertEqual((r.choices[0].message.content, r.choices[0].finish_reason), (text[:text.index(cut)], 'stop'))

    def test_max_completion_tokens(self):
        r = self.client.chat.completions.create(model=self.model, messages=HELLO, max_completion_tokens=5, **GREEDY)
        self.assertEqual(r.usage.completion_tokens, 5)

    def test_parts_and_fields_that_make_no_difference(self):
        parts = [{'role': 'user', 'content': [{'type': 'text', 'text': 'Say '}, {'type': 'text', 'text': 'something.'}]}]
        r = self.chat(messages=HELLO[:1] + parts, user='somebody', metadata={'a': 'b'}, store=False, service_tier='auto', parallel_tool_calls=True)
        self.assertEqual(r.choices[0].message.content, self.chat().choices[0].message.content)

    def test_logit_bias(self):
        x, = self.client.post('/../tokenize', body={'content': 'x'}, cast_to=object)['tokens']
        self.assertEqual(self.chat(logit_bias={str(x): 100}).choices[0].message.content, 'x' * 12)
        self.assertNotIn('x', self.chat(logit_bias={str(x): -100}, max_tokens=64).choices[0].message.content)

    def test_usage_tells_what_was_cached(self):
        words = ' '.join(f'w{i * i}' for i in range(60))
        ask = [{'role': 'user', 'content': words}]
        first, again = (self.chat(messages=ask).usage for _ in range(2))
        self.assertEqual(first.prompt_tokens, again.prompt_tokens)
        self.assertLess(first.prompt_tokens_details.cached_tokens, 64)  # how the template begins
        self.assertGreaterEqual(again.prompt_tokens_details.cached_tokens, 64)

    def test_the_same_answer_among_others(self):
        alone, found = self.chat(max_tokens=32).choices[0].message.content, []
        others = [threading.Thread(target=lambda i=i: self.chat(messages=[{'role': 'user', 'content': f'number {i}'}], max_tokens=32)) for i in range(7)]
        mine = threading.Thread(target=lambda: found.append(self.chat(max_tokens=32).choices[0].message.content))
        for t in [*others[:4], mine, *others[4:]]:
            t.start()
        for t in [*others, mine]:
            t.join()
        self.assertEqual(found, [alone])


class Logprobs(Case):
    def test_of_a_chat(self):
        r = self.chat(logprobs=True, top_logprobs=3)
        content = r.choices[0].logprobs.content
        self.assertEqual(len(content), 12)
        for t in content:
            self.assertTrue(t.logprob <= 0 and len(t.top_logprobs) == 3 and math.isfinite(t.logprob))
            self.assertEqual(t.top_logprobs[0].token, t.token)  # greedy
            self.assertGreaterEqual(t.top_logprobs[0].logprob, t.top_logprobs[2].logprob)
        said = bytes(b for t in content for b in t.bytes).decode('utf-8', 'replace')
        self.assertEqual(re.sub(r'<\|\w+\|>|\[unused\d+\]', '', said).strip('\ufffd'), r.choices[0].message.content.strip('\ufffd'))  # less special tokens

    def test_of_a_stream(self):
        tokens = [t.token for chunk in self.chat(logprobs=True, stream=True) for c in chunk.choices if c.logprobs for t in c.logprobs.content]
        self.assertEqual(tokens, [t.token for t in self.chat(logprobs=True).choices[0].logprobs.content])

    def test_of_a_completion(self):
        r = self.complete(logprobs=2).choices[0].logprobs
        self.assertEqual([len(r.tokens), len(r.token_logprobs), len(r.top_logprobs), len(r.text_offset)], [8] * 4)
        self.assertTrue(all(len(t) <= 2 for t in r.top_logprobs) and r.text_offset[0] == 0)


class Completions(Case):
    def test_text_tokens_and_lists(self):
        one = self.complete().choices[0].text
        ids = self.client.post('/../tokenize', body={'content': 'Once upon', 'add_special': True}, cast_to=object)['tokens']
        self.assertEqual(self.complete(ids).choices[0].text, one)
        several = self.complete(['Once upon', 'Twice'], n=2)
        self.assertEqual(([c.index for c in several.choices], [c.text for c in several.choices[:2]]), ([0, 1, 2, 3], [one, one]))
        self.assertEqual(several.usage.completion_tokens, 32)

    def test_a_stream(self):
        parts = [c.text for chunk in self.complete(stream=True) for c in chunk.choices]
        self.assertEqual(''.join(parts), self.complete().choices[0].text)

    def test_stop_and_defaults(self):
        self.assertEqual(self.client.completions.create(model=self.model, prompt='a', **GREEDY).usage.completion_tokens, 16)


class Formats(Case):
    def json(self, form, **more):
        text = self.chat(max_tokens=200, response_format=form, temperature=1.0, seed=3, extra_body={}, **more).choices[0].message.content
        return json.loads(text)

    def test_a_schema(self):
        found = self.json({'type': 'json_schema', 'json_schema': {'name': 'colour', 'strict': True, 'schema': COLOUR}})
        self.assertEqual((set(found), found['colour'] in COLOUR['properties']['colour']['enum'], type(found['light'])), ({'colour', 'light'}, True, bool))

    def test_a_schema_in_a_stream(self):
        form = {'type': 'json_schema', 'json_schema': {'name': 'colour', 'strict': True, 'schema': COLOUR}}
        text = ''.join(c.delta.content or '' for chunk in self.chat(max_tokens=200, response_format=form, stream=True, extra_body={}) for c in chunk.choices)
        self.assertIn(json.loads(text)['colour'], COLOUR['properties']['colour']['enum'])

    def test_any_object(self):
        text = self.chat(max_tokens=64, response_format={'type': 'json_object'}).choices[0].message.content
        self.assertTrue(text.lstrip().startswith('{'), text)  # whether it ends is up to the model

    def test_a_schema_that_is_none(self):
        with self.assertRaises(openai.BadRequestError) as e:
            self.json({'type': 'json_schema', 'json_schema': {'name': 'x', 'schema': {'type': 'no such type'}}})
        self.assertEqual(e.exception.param, 'response_format')


class Tools(Case):
    def test_a_call_that_is_required(self):
        r = self.chat(tools=[WEATHER, CLOCK], tool_choice='required', max_tokens=300, extra_body={})
        choice = r.choices[0]
        self.assertEqual(choice.finish_reason, 'tool_calls')
        for call in choice.message.tool_calls:
            arguments = json.loads(call.function.arguments)
            self.assertIn(call.function.name, ('get_weather', 'get_time'))
            self.assertIn(arguments.get('city', arguments.get('zone')), ('Paris', 'Rome', 'UTC', 'CET'))
            self.assertTrue(call.id and call.type == 'function')

    def named(self, **more):
        return self.chat(tools=[WEATHER, CLOCK], tool_choice={'type': 'function', 'function': {'name': 'get_weather'}}, max_tokens=300, extra_body={}, **more)

    def test_a_call_by_name(self):
        call = self.named().choices[0].message.tool_calls[0]
        self.assertEqual((call.function.name, set(json.loads(call.function.arguments))), ('get_weather', {'city', 'days'}))

    def test_a_call_in_a_stream(self):
        name, arguments, finish = '', '', None
        for chunk in self.named(stream=True):
            for c in chunk.choices:
                for call in c.delta.tool_calls or []:
                    if call.index == 0:
                        name += call.function.name or ''
                        arguments += call.function.arguments or ''
                finish = c.finish_reason or finish
        self.assertEqual((name, set(json.loads(arguments)), finish), ('get_weather', {'city', 'days'}, 'tool_calls'))

    def test_the_result_goes_back(self):
        call = self.named().choices[0].message
        history = HELLO + [call.model_dump(exclude_none=True), {'role': 'tool', 'tool_call_id': call.tool_calls[0].id, 'content': '21 degrees'}]
        r = self.chat(messages=history, tools=[WEATHER], tool_choice='none')
        self.assertTrue(r.choices[0].message.content and not r.choices[0].message.tool_calls)


class Embeddings(Case):
    def vectors(self, texts, **more):
        return self.client.embeddings.create(model=self.model, input=texts, **more)

    def test_vectors(self):
        r = self.vectors(['a text', 'another one', 'a text'])
        a, b, c = (e.embedding for e in r.data)  # the client asks for base64 and takes it apart
        self.assertEqual((a, len(a)), (c, len(b)))
        self.assertNotEqual(a, b)
        self.assertAlmostEqual(sum(x * x for x in a), 1, places=4)
        self.assertGreater(r.usage.prompt_tokens, 0)

    def test_both_encodings_say_the_same(self):
        numbers = self.vectors('a text', encoding_format='float').data[0].embedding
        for a, b in zip(numbers, self.vectors('a text').data[0].embedding):
            self.assertAlmostEqual(a, b, places=6)

    def test_what_is_not_to_be_had_is_named(self):
        with self.assertRaises(openai.BadRequestError) as e:
            self.vectors('a text', dimensions=3)
        self.assertEqual(e.exception.param, 'dimensions')


class Errors(Case):
    def test_400_names_the_field(self):
        for field, more in (('temperature', {'temperature': 'hot'}), ('max_tokens', {'max_tokens': -7}), ('messages[0]', {'messages': [{'content': 'x'}]}),
                            ('top_p', {'top_p': 7}), ('frobnicate', {'extra_body': {'frobnicate': 1}}), ('stop', {'stop': [1]})):
            with self.subTest(field), self.assertRaises(openai.BadRequestError) as e:
                self.chat(**more)
            self.assertEqual(e.exception.param, field)
            self.assertIn(field, e.exception.message)

    def test_a_prompt_that_is_too_long(self):
        with self.assertRaises(openai.BadRequestError) as e:
            self.complete('word ' * 5000)
        self.assertEqual(e.exception.code, 'context_length_exceeded')

    def test_401(self):
        for key in ('none', 'sk-wrong', KEY[:-1], KEY + 'x'):
            with self.subTest(key[:3]), self.assertRaises(openai.AuthenticationError):
                client_of(KEYS_URL, key).models.list()

    def test_404(self):
        with self.assertRaises(openai.NotFoundError):
            self.client.post('/no/such/endpoint', body={}, cast_to=object)

    def test_429_when_too_many_wait(self):
        client, found, lock = client_of(KEYS_URL, KEY), [], threading.Lock()
        model = client.models.list().data[0].id

        def one(i):
            try:
                client.completions.create(model=model, prompt=f'number {i}', max_tokens=400, **GREEDY)
                result = 'ok'
            except openai.RateLimitError as e:
                result = f"429 {int(e.response.headers['retry-after']) > 0}"
            with lock:
                found.append(result)

        threads = [threading.Thread(target=one, args=(i,)) for i in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(set(found), {'ok', '429 True'})
        patient = OpenAI(base_url=KEYS_URL + '/v1', api_key=KEY, max_retries=4)
        self.assertEqual(patient.completions.create(model=model, prompt='x', max_tokens=2, **GREEDY).usage.completion_tokens, 2)


class Later(Case):
    """What a server may lack."""

    def there(self, call, what):
        try:
            return call()
        except openai.NotFoundError:
            self.skipTest(f'{what} are not there')

    def test_responses(self):
        r = self.there(lambda: self.client.responses.create(model=self.model, input='Hello', max_output_tokens=8, temperature=0), 'responses')
        self.assertIsInstance(r.output_text, str)
        self.assertGreater(r.usage.output_tokens, 0)

    def test_batches_and_files(self):
        line = {'custom_id': 'one', 'method': 'POST', 'url': '/v1/completions', 'body': {'model': self.model, 'prompt': 'a', 'max_tokens': 3, 'temperature': 0}}
        data = '\n'.join(json.dumps(line | {'custom_id': str(i)}) for i in range(3)).encode()
        file = self.there(lambda: self.client.files.create(file=('in.jsonl', data), purpose='batch'), 'files and batches')
        batch = self.client.batches.create(input_file_id=file.id, endpoint='/v1/completions', completion_window='24h')
        wait = threading.Event()
        for _ in range(600):
            batch = self.client.batches.retrieve(batch.id)
            if batch.status in ('completed', 'failed', 'expired', 'cancelled'):
                break
            wait.wait(0.05)
        self.assertEqual(batch.status, 'completed')
        answers = [json.loads(line) for line in self.client.files.content(batch.output_file_id).text.splitlines()]
        self.assertEqual([a['custom_id'] for a in answers], ['0', '1', '2'])
        self.assertEqual({a['response']['status_code'] for a in answers}, {200})


@unittest.skipUnless(REAL_URL, 'the real model is not here')
class RealModel(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.client = client_of(REAL_URL)
        cls.model = cls.client.models.list().data[0].id

    def test_it_talks(self):
        r = self.client.chat.completions.create(model=self.model, messages=[{'role': 'user', 'content': 'What is gravity?'}], max_tokens=24, temperature=0)
        self.assertIn('gravity is a fundamental', r.choices[0].message.content.lower())

    def test_a_schema_is_kept(self):
        form = {'type': 'json_schema', 'json_schema': {'name': 'colour', 'schema': COLOUR}}
        r = self.client.chat.completions.create(model=self.model, messages=[{'role': 'user', 'content': 'What colour has the sky?'}], response_format=form,
                                                max_tokens=60, temperature=0)
        self.assertIn(json.loads(r.choices[0].message.content)['colour'], COLOUR['properties']['colour']['enum'])

    def test_it_ends_by_itself(self):
        r = self.client.chat.completions.create(model=self.model, messages=[{'role': 'user', 'content': 'Say only the word hello.'}], max_tokens=100, temperature=0)
        self.assertEqual(r.choices[0].finish_reason, 'stop')


if __name__ == '__main__':
    result = unittest.main(exit=False, verbosity=1).result
    failed = len(result.failures) + len(result.errors)
    for test, why in result.skipped:
        print(f'SKIP {test}: {why}')
    print(f'openai {openai.__version__} for Python')
    print(f'{result.testsRun - failed - len(result.skipped)} passed, {failed} failed, {len(result.skipped)} skipped')
    sys.exit(failed > 0)
