# SPDX-License-Identifier: Apache-2.0
"""Clients that mean ill or have bad luck: each act is one connection (or a few) to a server of this machine that breaks some rule of HTTP, of
JSON or of the API, stalls, or vanishes; at random, by seed. An act takes a few seconds at most.

Hostile.act() returns nothing; `counts` has the acts, `statuses` what they were answered, `wrong` what no client, however bad, should get:
an internal error, or an error that is not in the API's form. Standard library only.
"""
import asyncio
import collections
import contextlib
import json
import random
import socket

from endpoint import Reply

DEEP = 20000
BODIES = {
    '/v1/chat/completions': {'messages': [{'role': 'system', 'content': 'Be brief.'}, {'role': 'user', 'content': 'Hello there'}], 'max_tokens': 8, 'stream': True},
    '/v1/completions': {'prompt': 'One two three', 'max_tokens': 8, 'stream': True, 'logprobs': 2},
    '/v1/embeddings': {'input': ['a text', 'another'], 'encoding_format': 'float'},
    '/tokenize': {'content': 'some text'},
    '/detokenize': {'tokens': [1, 2, 3]},
    '/apply-template': {'messages': [{'role': 'user', 'content': 'hi'}]},
    '/v1/messages': {'messages': [{'role': 'user', 'content': 'hi'}], 'max_tokens': 8},
    '/v1/responses': {'input': 'hi', 'max_output_tokens': 8},
    '/v1/rerank': {'query': 'a', 'documents': ['b', 'c']},
    '/infill': {'input_prefix': 'a', 'input_suffix': 'b', 'n_predict': 8},
    '/v1/batches': {'input_file_id': 'file-1', 'endpoint': '/v1/completions', 'completion_window': '24h'},
}
FIELDS = ('model messages prompt input max_tokens max_completion_tokens temperature top_p top_k min_p typical_p seed stop n stream stream_options logprobs '
          'top_logprobs logit_bias presence_penalty frequency_penalty repeat_penalty response_format tools tool_choice grammar json_schema user metadata '
          'chat_template_kwargs ignore_eos priority encoding_format dimensions pooling content tokens query documents top_n system echo suffix best_of '
          'xtc_probability mirostat dry_multiplier dry_sequence_breakers reasoning_effort modalities functions no_such_field').split()
# As JSON text, since some of them are none.
VALUES = ['null', 'true', 'false', '0', '-1', '1', '0.5', '1e308', '-1e308', '1e999', 'NaN', '-Infinity', '9223372036854775807', '18446744073709551616', '1' * 400,
          '""', '"x"', json.dumps('y' * 20000), '"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '"\\x"', '[]', '{}', '[[]]', '[null]', '[1, "a", {}]', '{"": ""}',
          '{"type": "json_schema"}', '{"type": "json_object"}', '{"type": "json_schema", "json_schema": {"schema": {"$ref": "#"}}}',
          '{"type": "json_schema", "json_schema": {"schema": {"type": "string", "pattern": "(((a*)*)*)*b"}}}', '[{"role": "user"}]', '[{"role": 1, "content": 2}]',
          '[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]', '[{"role": "assistant", "tool_calls": [{"function": 7}]}]',
          '[{"type": "function", "function": {"name": "f", "parameters": {"type": 7}}}]', '{"1": 100, "x": 1}', '{"99999999999": -100}', '[99999999]', '[-1]',
          '"root ::= root"', '"root ::= (\\"a\\"*)*"', '[' * DEEP + ']' * DEEP, '{"a":' * DEEP + '1' + '}' * DEEP, '[' * DEEP, '"']


class Hostile:
    def __init__(self, address, seed, prompt, form='completion', quick=False):
        """prompt(n): a text of about n tokens. quick: pauses are short, for tests."""
        self.address, self.random, self.prompt, self.form = address, random.Random(seed), prompt, form
        self.pause = 0.1 if quick else 1.0
        self.patience = 1.0 if quick else 4.0
        self.counts, self.statuses, self.wrong = collections.Counter(), collections.Counter(), []
        self.acts = [getattr(self, name) for name in sorted(dir(self)) if name.startswith('act_')]

    async def act(self):
        await self.perform(self.random.choice(self.acts))

    async def perform(self, act):
        self.counts[act.__name__[4:]] += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):  # that a server closes is its right
            await act()

    # ---- what acts are made of ----

    async def _connect(self, small=False):
        if not small:
            return await asyncio.open_connection(self.address.host, self.address.port)
        family = socket.AF_INET6 if ':' in self.address.host else socket.AF_INET
        sock = socket.socket(family)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (self.address.host, self.address.port))
        return await asyncio.open_connection(sock=sock, limit=4096)

    async def _say(self, data, what):
        """Sends bytes and looks at what comes within some patience."""
        reader, writer = await self._connect()
        try:
            writer.write(data)
            got = []
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._read(reader, got), self.patience)
            self._judge(Reply([(0, b''.join(got))]), what)
        finally:
            writer.transport.abort()

    @staticmethod
    async def _read(reader, got):
        while data := await reader.read(65536):
            got.append(data)

    def _judge(self, reply, what):
        self.statuses[reply.status] += 1
        # A library of HTTP that runs out of room for a line says so with a page of its own, before the server sees anything.
        if reply.status == 500 and 'json' in reply.headers.get('content-type', ''):
            self.wrong.append(f'{what[:300]!r} got an internal error: {reply.bytes()[:300]!r}')
        if reply.status >= 400 and 'json' in reply.headers.get('content-type', '') and reply.whole:
            error = (reply.json() or {}).get('error')
            if not isinstance(error, dict) or not error.get('message'):
                self.wrong.append(f'{what[:300]!r} got status {reply.status} without an error in the API\'s form: {reply.bytes()[:300]!r}')

    def _request(self, tokens, answer):
        """A good request, streamed."""
        more = {'max_tokens': answer, 'stream': True, 'temperature': 0, 'ignore_eos': True, 'model': self.address.model}
        text = self.prompt(tokens)
        if self.form == 'chat':
            return self.address.post('/v1/chat/completions', more | {'messages': [{'role': 'user', 'content': text}]})
        return self.address.post('/v1/completions', more | {'prompt': text})

    def _some_bytes(self, most):
        return self.random.randbytes(self.random.randint(1, most))

    # ---- vanishing ----

    async def act_vanish_early(self):
        """In the queue or in prefill."""
        _, writer = await self._connect()
        writer.write(self._request(self.random.choice((20, 200, 600)), 64))
        await asyncio.sleep(self.random.random() * 0.2)
        writer.transport.abort()

    async def act_vanish_while_streaming(self):
        reader, writer = await self._connect()
        writer.write(self._request(20, 200))
        for _ in range(self.random.randint(1, 6)):
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(reader.read(300), self.patience)
        writer.transport.abort()

    async def act_vanish_in_the_body(self):
        data = self._request(100, 8)
        _, writer = await self._connect()
        writer.write(data[:self.random.randrange(1, len(data))])
        await asyncio.sleep(self.random.random() * self.pause)
        writer.transport.abort()

    async def act_send_no_more(self):
        """Closes its half of the connection and still listens, or not."""
        reader, writer = await self._connect()
        writer.write(self._request(20, 16))
        writer.write_eof()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(reader.read(), self.random.random() * self.patience)
        writer.transport.abort()

    # ---- stalling ----

    async def act_half_a_head(self):
        data = self.address.post('/v1/completions', {'prompt': 'a'})
        _, writer = await self._connect()
        writer.write(data[:self.random.randrange(1, data.index(b'\r\n\r\n'))])
        await asyncio.sleep(self.random.random() * 2 * self.pause)
        writer.transport.abort()

    async def act_slow_body(self):
        data = self._request(10, 4)
        reader, writer = await self._connect()
        pieces = 8
        for i in range(pieces):
            writer.write(data[len(data) * i // pieces:len(data) * (i + 1) // pieces])
            await asyncio.sleep(self.random.random() * self.pause / 4)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(reader.read(), self.patience)
        writer.transport.abort()

    async def act_read_nothing(self):
        """Asks for a long answer and does not take it."""
        reader, writer = await self._connect(small=True)
        writer.write(self._request(10, 600))
        await asyncio.sleep(self.random.random() * 2 * self.pause)
        if self.random.random() < 0.5:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._read(reader, []), self.patience)
        writer.transport.abort()

    # ---- HTTP that is none ----

    async def act_noise(self):
        await self._say(self._some_bytes(4000), 'random bytes')

    async def act_huge_head(self):
        kind = self.random.randrange(4)
        more = [('X-Long: ' + 'a' * self.random.choice((9000, 70000, 1 << 20)),), tuple(f'X-{i}: b' for i in range(3000)), ('Cookie: ' + '=;' * 40000,),
                ('X' * 40000 + ': 1',)][kind]
        await self._say(self.address.head('GET', '/health', more=more), f'huge headers of kind {kind}')

    async def act_wrong_length(self):
        text = b'{"prompt": "a", "max_tokens": 2}'
        length = self.random.choice(['-1', 'x', '', '0', '1', str(len(text) - 1), str(len(text) + 100), '9' * 30, '0x20', '+32', f'{len(text)}\r\nContent-Length: 5',
                                     f'{len(text)}\r\nTransfer-Encoding: chunked'])
        await self._say(self.address.head('POST', '/v1/completions', length) + text, f'Content-Length {length!r}')

    async def act_bad_chunks(self):
        head = self.address.head('POST', '/v1/completions', more=('Content-Type: application/json', 'Transfer-Encoding: chunked'))
        body = self.random.choice([b'zz\r\n{}\r\n0\r\n\r\n', b'ffffffffffffffffff\r\n{}', b'5\r\n{"a"', b'2\r\n{}{}{}\r\n0\r\n\r\n', b'-2\r\n{}\r\n', b'0\r\n\r\n',
                                   b'2\r\n{}\r\n0\r\n\r\n', b'1;' + b'x' * 50000 + b'\r\n{\r\n'])
        await self._say(head + body, f'chunks {body[:40]!r}')

    async def act_pipeline(self):
        keep = self.address.head('GET', '/health').replace(b'Connection: close\r\n', b'')
        post = self.address.post('/v1/completions', {'prompt': 'a', 'max_tokens': 2}).replace(b'Connection: close\r\n', b'')
        parts = self.random.choices([keep, post, post[:-3], b'\r\n', b'GARBAGE\r\n\r\n'], k=self.random.randint(2, 12))
        await self._say(b''.join(parts), 'several requests at once')

    async def act_odd_request_line(self):
        line = self.random.choice([b'GET', b'GET /', b'GET / HTTP/9.9', b'GET  /health HTTP/1.1', b'\x00\x01\x02', b'POST ' + b'/a' * 30000 + b' HTTP/1.1',
                                   b'GET /%00%ff%zz HTTP/1.1', b'GET /../../etc/passwd HTTP/1.1', b'GET http://example.invalid/ HTTP/1.1', b'OPTIONS * HTTP/1.1',
                                   b'CONNECT a:1 HTTP/1.1', b'TRACE / HTTP/1.1', b'DELETE /v1/models HTTP/1.1', b'PUT /v1/completions HTTP/1.1', b'HEAD /health HTTP/1.1',
                                   b'GET /health?' + b'a=b&' * 5000 + b' HTTP/1.1', b'PRI * HTTP/2.0'])
        host = self.random.choice([b'', b'Host: localhost\r\n', b'Host: example.invalid\r\n', b'Host: a\r\nHost: b\r\n', b'Host: ' + b'a' * 5000 + b'\r\n', b'Host: \xff\r\n'])
        await self._say(line + b'\r\n' + host + b'Connection: close\r\n\r\n', line[:60])

    async def act_wrong_content(self):
        kind = self.random.choice(['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/json; charset=utf-16', '', 'a' * 3000])
        data = self.random.choice([b'{"prompt": "a"}', b'--x\r\nContent-Disposition: form-data; name="file"; filename="../a"\r\n\r\nx\r\n--x', b''])
        path = self.random.choice(['/v1/completions', '/v1/files', '/tokenize'])
        head = self.address.head('POST', path, len(data)).replace(b'application/json', kind.encode())
        await self._say(head + data, f'content type {kind[:60]!r} to {path}')

    # ---- JSON that is none, and fields that are wrong ----

    def _mutated(self):
        path = self.random.choice(sorted(BODIES))
        fields = {k: json.dumps(v) for k, v in BODIES[path].items()}
        for _ in range(self.random.choice((1, 1, 1, 2, 4))):
            fields[self.random.choice([*fields, *FIELDS])] = self.random.choice(VALUES)
        if self.random.random() < 0.1:
            del fields[self.random.choice([*fields])]
        text = '{' + ', '.join(f'{json.dumps(k)}: {v}' for k, v in fields.items()) + '}'
        return path, text.encode()

    async def act_wrong_field(self):
        path, text = self._mutated()
        await self._say(self.address.post(path, text), f'{path} {text[:250]}')

    act_wrong_value, act_wrong_type = act_wrong_field, act_wrong_field  # more often than the others

    async def act_broken_json(self):
        path, text = self._mutated()
        data = bytearray(text)
        for _ in range(self.random.randint(1, 4)):
            at = self.random.randrange(len(data))
            change = self.random.randrange(4)
            if change == 0:
                data[at] = self.random.randrange(256)
            elif change == 1:
                data[at:at] = self.random.choice([b'\xff', b'\xc0\x80', b'\xed\xa0\x80', b'\xf5\x80\x80\x80', b'\x00', b'\\', b'"', b'\xef\xbb\xbf'])
            elif change == 2:
                del data[at:at + self.random.randint(1, 20)]
            else:
                data += data[at:at + 50]
            data = data or bytearray(b'x')
        await self._say(self.address.post(path, bytes(data)), f'{path} {bytes(data)[:250]}')

    async def act_too_large(self):
        """More than a server should take, most of which is never sent."""
        head = self.address.head('POST', '/v1/completions', 1 << 40)
        await self._say(head + b'{"prompt": "' + b'a' * 200000, 'a body of 1 TiB')
