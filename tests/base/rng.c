/* SPDX-License-Identifier: Apache-2.0
 *
 * Philox4x32-10 against the known answers of its paper; the numbers made from it by their moments and, since they must be
 * the same everywhere, by their bits. */
#include "base/rng.h"
#include "support/fixtures.h"

#include <math.h>
#include <string.h>

static void expect_philox(uint64_t key, uint64_t low, uint64_t high, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    const md_rand4 r = md_philox(key, low, high);
    assert_int_equal(r.v[0], a);
    assert_int_equal(r.v[1], b);
    assert_int_equal(r.v[2], c);
    assert_int_equal(r.v[3], d);
}

static void test_known_answers(void **state)
{
    (void)state;
    expect_philox(0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8);
    expect_philox(UINT64_MAX, UINT64_MAX, UINT64_MAX, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd);
    /* the digits of pi, as four words of counter and two of key */
    expect_philox(0x299f31d0a4093822, 0x85a308d3243f6a88, 0x0370734413198a2e, 0xd16cfe09, 0x94fdcceb, 0x5001e420,
                  0x24126ea1);
}

static void test_uniform_lies_in_its_range(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    double sum = 0, squares = 0;
    int bin[16] = {0};
    for (uint64_t i = 0; i < N; i++) {
        const float u = md_rand_uniform(42, 7, i);
        if (!(u >= 0.0f && u < 1.0f))
            fail_msg("%g at %llu", (double)u, (unsigned long long)i);
        assert_true(u * 0x1p24f == floorf(u * 0x1p24f)); /* 24 bits, exact */
        sum += (double)u;
        squares += (double)u * (double)u;
        bin[(int)(u * 16)]++;
    }
    /* standard errors: 0.00028 of the mean, 250 of a bin; six of them */
    assert_true(fabs(sum / N - 0.5) < 0.0017);
    assert_true(fabs(squares / N - 1.0 / 3) < 0.0018);
    for (int i = 0; i < 16; i++)
        assert_in_range(bin[i], N / 16 - 1500, N / 16 + 1500);
}

static void test_normal_has_normal_moments(void **state)
{
    (void)state;
    enum { N = 1 << 19 };
    double m[5] = {0}, neighbours = 0, last = 0;
    for (uint64_t i = 0; i < N; i++) {
        const double x = (double)md_rand_normal(42, 7, i);
        assert_true(isfinite(x));
        m[1] += x, m[2] += x * x, m[3] += x * x * x, m[4] += x * x * x * x;
        neighbours += x * last;
        last = x;
    }
    /* standard errors: 1, 1.41, 3.87, 9.8 and 1 over sqrt N = 724; six of them */
    assert_true(fabs(m[1] / N) < 0.0083);
    assert_true(fabs(m[2] / N - 1) < 0.0117);
    assert_true(fabs(m[3] / N) < 0.0321);
    assert_true(fabs(m[4] / N - 3) < 0.0812);
    assert_true(fabs(neighbours / N) < 0.0083); /* a pair shares its radius, not its sign */
}

static uint64_t hash_floats(float (*f)(uint64_t, uint64_t, uint64_t), uint64_t n)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (uint64_t i = 0; i < n; i++) {
        const float x = f(0x123456789abcdefu, i % 5, i);
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        h = (h ^ bits) * 0x100000001b3u;
    }
    return h;
}

/* Committed results depend on these bits: they may never change. */
static void test_bits_are_pinned(void **state)
{
    (void)state;
    assert_int_equal(hash_floats(md_rand_uniform, 100000), 0xa3bb8b75eb12755a);
    assert_int_equal(hash_floats(md_rand_normal, 100000), 0xaa6e4c9efbd312a0);
}

static void test_every_part_of_the_key_counts(void **state)
{
    (void)state;
    for (int bit = 0; bit < 64; bit++) {
        const uint64_t one = UINT64_C(1) << bit;
        const md_rand4 base = md_philox(1, 2, 3), key = md_philox(1 ^ one, 2, 3), low = md_philox(1, 2 ^ one, 3),
                       high = md_philox(1, 2, 3 ^ one);
        assert_memory_not_equal(&base, &key, sizeof base);
        assert_memory_not_equal(&base, &low, sizeof base);
        assert_memory_not_equal(&base, &high, sizeof base);
    }
}

static void test_streams_by_name(void **state)
{
    (void)state;
    /* FNV-1a, 64 bits: the published answers */
    assert_true(md_rand_stream("") == 0xcbf29ce484222325u);
    assert_true(md_rand_stream("a") == 0xaf63dc4c8601ec8cu);
    assert_true(md_rand_stream("foobar") == 0x85944171f73967e8u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_uniform_lies_in_its_range),
        cmocka_unit_test(test_normal_has_normal_moments),
        cmocka_unit_test(test_bits_are_pinned),
        cmocka_unit_test(test_every_part_of_the_key_counts),
        cmocka_unit_test(test_streams_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
