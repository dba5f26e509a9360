/* SPDX-License-Identifier: Apache-2.0
 *
 * Products of many tokens with tiles of the types of Q32 (docs/numerics.md, section 4). A strip of columns of two tiles is
 * unpacked once and meets a panel of tokens in groups of four: sixteen rows by four tokens are eight sums in registers.
 * Between strips the sums so far wait in the output. Offsets of codes are taken off where a sum begins, which also keeps its 16
 * bits from overflowing at the end: what lies between may wrap, as the steps are modular, and |code| is at most 16:
 * 16 * 16 * 127 = 32512. */
#include "kern/x86/tiles32.h"
#include "kern/x86/tiles32_unpack.h"

enum {
    STRIP = 8,   /* groups of 32 columns */
    PANEL = 16,  /* groups of tokens */
    CHUNK = 256, /* rows whose sums are under way at a time */
    COLS = STRIP * 32,
};

/* A strip of one or two tiles. Codes of eight bits are widened to 16 where there is no VNNI: pairs of columns, not quads. */
typedef struct strip32 {
    uint8_t code[COLS * 2 * MD_TILE_ROWS * 2]; /* (quads or pairs, tiles, rows, 4 bytes) */
    float d[STRIP * 2 * 2 * MD_TILE_ROWS];     /* (groups, halves, tiles, rows) */
    float m[STRIP * 2 * MD_TILE_ROWS];         /* (groups, tiles, rows) */
} strip32;

/* The same columns of four tokens. */
typedef struct group32 {
    const int8_t *row[MD_GROUP];
    int8_t pair[COLS * MD_GROUP * 2]; /* codes of 16 bits, where weights have them: (pairs, tokens, 4 bytes) */
    float scale[STRIP * MD_GROUP];    /* (groups, tokens) */
    float sum[STRIP * MD_GROUP];      /* likewise */
    int32_t start[STRIP * 2 *
                  MD_GROUP]; /* (groups, halves, tokens): what a sum begins with, two numbers of 16 bits or one */
} group32;

/* Where sums go. */
typedef struct target {
    float *out;
    int64_t ld;
    bool first; /* nothing is there yet */
} target;

/* ---- sixteen rows by four tokens ---- */

/* part[t * tiles + i] = part + the dot of `quads` quads from column c on: weights w (quads, tiles, 32 bytes). */
MD_INLINE void dot_quads(__m256i part[], const uint8_t *w, const int8_t *const row[], int c, int quads, int tiles,
                         int n_tokens)
{
#pragma GCC unroll 8
    for (int j = 0; j < quads; j++) {
        __m256i wj[2];
#pragma GCC unroll 2
        for (int i = 0; i < tiles; i++)
            wj[i] = md_vec(w + 32 * (j * tiles + i));
#pragma GCC unroll 4
        for (int t = 0; t < n_tokens; t++) {
            const __m256i at = md_quad(row[t] + c + 4 * j);
#pragma GCC unroll 2
            for (int i = 0; i < tiles; i++)
                part[t * tiles + i] = md_dot_u8(part[t * tiles + i], wj[i], at);
        }
    }
}

/* part[t * tiles + i] = part + the dot of 32 columns in 16-bit codes. */
MD_INLINE void dot_pairs(__m256i part[], const uint8_t *w, const int8_t *a, int tiles, int n_tokens)
{
#pragma GCC unroll 16
    for (int j = 0; j < 16; j++)
#pragma GCC unroll 4
        for (int t = 0; t < n_tokens; t++) {
            const __m256i at = md_quad(a + j * MD_GROUP_QUAD + 4 * t);
#pragma GCC unroll 2
            for (int i = 0; i < tiles; i++)
                part[t * tiles + i] = md_dot_i16(part[t * tiles + i], md_vec(w + 32 * (j * tiles + i)), at);
        }
}

/* The sums of group g, or of half of it. */
MD_INLINE void sums_of(kind32 kind, __m256i part[], const strip32 *s, const group32 *a, int g, int half, int tiles,
                       int n_tokens)
{
    const int n = tiles * n_tokens, halves = 1 + kind.halves, quads = 8 / halves;
#pragma GCC unroll 8
    for (int i = 0; i < n; i++)
        part[i] = kind.offset ? md_quad(a->start + (g * halves + half) * MD_GROUP + i / tiles) : _mm256_setzero_si256();
    if (kind.has_sign) {
        dot_pairs(part, s->code + g * 512 * tiles, a->pair + g * 256, tiles, n_tokens);
        return;
    }
    const uint8_t *w = s->code + (g * 256 + half * 128) * tiles;
    dot_quads(part, w, a->row, g * 32 + half * 16, quads, tiles, n_tokens);
#pragma GCC unroll 8
    for (int i = 0; i < n; i++)
        part[i] = md_part_sums(part[i]);
    if (kind.add_back)
#pragma GCC unroll 8
        for (int i = 0; i < n; i++)
            part[i] = _mm256_sub_epi32(part[i], md_part_sums(md_quad(a->start + g * MD_GROUP + i / tiles)));
}

MD_INLINE void multiply_block(kind32 kind, const strip32 *s, const group32 *a, int n_groups, int tiles, int n_tokens,
                              target to)
{
    const int halves = 1 + kind.halves;
    __m256 acc[2 * MD_GROUP];
#pragma GCC unroll 8
    for (int i = 0; i < tiles * n_tokens; i++)
        acc[i] = to.first ? _mm256_setzero_ps()
                          : _mm256_loadu_ps(to.out + i / tiles * to.ld + i % tiles * MD_TILE_ROWS);
    for (int g = 0; g < n_groups; g++) {
#pragma GCC unroll 2
        for (int h = 0; h < halves; h++) {
            __m256i sum[2 * MD_GROUP];
            sums_of(kind, sum, s, a, g, h, tiles, n_tokens);
#pragma GCC unroll 8
            for (int i = 0; i < tiles * n_tokens; i++) {
                const __m256 d_a = _mm256_broadcast_ss(a->scale + g * MD_GROUP + i / tiles);
                const __m256 d_w = _mm256_loadu_ps(s->d + ((g * halves + h) * tiles + i % tiles) * MD_TILE_ROWS);
                acc[i] = md_step(acc[i], d_w, d_a, sum[i]);
            }
        }
        if (kind.minima)
#pragma GCC unroll 8
            for (int i = 0; i < tiles * n_tokens; i++) {
                const __m256 s_a = _mm256_broadcast_ss(a->sum + g * MD_GROUP + i / tiles);
                const __m256 m_w = _mm256_loadu_ps(s->m + (g * tiles + i % tiles) * MD_TILE_ROWS);
                acc[i] = _mm256_fmadd_ps(m_w, s_a, acc[i]);
            }
    }
#pragma GCC unroll 8
    for (int i = 0; i < tiles * n_tokens; i++)
        _mm256_storeu_ps(to.out + i / tiles * to.ld + i % tiles * MD_TILE_ROWS, acc[i]);
}

typedef void multiply_fn(const strip32 *s, const group32 *a, int n_groups, int tiles, int n_tokens, target to);

MD_INLINE void multiply_any(kind32 kind, const strip32 *s, const group32 *a, int n_groups, int tiles, int n_tokens,
                            target to)
{
    switch (tiles * MD_GROUP + n_tokens) {
    case MD_GROUP + 1: multiply_block(kind, s, a, n_groups, 1, 1, to); break;
    case MD_GROUP + 2: multiply_block(kind, s, a, n_groups, 1, 2, to); break;
    case MD_GROUP + 3: multiply_block(kind, s, a, n_groups, 1, 3, to); break;
    case MD_GROUP + 4: multiply_block(kind, s, a, n_groups, 1, 4, to); break;
    case 2 * MD_GROUP + 1: multiply_block(kind, s, a, n_groups, 2, 1, to); break;
    case 2 * MD_GROUP + 2: multiply_block(kind, s, a, n_groups, 2, 2, to); break;
    case 2 * MD_GROUP + 3: multiply_block(kind, s, a, n_groups, 2, 3, to); break;
    default: multiply_block(kind, s, a, n_groups, 2, 4, to); break;
    }
}

/* Once unpacked, types of one kind are alike: each of these stands for all of its kind. */
#define MULTIPLY(name, NAME)                                                                                \
    static __attribute__((noinline)) void name(const strip32 *s, const group32 *a, int n_groups, int tiles, \
                                               int n_tokens, target to)                                     \
    {                                                                                                       \
        multiply_any(kind32_of(MD_TYPE_##NAME), s, a, n_groups, tiles, n_tokens, to);                       \
    }
MULTIPLY(multiply_offset, Q4_0)
MULTIPLY(multiply_halves, NVFP4)
MULTIPLY(multiply_minima, Q4_1)
#if MD_VNNI
#define multiply_minima5 multiply_minima /* there, nothing is added back */
#else
MULTIPLY(multiply_minima5, Q5_1)
MULTIPLY(multiply_sign, Q8_0)
#endif

MD_INLINE multiply_fn *multiply_of(md_type type)
{
    const kind32 kind = kind32_of(type);
#if !MD_VNNI
    if (kind.has_sign)
        return multiply_sign;
#endif
    if (kind.minima)
        return kind.add_back ? multiply_minima5 : multiply_minima;
    return kind.halves ? multiply_halves : multiply_offset;
}

/* ---- unpacking and packing ---- */

/* Four columns of signed bytes as two pairs of 16 bits. */
MD_INLINE void store_pairs(uint8_t *dst, int tiles, __m256i w)
{
    md_vec_store(dst, _mm256_srai_epi16(_mm256_shuffle_epi8(w, lane_bytes(0x01800080u)), 8));
    md_vec_store(dst + 32 * tiles, _mm256_srai_epi16(_mm256_shuffle_epi8(w, lane_bytes(0x03800280u)), 8));
}

/* Group g of the strip, tile i of `tiles`; `part` of its block. */
MD_INLINE void unpack_group(md_type type, strip32 *s, int g, int i, int tiles, const uint8_t *block, int part)
{
    const kind32 kind = kind32_of(type);
    __m256i w[8];
    __m256 d[2], m = _mm256_setzero_ps();
#pragma GCC unroll 4
    for (int step = 0; step < 4; step++) {
        __m256i two[2];
        unpack_codes(type, block, part, step, two);
        w[quad_of(type, step, 0)] = two[0];
        w[quad_of(type, step, 1)] = two[1];
    }
    unpack_scales(type, block, part, d, &m);
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++)
        if (kind.has_sign)
            store_pairs(s->code + 32 * (((g * 8 + j) * 2) * tiles + i), tiles, w[j]);
        else
            md_vec_store(s->code + 32 * ((g * 8 + j) * tiles + i), w[j]);
#pragma GCC unroll 2
    for (int h = 0; h <= kind.halves; h++)
        _mm256_storeu_ps(s->d + ((g * (1 + kind.halves) + h) * tiles + i) * MD_TILE_ROWS, d[h]);
    if (kind.minima)
        _mm256_storeu_ps(s->m + (g * tiles + i) * MD_TILE_ROWS, m);
}

/* `next` bytes on lies what will be wanted soon. */
MD_INLINE void unpack_strip(md_type type, strip32 *s, const uint8_t *tile, size_t tile_bytes, int tiles, int n_groups,
                            size_t next)
{
    const kind32 kind = kind32_of(type);
    for (int i = 0; i < tiles; i++, tile += tile_bytes)
        for (int b = 0; b < n_groups / kind.groups; b++) {
            const uint8_t *block = tile + b * kind.bytes;
            for (int line = 0; line < kind.bytes; line += 64)
                md_prefetch2(block + next + line);
#pragma GCC unroll 4
            for (int part = 0; part < kind.groups; part++)
                unpack_group(type, s, b * kind.groups + part, i, tiles, block, part);
        }
}

/* a + b of sums as md_dot_u8 makes them. */
MD_INLINE __m256i add_parts(__m256i a, __m256i b)
{
    return MD_VNNI ? _mm256_add_epi32(a, b) : _mm256_add_epi16(a, b);
}

/* Minus offset times the sums of 32 columns of four tokens, or of each half of them. */
MD_INLINE void start_sums(kind32 kind, int32_t *start, const int8_t *const row[MD_GROUP], int c)
{
    const __m256i zero = _mm256_setzero_si256(), by = _mm256_set1_epi8((char)kind.offset);
    __m256i v[MD_GROUP];
#pragma GCC unroll 4
    for (int t = 0; t < MD_GROUP; t++)
        v[t] = md_dot_u8(zero, by, md_vec(row[t] + c));
    const __m256i x = add_parts(_mm256_unpacklo_epi32(v[0], v[1]), _mm256_unpackhi_epi32(v[0], v[1])),
                  y = add_parts(_mm256_unpacklo_epi32(v[2], v[3]), _mm256_unpackhi_epi32(v[2], v[3])),
                  sums = add_parts(_mm256_unpacklo_epi64(x, y), _mm256_unpackhi_epi64(x, y));
    const __m256i all = kind.halves ? sums : add_parts(sums, _mm256_permute2x128_si256(sums, sums, 1));
    const __m256i minus = MD_VNNI ? _mm256_sub_epi32(zero, all) : _mm256_sub_epi16(zero, all);
    if (kind.halves)
        md_vec_store(start, minus);
    else
        _mm_storeu_si128((__m128i_u *)start, _mm256_castsi256_si128(minus));
}

/* Groups [first, first + n) of 32 columns of the four tokens row[]. */
MD_INLINE void pack_group(kind32 kind, group32 *p, const md_act *a, const int64_t row[MD_GROUP], int64_t first, int n)
{
    const int64_t n_all = a->k / 32;
    for (int t = 0; t < MD_GROUP; t++)
        p->row[t] = a->code + (row[t] * n_all + first) * 32;
    if (kind.has_sign) {
        int16_t wide[MD_GROUP][COLS];
        const int8_t *bytes[MD_GROUP];
        for (int t = 0; t < MD_GROUP; t++) {
            for (int c = 0; c < n * 32; c += 16)
                md_vec_store(wide[t] + c, _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i_u *)(p->row[t] + c))));
            bytes[t] = (const int8_t *)wide[t];
        }
        md_pack_group(p->pair, bytes, n * 64);
    }
    for (int t = 0; t < MD_GROUP; t++)
        for (int g = 0; g < n; g++) {
            p->scale[g * MD_GROUP + t] = a->scale[row[t] * n_all + first + g];
            if (kind.minima)
                p->sum[g * MD_GROUP + t] = a->sum32[row[t] * n_all + first + g];
        }
    for (int g = 0; kind.offset && g < n; g++)
        start_sums(kind, p->start + g * (1 + kind.halves) * MD_GROUP, p->row, g * 32);
}

/* ---- the loops ---- */

/* The panel of tokens from t0 on, four at a time; the last group repeats the last token. */
MD_INLINE void pack_panel(kind32 kind, group32 *panel, const md_product *m, int64_t t0, int n_tokens, int64_t first,
                          int n)
{
    for (int t = 0; t < n_tokens; t += MD_GROUP) {
        int64_t row[MD_GROUP];
        for (int i = 0; i < MD_GROUP; i++) {
            const int64_t at = t0 + (t + i < n_tokens ? t + i : n_tokens - 1);
            row[i] = m->rows ? m->rows[at] : at;
        }
        pack_group(kind, &panel[t / MD_GROUP], m->act, row, first, n);
    }
}

/* Rows [first, last) by n_tokens tokens, at most a panel, from t0 on. */
MD_INLINE void multiply_chunk(const md_product *m, md_type type, int64_t first, int64_t last, int64_t t0, int n_tokens)
{
    const kind32 kind = kind32_of(type);
    multiply_fn *const multiply = multiply_of(type);
    const size_t tile_bytes = MD_TILE_ROWS * m->row_bytes;
    const int64_t n_all = m->act->k / 32;
    group32 panel[PANEL];
    strip32 strip;
    for (int64_t g = 0; g < n_all; g += STRIP) {
        const int n = n_all - g < STRIP ? (int)(n_all - g) : STRIP;
        pack_panel(kind, panel, m, t0, n_tokens, g, n);
        for (int64_t r = first; r < last; r += 2 * MD_TILE_ROWS) {
            const int tiles = last - r > MD_TILE_ROWS ? 2 : 1;
            const uint8_t *blocks = (const uint8_t *)m->w + (size_t)r * m->row_bytes +
                                    (size_t)(g / kind.groups * kind.bytes);
            unpack_strip(type, &strip, blocks, tile_bytes, tiles, n, 2 * tile_bytes);
            for (int t = 0; t < n_tokens; t += MD_GROUP) {
                const int n_now = n_tokens - t < MD_GROUP ? n_tokens - t : MD_GROUP;
                multiply(&strip, &panel[t / MD_GROUP], n, tiles, n_now,
                         (target){m->out + (t0 + t) * m->ld_out + r, m->ld_out, g == 0});
            }
        }
    }
}

MD_INLINE void many(const md_product *m, md_type type)
{
    for (int64_t first = m->first; first < m->last; first += CHUNK) {
        const int64_t last = m->last - first < CHUNK ? m->last : first + CHUNK;
        for (int64_t t = 0; t < m->n_rows; t += PANEL * MD_GROUP) {
            const int n = m->n_rows - t < PANEL * MD_GROUP ? (int)(m->n_rows - t) : PANEL * MD_GROUP;
            multiply_chunk(m, type, first, last, t, n);
        }
    }
}

#define MANY(NAME)                               \
    static void many_##NAME(const md_product *m) \
    {                                            \
        many(m, MD_TYPE_##NAME);                 \
    }
MANY(Q4_0)
MANY(Q4_1)
MANY(Q5_0)
MANY(Q5_1)
MANY(Q8_0)
MANY(IQ4_NL)
MANY(MXFP4)
MANY(NVFP4)
MANY(Q1_0)
MANY(Q2_0)

md_product_fn *MD_K(tiles32_many)(md_type type)
{
    switch (type) {
    case MD_TYPE_Q4_0: return many_Q4_0;
    case MD_TYPE_Q4_1: return many_Q4_1;
    case MD_TYPE_Q5_0: return many_Q5_0;
    case MD_TYPE_Q5_1: return many_Q5_1;
    case MD_TYPE_Q8_0: return many_Q8_0;
    case MD_TYPE_IQ4_NL: return many_IQ4_NL;
    case MD_TYPE_MXFP4: return many_MXFP4;
    case MD_TYPE_NVFP4: return many_NVFP4;
    case MD_TYPE_Q1_0: return many_Q1_0;
    default: return many_Q2_0;
    }
}
