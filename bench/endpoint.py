# SPDX-License-Identifier: Apache-2.0
"""An OpenAI-style endpoint on this machine: requests with the arrival time of every piece of an answer, and servers started for a while.

Only loopback addresses are accepted. While an answer comes, its bytes are kept with their times and nothing else is done, so that the
client takes little of the processor that it measures; they are taken apart at the end. Standard library only.
"""
import asyncio
import contextlib
import ipaddress
import json
import os
import re
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse


class Address:
    """http://HOST:PORT of a server on this machine."""

    def __init__(self, text, model='', key=''):
        url = urllib.parse.urlsplit(text if '//' in text else f'http://{text}')
        try:
            self.host, self.port = url.hostname or '', url.port or 80
            loopback = self.host == 'localhost' or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            loopback = False
        if url.scheme != 'http' or not loopback:
            sys.exit(f"'{text}' must be http:// and a loopback address: nothing else is measured")
        self.model, self.key = model, key

    def head(self, method, path, length=None, more=()):
        lines = [f'{method} {path} HTTP/1.1', f'Host: {"[" + self.host + "]" if ":" in self.host else self.host}:{self.port}', 'Connection: close', *more]
        if self.key:
            lines.append(f'Authorization: Bearer {self.key}')
        if length is not None:
            lines += ['Content-Type: application/json', f'Content-Length: {length}']
        return ('\r\n'.join(lines) + '\r\n\r\n').encode()

    def post(self, path, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.head('POST', path, len(data)) + data


# ---- bytes with their times ----

class Wire(asyncio.Protocol):
    """One connection that sends some bytes and keeps what comes, until the other side closes."""

    def __init__(self, data, watch=None):
        self.data, self.watch, self.got, self.transport = data, watch, [], None
        self.sent = 0.0
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport, self.sent = transport, time.perf_counter()
        transport.write(self.data)

    def data_received(self, data):
        self.got.append((time.perf_counter(), data))
        if self.watch:
            self.watch(data)

    def connection_lost(self, error):
        if not self.closed.done():
            self.closed.set_result(error)


class Reply:
    """What came back: status, headers, and the body as [(time, bytes)]. `whole` tells whether the body reached its end."""

    def __init__(self, got):
        self.status, self.headers, self.body, self.whole = 0, {}, [], False
        head, rest = b'', []
        for i, (at, data) in enumerate(got):
            head += data
            if b'\r\n\r\n' in head:
                head, first = head.split(b'\r\n\r\n', 1)
                rest = [(at, first), *got[i + 1:]]
                break
        else:
            return
        lines = head.decode('latin-1').split('\r\n')
        words = lines[0].split(' ', 2)
        if len(words) < 2 or not words[0].startswith('HTTP/1.') or not words[1].isdigit():
            return
        self.status = int(words[1])
        for line in lines[1:]:
            name, _, value = line.partition(':')
            self.headers[name.strip().lower()] = value.strip()
        self._take(rest)

    def _take(self, rest):
        if self.headers.get('transfer-encoding', '').lower() == 'chunked':
            self._take_chunks(rest)
            return
        self.body = rest
        length = self.headers.get('content-length')
        self.whole = length is None or sum(len(d) for _, d in rest) == int(length)

    def _take_chunks(self, rest):
        held = b''
        for at, data in rest:
            held += data
            while True:
                line, found, after = held.partition(b'\r\n')
                if not found:
                    break
                size = int(line.split(b';')[0] or b'0', 16)
                if size == 0:
                    self.whole = True
                    return
                if len(after) < size + 2:
                    break
                self.body.append((at, after[:size]))
                held = after[size + 2:]

    def bytes(self):
        return b''.join(d for _, d in self.body)

    def json(self):
        try:
            return json.loads(self.bytes())
        except ValueError:
            return None

    def events(self):
        """[(time, text)] of a stream of server-sent events."""
        found, held = [], b''
        for at, data in self.body:
            held += data.replace(b'\r\n', b'\n')
            while b'\n\n' in held:
                event, held = held.split(b'\n\n', 1)
                text = b'\n'.join(line[5:].strip() for line in event.split(b'\n') if line.startswith(b'data:'))
                if text:
                    found.append((at, text.decode('utf-8', 'replace')))
        return found


class Answer:
    """One answer. times: of each piece of text. error: '' or what went wrong."""

    def __init__(self, sent, reply, stream):
        self.sent, self.status, self.times, self.text, self.error = sent, reply.status, [], '', ''
        self.id, self.finish, self.prompt_tokens, self.cached_tokens, self.tokens, self.ends = '', '', 0, 0, 0, 0
        self.done = reply.body[-1][0] if reply.body else time.perf_counter()
        if reply.status != 200:
            self.error = f'status {reply.status}: {reply.bytes()[:300].decode("utf-8", "replace")}'
        elif not reply.whole:
            self.error = 'the answer broke off'
        elif stream:
            self._stream(reply.events())
        else:
            self._take(reply.json() or {'error': 'no JSON'}, self.done)
            self.ends = 1

    def _stream(self, events):
        for at, text in events:
            if text == '[DONE]':
                self.ends += 1
            else:
                try:
                    self._take(json.loads(text), at)
                except ValueError:
                    self.error = f'not JSON: {text[:200]}'
        if self.ends != 1 and not self.error:
            self.error = f'{self.ends} ends of one answer'

    def _take(self, one, at):
        if one.get('error'):
            self.error = f"error: {str(one['error'])[:300]}"
            return
        self.id = self.id or one.get('id', '')
        usage = one.get('usage')
        if usage:
            self.prompt_tokens, self.tokens = usage.get('prompt_tokens', 0), usage.get('completion_tokens', 0)
            self.cached_tokens = (usage.get('prompt_tokens_details') or {}).get('cached_tokens') or 0
        for choice in one.get('choices') or []:
            part = choice.get('delta') or choice.get('message') or choice
            piece = (part.get('reasoning_content') or '') + (part.get('content') or part.get('text') or '')
            self.finish = choice.get('finish_reason') or self.finish
            if piece:
                self.text += piece
                self.times.append(at)

    @property
    def first(self):
        """Seconds until the first piece of text."""
        return self.times[0] - self.sent

    @property
    def gaps(self):
        return [b - a for a, b in zip(self.times, self.times[1:])]


def has_text(event):
    """Whether a piece of a stream brings some of the answer; quicker than to take it apart."""
    return re.search(r'"(content|reasoning_content|text)": ?"[^"]', event) is not None


class Asking:
    """A request under way. `started` is set when the first piece of an answer came."""

    def __init__(self, address, path, body):
        self.address, self.stream = address, bool(body.get('stream'))
        self.data, self.started, self.wire, self._head = address.post(path, body), asyncio.Event(), None, b''

    def _watch(self, data):
        if self.started.is_set():
            return
        self._head += data
        if has_text(self._head.decode('utf-8', 'replace')):
            self.started.set()
            self._head = b''

    async def open(self):
        loop = asyncio.get_running_loop()
        for left in (4, 3, 2, 1, 0):  # a full backlog of the listening socket is not the server's answer
            try:
                _, self.wire = await loop.create_connection(lambda: Wire(self.data, self._watch), self.address.host, self.address.port)
                return self
            except ConnectionRefusedError:
                if left == 0:
                    raise
                await asyncio.sleep(0.05)

    async def answer(self, timeout=600):
        """Waits for the end."""
        try:
            await asyncio.wait_for(asyncio.shield(self.wire.closed), timeout)
        except asyncio.TimeoutError:
            self.hang_up()
        self.started.set()
        return Answer(self.wire.sent, Reply(self.wire.got), self.stream)

    def so_far(self):
        """The times of what came until now."""
        return [at for at, text in Reply(self.wire.got).events() if has_text(text)]

    def hang_up(self):
        self.wire.transport.abort()


def body(address, form, prompt, tokens, **more):
    """(path, JSON) of one streamed, greedy request for so many tokens."""
    common = {'model': address.model, 'max_tokens': tokens, 'temperature': 0, 'stream': True, 'stream_options': {'include_usage': True}} | more
    if form == 'chat':
        return '/v1/chat/completions', common | {'messages': [{'role': 'user', 'content': prompt}]}
    return '/v1/completions', common | {'prompt': prompt}


async def ask(address, form, prompt, tokens, timeout=600, **more):
    try:
        asking = await Asking(address, *body(address, form, prompt, tokens, **more)).open()
    except OSError as e:
        failed = Answer(time.perf_counter(), Reply([]), True)
        failed.error = str(e)
        return failed
    return await asking.answer(timeout)


async def raw(address, data, timeout=60):
    """Sends bytes as they are; the Reply to them."""
    _, wire = await asyncio.get_running_loop().create_connection(lambda: Wire(data), address.host, address.port)
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(asyncio.shield(wire.closed), timeout)
    wire.transport.abort()
    return Reply(wire.got)


async def get(address, path, timeout=60):
    return await raw(address, address.head('GET', path), timeout)


async def find_model(address):
    """The first model that the server has, unless one was named."""
    if not address.model:
        listed = ((await get(address, '/v1/models')).json() or {}).get('data') or [{}]
        address.model = listed[0].get('id') or 'default'


# ---- servers ----

def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def memory(pid, name='VmRSS'):
    """Bytes of resident memory (VmHWM: the most there ever was), or 0."""
    try:
        with open(f'/proc/{pid}/status') as f:
            return next((int(line.split()[1]) << 10 for line in f if line.startswith(name + ':')), 0)
    except OSError:
        return 0


class Server:
    """A server that lives as long as the `with` block. command holds {port}; the output goes to a file shown when it fails."""

    def __init__(self, command, model='', key='', patience=300):
        self.port = free_port()
        self.command = [w.replace('{port}', str(self.port)) for w in shlex.split(command)]
        if not any(str(self.port) in w for w in self.command):
            sys.exit(f"'{command}' must have {{port}} where the port belongs")
        self.address, self.patience = Address(f'http://127.0.0.1:{self.port}', model, key), patience

    def __enter__(self):
        self.log = tempfile.TemporaryFile()
        self.child = subprocess.Popen(self.command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        end = time.monotonic() + self.patience
        while self.child.poll() is None and time.monotonic() < end:
            with contextlib.suppress(OSError):
                if asyncio.run(get(self.address, '/health', 5)).status == 200:
                    return self
            time.sleep(0.05)
        self.__exit__()
        sys.exit(f'{shlex.join(self.command)} did not get ready: {self.said()}')

    @property
    def pid(self):
        return self.child.pid

    def said(self, most=3000):
        self.log.seek(0, os.SEEK_END)
        self.log.seek(max(self.log.tell() - most, 0))
        return self.log.read().decode('utf-8', 'replace').strip()

    def peak(self):
        return memory(self.pid, 'VmHWM')

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(60)
            except subprocess.TimeoutExpired:
                self.child.kill()
        self.code = self.child.wait()


# ---- numbers ----

def percentile(values, p):
    """The value below which p percent lie, between neighbours in proportion; 0 of none."""
    v = sorted(values)
    if not v:
        return 0.0
    at = (len(v) - 1) * p / 100
    low = int(at)
    return v[low] + (v[min(low + 1, len(v) - 1)] - v[low]) * (at - low)


def median(values):
    return statistics.median(values) if values else 0.0
