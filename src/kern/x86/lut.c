/* SPDX-License-Identifier: Apache-2.0
 *
 * Products with tiles of Q1_0 for one token, by table lookup (T-MAC, Wei et al. 2024): four bits of a row, one for each of four
 * columns, index a table of the 16 sums of these columns' activation codes. Bits say which codes count: the weight is 2 * bit - 1,
 * so a group's sum is twice what is looked up less the sum of its codes, the same integer that multiplication gives.
 *
 * An entry lies in [-508, 508] and is held as 32 * high + low, a byte each, so that a group's eight entries add up in bytes: high
 * in [-16, 15], low in [0, 31]. Four tiles, 32 rows, share a shuffle. */
#include "kern/x86/lut.h"

#include "kern/x86/dot.h"
#include "kern/x86/tiles32.h"

/* Groups of 32 columns whose tables wait on the stack: 16 KiB. */
#define SPAN  64
/* Rows that are worth building the tables for. */
#define LEAST 32
/* Tiles of a step; bytes of a block of a tile: 8 halves and 4 groups of 32 bits a row. */
#define TILES 4
#define BYTES 144

typedef struct table {
    uint8_t low[16];
    int8_t high[16];
} table;

/* The tables of n groups, eight a group. Bits of an entry's number pick codes. */
static void build(const int8_t *code, int64_t n, table *t)
{
    const __m256i first = _mm256_setr_epi32(0x00000000, 0x00000001, 0x00000100, 0x00000101, 0x01000000, 0x01000001,
                                            0x01000100, 0x01000101);              /* entries 0-3, 8-11 */
    const __m256i second = _mm256_or_si256(first, _mm256_set1_epi32(0x00010000)); /* entries 4-7, 12-15 */
    const __m256i ones = _mm256_set1_epi16(1);
    for (int64_t i = 0; i < 8 * n; i++) {
        const __m256i quad = md_quad(code + 4 * i);
        const __m256i a = _mm256_madd_epi16(_mm256_maddubs_epi16(first, quad), ones);
        const __m256i b = _mm256_madd_epi16(_mm256_maddubs_epi16(second, quad), ones);
        const __m256i sum = _mm256_packs_epi32(a, b);
        const __m256i both = _mm256_packs_epi16(_mm256_and_si256(sum, _mm256_set1_epi16(31)),
                                                _mm256_srai_epi16(sum, 5));
        md_vec_store(t + i, _mm256_permute4x64_epi64(both, 0xd8));
    }
}

/* Bytes of the words of 32 rows: v[j] has byte j of each, tile i's rows 0-3 at 4i in the low half, rows 4-7 in the high one. */
MD_INLINE void turn(__m256i v[TILES])
{
    const __m256i by_byte = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    for (int i = 0; i < TILES; i++)
        v[i] = _mm256_shuffle_epi8(v[i], by_byte);
    const __m256i a = _mm256_unpacklo_epi32(v[0], v[1]), b = _mm256_unpacklo_epi32(v[2], v[3]);
    const __m256i c = _mm256_unpackhi_epi32(v[0], v[1]), d = _mm256_unpackhi_epi32(v[2], v[3]);
    v[0] = _mm256_unpacklo_epi64(a, b);
    v[1] = _mm256_unpackhi_epi64(a, b);
    v[2] = _mm256_unpacklo_epi64(c, d);
    v[3] = _mm256_unpackhi_epi64(c, d);
}

MD_INLINE __m256i add_entries(__m256i sums, const void *entries, __m256i index)
{
    return _mm256_add_epi8(sums, md_lookup(entries, index));
}

/* What eight tables give for 32 rows, as 16-bit numbers: those at even bytes, those at odd bytes. */
MD_INLINE void look_up(const __m256i v[TILES], const table *t, __m256i sums[2])
{
    const __m256i odd = _mm256_set1_epi16((short)0xff00);
    __m256i low = _mm256_setzero_si256(), high = _mm256_setzero_si256();
    for (int j = 0; j < TILES; j++) {
        const __m256i first = md_low_nibbles(v[j]), second = md_high_nibbles(v[j]);
        low = add_entries(add_entries(low, t[2 * j].low, first), t[2 * j + 1].low, second);
        high = add_entries(add_entries(high, t[2 * j].high, first), t[2 * j + 1].high, second);
    }
    sums[0] = _mm256_add_epi16(_mm256_srai_epi16(_mm256_slli_epi16(high, 8), 3), _mm256_andnot_si256(odd, low));
    sums[1] = _mm256_add_epi16(_mm256_srai_epi16(_mm256_and_si256(high, odd), 3), _mm256_srli_epi16(low, 8));
}

/* One group of four tiles' rows. */
MD_INLINE void add_group(__m256 acc[TILES], const __m256 d[TILES], const uint8_t *const word[TILES], const table *t,
                         int16_t isum, float scale)
{
    __m256i v[TILES], sums[2];
    for (int i = 0; i < TILES; i++)
        v[i] = md_vec(word[i]);
    turn(v);
    look_up(v, t, sums);
    for (int i = 0; i < 2; i++)
        sums[i] = _mm256_sub_epi16(_mm256_add_epi16(sums[i], sums[i]), _mm256_set1_epi16(isum));
    const __m256i two[2] = {_mm256_unpacklo_epi16(sums[0], sums[1]), _mm256_unpackhi_epi16(sums[0], sums[1])};
    for (int i = 0; i < TILES; i++) {
        const __m256i x = two[i / 2], wide = i % 2 ? _mm256_unpackhi_epi16(x, x) : _mm256_unpacklo_epi16(x, x);
        acc[i] = md_step(acc[i], d[i], _mm256_set1_ps(scale), _mm256_srai_epi32(wide, 16));
    }
}

/* n groups of four tiles from `block` on; those that there are not repeat the last. */
static void add_tiles(const uint8_t *block, size_t pitch, int tiles, const table *t, const int16_t *isum,
                      const float *scale, int64_t n, float *out, bool first)
{
    __m256 acc[TILES], d[TILES];
    const uint8_t *at[TILES], *word[TILES];
    for (int i = 0; i < TILES; i++) {
        at[i] = block + (size_t)(i < tiles ? i : tiles - 1) * pitch;
        acc[i] = first || i >= tiles ? _mm256_setzero_ps() : _mm256_loadu_ps(out + i * MD_TILE_ROWS);
    }
    const uint8_t *ahead = block + TILES * pitch; /* the next tiles, as one stream */
    for (int64_t g = 0; g < n; g += 4) {
        for (int line = 0; line < TILES * BYTES; line += 64)
            md_prefetch(ahead + line);
        ahead += TILES * BYTES;
        for (int i = 0; i < TILES; i++) {
            d[i] = md_halves(at[i]);
            word[i] = at[i] + 16;
            at[i] += BYTES;
        }
        for (int64_t k = g; k < g + 4; k++) {
            add_group(acc, d, word, t + 8 * k, isum[k], scale[k]);
            for (int i = 0; i < TILES; i++)
                word[i] += 32;
        }
    }
    for (int i = 0; i < tiles; i++)
        _mm256_storeu_ps(out + i * MD_TILE_ROWS, acc[i]);
}

static void mul_token(const md_product *m)
{
    const md_act *a = m->act;
    const int64_t n_groups = a->k / 32, at = (m->rows ? m->rows[0] : 0) * n_groups;
    table tables[8 * SPAN];
    for (int64_t g = 0; g < n_groups; g += SPAN) {
        const int64_t n = n_groups - g < SPAN ? n_groups - g : SPAN;
        build(a->code + (at + g) * 32, n, tables);
        for (int64_t r = m->first; r < m->last; r += TILES * MD_TILE_ROWS) {
            const int64_t left = (m->last - r) / MD_TILE_ROWS;
            add_tiles((const uint8_t *)m->w + (size_t)r * m->row_bytes + (size_t)(g / 4) * BYTES,
                      MD_TILE_ROWS * m->row_bytes, left < TILES ? (int)left : TILES, tables, a->isum + at + g,
                      a->scale + at + g, n, m->out + r, g == 0);
        }
    }
}

static void mul_q1_0(const md_product *m)
{
    if (m->n_rows == 1 && m->last - m->first >= LEAST)
        mul_token(m);
    else
        MD_K(tiles32_many)(MD_TYPE_Q1_0)(m);
}

void MD_K(lut_fill)(md_kern *k)
{
    k->mul_tiles[MD_TYPE_Q1_0] = mul_q1_0;
}
