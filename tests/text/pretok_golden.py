#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes pretok_golden.txt: what splitting rules make of random texts, by the patterns that the models' publishers
state, run by the engine that their tokenizers run in (the Python package `tokenizers`), not by ours.

usage: pretok_golden.py [--seed N] [--texts N] >pretok_golden.txt

A line is: rule, tab, text in Python's ascii() escapes, tab, byte lengths of the words. Texts use characters that
Unicode 9 has, so that the tables of either side need not be equally new.
"""
import argparse
import random
import sys

from tokenizers import Regex, pre_tokenizers as pre

SHORT = r"'s|'t|'re|'ve|'m|'ll|'d"
ANY_SHORT = f'(?i:{SHORT})'
ENDS = r'\s*[\r\n]+|\s+(?!\S)|\s+'
LLAMA3 = ANY_SHORT + r'|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|' + ENDS
QWEN2 = LLAMA3.replace('{1,3}', '')
UP, LOW = r'[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]', r'[\p{Ll}\p{Lm}\p{Lo}\p{M}]'


def cased(tail, digits, signs=r'[\r\n/]*', up=UP, low=LOW):
    sign = r'[^\r\n\p{L}\p{N}]?'
    return f'{sign}{up}*{low}+{tail}|{sign}{up}+{low}*{tail}|{digits}' + r'| ?[^\s\p{L}\p{N}]+' + f'{signs}|{ENDS}'


O200K = cased(ANY_SHORT + '?', r'\p{N}{1,3}')
CJK = '[一-龥぀-ゟ゠-ヿ]+'
PUNCT_WORD = r'[!"#$%&' + r"'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"
DEEPSEEK3 = PUNCT_WORD + r'|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|' + ENDS
LATIN = (r'A-Za-z\x{b5}\x{c0}-\x{d6}\x{d8}-\x{f6}\x{f8}-\x{1ba}\x{1bc}-\x{1bf}\x{1c4}-\x{293}\x{295}-\x{2af}\x{370}'
         r'-\x{373}\x{376}\x{377}\x{37b}-\x{37d}\x{37f}\x{386}\x{388}-\x{38a}\x{38c}\x{38e}-\x{3a1}\x{3a3}-\x{3f5}'
         r'\x{3f7}-\x{481}\x{48a}-\x{52f}\x{531}-\x{556}\x{10a0}-\x{10c5}\x{13a0}-\x{13f5}\x{13f8}-\x{13fd}\x{1c90}'
         r'-\x{1cba}\x{1cbd}-\x{1cbf}\x{1d00}-\x{1d2b}\x{1d6b}-\x{1d77}\x{1d79}-\x{1d9a}\x{1e00}-\x{1f15}\x{1f18}-'
         r'\x{1f1d}\x{1f20}-\x{1f45}\x{1f48}-\x{1f4d}\x{1f50}-\x{1f57}\x{1f59}\x{1f5b}\x{1f5d}\x{1f5f}-\x{1f7d}'
         r'\x{1f80}-\x{1fb4}\x{1fb6}-\x{1fbc}\x{1fbe}\x{1fc2}-\x{1fc4}\x{1fc6}-\x{1fcc}\x{1fd0}-\x{1fd3}\x{1fd6}-'
         r'\x{1fdb}\x{1fe0}-\x{1fec}\x{1ff2}-\x{1ff4}\x{1ff6}-\x{1ffc}\x{2102}\x{2107}\x{210a}-\x{2113}\x{2115}'
         r'\x{2119}-\x{211d}\x{2124}\x{2126}\x{2128}\x{212a}-\x{212d}\x{212f}-\x{2134}\x{2139}\x{213c}-\x{213f}'
         r'\x{2145}-\x{2149}\x{214e}\x{2183}\x{2184}\x{2c00}-\x{2c7b}\x{2c7e}-\x{2ce4}\x{2ceb}-\x{2cee}\x{2cf2}'
         r'\x{2cf3}\x{a640}-\x{a66d}\x{a680}-\x{a69b}\x{a722}-\x{a76f}\x{a771}-\x{a787}\x{a78b}-\x{a78e}\x{ab70}-'
         r'\x{abbf}\x{fb00}-\x{fb06}\x{fb13}-\x{fb17}\x{ff21}-\x{ff3a}\x{ff41}-\x{ff5a}\x{10400}-\x{1044f}\x{104b0}'
         r'-\x{104d3}\x{104d8}-\x{104fb}\x{10c80}-\x{10cb2}\x{10cc0}-\x{10cf2}\x{118a0}-\x{118df}\x{1e900}-'
         r'\x{1e943}')
OLD_CJK = '[一-龥ࠀ-一가-퟿]+'
NOT_HAN = '&&[^\\p{Han}]]'
KIMI = r'\p{Han}+|' + cased(ANY_SHORT + '?', r'\p{N}{1,3}', r'[\r\n]*', UP[:-1] + NOT_HAN, LOW[:-1] + NOT_HAN)
WIDTHS = '|'.join(r'\s{%s}(?!\S)' % w for w in ('512', '256', '128', '64', '32', '16', '8', '4', '1,2'))
BLOOM = ' ?[^(\\s|.,!?…。，、।۔،)]+'


def split(*patterns):
    return [pre.Split(Regex(p), 'isolated') for p in patterns]


GPT2 = [pre.ByteLevel(add_prefix_space=False, use_regex=True)]
DIGITS = [pre.Digits(individual_digits=True)]
RULES = {
    'gpt-2': GPT2,
    'smollm': DIGITS + GPT2,
    'llama-bpe': split(LLAMA3),
    'qwen2': split(QWEN2),
    'qwen35': split(QWEN2.replace(r'?\p{L}+', r'?[\p{L}\p{M}]+').replace(r'[^\s\p{L}\p{N}]+[', r'[^\s\p{L}\p{M}\p{N}]+[')),
    'jais-2': split(LLAMA3.replace(r'\s+(?!\S)|\s+', WIDTHS + r'|\s{1}')),
    'minicpm5': split(r'\p{N}{1,3}', LLAMA3.replace('{1,3}', '+')),
    'laguna': split(r'[^\n]+|[\n]+', QWEN2),
    'ufakzeka': split(QWEN2[len(ANY_SHORT) + 1:]),
    'seed-coder': split(ANY_SHORT + r'|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|' + ENDS),
    'bailingmoe': split(r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|"
                        r'\s+(?!\S)|\s+'),
    'exaone-moe': split(ANY_SHORT + r'|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+'
                        r'[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+'),
    'gpt-4o': split(O200K),
    'tekken': split(cased('', r'\p{N}')),
    'tiny_aya': split(r'\d{1,3}(?=(?:\d{3})*\b)', O200K),
    'youtu': split('[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|' + CJK, cased(ANY_SHORT + '?', r'\p{N}')),
    'kimi-k2': split(KIMI),
    'deepseek-llm': split(r'[\r\n]', rf'\s?[{LATIN}]+', r'\s?[!-/:-~！-／：-～‘-‟　-。]+', r'\s+$', OLD_CJK) + DIGITS,
    'deepseek-coder': split(r'[\r\n]', r'\s?\p{L}+', r'\s?\p{P}+', OLD_CJK) + DIGITS,
    'deepseek-v3': split(r'\p{N}{1,3}', CJK, DEEPSEEK3),
    'bloom': split(BLOOM),
    'viking': split(BLOOM) + DIGITS,
    'superbpe': split(r'\p{N}+', r'(?=(\d{3})+(?!\d))'),
}

POOLS = [(0x20, 0x7f), (0x20, 0x7f), (0x20, 0x7f), (0xa0, 0x250), (0x300, 0x370), (0x391, 0x3c9), (0x410, 0x450),
         (0x5d0, 0x5eb), (0x620, 0x650), (0x660, 0x66a), (0x905, 0x950), (0x966, 0x970), (0xe01, 0xe3b), (0x1100, 0x1113),
         (0x1e00, 0x1f16), (0x2000, 0x2065), (0x2070, 0x2072), (0x2160, 0x2189), (0x2200, 0x2300), (0x3000, 0x3040),
         (0x3041, 0x3097), (0x30a0, 0x3100), (0x3105, 0x312e), (0x4e00, 0x4f00), (0xac00, 0xad00), (0xf900, 0xfa00),
         (0xfb00, 0xfb07), (0xfe30, 0xfe50), (0xff01, 0xff5f), (0x10400, 0x10450), (0x1d400, 0x1d450), (0x1f600, 0x1f640)]
PLAIN = ["'s", "'T", "'ll", "'LL", 'ab', 'Ab', 'AB', 'xY', 'é', 'e\u0301', '1', '12', '123', '2024', '٣', '²', ' ', ' ', '  ', '\t',
         '\n', '\r\n', '\n\n', ' \n', '/', '.', ', ', '!?', '(', '_', '漢', '字', 'かな', '한', 'ǅ', 'ʰ', '、', '⁰', 'Ⅷ', 'Ⓐ', '\u3000', '\x85', '\xa0']


def text(rng):
    if rng.random() < 0.6:
        return ''.join(rng.choice(PLAIN) for _ in range(rng.randint(1, 14)))
    return ''.join(rng.choice(['', '', ' ', '\n']) + chr(rng.randrange(*rng.choice(POOLS))) for _ in range(rng.randint(1, 16)))


def words(steps, s):
    """Byte lengths of the words; the byte alphabet that one step writes is of no interest, only where it cuts."""
    at = [len(s[:i].encode()) for i in range(len(s) + 1)]
    return [at[end] - at[begin] for _, (begin, end) in pre.Sequence(steps).pre_tokenize_str(s) if end > begin]


def main():
    args = argparse.ArgumentParser()
    args.add_argument('--seed', type=int, default=1)
    args.add_argument('--texts', type=int, default=40)
    args = args.parse_args()
    rng = random.Random(args.seed)
    for rule, steps in RULES.items():
        for _ in range(args.texts):
            s = text(rng)
            print(rule, ascii(s)[1:-1].replace("\\'", "'"), ' '.join(map(str, words(steps, s))), sep='\t')


if __name__ == '__main__':
    sys.exit(main())
