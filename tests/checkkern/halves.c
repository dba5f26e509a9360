/* SPDX-License-Identifier: Apache-2.0
 *
 * The forms in which the KV cache keeps values, on every table: halves against their definition in IEEE 754, value by value, and
 * Q8_0 against section 7 of docs/numerics.md. */
#include "checkkern/check.h"
#include "dtype/dtype.h"

/* ---- halves ---- */

static float half_value(uint16_t h)
{
    const int exponent = h >> 10 & 31, mantissa = h & 1023;
    const float sign = h & 0x8000 ? -1.0f : 1.0f;
    if (exponent == 31)
        return mantissa ? NAN : sign * INFINITY;
    return exponent ? sign * ldexpf((float)(1024 + mantissa), exponent - 25) : sign * ldexpf((float)mantissa, -24);
}

/* Round to nearest even on the grid of halves; not for NaN. */
static float round_to_half(float x)
{
    const int e = fabsf(x) < 0x1p-14f ? -24 : ilogbf(x) - 10;
    const float y = fabsf(x) < 0x1p17f ? ldexpf(rintf(ldexpf(x, -e)), e) : x;
    return fabsf(y) >= 65536.0f ? copysignf(INFINITY, x) : y;
}

static const int lengths[] = {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 255, 257, 1000};

static void every_half_becomes_its_value(void **state)
{
    enum { N = 65536 };
    const md_kern *kern = table_of(state);
    uint16_t *h = malloc(N * sizeof *h);
    assert_non_null(h);
    guarded y = guarded_new(N * 4, 4);
    for (int i = 0; i < N; i++)
        h[i] = (uint16_t)i;
    kern->from_half(h, y.data, N);
    for (int i = 0; i < N; i++) {
        const float expected = half_value(h[i]);
        expect_same_floats(&expected, (float *)y.data + i, 1, describe("%s half %04x", kern->isa, i));
    }
    guarded_done(&y, "from_half");
    free(h);
}

static void floats_round_to_the_nearest_half(void **state)
{
    const md_kern *kern = table_of(state);
    for (int round = 0; round < 10; round++)
        for (int i = 0; i < COUNT(lengths); i++)
            for (int f = 0; f <= N_FILLS; f++) {
                const int n = lengths[i];
                tight t;
                float *x = tight_floats(&t, n, random_below(8), f < N_FILLS ? (fill)f : FILL_UNIT);
                for (int j = 0; f == N_FILLS && j < n; j++) /* ties: halfway between two neighbouring halves */
                    x[j] = half_value((uint16_t)random_below(0x7c00)) + 0.5f * ldexpf(1.0f, random_below(30) - 24);
                guarded h = guarded_new((size_t)n * 2, (size_t)random_below(8) * 2);
                const uint16_t *y = h.data;
                kern->to_half(x, h.data, n);
                for (int j = 0; j < n; j++) {
                    const float expected = isnan(x[j]) ? NAN : round_to_half(x[j]), got = half_value(y[j]);
                    expect_same_floats(&expected, &got, 1, describe("%s half of %a", kern->isa, (double)x[j]));
                    assert_int_equal(y[j] >> 15, bits_of(x[j]) >> 31);
                }
                guarded_done(&h, "to_half");
                free(t.base);
            }
}

/* ---- Q8_0 ---- */

static void q8_by_definition(const float *x, int8_t *code, uint16_t *d)
{
    float amax = 0.0f;
    for (int i = 0; i < 32; i++)
        amax = isfinite(x[i]) && !isnan(amax) ? fmaxf(amax, fabsf(x[i])) : NAN;
    *d = md_float_to_half(amax / 127.0f);
    const float scale = md_half_to_float(*d);
    for (int i = 0; i < 32; i++)
        code[i] = isfinite(scale) && scale > 0.0f ? (int8_t)fmaxf(fminf(rintf(x[i] * (1.0f / scale)), 127.0f), -127.0f)
                                                  : 0;
}

static void q8_follows_the_definition(void **state)
{
    enum { MOST = 9 };
    const md_kern *kern = table_of(state);
    for (int round = 0; round < 100; round++)
        for (int f = 0; f <= N_FILLS; f++) {
            const int blocks = random_below(MOST + 1);
            tight t;
            float *x = tight_floats(&t, 32 * blocks, random_below(8), f < N_FILLS ? (fill)f : FILL_UNIT);
            for (int i = 0; f == N_FILLS && i < 32 * blocks; i++)
                x[i] *= 0x1p-18f; /* scales that are subnormal halves: codes would go beyond 127 */
            guarded code = guarded_new((size_t)blocks * 32, (size_t)random_below(32));
            guarded d = guarded_new((size_t)blocks * 2, (size_t)random_below(8) * 2);
            kern->to_q8(x, code.data, d.data, 32 * blocks);
            for (int b = 0; b < blocks; b++) {
                int8_t expected[32];
                uint16_t scale;
                q8_by_definition(x + 32 * b, expected, &scale);
                const float want = half_value(scale), got = half_value(((uint16_t *)d.data)[b]);
                expect_same_floats(&want, &got, 1, "the scale of a block");
                assert_memory_equal((int8_t *)code.data + 32 * b, expected, 32);
            }
            guarded_done(&code, "to_q8, codes");
            guarded_done(&d, "to_q8, scales");
            free(t.base);
        }
}

int main(void)
{
    seed_from_environment();
    const struct CMUnitTest tests[] = {
        EACH_TABLE(every_half_becomes_its_value),
        EACH_TABLE(floats_round_to_the_nearest_half),
        EACH_TABLE(q8_follows_the_definition),
    };
    return cmocka_run_group_tests_name("checkkern halves", tests, NULL, NULL);
}
