/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of kernels share: seeded data with adversarial fills, buffers with canaries, comparison of bits, and
 * the choice of the table under test. MD_TEST_SEED repeats a run; MD_REQUIRE_ISA=avx2 makes a missing table a
 * failure. */
#ifndef MD_TEST_CHECKKERN_CHECK_H
#define MD_TEST_CHECKKERN_CHECK_H

#include "kern/kern.h"
#include "support/fixtures.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

/* ---- seeded random numbers (splitmix64) ---- */

static uint64_t random_state;

static inline uint64_t random_u64(void)
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline uint32_t random_u32(void)
{
    return (uint32_t)(random_u64() >> 32);
}

/* Uniform in [0, n). */
static inline int random_below(int n)
{
    return (int)((random_u64() >> 32) * (uint64_t)n >> 32);
}

/* Uniform in [-1, 1). */
static inline float random_unit(void)
{
    return (float)(int32_t)(random_u32() & ~0xffu) * 0x1p-31f;
}

static inline void random_fill(void *p, size_t n)
{
    unsigned char *at = p;
    for (size_t i = 0; i < n; i++)
        at[i] = (unsigned char)(random_u64() >> 56);
}

/* Prints the seed; called once a program. */
static inline void seed_from_environment(void)
{
    const char *text = getenv("MD_TEST_SEED");
    random_state = text ? strtoull(text, NULL, 0) : 20240607;
    print_message("MD_TEST_SEED=%llu\n", (unsigned long long)random_state);
}

/* ---- tables ---- */

/* Every table that medley knows for this kind of machine: one that this machine lacks is skipped in the open. */
#define ON_TABLE(isa, i, test)                                   \
    {                                                            \
        isa ": " #test, test, NULL, NULL, (void *)table_names[i] \
    }
#if defined(__aarch64__)
#define EACH_TABLE(test) ON_TABLE("scalar", 0, test), ON_TABLE("neon", 1, test), ON_TABLE("neondot", 2, test)
static char table_names[][12] __attribute__((unused)) = {"scalar", "neon", "neondot"};
#else
#define EACH_TABLE(test) \
    ON_TABLE("scalar", 0, test), ON_TABLE("avx2", 1, test), ON_TABLE("avx512", 2, test), ON_TABLE("avx512vnni", 3, test)
static char table_names[][12] __attribute__((unused)) = {"scalar", "avx2", "avx512", "avx512vnni"};
#endif

/* Is `isa` in the comma-separated list MD_REQUIRE_ISA? */
static inline bool isa_is_required(const char *isa)
{
    const char *at = getenv("MD_REQUIRE_ISA");
    const size_t n = strlen(isa);
    for (; at && *at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (strncmp(at, isa, n) == 0 && (at[n] == '\0' || at[n] == ','))
            return true;
    return false;
}

/* The table that a test was made for, or the end of the test. */
static inline const md_kern *table_of(void **state)
{
    const char *isa = *state;
    const md_kern *k = md_kern_get(isa);
    if (k) {
        assert_string_equal(k->isa, isa);
        return k;
    }
    if (isa_is_required(isa))
        fail_msg("this machine cannot run %s, which MD_REQUIRE_ISA asks for", isa);
    print_message("SKIP %s: this machine cannot run it\n", isa);
    skip();
    return NULL;
}

static inline const md_kern *scalar_table(void)
{
    return md_kern_get("scalar");
}

/* ---- fills ---- */

typedef enum fill {
    FILL_UNIT,      /* uniform in [-1, 1) */
    FILL_WIDE,      /* magnitudes from 2^-20 to 2^20 */
    FILL_ZERO,      /* zeros of both signs */
    FILL_EXTREME,   /* the largest and the smallest normal numbers */
    FILL_SUBNORMAL, /* subnormal numbers only */
    FILL_SPECIAL,   /* ordinary numbers, with a few NaN and infinities among them */
    FILL_BITS,      /* any bit pattern */
    N_FILLS
} fill;

static const char *const fill_names[N_FILLS] = {"unit", "wide", "zero", "extreme", "subnormal", "special", "bits"};

static inline float float_from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static inline float fill_one(fill f)
{
    static const float extremes[] = {FLT_MAX, -FLT_MAX, FLT_MIN, -FLT_MIN, 1.0f, -1.0f, FLT_MAX / 2, 0.0f};
    static const float specials[] = {NAN, INFINITY, -INFINITY};
    switch (f) {
    case FILL_UNIT: return random_unit();
    case FILL_WIDE: return ldexpf(random_unit(), random_below(41) - 20);
    case FILL_ZERO: return random_below(2) ? 0.0f : -0.0f;
    case FILL_EXTREME: return extremes[random_below(COUNT(extremes))];
    case FILL_SUBNORMAL: return float_from_bits(random_u32() & 0x807fffffu);
    case FILL_SPECIAL: return random_below(40) ? random_unit() : specials[random_below(COUNT(specials))];
    default: return float_from_bits(random_u32());
    }
}

static inline void fill_floats(float *x, int64_t n, fill f)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = fill_one(f);
}

/* ---- memory ---- */

/* A copy of n bytes that ends where its allocation ends, so that a sanitizer sees a read beyond it, and begins `skew`
 * bytes into it. `base` is freed. */
typedef struct tight {
    void *base, *data;
} tight;

static inline tight tight_new(size_t n, size_t skew)
{
    tight t = {.base = malloc(n + skew + !(n + skew))};
    assert_non_null(t.base);
    t.data = (char *)t.base + skew;
    return t;
}

static inline tight tight_copy(const void *src, size_t n, size_t skew)
{
    const tight t = tight_new(n, skew);
    if (n > 0)
        memcpy(t.data, src, n);
    return t;
}

static inline float *tight_floats(tight *t, int64_t n, int skew, fill f)
{
    *t = tight_new((size_t)n * sizeof(float), (size_t)skew * sizeof(float));
    fill_floats(t->data, n, f);
    return t->data;
}

/* Room for output between canaries. */
#define CANARY 64
typedef struct guarded {
    unsigned char *base;
    void *data;
    size_t n, skew;
    unsigned char front[2 * CANARY], back[CANARY];
} guarded;

/* n bytes, `skew` bytes off the alignment of malloc, set to random bits. */
static inline guarded guarded_new(size_t n, size_t skew)
{
    guarded g = {.base = malloc(n + skew + 2 * CANARY), .n = n, .skew = skew};
    assert_non_null(g.base);
    assert_true(skew < CANARY);
    random_fill(g.base, n + skew + 2 * CANARY);
    g.data = g.base + CANARY + skew;
    memcpy(g.front, g.base, CANARY + skew);
    memcpy(g.back, g.base + CANARY + skew + n, CANARY);
    return g;
}

/* Fails if a byte around the output was written; frees it. */
static inline void guarded_done(guarded *g, const char *what)
{
    if (memcmp(g->front, g->base, CANARY + g->skew) != 0)
        fail_msg("%s wrote in front of its output", what);
    if (memcmp(g->back, g->base + CANARY + g->skew + g->n, CANARY) != 0)
        fail_msg("%s wrote behind its output", what);
    free(g->base);
    *g = (guarded){0};
}

/* ---- comparison ---- */

/* The same bits, or both NaN. IEEE 754 leaves open which of two NaNs an operation passes on, and which sign the NaN of
 * an invalid operation has; compilers swap the operands of + and *, so the two compilations of one source differ
 * there. No other bit may differ, the sign of zero included. */
static inline bool same_float(float a, float b)
{
    return bits_of(a) == bits_of(b) || (isnan(a) && isnan(b));
}

static inline void expect_same_floats(const float *expected, const float *got, int64_t n, const char *what)
{
    for (int64_t i = 0; i < n; i++)
        if (!same_float(expected[i], got[i]))
            fail_msg("%s: value %lld is %a (%08x), expected %a (%08x)", what, (long long)i, (double)got[i],
                     bits_of(got[i]), (double)expected[i], bits_of(expected[i]));
}

/* One line about the case at hand, for messages; static. */
static inline const char *describe(const char *fmt, ...)
{
    static char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return text;
}

#endif
