/* SPDX-License-Identifier: Apache-2.0
 *
 * Speed of the matrix products on one thread: bench-kern [--json] [TYPE]... multiplies a random matrix of each type by
 * 1, 4, 16 and 64 rows of activations with every table that this machine can run, and prints the median of several
 * runs in GB/s of weights (10^9 bytes) and G multiply-adds/s, beside a hash of the results: equal hashes, equal bits.
 * Activations are quantized beforehand. The matrix fits the caches, so this is the kernels' speed, not the memory's. */
#include "base/mem.h"
#include "base/rng.h"
#include "base/sys.h"
#include "kern/kern.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 128, K = 4096, MAX_ROWS = 64, RUNS = 5 };

static const int row_counts[] = {1, 4, 16, MAX_ROWS};

typedef struct bench {
    void *w;
    float *x, *out; /* (MAX_ROWS, K), (MAX_ROWS, N) */
    int8_t *code;
    float *scale, *sum32;
    int16_t *sum16;
    bool json, first; /* first: no line of JSON printed yet */
} bench;

static bool bench_init(bench *b)
{
    b->w = md_calloc(N * (size_t)K, sizeof(float));
    b->x = md_calloc(MAX_ROWS * (size_t)K, sizeof *b->x);
    b->out = md_calloc(MAX_ROWS * (size_t)N, sizeof *b->out);
    b->code = md_calloc(MAX_ROWS, K);
    b->scale = md_calloc(MAX_ROWS * (size_t)K / 32, sizeof *b->scale);
    b->sum32 = md_calloc(MAX_ROWS * (size_t)K / 32, sizeof *b->sum32);
    b->sum16 = md_calloc(MAX_ROWS * (size_t)K / 16, sizeof *b->sum16);
    if (!b->w || !b->x || !b->out || !b->code || !b->scale || !b->sum32 || !b->sum16)
        return false;
    for (size_t i = 0; i < MAX_ROWS * (size_t)K; i++)
        b->x[i] = md_rand_normal(1, 1, i);
    return true;
}

static void bench_done(bench *b)
{
    md_free(b->w);
    md_free(b->x);
    md_free(b->out);
    md_free(b->code);
    md_free(b->scale);
    md_free(b->sum32);
    md_free(b->sum16);
}

/* Random bits, with the top bits of every half clear so that no scale is infinite: what a block means does not matter
 * to the speed. */
static void fill_weights(bench *b, const md_type_info *info, size_t bytes)
{
    unsigned char *p = b->w;
    for (size_t i = 0; i < bytes; i += 16) {
        const md_rand4 r = md_philox(2, i, info->gguf_id);
        memcpy(p + i, &r, bytes - i < 16 ? bytes - i : 16);
    }
    for (size_t i = 0; i < bytes; i++)
        p[i] &= 0xbf;
}

static md_act quantize(const bench *b, const md_kern *kern, md_act_kind kind, int n_rows)
{
    const int64_t n = (int64_t)n_rows * K;
    if (kind == MD_ACT_Q32)
        kern->quantize32(b->x, n, b->code, b->scale, b->sum32);
    else if (kind == MD_ACT_Q256)
        kern->quantize256(b->x, n, b->code, b->scale, b->sum16);
    return (md_act){
        .kind = kind, .k = K, .f32 = b->x, .code = b->code, .scale = b->scale, .sum32 = b->sum32, .sum16 = b->sum16};
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

static int compare_doubles(const void *pa, const void *pb)
{
    const double a = *(const double *)pa, b = *(const double *)pb;
    return (a > b) - (a < b);
}

/* Median seconds of one product; short ones are repeated within a run until the clock can be trusted. */
static double seconds_of(const md_kern *kern, md_type type, const md_product *m)
{
    double run[RUNS];
    for (int i = 0; i < RUNS; i++) {
        const double start = md_sys_seconds();
        double now;
        int times = 0;
        do {
            kern->mul[type](m);
            times++;
            now = md_sys_seconds();
        } while (now - start < 2e-3);
        run[i] = (now - start) / times;
    }
    qsort(run, RUNS, sizeof *run, compare_doubles);
    return run[RUNS / 2];
}

static void bench_case(bench *b, const md_kern *kern, md_type type, size_t row_bytes, int n_rows)
{
    const md_type_info *info = md_type_get(type);
    const md_act act = quantize(b, kern, info->act, n_rows);
    const md_product m = {
        .w = b->w, .row_bytes = row_bytes, .last = N, .act = &act, .n_rows = n_rows, .out = b->out, .ld_out = N};
    const double s = seconds_of(kern, type, &m);
    const double gb = (double)row_bytes * N / s / 1e9, gmac = (double)N * K * n_rows / s / 1e9;
    const unsigned long long hash = hash_of(b->out, (size_t)n_rows * N);
    if (b->json)
        printf("%s  {\"type\": \"%s\", \"isa\": \"%s\", \"rows\": %d, \"gb_per_s\": %.3f, \"gmac_per_s\": %.3f, "
               "\"hash\": \"%016llx\"}",
               b->first ? "" : ",\n", info->name, kern->isa, n_rows, gb, gmac, hash);
    else
        printf("%-8s %-7s %2d rows %8.2f GB/s %8.2f Gmadd/s  %016llx\n", info->name, kern->isa, n_rows, gb, gmac, hash);
    b->first = false;
    fflush(stdout);
}

static void bench_type(bench *b, md_type type)
{
    size_t row_bytes;
    if (!md_type_row_bytes(type, K, &row_bytes))
        return;
    fill_weights(b, md_type_get(type), row_bytes * N);
    for (size_t r = 0; r < sizeof row_counts / sizeof *row_counts; r++)
        for (const char *const *name = md_kern_names(); *name; name++)
            bench_case(b, md_kern_get(*name), type, row_bytes, row_counts[r]);
}

static bool is_wanted(md_type type, int argc, char **argv)
{
    bool named = false;
    for (int i = 1; i < argc; i++) {
        md_type t;
        if (strcmp(argv[i], "--json") == 0)
            continue;
        named = true;
        if (md_type_from_name(argv[i], &t) && t == type)
            return true;
    }
    return !named;
}

static bool arguments_are_good(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        md_type t;
        if (strcmp(argv[i], "--json") != 0 && !(md_type_from_name(argv[i], &t) && md_type_get(t)->act != MD_ACT_NONE))
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    bench b = {.first = true};
    if (!arguments_are_good(argc, argv)) {
        fprintf(stderr, "usage: bench-kern [--json] [TYPE]...\n");
        return 2;
    }
    for (int i = 1; i < argc; i++)
        b.json = b.json || strcmp(argv[i], "--json") == 0;
    if (!bench_init(&b)) {
        fprintf(stderr, "bench-kern: out of memory\n");
        bench_done(&b);
        return 1;
    }
    if (b.json)
        printf("[\n");
    for (int t = 0; t < MD_N_TYPES; t++)
        if (md_type_get((md_type)t)->act != MD_ACT_NONE && is_wanted((md_type)t, argc, argv))
            bench_type(&b, (md_type)t);
    if (b.json)
        printf("\n]\n");
    bench_done(&b);
    return 0;
}
