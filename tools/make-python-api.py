#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the ctypes form of the public headers: enumerators, structs, callbacks, prototypes. Standard library only.

usage: tools/make-python-api.py HEADER... > _api.py     what a header includes of its folder comes before it

Reads the plain C that include/medley/ is written in, and refuses what it does not understand: a declaration that got
lost would be found by nobody. tests/python/layout.py compares every struct with what the compiler makes of it.
"""
import os
import re
import sys

SCALARS = {
    'int': 'c_int', 'unsigned': 'c_uint', 'bool': 'c_bool', 'char': 'c_char', 'float': 'c_float', 'double': 'c_double',
    'size_t': 'c_size_t', **{f'{u}int{n}_t': f'c_{u}int{n}' for u in ('', 'u') for n in (8, 16, 32, 64)},
}


def plain(text):
    """A header without comments, preprocessor lines and the braces of extern "C"."""
    text = re.sub(r'/\*.*?\*/|//[^\n]*', ' ', text, flags=re.S)
    text = re.sub(r'^[ \t]*#(?:.*\\\n)*.*$', '', text, flags=re.M)
    text = re.sub(r'extern\s*"C"\s*\{', '', text)
    return re.sub(r'MD_(API|MUST_USE|PRINTF\([^)]*\))', '', text)


def statements(text):
    """Declarations of a header, each without its semicolon."""
    depth, start = 0, 0
    for i, c in enumerate(text):
        depth += (c == '{') - (c == '}')
        if depth < 0:  # the closing brace of extern "C"
            depth, start = 0, i + 1
        if c == ';' and depth == 0:
            yield ' '.join(text[start:i].split())
            start = i + 1
    assert not text[start:].strip(), f'not understood: {text[start:]!r}'


class Api:
    def __init__(self):
        self.constants, self.enums, self.structs, self.opaque, self.callbacks, self.functions = {}, [], {}, set(), {}, {}

    # ---- types ----

    def type(self, c, text_is_bytes=True):
        """ctypes of a C type such as 'const char *const *'."""
        words = re.findall(r'\w+|\*', c)
        words = [w for w in words if w not in ('const', 'struct', 'enum')]
        base, stars = words[0], words[1:].count('*')
        assert words == [base] + ['*'] * stars, f'type not understood: {c!r}'
        if base in self.callbacks:
            assert stars == 1, c
            return base
        if base == 'void':
            if stars == 0:
                return 'None'
            inner, stars = 'c_void_p', stars - 1
        elif base == 'char' and stars:
            # 'const char **' gets text whose length is given beside it: it may hold zero bytes.
            is_out = re.search(r'char\s*\*\s*\*', c)
            ends = text_is_bytes and 'const' in c.split('char')[0] and not is_out
            inner, stars = ('c_char_p' if ends else 'c_void_p'), stars - 1
        elif base in self.opaque:
            assert stars, f'{c!r}: an opaque type by value'
            inner, stars = 'c_void_p', stars - 1
        elif base in self.structs:
            inner = base
        elif base in self.enums:
            inner = 'c_int'
        else:
            assert base in SCALARS, f'type not understood: {c!r}'
            inner = SCALARS[base]
        for _ in range(stars):
            inner = f'POINTER({inner})'
        return inner

    @staticmethod
    def split(declaration):
        """'const int32_t *token' as ('const int32_t *', 'token')."""
        m = re.fullmatch(r'(.*?[\s*])(\w+)', declaration.strip())
        assert m, f'declaration not understood: {declaration!r}'
        return m[1].strip(), m[2]

    def parameters(self, text, **how):
        text = text.strip()
        return [] if text in ('', 'void') else [self.type(self.split(p)[0], **how) for p in text.split(',')]

    def callback(self, result, parameters):
        # Text that a callback gets has a length of its own and no end mark.
        return f'CFUNCTYPE({", ".join([self.type(result)] + self.parameters(parameters, text_is_bytes=False))})'

    # ---- declarations ----

    def enum(self, name, body):
        value = -1
        for item in filter(None, (i.strip() for i in body.split(','))):
            key, _, given = (x.strip() for x in item.partition('='))
            value = int(given, 0) if given else value + 1
            self.constants[key] = value
        if name:
            self.enums.append(name)

    def fields(self, body):
        for field in filter(None, (f.strip() for f in body.split(';'))):
            m = re.fullmatch(r'(.*?)\(\*(\w+)\)\((.*)\)', field)
            if m:
                yield m[2], self.callback(m[1], m[3])
                continue
            first, *others = field.split(',')
            m = re.fullmatch(r'(.*?[\s*])(\w+(?:\[\w+\])*)', first)
            assert m, f'field not understood: {field!r}'
            for declarator in [m[2], *others]:
                stars = declarator.count('*')
                name, *sizes = re.findall(r'\w+', declarator)
                c = self.type((m[1] if declarator == m[2] else m[1].replace('*', '')) + '*' * stars)
                for size in reversed(sizes):
                    c = f'{c} * {self.constants.get(size, size)}'
                yield name, c

    def declare(self, s):
        if not s:
            return
        if m := re.fullmatch(r'(?:typedef )?enum (\w+) \{(.*)\}(?: (\w+))?', s):
            self.enum(m[3] or m[1], m[2])
        elif m := re.fullmatch(r'typedef struct (\w+) \{(.*)\} (\w+)', s):
            self.structs[m[3]] = None  # it may point to itself
            self.structs[m[3]] = list(self.fields(m[2]))
        elif m := re.fullmatch(r'typedef struct (\w+) (\w+)', s):
            self.opaque.add(m[2])
        elif m := re.fullmatch(r'typedef (.*?)(\w+)\((.*)\)', s):
            self.callbacks[m[2]] = None
            self.callbacks[m[2]] = self.callback(m[1], m[3])
        elif m := re.fullmatch(r'(.*?[\s*])(md_\w+)\((.*)\)', s):
            parameters = self.parameters(m[3])
            # Text that is given back with its length need not end in a zero byte.
            sized = 'POINTER(c_size_t)' in parameters
            self.functions[m[2]] = self.type(m[1], text_is_bytes=not sized), parameters
        else:
            raise AssertionError(f'not understood: {s!r}')


def read(api, path, seen):
    if path in seen:
        return
    seen.add(path)
    text = open(path, encoding='utf-8').read()
    for name in re.findall(r'^#include <medley/([\w/]+\.h)>', text, re.M):
        read(api, os.path.join(os.path.dirname(path), name), seen)
    for name, value in re.findall(r'^#define (MD_\w+)\s+(0x[0-9a-fA-F]+|\d+)u?l*$', text, re.M):
        api.constants[name] = int(value, 0)
    try:
        for s in statements(plain(text)):
            api.declare(s)
    except AssertionError as e:
        sys.exit(f'{path}: {e}')


def main():
    api, seen = Api(), set()
    for path in sys.argv[1:]:
        read(api, path, seen)
    out = ['# SPDX-License-Identifier: Apache-2.0', '# Made from the public headers by tools/make-python-api.py.',
           'from ctypes import *', '', '']
    out += [f'{k} = {v:#x}' if v > 0xffffffff else f'{k} = {v}' for k, v in api.constants.items()]
    out += ['', '']
    for name in api.structs:
        out += [f'class {name}(Structure):', '    pass', '', '']
    out += [f'{name} = {c}' for name, c in api.callbacks.items()]
    for name, fields in api.structs.items():
        out += ['', f'{name}._fields_ = [', *(f"    ('{f}', {c})," for f, c in fields), ']']
    out += ['', 'STRUCTS = [' + ', '.join(api.structs) + ']', '', 'FUNCTIONS = {']
    out += [f"    '{name}': ({result}, [{', '.join(p)}])," for name, (result, p) in api.functions.items()]
    print('\n'.join(out + ['}']))


if __name__ == '__main__':
    main()
