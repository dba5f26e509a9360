# SPDX-License-Identifier: Apache-2.0
"""The Python module on models made by `medley synth`. Environment: MEDLEY_PROGRAM, MEDLEY_LIBRARY, MEDLEY_CC,
MEDLEY_INCLUDE, MEDLEY_BUILD; PYTHONPATH names the module. Prints 'N passed, N failed, N skipped' last."""
import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.dont_write_bytecode = True
import medley
from medley import _api

PROGRAM = os.environ['MEDLEY_PROGRAM']
GREEDY = {'temperature': 0, 'ignore_eog': True}


def setUpModule():
    global FOLDER, DENSE, MOE, ENCODER
    FOLDER = tempfile.mkdtemp(prefix='medley-python-')
    DENSE, MOE, ENCODER = (os.path.join(FOLDER, f'{name}.gguf') for name in ('dense', 'moe', 'encoder'))
    subprocess.run([PROGRAM, 'synth', '-o', DENSE], check=True)
    subprocess.run([PROGRAM, 'synth', '-o', MOE, '--arch', 'qwen3moe', '--experts', '8', '--top-k', '2'], check=True)
    subprocess.run([PROGRAM, 'synth', '-o', ENCODER, '--arch', 'bert'], check=True)


def tearDownModule():
    shutil.rmtree(FOLDER)


class Layout(unittest.TestCase):
    """_api.py against the compiler's own view of the headers."""

    def test_structs(self):
        lines = ['#include <stddef.h>', '#include <stdio.h>']
        headers = sorted(os.listdir(os.path.join(os.environ['MEDLEY_INCLUDE'], 'medley')))
        lines += [f'#include <medley/{h}>' for h in headers if h.endswith('.h')]
        lines += ['#define ROW(s, f) printf("%s.%s %zu %zu\\n", #s, #f, offsetof(s, f), sizeof(((s *)0)->f))',
                  'int main(void) {']
        expected = []
        for struct in _api.STRUCTS:
            name = struct.__name__
            lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
            expected.append(f'{name} {_api.sizeof(struct)}')
            for field, _ in struct._fields_:
                lines.append(f'ROW({name}, {field});')
                d = getattr(struct, field)
                expected.append(f'{name}.{field} {d.offset} {d.size}')
        names = [n for n in dir(_api) if n.startswith('MD_')]
        for n in names:
            lines.append(f'printf("{n} %llu\\n", (unsigned long long){n});')
            expected.append(f'{n} {getattr(_api, n)}')
        path = os.path.join(FOLDER, 'layout')
        with open(path + '.c', 'w') as f:
            f.write('\n'.join(lines + ['return 0;', '}', '']))
        subprocess.run([os.environ['MEDLEY_CC'], '-std=c17', '-I', os.environ['MEDLEY_INCLUDE'], '-o', path, path + '.c'],
                       check=True)
        said = subprocess.run([path], check=True, capture_output=True, text=True).stdout.split('\n')[:-1]
        self.assertEqual(said, expected)
        self.assertGreater(len(expected), 150)

    def test_kinds_of_fields_and_results(self):
        """Sizes alone would not tell an int32_t from a float: each field and each result has its C type."""
        c_types = {_api.c_float: 'float', _api.c_double: 'double', _api.c_bool: '_Bool', _api.c_int32: 'int32_t',
                   _api.c_uint32: 'uint32_t', _api.c_int64: 'int64_t', _api.c_uint64: 'uint64_t', _api.c_size_t: 'size_t'}
        lines = [f'#include <medley/{h}>' for h in ('generate.h', 'chat.h', 'embed.h', 'eval.h', 'version.h')]
        n = 0
        for struct in _api.STRUCTS:
            for field, kind in struct._fields_:
                if kind in (_api.c_float, _api.c_double, _api.c_bool):
                    lines.append(f'_Static_assert(__builtin_types_compatible_p(__typeof__((({struct.__name__} *)0)->{field}), '
                                 f'{c_types[kind]}), "{struct.__name__}.{field}");')
                    n += 1
        for name, (result, parameters) in _api.FUNCTIONS.items():
            if result in (_api.c_bool, _api.c_float, _api.c_double, None):
                c = c_types.get(result, 'void')
                numbers = (_api.c_int, _api.c_int32, _api.c_uint64, _api.c_bool, _api.c_size_t, _api.c_uint,
                           _api.c_float, _api.c_double)
                arguments = ', '.join('0' if p in numbers else '(void *)0' for p in parameters)
                lines.append(f'_Static_assert(__builtin_types_compatible_p(__typeof__({name}({arguments})), {c}), "{name}");')
                n += 1
        self.assertGreater(n, 30)
        r = subprocess.run([os.environ['MEDLEY_CC'], '-std=gnu17', '-Werror', '-fsyntax-only', '-I',
                            os.environ['MEDLEY_INCLUDE'], '-x', 'c', '-'],
                           input='\n'.join(lines) + '\n', text=True, capture_output=True)
        self.assertEqual(r.returncode, 0, r.stderr[:2000])


class Models(unittest.TestCase):
    def test_info_and_describe(self):
        d = medley.describe(MOE)
        self.assertEqual((d.info.arch, d.info.n_expert, d.info.n_expert_used), ('qwen3moe', 8, 2))
        self.assertEqual(d.metadata['general.architecture'], 'qwen3moe')
        self.assertEqual(sum(t.bytes for t in d.tensors), sum(p['bytes'] for p in d.info.parts.values()))
        with medley.Model(MOE) as m:
            self.assertEqual(m.info, d.info)
            self.assertTrue(m.chat_template and m.info.has_chat_template)
            self.assertIsInstance(m.notes, list)
        self.assertEqual((d.info.causal, d.info.has_logits, d.info.pooling), (True, True, 'last'))
        encoder = medley.describe(ENCODER).info
        self.assertEqual((encoder.causal, encoder.has_logits, encoder.pooling), (False, False, 'mean'))
        other = medley.describe(ENCODER, overrides={'bert.pooling_type': 2}).info
        self.assertEqual(other.pooling, 'cls')

    def test_overrides(self):
        more = {'qwen3moe.expert_used_count': 4, 'general.name': 'Mine', 'x.b': True, 'x.f': 0.5}
        d = medley.describe(MOE, overrides=more)
        self.assertEqual((d.info.n_expert_used, d.info.name, d.metadata['x.b'], d.metadata['x.f']), (4, 'Mine', True, 0.5))
        with medley.Model(MOE, overrides=more) as m, m.session(threads=1) as s:
            self.assertIn('top-k=4', s.sequence().numerics_key)
            self.assertIn(' overrides=', s.sequence().numerics_key)
        for bad in ({'k': None}, {'a=b': 1}, {'k': 'a\0b'}, {'k': 2 ** 70}, {'k': float('inf')}, {'general.alignment': 8}):
            with self.assertRaises(medley.ArgumentError, msg=bad):
                medley.Model(MOE, overrides=bad)

    def test_errors(self):
        with self.assertRaises(medley.FileError) as e:
            medley.Model(os.path.join(FOLDER, 'nowhere.gguf'))
        self.assertIsInstance(e.exception, OSError)
        self.assertIn('No such file', str(e.exception))
        with self.assertRaises(medley.FormatError):
            medley.Model(__file__)
        with self.assertRaises(ValueError):
            medley.Model('a\0b')
        m = medley.Model(DENSE)
        t = m.tokenizer
        m.close()
        m.close()
        for use in (lambda: m.info, lambda: m.session(), lambda: t.encode('x')):
            with self.assertRaisesRegex(medley.ArgumentError, 'closed'):
                use()

    def test_progress(self):
        seen = []
        medley.Model(DENSE, progress=lambda done, total: seen.append((done, total))).close()
        self.assertEqual(seen[-1][0], seen[-1][1])
        with self.assertRaises(medley.CancelledError):
            medley.Model(DENSE, progress=lambda done, total: False)
        with self.assertRaises(ZeroDivisionError):
            medley.Model(DENSE, progress=lambda done, total: 1 / 0)


class Texts(unittest.TestCase):
    def setUp(self):
        self.model = medley.Model(DENSE)
        self.addCleanup(self.model.close)

    def test_tokens_and_back(self):
        t = self.model.tokenizer
        for text in ('Hello world', '', 'naïve 🙂 text', 'a\0b', 'x' * 3000):
            ids = t.encode(text, bos=False)
            self.assertEqual(t.decode(ids), text)
            said = subprocess.run([PROGRAM, 'tokenize', DENSE, '--no-bos', '--json'], input=text.encode(), check=True,
                                  capture_output=True).stdout
            self.assertEqual(json.loads(said)['tokens'], ids)
        self.assertEqual(t.encode(b'\xff\xfe', bos=False), t.encode('\udcff\udcfe', bos=False))
        self.assertEqual(b''.join(t.token_bytes(i) for i in t.encode('abc', bos=False)), b'abc')
        self.assertIsNone(t.token_bytes(len(t)))
        self.assertIsNone(t.find('no such token'))
        end = next(i for i in range(len(t)) if t.is_eog(i))
        self.assertTrue(t.is_special(end))
        self.assertEqual(t.find(t.token_bytes(end)), end)
        self.assertIn(end, t.encode(t.token_bytes(end), special=True))
        self.assertNotIn(end, t.encode(t.token_bytes(end)))
        with self.assertRaises(medley.ArgumentError):
            t.decode([len(t)])

    def test_templates(self):
        messages = [{'role': 'system', 'content': 'Be brief.'}, {'role': 'user', 'content': 'Hi <|im_end|>'}]
        r = self.model.chat(messages)
        self.assertIn('Be brief.', r.text)
        self.assertTrue(set(r.tokens))
        other = medley.Template('{% for m in messages %}{{ m.role }}: {{ m.content }}{{ m.extra }}\n{% endfor %}{{ who }}')
        r = other.render([{'role': 'user', 'content': 'x', 'extra': [1]}], self.model.tokenizer, who='me')
        self.assertEqual(r.text, 'user: x[1]\nme')
        self.assertEqual(other.render([], self.model.tokenizer).text, '')
        with self.assertRaisesRegex(medley.FormatError, 'line 1'):
            medley.Template('{% for %}')
        with self.assertRaises(medley.ArgumentError):
            medley.Template("{{ raise_exception('no') }}").render([], self.model.tokenizer)


class Running(unittest.TestCase):
    def setUp(self):
        self.model = medley.Model(MOE)
        self.session = self.model.session(threads=1, positions=512, logits=16)
        self.addCleanup(self.model.close)

    def run_program(self, *args):
        said = subprocess.run([PROGRAM, 'run', MOE, '--raw', '--json', '--temp', '0', '--ignore-eog', *args], check=True,
                              capture_output=True).stdout
        return json.loads(said)

    def test_an_answer_is_the_program_s(self):
        o = self.run_program('-p', 'Once upon', '-n', '30')
        with self.session.sequence().generate('Once upon', max_tokens=30, **GREEDY) as g:
            pieces = list(g)
        self.assertEqual(g.result.tokens, o['tokens'])
        self.assertEqual(''.join(pieces), o['text'])
        self.assertGreater(len(pieces), 5)
        self.assertEqual((g.result.finish, f'{g.result.logits_hash:016x}'), ('length', o['figures']['logits_hash']))

    def test_sampling_settings(self):
        o = self.run_program('-p', 'Once', '-n', '20', '--temp', '0.9', '--seed', '7', '--top-k', '0', '--logit-bias', '70=2')
        g = self.session.sequence().generate('Once', max_tokens=20, ignore_eog=True, temperature=0.9, seed=7, top_k=0,
                                             logit_bias={70: 2})
        g.text()
        self.assertEqual(g.result.tokens, o['tokens'])
        for bad in ({'temperature': -1}, {'nonesuch': 1}, {'top_k': 'x'}):
            with self.assertRaises(medley.ArgumentError):
                self.session.sequence().generate('x', **bad)

    def test_grammars(self):
        g = medley.Grammar('root ::= "yes" | "no"')
        answers = {self.session.sequence().generate('Once', grammar=g, temperature=5, seed=n).text() for n in range(20)}
        self.assertLessEqual(answers, {'yes', 'no'})
        schema = medley.Grammar.from_schema({'type': 'array', 'items': {'enum': [1, 2]}, 'minItems': 3, 'maxItems': 3})
        a = self.session.sequence().generate('Once', grammar=schema, temperature=0)
        self.assertEqual(len(json.loads(a.text())), 3)
        self.assertIn('root', schema.text)
        with self.assertRaises(medley.FormatError):
            medley.Grammar('root ::= (')

    def test_stop_strings(self):
        g = self.session.sequence().generate('Once', max_tokens=40, **GREEDY)
        whole = g.text()
        cut = self.session.sequence().generate('Once', max_tokens=40, stop=[whole[10:13]], **GREEDY)
        self.assertEqual(cut.text(), whole[:whole.index(whole[10:13])])
        self.assertEqual(cut.result.finish, 'stop')

    def test_logits(self):
        tokens = self.model.tokenizer.encode('The same bits everywhere, whatever the steps')
        q = self.session.sequence()
        rows = q.eval(tokens, logits='all')
        self.assertEqual((len(rows), len(q), len(rows[0])), (len(tokens), len(tokens), self.model.info.n_vocab))
        one = self.session.sequence()
        single = [one.eval([t]) for t in tokens]
        self.assertEqual(medley.logits_hash(rows), medley.logits_hash(single))
        self.assertEqual((rows[0].format, rows[0].nbytes), ('f', 4 * self.model.info.n_vocab))
        best = medley.Sampler(len(rows[-1]), temperature=0).sample(rows[-1], len(q) - 1)
        self.assertEqual(rows[-1][best], max(rows[-1]))
        self.assertIsNone(q.eval([1], logits=None))
        with self.assertRaises(medley.ArgumentError):
            medley.Sampler(5, temperature=0).sample(rows[-1], 0)
        with self.assertRaises(medley.ArgumentError):
            q.eval([])
        try:
            import numpy
        except ImportError:
            return
        a = numpy.asarray(rows[-1])
        self.assertEqual((a.dtype, a.argmax()), (numpy.float32, best))
        self.assertEqual(medley.logits_hash([a]), medley.logits_hash([rows[-1]]))

    def test_a_failed_eval_leaves_the_sequence_alone(self):
        q = self.session.sequence()
        q.eval([1, 2, 3])
        with self.assertRaises(medley.LimitError):
            q.eval([1] * 600)
        self.assertEqual(len(q), 3)
        with self.assertRaises(medley.ArgumentError):
            q.eval([1, 10 ** 6])

    def test_forks_trims_and_masks(self):
        q = self.session.sequence()
        q.eval(range(1, 40))
        f = q.fork()
        self.assertEqual(list(f.eval([5])), list(q.eval([5])))
        q.trim(10)
        self.assertEqual((len(q), len(f)), (10, 40))
        m = self.session.sequence()
        m.mask_expert(0, 3, 'off')
        self.assertIn('mask-', m.numerics_key)
        for bad in ((9, 0, 'off'), (0, 0, 'maybe')):
            with self.assertRaises(medley.ArgumentError):
                m.mask_expert(*bad)

    def test_saving(self):
        path = os.path.join(FOLDER, 'state')
        q = self.session.sequence()
        q.eval(range(1, 60))
        q.save(path, tokens=range(1, 60), text='a note')
        expected = list(q.eval([7]))
        other = self.model.session(threads=1).sequence()
        self.assertEqual(other.load(path), medley.Saved(list(range(1, 60)), b'a note', True))
        self.assertEqual(list(other.eval([7])), expected)
        elsewhere = self.model.session(threads=1, kv_type='f32').sequence()
        self.assertFalse(elsewhere.load(path).restored)
        self.assertEqual(len(elsewhere), 0)
        with open(path, 'r+b') as f:
            f.truncate(1000)
        with self.assertRaises(medley.FormatError):
            other.load(path)

    def test_a_busy_session_refuses_and_recovers(self):
        q = self.session.sequence()
        g = q.generate('Once', **GREEDY)
        next(g)
        if g.result is None:  # still under way
            with self.assertRaisesRegex(medley.ArgumentError, 'busy'):
                self.session.sequence()
        g.close()
        self.assertIn(g.result.finish, ('cancelled', 'context'))
        self.assertGreater(len(q), 0)
        self.session.sequence().eval([1])

    def test_dropping_an_answer_stops_it(self):
        before = threading.active_count()
        long = self.model.session(threads=1, positions=60000)
        next(long.sequence().generate('Once', **GREEDY))
        gc.collect()
        end = time.monotonic() + 30
        while threading.active_count() > before and time.monotonic() < end:
            time.sleep(0.01)
        self.assertEqual(threading.active_count(), before)
        long.sequence().generate('Once', **GREEDY)
        long.close()  # and so does closing the session
        with self.assertRaisesRegex(medley.ArgumentError, 'closed'):
            long.sequence()

    def test_sequences_are_given_back(self):
        for _ in range(50):  # there are eight places
            self.session.sequence()
        kept = [self.session.sequence() for _ in range(8)]
        with self.assertRaises(medley.LimitError):
            self.session.sequence()
        kept[0].close()
        kept[0].close()
        self.session.sequence()
        with self.assertRaisesRegex(medley.ArgumentError, 'closed'):
            kept[0].eval([1])
        with self.assertRaises(medley.ArgumentError):
            self.model.session(kv_type='f8')
        with self.assertRaises(medley.OutOfMemoryError):
            self.model.session(memory=1000)


class Embedding(unittest.TestCase):
    TEXTS = ['Hello world', 'A cat sat on a mat.', 'x', 'Once upon a time ' * 20]

    def setUp(self):
        self.model = medley.Model(ENCODER)
        self.addCleanup(self.model.close)

    def program(self, path, *args, texts=TEXTS):
        said = subprocess.run([PROGRAM, 'embed', path, *texts, '--json', '--quiet', *args], check=True,
                              capture_output=True).stdout
        return json.loads(said)

    def assert_same(self, vectors, expected):
        """assertEqual would take minutes to describe how thousands of numbers differ."""
        self.assertEqual(len(vectors), len(expected))
        for i, (v, e) in enumerate(zip(vectors, expected)):
            # Nine digits name one float: rounding what the program wrote gives its bits.
            self.assertTrue(list(v) == list((_api.c_float * len(e))(*e)), f'vector {i}')

    def test_vectors_are_the_program_s(self):
        for path in (ENCODER, MOE):
            with medley.Model(path) as m:
                for more, options in (({}, ()), ({'pooling': 'cls'}, ('--pooling', 'cls')),
                                      ({'pooling': 'last', 'normalize': False}, ('--pooling', 'last', '--no-normalize')),
                                      ({'threads': 1}, ('--threads', '2'))):
                    o = self.program(path, *options)
                    self.assertEqual(o['pooling'], more.get('pooling', m.info.pooling))
                    self.assertEqual(o['width'], m.info.n_embd)
                    self.assert_same(m.embed(self.TEXTS, **more), [t['vector'] for t in o['texts']])

    def test_a_text_longer_than_usual(self):
        text = 'Once upon a time ' * 200
        with medley.Model(MOE) as m:
            self.assertGreater(len(m.tokenizer.encode(text)), 2560)  # what a session for short texts has room for
            self.assert_same(m.embed(['short', text]),
                             [t['vector'] for t in self.program(MOE, texts=('short', text))['texts']])

    def test_a_vector_of_each_token(self):
        o = self.program(ENCODER, '--pooling', 'none')
        for model, pooling in ((self.model, 'none'), (medley.Model(ENCODER, overrides={'bert.pooling_type': 0}), 'model')):
            with model:
                said = model.embed(self.TEXTS, pooling=pooling)
                for vectors, t in zip(said, o['texts']):
                    self.assert_same(vectors, t['vectors'])
                self.assertEqual([len(t) for t in said], [len(model.tokenizer.encode(t)) for t in self.TEXTS])

    def test_length_and_company(self):
        together = self.model.embed(self.TEXTS)
        for text, v in zip(self.TEXTS, together):
            self.assertAlmostEqual(sum(x * x for x in v), 1, 5)
            self.assertEqual(list(self.model.embed([text.encode()])[0]), list(v))
        raw = self.model.embed(self.TEXTS[:1], normalize=False)[0]
        self.assertNotAlmostEqual(sum(x * x for x in raw), 1, 3)
        self.assertEqual((raw.format, len(raw)), ('f', self.model.info.n_embd))
        self.assertEqual(self.model.embed([]), [])
        try:
            import numpy
        except ImportError:
            return
        a = numpy.asarray(together)
        self.assertEqual((a.dtype, a.shape), (numpy.float32, (len(self.TEXTS), self.model.info.n_embd)))
        self.assertEqual(a[1].tolist(), list(together[1]))

    def test_refusals(self):
        for bad in ({'pooling': 'max'}, {'threads': -1}):
            with self.assertRaises(medley.ArgumentError, msg=bad):
                self.model.embed(self.TEXTS, **bad)
        with self.assertRaisesRegex(medley.ArgumentError, 'list of texts'):
            self.model.embed('one text')
        with self.assertRaisesRegex(medley.UnsupportedError, 'rank'):
            self.model.embed(self.TEXTS, pooling='rank')
        with self.assertRaisesRegex(medley.LimitError, 'text 2 of 2'):
            self.model.embed(['short', 'long ' * 1000])
        with self.assertRaisesRegex(medley.ArgumentError, 'text 1 of 1 has no tokens'):
            medley.Model(DENSE).embed([''])
        self.model.close()
        with self.assertRaisesRegex(medley.ArgumentError, 'the model was closed'):
            self.model.embed(self.TEXTS)

    def test_progress(self):
        seen = []
        self.model.embed(self.TEXTS, progress=lambda done, total: seen.append((done, total)))
        tokens = sum(len(self.model.tokenizer.encode(t)) for t in self.TEXTS)
        self.assertEqual(seen[-1], (tokens, tokens))
        with self.assertRaises(medley.CancelledError):
            self.model.embed(self.TEXTS, progress=lambda done, total: False)

        def fails(_done, _total):
            raise KeyError('mine')
        with self.assertRaisesRegex(KeyError, 'mine'):
            self.model.embed(self.TEXTS, progress=fails)
        self.assertEqual(len(self.model.embed(self.TEXTS)), len(self.TEXTS))


class Wheel(unittest.TestCase):
    def test_it_runs_alone(self):
        """Made, installed into a folder, and used from there by a Python that knows nothing of the build."""
        build, source = os.environ['MEDLEY_BUILD'], os.path.join(os.environ['MEDLEY_INCLUDE'], '..')
        make = [sys.executable, os.path.join(source, 'tools', 'make-wheel.py'), build, '--out']
        wheel = subprocess.run(make + [FOLDER], check=True, capture_output=True, text=True).stdout.strip()
        again = subprocess.run(make + [os.path.join(FOLDER, 'again')], check=True, capture_output=True,
                               text=True).stdout.strip()
        with open(wheel, 'rb') as a, open(again, 'rb') as b:
            self.assertEqual(a.read(), b.read())
        target = os.path.join(FOLDER, 'installed')
        pip = subprocess.run([sys.executable, '-m', 'pip', 'install', '--no-index', '--no-deps', '--quiet', '--target', target,
                              wheel], capture_output=True, text=True)
        if 'No module named pip' in pip.stderr:
            self.skipTest('there is no pip')
        self.assertEqual(pip.returncode, 0, pip.stderr)
        code = ('import medley, sys\nwith medley.Model(sys.argv[1]) as m, m.session(threads=1) as s:\n'
                '    g = s.sequence().generate("Once", max_tokens=9, temperature=0, ignore_eog=True)\n'
                '    print(g.text().encode(), medley.__file__)\n'
                '    print([l.split()[-1] for l in open("/proc/self/maps") if "r-xp" in l and ".so" in l])\n')
        env = {k: v for k, v in os.environ.items() if not k.startswith('MEDLEY')}
        r = subprocess.run([sys.executable, '-c', code, MOE], cwd=FOLDER, env={**env, 'PYTHONPATH': target}, check=True,
                           capture_output=True, text=True)
        with medley.Model(MOE) as m, m.session(threads=1) as s:
            said = s.sequence().generate('Once', max_tokens=9, **GREEDY).text().encode()
        self.assertTrue(r.stdout.startswith(f'{said} {os.path.join(target, "medley", "__init__.py")}\n'), r.stdout)
        for name in ('libmedley.so', 'libs/libjansson', 'libs/libpcre2-8', 'libs/libutf8proc'):
            self.assertIn(os.path.join(target, 'medley', name), r.stdout)


class Examples(unittest.TestCase):
    def test_docs(self):
        """Every example of docs/python.md runs, on a model of ours."""
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'docs', 'python.md')
        with open(path, encoding='utf-8') as f:
            blocks = f.read().split('```python\n')[1:]
        self.assertGreater(len(blocks), 5)
        shutil.copy(MOE, os.path.join(FOLDER, 'model.gguf'))
        old = os.getcwd()
        os.chdir(FOLDER)
        try:
            for block in blocks:
                code = block.split('```')[0]
                with open(os.devnull, 'w') as nothing:
                    stdout, sys.stdout = sys.stdout, nothing
                    try:
                        exec(compile(code, 'docs/python.md', 'exec'), {})
                    except ImportError as e:
                        if e.name != 'numpy':
                            raise
                    finally:
                        sys.stdout = stdout
        finally:
            os.chdir(old)


if __name__ == '__main__':
    program = unittest.main(exit=False, verbosity=1)
    r = program.result
    failed = len(r.failures) + len(r.errors)
    print(f'{r.testsRun - failed - len(r.skipped)} passed, {failed} failed, {len(r.skipped)} skipped')
    sys.exit(failed > 0)
