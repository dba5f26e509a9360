/* SPDX-License-Identifier: Apache-2.0
 *
 * What a disk gives: bench-disk FILE [--size KIB] [--piece KIB] [--seconds S] [--backend io_uring|threads] [--busy N] [--cached] [--json].
 * Reads of `size` at random places of the file, none twice in a row of figures, by the engine's reader (base/reader.h): 1 to 32 in
 * flight, by each backend, past the page cache (with registered memory, too) and through it. A figure takes S seconds, or less
 * if the file ends. Each row: bandwidth, the time from submitting a read to having it, and the processor's time per GB,
 * which computing threads miss. With --busy, N threads compute meanwhile, as an engine's do: then it shows how soon the system
 * lets the reader's threads run. Before each figure the file is dropped from the page cache, but not with --cached. */
#include "base/mem.h"
#include "base/reader.h"
#include "base/rng.h"
#include "base/sys.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FLIGHT = 32, MAX_TIMES = 1 << 16, MAX_BUSY = 64 };

typedef struct options {
    const char *path, *backend;
    size_t size, piece;
    double seconds;
    int busy;
    bool cached, json;
} options;

typedef struct mode {
    const char *name;
    md_reader_backend backend;
    bool direct, registered;
} mode;

static const mode modes[] = {
    {"io_uring", MD_READER_URING, true, true}, /* registered */
    {"io_uring", MD_READER_URING, true, false},  {"threads", MD_READER_THREADS, true, false},
    {"io_uring", MD_READER_URING, false, false}, {"threads", MD_READER_THREADS, false, false},
};

typedef struct bench {
    options o;
    uint32_t *place; /* (n_places) a permutation, in units of `size` */
    size_t n_places;
    unsigned char *memory; /* MAX_FLIGHT buffers */
    double time[MAX_TIMES];
    pthread_t busy[MAX_BUSY];
    atomic_bool rest;
} bench;

typedef struct figure {
    double rate, median, worst, cpu; /* bytes/s, seconds twice, processor seconds per byte */
} figure;

static void stop(const char *what)
{
    fprintf(stderr, "bench-disk: %s\n", what);
    exit(1);
}

/* The processor's time of all threads but the busy ones. */
static double cpu_seconds(const bench *b)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    double s = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
               (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
    for (int i = 0; i < b->o.busy; i++) {
        clockid_t clock;
        struct timespec t;
        if (pthread_getcpuclockid(b->busy[i], &clock) == 0 && clock_gettime(clock, &t) == 0)
            s -= (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
    }
    return s;
}

static void *compute(void *arg)
{
    bench *b = arg;
    volatile float x = 1;
    while (!atomic_load_explicit(&b->rest, memory_order_relaxed))
        for (int i = 0; i < 1000; i++)
            x = x * 0.999f + 0.001f;
    return NULL;
}

static void drop_cache(const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        stop("the file cannot be opened");
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
}

static void shuffle(bench *b, uint64_t seed)
{
    for (size_t i = 0; i < b->n_places; i++)
        b->place[i] = (uint32_t)i;
    for (size_t i = b->n_places; i > 1; i--) {
        const md_rand4 x = md_philox(seed, i, 0);
        const size_t k = (((uint64_t)x.v[0] << 32) | x.v[1]) % i;
        const uint32_t t = b->place[i - 1];
        b->place[i - 1] = b->place[k];
        b->place[k] = t;
    }
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static figure run(bench *b, md_reader *r, int32_t file, int flight)
{
    md_read read[MAX_FLIGHT];
    double sent[MAX_FLIGHT];
    size_t next = 0, n_times = 0;
    const double cpu = cpu_seconds(b), begin = md_sys_seconds();
    const uint64_t before = md_reader_bytes(r);
    for (int i = 0; i < flight && next < b->n_places; i++) {
        read[i] = (md_read){.file = file,
                            .offset = (uint64_t)b->place[next++] * b->o.size,
                            .n = b->o.size,
                            .buffer = b->memory + (size_t)i * b->o.size,
                            .user = &sent[i]};
        sent[i] = md_sys_seconds();
        md_reader_submit(r, &read[i]);
    }
    for (md_read *done; (done = md_reader_done(r, true));) {
        const double now = md_sys_seconds();
        double *at = done->user;
        md_error err = {0};
        if (md_reader_explain(r, done, &err) != MD_OK)
            stop(err.message);
        if (n_times < MAX_TIMES)
            b->time[n_times++] = now - *at;
        if (now - begin < b->o.seconds && next < b->n_places) {
            done->offset = (uint64_t)b->place[next++] * b->o.size;
            *at = now;
            md_reader_submit(r, done);
        }
    }
    const double took = md_sys_seconds() - begin, bytes = (double)(md_reader_bytes(r) - before);
    qsort(b->time, n_times, sizeof b->time[0], by_size);
    return (figure){.rate = bytes / took,
                    .median = b->time[n_times / 2],
                    .worst = b->time[n_times * 99 / 100],
                    .cpu = (cpu_seconds(b) - cpu) / bytes};
}

static void print(const bench *b, const char *how, int flight, const figure *f)
{
    if (b->o.json)
        printf("{\"reader\": \"%s\", \"in_flight\": %d, \"size\": %zu, \"bytes_per_s\": %.0f, \"median_s\": %.6f, "
               "\"p99_s\": %.6f, \"cpu_s_per_gb\": %.4f}\n",
               how, flight, b->o.size, f->rate, f->median, f->worst, f->cpu * 1e9);
    else
        printf("%-32s %5d %9.0f %10.2f %9.2f %10.3f\n", how, flight, f->rate / 1e6, f->median * 1e3, f->worst * 1e3,
               f->cpu * 1e9);
    fflush(stdout);
}

static void run_mode(bench *b, const mode *m, uint64_t *seed)
{
    char how[64];
    for (int flight = 1; flight <= MAX_FLIGHT; flight *= 2) {
        const size_t pieces = (size_t)flight * ((b->o.size + b->o.piece - 1) / b->o.piece);
        const md_reader_args args = {.backend = m->backend,
                                     .depth = pieces < MD_READER_MAX_DEPTH ? (int32_t)pieces : MD_READER_MAX_DEPTH,
                                     .piece = b->o.piece,
                                     .direct = m->direct};
        md_error err = {0};
        md_reader *r;
        int32_t file;
        const md_status status = md_reader_new(&args, &r, &err);
        if (status == MD_ERR_UNSUPPORTED) {
            fprintf(stderr, "bench-disk: %s\n", err.message);
            return;
        }
        if (status != MD_OK || md_reader_add_file(r, b->o.path, &file, &err) != MD_OK)
            stop(err.message);
        if (m->registered && !md_reader_register(r, b->memory, MAX_FLIGHT * b->o.size)) {
            fprintf(stderr, "bench-disk: memory cannot be registered here\n");
            md_reader_free(r);
            return;
        }
        if (!b->o.cached)
            drop_cache(b->o.path);
        shuffle(b, (*seed)++);
        const figure f = run(b, r, file, flight);
        print(b, md_reader_describe(r, how, sizeof how), flight, &f);
        md_reader_free(r);
    }
}

static const char *value(char **argv, int *i)
{
    if (!argv[*i + 1])
        stop("an option lacks its value");
    return argv[++*i];
}

static size_t kib(const char *text)
{
    const long n = strtol(text, NULL, 10);
    if (n < 4 || n > 1 << 20 || n % 4)
        stop("a size is a multiple of 4 KiB, up to 1 GiB");
    return (size_t)n << 10;
}

static options parse(char **argv)
{
    options o = {.size = (size_t)1 << 20, .piece = MD_READER_PIECE, .seconds = 2};
    for (int i = 1; argv[i]; i++) {
        if (strcmp(argv[i], "--size") == 0)
            o.size = kib(value(argv, &i));
        else if (strcmp(argv[i], "--piece") == 0)
            o.piece = kib(value(argv, &i));
        else if (strcmp(argv[i], "--seconds") == 0)
            o.seconds = strtod(value(argv, &i), NULL);
        else if (strcmp(argv[i], "--backend") == 0)
            o.backend = value(argv, &i);
        else if (strcmp(argv[i], "--busy") == 0)
            o.busy = atoi(value(argv, &i));
        else if (strcmp(argv[i], "--cached") == 0)
            o.cached = true;
        else if (strcmp(argv[i], "--json") == 0)
            o.json = true;
        else if (argv[i][0] != '-' && !o.path)
            o.path = argv[i];
        else
            stop("usage: bench-disk FILE [--size KIB] [--piece KIB] [--seconds S] [--backend io_uring|threads] "
                 "[--busy N] [--cached] [--json]");
    }
    if (!o.path)
        stop("which file?");
    if (o.busy < 0 || o.busy > MAX_BUSY)
        stop("0 to 64 threads can be busy");
    return o;
}

int main(int argc, char **argv)
{
    (void)argc;
    static bench b;
    b.o = parse(argv);
    const int fd = open(b.o.path, O_RDONLY | O_CLOEXEC);
    const off_t end = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
    if (end < 0)
        stop("the file cannot be opened");
    close(fd);
    b.n_places = (size_t)end / b.o.size;
    if (b.n_places < MAX_FLIGHT)
        stop("the file is too small for this size");
    b.place = md_calloc(b.n_places, sizeof *b.place);
    b.memory = md_calloc_aligned((size_t)2 << 20, MAX_FLIGHT, b.o.size);
    if (!b.place || !b.memory)
        stop("out of memory");
    if (!b.o.json)
        printf("%-32s %5s %9s %10s %9s %10s\n", "reader", "reads", "MB/s", "median ms", "p99 ms", "CPU s/GB");
    for (int i = 0; i < b.o.busy; i++)
        if (pthread_create(&b.busy[i], NULL, compute, &b) != 0)
            stop("a thread cannot be started");
    uint64_t seed = 1;
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        if (!b.o.backend || strcmp(b.o.backend, modes[i].name) == 0)
            run_mode(&b, &modes[i], &seed);
    atomic_store(&b.rest, true);
    for (int i = 0; i < b.o.busy; i++)
        pthread_join(b.busy[i], NULL);
    md_free(b.memory);
    md_free(b.place);
    return 0;
}
