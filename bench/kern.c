/* SPDX-License-Identifier: Apache-2.0
 *
 * Speed of the matrix products on one thread, beside what the machine can do: bench-kern [--json] [--isa NAME] [TYPE]... .
 * For every type, table and layout (rows as in files, tiles): 1, 4, 16 and 64 tokens by a matrix that fits the caches, as a share of
 * the multiply roof of the type's instructions (bench/roof.h), and 1 token by a matrix in tiles that does not, as a share of one
 * thread's read roof. Activations are quantized beforehand. Times are the best of several runs; equal hashes mean equal bits, and
 * unequal ones within a type and number of tokens end in exit status 1. */
#include "roof.h"

#include "base/mem.h"
#include "base/region.h"
#include "base/rng.h"
#include "base/sys.h"
#include "checkkern/weights.h"
#include "kern/kern.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 128, K = 4096, MAX_TOKENS = 64, RUNS = 15 };
#define MEMORY ((size_t)192 << 20) /* bytes of a matrix that is larger than the caches */

static const int token_counts[] = {1, 2, 4, 8, 16, MAX_TOKENS};
enum { N_COUNTS = sizeof token_counts / sizeof *token_counts };

typedef struct bench {
    md_region w, rows; /* weights; N rows before they are woven */
    float *x, *out;    /* (MAX_TOKENS, K), (MAX_TOKENS, N) or one row of a large product */
    int8_t *code;
    float *scale, *sum32;
    int16_t *isum, *sum16;
    double read, multiply[N_MIXES]; /* roofs of one thread */
    const char *isa;                /* NULL: all */
    bool json, first;               /* first: no line of JSON printed yet */
    bool differs;
} bench;

static bool bench_init(bench *b)
{
    md_error err;
    b->x = md_calloc(MAX_TOKENS * (size_t)K, sizeof *b->x);
    b->out = md_calloc(MEMORY / K * 32, sizeof *b->out);
    b->code = md_calloc(MAX_TOKENS, K);
    b->scale = md_calloc(MAX_TOKENS * (size_t)K / 32, sizeof *b->scale);
    b->sum32 = md_calloc(MAX_TOKENS * (size_t)K / 32, sizeof *b->sum32);
    b->isum = md_calloc(MAX_TOKENS * (size_t)K / 32, sizeof *b->isum);
    b->sum16 = md_calloc(MAX_TOKENS * (size_t)K / 16, sizeof *b->sum16);
    if (!b->x || !b->out || !b->code || !b->scale || !b->sum32 || !b->isum || !b->sum16 ||
        md_region_new(MEMORY, &b->w, &err) != MD_OK ||
        md_region_new(N * (size_t)K * sizeof(float), &b->rows, &err) != MD_OK)
        return false;
    for (size_t i = 0; i < MAX_TOKENS * (size_t)K; i++)
        b->x[i] = md_rand_normal(1, 1, i);
    memset(b->w.bytes, 1, MEMORY);
    return true;
}

static void bench_done(bench *b)
{
    md_region_free(&b->w);
    md_region_free(&b->rows);
    md_free(b->x);
    md_free(b->out);
    md_free(b->code);
    md_free(b->scale);
    md_free(b->sum32);
    md_free(b->isum);
    md_free(b->sum16);
}

/* ---- roofs ---- */

static void find_roofs(bench *b)
{
    const int threads = md_sys_default_threads();
    b->read = roof_read(b->w.bytes, MEMORY, 1);
    const double all = threads > 1 ? roof_read(b->w.bytes, MEMORY, threads) : b->read;
    for (int m = 0; m < N_MIXES; m++)
        b->multiply[m] = roof_mix((mix)m);
    if (b->json) {
        printf("{\"roofs\": {\"threads\": %d, \"read_gb_per_s\": %.2f, \"read_one_thread\": %.2f", threads, all,
               b->read);
        for (int m = 0; m < N_MIXES; m++)
            printf(", \"%s\": %.2f", mix_name((mix)m), b->multiply[m]);
        printf("},\n \"results\": [\n");
        return;
    }
    printf("read: %.1f GB/s with %d threads, %.1f with one\n", all, threads, b->read);
    for (int m = 0; m < N_MIXES; m++)
        if (b->multiply[m] > 0)
            printf("%-12s %6.1f Gmadd/s a core\n", mix_name((mix)m), b->multiply[m]);
}

/* The instructions that a table multiplies a type with at best. */
static mix mix_of(const md_kern *kern, md_type type)
{
    if (md_type_get(type)->act == MD_ACT_F32)
        return MIX_FMA;
    if (strcmp(kern->isa, "avx512vnni") == 0)
        return MIX_DOT;
    switch (type) {
    case MD_TYPE_Q8_0:
    case MD_TYPE_IQ4_NL:
    case MD_TYPE_IQ4_XS: return MIX_WORD;
    case MD_TYPE_Q6_K: return MIX_BYTE2;
    default: return md_tile_has(type) ? MIX_BYTE8 : MIX_BYTE1;
    }
}

/* ---- one case ---- */

static uint64_t next_random(void)
{
    static uint64_t n;
    const md_rand4 r = md_philox(3, n++, 1);
    uint64_t x;
    memcpy(&x, &r, sizeof x);
    return x;
}

static md_act quantize(const bench *b, md_act_kind kind, int n_tokens)
{
    const md_kern *kern = md_kern_get("scalar");
    const int64_t n = (int64_t)n_tokens * K;
    if (kind == MD_ACT_Q32)
        kern->quantize32(b->x, n, b->code, b->scale, b->sum32, b->isum);
    else if (kind == MD_ACT_Q256)
        kern->quantize256(b->x, n, b->code, b->scale, b->sum16);
    return (md_act){.kind = kind,
                    .k = K,
                    .f32 = b->x,
                    .code = b->code,
                    .scale = b->scale,
                    .sum32 = b->sum32,
                    .isum = b->isum,
                    .sum16 = b->sum16};
}

static uint64_t hash_of(const float *x, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        h = (h ^ bits) * 0x100000001b3u;
    }
    return h;
}

/* Best seconds of one product; short ones are repeated within a run until the clock can be trusted. */
static double seconds_of(void (*mul)(const md_product *), const md_product *m, int runs)
{
    double best = 1e9;
    for (int i = 0; i < runs; i++) {
        const double start = thread_seconds();
        double now;
        int times = 0;
        do {
            mul(m);
            times++;
            now = thread_seconds();
        } while (now - start < 1e-3);
        best = (now - start) / times < best ? (now - start) / times : best;
    }
    return best;
}

typedef struct one_case {
    md_type type;
    const md_kern *kern;
    bool tiles, memory;
    int n_tokens;
    size_t row_bytes;
} one_case;

static void print_case(bench *b, const one_case *c, double s, int64_t n_rows, uint64_t hash)
{
    const char *name = md_type_get(c->type)->name, *layout = c->tiles ? "tiles" : "rows";
    const double gb = (double)c->row_bytes * (double)n_rows / s / 1e9,
                 gmac = (double)n_rows * K * c->n_tokens / s / 1e9;
    const double most = c->memory ? b->read : b->multiply[mix_of(c->kern, c->type)];
    const double share = most > 0 ? (c->memory ? gb : gmac) / most : 0;
    if (b->json)
        printf("%s  {\"type\": \"%s\", \"isa\": \"%s\", \"layout\": \"%s\", \"from\": \"%s\", \"tokens\": %d, "
               "\"gb_per_s\": %.3f, \"gmac_per_s\": %.3f, \"share\": %.3f, \"hash\": \"%016llx\"}",
               b->first ? "" : ",\n", name, c->kern->isa, layout, c->memory ? "memory" : "cache", c->n_tokens, gb, gmac,
               share, (unsigned long long)hash);
    else
        printf("%-8s %-10s %-5s %-6s %2d tokens %7.2f GB/s %8.2f Gmadd/s %5.1f%% of %-12s %016llx\n", name,
               c->kern->isa, layout, c->memory ? "memory" : "cache", c->n_tokens, gb, gmac, share * 100,
               c->memory ? "read" : mix_name(mix_of(c->kern, c->type)), (unsigned long long)hash);
    b->first = false;
    fflush(stdout);
}

/* Returns the hash of the first N rows. */
static uint64_t run_case(bench *b, const one_case *c)
{
    const md_act act = quantize(b, md_type_get(c->type)->act, c->n_tokens);
    const int64_t n_rows = c->memory ? (int64_t)(MEMORY / c->row_bytes / N * N) : N;
    const md_product m = {.w = b->w.bytes,
                          .row_bytes = c->row_bytes,
                          .last = n_rows,
                          .act = &act,
                          .n_rows = c->n_tokens,
                          .out = b->out,
                          .ld_out = N};
    void (*mul)(const md_product *) = c->tiles ? c->kern->mul_tiles[c->type] : c->kern->mul[c->type];
    const double s = seconds_of(mul, &m, c->memory ? 3 : RUNS);
    const uint64_t hash = hash_of(b->out, (size_t)c->n_tokens * N);
    print_case(b, c, s, n_rows, hash);
    return hash;
}

/* ---- all cases ---- */

/* N random rows in a layout, then copies of them. */
static void lay(bench *b, md_type type, size_t row_bytes, bool tiles)
{
    const size_t n = N * row_bytes;
    if (tiles)
        for (size_t r = 0; r < N; r += MD_TILE_ROWS)
            md_tile_weave(type, b->rows.bytes + r * row_bytes, row_bytes, K / md_type_get(type)->block,
                          b->w.bytes + r * row_bytes);
    else
        memcpy(b->w.bytes, b->rows.bytes, n);
    for (size_t at = n; at + n <= MEMORY; at += n)
        memcpy(b->w.bytes + at, b->w.bytes, n);
}

static void bench_type(bench *b, md_type type)
{
    one_case c = {.type = type};
    uint64_t expected[N_COUNTS] = {0};
    if (!md_type_row_bytes(type, K, &c.row_bytes))
        return;
    random_weights(type, b->rows.bytes, N * (int64_t)K, next_random);
    for (int tiles = 0; tiles <= (md_tile_has(type) ? 1 : 0); tiles++) {
        lay(b, type, c.row_bytes, tiles);
        c.tiles = tiles;
        for (int i = -1; i < N_COUNTS; i++)
            for (const char *const *name = md_kern_names(); *name; name++) {
                if (b->isa && strcmp(b->isa, *name) != 0)
                    continue;
                uint64_t *first = &expected[i < 0 ? 0 : i];
                c.kern = md_kern_get(*name);
                c.memory = i < 0;
                c.n_tokens = i < 0 ? 1 : token_counts[i];
                const uint64_t hash = run_case(b, &c);
                *first = *first ? *first : hash;
                b->differs = b->differs || hash != *first;
            }
    }
}

/* ---- the program ---- */

typedef struct wishes {
    bool type[MD_N_TYPES];
} wishes;

static bool read_arguments(bench *b, wishes *w, int argc, char **argv)
{
    bool named = false;
    for (int i = 1; i < argc; i++) {
        md_type t;
        if (strcmp(argv[i], "--json") == 0) {
            b->json = true;
        } else if (strcmp(argv[i], "--isa") == 0 && i + 1 < argc && md_kern_get(argv[i + 1])) {
            b->isa = argv[++i];
        } else if (md_type_from_name(argv[i], &t) && md_type_get(t)->act != MD_ACT_NONE) {
            w->type[t] = named = true;
        } else {
            return false;
        }
    }
    for (int t = 0; t < MD_N_TYPES && !named; t++)
        w->type[t] = md_type_get((md_type)t)->act != MD_ACT_NONE;
    return true;
}

int main(int argc, char **argv)
{
    bench b = {.first = true};
    wishes w = {{false}};
    if (!read_arguments(&b, &w, argc, argv)) {
        fprintf(stderr, "usage: bench-kern [--json] [--isa NAME] [TYPE]...\ntables of this machine:");
        for (const char *const *name = md_kern_names(); *name; name++)
            fprintf(stderr, " %s", *name);
        fprintf(stderr, "\n");
        return 2;
    }
    if (!bench_init(&b)) {
        fprintf(stderr, "bench-kern: out of memory\n");
        bench_done(&b);
        return 1;
    }
    find_roofs(&b);
    for (int t = 0; t < MD_N_TYPES; t++)
        if (w.type[t])
            bench_type(&b, (md_type)t);
    if (b.json)
        printf("\n]}\n");
    bench_done(&b);
    if (b.differs)
        fprintf(stderr, "bench-kern: hashes differ where bits must be equal\n");
    return b.differs ? 1 : 0;
}
