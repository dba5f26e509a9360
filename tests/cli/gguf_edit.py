# SPDX-License-Identifier: Apache-2.0
"""Takes a GGUF file apart and puts it together wrongly: how the cases of broken models are made.

Reads version 3 files as `medley synth` writes them. Values stay raw bytes; only what an edit touches is understood.
"""
import struct

U32, F32, STRING, ARRAY = 4, 6, 8, 9
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


def string(text):
    raw = text.encode()
    return struct.pack('<Q', len(raw)) + raw


class Gguf:
    def __init__(self, raw):
        self.raw = raw
        self.at = 4
        self.magic = raw[:4]
        self.version, n_tensors, n_kv = struct.unpack_from('<IQQ', raw, 4)
        self.claims = {}  # counts to write in place of the true ones
        self.at = 24
        self.kv = []  # [key, type, raw value]
        self.ends = {'header': 24}
        for _ in range(n_kv):
            key = self._string()
            kind = self._number('<I')
            start = self.at
            self._skip(kind)
            self.kv.append([key, kind, raw[start:self.at]])
        self.ends['metadata'] = self.at
        self.tensors = []  # [name, dims, type, offset]
        for _ in range(n_tensors):
            name = self._string()
            dims = [self._number('<Q') for _ in range(self._number('<I'))]
            kind, offset = self._number('<I'), self._number('<Q')
            self.tensors.append([name, dims, kind, offset])
        self.ends['tensors'] = self.at
        self.align = 32
        self.start = (self.at + self.align - 1) // self.align * self.align
        self.data = bytearray(raw[self.start:])
        self.ends['data'] = len(raw)

    def _number(self, fmt):
        value, = struct.unpack_from(fmt, self.raw, self.at)
        self.at += struct.calcsize(fmt)
        return value

    def _string(self):
        n = self._number('<Q')
        self.at += n
        return self.raw[self.at - n:self.at].decode()

    def _skip(self, kind):
        if kind == STRING:
            self._string()
        elif kind == ARRAY:
            inner, n = self._number('<I'), self._number('<Q')
            if inner in SIZES:
                self.at += SIZES[inner] * n
            else:
                for _ in range(n):
                    self._skip(inner)
        else:
            self.at += SIZES[kind]

    def write(self):
        out = bytearray(self.magic)
        out += struct.pack('<IQQ', self.version, self.claims.get('tensors', len(self.tensors)),
                           self.claims.get('kv', len(self.kv)))
        for key, kind, value in self.kv:
            out += string(key) + struct.pack('<I', kind) + value
        for name, dims, kind, offset in self.tensors:
            out += string(name) + struct.pack('<I', len(dims)) + b''.join(struct.pack('<Q', d) for d in dims)
            out += struct.pack('<IQ', kind, offset)
        out += bytes(-len(out) % self.align)
        return bytes(out + self.data)

    def _tensor(self, name):
        return next(t for t in self.tensors if t[0] == name)

    # Edits, by the name that the case files use. Arguments are texts.

    def edit_magic(self, text):
        self.magic = text.encode()

    def edit_version(self, number):
        self.version = int(number)

    def edit_claim(self, what, number):
        self.claims[what] = int(number)

    def edit_drop_key(self, key):
        kept = [x for x in self.kv if x[0] != key]
        assert len(kept) < len(self.kv), key
        self.kv = kept

    def edit_set(self, key, kind, value):
        raw = {'u32': lambda: (U32, struct.pack('<I', int(value))), 'f32': lambda: (F32, struct.pack('<f', float(value))),
               'string': lambda: (STRING, string(value))}[kind]()
        for x in self.kv:
            if x[0] == key:
                x[1:] = raw
                return
        self.kv.append([key, *raw])

    def edit_kind(self, key, number):
        next(x for x in self.kv if x[0] == key)[1] = int(number)

    def edit_twice_key(self, key):
        self.kv.append(next(x for x in self.kv if x[0] == key))

    def edit_drop_tensor(self, name):
        self.tensors.remove(self._tensor(name))

    def edit_rename(self, name, to):
        self._tensor(name)[0] = to

    def edit_type(self, name, number):
        self._tensor(name)[2] = int(number)

    def edit_shape(self, name, *dims):
        self._tensor(name)[1] = [int(d) for d in dims]

    def edit_offset(self, name, number):
        self._tensor(name)[3] = int(number)

    def edit_f32(self, name, index, value):
        struct.pack_into('<f', self.data, self._tensor(name)[3] + 4 * int(index), float(value))


def make(source, edits):
    """The bytes of a model after edits, each a list of words; `cut SECTION` or `cut N` comes last."""
    raw = open(source, 'rb').read()
    g = Gguf(raw)
    for name, *args in edits:
        if name == 'cut':
            raw = g.write()
            ends = Gguf(raw).ends
            sections = list(ends)
            if args[0] in ends:  # in the middle of the section
                i = sections.index(args[0])
                return raw[:(ends[args[0]] + (ends[sections[i - 1]] if i else 0)) // 2]
            return raw[:int(args[0])]
        getattr(g, 'edit_' + name)(*args)
    return g.write()
