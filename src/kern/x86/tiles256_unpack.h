/* SPDX-License-Identifier: Apache-2.0
 *
 * Tiles of the types with blocks of 256, taken apart in registers: lane r of a vector is row r of the tile. A "quad" is four
 * neighbouring columns, one 32-bit lane a row. Codes come out unsigned, larger by the type's offset; scales come out as pairs
 * of 16 bits, ready for the widening multiply. Everything here is inlined with a constant type. Layouts: dtype/expand_k.h. */
#ifndef MD_KERN_X86_TILES256_UNPACK_H
#define MD_KERN_X86_TILES256_UNPACK_H

#include "dtype/expand_base.h"
#include "kern/x86/dot.h"

/* TEMPLATE: a function that is inlined with constant arguments. UNROLL: a loop whose arrays must become registers. Under a
 * sanitizer, which adds its checks to every copy, both are what they look like: else compilers take minutes. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
#define SANITIZED 1
#elif defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SANITIZED 0
#endif
#if SANITIZED
#define TEMPLATE static __attribute__((noinline))
#define UNROLL
#else
#define TEMPLATE MD_INLINE
#define UNROLL   _Pragma("GCC unroll 16")
#endif

/* What one block of eight rows is scaled with. */
typedef struct scales256 {
    __m256i sub[16]; /* of each group: its sub-scale, twice; not set for ternary types */
    __m256i low[8];  /* of each two groups: their minima, or their sub-scales */
    __m256 d, dmin;  /* dmin: types with minima only */
} scales256;

/* Blocks of a type: constants of a template. */
typedef struct shape256 {
    md_type type;
    int group;   /* quads that share a sub-scale: 8 or 4; ternary types: all of them do */
    int depth;   /* quads whose products add up within 16 bits; 0: codes are signed, and products of two do already */
    int pairs;   /* vectors of scales256.low: 4 with groups of 32 columns, 8 with groups of 16, 0: none */
    int offset;  /* codes are larger by 2 to this; -1: they are not */
    int minima;  /* low holds minima */
    int ternary; /* all sub-scales are 1 */
} shape256;

/* IQ4_XS meets dpbusd with its values moved up by 128. */
TEMPLATE shape256 shape256_of(md_type t)
{
    switch (t) {
    case MD_TYPE_Q2_K: return (shape256){t, 4, 4, 8, -1, 1, 0};
    case MD_TYPE_Q3_K: return (shape256){t, 4, 4, 8, 2, 0, 0};
    case MD_TYPE_Q4_K: return (shape256){t, 8, 8, 4, -1, 1, 0};
    case MD_TYPE_Q5_K: return (shape256){t, 8, 4, 4, -1, 1, 0};
    case MD_TYPE_Q6_K: return (shape256){t, 4, 2, 8, 5, 0, 0};
    case MD_TYPE_IQ4_XS: return MD_VNNI ? (shape256){t, 8, 1, 4, 7, 0, 0} : (shape256){t, 8, 0, 0, -1, 0, 0};
    default: return (shape256){t, 64, 16, 0, 0, 0, 1}; /* TQ1_0, TQ2_0 */
    }
}

/* Word w of a block of a tile: 4 bytes of each of its rows. */
TEMPLATE __m256i word256(const char *block, int w)
{
    return md_in_order(md_vec(block + 32 * w));
}

TEMPLATE __m256i bits256(__m256i v, int shift, int mask)
{
    return _mm256_and_si256(shift > 0 ? _mm256_srli_epi16(v, shift) : v, _mm256_set1_epi8((char)mask));
}

/* A field of `mask` whose lowest bit is bit `from` of a byte, moved to bit `to`. */
TEMPLATE __m256i move256(__m256i v, int from, int to, int mask)
{
    const __m256i at = from > to ? _mm256_srli_epi16(v, from - to) : from < to ? _mm256_slli_epi16(v, to - from) : v;
    return _mm256_and_si256(at, _mm256_set1_epi8((char)(mask << to)));
}

/* ---- codes ---- */

/* The words of a block are visited in steps. A step gives `n` quads: first, first + apart, first + 2 apart... */
typedef struct step256 {
    int first, apart, n;
} step256;

TEMPLATE int steps256(md_type t)
{
    switch (t) {
    case MD_TYPE_Q4_K:
    case MD_TYPE_Q5_K:
    case MD_TYPE_IQ4_XS: return 32;
    case MD_TYPE_TQ1_0: return 13;
    default: return 16;
    }
}

TEMPLATE step256 step256_of(md_type t, int s)
{
    switch (t) {
    case MD_TYPE_Q4_K:
    case MD_TYPE_Q5_K: return (step256){s / 8 * 16 + s % 8, 8, 2};
    case MD_TYPE_IQ4_XS: return (step256){s / 4 * 8 + s % 4, 4, 2};
    case MD_TYPE_TQ1_0: return s < 8 ? (step256){s, 8, 5} : s < 12 ? (step256){40 + s - 8, 4, 5} : (step256){60, 1, 4};
    default: return (step256){s / 8 * 32 + s % 8, 8, 4};
    }
}

/* The base-3 digit right behind the point of each byte, as in md_digit3: floor(3 x / 256), by two rounded means. */
TEMPLATE __m256i digit256(__m256i x)
{
    const __m256i half = _mm256_avg_epu8(_mm256_subs_epu8(x, _mm256_set1_epi8(3)), _mm256_setzero_si256());
    return bits256(_mm256_avg_epu8(x, half), 6, 3);
}

/* Values of IQ4_XS as dpbusd wants them: 128 larger, unsigned. */
TEMPLATE __m256i up256(__m256i v)
{
    return MD_VNNI ? _mm256_xor_si256(v, _mm256_set1_epi8(-128)) : v;
}

/* Codes of step s of the block whose words begin at w. */
TEMPLATE void codes256(md_type t, const char *w, int s, __m256i code[5])
{
    const int h = s / 8, l = s % 8;
    if (t == MD_TYPE_Q4_K) {
        const __m256i q = word256(w, 4 + s);
        code[0] = bits256(q, 0, 15);
        code[1] = bits256(q, 4, 15);
    } else if (t == MD_TYPE_Q5_K) {
        const __m256i q = word256(w, 12 + s), fifth = word256(w, 4 + l);
        code[0] = _mm256_or_si256(bits256(q, 0, 15), move256(fifth, 2 * h, 4, 1));
        code[1] = _mm256_or_si256(bits256(q, 4, 15), move256(fifth, 2 * h + 1, 4, 1));
    } else if (t == MD_TYPE_Q6_K) {
        const __m256i a = word256(w, 16 * h + l), b = word256(w, 16 * h + 8 + l), high = word256(w, 32 + s);
        code[0] = _mm256_or_si256(bits256(a, 0, 15), move256(high, 0, 4, 3));
        code[1] = _mm256_or_si256(bits256(b, 0, 15), move256(high, 2, 4, 3));
        code[2] = _mm256_or_si256(bits256(a, 4, 15), move256(high, 4, 4, 3));
        code[3] = _mm256_or_si256(bits256(b, 4, 15), move256(high, 6, 4, 3));
    } else if (t == MD_TYPE_IQ4_XS) {
        const __m256i q = word256(w, 2 + s);
        code[0] = up256(md_lookup(md_iq4_values, md_low_nibbles(q)));
        code[1] = up256(md_lookup(md_iq4_values, md_high_nibbles(q)));
    } else if (t == MD_TYPE_TQ1_0) {
        __m256i x = word256(w, s);
        for (int i = 0; i < 5; i++) {
            code[i] = digit256(x);
            x = _mm256_add_epi8(_mm256_add_epi8(x, x), x);
        }
    } else { /* two bits: Q2_K, Q3_K, TQ2_0 */
        const __m256i q = word256(w, (t == MD_TYPE_Q2_K ? 4 : t == MD_TYPE_Q3_K ? 8 : 0) + s);
        UNROLL for (int i = 0; i < 4; i++) code[i] = bits256(q, 2 * i, 3);
        if (t == MD_TYPE_Q3_K)
            UNROLL for (int i = 0; i < 4; i++)
                code[i] = _mm256_or_si256(code[i], move256(word256(w, l), 4 * h + i, 2, 1));
    }
}

/* ---- scales ---- */

/* Bytes i and j of each lane as a pair of 16 bits; -1: 0. */
TEMPLATE __m256i pair256(__m256i v, int i, int j)
{
    const int lane = (i & 255) | 0xff00 | j << 16 | (int)0xff000000;
    const __m256i base = _mm256_setr_epi32(0, 0x00040004, 0x00080008, 0x000c000c, 0, 0x00040004, 0x00080008,
                                           0x000c000c);
    return _mm256_shuffle_epi8(v, _mm256_or_si256(base, _mm256_set1_epi32(lane)));
}

/* Likewise as signed numbers. */
TEMPLATE __m256i signed_pair256(__m256i v, int i, int j)
{
    const __m256i base = _mm256_setr_epi32(0, 0x04000400, 0x08000800, 0x0c000c00, 0, 0x04000400, 0x08000800,
                                           0x0c000c00);
    const __m256i up = _mm256_shuffle_epi8(
        v, _mm256_or_si256(base, _mm256_set1_epi32(0xff | i << 8 | 0xff << 16 | j << 24)));
    return _mm256_srai_epi16(up, 8);
}

/* Scales and minima of Q4_K and Q5_K, as in md_scales_k. */
TEMPLATE void scales_q4_k(const char *w, scales256 *s)
{
    const __m256i d = word256(w, 0), a = word256(w, 1), b = word256(w, 2), c = word256(w, 3);
    const __m256i six = _mm256_set1_epi32(0x3f3f3f3f), top = _mm256_set1_epi32(0x30303030);
    const __m256i sub[2] = {
        _mm256_and_si256(a, six),
        _mm256_or_si256(bits256(c, 0, 15), _mm256_and_si256(_mm256_srli_epi32(a, 2), top)),
    };
    const __m256i min[2] = {
        _mm256_and_si256(b, six),
        _mm256_or_si256(bits256(c, 4, 15), _mm256_and_si256(_mm256_srli_epi32(b, 2), top)),
    };
    UNROLL for (int g = 0; g < 8; g++) s->sub[g] = pair256(sub[g / 4], g % 4, g % 4);
    UNROLL for (int g = 0; g < 4; g++) s->low[g] = pair256(min[g / 2], g % 2 * 2, g % 2 * 2 + 1);
    s->d = md_low_halves(d);
    s->dmin = md_high_halves(d);
}

TEMPLATE void scales_q2_k(const char *w, scales256 *s)
{
    UNROLL for (int i = 0; i < 4; i++)
    {
        const __m256i both = word256(w, i), sub = bits256(both, 0, 15), min = bits256(both, 4, 15);
        UNROLL for (int g = 0; g < 4; g++) s->sub[4 * i + g] = pair256(sub, g, g);
        s->low[2 * i] = pair256(min, 0, 1);
        s->low[2 * i + 1] = pair256(min, 2, 3);
    }
    s->d = md_low_halves(word256(w, 20));
    s->dmin = md_high_halves(word256(w, 20));
}

/* Sub-scales 4 i to 4 i + 3, signed bytes. */
TEMPLATE void scales_signed(__m256i v, int i, scales256 *s)
{
    UNROLL for (int g = 0; g < 4; g++) s->sub[4 * i + g] = signed_pair256(v, g, g);
    s->low[2 * i] = signed_pair256(v, 0, 1);
    s->low[2 * i + 1] = signed_pair256(v, 2, 3);
}

TEMPLATE void scales_q6_k(const char *block, const char *w, scales256 *s)
{
    UNROLL for (int i = 0; i < 4; i++) scales_signed(word256(w, 48 + i), i, s);
    s->d = md_halves(block);
}

TEMPLATE void scales_q3_k(const char *block, const char *w, scales256 *s)
{
    const __m256i high = word256(w, 26), less = _mm256_set1_epi8(32);
    UNROLL for (int i = 0; i < 4; i++)
    {
        const __m256i low = bits256(word256(w, 24 + i % 2), i / 2 * 4, 15);
        scales_signed(_mm256_sub_epi8(_mm256_or_si256(low, move256(high, 2 * i, 4, 3)), less), i, s);
    }
    s->d = md_halves(block);
}

TEMPLATE void scales_iq4_xs(const char *w, scales256 *s)
{
    const __m256i first = word256(w, 0), low = word256(w, 1), less = _mm256_set1_epi8(32);
    /* scales_h: 16 bits, a pair for each group. Its bytes 0, 0, 0, 0 or 1, 1, 1, 1 meet one place a byte. */
    UNROLL for (int i = 0; i < 2; i++)
    {
        const __m256i base = _mm256_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0, 0x04040404, 0x08080808,
                                               0x0c0c0c0c);
        const __m256i h = _mm256_shuffle_epi8(first, _mm256_or_si256(base, _mm256_set1_epi8((char)(2 + i))));
        const __m256i even = _mm256_or_si256(_mm256_and_si256(_mm256_slli_epi16(h, 4), _mm256_set1_epi32(0x30)),
                                             _mm256_and_si256(h, _mm256_set1_epi32(0x300000)));
        const __m256i odd = _mm256_or_si256(_mm256_and_si256(_mm256_slli_epi16(h, 2), _mm256_set1_epi32(0x3000)),
                                            _mm256_and_si256(_mm256_srli_epi16(h, 2), _mm256_set1_epi32(0x30000000)));
        const __m256i l = pair256(low, 2 * i, 2 * i + 1); /* bytes: two scales, 0, two scales, 0 */
        const __m256i nibbles = _mm256_and_si256(_mm256_or_si256(l, _mm256_slli_epi16(l, 4)), _mm256_set1_epi8(15));
        const __m256i v = _mm256_sub_epi8(_mm256_or_si256(nibbles, _mm256_or_si256(even, odd)), less);
        scales_signed(v, i, s);
    }
    s->d = md_low_halves(first);
}

/* block: heads first, where there are any; w: its words. */
TEMPLATE void scales256_of(md_type t, const char *block, const char *w, scales256 *s)
{
    switch (t) {
    case MD_TYPE_Q2_K: scales_q2_k(w, s); break;
    case MD_TYPE_Q3_K: scales_q3_k(block, w, s); break;
    case MD_TYPE_Q4_K:
    case MD_TYPE_Q5_K: scales_q4_k(w, s); break;
    case MD_TYPE_Q6_K: scales_q6_k(block, w, s); break;
    case MD_TYPE_IQ4_XS: scales_iq4_xs(w, s); break;
    default: s->d = md_halves(block); break;
    }
}

#endif
