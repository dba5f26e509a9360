# SPDX-License-Identifier: Apache-2.0
"""A server that answers as an OpenAI-style one does, without a model, for tests of what measures servers. An answer is made of the prompt's
words; a token of the prompt takes --prefill seconds (cached ones none), one of an answer --token. --fault makes it misbehave in one way.

usage: stand_in.py PORT [--prefill S] [--token S] [--fault NAME]
"""
import argparse
import asyncio
import hashlib
import json
import os
import signal


def words_of(body):
    messages = body.get('messages')
    return (messages[-1]['content'] if messages else body['prompt']).split()


class StandIn:
    def __init__(self, o):
        self.o, self.count, self.running, self.seen, self.kept = o, 0, 0, set(), []

    def cached(self, words):
        """Words of the prompt that an earlier one began with, in pieces of 64."""
        n = 0
        while n + 64 <= len(words) and tuple(words[:n + 64]) in self.seen:
            n += 64
        self.seen.update(tuple(words[:m]) for m in range(64, len(words) + 1, 64))
        return n

    async def serve(self, reader, writer):
        self.running += 1
        try:
            await self.answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass
        finally:
            self.running -= 1
            writer.close()

    async def answer(self, reader, writer):
        head = (await reader.readuntil(b'\r\n\r\n')).decode('latin-1')
        path = head.split()[1]
        length = next((int(line.split(':')[1]) for line in head.split('\r\n') if line.lower().startswith('content-length')), 0)
        data = await reader.readexactly(length) if 0 < length < 1 << 20 else b''
        if path == '/health':
            self.whole(writer, 200, {'status': 'ok'})
        elif path == '/v1/models':
            self.whole(writer, 200, {'data': [{'id': 'stand-in'}]})
        elif path == '/slots':
            self.whole(writer, 200, [{'id': 0, 'is_processing': self.running > 1 or self.o.fault == 'slot'}])
        elif path in ('/v1/completions', '/v1/chat/completions'):
            await self.complete(writer, data)
        else:
            self.whole(writer, 404, {'error': {'message': 'no such path', 'type': 'invalid_request_error'}})
        await writer.drain()

    def whole(self, writer, status, value):
        data = json.dumps(value).encode()
        writer.write(f'HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n'.encode() + data)

    async def complete(self, writer, data):
        try:
            body = json.loads(data)
            words, n = words_of(body), max(min(int(body.get('max_tokens', 4)), 100000), 0)
        except Exception:
            self.whole(writer, 500 if self.o.fault == 'internal' else 400, {'error': {'message': 'not understood', 'type': 'invalid_request_error'}})
            return
        self.count += 1
        number = self.count
        if self.o.fault == 'leak':
            self.kept.append(b'x' * (1 << 20))
        cached = self.cached(words)
        await asyncio.sleep((len(words) - cached) * self.o.prefill)
        shown = ' '.join(words) + (str(number) if self.o.fault == 'other' else '')
        pieces = [hashlib.sha256(f'{i}{shown}'.encode()).hexdigest()[:4] for i in range(n)]
        usage = {'prompt_tokens': 2 * len(words) + 3, 'completion_tokens': n, 'prompt_tokens_details': {'cached_tokens': cached}}
        name = f'cmpl-{0 if self.o.fault == "doubled" else number}'
        if not body.get('stream'):
            self.whole(writer, 200, {'id': name, 'choices': [{'text': ''.join(pieces), 'finish_reason': 'length'}], 'usage': usage})
            return
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n')
        chat = 'messages' in body
        for i, piece in enumerate(pieces):
            if i:
                await asyncio.sleep(self.o.token)
            if self.o.fault == 'lost' and i == 2 and number % 5 == 0:
                return
            self.event(writer, json.dumps({'id': name, 'choices': [{'delta': {'content': piece}} if chat else {'text': piece}]}))
            await writer.drain()
        self.event(writer, json.dumps({'id': name, 'choices': [], 'usage': usage}))
        self.event(writer, '[DONE]')
        writer.write(b'0\r\n\r\n')

    @staticmethod
    def event(writer, text):
        data = f'data: {text}\n\n'.encode()
        half = len(data) // 2  # an event may come in two chunks
        for part in (data[:half], data[half:]):
            writer.write(f'{len(part):x}\r\n'.encode() + part + b'\r\n')


async def main():
    p = argparse.ArgumentParser()
    p.add_argument('port', type=int)
    p.add_argument('--prefill', type=float, default=0)
    p.add_argument('--token', type=float, default=0.001)
    p.add_argument('--fault', default='')
    o = p.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    server = await asyncio.start_server(StandIn(o).serve, '127.0.0.1', o.port, limit=1 << 20)
    async with server:
        await server.serve_forever()


if __name__ == '__main__':
    asyncio.run(main())
