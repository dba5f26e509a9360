# SPDX-License-Identifier: Apache-2.0
"""A server under test and a client that sees everything. Standard library only."""
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time

TEMPLATE = ("{% if tools %}<|im_start|>system\n{{ tools | tojson }} <tool_call><|im_end|>\n{% endif %}"
            "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content or '' }}"
            "{% for c in m.tool_calls or [] %}<tool_call>{{ c.function.arguments.x }}</tool_call>{% endfor %}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% if enable_thinking %}<think>\n{% endif %}{% endif %}")


class Reply:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        """What the API's error says; everything about it is checked."""
        assert set(self.json) == {'error'}, self.body
        e = self.json['error']
        assert set(e) == {'message', 'type', 'param', 'code'} and e['message'] and e['type'], e
        return e


class Server:
    def __init__(self, program, model, *options, env=None):
        self.process = subprocess.Popen([program, 'serve', model, '--port', '0', '--threads', '1', *options], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
        line = self.process.stdout.readline()
        m = re.search(r'on (https?)://([^\s/]+):(\d+)$', line)
        if not m:
            raise AssertionError(f'no address in {line!r}: {self.process.stderr.read()}')
        self.host, self.port = m[2].strip('[]'), int(m[3])

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        """Every server ends well: a sanitizer that has something to say does so then."""
        if self.process.stdout.closed:
            return False
        if kind is not None:
            self.process.kill()
        elif self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            self.process.send_signal(signal.SIGTERM)  # what still runs is not waited for
        self.said = ''.join(self.process.communicate(timeout=60))
        assert kind is not None or self.process.returncode == 0, (self.process.returncode, self.said)
        return False

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.said = ''.join(self.process.communicate(timeout=60))
        assert self.process.returncode == 0, (self.process.returncode, self.said)
        return self.said

    def connect(self, timeout=60):
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)

    def ask(self, method, path, body=None, headers=None):
        c = self.connect()
        with contextlib.closing(c):
            if body is not None and not isinstance(body, (bytes, str)):
                body = json.dumps(body)
            c.request(method, path, body, {'Content-Type': 'application/json', **(headers or {})})
            return Reply(c.getresponse())

    def get(self, path, **headers):
        return self.ask('GET', path, headers={k.replace('_', '-'): v for k, v in headers.items()})

    def post(self, path, body, **headers):
        return self.ask('POST', path, body, {k.replace('_', '-'): v for k, v in headers.items()})

    def ok(self, path, body):
        r = self.post(path, body)
        assert r.status == 200, (r.status, r.body)
        return r.json

    def refused(self, path, body, status, param=None, message=''):
        r = self.post(path, body)
        assert r.status == status, (body, r.status, r.body)
        assert r.error['param'] == param and message in r.error['message'], r.error
        return r.error

    def chat(self, text='hi', **more):
        return self.ok('/v1/chat/completions', {'messages': [{'role': 'user', 'content': text}], 'max_tokens': 8, 'temperature': 0, **more})

    @contextlib.contextmanager
    def stream(self, path, body):
        """The lines of an event stream, as an iterator over (event name or None, data or comment)."""
        c = self.connect()
        with contextlib.closing(c):
            c.request('POST', path, json.dumps({**body, 'stream': True}), {'Content-Type': 'application/json'})
            r = c.getresponse()
            assert r.status == 200 and r.headers['Content-Type'] == 'text/event-stream', (r.status, r.read())
            yield events(r)

    def chunks(self, path, body):
        """All data of a stream that ends well."""
        with self.stream(path, body) as s:
            data = [d for name, d in s if name != 'comment']
        assert data[-1] == '[DONE]', data[-3:]
        return [json.loads(d) for d in data[:-1]]

    def slots(self):
        return self.get('/slots').json

    def wait(self, what, seconds=20):
        """Until what(slots) holds."""
        until = time.monotonic() + seconds
        while not what(self.slots()):
            assert time.monotonic() < until, self.slots()
            time.sleep(0.02)

    def raw(self, data):
        """A socket on which these bytes were sent."""
        s = socket.create_connection((self.host, self.port), timeout=60)
        s.sendall(data)
        return s

    def hanging(self, path, body, receive_buffer=None):
        """A request on a socket of its own, whose answer nobody has read yet."""
        text = json.dumps(body).encode()
        s = socket.socket()
        if receive_buffer:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        s.settimeout(60)
        s.connect((self.host, self.port))
        s.sendall(f'POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n'.encode() + text)
        return s


def events(response):
    name = None
    for line in response:
        line = line.decode().rstrip('\n')
        if line.startswith(':'):
            yield 'comment', line
        elif line.startswith('event: '):
            name = line[7:]
        elif line.startswith('data: '):
            yield name, line[6:]
            name = None
        else:
            assert line == '', line


def read_answer(sock):
    """The status line and the rest of what a socket says until it ends or has a whole answer."""
    r = http.client.HTTPResponse(sock)
    r.begin()
    return Reply(r)
