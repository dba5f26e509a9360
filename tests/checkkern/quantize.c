/* SPDX-License-Identifier: Apache-2.0
 *
 * Activations to codes: every table against section 3 of docs/numerics.md, bit for bit, and the error that codes
 * make. */
#include "checkkern/check.h"

/* ---- section 3, literally ---- */

typedef struct quantized {
    int8_t code[256];
    float d;
} quantized;

static quantized block_by_definition(const float *x, int n)
{
    quantized q = {.d = 0.0f};
    float amax = 0.0f;
    for (int i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            q.d = NAN;
            return q;
        }
        amax = fmaxf(amax, fabsf(x[i]));
    }
    if (amax < 0x1p-100f)
        return q;
    q.d = amax / 127.0f;
    const float id = 127.0f / amax;
    for (int i = 0; i < n; i++) {
        const float code = rintf(x[i] * id);
        assert_true(code >= -127.0f && code <= 127.0f);
        q.code[i] = (int8_t)code;
    }
    return q;
}

static int sum_of(const int8_t *code, int n)
{
    int sum = 0;
    for (int i = 0; i < n; i++)
        sum += code[i];
    return sum;
}

/* ---- a row through a table, against that ---- */

static void check_row32(const md_kern *kern, const float *x, int64_t k, const char *what)
{
    const int64_t n = k / 32;
    guarded code = guarded_new((size_t)k, (size_t)random_below(16)), scale = guarded_new((size_t)n * 4, 4);
    guarded sum = guarded_new((size_t)n * 4, 12), isum = guarded_new((size_t)n * 2, 2);
    kern->quantize32(x, k, code.data, scale.data, sum.data, isum.data);
    for (int64_t b = 0; b < n; b++) {
        const quantized q = block_by_definition(x + b * 32, 32);
        const float s = q.d * (float)sum_of(q.code, 32);
        assert_memory_equal((int8_t *)code.data + b * 32, q.code, 32);
        expect_same_floats(&q.d, (float *)scale.data + b, 1, what);
        expect_same_floats(&s, (float *)sum.data + b, 1, what);
        assert_int_equal(((int16_t *)isum.data)[b], sum_of(q.code, 32));
    }
    guarded_done(&code, what);
    guarded_done(&scale, what);
    guarded_done(&sum, what);
    guarded_done(&isum, what);
}

static void check_row256(const md_kern *kern, const float *x, int64_t k, const char *what)
{
    const int64_t n = k / 256;
    guarded code = guarded_new((size_t)k, (size_t)random_below(16)), scale = guarded_new((size_t)n * 4, 4);
    guarded sum = guarded_new((size_t)(k / 16) * 2, 2);
    kern->quantize256(x, k, code.data, scale.data, sum.data);
    for (int64_t b = 0; b < n; b++) {
        const quantized q = block_by_definition(x + b * 256, 256);
        assert_memory_equal((int8_t *)code.data + b * 256, q.code, 256);
        expect_same_floats(&q.d, (float *)scale.data + b, 1, what);
        for (int g = 0; g < 16; g++)
            assert_int_equal(((int16_t *)sum.data)[b * 16 + g], sum_of(q.code + g * 16, 16));
    }
    guarded_done(&code, what);
    guarded_done(&scale, what);
    guarded_done(&sum, what);
}

static void check_row(const md_kern *kern, const float *x, int64_t k, const char *what)
{
    check_row32(kern, x, k, what);
    if (k % 256 == 0)
        check_row256(kern, x, k, what);
}

/* ---- tests ---- */

static void codes_follow_the_definition(void **state)
{
    static const int64_t lengths[] = {0, 32, 64, 96, 256, 512, 1280};
    const md_kern *kern = table_of(state);
    for (int round = 0; round < 20; round++)
        for (int i = 0; i < COUNT(lengths); i++)
            for (int f = 0; f < N_FILLS; f++) {
                tight t;
                const float *x = tight_floats(&t, lengths[i], random_below(8), (fill)f);
                check_row(kern, x, lengths[i], describe("%s k=%d %s", kern->isa, (int)lengths[i], fill_names[f]));
                free(t.base);
            }
}

/* One value decides the block's scale: its size goes through every border, at every place of the block. */
static void codes_follow_the_definition_at_the_borders(void **state)
{
    const float borders[] = {0x1p-100f,
                             nextafterf(0x1p-100f, 0.0f),
                             nextafterf(0x1p-100f, 1.0f),
                             FLT_MAX,
                             FLT_MIN,
                             FLT_TRUE_MIN,
                             127.0f,
                             INFINITY,
                             NAN,
                             -FLT_MAX,
                             -NAN};
    const md_kern *kern = table_of(state);
    for (int b = 0; b < COUNT(borders); b++)
        for (int place = 0; place < 256; place += 1 + random_below(9)) {
            float x[256];
            for (int i = 0; i < 256; i++)
                x[i] = isfinite(borders[b]) ? borders[b] * random_unit() : random_unit();
            x[place] = borders[b];
            check_row(kern, x, 256, describe("%s largest value %a at %d", kern->isa, (double)borders[b], place));
        }
}

static void halves_go_to_the_even_code(void **state)
{
    const md_kern *kern = table_of(state);
    float x[32] = {127.0f, 0.5f, 1.5f, 2.5f, 3.5f, -0.5f, -1.5f, -2.5f, -3.5f, 125.5f, -126.5f};
    static const int8_t expected[32] = {127, 0, 2, 2, 4, 0, -2, -2, -4, 126, -126};
    int8_t code[32];
    float scale, sum;
    int16_t isum;
    kern->quantize32(x, 32, code, &scale, &sum, &isum);
    assert_memory_equal(code, expected, 32);
    assert_true(scale == 1.0f);
    assert_true(sum == (float)sum_of(expected, 32));
    assert_int_equal(isum, sum_of(expected, 32));
}

static void a_code_is_within_half_a_step(void **state)
{
    const md_kern *kern = table_of(state);
    for (int round = 0; round < 200; round++) {
        float x[256], scale;
        int8_t code[256];
        int16_t sums[16];
        fill_floats(x, 256, round % 2 ? FILL_UNIT : FILL_WIDE);
        kern->quantize256(x, 256, code, &scale, sums);
        for (int i = 0; i < 256; i++) {
            /* half a step, and three roundings of a product of at most 127 steps */
            const double error = fabs((double)x[i] - (double)scale * code[i]);
            assert_true(error <= (double)scale * (0.5 + 127.0 * 3 * 0x1p-24));
        }
    }
}

int main(void)
{
    seed_from_environment();
    const struct CMUnitTest tests[] = {
        EACH_TABLE(codes_follow_the_definition),
        EACH_TABLE(codes_follow_the_definition_at_the_borders),
        EACH_TABLE(halves_go_to_the_even_code),
        EACH_TABLE(a_code_is_within_half_a_step),
    };
    return cmocka_run_group_tests_name("checkkern quantize", tests, NULL, NULL);
}
