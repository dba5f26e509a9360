/* SPDX-License-Identifier: Apache-2.0
 *
 * Our double-precision functions against the C library's (itself within one unit in the last place), and their bits
 * pinned: they must be the same on every machine. */
#include "base/mathd.h"
#include "base/rng.h"
#include "support/fixtures.h"

#include <math.h>
#include <string.h>

static int64_t ordered(double x) /* neighbours differ by one, through zero */
{
    int64_t i;
    memcpy(&i, &x, sizeof i);
    return i < 0 ? INT64_MIN - i : i;
}

static void expect_near(const char *name, double x, double got, double want, int64_t ulp)
{
    if (isnan(want) ? isnan(got) : llabs(ordered(got) - ordered(want)) <= ulp)
        return;
    fail_msg("%s(%a) = %a, not %a", name, x, got, want);
}

/* Point i of many in [low, high). */
static double point(uint64_t i, double low, double high)
{
    const md_rand4 r = md_philox(1, i, 0);
    return low + (high - low) * (((double)r.v[0] * 0x1p32 + (double)r.v[1]) * 0x1p-64);
}

enum { POINTS = 200000 };

static void test_exp(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < POINTS; i++) {
        const double wide = point(i, -708, 709.7), near = point(i, -1, 1), tiny = near * 0x1p-30;
        expect_near("exp", wide, md_exp_d(wide), exp(wide), 2);
        expect_near("exp", near, md_exp_d(near), exp(near), 2);
        expect_near("exp", tiny, md_exp_d(tiny), exp(tiny), 2);
    }
    for (uint64_t i = 0; i < POINTS / 10; i++) { /* subnormal results are rounded twice at most */
        const double x = point(i, -744, -708.5);
        expect_near("exp", x, md_exp_d(x), exp(x), 2);
    }
    expect_near("exp", 0, md_exp_d(0), 1, 0);
    expect_near("exp", 1000, md_exp_d(1000), INFINITY, 0);
    expect_near("exp", INFINITY, md_exp_d(INFINITY), INFINITY, 0);
    expect_near("exp", -1000, md_exp_d(-1000), 0, 0);
    expect_near("exp", -INFINITY, md_exp_d(-INFINITY), 0, 0);
    expect_near("exp", NAN, md_exp_d(NAN), NAN, 0);
    assert_true(isfinite(md_exp_d(709.78)));
}

static void test_log(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < POINTS; i++) {
        const double near = point(i, 0.5, 2), close = 1 + point(i, -1, 1) * 0x1p-20;
        const double wide = ldexp(point(i, 1, 2), (int)(i % 2044) - 1021);
        expect_near("log", near, md_log_d(near), log(near), 2);
        expect_near("log", close, md_log_d(close), log(close), 2);
        expect_near("log", wide, md_log_d(wide), log(wide), 2);
    }
    expect_near("log", 1, md_log_d(1), 0, 0);
    expect_near("log", 0x1p-1074, md_log_d(0x1p-1074), log(0x1p-1074), 2);
    expect_near("log", 0, md_log_d(0), -INFINITY, 0);
    expect_near("log", INFINITY, md_log_d(INFINITY), INFINITY, 0);
    expect_near("log", -1, md_log_d(-1), NAN, 0);
    expect_near("log", NAN, md_log_d(NAN), NAN, 0);
}

/* The error of y log x, one part in 2^52, comes out of exp multiplied by its own size. */
static void test_pow(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < POINTS; i++) {
        const double x = point(i, 1e-3, 1e7), y = point(i + POINTS, -3, 3), want = pow(x, y);
        const double bound = (2 + 2 * fabs(y * log(x))) * 0x1p-52;
        const double off = fabs(md_pow_d(x, y) - want) / want;
        if (!(off <= bound))
            fail_msg("pow(%a, %a) is off by %g", x, y, off);
    }
    expect_near("pow", 10000, md_pow_d(10000, 0), 1, 0);
}

static void expect_sincos(double x)
{
    double s, c;
    md_sincos_d(x, &s, &c);
    expect_near("sin", x, s, sin(x), 2);
    expect_near("cos", x, c, cos(x), 2);
}

static void test_sincos(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < POINTS; i++) {
        expect_sincos(point(i, -4, 4));
        expect_sincos(point(i, -1, 1) * 0x1p-20);
        expect_sincos(point(i, 0, 2e6)); /* the angle of the last position of a context of two million */
        expect_sincos(point(i, -0x1p40, 0x1p40));
    }
    for (int i = -100000; i <= 100000; i++) { /* whole positions, and the zeros of both functions */
        expect_sincos(i);
        expect_sincos(i * 1.57079632679489661923);
    }
    double s, c;
    md_sincos_d(0, &s, &c);
    assert_true(s == 0 && c == 1);
    md_sincos_d(0x1p41, &s, &c);
    assert_true(isnan(s) && isnan(c));
    md_sincos_d(NAN, &s, &c);
    assert_true(isnan(s) && isnan(c));
}

static uint64_t mix(uint64_t h, double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (h ^ bits) * 0x9e3779b97f4a7c15u;
}

static void test_bits_are_pinned(void **state)
{
    (void)state;
    uint64_t h = 1;
    for (uint64_t i = 0; i < 50000; i++) {
        double s, c;
        md_sincos_d(point(i, -1e5, 1e5), &s, &c);
        h = mix(mix(h, s), c);
        h = mix(h, md_exp_d(point(i, -700, 700)));
        h = mix(h, md_log_d(point(i, 1e-9, 1e9)));
        h = mix(h, md_pow_d(point(i, 1, 1e7), point(i, -1, 1)));
    }
    assert_int_equal(h, 0xe001592119b5b322);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exp),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_pow),
        cmocka_unit_test(test_sincos),
        cmocka_unit_test(test_bits_are_pinned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
