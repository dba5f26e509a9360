/* SPDX-License-Identifier: Apache-2.0
 *
 * Products of tiles of the types of Q32 with few tokens (docs/numerics.md, section 4): codes are unpacked into registers and used
 * at once by up to four tokens, two tiles at a time, so that the weights are read once, in order, at the speed of the memory. */
#include "kern/x86/tiles32.h"
#include "kern/x86/tiles32_unpack.h"

enum {
    AHEAD = 4096, /* bytes that weights are asked for ahead of their use */
    SPAN = 256,   /* groups of 32 columns between two stores of the sums so far */
    CHUNK = 128,  /* rows that all tokens meet before the next ones */
};

/* One token's row of activations, from some group on. */
typedef struct token32 {
    const int8_t *code;
    const float *scale, *sum32;
    int32_t start[2 * SPAN]; /* (groups, halves): what a sum begins with, two numbers of 16 bits or one of 32 */
} token32;

/* ---- what sums begin with ---- */

/* x + y in the lanes that md_dot_u8 adds in. */
MD_INLINE __m256i add_parts(__m256i x, __m256i y)
{
    return MD_VNNI ? _mm256_add_epi32(x, y) : _mm256_add_epi16(x, y);
}

/* Of four vectors, the sums over each half's four lanes: (low halves of v[0..3], high halves). */
MD_INLINE __m256i fold4(const __m256i v[4])
{
    const __m256i a = add_parts(_mm256_unpacklo_epi32(v[0], v[1]), _mm256_unpackhi_epi32(v[0], v[1]));
    const __m256i b = add_parts(_mm256_unpacklo_epi32(v[2], v[3]), _mm256_unpackhi_epi32(v[2], v[3]));
    return add_parts(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
}

/* Minus offset times the sums of the codes of n groups. */
static __attribute__((noinline)) void find_starts(kind32 kind, token32 *x, int n)
{
    for (int g = 0; g < n; g += 4) {
        __m256i v[4];
        for (int i = 0; i < 4; i++)
            v[i] = g + i < n ? md_dot_u8(_mm256_setzero_si256(), _mm256_set1_epi8((char)kind.offset),
                                         md_vec(x->code + 32 * (g + i)))
                             : _mm256_setzero_si256();
        const __m256i zero = _mm256_setzero_si256(), folded = fold4(v);
        const __m256i minus = MD_VNNI ? _mm256_sub_epi32(zero, folded) : _mm256_sub_epi16(zero, folded);
        const __m128i low = _mm256_castsi256_si128(minus), high = _mm256_extracti128_si256(minus, 1);
        if (kind.halves) {
            _mm_storeu_si128((__m128i_u *)(x->start + 2 * g), _mm_unpacklo_epi32(low, high));
            _mm_storeu_si128((__m128i_u *)(x->start + 2 * g + 4), _mm_unpackhi_epi32(low, high));
        } else {
            const __m128i sum = MD_VNNI ? _mm_add_epi32(low, high) : _mm_add_epi16(low, high);
            _mm_storeu_si128((__m128i_u *)(x->start + g), sum);
        }
    }
}

MD_INLINE void find_token(kind32 kind, token32 *x, const md_product *m, int64_t t, int64_t first, int n)
{
    const md_act *a = m->act;
    const int64_t at = (m->rows ? m->rows[t] : t) * (a->k / 32) + first;
    x->code = a->code + at * 32;
    x->scale = a->scale + at;
    x->sum32 = a->sum32 + at;
    if (kind.offset)
        find_starts(kind, x, n);
}

/* ---- one group of 32 columns, one or two tiles, one to four tokens ---- */

/* part[t * tiles + i] + the dot of quads [2 * first, 2 * last), in the order of the steps. */
MD_INLINE void dot_steps(md_type type, __m256i part[], const uint8_t *const block[2], int group, const token32 x[],
                         int64_t g, int first, int last, int tiles, int n_tokens)
{
    const kind32 kind = kind32_of(type);
#pragma GCC unroll 4
    for (int step = first; step < last; step++) {
        __m256i w[2][2];
#pragma GCC unroll 2
        for (int i = 0; i < tiles; i++)
            unpack_codes(type, block[i], group, step, w[i]);
#pragma GCC unroll 2
        for (int k = 0; k < 2; k++)
#pragma GCC unroll 4
            for (int t = 0; t < n_tokens; t++) {
                const __m256i a = md_quad(x[t].code + 32 * g + 4 * quad_of(type, step, k));
#pragma GCC unroll 2
                for (int i = 0; i < tiles; i++) {
                    __m256i *p = &part[t * tiles + i];
                    *p = !kind.has_sign
                             ? md_dot_u8(*p, w[i][k], a)
                             : md_dot_i16(*p, md_mul_s8(_mm256_abs_epi8(w[i][k]), w[i][k], a), _mm256_set1_epi16(1));
                }
            }
    }
}

/* Eight sums of 32 bits of a part that began with `start`. */
MD_INLINE __m256i finished(kind32 kind, __m256i part, const int32_t *start)
{
    if (kind.has_sign)
        return part;
    const __m256i sums = md_part_sums(part);
    return kind.add_back ? _mm256_sub_epi32(sums, md_part_sums(md_quad(start))) : sums;
}

MD_INLINE void add_group(md_type type, __m256 acc[], const uint8_t *const block[2], int group, const token32 x[],
                         int64_t g, int tiles, int n_tokens)
{
    const kind32 kind = kind32_of(type);
    const int halves = 1 + kind.halves;
    __m256 d[2][2], m[2];
#pragma GCC unroll 2
    for (int h = 0; h < halves; h++) {
        __m256i part[2 * MD_FEW];
#pragma GCC unroll 8
        for (int i = 0; i < tiles * n_tokens; i++)
            part[i] = kind.offset ? md_quad(x[i / tiles].start + g * halves + h) : _mm256_setzero_si256();
        dot_steps(type, part, block, group, x, g, h * 2, h * 2 + 4 / halves, tiles, n_tokens);
        if (h == 0)
#pragma GCC unroll 2
            for (int i = 0; i < tiles; i++)
                unpack_scales(type, block[i], group, d[i], &m[i]);
#pragma GCC unroll 8
        for (int i = 0; i < tiles * n_tokens; i++) {
            const token32 *y = &x[i / tiles];
            const __m256i sums = finished(kind, part[i], y->start + g * halves + h);
            acc[i] = md_step(acc[i], d[i % tiles][h], _mm256_broadcast_ss(y->scale + g), sums);
        }
    }
    if (kind.minima)
#pragma GCC unroll 8
        for (int i = 0; i < tiles * n_tokens; i++)
            acc[i] = _mm256_fmadd_ps(m[i % tiles], _mm256_broadcast_ss(x[i / tiles].sum32 + g), acc[i]);
}

/* ---- the loops ---- */

/* n groups of one tile or two, `pitch` bytes apart, from `block` on; out: of the first row. */
MD_INLINE void add_span(md_type type, const uint8_t *block, size_t pitch, const token32 x[], int64_t n, int tiles,
                        int n_tokens, float *out, int64_t ld, bool first)
{
    const kind32 kind = kind32_of(type);
    __m256 acc[2 * MD_FEW];
#pragma GCC unroll 8
    for (int i = 0; i < tiles * n_tokens; i++)
        acc[i] = first ? _mm256_setzero_ps() : _mm256_loadu_ps(out + i / tiles * ld + i % tiles * MD_TILE_ROWS);
    const int64_t last = n - (int64_t)AHEAD / kind.bytes * kind.groups; /* from here on, the next tiles are wanted */
    for (int64_t g = 0; g < n; block += kind.bytes) {
        const uint8_t *const blocks[2] = {block, block + pitch};
        const uint8_t *const ahead = block + AHEAD + (g < last ? 0 : pitch * (size_t)(tiles - 1));
#pragma GCC unroll 2
        for (int i = 0; i < tiles; i++)
#pragma GCC unroll 5
            for (int line = 0; line < kind.bytes; line += 64)
                md_prefetch(ahead + pitch * (size_t)i + line);
        for (int group = 0; group < kind.groups; group++, g++)
            add_group(type, acc, blocks, group, x, g, tiles, n_tokens);
    }
#pragma GCC unroll 8
    for (int i = 0; i < tiles * n_tokens; i++)
        _mm256_storeu_ps(out + i / tiles * ld + i % tiles * MD_TILE_ROWS, acc[i]);
}

/* Rows [first, last), whole groups of `tiles` tiles, by tokens [t, t + n_tokens). */
MD_INLINE void few(const md_product *m, md_type type, int64_t first, int64_t last, int64_t t, int tiles, int n_tokens)
{
    const kind32 kind = kind32_of(type);
    const int64_t n_groups = m->act->k / 32;
    token32 x[MD_FEW];
    for (int64_t g = 0; g < n_groups; g += SPAN) {
        const int n = n_groups - g < SPAN ? (int)(n_groups - g) : SPAN;
        for (int i = 0; i < n_tokens; i++)
            find_token(kind, &x[i], m, t + i, g, n);
        const uint8_t *w = (const uint8_t *)m->w + (size_t)(g / kind.groups * kind.bytes);
        float *out = m->out + t * m->ld_out;
        for (int64_t r = first; r < last; r += tiles * MD_TILE_ROWS)
            add_span(type, w + (size_t)r * m->row_bytes, MD_TILE_ROWS * m->row_bytes, x, n, tiles, n_tokens, out + r,
                     m->ld_out, g == 0);
    }
}

/* A single token runs at the speed of the memory, which likes one stream: it takes tiles one by one. So does a last tile. */
MD_INLINE void mul_chunk(const md_product *m, md_type type, int64_t first, int64_t last)
{
    for (int64_t t = 0; t < m->n_rows; t += MD_FEW) {
        const int n = m->n_rows - t < MD_FEW ? (int)(m->n_rows - t) : MD_FEW;
        const int64_t paired = n == 1 ? first : last - (last - first) % (2 * MD_TILE_ROWS);
        switch (n) {
        case 2: few(m, type, first, paired, t, 2, 2); break;
        case 3: few(m, type, first, paired, t, 2, 3); break;
        case 4: few(m, type, first, paired, t, 2, 4); break;
        default: break;
        }
        for (int i = 0; paired < last && i < n; i++)
            few(m, type, paired, last, t + i, 1, 1);
    }
}

MD_INLINE void mul(const md_product *m, md_type type)
{
    if (m->n_rows > kind32_of(type).few) {
        MD_K(tiles32_many)(type)(m);
        return;
    }
    for (int64_t first = m->first; first < m->last; first += CHUNK)
        mul_chunk(m, type, first, m->last - first < CHUNK ? m->last : first + CHUNK);
}

#define MUL(NAME)                               \
    static void mul_##NAME(const md_product *m) \
    {                                           \
        mul(m, MD_TYPE_##NAME);                 \
    }
MUL(Q4_0)
MUL(Q4_1)
MUL(Q5_0)
MUL(Q5_1)
MUL(Q8_0)
MUL(IQ4_NL)
MUL(MXFP4)
MUL(NVFP4)
MUL(Q1_0)
MUL(Q2_0)

void MD_K(tiles32_fill)(md_kern *k)
{
    k->mul_tiles[MD_TYPE_Q4_0] = mul_Q4_0;
    k->mul_tiles[MD_TYPE_Q4_1] = mul_Q4_1;
    k->mul_tiles[MD_TYPE_Q5_0] = mul_Q5_0;
    k->mul_tiles[MD_TYPE_Q5_1] = mul_Q5_1;
    k->mul_tiles[MD_TYPE_Q8_0] = mul_Q8_0;
    k->mul_tiles[MD_TYPE_IQ4_NL] = mul_IQ4_NL;
    k->mul_tiles[MD_TYPE_MXFP4] = mul_MXFP4;
    k->mul_tiles[MD_TYPE_NVFP4] = mul_NVFP4;
    k->mul_tiles[MD_TYPE_Q1_0] = mul_Q1_0;
    k->mul_tiles[MD_TYPE_Q2_0] = mul_Q2_0;
}
