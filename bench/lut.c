/* SPDX-License-Identifier: Apache-2.0
 *
 * Table lookup against multiplication, one token, one thread: bench-lut [--json]. For weights of 1 to 4 bits the bit planes of 4
 * neighbouring columns index a table of the 16 sums of their activation codes (T-MAC, Wei et al. 2024); an entry is exact and held
 * as two byte planes, so the products have the same bits as those of docs/numerics.md, section 4, which is checked first.
 * Two rivals: for 1, 2 and 4 bits, a multiply kernel with the same freedom, whose activation codes are reordered so that a shift
 * and a mask make a vector of codes; and the avx2 table's kernel for a type of as many bits (Q1_0 looks up, too).
 * Weights lie in the second cache, then in memory.
 *
 * Layout for lookup: 32 rows of 32 columns are 32 halves and, for each plane, 4 vectors; byte of row r in vector i has the plane's
 * bits of columns 8i..8i+3 in its low nibble and of the next four in its high one. For shifts: 8 rows of 32 columns are 8 halves
 * and words of 32 bits, one of each row after the other, columns from the low end. x86 with AVX2 only. */
#include "base/mem.h"
#include "base/rng.h"
#include "dtype/dtype.h"
#include "kern/kern.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { K = 2048, GROUPS = K / 32, ROWS = 32, MAX_BITS = 4 };
/* Rows of a matrix that stays in the second cache, and of one that does not fit the third. */
enum { FEW_ROWS = 512, MANY_ROWS = 1 << 18 };

/* What weights of so many bits mean: factor * code - offset; and the type whose multiply kernel competes. */
typedef struct rival {
    int bits, factor, offset;
    md_type type;
    bool looks_up; /* so does the table's kernel */
} rival;
static const rival rivals[] = {{1, 2, 1, MD_TYPE_Q1_0, true},
                               {2, 1, 1, MD_TYPE_Q2_0, false},
                               {3, 1, 4, MD_TYPE_Q3_K, false},
                               {4, 1, 8, MD_TYPE_Q4_0, false}};

typedef struct table {
    uint8_t low[16]; /* entry = 32 * high + low */
    int8_t high[16];
} table;

typedef struct bench {
    float x[K];
    int8_t code[K], code256[K];
    float scale[GROUPS], sum32[GROUPS], scale256[K / 256];
    int16_t isum[GROUPS], sum16[K / 16];
    table tables[K / 4];
    int8_t spread[MAX_BITS + 1][K]; /* codes in the order of the shifts, for each number of bits */
    uint8_t *planes, *tiles;        /* weights for lookup, for multiplication */
    float *out;                     /* (MANY_ROWS) */
} bench;

static size_t block_bytes(int bits)
{
    return ROWS * sizeof(uint16_t) + (size_t)bits * 4 * ROWS;
}

static size_t planes_bytes(int bits, int64_t rows)
{
    return (size_t)(rows / ROWS) * GROUPS * block_bytes(bits);
}

/* Where row r of a tile is among the bytes of a vector: rows come out of 16-bit arithmetic on even and odd bytes in order. */
static int place(int r)
{
    return r % 8 * 2 + r / 8 % 2 * 16 + r / 16;
}

/* Bytes of 8 rows of 32 columns, as the shifts want them. */
static size_t woven_bytes(int bits)
{
    return 8 * sizeof(uint16_t) + (size_t)bits * 32;
}

/* ---- plain C ---- */

static int code_at(int bits, const uint8_t *block, int r, int column)
{
    int code = 0;
    for (int p = 0; p < bits; p++) {
        const uint8_t nibbles = block[ROWS * 2 + (p * 4 + column / 8) * ROWS + place(r)];
        code |= (nibbles >> column % 8 & 1) << p;
    }
    return code;
}

static int woven_code_at(int bits, const uint8_t *block, int r, int column)
{
    const int per_word = 32 / bits;
    uint32_t word;
    memcpy(&word, block + 16 + column / per_word * 32 + r * 4, sizeof word);
    return (int)(word >> column % per_word * bits & ((1u << bits) - 1));
}

/* Rows are in tiles of `lanes`: 32 for lookup, 8 for shifts. */
static float dot_in_c(const bench *b, rival v, int64_t row, int lanes)
{
    const uint8_t *weights = lanes == ROWS ? b->planes : b->tiles;
    const size_t bytes = lanes == ROWS ? block_bytes(v.bits) : woven_bytes(v.bits);
    const int r = (int)(row % lanes);
    float acc = 0.0f;
    for (int g = 0; g < GROUPS; g++) {
        const uint8_t *block = weights + ((size_t)(row / lanes) * GROUPS + (size_t)g) * bytes;
        uint16_t half;
        memcpy(&half, block + r * 2, sizeof half);
        int sum = 0;
        for (int i = 0; i < 32; i++) {
            const int code = lanes == ROWS ? code_at(v.bits, block, r, i) : woven_code_at(v.bits, block, r, i);
            sum += (v.factor * code - v.offset) * b->code[g * 32 + i];
        }
        acc = fmaf(md_half_to_float(half) * b->scale[g], (float)sum, acc);
    }
    return acc;
}

/* ---- lookup ---- */

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX2   __attribute__((target("avx2,fma,f16c")))
#define INLINE static inline __attribute__((always_inline)) AVX2
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

INLINE __m256i load(const void *p)
{
    return _mm256_loadu_si256((const __m256i_u *)p);
}

INLINE __m256i load_twice(const void *p)
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i_u *)p));
}

/* The tables of a token. Bits of an entry's number pick codes. */
AVX2 static void build_tables(const int8_t *code, table *t)
{
    const __m256i first = _mm256_setr_epi32(0x00000000, 0x00000001, 0x00000100, 0x00000101, 0x01000000, 0x01000001,
                                            0x01000100, 0x01000101);              /* entries 0-3, 8-11 */
    const __m256i second = _mm256_or_si256(first, _mm256_set1_epi32(0x00010000)); /* entries 4-7, 12-15 */
    const __m256i ones = _mm256_set1_epi16(1);
    for (int g = 0; g < K / 4; g++) {
        int32_t quad;
        memcpy(&quad, code + 4 * g, sizeof quad);
        const __m256i x = _mm256_set1_epi32(quad);
        const __m256i low = _mm256_madd_epi16(_mm256_maddubs_epi16(first, x), ones);
        const __m256i high = _mm256_madd_epi16(_mm256_maddubs_epi16(second, x), ones);
        const __m256i sum = _mm256_packs_epi32(low, high);
        const __m256i planes = _mm256_packs_epi16(_mm256_and_si256(sum, _mm256_set1_epi16(31)),
                                                  _mm256_srai_epi16(sum, 5));
        _mm256_storeu_si256((__m256i_u *)&t[g], _mm256_permute4x64_epi64(planes, 0xd8));
    }
}

/* Sums of one plane over 32 columns: rows at even bytes, rows at odd bytes. Eight entries add up in a byte: low to at most 8 * 31,
 * high from 8 * -16 to 8 * 15. */
INLINE void plane_sums(const uint8_t *index, const table *t, __m256i sums[2])
{
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256i low = _mm256_setzero_si256(), high = _mm256_setzero_si256();
    UNROLL
    for (int i = 0; i < 4; i++) {
        const __m256i v = load(index + i * ROWS), first = _mm256_and_si256(v, nibble);
        const __m256i second = _mm256_and_si256(_mm256_srli_epi16(v, 4), nibble);
        low = _mm256_add_epi8(low, _mm256_shuffle_epi8(load_twice(t[2 * i].low), first));
        high = _mm256_add_epi8(high, _mm256_shuffle_epi8(load_twice(t[2 * i].high), first));
        low = _mm256_add_epi8(low, _mm256_shuffle_epi8(load_twice(t[2 * i + 1].low), second));
        high = _mm256_add_epi8(high, _mm256_shuffle_epi8(load_twice(t[2 * i + 1].high), second));
    }
    const __m256i odd = _mm256_set1_epi16((short)0xff00);
    sums[0] = _mm256_add_epi16(_mm256_srai_epi16(_mm256_slli_epi16(high, 8), 3), _mm256_andnot_si256(odd, low));
    sums[1] = _mm256_add_epi16(_mm256_srai_epi16(_mm256_and_si256(high, odd), 3), _mm256_srli_epi16(low, 8));
}

/* acc += d_w * d_a * sums, for eight rows. */
INLINE __m256 step(__m256 acc, const uint8_t *halves, float d_a, __m128i sums)
{
    const __m256 d = _mm256_mul_ps(_mm256_cvtph_ps(_mm_loadu_si128((const __m128i_u *)halves)), _mm256_set1_ps(d_a));
    return _mm256_fmadd_ps(d, _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(sums)), acc);
}

/* Planes weigh 1, 2, 4, 8. Sums of 16 bits may wrap around on the way; the last fits (at most 8 * 32 * 127). */
INLINE void lookup_rows(const bench *b, rival v, int64_t rows)
{
    for (int64_t r = 0; r < rows; r += ROWS) {
        const uint8_t *block = b->planes + (size_t)(r / ROWS) * GROUPS * block_bytes(v.bits);
        __m256 acc[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
        for (int g = 0; g < GROUPS; g++, block += block_bytes(v.bits)) {
            for (size_t line = 0; line < block_bytes(v.bits); line += 64)
                _mm_prefetch((const char *)block + 4096 + line, _MM_HINT_T0);
            __m256i total[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
            UNROLL
            for (int p = v.bits - 1; p >= 0; p--) {
                __m256i sums[2];
                plane_sums(block + ROWS * 2 + p * 4 * ROWS, b->tables + g * 8, sums);
                for (int i = 0; i < 2; i++)
                    total[i] = _mm256_add_epi16(_mm256_add_epi16(total[i], total[i]), sums[i]);
            }
            const __m256i off = _mm256_set1_epi16((short)(v.offset * b->isum[g]));
            for (int i = 0; i < 2; i++) {
                const __m256i scaled = v.factor == 2 ? _mm256_add_epi16(total[i], total[i]) : total[i];
                const __m256i s = _mm256_sub_epi16(scaled, off);
                acc[2 * i] = step(acc[2 * i], block + 32 * i, b->scale[g], _mm256_castsi256_si128(s));
                acc[2 * i + 1] = step(acc[2 * i + 1], block + 32 * i + 16, b->scale[g], _mm256_extracti128_si256(s, 1));
            }
        }
        for (int i = 0; i < 4; i++)
            _mm256_storeu_ps(b->out + r + 8 * i, acc[i]);
    }
}

AVX2 static void lookup(const bench *b, const rival *v, int64_t rows)
{
    switch (v->bits) { /* each with constants */
    case 1: lookup_rows(b, rivals[0], rows); break;
    case 2: lookup_rows(b, rivals[1], rows); break;
    case 3: lookup_rows(b, rivals[2], rows); break;
    default: lookup_rows(b, rivals[3], rows); break;
    }
}
/* ---- shifts ---- */

/* Quad q of 32 columns has every (8 / bits)th column of a word. */
static int spread_column(int bits, int q, int byte)
{
    const int slots = 8 / bits;
    return q / slots * (32 / bits) + byte * slots + q % slots;
}

static void spread_codes(int bits, const int8_t *code, int8_t *spread)
{
    for (int i = 0; i < K; i++)
        spread[i] = code[i / 32 * 32 + spread_column(bits, i % 32 / 4, i % 4)];
}

/* Two tiles of 8 rows. All sums fit 16 bits: 8 * 2 * 15 * 127. */
INLINE void shift_rows(const bench *b, rival v, int64_t rows)
{
    const size_t tile = GROUPS * woven_bytes(v.bits);
    const __m256i mask = _mm256_set1_epi8((char)((1 << v.bits) - 1));
    for (int64_t r = 0; r < rows; r += 16) {
        const uint8_t *block = b->tiles + (size_t)(r / 8) * tile, *ahead = block + 2 * tile; /* as one stream */
        __m256 acc[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
        for (int g = 0; g < GROUPS; g++, block += woven_bytes(v.bits)) {
            __m256i sums[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
            for (size_t line = 0; line < 2 * woven_bytes(v.bits); line += 64)
                _mm_prefetch((const char *)ahead + line, _MM_HINT_T0);
            ahead += 2 * woven_bytes(v.bits);
            UNROLL
            for (int q = 0; q < 8; q++) {
                int32_t quad;
                memcpy(&quad, b->spread[v.bits] + g * 32 + q * 4, sizeof quad);
                const __m256i a = _mm256_set1_epi32(quad);
                const int word = q / (8 / v.bits), shift = q % (8 / v.bits) * v.bits;
                for (int i = 0; i < 2; i++) {
                    const __m256i w = _mm256_srli_epi16(load(block + (size_t)i * tile + 16 + word * 32), shift);
                    sums[i] = _mm256_add_epi16(sums[i], _mm256_maddubs_epi16(_mm256_and_si256(w, mask), a));
                }
            }
            const __m256i off = _mm256_set1_epi32(v.offset * b->isum[g]);
            for (int i = 0; i < 2; i++) {
                const __m256i sum = _mm256_madd_epi16(sums[i], _mm256_set1_epi16((short)v.factor));
                const __m128i halves = _mm_loadu_si128((const __m128i_u *)(block + (size_t)i * tile));
                const __m256 d = _mm256_mul_ps(_mm256_cvtph_ps(halves), _mm256_set1_ps(b->scale[g]));
                acc[i] = _mm256_fmadd_ps(d, _mm256_cvtepi32_ps(_mm256_sub_epi32(sum, off)), acc[i]);
            }
        }
        for (int i = 0; i < 2; i++)
            _mm256_storeu_ps(b->out + r + 8 * i, acc[i]);
    }
}

AVX2 static void shifts(const bench *b, const rival *v, int64_t rows)
{
    switch (v->bits) {
    case 1: shift_rows(b, rivals[0], rows); break;
    case 2: shift_rows(b, rivals[1], rows); break;
    case 4: shift_rows(b, rivals[3], rows); break;
    default: break;
    }
}
#else
static void spread_codes(int bits, const int8_t *code, int8_t *spread)
{
    (void)bits;
    (void)code;
    (void)spread;
}

static void shifts(const bench *b, const rival *v, int64_t rows)
{
    (void)b;
    (void)v;
    (void)rows;
}

static void build_tables(const int8_t *code, table *t)
{
    (void)code;
    (void)t;
}

static void lookup(const bench *b, const rival *v, int64_t rows)
{
    (void)b;
    (void)v;
    (void)rows;
}
#endif

/* ---- what the table has ---- */

static void in_table(const bench *b, const rival *v, int64_t rows)
{
    const bool q256 = md_type_get(v->type)->act == MD_ACT_Q256;
    const md_act act = {.kind = q256 ? MD_ACT_Q256 : MD_ACT_Q32,
                        .k = K,
                        .code = q256 ? b->code256 : b->code,
                        .scale = q256 ? b->scale256 : b->scale,
                        .sum32 = b->sum32,
                        .isum = b->isum,
                        .sum16 = b->sum16};
    size_t row_bytes;
    if (!md_type_row_bytes(v->type, K, &row_bytes))
        return;
    const md_product m = {
        .w = b->tiles, .row_bytes = row_bytes, .last = rows, .act = &act, .n_rows = 1, .out = b->out, .ld_out = rows};
    md_kern_get("avx2")->mul_tiles[v->type](&m);
}

/* ---- measuring ---- */

static double thread_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

enum { LOOKUP, SHIFTS, IN_TABLE, BUILD, RUNNERS };

typedef void gemv(const bench *b, const rival *v, int64_t rows);

static void build(const bench *b, const rival *v, int64_t rows)
{
    (void)v;
    (void)rows;
    build_tables(b->code, (table *)(uintptr_t)b->tables);
}

/* The best seconds of each: they take turns, so that a busy machine slows all. */
static void race(const bench *b, const rival *v, int64_t rows, double best[RUNNERS])
{
    static gemv *const runners[RUNNERS] = {lookup, shifts, in_table, build};
    for (int i = 0; i < RUNNERS; i++)
        best[i] = 1e9;
    for (int round = 0; round < 15; round++)
        for (int i = 0; i < RUNNERS; i++) {
            const double start = thread_seconds();
            double now;
            int times = 0;
            do {
                runners[i](b, v, rows);
                times++;
                now = thread_seconds();
            } while (now - start < 1e-3);
            best[i] = (now - start) / times < best[i] ? (now - start) / times : best[i];
        }
}

static void fill(uint8_t *p, size_t n, uint64_t stream)
{
    for (size_t i = 0; i < n; i += 16) {
        const md_rand4 r = md_philox(3, i, stream);
        memcpy(p + i, &r, n - i < 16 ? n - i : 16);
    }
    for (size_t i = 0; i < n; i++)
        p[i] &= 0xbf; /* no half is infinite */
}

static bool bench_init(bench *b)
{
    size_t row_bytes = 0;
    if (!md_type_row_bytes(MD_TYPE_Q4_0, K, &row_bytes)) /* the largest */
        return false;
    b->planes = md_calloc(1, planes_bytes(MAX_BITS, MANY_ROWS));
    b->tiles = md_calloc(MANY_ROWS, row_bytes);
    b->out = md_calloc(MANY_ROWS, sizeof *b->out);
    if (!b->planes || !b->tiles || !b->out)
        return false;
    fill(b->planes, planes_bytes(MAX_BITS, MANY_ROWS), 0);
    fill(b->tiles, MANY_ROWS * row_bytes, 1);
    for (int i = 0; i < K; i++)
        b->x[i] = md_rand_normal(1, 1, (uint64_t)i);
    const md_kern *kern = md_kern_get("avx2");
    kern->quantize32(b->x, K, b->code, b->scale, b->sum32, b->isum);
    kern->quantize256(b->x, K, b->code256, b->scale256, b->sum16);
    build_tables(b->code, b->tables);
    for (int i = 0; i < 4; i++)
        if (rivals[i].bits != 3)
            spread_codes(rivals[i].bits, b->code, b->spread[rivals[i].bits]);
    return true;
}

static bool bits_are_equal(const bench *b, const rival *v, gemv *f, int lanes)
{
    f(b, v, FEW_ROWS);
    for (int64_t r = 0; r < FEW_ROWS; r++) {
        const float expected = dot_in_c(b, *v, r, lanes);
        if (memcmp(&expected, &b->out[r], sizeof expected) != 0) {
            fprintf(stderr, "bench-lut: %d bits, row %d: %a, expected %a\n", v->bits, (int)r, (double)b->out[r],
                    (double)expected);
            return false;
        }
    }
    return true;
}

static void report(const bench *b, const rival *v, int64_t rows, bool json, bool first)
{
    double s[RUNNERS];
    race(b, v, rows, s);
    const char *where = rows == FEW_ROWS ? "cache" : "memory", *name = md_type_get(v->type)->name;
    const double macs = (double)rows * K / 1e9, lookups = macs / s[LOOKUP], engine = macs / s[IN_TABLE];
    const double shifted = v->bits == 3 ? 0 : macs / s[SHIFTS];
    const double rate = !v->looks_up && engine > shifted ? engine : shifted; /* of the best multiplication */
    if (json)
        printf("%s  {\"bits\": %d, \"type\": \"%s\", \"weights_in\": \"%s\", \"lookup_gmac_per_s\": %.2f, "
               "\"shifts_gmac_per_s\": %.2f, \"table_gmac_per_s\": %.2f, \"tables_us\": %.3f}",
               first ? "" : ",\n", v->bits, name, where, lookups, shifted, engine, s[BUILD] * 1e6);
    else
        printf(
            "%d bits in %-6s  lookup %6.1f  shifts %6.1f  %-4s %6.1f Gmadd/s  lookup / multiplication %.2f  tables %.2f us\n",
            v->bits, where, lookups, shifted, name, engine, lookups / rate, s[BUILD] * 1e6);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const bool json = argc == 2 && strcmp(argv[1], "--json") == 0;
    if (argc > 1 && !json) {
        fprintf(stderr, "usage: bench-lut [--json]\n");
        return 2;
    }
    if (!md_kern_get("avx2")) {
        fprintf(stderr, "bench-lut: this machine has no AVX2\n");
        return 1;
    }
    static bench b;
    bool good = bench_init(&b);
    if (!good)
        fprintf(stderr, "bench-lut: out of memory\n");
    if (good && json)
        printf("[\n");
    for (size_t i = 0; good && i < sizeof rivals / sizeof *rivals; i++) {
        good = bits_are_equal(&b, &rivals[i], lookup, ROWS) &&
               (rivals[i].bits == 3 || bits_are_equal(&b, &rivals[i], shifts, 8));
        for (int far = 0; good && far < 2; far++)
            report(&b, &rivals[i], far ? MANY_ROWS : FEW_ROWS, json, i == 0 && !far);
    }
    if (good && json)
        printf("\n]\n");
    md_free(b.planes);
    md_free(b.tiles);
    md_free(b.out);
    return good ? 0 : 1;
}
