/* SPDX-License-Identifier: Apache-2.0
 *
 * Products with codebook types for few tokens (docs/numerics.md, section 4): a block is decoded in registers and meets the
 * tokens at once. Within a block lanes are columns; the sums of eight rows are then turned so that lanes are rows, and the
 * chain of float steps runs for eight rows together. What bounds it is the loading of codebook entries, not memory. */
#include "kern/x86/grid.h"

#include "kern/x86/grid_many.h"

/* Most tokens that share a decoded block in registers. */
#define FEW   3
/* Blocks of a strip: codes of a token, in the order of the vectors, and sums wait on the stack. */
#define STRIP 8

typedef struct strip {
    int8_t code[FEW][STRIP * 256];
    __m256i sum[STRIP][FEW][MD_GRID_ROWS]; /* to be added up over the lanes */
    uint16_t d[STRIP][MD_GRID_ROWS];       /* halves */
    md_grid_head head[STRIP];              /* of one row: unpacked long before indices are loaded from them */
} strip;

/* What the compiler knows about a product. */
typedef struct few {
    md_type type;
    int n_tokens;
} few;

MD_INLINE int64_t few_row(const md_product *m, int64_t t)
{
    return m->rows ? m->rows[t] : t;
}

/* sums += one quarter of a block: 16-bit sums of two vectors' products (at most 4 * 62 * 127 = 31496), times the sub-scales. */
MD_INLINE __m256i few_quarter(md_type type, __m256i sums, const __m256i w[2], const md_signs signs[2], __m256i scales,
                              const int8_t *code)
{
    __m256i a[2] = {md_vec(code), md_vec(code + 32)};
    for (int j = 0; j < 2 && !md_grid_is_iq1(type); j++)
        a[j] = md_grid_negate(a[j], signs[j]);
#if MD_VNNI
    const __m256i part = _mm256_dpbusd_epi32(_mm256_dpbusd_epi32(_mm256_setzero_si256(), w[0], a[0]), w[1], a[1]);
    return _mm256_add_epi32(sums, _mm256_mullo_epi32(part, _mm256_srli_epi32(scales, 16)));
#else
    const __m256i part = _mm256_add_epi16(_mm256_maddubs_epi16(w[0], a[0]), _mm256_maddubs_epi16(w[1], a[1]));
    return _mm256_add_epi32(sums, _mm256_madd_epi16(part, scales));
#endif
}

/* One block of one row: sum[t * MD_GRID_ROWS] for each token. */
MD_INLINE void few_block(few f, const char *table, const void *block, const md_grid_head *h, const int8_t *const *code,
                         const int16_t *const *sum16, __m256i *sum)
{
    __m256i s[FEW];
    for (int t = 0; t < f.n_tokens; t++)
        s[t] = _mm256_setzero_si256();
    if (md_grid_is_iq1(f.type)) {
        const __m256i nine = _mm256_mullo_epi16(_mm256_cvtepu8_epi16(_mm256_castsi256_si128(h->sub)),
                                                _mm256_set1_epi16(-9));
        for (int t = 0; t < f.n_tokens; t++)
            s[t] = _mm256_madd_epi16(nine, md_vec(sum16[t]));
    }
    MD_UNROLL
    for (int q = 0; q < 4; q++) {
        __m256i w[2];
        md_signs signs[2] = {0};
        MD_UNROLL
        for (int j = 0; j < 2; j++) {
            w[j] = md_grid_codes(f.type, table, block, h, q, j);
            if (md_grid_is_iq1(f.type))
                w[j] = md_grid_shifted(w[j], h, q, j);
            else
                signs[j] = md_grid_signs(h, q, j);
        }
        const __m256i scales = md_grid_scales(h, q);
        MD_UNROLL
        for (int t = 0; t < f.n_tokens; t++)
            s[t] = few_quarter(f.type, s[t], w, signs, scales, code[t] + 64 * q);
    }
    for (int t = 0; t < f.n_tokens; t++)
        sum[t * MD_GRID_ROWS] = s[t];
}

/* Sums over the lanes of each of eight vectors, one in each lane. */
MD_INLINE __m256i few_turn(const __m256i *v)
{
    __m256i two[4], four[2];
    for (int i = 0; i < 4; i++)
        two[i] = _mm256_add_epi32(_mm256_unpacklo_epi32(v[2 * i], v[2 * i + 1]),
                                  _mm256_unpackhi_epi32(v[2 * i], v[2 * i + 1]));
    for (int i = 0; i < 2; i++)
        four[i] = _mm256_add_epi32(_mm256_unpacklo_epi64(two[2 * i], two[2 * i + 1]),
                                   _mm256_unpackhi_epi64(two[2 * i], two[2 * i + 1]));
    return _mm256_add_epi32(_mm256_permute2x128_si256(four[0], four[1], 0x20),
                            _mm256_permute2x128_si256(four[0], four[1], 0x31));
}

/* n_rows (at most 8) rows from r, against the tokens: whole rows, strip by strip. */
MD_INLINE void few_rows(few f, const md_product *m, const char *table, int64_t r, int n_rows, strip *s)
{
    const int64_t n_blocks = m->act->k / 256;
    const size_t block_bytes = (size_t)md_type_get(f.type)->bytes;
    __m256 acc[FEW];
    int64_t at[FEW];
    for (int t = 0; t < f.n_tokens; t++) {
        acc[t] = _mm256_setzero_ps();
        at[t] = few_row(m, t) * n_blocks;
    }
    for (int64_t b0 = 0; b0 < n_blocks; b0 += STRIP) {
        const int n = n_blocks - b0 < STRIP ? (int)(n_blocks - b0) : STRIP;
        for (int t = 0; t < f.n_tokens; t++)
            md_grid_order(s->code[t], m->act->code + (at[t] + b0) * 256, n * 256);
        for (int i = 0; i < n_rows; i++) {
            const char *block = (const char *)m->w + (size_t)(r + i) * m->row_bytes + (size_t)b0 * block_bytes;
            for (int b = 0; b < n; b++) {
                md_prefetch(block + (size_t)b * block_bytes + 1024);
                md_grid_head_of(&s->head[b], f.type, block + (size_t)b * block_bytes);
                s->d[b][i] = s->head[b].d;
            }
            for (int b = 0; b < n; b++, block += block_bytes) {
                const int8_t *code[FEW];
                const int16_t *sum16[FEW];
                for (int t = 0; t < f.n_tokens; t++) {
                    code[t] = s->code[t] + b * 256;
                    sum16[t] = m->act->sum16 + (at[t] + b0 + b) * 16;
                }
                few_block(f, table, block, &s->head[b], code, sum16, &s->sum[b][0][i]);
            }
        }
        for (int b = 0; b < n; b++) {
            const __m256 d = _mm256_mul_ps(md_halves(s->d[b]), _mm256_set1_ps(md_grid_factor(f.type)));
            for (int t = 0; t < f.n_tokens; t++)
                acc[t] = md_step(acc[t], d, _mm256_set1_ps(m->act->scale[at[t] + b0 + b]), few_turn(s->sum[b][t]));
        }
    }
    for (int t = 0; t < f.n_tokens; t++) {
        float y[MD_GRID_ROWS];
        _mm256_storeu_ps(y, acc[t]);
        memcpy(m->out + t * m->ld_out + r, y, (size_t)n_rows * sizeof *y);
    }
}

MD_INLINE void few_tokens(md_type type, const md_product *m, const char *table, int n_tokens)
{
    strip s;
    for (int64_t r = m->first; r < m->last; r += MD_GRID_ROWS) {
        const int n_rows = m->last - r < MD_GRID_ROWS ? (int)(m->last - r) : MD_GRID_ROWS;
        if (n_rows < MD_GRID_ROWS) { /* lanes without a row compute on zeros */
            memset(s.d, 0, sizeof s.d);
            memset(s.sum, 0, sizeof s.sum);
        }
        few_rows((few){type, n_tokens}, m, table, r, n_rows, &s);
    }
}

MD_INLINE void mul(md_type type, const md_product *m)
{
    md_grid_words words;
    const char *table = md_grid_table(type, &words);
    switch (m->n_rows) {
    case 0: break;
    case 1: few_tokens(type, m, table, 1); break;
    case 2: few_tokens(type, m, table, 2); break;
    default: few_tokens(type, m, table, FEW); break;
    }
}

#define MUL(NAME, name)                         \
    static void mul_##name(const md_product *m) \
    {                                           \
        if (m->n_rows > FEW)                    \
            MD_K(grid_many_##name)(m);          \
        else                                    \
            mul(MD_TYPE_##NAME, m);             \
    }
MUL(IQ1_S, iq1_s)
MUL(IQ1_M, iq1_m)
MUL(IQ2_XXS, iq2_xxs)
MUL(IQ2_XS, iq2_xs)
MUL(IQ2_S, iq2_s)
MUL(IQ3_XXS, iq3_xxs)
MUL(IQ3_S, iq3_s)

void MD_K(grid_fill)(md_kern *k)
{
    k->mul[MD_TYPE_IQ1_S] = mul_iq1_s;
    k->mul[MD_TYPE_IQ1_M] = mul_iq1_m;
    k->mul[MD_TYPE_IQ2_XXS] = mul_iq2_xxs;
    k->mul[MD_TYPE_IQ2_XS] = mul_iq2_xs;
    k->mul[MD_TYPE_IQ2_S] = mul_iq2_s;
    k->mul[MD_TYPE_IQ3_XXS] = mul_iq3_xxs;
    k->mul[MD_TYPE_IQ3_S] = mul_iq3_s;
}
