# SPDX-License-Identifier: Apache-2.0
"""How the server behaves: refusals, keys, hosts, clients that go, full queues, stopping. Each function is a check that starts the
servers it needs."""
import json
import re
import shutil
import signal
import ssl
import subprocess
import threading
import time
import urllib.request

from harness import events, read_answer

CHAT, TEXT = '/v1/chat/completions', '/v1/completions'
HI = {'messages': [{'role': 'user', 'content': 'hi'}]}
ENDLESS = {'prompt': 'x', 'max_tokens': 1000000, 'ignore_eos': True, 'stream': True}


def fields_are_refused_by_name(w):
    with w.server() as s:
        for body, param in (
                ({}, 'messages'), ({'messages': []}, 'messages'), ({'messages': 'hi'}, 'messages'),
                ({'messages': [{'role': 'pope', 'content': 'x'}]}, 'messages[0]'),
                ({'messages': [{'role': 'user', 'content': 5}]}, 'messages[0]'),
                ({'messages': [{'role': 'user', 'content': [{'type': 'image_url', 'image_url': {}}]}]}, 'messages[0]'),
                ({'messages': [{'role': 'user', 'content': 'x', 'colour': 1}]}, 'messages[0]'),
                ({'messages': [{'role': 'assistant', 'tool_calls': [{}]}]}, 'messages[0]'),
                ({**HI, 'frobnicate': 1}, 'frobnicate'), ({**HI, 'temperature': -1}, 'temperature'), ({**HI, 'temperature': '1'}, 'temperature'),
                ({**HI, 'top_p': 0}, 'top_p'), ({**HI, 'n': 0}, 'n'), ({**HI, 'n': 1.5}, 'n'), ({**HI, 'max_tokens': 1e300}, 'max_tokens'),
                ({**HI, 'seed': 'x'}, 'seed'), ({**HI, 'stop': ['']}, 'stop'), ({**HI, 'stop': ['x'] * 17}, 'stop'),
                ({**HI, 'stream': 'yes'}, 'stream'), ({**HI, 'top_logprobs': 2}, 'top_logprobs'),
                ({**HI, 'logprobs': True, 'top_logprobs': 21}, 'top_logprobs'), ({**HI, 'logit_bias': {'x': 1}}, 'logit_bias'),
                ({**HI, 'logit_bias': {'999999': 1}}, 'logit_bias'), ({**HI, 'response_format': {'type': 'xml'}}, 'response_format'),
                ({**HI, 'tools': [{'type': 'web'}]}, 'tools[0]'), ({**HI, 'tools': [{'type': 'function', 'function': {'name': 'a b'}}]}, 'tools[0]'),
                ({**HI, 'stream_options': {'x': 1}}, 'stream_options.x'), ({**HI, 'chat_template_kwargs': {'messages': []}}, 'chat_template_kwargs'),
                ({**HI, 'functions': []}, 'functions'), ({**HI, 'modalities': ['audio']}, 'modalities'),
                ({**HI, 'dry_sequence_breakers': [1]}, 'dry_sequence_breakers')):
            s.refused(CHAT, body, 400, param, param.split('[')[0].split('.')[0])
        for body, param in (({}, 'prompt'), ({'prompt': ''}, 'prompt'), ({'prompt': [[]]}, 'prompt[0]'), ({'prompt': [1, -1]}, 'prompt'),
                            ({'prompt': 'x', 'echo': True}, 'echo'), ({'prompt': 'x', 'suffix': 'y'}, 'suffix'), ({'prompt': {}}, 'prompt'),
                            ({'prompt': ['x'] * 30, 'n': 100}, 'n'), ({'prompt': 'x', 'best_of': 3}, 'best_of')):
            s.refused(TEXT, body, 400, param)
        for text in ('', '{', '[]', '{"a":1,"a":2}', '{"messages": NaN}', '{"temperature": 1e999}', '[' * 5000, '"\\u0000"', '\xff'):
            s.refused(CHAT, text.encode('latin-1'), 400)
        e = s.refused(CHAT, {'messages': [{'role': 'user', 'content': 'x' * 20000}]}, 400)
        assert e['code'] == 'context_length_exceeded' and '4096' in e['message'], e
        s.refused('/infill', {'input_prefix': 'a', 'input_suffix': 'b'}, 400, None, 'filling in')
        assert s.chat()['choices']  # none of this has hurt


def requests_are_refused_by_status(w):
    with w.server('--max-body', '10K') as s:
        assert s.get(CHAT).status == 405 and s.get(CHAT).error['code'] == 'method_not_allowed'
        assert s.ask('DELETE', '/v1/models').status == 405
        assert s.post('/nothing', {}).status == 404 and s.get('/nothing/at/all').status == 404
        assert s.post(CHAT, HI, Content_Type='text/plain').status == 415
        big = s.post(CHAT, {'messages': [{'role': 'user', 'content': 'x' * 200000}]})
        assert big.status == 413 and big.error['code'] == 'body_too_large'
        head = s.ask('HEAD', '/health')
        assert head.status == 200 and head.body == b''
        with s.raw(b'POST ' + CHAT.encode() + b' HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\r\n') as sock:
            assert read_answer(sock).status == 411
        with s.raw(b'GET /health HTTP/1.1\r\nHost: localhost\r\nX: ' + b'x' * 100000 + b'\r\n\r\n') as sock:
            assert read_answer(sock).status == 431
        for garbage in (b'\x00\xff\r\n\r\n', b'GET\r\n\r\n', b'POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n',
                        b'POST ' + CHAT.encode() + b' HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n'):
            with s.raw(garbage) as sock:  # an answer or none, but the server goes on
                sock.settimeout(0.3)
                try:
                    assert sock.recv(4096)[:12] in (b'', b'HTTP/1.1 400')
                except TimeoutError:
                    pass
        assert s.get('/health').status == 200


def hosts_must_be_allowed(w):
    with w.server() as s:
        for host in ('evil.example', 'localhost.evil.example', '127.0.0.1.evil.example', '', 'localhost:x', '[::1', '10.0.0.1'):
            r = s.get('/health', Host=host)
            assert r.status == 403 and r.error['code'] == 'host_not_allowed', (host, r.status)
        for host in ('localhost', 'LOCALHOST:1', '127.0.0.1', '127.9.9.9:80', '[::1]:8080', '[::1]'):
            assert s.get('/health', Host=host).status == 200, host
        with s.raw(b'GET /health HTTP/1.0\r\n\r\n') as sock:
            assert read_answer(sock).status == 403
        assert s.get('/health', Origin='https://chat.example').headers['Access-Control-Allow-Origin'] is None
        assert s.ask('OPTIONS', CHAT).status == 405
    with w.server('--allow-host', 'Box.lan', '--cors', 'https://chat.example') as s:
        assert s.get('/health', Host='box.lan:8080').status == 200 and s.get('/health', Host='other.lan').status == 403
        r = s.ask('OPTIONS', CHAT, headers={'Origin': 'https://chat.example', 'Access-Control-Request-Method': 'POST'})
        assert r.status == 204 and r.headers['Access-Control-Allow-Origin'] == 'https://chat.example'
        assert s.post(CHAT, {**HI, 'max_tokens': 1}).headers['Access-Control-Allow-Origin'] == 'https://chat.example'


def keys_are_needed(w):
    path = w.write('keys.txt', '# people\nalpha-key\n\n  beta-key \r\n', 0o644)
    with w.server('--api-key-file', path) as s:
        assert s.get('/health').status == 200
        for headers in ({}, {'Authorization': 'Bearer wrong'}, {'Authorization': 'Bearer alpha-ke'}, {'Authorization': 'Bearer alpha-keyx'},
                        {'Authorization': 'alpha-key'}, {'x-api-key': '# people'}, {'x-api-key': ''}, {'x-api-key': 'x' * 5000}):
            for path_, method in (('/v1/models', 'GET'), ('/metrics', 'GET'), (CHAT, 'POST'), ('/experts', 'GET'), ('/props', 'GET')):
                r = s.ask(method, path_, HI if method == 'POST' else None, headers)
                assert r.status == 401 and r.error['type'] == 'authentication_error', (headers, path_, r.status)
        # A browser cannot send a key for a page; the page's requests have one.
        page = s.get('/')
        assert page.status == 200 and page.headers['Content-Type'] == 'text/html; charset=utf-8', page.status
        assert "default-src 'none'" in page.headers['Content-Security-Policy']
        assert s.get('/app.js').headers['Content-Type'] == 'text/javascript; charset=utf-8'
        assert s.get('/nothing').status == 404
        assert s.get('/v1/models', Authorization='Bearer alpha-key').status == 200
        assert s.get('/v1/models', x_api_key='beta-key').status == 200
        w.write('keys.txt', 'gamma-key\n')
        s.process.send_signal(signal.SIGHUP)
        until = time.monotonic() + 10
        while s.get('/v1/models', x_api_key='gamma-key').status != 200:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert s.get('/v1/models', x_api_key='alpha-key').status == 401
        w.write('keys.txt', '# nobody\n')
        s.process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert s.get('/v1/models', x_api_key='gamma-key').status == 200  # what cannot be read changes nothing
        said = s.stop()
        assert 'everybody on this machine may read' in said and 'read again' in said and 'stay as they were' in said, said
        assert not any(key in said for key in ('alpha-key', 'beta-key', 'gamma-key')), said


def clients_are_known_by_their_keys(w):
    path = w.write('keys.txt', 'alpha-key\nbeta-key\n')
    with w.server('--api-key-file', path) as s:
        body = json.dumps(ENDLESS).encode()
        with s.raw(b'POST ' + TEXT.encode() + b' HTTP/1.1\r\nHost: localhost\r\nx-api-key: beta-key\r\nContent-Type: application/json\r\n'
                   b'Content-Length: %d\r\n\r\n' % len(body) + body) as sock:
            assert read_line(sock).startswith('HTTP/1.1 200')
            assert [re.fullmatch('key-[0-9a-f]{6}', r['client']) is not None for r in s.get('/slots', x_api_key='alpha-key').json['slots']] == [True]


def read_line(sock):
    line = b''
    while not line.endswith(b'\n'):
        line += sock.recv(1)
    return line.decode()


def a_client_that_hangs_up_frees_its_place(w):
    with w.server('--parallel', '1', '--ctx', '65536', '--room', '65536', model=w.long) as s:
        running = s.hanging(TEXT, ENDLESS)
        s.wait(lambda v: v['running'] == 1 and v['slots'][0]['n_generated'] > 0)
        queued = [s.hanging(TEXT, ENDLESS), s.hanging(TEXT, {**ENDLESS, 'stream': False})]
        s.wait(lambda v: v['jobs'] == 3)
        queued.pop().close()
        s.wait(lambda v: v['jobs'] == 2 and v['waiting'] == 1)
        queued.pop().close()
        s.wait(lambda v: v['jobs'] == 1 and v['waiting'] == 0 and v['running'] == 1)
        running.close()
        s.wait(lambda v: v['jobs'] == 0 and v['running'] == 0)
        prompt = s.hanging(TEXT, {**ENDLESS, 'prompt': 'x ' * 30000})
        s.wait(lambda v: v['running'] == 1 and 0 < v['slots'][0]['n_prompt_done'] < 30000)
        prompt.close()
        s.wait(lambda v: v['running'] == 0, 5)
        metrics = s.get('/metrics').body.decode()
        assert 'medley_engine_cancelled_total 4\n' in metrics, metrics
        assert s.ok(TEXT, {'prompt': 'x', 'max_tokens': 2})['usage']['completion_tokens'] == 2


def a_full_queue_says_when_to_come_again(w):
    with w.server('--parallel', '1', '--queue', '1', '--ctx', '65536', '--room', '65536', model=w.long) as s:
        held = [s.hanging(TEXT, ENDLESS)]
        s.wait(lambda v: v['running'] == 1)
        held.append(s.hanging(TEXT, ENDLESS))
        s.wait(lambda v: v['waiting'] == 1)
        for stream in (False, True):
            r = s.post(TEXT, {**ENDLESS, 'stream': stream})
            assert r.status == 429 and r.error['code'] == 'queue_full' and int(r.headers['Retry-After']) >= 1
        for sock in held:
            sock.close()
        s.wait(lambda v: v['jobs'] == 0)
        assert s.post(TEXT, {'prompt': 'x', 'n': 3}).status == 429  # three at once have no room either
        s.wait(lambda v: v['jobs'] == 0)
        assert s.ok(TEXT, {'prompt': 'x', 'max_tokens': 1})


def silent_streams_get_comments(w):
    with w.server('--parallel', '1', '--ctx', '65536', '--room', '65536', model=w.long) as s:
        with s.hanging(TEXT, {**ENDLESS, 'stream': True}):
            s.wait(lambda v: v['running'] == 1)
            began = time.monotonic()
            with s.stream(TEXT, {'prompt': 'y', 'max_tokens': 1}) as lines:
                assert next(lines) == ('comment', ': ping')
                assert 4 < time.monotonic() - began < 9
        s.wait(lambda v: v['jobs'] == 0)


def who_does_not_read_is_given_up(w):
    with w.server('--ctx', '65536', '--room', '65536', model=w.long) as s:
        with s.hanging(CHAT, {**HI, 'max_tokens': 60000, 'ignore_eos': True, 'stream': True, 'logprobs': True, 'top_logprobs': 20},
                       receive_buffer=4096):
            s.wait(lambda v: v['running'] == 1)
            s.wait(lambda v: v['jobs'] == 0, 60)
            assert 'medley_engine_cancelled_total 1\n' in s.get('/metrics').body.decode()


def stopping_lets_answers_end(w):
    with w.server('--parallel', '1') as s:
        with s.stream(CHAT, {**HI, 'max_tokens': 3000, 'ignore_eos': True}) as lines:
            next(lines)
            s.wait(lambda v: v['running'] == 1)
            queued, idle = s.hanging(TEXT, ENDLESS), s.connect()
            idle.request('GET', '/health')
            assert idle.getresponse().read()
            s.wait(lambda v: v['jobs'] == 2)
            s.process.send_signal(signal.SIGTERM)
            r = read_answer(queued)
            assert r.status == 503 and r.error['code'] == 'stopping' and r.headers['Retry-After'], r.status
            try:
                s.get('/health')
                raise AssertionError('a new connection was accepted')
            except ConnectionRefusedError:
                pass
            assert [d for name, d in lines][-1] == '[DONE]'
            queued.close()
            idle.close()
        s.said = ''.join(s.process.communicate(timeout=20))
        assert s.process.returncode == 0, s.said


def stopping_has_an_end(w):
    for options, signals in ((('--drain', '0.3'), 1), (('--drain', '1000'), 2)):
        with w.server('--ctx', '65536', '--room', '65536', *options, model=w.long) as s:
            with s.stream(TEXT, ENDLESS) as lines:
                next(lines)
                began = time.monotonic()
                for _ in range(signals):
                    s.process.send_signal(signal.SIGTERM)
                    time.sleep(0.4)
                data = [d for name, d in lines]
                assert json.loads(data[-1])['error']['code'] == 'stopping', data[-1]
            s.said = ''.join(s.process.communicate(timeout=20))
            assert s.process.returncode == 0 and time.monotonic() - began < 10, s.said


def many_at_once_are_answered_as_if_alone(w):
    with w.server('--parallel', '8') as s:
        bodies = [{'prompt': f'number {i} ' * (1 + i * 7 % 30), 'max_tokens': 20, 'temperature': i % 2, 'seed': i} for i in range(24)]
        alone = [s.ok(TEXT, b)['choices'][0]['text'] for b in bodies]
        found = [None] * len(bodies)

        def ask(i):
            if i % 3 == 0:
                found[i] = ''.join(c['choices'][0]['text'] for c in s.chunks(TEXT, bodies[i]))
            else:
                found[i] = s.ok(TEXT, bodies[i])['choices'][0]['text']
        threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(bodies))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert found == alone


def experts_are_told(w):
    with w.server() as s:
        c = s.connect()
        c.request('GET', '/experts')
        lines = events(c.getresponse())
        json.loads(next(lines)[1])
        r = s.ok(TEXT, {'prompt': 'hello', 'max_tokens': 12, 'ignore_eos': True})
        rows = r['usage']['prompt_tokens'] + 11  # the last token is never fed
        seen, layers = 0, 0
        while seen < rows * 2 * 2:
            e = json.loads(next(lines)[1])
            seen += sum(sum(layer['experts']) for layer in e['layers'])
            layers = max(layers, len(e['layers']))
        assert seen == rows * 2 * 2 and layers == 2, (seen, rows)  # two layers, two experts each
        c.close()


def encoders_make_vectors(w):
    with w.server(model=w.encoder) as s:
        assert len(s.ok('/v1/embeddings', {'input': ['hello', 'world']})['data']) == 2
        s.refused(TEXT, {'prompt': 'x'}, 400)


def infill(w):
    """Three tokens that the vocabulary does not use get the names that some family gives them; a fourth keeps the file's length."""
    with open(w.tiny, 'rb') as f:
        data = f.read()
    for old, new in ((b'[unused15]', b'[PREFIX]'), (b'[unused16]', b'[SUFFIX]'), (b'[unused17]', b'[MIDDLE]'), (b'[unused18]', b'[unused18-padded')):
        before = len(old).to_bytes(8, 'little') + old
        assert data.count(before) == 1
        data = data.replace(before, len(new).to_bytes(8, 'little') + new)
    with open(w.path('infill.gguf'), 'wb') as f:
        f.write(data)
    with w.server(model=w.path('infill.gguf')) as s:
        prefix, suffix, begun = 'def f(x):', '  return y', '  y'
        r = s.ok('/infill', {'input_prefix': prefix, 'input_suffix': suffix, 'prompt': begun, 'n_predict': 5, 'ignore_eos': True})
        counts = [s.ok('/tokenize', {'content': text})['count'] for text in (prefix, suffix, begun)]
        assert r['usage']['prompt_tokens'] == sum(counts) + 3 and r['usage']['completion_tokens'] == 5, r
        assert r['content'] == r['choices'][0]['text'] and r['content']
        s.refused('/infill', {'input_prefix': 'a', 'input_suffix': 'b', 'input_extra': [{}]}, 400, 'input_extra')


def tls(w):
    if not shutil.which('openssl'):
        return 'openssl is not installed'
    cert, key = w.path('cert.pem'), w.path('key.pem')
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', cert, '-days', '2', '-subj',
                    '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'], check=True, capture_output=True)
    with w.server('--tls-cert', cert, '--tls-key', key) as s:
        trusted = ssl.create_default_context(cafile=cert)
        with urllib.request.urlopen(f'https://127.0.0.1:{s.port}/health', context=trusted, timeout=30) as r:
            assert json.loads(r.read()) == {'status': 'ok'}
        request = urllib.request.Request(f'https://127.0.0.1:{s.port}{CHAT}', json.dumps({**HI, 'stream': True, 'max_tokens': 50}).encode(),
                                         {'Content-Type': 'application/json'})
        with urllib.request.urlopen(request, context=trusted, timeout=30) as r:
            assert r.read().decode().endswith('data: [DONE]\n\n')
        s.stop()
    return None


def options_that_make_no_sense(w):
    for options, says in ((['--tls-cert', 'x'], 'go together'), (['--api-key-file', w.write('none.txt', '\n# x\n')], 'holds no key'),
                          (['--api-key-file', w.write('blank.txt', 'a b\n')], 'line 1'), (['--host', '256.1.1.1'], '--host'),
                          (['--max-body', '2G'], '--max-body'), (['--api-key-file', '/nonexistent/keys'], '/nonexistent/keys'),
                          (['--tls-cert', w.tiny, '--tls-key', w.tiny], '--tls-cert')):
        r = subprocess.run([w.program, 'serve', w.tiny, '--port', '0', *options], capture_output=True, text=True, timeout=60)
        assert r.returncode in (1, 2) and says in r.stderr and r.stdout == '', (options, r)
    with w.server() as s:
        r = subprocess.run([w.program, 'serve', w.tiny, '--port', str(s.port)], capture_output=True, text=True, timeout=60)
        assert r.returncode == 1 and 'in use' in r.stderr, r.stderr
    p = subprocess.Popen([w.program, 'serve', w.tiny, '--port', '0', '--json', '--alias', 'x"y', '-q'], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
    text = ''
    while '}' not in text:
        text += p.stdout.readline()
    said = json.loads(text)
    assert said['model'] == 'x"y' and said['url'] == f'http://127.0.0.1:{said["port"]}', said
    p.send_signal(signal.SIGINT)
    assert p.communicate(timeout=30)[1] == '' and p.returncode == 0


ALL = [fields_are_refused_by_name, requests_are_refused_by_status, hosts_must_be_allowed, keys_are_needed, clients_are_known_by_their_keys,
       a_client_that_hangs_up_frees_its_place, a_full_queue_says_when_to_come_again, silent_streams_get_comments,
       who_does_not_read_is_given_up, stopping_lets_answers_end, stopping_has_an_end, many_at_once_are_answered_as_if_alone,
       experts_are_told, encoders_make_vectors, infill, tls, options_that_make_no_sense]
