/* SPDX-License-Identifier: Apache-2.0
 *
 * The loops keep eight sums in registers, so that no step waits for the one before, and touch no memory. */
#include "roof.h"

#include "base/cpu.h"
#include "base/sys.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { STEPS = 20000, RUNS = 200, PASSES = 9, MAX_THREADS = 256 };

double thread_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

const char *mix_name(mix m)
{
    static const char *const names[] = {"fma", "maddubs 8:1", "maddubs 2:1", "maddubs 1:1", "madd", "dpbusd"};
    return names[m];
}

#if defined(__x86_64__)

/* x, whose value the compiler must not foresee. */
#define UNKNOWN(x) __asm__ volatile("" : "+x"(x))

__attribute__((target("avx2,fma"))) static void fma_loop(int n)
{
    __m256 sum[8], a = _mm256_set1_ps(1.0f), b = _mm256_set1_ps(0.0f);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        sum[i] = _mm256_setzero_ps();
    for (; n > 0; n--)
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            UNKNOWN(a);
            sum[i] = _mm256_fmadd_ps(a, b, sum[i]);
        }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        UNKNOWN(sum[i]);
}

/* Sixteen rows by four tokens as products of tiles take them, from registers: `steps` maddubs, one widening. */
__attribute__((target("avx2"), always_inline)) static inline void byte_loop(int n, int steps)
{
    __m256i sum[8], a = _mm256_set1_epi8(1), w = _mm256_set1_epi8(1);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        sum[i] = _mm256_setzero_si256();
    for (; n > 0; n -= steps)
#pragma GCC unroll 2
        for (int half = 0; half < 8; half += 4) { /* four parts and eight sums fit the registers */
            __m256i part[4];
#pragma GCC unroll 8
            for (int j = 0; j < steps; j++)
#pragma GCC unroll 4
                for (int i = 0; i < 4; i++) {
                    UNKNOWN(a);
                    const __m256i two = _mm256_maddubs_epi16(w, a);
                    part[i] = j == 0 ? two : _mm256_add_epi16(part[i], two);
                    UNKNOWN(part[i]);
                }
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                sum[half + i] = _mm256_add_epi32(sum[half + i], _mm256_madd_epi16(part[i], _mm256_set1_epi16(1)));
                UNKNOWN(sum[half + i]);
            }
        }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        UNKNOWN(sum[i]);
}

__attribute__((target("avx2"))) static void byte8_loop(int n)
{
    byte_loop(n, 8);
}

__attribute__((target("avx2"))) static void byte2_loop(int n)
{
    byte_loop(n, 2);
}

__attribute__((target("avx2"))) static void byte1_loop(int n)
{
    byte_loop(n, 1);
}

__attribute__((target("avx2"))) static void word_loop(int n)
{
    __m256i sum[8], a = _mm256_set1_epi16(1), w = _mm256_set1_epi16(1);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        sum[i] = _mm256_setzero_si256();
    for (; n > 0; n--)
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            UNKNOWN(a);
            sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(w, a));
            UNKNOWN(sum[i]);
        }
}

__attribute__((target("avx512vnni,avx512vl"))) static void dot_loop(int n)
{
    __m256i sum[8], a = _mm256_set1_epi8(1), w = _mm256_set1_epi8(1);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        sum[i] = _mm256_setzero_si256();
    for (; n > 0; n--)
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            UNKNOWN(a);
            sum[i] = _mm256_dpbusd_epi32(sum[i], w, a);
            UNKNOWN(sum[i]);
        }
}

double roof_mix(mix m)
{
    /* multiply-adds of one vector */
    static const struct {
        void (*run)(int n);
        int macs;
    } loops[N_MIXES] = {{fma_loop, 8},    {byte8_loop, 32}, {byte2_loop, 32},
                        {byte1_loop, 32}, {word_loop, 16},  {dot_loop, 32}};
    const md_cpu cpu = md_cpu_detect();
    if (!cpu.avx2 || !cpu.fma || (m == MIX_DOT && !cpu.avx512_vnni))
        return 0;
    double best = 1e9;
    for (int r = 0; r < RUNS; r++) {
        const double start = thread_seconds();
        loops[m].run(STEPS);
        const double s = thread_seconds() - start;
        best = s < best ? s : best;
    }
    return (double)STEPS * 8 * loops[m].macs / best / 1e9;
}

__attribute__((target("avx2"))) static void read_avx2(const char *p, size_t n)
{
    __m256i sum = _mm256_setzero_si256();
    for (size_t i = 0; i + 128 <= n; i += 128) {
        _mm_prefetch(p + i + 4096, _MM_HINT_T0);
        _mm_prefetch(p + i + 4160, _MM_HINT_T0);
#pragma GCC unroll 4
        for (size_t j = 0; j < 128; j += 32)
            sum = _mm256_xor_si256(sum, _mm256_loadu_si256((const __m256i_u *)(p + i + j)));
    }
    UNKNOWN(sum);
}

#else

double roof_mix(mix m)
{
    (void)m;
    return 0;
}

#endif

static void read_plain(const char *p, size_t n)
{
    uint64_t sum[4] = {0};
    for (size_t i = 0; i + sizeof sum <= n; i += sizeof sum)
        for (int j = 0; j < 4; j++) {
            uint64_t x;
            memcpy(&x, p + i + 8 * (size_t)j, sizeof x);
            sum[j] += x;
        }
    __asm__ volatile("" ::"r"(sum[0] + sum[1] + sum[2] + sum[3]));
}

typedef struct reader {
    pthread_t thread;
    const char *p;
    size_t n;
} reader;

static void read_once(const char *p, size_t n)
{
#if defined(__x86_64__)
    if (md_cpu_detect().avx2) {
        read_avx2(p, n);
        return;
    }
#endif
    read_plain(p, n);
}

static void *read_part(void *arg)
{
    const reader *r = arg;
    read_once(r->p, r->n);
    return NULL;
}

/* Seconds: of the clock, or of one thread's processor time. What starting threads takes is nothing beside the reading. */
static double read_pass(const char *p, size_t part, int n_threads)
{
    reader readers[MAX_THREADS];
    bool started[MAX_THREADS] = {false};
    const double start = n_threads > 1 ? md_sys_seconds() : thread_seconds();
    for (int i = 0; i < n_threads; i++)
        readers[i] = (reader){.p = p + part * (size_t)i, .n = part};
    for (int i = 1; i < n_threads; i++)
        started[i] = pthread_create(&readers[i].thread, NULL, read_part, &readers[i]) == 0;
    for (int i = 0; i < n_threads; i++)
        if (!started[i])
            read_part(&readers[i]);
    for (int i = 1; i < n_threads; i++)
        if (started[i])
            pthread_join(readers[i].thread, NULL);
    return (n_threads > 1 ? md_sys_seconds() : thread_seconds()) - start;
}

double roof_read(const void *p, size_t n, int n_threads)
{
    n_threads = n_threads < MAX_THREADS ? n_threads : MAX_THREADS;
    const size_t part = n / (size_t)n_threads / 128 * 128;
    double best = 1e9;
    for (int i = 0; i < PASSES; i++) {
        const double s = read_pass(p, part, n_threads);
        best = s < best ? s : best;
    }
    return (double)part * n_threads / best / 1e9;
}
