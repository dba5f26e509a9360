/* SPDX-License-Identifier: Apache-2.0
 *
 * Half and bfloat16 conversions: all 65536 values up, and every rounding decision down that a boundary can make,
 * against the definition written out in double. */
#include "support/fixtures.h"

#include "dtype/dtype.h"
#include "random.h"
#include <math.h>

static uint32_t bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* The value by the definition, for finite halfs. */
static double half_value(uint16_t h)
{
    const int exponent = h >> 10 & 31, mantissa = h & 1023;
    const double v = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
    return h & 0x8000 ? -v : v;
}

static void all_halfs_to_float(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        const float f = md_half_to_float((uint16_t)h);
        const uint32_t sign = (h & 0x8000) << 16;
        if ((h & 0x7c00) == 0x7c00) /* infinity, and NaN with its payload */
            assert_int_equal(bits_of(f), sign | 0x7f800000 | (h & 0x3ff) << 13);
        else
            assert_true((double)f == half_value((uint16_t)h) && (bits_of(f) & 0x80000000) == sign);
    }
}

static void halfs_survive_the_way_back(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        const bool is_nan = (h & 0x7fff) > 0x7c00;
        assert_int_equal(md_float_to_half(md_half_to_float((uint16_t)h)), is_nan ? h | 0x200 : h);
    }
}

/* Between each half and the next: the middle goes to the even one, and a hair beside it to the nearer one. */
static void halfway_points_round_to_even(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7c00; h++) {
        const double next = h + 1 == 0x7c00 ? 65536.0 : half_value((uint16_t)(h + 1));
        const float middle = (float)((half_value((uint16_t)h) + next) / 2);
        const uint32_t even = h + (h & 1);
        for (uint32_t sign = 0; sign <= 0x8000; sign += 0x8000) {
            const float s = sign ? -1.0f : 1.0f;
            assert_int_equal(md_float_to_half(s * middle), sign | even);
            assert_int_equal(md_float_to_half(s * float_of(bits_of(middle) - 1)), sign | h);
            assert_int_equal(md_float_to_half(s * float_of(bits_of(middle) + 1)), sign | (h + 1));
        }
    }
}

static void half_extremes(void **state)
{
    (void)state;
    assert_int_equal(md_float_to_half(65504.0f), 0x7bff);
    assert_int_equal(md_float_to_half(65519.996f), 0x7bff);
    assert_int_equal(md_float_to_half(65520.0f), 0x7c00);
    assert_int_equal(md_float_to_half(-3.4e38f), 0xfc00);
    assert_int_equal(md_float_to_half(INFINITY), 0x7c00);
    assert_int_equal(md_float_to_half(0x1p-25f), 0x0000);
    assert_int_equal(md_float_to_half(0x1.000002p-25f), 0x0001);
    assert_int_equal(md_float_to_half(-0x1p-149f), 0x8000);
    assert_int_equal(md_float_to_half(-0.0f), 0x8000);
    assert_int_equal(md_float_to_half(float_of(0x7f800001)), 0x7e00); /* a payload in the low bits only */
    assert_int_equal(md_float_to_half(float_of(0xffc02000)), 0xfe01);
}

static void bf16_both_ways(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        const bool is_nan = (h & 0x7fff) > 0x7f80;
        assert_int_equal(bits_of(md_bf16_to_float((uint16_t)h)), h << 16);
        assert_int_equal(md_float_to_bf16(float_of(h << 16)), is_nan ? h | 0x40 : h);
        if ((h & 0x7fff) >= 0x7f80)
            continue;
        assert_int_equal(md_float_to_bf16(float_of(h << 16 | 0x7fff)), h);
        assert_int_equal(md_float_to_bf16(float_of(h << 16 | 0x8000)), h + (h & 1));
        assert_int_equal(md_float_to_bf16(float_of(h << 16 | 0x8001)), h + 1);
    }
    assert_int_equal(md_float_to_bf16(3.4028235e38f), 0x7f80);
    assert_int_equal(md_float_to_bf16(float_of(0x7f800001)), 0x7fc0);
    assert_int_equal(md_float_to_bf16(float_of(0xffffffff)), 0xffff);
}

/* Random floats: no other half is nearer. */
static void no_half_is_nearer(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (int round = 0; round < 200000; round++) {
        const float f = ldexpf(random_unit(&seed), (int)(random_next(&seed) % 44) - 28);
        const uint16_t h = md_float_to_half(f);
        if ((h & 0x7fff) >= 0x7bff || (h & 0x7fff) == 0)
            continue;
        const double error = fabs(half_value(h) - (double)f);
        assert_true(error <= fabs(half_value((uint16_t)(h - 1)) - (double)f));
        assert_true(error <= fabs(half_value((uint16_t)(h + 1)) - (double)f));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_halfs_to_float),
        cmocka_unit_test(halfs_survive_the_way_back),
        cmocka_unit_test(halfway_points_round_to_even),
        cmocka_unit_test(half_extremes),
        cmocka_unit_test(bf16_both_ways),
        cmocka_unit_test(no_half_is_nearer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
