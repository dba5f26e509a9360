/* SPDX-License-Identifier: Apache-2.0
 *
 * The encoders: each weight gets the best of its block's codes, errors stay within what the scale rule allows, what a
 * type can hold exactly survives, and extremes stay finite. */
#include "support/fixtures.h"

#include "dtype/dtype.h"
#include "dtype/half.h"
#include "random.h"

static const md_type block_types[] = {MD_TYPE_Q4_0, MD_TYPE_Q4_1, MD_TYPE_Q5_0, MD_TYPE_Q5_1, MD_TYPE_Q8_0};
enum { N_BLOCK_TYPES = sizeof block_types / sizeof *block_types };

static int levels(md_type t)
{
    return t == MD_TYPE_Q8_0 ? 255 : t == MD_TYPE_Q5_0 || t == MD_TYPE_Q5_1 ? 32 : 16;
}

static bool is_signed(md_type t)
{
    return t == MD_TYPE_Q4_0 || t == MD_TYPE_Q5_0 || t == MD_TYPE_Q8_0;
}

static void round_trip(md_type t, const float *x, float *y, int n)
{
    uint8_t data[4096];
    size_t bytes;
    assert_true(md_type_row_bytes(t, n, &bytes) && bytes <= sizeof data);
    memset(data, 0xa5, sizeof data);
    md_type_encode(t, x, data, n);
    for (size_t i = bytes; i < sizeof data; i++)
        assert_int_equal(data[i], 0xa5);
    md_type_decode(t, data, y, n);
}

static void fill(uint64_t *seed, int kind, float x[32])
{
    for (int i = 0; i < 32; i++) {
        x[i] = random_unit(seed);
        if (kind == 1) /* an outlier */
            x[i] *= i == 7 ? -30.0f : 0.1f;
        if (kind == 2) /* one sign, far from zero */
            x[i] = 100.0f + x[i];
        if (kind == 3) /* sparse */
            x[i] = i % 5 ? 0.0f : x[i];
        if (kind == 4) /* large */
            x[i] *= 3e4f;
    }
}

/* Distance from x to the nearest value that the encoded block could give. */
static double best_error(md_type t, const uint8_t *block, float x)
{
    uint16_t h[2];
    memcpy(h, block, sizeof h);
    const double scale = md_f32_from_f16(h[0]), min = is_signed(t) ? 0.0 : (double)md_f32_from_f16(h[1]);
    const int low = t == MD_TYPE_Q8_0 ? -127 : is_signed(t) ? -levels(t) / 2 : 0;
    double best = INFINITY;
    for (int q = low; q < low + levels(t); q++)
        best = fmin(best, fabs(scale * q + min - (double)x));
    return best;
}

static void every_weight_gets_its_best_code(void **state)
{
    (void)state;
    uint64_t seed = 6;
    for (int k = 0; k < N_BLOCK_TYPES; k++) {
        for (int round = 0; round < 500; round++) {
            float x[32], y[32];
            uint8_t block[64];
            fill(&seed, round % 5, x);
            md_type_encode(block_types[k], x, block, 32);
            md_type_decode(block_types[k], block, y, 32);
            for (int i = 0; i < 32; i++) {
                const double slack = 1e-6 * fabs((double)x[i]);
                assert_true(fabs((double)y[i] - (double)x[i]) <= best_error(block_types[k], block, x[i]) + slack);
            }
        }
    }
}

/* Half a step, plus what rounding the scale to half (2^-11) moves the ends; Q4_0 and Q5_0 lack one level on the side
 * opposite to the extreme, so a whole step there. */
static void errors_stay_within_a_step(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (int k = 0; k < N_BLOCK_TYPES; k++) {
        const md_type t = block_types[k];
        for (int round = 0; round < 500; round++) {
            float x[32], y[32];
            fill(&seed, round % 5, x);
            round_trip(t, x, y, 32);
            double low = (double)x[0], high = (double)x[0], magnitude = 0;
            for (int i = 0; i < 32; i++) {
                low = fmin(low, (double)x[i]);
                high = fmax(high, (double)x[i]);
                magnitude = fmax(magnitude, fabs((double)x[i]));
            }
            const double range = is_signed(t) ? 2 * magnitude : high - low;
            const double step = range / (is_signed(t) && t != MD_TYPE_Q8_0 ? levels(t) : levels(t) - 1);
            const double bound = (is_signed(t) && t != MD_TYPE_Q8_0 ? step : step / 2) + magnitude * 0x1p-10;
            for (int i = 0; i < 32; i++)
                assert_true(fabs((double)y[i] - (double)x[i]) <= bound);
        }
    }
}

static void representable_blocks_survive(void **state)
{
    (void)state;
    float x[64], y[64];
    for (int k = 0; k < N_BLOCK_TYPES; k++) {
        const md_type t = block_types[k];
        const int n = levels(t), low = t == MD_TYPE_Q8_0 ? -127 : is_signed(t) ? -n / 2 : -3;
        for (int i = 0; i < 64; i++) { /* both ends of the codes in each block, scale 1/4 */
            const int q = i % 32 == 0 ? low : i % 32 == 1 ? low + n - 1 : low + (i * 11) % n;
            x[i] = 0.25f * (float)q;
        }
        round_trip(t, x, y, 64);
        assert_memory_equal(x, y, sizeof x);
        if (t == MD_TYPE_Q4_0 ||
            t == MD_TYPE_Q5_0) { /* mirrored: the longer side of the codes turns with the extreme */
            for (int i = 0; i < 64; i++)
                x[i] = x[i] == 0.0f ? 0.0f : -x[i];
            round_trip(t, x, y, 64);
            for (int i = 0; i < 64; i++)
                assert_true(x[i] == y[i]);
        }
    }
}

static void extremes_stay_finite(void **state)
{
    (void)state;
    const float magnitudes[] = {0.0f, 0x1p-149f, 1e-12f, 0x1p-24f, 6e4f, 1e6f, 1e9f, 3.4e38f};
    for (int k = 0; k < N_BLOCK_TYPES; k++) {
        for (size_t m = 0; m < sizeof magnitudes / sizeof *magnitudes; m++) {
            float x[32], y[32];
            for (int i = 0; i < 32; i++)
                x[i] = magnitudes[m] * (i % 3 == 0 ? 1.0f : i % 3 == 1 ? -1.0f : 0.5f);
            round_trip(block_types[k], x, y, 32);
            for (int i = 0; i < 32; i++) {
                assert_true(isfinite(y[i]) && fabsf(y[i]) <= 1.25f * fmaxf(magnitudes[m], 0x1p-18f));
                assert_true(y[i] == 0.0f || (y[i] > 0) == (x[i] > 0));
            }
            if (m == 0)
                assert_memory_equal(x + 2, y + 2, 4); /* +0, not -0 */
        }
    }
}

static void constant_blocks(void **state)
{
    (void)state;
    float x[32], y[32];
    for (int i = 0; i < 32; i++)
        x[i] = -0.75f;
    for (int k = 0; k < N_BLOCK_TYPES; k++) {
        round_trip(block_types[k], x, y, 32);
        for (int i = 0; i < 32; i++)
            assert_true(fabsf(y[i] + 0.75f) <= 0.75f * 0x1p-11f);
    }
}

static void plain_types(void **state)
{
    (void)state;
    const float x[5] = {0.1f, -65504.0f, 0x1p-24f, 1.0f, -0.0f};
    float y[5];
    round_trip(MD_TYPE_F32, x, y, 5);
    assert_memory_equal(x, y, sizeof x);
    round_trip(MD_TYPE_F16, x, y, 5);
    assert_true(y[0] == 0x1.998p-4f && y[1] == x[1] && y[2] == x[2] && y[3] == 1.0f);
    round_trip(MD_TYPE_BF16, x, y, 5);
    assert_true(y[0] == 0x1.9ap-4f && y[1] == -65536.0f && y[2] == x[2] && y[3] == 1.0f && signbit(y[4]));
}

static void only_these_types_encode(void **state)
{
    (void)state;
    int n = 0;
    for (int t = 0; t < MD_N_TYPES; t++)
        n += md_type_can_encode((md_type)t);
    assert_int_equal(n, N_BLOCK_TYPES + 3);
    for (int k = 0; k < N_BLOCK_TYPES; k++)
        assert_true(md_type_can_encode(block_types[k]));
    assert_true(md_type_can_encode(MD_TYPE_F32) && md_type_can_encode(MD_TYPE_F16) && md_type_can_encode(MD_TYPE_BF16));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_weight_gets_its_best_code),
        cmocka_unit_test(errors_stay_within_a_step),
        cmocka_unit_test(representable_blocks_survive),
        cmocka_unit_test(extremes_stay_finite),
        cmocka_unit_test(constant_blocks),
        cmocka_unit_test(plain_types),
        cmocka_unit_test(only_these_types_encode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
