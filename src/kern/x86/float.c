/* SPDX-License-Identifier: Apache-2.0
 *
 * Products with F32, F16 and BF16 weights (docs/numerics.md, section 4). The sixteen lanes of a sum are two vectors; a block of rows
 * and tokens keeps up to twelve vectors in registers. Few tokens: rows run through from end to end, widened in registers, while the
 * next rows are fetched. Many: a strip of some rows is widened into a buffer, side by side, where rows that lie a power of two apart
 * do not drive each other out of the first-level cache; lanes wait in memory from strip to strip. */
#include "kern/x86/vector.h"

#include <stdbool.h>
#include <string.h>

/* A register block's most rows and tokens. */
#define MOST_ROWS   4
#define MOST_TOKENS 3
/* A buffer's columns and rows, and the tokens that meet it. */
#define COLUMNS     256
#define ROWS        8
#define TOKENS      32
/* Most tokens that are done without a buffer, and how far ahead of a single row is fetched. */
#define FEW_TOKENS  6
#define NEAR        4096

/* Columns of a register block's rows. */
typedef struct operands {
    const char *w[MOST_ROWS];
    const float *x[MOST_TOKENS];
    int64_t n;         /* columns */
    const char *ahead; /* what will be read after these rows, to fetch as fast as they are read, or NULL */
} operands;

/* Lanes of a row's sums. */
typedef float lanes[TOKENS][MD_LANES];

MD_INLINE int64_t bytes_of(md_type type)
{
    return type == MD_TYPE_F32 ? 4 : 2;
}

MD_INLINE __m256 widen8(md_type type, const char *w)
{
    if (type == MD_TYPE_F32)
        return _mm256_loadu_ps((const float *)(const void *)w);
    const __m128i half = _mm_loadu_si128((const __m128i *)(const void *)w);
    if (type == MD_TYPE_F16)
        return _mm256_cvtph_ps(half);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

/* The first n < 8 weights, the rest 0. */
MD_INLINE __m256 widen_some(md_type type, const char *w, int64_t n)
{
    char some[32] = {0};
    memcpy(some, w, (size_t)(n * bytes_of(type)));
    return widen8(type, some);
}

/* Columns from c on, which fill no vector or only one of the two: lanes that they do not reach stay as they are. */
MD_INLINE void tail(int nr, int nt, md_type type, const operands *o, int64_t c, int half, __m256 sum[][MOST_TOKENS][2])
{
    const int64_t n = o->n - c;
    const __m256i mask = md_first_lanes(n < 8 ? n : 8);
    MD_UNROLL
    for (int r = 0; r < nr; r++) {
        const char *at = o->w[r] + c * bytes_of(type);
        const __m256 w = n < 8 ? widen_some(type, at, n) : widen8(type, at);
        MD_UNROLL
        for (int t = 0; t < nt; t++) {
            const __m256 x = _mm256_maskload_ps(o->x[t] + c, mask);
            sum[r][t][half] = _mm256_blendv_ps(sum[r][t][half], _mm256_fmadd_ps(w, x, sum[r][t][half]),
                                               _mm256_castsi256_ps(mask));
        }
    }
}

MD_INLINE void whole_columns(int nr, int nt, md_type type, bool fetch, const operands *o, __m256 sum[][MOST_TOKENS][2])
{
    const int64_t bytes = bytes_of(type);
    __m256 w[MOST_ROWS];
    for (int64_t c = 0; c + MD_LANES <= o->n; c += MD_LANES) {
        for (int i = 0; fetch && 64 * i < nr * MD_LANES * bytes; i++)
            _mm_prefetch(o->ahead + c * bytes * nr + 64 * i, _MM_HINT_T0);
        MD_UNROLL
        for (int half = 0; half < 2; half++) {
            MD_UNROLL
            for (int r = 0; r < nr; r++)
                w[r] = md_in_register(widen8(type, o->w[r] + (c + 8 * half) * bytes));
            MD_UNROLL
            for (int t = 0; t < nt; t++) {
                const __m256 x = md_in_register(_mm256_loadu_ps(o->x[t] + c + 8 * half));
                MD_UNROLL
                for (int r = 0; r < nr; r++)
                    sum[r][t][half] = _mm256_fmadd_ps(w[r], x, sum[r][t][half]);
            }
        }
    }
}

/* Adds the operands' products to lanes of nr rows and nt tokens. */
MD_INLINE void block(int nr, int nt, md_type type, const operands *o, lanes *l)
{
    __m256 sum[MOST_ROWS][MOST_TOKENS][2];
    MD_UNROLL
    for (int r = 0; r < nr; r++) {
        MD_UNROLL
        for (int t = 0; t < nt; t++) {
            sum[r][t][0] = _mm256_load_ps(l[r][t]);
            sum[r][t][1] = _mm256_load_ps(l[r][t] + 8);
        }
    }
    if (o->ahead)
        whole_columns(nr, nt, type, true, o, sum);
    else
        whole_columns(nr, nt, type, false, o, sum);
    const int64_t end = o->n & ~(int64_t)(MD_LANES - 1);
    if (end < o->n)
        tail(nr, nt, type, o, end, 0, sum);
    if (end + 8 < o->n)
        tail(nr, nt, type, o, end + 8, 1, sum);
    MD_UNROLL
    for (int r = 0; r < nr; r++) {
        MD_UNROLL
        for (int t = 0; t < nt; t++) {
            _mm256_store_ps(l[r][t], sum[r][t][0]);
            _mm256_store_ps(l[r][t] + 8, sum[r][t][1]);
        }
    }
}

/* Functions of their own, so that nothing else competes for the registers. */
typedef void block_fn(const operands *o, lanes *l);
#define BLOCK(name, nr, nt, type)                                           \
    static __attribute__((noinline)) void name(const operands *o, lanes *l) \
    {                                                                       \
        block(nr, nt, type, o, l);                                          \
    }
#define BLOCKS(name, type)        \
    BLOCK(name##_1x1, 1, 1, type) \
    BLOCK(name##_1x2, 1, 2, type) \
    BLOCK(name##_1x3, 1, 3, type) \
    BLOCK(name##_3x2, 3, 2, type) \
    BLOCK(name##_2x3, 2, 3, type)
BLOCKS(f32, MD_TYPE_F32)

BLOCKS(f16, MD_TYPE_F16)
BLOCKS(bf16, MD_TYPE_BF16)

/* By number of tokens: one row, and as many as are worth it. One row by itself is as fast as memory, which likes one stream better
 * than several. */
typedef struct blocks {
    md_type type;
    block_fn *one[MOST_TOKENS], *most[MOST_TOKENS];
} blocks;
static const int most_rows[] = {1, 3, 2};
static const blocks f32_blocks = {MD_TYPE_F32, {f32_1x1, f32_1x2, f32_1x3}, {f32_1x1, f32_3x2, f32_2x3}},
                    f16_blocks = {MD_TYPE_F16, {f16_1x1, f16_1x2, f16_1x3}, {f16_1x1, f16_3x2, f16_2x3}},
                    bf16_blocks = {MD_TYPE_BF16, {bf16_1x1, bf16_1x2, bf16_1x3}, {bf16_1x1, bf16_3x2, bf16_2x3}};

/* Columns of some rows of weights, `stride` bytes apart. */
typedef struct weights {
    const char *w;
    int64_t stride;
    int rows;
    bool stream; /* fetch what follows */
} weights;

/* Columns [c, c + n) of up to three tokens from `token` on. */
static void meet(const md_product *m, const blocks *b, const weights *w, int64_t token, int nt, int64_t c, int64_t n,
                 lanes *l)
{
    operands o = {.n = n};
    for (int i = 0; i < nt; i++)
        o.x[i] = m->act->f32 + (m->rows ? m->rows[token + i] : token + i) * m->act->k + c;
    for (int r = 0, nr; r < w->rows; r += nr) {
        nr = w->rows - r >= most_rows[nt - 1] ? most_rows[nt - 1] : 1;
        o.ahead = w->stream ? w->w + r * w->stride + (nr > 1 ? nr * w->stride : NEAR) : NULL;
        for (int i = 0; i < nr; i++)
            o.w[i] = w->w + (r + i) * w->stride;
        (nr > 1 ? b->most : b->one)[nt - 1](&o, l + r);
    }
}

static void finish(const md_product *m, int64_t row, int rows, int64_t token, int tokens, lanes *l)
{
    for (int r = 0; r < rows; r++)
        for (int t = 0; t < tokens; t++)
            m->out[(token + t) * m->ld_out + row + r] = md_tree16x(_mm256_load_ps(l[r][t]),
                                                                   _mm256_load_ps(l[r][t] + 8));
}

static int some_tokens(int left)
{
    return left == 4 ? 2 : left < MOST_TOKENS ? left : MOST_TOKENS;
}

static void few_tokens(const md_product *m, const blocks *b, int64_t row, int rows)
{
    _Alignas(32) lanes l[ROWS];
    weights w = {.w = (const char *)m->w + (size_t)row * m->row_bytes,
                 .stride = (int64_t)m->row_bytes,
                 .rows = rows,
                 .stream = true};
    const int tokens = (int)m->n_rows;
    for (int r = 0; r < rows; r++)
        memset(l[r], 0, (size_t)tokens * sizeof l[r][0]);
    for (int t = 0, nt; t < tokens; t += nt) {
        nt = some_tokens(tokens - t);
        meet(m, b, &w, t, nt, 0, m->act->k, (lanes *)(l[0] + t));
        w.stream = false;
    }
    finish(m, row, rows, 0, tokens, l);
}

/* n columns of rows as floats. */
MD_INLINE void widen(md_type type, const md_product *m, int64_t row, int rows, int64_t c, int64_t n,
                     float (*out)[COLUMNS])
{
    for (int r = 0; r < rows; r++) {
        const char *w = (const char *)m->w + (size_t)(row + r) * m->row_bytes + c * bytes_of(type);
        int64_t i = 0;
        for (; i + 8 <= n; i += 8)
            _mm256_store_ps(out[r] + i, widen8(type, w + i * bytes_of(type)));
        if (i < n)
            _mm256_store_ps(out[r] + i, widen_some(type, w + i * bytes_of(type), n - i));
    }
}

static void many_tokens(const md_product *m, md_type type, int64_t row, int rows, int64_t token, int tokens)
{
    _Alignas(32) float buffer[ROWS][COLUMNS];
    _Alignas(32) lanes l[ROWS];
    const weights w = {.w = (const char *)buffer, .stride = sizeof buffer[0], .rows = rows};
    memset(l, 0, (size_t)rows * sizeof *l);
    for (int64_t c = 0; c < m->act->k; c += COLUMNS) {
        const int64_t n = m->act->k - c < COLUMNS ? m->act->k - c : COLUMNS;
        if (type == MD_TYPE_F32)
            widen(MD_TYPE_F32, m, row, rows, c, n, buffer);
        else if (type == MD_TYPE_F16)
            widen(MD_TYPE_F16, m, row, rows, c, n, buffer);
        else
            widen(MD_TYPE_BF16, m, row, rows, c, n, buffer);
        for (int t = 0, nt; t < tokens; t += nt) {
            nt = some_tokens(tokens - t);
            meet(m, &f32_blocks, &w, token + t, nt, c, n, (lanes *)(l[0] + t));
        }
    }
    finish(m, row, rows, token, tokens, l);
}

static void multiply(const md_product *m, const blocks *b)
{
    for (int64_t r = m->first; r < m->last; r += ROWS) {
        const int rows = (int)(m->last - r < ROWS ? m->last - r : ROWS);
        if (m->n_rows <= FEW_TOKENS)
            few_tokens(m, b, r, rows);
        else
            for (int64_t t = 0; t < m->n_rows; t += TOKENS)
                many_tokens(m, b->type, r, rows, t, (int)(m->n_rows - t < TOKENS ? m->n_rows - t : TOKENS));
    }
}

static void mul_f32(const md_product *m)
{
    multiply(m, &f32_blocks);
}

static void mul_f16(const md_product *m)
{
    multiply(m, &f16_blocks);
}

static void mul_bf16(const md_product *m)
{
    multiply(m, &bf16_blocks);
}

void MD_K(float_fill)(md_kern *k)
{
    k->mul[MD_TYPE_F32] = mul_f32;
    k->mul[MD_TYPE_F16] = mul_f16;
    k->mul[MD_TYPE_BF16] = mul_bf16;
}
