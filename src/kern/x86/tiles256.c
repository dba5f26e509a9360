/* SPDX-License-Identifier: Apache-2.0
 *
 * Products with tiles of the types with blocks of 256 (docs/numerics.md, section 4). Lanes are rows. One or two tokens: codes
 * are unpacked in registers and used at once, so that a matrix streams from memory. More: each pair of tiles is unpacked block by
 * block into the first-level cache and meets up to 64 tokens, four at a time, whose codes are read where they lie; between strips
 * of columns the sums wait in the output. Blocks are taken in ascending order in all of them, so the bits are equal. No
 * allocation: what a strip's tokens need beside their codes lies on the stack (about 20 KB). */
#include "kern/x86/tiles256_unpack.h"

/* Tokens and blocks of a strip. */
#define PANEL        64
#define STRIP        8
/* Most tokens that codes are unpacked for in registers. */
#define FEW          2
/* How far ahead of use the words of Q6_K are touched, in bytes: some 300 cycles. */
#define AHEAD        2048
/* Blocks of a pair of tiles that are asked for ahead while tokens are many. */
#define BLOCKS_AHEAD 2

static inline int64_t act_row(const md_product *m, int64_t t)
{
    return m->rows ? m->rows[t] : t;
}

TEMPLATE const char *words256(md_type t, const char *block)
{
    return block + (t == MD_TYPE_Q3_K || t == MD_TYPE_Q6_K || t == MD_TYPE_TQ1_0 || t == MD_TYPE_TQ2_0 ? 16 : 0);
}

TEMPLATE int bytes256(md_type t)
{
    switch (t) {
    case MD_TYPE_Q2_K: return 8 * 84;
    case MD_TYPE_Q3_K: return 8 * 110;
    case MD_TYPE_Q4_K: return 8 * 144;
    case MD_TYPE_Q5_K: return 8 * 176;
    case MD_TYPE_Q6_K: return 8 * 210;
    case MD_TYPE_IQ4_XS: return 8 * 136;
    case MD_TYPE_TQ1_0: return 8 * 54;
    default: return 8 * 66;
    }
}

/* Group sums of one block of one token, in the pairs that scales256.low meets; ternary: their sum, once. */
TEMPLATE void sums256(shape256 p, const int16_t sum16[16], int32_t out[8])
{
    const __m256i a = md_vec(sum16);
    if (p.ternary) {
        const __m256i v = _mm256_madd_epi16(a, _mm256_set1_epi16(1));
        const __m128i w = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
        const __m128i x = _mm_add_epi32(w, _mm_shuffle_epi32(w, 0x4e));
        out[0] = _mm_cvtsi128_si32(_mm_add_epi32(x, _mm_shuffle_epi32(x, 0xb1)));
    } else if (p.pairs == 8) {
        md_vec_store(out, a);
    } else if (p.pairs == 4) {
        const __m256i v = _mm256_permute4x64_epi64(_mm256_hadd_epi16(a, a), 0x08);
        _mm_storeu_si128((__m128i_u *)out, _mm256_castsi256_si128(v));
    }
}

/* sums of products with the columns' sums: of minima, or what an offset takes off; step: between the pairs of sums. */
TEMPLATE __m256i low256(shape256 p, const scales256 *s, const int32_t *pair, int step)
{
    if (p.ternary)
        return _mm256_set1_epi32(-pair[0]);
    __m256i low = _mm256_setzero_si256();
    UNROLL for (int i = 0; i < p.pairs; i++) low = md_in_order(md_dot_i16(low, s->low[i], md_quad(pair + step * i)));
    return p.minima ? low
                    : _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_slli_epi32(low, p.offset > 0 ? p.offset : 0));
}

/* A block's integers into the running sum. */
TEMPLATE __m256 finish256(shape256 p, const scales256 *s, float d_a, __m256i sums, __m256i low, __m256 acc)
{
    const __m256 d = _mm256_set1_ps(d_a);
    acc = md_step(acc, s->d, d, sums);
    if (p.minima)
        acc = _mm256_fnmadd_ps(_mm256_mul_ps(s->dmin, d), _mm256_cvtepi32_ps(low), acc);
    return acc;
}

TEMPLATE __m256i scaled256(shape256 p, const scales256 *s, int group, __m256i sums, __m256i part)
{
    return md_in_order(p.ternary ? _mm256_add_epi32(sums, md_part_sums(part))
                                 : md_part_scaled(sums, part, s->sub[group]));
}

/* ---- few tokens ---- */

/* What a block's sums are made of while it is read: n tokens. */
typedef struct few256 {
    int n;
    const int8_t *a[FEW];
    __m256i sums[FEW], low[FEW];
    __m256 acc[FEW];
} few256;

/* Steps [first, first + run), whose quads of equal place share a group. */
TEMPLATE void few_run(shape256 p, const char *w, const scales256 *s, int first, int run, few256 *f)
{
    const step256 at = step256_of(p.type, first);
    const int full = !MD_VNNI && p.depth < run ? p.depth : run;
    __m256i part[5][FEW];
    UNROLL for (int k = 0; k < run; k++)
    {
        __m256i code[5];
        codes256(p.type, w, first + k, code);
        UNROLL for (int i = 0; i < at.n; i++)
        {
            const int quad = at.first + at.apart * i + k;
            UNROLL for (int t = 0; t < f->n; t++)
            {
                const __m256i x = md_quad(f->a[t] + 4 * quad);
                if (p.depth == 0)
                    part[i][t] = md_mul_s8(_mm256_abs_epi8(code[i]), code[i], x);
                else
                    part[i][t] = md_dot_u8(k % full == 0 ? _mm256_setzero_si256() : part[i][t], code[i], x);
                if (p.depth == 0 || k % full == full - 1)
                    f->sums[t] = scaled256(p, s, quad / p.group, f->sums[t], part[i][t]);
            }
        }
    }
}

/* Reads a byte of every cache line of n bytes. Only reads in ascending order make the hardware fetch ahead; prefetch
 * instructions do not, and they alone keep too few lines in flight. A block of most types is read about that way anyhow,
 * but Q6_K has four places in a block read at a time. */
TEMPLATE void touch(const char *p, int n)
{
    UNROLL for (int i = 0; i < n; i += 64)(void) * (const volatile char *)(p + i);
}

/* One block of eight rows times n tokens; ahead: a block's worth of bytes that are wanted soon. */
TEMPLATE void few_block(shape256 p, const char *block, const char *ahead, const float d_a[FEW],
                        const int16_t *const sum16[FEW], few256 *f)
{
    const char *w = words256(p.type, block);
    scales256 s;
    scales256_of(p.type, block, w, &s);
    UNROLL for (int t = 0; t < f->n; t++)
    {
        int32_t pair[8];
        sums256(p, sum16[t], pair);
        f->low[t] = low256(p, &s, pair, 1);
        f->sums[t] = p.minima ? _mm256_setzero_si256() : f->low[t];
    }
    if (p.type == MD_TYPE_TQ1_0) {
        few_run(p, w, &s, 0, 8, f);
        few_run(p, w, &s, 8, 4, f);
        few_run(p, w, &s, 12, 1, f);
    } else {
        const int run = p.type == MD_TYPE_IQ4_XS || p.group == 4 ? 4 : 8;
        const int stretch = bytes256(p.type) * run / steps256(p.type);
        UNROLL for (int first = 0; first < steps256(p.type); first += run)
        {
            if (p.type == MD_TYPE_Q6_K)
                touch(ahead + stretch * (first / run), stretch);
            few_run(p, w, &s, first, run, f);
        }
    }
    UNROLL for (int t = 0; t < f->n; t++) f->acc[t] = finish256(p, &s, d_a[t], f->sums[t], f->low[t], f->acc[t]);
}

TEMPLATE void few_rows(const md_product *m, shape256 p, int n, int64_t t0)
{
    const int64_t n_blocks = m->act->k / 256;
    const char *last = (const char *)m->w + (size_t)m->last * m->row_bytes - bytes256(p.type);
    for (int64_t r = m->first; r < m->last; r += MD_TILE_ROWS) {
        const char *tile = (const char *)m->w + (size_t)r * m->row_bytes;
        few256 f = {.n = n};
        UNROLL for (int t = 0; t < n; t++) f.acc[t] = _mm256_setzero_ps();
        for (int64_t b = 0; b < n_blocks; b++, tile += bytes256(p.type)) {
            const int16_t *sum16[FEW];
            float d[FEW];
            UNROLL for (int t = 0; t < n; t++)
            {
                const int64_t at = act_row(m, t0 + t) * n_blocks + b;
                f.a[t] = m->act->code + at * 256;
                sum16[t] = m->act->sum16 + at * 16;
                d[t] = m->act->scale[at];
            }
            few_block(p, tile, last - tile > AHEAD ? tile + AHEAD : last, d, sum16, &f);
        }
        UNROLL for (int t = 0; t < n; t++) _mm256_storeu_ps(m->out + (t0 + t) * m->ld_out + r, f.acc[t]);
    }
}

/* ---- many tokens ---- */

/* A strip of activations in groups of four tokens. */
typedef struct strip256 {
    const int8_t *code[PANEL];                          /* of the strip's first column */
    int32_t sums[STRIP][PANEL / MD_GROUP][8][MD_GROUP]; /* sums256 */
    float d[STRIP][PANEL / MD_GROUP][MD_GROUP];
} strip256;

/* A block of two tiles. */
typedef struct unpacked256 {
    __m256i code[64][2];
    scales256 s[2];
} unpacked256;

static void find_strip(const md_product *m, shape256 p, int64_t t0, int n_t, int64_t b0, int n_b, strip256 *a)
{
    const int64_t n_blocks = m->act->k / 256;
    for (int t = 0; t < n_t; t++)
        a->code[t] = m->act->code + (act_row(m, t0 + t) * n_blocks + b0) * 256;
    for (int g = 0; g * MD_GROUP < n_t; g++) {
        for (int b = 0; b < n_b; b++) {
            for (int t = 0; t < MD_GROUP; t++) {
                const int64_t of = act_row(m, t0 + (g * MD_GROUP + t < n_t ? g * MD_GROUP + t : n_t - 1));
                const int64_t at = of * n_blocks + b0 + b;
                int32_t sums[8] = {0};
                sums256(p, m->act->sum16 + at * 16, sums);
                for (int i = 0; i < (p.ternary ? 1 : p.pairs); i++)
                    a->sums[b][g][i][t] = sums[i];
                a->d[b][g][t] = m->act->scale[at];
            }
        }
    }
}

TEMPLATE void unpack_run(md_type t, const char *words, int first, int run, int lane, unpacked256 *w)
{
    const step256 at = step256_of(t, first);
    UNROLL for (int k = 0; k < run; k++)
    {
        __m256i code[5];
        codes256(t, words, first + k, code);
        UNROLL for (int i = 0; i < at.n; i++) w->code[at.first + at.apart * i + k][lane] = code[i];
    }
}

TEMPLATE void unpack_tile(md_type t, const char *block, int lane, unpacked256 *w)
{
    const char *words = words256(t, block);
    scales256_of(t, block, words, &w->s[lane]);
    if (t == MD_TYPE_TQ1_0) {
        unpack_run(t, words, 0, 8, lane, w);
        unpack_run(t, words, 8, 4, lane, w);
        unpack_run(t, words, 12, 1, lane, w);
    } else {
        UNROLL for (int first = 0; first < steps256(t); first += 4) unpack_run(t, words, first, 4, lane, w);
    }
}

/* One block: n_v tiles by n tokens of a group. */
TEMPLATE void dot_block(shape256 p, const unpacked256 *w, int n_v, int n, const int8_t *const *row, int b,
                        const int32_t *pair, const float *d_a, float *acc)
{
    __m256i sums[MD_GROUP * 2];
    const int8_t *a[MD_GROUP];
    UNROLL for (int t = 0; t < n; t++) a[t] = row[t] + 256 * b;
    UNROLL for (int i = 0; i < n * n_v; i++)
        sums[i] = p.offset >= 0 ? low256(p, &w->s[i % n_v], pair + i / n_v, MD_GROUP) : _mm256_setzero_si256();
    const int depth = MD_VNNI ? (p.ternary ? 16 : p.group) : p.depth ? p.depth : 1;
    for (int q0 = 0; q0 < 64; q0 += depth) {
        __m256i part[MD_GROUP * 2];
        UNROLL for (int q = 0; q < depth; q++)
        {
            __m256i c[2], magnitude[2];
            UNROLL for (int v = 0; v < n_v; v++)
            {
                c[v] = w->code[q0 + q][v];
                magnitude[v] = _mm256_abs_epi8(c[v]);
            }
            UNROLL for (int t = 0; t < n; t++)
            {
                const __m256i x = md_quad(a[t] + 4 * (q0 + q));
                UNROLL for (int v = 0; v < n_v; v++)
                    part[t * n_v + v] = p.depth
                                            ? md_dot_u8(q == 0 ? _mm256_setzero_si256() : part[t * n_v + v], c[v], x)
                                            : md_mul_s8(magnitude[v], c[v], x);
            }
        }
        UNROLL for (int i = 0; i < n * n_v; i++) sums[i] = scaled256(p, &w->s[i % n_v], q0 / p.group, sums[i], part[i]);
    }
    UNROLL for (int i = 0; i < n * n_v; i++)
    {
        const int t = i / n_v, v = i % n_v;
        const __m256i low = p.minima ? low256(p, &w->s[v], pair + t, MD_GROUP) : _mm256_setzero_si256();
        float *at = acc + t * 16 + 8 * v;
        _mm256_store_ps(at, finish256(p, &w->s[v], d_a[t], sums[i], low, _mm256_load_ps(at)));
    }
}

/* One block of n_v tiles times the whole panel; acc (n_t, 16). */
TEMPLATE void panel_block(shape256 p, const unpacked256 *w, int n_v, const strip256 *a, int b, int n_t, float *acc)
{
    for (int g = 0; g * MD_GROUP < n_t; g++) {
        const int8_t *const *code = a->code + g * MD_GROUP;
        const int32_t *pair = a->sums[b][g][0];
        const float *d = a->d[b][g];
        float *to = acc + g * MD_GROUP * 16;
        switch (n_t - g * MD_GROUP) {
        case 1: dot_block(p, w, n_v, 1, code, b, pair, d, to); break;
        case 2: dot_block(p, w, n_v, 2, code, b, pair, d, to); break;
        case 3: dot_block(p, w, n_v, 3, code, b, pair, d, to); break;
        default: dot_block(p, w, n_v, 4, code, b, pair, d, to); break;
        }
    }
}

/* One type's pieces of a product with many tokens. */
typedef struct many256 {
    shape256 shape;
    int bytes; /* of a block of a tile */
    void (*unpack)(const char *block, int lane, unpacked256 *w);
    void (*panel[2])(const unpacked256 *w, const strip256 *a, int b, int n_t, float *acc); /* by tiles - 1 */
} many256;

/* Rows r .. r + 8 n_v of a strip. */
static void strip_rows(const md_product *m, const many256 *type, int n_v, int64_t r, int64_t t0, int n_t, int64_t b0,
                       int n_b, const strip256 *a)
{
    unpacked256 w;
    _Alignas(32) float acc[PANEL * 16];
    float *out = m->out + t0 * m->ld_out + r;
    for (int t = 0; t < n_t; t++)
        for (int v = 0; v < n_v; v++)
            _mm256_store_ps(acc + t * 16 + 8 * v,
                            b0 > 0 ? _mm256_loadu_ps(out + t * m->ld_out + 8 * v) : _mm256_setzero_ps());
    const size_t tile_bytes = MD_TILE_ROWS * m->row_bytes;
    const char *block = (const char *)m->w + (size_t)r * m->row_bytes + (size_t)b0 * type->bytes;
    for (int b = 0; b < n_b; b++, block += type->bytes) {
        const char *next = block;
        if (b + BLOCKS_AHEAD < n_b)
            next += BLOCKS_AHEAD * type->bytes;
        else if (r + 32 <= m->last && n_b >= BLOCKS_AHEAD)
            next += 2 * tile_bytes - (size_t)(n_b - BLOCKS_AHEAD) * type->bytes;
        for (int v = 0; v < n_v; v++)
            type->unpack(block + v * tile_bytes, v, &w);
        for (int v = 0; v < n_v; v++) /* they come while these are multiplied */
            for (int i = 0; i < type->bytes; i += 64)
                md_prefetch2(next + v * tile_bytes + i);
        type->panel[n_v - 1](&w, a, b, n_t, acc);
    }
    for (int t = 0; t < n_t; t++)
        for (int v = 0; v < n_v; v++)
            _mm256_storeu_ps(out + t * m->ld_out + 8 * v, _mm256_load_ps(acc + t * 16 + 8 * v));
}

static void many_rows(const md_product *m, const many256 *type)
{
    const int64_t n_blocks = m->act->k / 256;
    strip256 a;
    for (int64_t t0 = 0; t0 < m->n_rows; t0 += PANEL) {
        const int n_t = m->n_rows - t0 < PANEL ? (int)(m->n_rows - t0) : PANEL;
        for (int64_t b0 = 0; b0 < n_blocks; b0 += STRIP) {
            const int n_b = n_blocks - b0 < STRIP ? (int)(n_blocks - b0) : STRIP;
            find_strip(m, type->shape, t0, n_t, b0, n_b, &a);
            int64_t r = m->first;
            for (; r + 16 <= m->last; r += 16)
                strip_rows(m, type, 2, r, t0, n_t, b0, n_b, &a);
            if (r < m->last)
                strip_rows(m, type, 1, r, t0, n_t, b0, n_b, &a);
        }
    }
}

/* ---- one row a type ---- */

#define MUL256(NAME, name)                                                                               \
    static void unpack_##name(const char *block, int lane, unpacked256 *w)                               \
    {                                                                                                    \
        unpack_tile(MD_TYPE_##NAME, block, lane, w);                                                     \
    }                                                                                                    \
    static void one_##name(const unpacked256 *w, const strip256 *a, int b, int n_t, float *acc)          \
    {                                                                                                    \
        panel_block(shape256_of(MD_TYPE_##NAME), w, 1, a, b, n_t, acc);                                  \
    }                                                                                                    \
    static void two_##name(const unpacked256 *w, const strip256 *a, int b, int n_t, float *acc)          \
    {                                                                                                    \
        panel_block(shape256_of(MD_TYPE_##NAME), w, 2, a, b, n_t, acc);                                  \
    }                                                                                                    \
    static void mul_##name(const md_product *m)                                                          \
    {                                                                                                    \
        const shape256 shape = shape256_of(MD_TYPE_##NAME);                                              \
        const many256 many = {shape, bytes256(MD_TYPE_##NAME), unpack_##name, {one_##name, two_##name}}; \
        if (m->n_rows == 1)                                                                              \
            few_rows(m, shape, 1, 0);                                                                    \
        else if (m->n_rows == 2)                                                                         \
            few_rows(m, shape, 2, 0);                                                                    \
        else                                                                                             \
            many_rows(m, &many);                                                                         \
    }
MUL256(Q2_K, q2_k)
MUL256(Q3_K, q3_k)
MUL256(Q4_K, q4_k)
MUL256(Q5_K, q5_k)
MUL256(Q6_K, q6_k)
MUL256(IQ4_XS, iq4_xs)
MUL256(TQ1_0, tq1_0)
MUL256(TQ2_0, tq2_0)

void MD_K(tiles256_fill)(md_kern *k)
{
    k->mul_tiles[MD_TYPE_Q2_K] = mul_q2_k;
    k->mul_tiles[MD_TYPE_Q3_K] = mul_q3_k;
    k->mul_tiles[MD_TYPE_Q4_K] = mul_q4_k;
    k->mul_tiles[MD_TYPE_Q5_K] = mul_q5_k;
    k->mul_tiles[MD_TYPE_Q6_K] = mul_q6_k;
    k->mul_tiles[MD_TYPE_IQ4_XS] = mul_iq4_xs;
    k->mul_tiles[MD_TYPE_TQ1_0] = mul_tq1_0;
    k->mul_tiles[MD_TYPE_TQ2_0] = mul_tq2_0;
}
