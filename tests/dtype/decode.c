/* SPDX-License-Identifier: Apache-2.0
 *
 * The exact decoder against the shared fixtures, against vectors of an independent decoder, and against a second
 * implementation over random bits, special scales included. Everything bit for bit. */
#include "support/fixtures.h"

#include "dtype/dtype.h"
#include "random.h"
#include "reference.h"
#include "vectors.h"
#include <string.h>

static const md_type with_fixture[] = {
    MD_TYPE_F16,     MD_TYPE_BF16,  MD_TYPE_Q4_0,   MD_TYPE_Q4_1,   MD_TYPE_Q5_0,    MD_TYPE_Q8_0,   MD_TYPE_Q2_K,
    MD_TYPE_Q4_K,    MD_TYPE_Q5_K,  MD_TYPE_Q6_K,   MD_TYPE_IQ1_S,  MD_TYPE_IQ2_XXS, MD_TYPE_IQ2_XS, MD_TYPE_IQ2_S,
    MD_TYPE_IQ3_XXS, MD_TYPE_IQ3_S, MD_TYPE_IQ4_NL, MD_TYPE_IQ4_XS, MD_TYPE_TQ1_0,   MD_TYPE_TQ2_0,  MD_TYPE_MXFP4,
};

static void check_bits(const char *what, const float *got, const float *expected, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (memcmp(&got[i], &expected[i], sizeof *got) != 0)
            fail_msg("%s: weight %zu is %a, expected %a", what, i, (double)got[i], (double)expected[i]);
    }
}

static void check_fixture(md_type t, const char *stem, const char *middle)
{
    char path[1024];
    size_t n_bytes, n_expected_bytes, row;
    snprintf(path, sizeof path, "types/%s%s.bin", stem, middle);
    uint8_t *data = read_all(fixture("%s", path), &n_bytes);
    snprintf(path, sizeof path, "types/%s%s.f32", stem, middle);
    float *expected = read_all(fixture("%s", path), &n_expected_bytes);
    const int64_t n = (int64_t)(n_expected_bytes / sizeof *expected);
    assert_true(n > 0);
    assert_true(md_type_row_bytes(t, n, &row));
    assert_int_equal(row, n_bytes);
    float *got = malloc(n_expected_bytes);
    assert_non_null(got);
    md_type_decode(t, data, got, n);
    check_bits(path, got, expected, (size_t)n);
    free(got);
    free(expected);
    free(data);
}

static void fixtures_decode_exactly(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof with_fixture / sizeof *with_fixture; k++) {
        char stem[16];
        snprintf(stem, sizeof stem, "%s", md_type_get(with_fixture[k])->name);
        for (char *c = stem; *c; c++)
            *c = (char)(*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c);
        check_fixture(with_fixture[k], stem, "");
        check_fixture(with_fixture[k], stem, ".rand");
    }
}

static void vectors_decode_exactly(void **state)
{
    (void)state;
#define CHECK_VECTORS(TYPE, stem)                                                                    \
    do {                                                                                             \
        float got[sizeof stem##_values / sizeof *stem##_values], expected[sizeof got / sizeof *got]; \
        size_t row;                                                                                  \
        assert_true(md_type_row_bytes(TYPE, sizeof got / sizeof *got, &row));                        \
        assert_int_equal(row, sizeof stem##_blocks);                                                 \
        memcpy(expected, stem##_values, sizeof expected);                                            \
        md_type_decode(TYPE, stem##_blocks, got, sizeof got / sizeof *got);                          \
        check_bits(#stem, got, expected, sizeof got / sizeof *got);                                  \
    } while (0)
    CHECK_VECTORS(MD_TYPE_Q3_K, q3_k);
    CHECK_VECTORS(MD_TYPE_Q5_1, q5_1);
    CHECK_VECTORS(MD_TYPE_IQ1_M, iq1_m);
    CHECK_VECTORS(MD_TYPE_NVFP4, nvfp4);
}

/* Two blocks by hand: no other decoder at hand knows these types. */
static void one_and_two_bit_types(void **state)
{
    (void)state;
    const uint8_t q1_0[18] = {0x00, 0x3e /* 1.5 */, 0x05, 0x80};
    float got[128];
    md_type_decode(MD_TYPE_Q1_0, q1_0, got, 128);
    for (int i = 0; i < 128; i++)
        assert_true(got[i] == (i == 0 || i == 2 || i == 15 ? 1.5f : -1.5f));
    const uint8_t q2_0[18] = {0x00, 0x38 /* 0.5 */, 0xe4, 0x1b, 0x55};
    md_type_decode(MD_TYPE_Q2_0, q2_0, got, 64);
    const float expected[12] = {-0.5f, 0.0f, 0.5f, 1.0f, 1.0f, 0.5f, 0.0f, -0.5f, 0.0f, 0.0f, 0.0f, 0.0f};
    for (int i = 0; i < 64; i++)
        assert_true(got[i] == (i < 12 ? expected[i] : -0.5f));
}

/* Random bits everywhere, scales included: infinities, NaNs and subnormals come up too. */
static void random_blocks_match_the_second_reading(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (int t = 0; t < MD_N_TYPES; t++) {
        const md_type_info *info = md_type_get((md_type)t);
        if (info->cls != MD_CLASS_QUANT)
            continue;
        for (int round = 0; round < 300; round++) {
            uint8_t block[256];
            float got[256];
            random_bytes(&seed, block, (size_t)info->bytes);
            md_type_decode((md_type)t, block, got, info->block);
            for (int i = 0; i < info->block; i++) {
                const float expected = reference_weight((md_type)t, block, i);
                if (!same_float(got[i], expected))
                    fail_msg("%s round %d: weight %d is %a, expected %a", info->name, round, i, (double)got[i],
                             (double)expected);
            }
        }
    }
}

/* Tables of scales by themselves: every byte of E8M0 and E4M3. */
static void microscaling_scales(void **state)
{
    (void)state;
    for (int e = 0; e < 256; e++) {
        const uint8_t mxfp4[17] = {(uint8_t)e, 0xf2 /* 1.0 and -6.0 */};
        float got[64];
        md_type_decode(MD_TYPE_MXFP4, mxfp4, got, 32);
        assert_true(got[0] == (float)ldexp(1.0, e - 127) && got[16] == (float)ldexp(-6.0, e - 127));
        const uint8_t nvfp4[36] = {(uint8_t)e, 0, 0, 0, 0x2f /* -6.0 and 1.0 */};
        md_type_decode(MD_TYPE_NVFP4, nvfp4, got, 64);
        const double scale = e == 0x7f ? 0.0 : small_float(e & 0x7f, 4, 3, false);
        assert_true(got[0] == (float)(-6.0 * scale) && got[8] == (float)scale);
    }
    const uint8_t largest[36] = {0x7e, 0, 0, 0, 0x02};
    float got[64];
    md_type_decode(MD_TYPE_NVFP4, largest, got, 64);
    assert_true(got[0] == 448.0f);
}

static void rows_of_many_blocks_at_odd_addresses(void **state)
{
    (void)state;
    uint64_t seed = 2;
    for (int t = 0; t < MD_N_TYPES; t++) {
        const md_type_info *info = md_type_get((md_type)t);
        uint8_t aligned[1024 + 8], odd[1024 + 8];
        float a[1024], b[1024];
        const int n = info->block == 1 ? 7 : 3 * info->block;
        size_t bytes;
        assert_true(md_type_row_bytes((md_type)t, n, &bytes));
        random_bytes(&seed, aligned, bytes);
        memcpy(odd + 1, aligned, bytes);
        md_type_decode((md_type)t, odd + 1, a, n);
        for (int i = 0; i < n; i += info->block) /* and block by block */
            md_type_decode((md_type)t, aligned + i / info->block * info->bytes, b + i, info->block);
        for (int i = 0; i < n; i++)
            assert_true(same_float(a[i], b[i]));
        a[0] = 42.0f;
        md_type_decode((md_type)t, odd + 1, a, 0);
        assert_true(a[0] == 42.0f);
    }
}

static void data_types_convert(void **state)
{
    (void)state;
    float got[4];
    md_type_decode(MD_TYPE_I8, (const int8_t[]){-128, -1, 0, 127}, got, 4);
    assert_true(got[0] == -128.0f && got[1] == -1.0f && got[2] == 0.0f && got[3] == 127.0f);
    md_type_decode(MD_TYPE_I16, (const int16_t[]){-32768, -1, 256, 32767}, got, 4);
    assert_true(got[0] == -32768.0f && got[1] == -1.0f && got[2] == 256.0f && got[3] == 32767.0f);
    md_type_decode(MD_TYPE_I32, (const int32_t[]){INT32_MIN, 16777217, 16777219, -7}, got, 4);
    assert_true(got[0] == -0x1p31f && got[1] == 16777216.0f && got[2] == 16777220.0f && got[3] == -7.0f);
    md_type_decode(MD_TYPE_I64, (const int64_t[]){INT64_MIN, (int64_t)1 << 40, -3, INT64_MAX}, got, 4);
    assert_true(got[0] == -0x1p63f && got[1] == 0x1p40f && got[2] == -3.0f && got[3] == 0x1p63f);
    md_type_decode(MD_TYPE_F64, (const double[]){0.1, -0x1p-140, 1.0 + 0x1p-24, -3.5}, got, 4);
    assert_true(got[0] == 0.1f && got[1] == -0x1p-140f && got[2] == 1.0f && got[3] == -3.5f);
    const uint32_t signalling = 0x7fa00001;
    md_type_decode(MD_TYPE_F32, &signalling, got, 1);
    assert_memory_equal(got, &signalling, sizeof signalling);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixtures_decode_exactly), cmocka_unit_test(vectors_decode_exactly),
        cmocka_unit_test(one_and_two_bit_types),   cmocka_unit_test(random_blocks_match_the_second_reading),
        cmocka_unit_test(microscaling_scales),     cmocka_unit_test(rows_of_many_blocks_at_odd_addresses),
        cmocka_unit_test(data_types_convert),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
