/* SPDX-License-Identifier: Apache-2.0
 *
 * Products with codebook types for many tokens (docs/numerics.md, section 4): a block of 16 rows is decoded once into signed codes
 * laid out like tiles and meets all tokens of a panel. Lanes are rows.
 *
 * Unsigned bytes are the activation codes plus 128, so that the correction, -128 * (sum of weight codes), belongs to the weights:
 * it is where each chain of 16-bit sums starts. On the way a chain may wrap around; its end is the exact sum without the
 * 128, and fits: magnitudes up to 62 over 2 quads (2 * 2 * 62 * 127 = 31496), up to 15 over 8 (30480). */
#include "kern/x86/grid_many.h"

#include "kern/x86/grid.h"

/* Tokens of a panel, blocks of a strip: 64 KiB of packed codes, for the second cache. */
#define PANEL 64
#define STRIP 4
/* Tiles of eight rows that are decoded together. */
#define TILES 2
#define ROWS  (TILES * MD_GRID_ROWS)

/* A block of ROWS rows. */
typedef struct decoded {
    int8_t code[64][TILES][32]; /* quads of columns */
    __m256i start[32][TILES];   /* of each chain */
    __m256i scale[16][TILES];   /* of each group, pairs of equal 16-bit numbers */
    __m256 d[TILES];
} decoded;

typedef struct panel {
    int8_t code[STRIP][PANEL / MD_GROUP][256 * MD_GROUP]; /* activation codes + 128, in groups */
    float acc[PANEL][ROWS];
    decoded w;
} panel;

/* How the 64 quads of columns of a block fall into groups with one sub-scale, and groups into chains of sums. */
typedef struct cut {
    int group, chain; /* quads */
} cut;

MD_INLINE cut cut_of(md_type type)
{
    const int group = type == MD_TYPE_IQ2_XS || type == MD_TYPE_IQ2_S || type == MD_TYPE_IQ1_M ? 4 : 8;
    return (cut){group, MD_VNNI || md_grid_is_iq1(type) || type == MD_TYPE_IQ3_S ? group : 2};
}

/* ---- weights ---- */

/* Eight rows of eight 32-bit words, turned. */
MD_INLINE void turn(__m256i v[8])
{
    __m256i a[8], b[8];
    MD_UNROLL
    for (int i = 0; i < 4; i++) {
        a[2 * i] = _mm256_unpacklo_epi32(v[2 * i], v[2 * i + 1]);
        a[2 * i + 1] = _mm256_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
    }
    MD_UNROLL
    for (int i = 0; i < 2; i++) {
        b[4 * i] = _mm256_unpacklo_epi64(a[4 * i], a[4 * i + 2]);
        b[4 * i + 1] = _mm256_unpackhi_epi64(a[4 * i], a[4 * i + 2]);
        b[4 * i + 2] = _mm256_unpacklo_epi64(a[4 * i + 1], a[4 * i + 3]);
        b[4 * i + 3] = _mm256_unpackhi_epi64(a[4 * i + 1], a[4 * i + 3]);
    }
    MD_UNROLL
    for (int i = 0; i < 4; i++) {
        v[i] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x20);
        v[i + 4] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x31);
    }
}

/* Entry i of the codebook for each of eight rows, side by side: rows 0, 1, 4, 5 and rows 2, 3, 6, 7, 8 bytes each. */
MD_INLINE void look_up(md_type type, const char *table, const char *const *block, const md_grid_head *h, int i,
                       __m256 v[2])
{
    const int bytes = md_grid_is_iq3(type) ? 4 : 8;
    MD_UNROLL
    for (int k = 0; k < 2; k++) {
        const char *entry[4];
        MD_UNROLL
        for (int n = 0; n < 4; n++) {
            const int r = 2 * k + n % 2 + n / 2 * 4;
            entry[n] = table + (size_t)bytes * md_grid_index(type, block[r], &h[r], i);
        }
        const __m128i low = md_grid_two(entry[0], entry[1]), high = md_grid_two(entry[2], entry[3]);
        v[k] = _mm256_castsi256_ps(_mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1));
    }
}

/* A quad of eight rows, lanes = rows, from word `word` (0 or 1) of what was looked up. */
MD_INLINE __m256i quad_of(const __m256 v[2], int word)
{
    return _mm256_castps_si256(word ? _mm256_shuffle_ps(v[0], v[1], 0xdd) : _mm256_shuffle_ps(v[0], v[1], 0x88));
}

/* Unit u of eight rows; its signs are byte i of each lane of `signs`. */
MD_INLINE void decode_unit(md_type type, const char *table, const char *const *block, const md_grid_head *h, int u,
                           int i, __m256i signs, decoded *w, int tile)
{
    const __m256i every = _mm256_broadcastsi128_si256(_mm_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c));
    const __m256i mine = _mm256_shuffle_epi8(signs, _mm256_add_epi8(every, _mm256_set1_epi8((char)i)));
    __m256i quad[2];
    __m256 v[2];
    look_up(type, table, block, h, md_grid_is_iq3(type) ? 2 * u : u, v);
    quad[0] = quad_of(v, 0);
    if (md_grid_is_iq3(type))
        look_up(type, table, block, h, 2 * u + 1, v);
    quad[1] = quad_of(v, md_grid_is_iq3(type) ? 0 : 1);
    MD_UNROLL
    for (int k = 0; k < 2; k++) {
        if (md_grid_is_iq1(type))
            quad[k] = _mm256_add_epi8(quad[k], mine);
        else
            quad[k] = md_grid_negate(quad[k],
                                     md_grid_sign_bits(mine, _mm256_set1_epi32(k ? (int)0x80402010 : 0x08040201)));
        md_vec_store(w->code[2 * u + k][tile], quad[k]);
    }
}

/* All units of eight rows. */
MD_INLINE void decode_codes(md_type type, const char *table, const char *const *block, const md_grid_head *h,
                            decoded *w, int tile)
{
    static const int unit[4] = {0, 4, 2, 6};
    __m256i signs[MD_GRID_ROWS];
    for (int r = 0; r < MD_GRID_ROWS; r++)
        signs[r] = md_vec(h[r].signs);
    turn(signs);
    for (int k = 0; k < 8; k++) {
        const __m256i s = md_grid_is_iq1(type) ? _mm256_sub_epi8(signs[k], _mm256_set1_epi8(9)) : signs[k];
        MD_UNROLL
        for (int i = 0; i < 4; i++)
            decode_unit(type, table, block, h, k / 2 * 8 + k % 2 + unit[i], i, s, w, tile);
    }
}

MD_INLINE void decode_scales(md_type type, const md_grid_head *h, decoded *w, int tile)
{
    __m256i v[MD_GRID_ROWS];
    uint16_t d[MD_GRID_ROWS];
    for (int r = 0; r < MD_GRID_ROWS; r++) {
        v[r] = h[r].sub;
        d[r] = h[r].d;
    }
    turn(v);
    for (int g = 0; g < 16; g++) {
        /* Byte g % 4 of each word, a zero, and both once more. */
        const __m256i nth = _mm256_add_epi32(
            _mm256_set1_epi32((int)0x80008000u + (g % 4) * 0x00010001),
            _mm256_broadcastsi128_si256(_mm_setr_epi32(0, 0x00040004, 0x00080008, 0x000c000c)));
        w->scale[g][tile] = _mm256_shuffle_epi8(v[g / 4], nth);
    }
    w->d[tile] = _mm256_mul_ps(md_halves(d), _mm256_set1_ps(md_grid_factor(type)));
}

/* Where chains start: minus 128 times the sum of their weight codes. */
MD_INLINE void decode_starts(int quads, decoded *w, int tile)
{
    for (int c = 0; c < 64 / quads; c++) {
        __m256i sum = _mm256_setzero_si256();
        for (int i = 0; i < quads; i++)
            sum = md_dot_u8(sum, _mm256_set1_epi8(-128), md_vec(w->code[c * quads + i][tile]));
#if MD_VNNI
        w->start[c][tile] = _mm256_sub_epi32(_mm256_setzero_si256(), sum);
#else
        w->start[c][tile] = _mm256_sub_epi16(_mm256_setzero_si256(), sum);
#endif
    }
}

/* One block of eight rows. */
MD_INLINE void decode(md_type type, const char *table, const char *const *block, decoded *w, int tile)
{
    md_grid_head h[MD_GRID_ROWS];
    for (int r = 0; r < MD_GRID_ROWS; r++) {
        md_prefetch(block[r] + 256);
        md_grid_head_of(&h[r], type, block[r]);
    }
    decode_codes(type, table, block, h, w, tile);
    decode_scales(type, h, w, tile);
    decode_starts(cut_of(type).chain, w, tile);
}

/* ---- sums ---- */

/* One chain of sums. */
MD_INLINE void chain_tokens(cut by, int tiles, int n, __m256i (*part)[TILES], const int8_t (*code)[TILES][32],
                            const int8_t *a)
{
    MD_UNROLL
    for (int k = 0; k < by.chain; k++) {
        __m256i w[TILES];
        MD_UNROLL
        for (int i = 0; i < tiles; i++)
            w[i] = md_in_order(md_vec(code[k][i])); /* loaded once, not once a token */
        MD_UNROLL
        for (int t = 0; t < n; t++) {
            const __m256i at = md_quad(a + k * MD_GROUP_QUAD + 4 * t);
            MD_UNROLL
            for (int i = 0; i < tiles; i++)
                part[t][i] = md_dot_u8(part[t][i], at, w[i]);
        }
    }
}

/* One block of `tiles` tiles against `n` tokens of a group from its token `first`; all three are constants. */
MD_INLINE void block_tokens(cut by, int tiles, int n, const decoded *w, const int8_t *a, const float *scale,
                            float (*acc)[ROWS])
{
    const int chains = by.group / by.chain;
    __m256i sums[MD_GROUP][TILES];
    MD_UNROLL
    for (int t = 0; t < n; t++)
        MD_UNROLL
    for (int i = 0; i < tiles; i++)
        sums[t][i] = _mm256_setzero_si256();
    for (int g = 0; g < 64 / by.group; g++)
        MD_UNROLL
    for (int c = 0; c < chains; c++, a += by.chain * MD_GROUP_QUAD) {
        const int chain = g * chains + c;
        __m256i part[MD_GROUP][TILES];
        MD_UNROLL
        for (int i = 0; i < tiles; i++) {
            part[0][i] = md_in_order(w->start[chain][i]);
            MD_UNROLL
            for (int t = 1; t < n; t++)
                part[t][i] = part[0][i];
        }
        chain_tokens(by, tiles, n, part, w->code + chain * by.chain, a);
        MD_UNROLL
        for (int i = 0; i < tiles; i++) {
            const __m256i sub = md_in_order(w->scale[g * by.group / 4][i]);
            MD_UNROLL
            for (int t = 0; t < n; t++)
                sums[t][i] = md_in_order(md_part_scaled(sums[t][i], part[t][i], sub));
        }
    }
    MD_UNROLL
    for (int t = 0; t < n; t++)
        MD_UNROLL
    for (int i = 0; i < tiles; i++) {
        float *y = acc[t] + i * MD_GRID_ROWS;
        _mm256_storeu_ps(y, md_step(_mm256_loadu_ps(y), w->d[i], _mm256_set1_ps(scale[t]), sums[t][i]));
    }
}

/* ---- the product ---- */

/* Tokens [first, first + n) of a product. */
typedef struct many {
    const md_product *m;
    int64_t first;
    int n;
} many;

MD_INLINE int64_t many_row(many t, int i)
{
    return t.m->rows ? t.m->rows[t.first + i] : t.first + i;
}

/* Blocks [b0, b0 + n) of all tokens, packed. */
static void pack(many t, int64_t b0, int n, panel *p)
{
    const md_act *a = t.m->act;
    for (int g = 0; g * MD_GROUP < t.n; g++)
        for (int b = 0; b < n; b++) {
            const int8_t *row[MD_GROUP];
            for (int i = 0; i < MD_GROUP; i++) {
                const int at = g * MD_GROUP + i < t.n ? g * MD_GROUP + i : t.n - 1;
                row[i] = a->code + many_row(t, at) * a->k + (b0 + b) * 256;
            }
            int8_t *packed = p->code[b][g];
            md_pack_group(packed, row, 256);
            for (int i = 0; i < 256 * MD_GROUP; i += 32)
                md_vec_store(packed + i, _mm256_xor_si256(md_vec(packed + i), _mm256_set1_epi8(-128)));
        }
}

/* All tokens against one decoded block, block b of the strip. */
MD_INLINE void block_panel(cut by, int tiles, many t, int64_t block, int b, panel *p)
{
    const int64_t n_blocks = t.m->act->k / 256;
    for (int i = 0; i < t.n; i += MD_GROUP) {
        const int8_t *a = p->code[b][i / MD_GROUP];
        float scale[MD_GROUP];
        for (int j = 0; j < MD_GROUP; j++)
            scale[j] = t.m->act->scale[many_row(t, i + j < t.n ? i + j : i) * n_blocks + block];
        if (t.n - i > MD_GROUP / 2)
            block_tokens(by, tiles, MD_GROUP, &p->w, a, scale, p->acc + i);
        else
            block_tokens(by, tiles, MD_GROUP / 2, &p->w, a, scale, p->acc + i);
    }
}

/* What differs between types. */
typedef struct kind {
    md_type type;
    void (*decode)(const char *table, const char *const *block, decoded *w, int tile);
    void (*sums[TILES])(many t, int64_t block, int b, panel *p); /* for one tile, for two */
} kind;

/* `rows` rows from r over the blocks [b0, b0 + n): outputs are the accumulators between strips. */
static void strip_rows(const kind *of, many t, const char *table, int64_t r, int rows, int64_t b0, int n, panel *p)
{
    const int tiles = rows > MD_GRID_ROWS ? TILES : 1;
    const md_product *m = t.m;
    const size_t bytes = (size_t)md_type_get(of->type)->bytes;
    for (int i = 0; i < t.n; i++) {
        const float *y = m->out + (t.first + i) * m->ld_out + r;
        for (int k = 0; k < ROWS; k++)
            p->acc[i][k] = b0 > 0 && k < rows ? y[k] : 0.0f;
    }
    for (int b = 0; b < n; b++) {
        for (int tile = 0; tile < tiles; tile++) {
            const char *block[MD_GRID_ROWS]; /* beyond the last row, the last once more */
            for (int i = 0; i < MD_GRID_ROWS; i++) {
                const int row = tile * MD_GRID_ROWS + i < rows ? tile * MD_GRID_ROWS + i : rows - 1;
                block[i] = (const char *)m->w + (size_t)(r + row) * m->row_bytes + (size_t)(b0 + b) * bytes;
            }
            of->decode(table, block, &p->w, tile);
        }
        of->sums[tiles - 1](t, b0 + b, b, p);
    }
    for (int i = 0; i < t.n; i++)
        memcpy(m->out + (t.first + i) * m->ld_out + r, p->acc[i], (size_t)rows * sizeof(float));
}

static void mul(const kind *of, const md_product *m)
{
    const int64_t n_blocks = m->act->k / 256;
    md_grid_words words;
    const char *table = md_grid_table(of->type, &words);
    panel p;
    for (int64_t t0 = 0; t0 < m->n_rows; t0 += PANEL) {
        const many t = {m, t0, m->n_rows - t0 < PANEL ? (int)(m->n_rows - t0) : PANEL};
        for (int64_t b0 = 0; b0 < n_blocks; b0 += STRIP) {
            const int n = n_blocks - b0 < STRIP ? (int)(n_blocks - b0) : STRIP;
            pack(t, b0, n, &p);
            for (int64_t r = m->first; r < m->last; r += ROWS)
                strip_rows(of, t, table, r, m->last - r < ROWS ? (int)(m->last - r) : ROWS, b0, n, &p);
        }
    }
}

/* ---- one row a type ---- */

#define SUMS(name, group, chain)                                        \
    static void sums_##name##_1(many t, int64_t block, int b, panel *p) \
    {                                                                   \
        block_panel((cut){group, chain}, 1, t, block, b, p);            \
    }                                                                   \
    static void sums_##name##_2(many t, int64_t block, int b, panel *p) \
    {                                                                   \
        block_panel((cut){group, chain}, TILES, t, block, b, p);        \
    }
SUMS(4_4, 4, 4)
SUMS(8_8, 8, 8)
#if !MD_VNNI
SUMS(4_2, 4, 2)
SUMS(8_2, 8, 2)
#define SUMS_SHORT(group)                      \
    {                                          \
        sums_##group##_2_1, sums_##group##_2_2 \
    }
#else
#define SUMS_SHORT(group)                                      \
    {                                                          \
        sums_##group##_##group##_1, sums_##group##_##group##_2 \
    }
#endif
#define SUMS_LONG(group)                                       \
    {                                                          \
        sums_##group##_##group##_1, sums_##group##_##group##_2 \
    }

#define MUL(NAME, name, ...)                                                                     \
    static void decode_##name(const char *table, const char *const *block, decoded *w, int tile) \
    {                                                                                            \
        decode(MD_TYPE_##NAME, table, block, w, tile);                                           \
    }                                                                                            \
    void MD_K(grid_many_##name)(const md_product *m)                                             \
    {                                                                                            \
        mul(&(const kind){MD_TYPE_##NAME, decode_##name, __VA_ARGS__}, m);                       \
    }
MUL(IQ1_S, iq1_s, SUMS_LONG(8))
MUL(IQ1_M, iq1_m, SUMS_LONG(4))
MUL(IQ2_XXS, iq2_xxs, SUMS_SHORT(8))
MUL(IQ2_XS, iq2_xs, SUMS_SHORT(4))
MUL(IQ2_S, iq2_s, SUMS_SHORT(4))
MUL(IQ3_XXS, iq3_xxs, SUMS_SHORT(8))
MUL(IQ3_S, iq3_s, SUMS_LONG(8))
