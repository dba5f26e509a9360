/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of types: consistent with itself, with the ids of GGUF, and firm about the ids it does not read. */
#include "support/fixtures.h"

#include "dtype/dtype.h"
#include <stdint.h>
#include <string.h>

static void rows_are_consistent(void **state)
{
    (void)state;
    for (int t = 0; t < MD_N_TYPES; t++) {
        const md_type_info *info = md_type_get((md_type)t);
        assert_non_null(info);
        assert_true(info->block > 0 && info->bytes > 0);
        assert_true(info->cls == MD_CLASS_QUANT ? info->block >= 32 : info->block == 1);
        switch (info->act) {
        case MD_ACT_NONE: assert_int_equal(info->cls, MD_CLASS_DATA); break;
        case MD_ACT_F32: assert_int_equal(info->cls, MD_CLASS_FLOAT); break;
        case MD_ACT_Q32: assert_true(info->cls == MD_CLASS_QUANT && info->block % 32 == 0 && info->block <= 128); break;
        case MD_ACT_Q256: assert_true(info->cls == MD_CLASS_QUANT && info->block == 256); break;
        }
        for (int u = 0; u < t; u++) {
            assert_int_not_equal(md_type_get((md_type)u)->gguf_id, info->gguf_id);
            assert_string_not_equal(md_type_get((md_type)u)->name, info->name);
        }
    }
    assert_null(md_type_get(MD_N_TYPES));
}

static void ids_and_names_find_their_type(void **state)
{
    (void)state;
    for (int t = 0; t < MD_N_TYPES; t++) {
        const md_type_info *info = md_type_get((md_type)t);
        md_type found = MD_N_TYPES;
        assert_int_equal(md_type_from_gguf(info->gguf_id, "w", &found, NULL), MD_OK);
        assert_int_equal(found, t);
        char lower[16];
        snprintf(lower, sizeof lower, "%s", info->name);
        for (char *c = lower; *c; c++)
            *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
        found = MD_N_TYPES;
        assert_true(md_type_from_name(lower, &found));
        assert_int_equal(found, t);
    }
    md_type found = MD_TYPE_F16;
    assert_false(md_type_from_name("", &found));
    assert_false(md_type_from_name("Q4", &found));
    assert_false(md_type_from_name("Q4_K_M", &found));
    assert_int_equal(found, MD_TYPE_F16);
}

static void other_engines_types_are_refused_by_name(void **state)
{
    (void)state;
    const struct {
        uint32_t id;
        const char *name, *reason;
    } cases[] = {
        {4, "Q4_2", "withdrawn"},       {5, "Q4_3", "withdrawn"},        {9, "Q8_1", "not for files"},
        {15, "Q8_K", "not for files"},  {31, "Q4_0_4_4", "withdrawn"},   {33, "Q4_0_8_8", "withdrawn"},
        {36, "I2_S", "one engine"},     {38, "IQ4_NL_8_8", "withdrawn"}, {97, "Q8_0_X4", "one engine"},
        {137, "IQ2_K", "one engine"},   {144, "IQ4_KS", "one engine"},   {212, "Q4_K_R4", "one engine"},
        {399, "Q8_K_R8", "one engine"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        md_type out = MD_TYPE_F16;
        md_error err = {0};
        assert_int_equal(md_type_from_gguf(cases[i].id, "blk.0.attn_q.weight", &out, &err), MD_ERR_UNSUPPORTED);
        assert_int_equal(err.code, MD_ERR_UNSUPPORTED);
        assert_int_equal(out, MD_TYPE_F16);
        assert_non_null(strstr(err.message, "blk.0.attn_q.weight"));
        assert_non_null(strstr(err.message, cases[i].name));
        assert_non_null(strstr(err.message, cases[i].reason));
    }
}

/* Every 32-bit id has one of three fates; those that no one ever used are malformed. */
static void unknown_ids_are_malformed(void **state)
{
    (void)state;
    int n_known = 0, n_refused = 0;
    for (uint32_t id = 0; id < 1000; id++) {
        md_type out;
        const md_status status = md_type_from_gguf(id, "w", &out, NULL);
        n_known += status == MD_OK;
        n_refused += status == MD_ERR_UNSUPPORTED;
        assert_true(status == MD_OK || status == MD_ERR_UNSUPPORTED || status == MD_ERR_FORMAT);
    }
    assert_int_equal(n_known, MD_N_TYPES);
    assert_int_equal(n_refused, 10 + 3 + 26 + 30);
    const uint32_t unknown[] = {43, 96, 100, 132, 159, 201, 400, 1u << 31, UINT32_MAX};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        md_type out;
        md_error err = {0};
        assert_int_equal(md_type_from_gguf(unknown[i], "w", &out, &err), MD_ERR_FORMAT);
        assert_non_null(strstr(err.message, "unknown type"));
    }
}

static void row_bytes_checks_its_arguments(void **state)
{
    (void)state;
    size_t bytes = 7;
    assert_true(md_type_row_bytes(MD_TYPE_Q4_K, 512, &bytes));
    assert_int_equal(bytes, 288);
    assert_true(md_type_row_bytes(MD_TYPE_F32, 0, &bytes));
    assert_int_equal(bytes, 0);
    bytes = 7;
    assert_false(md_type_row_bytes(MD_TYPE_Q4_K, 128, &bytes));
    assert_false(md_type_row_bytes(MD_TYPE_Q4_0, -32, &bytes));
    assert_false(md_type_row_bytes(MD_TYPE_Q1_0, 64, &bytes));
    assert_false(md_type_row_bytes(MD_TYPE_F64, INT64_MAX, &bytes));
    assert_false(md_type_row_bytes(MD_N_TYPES, 32, &bytes));
    assert_int_equal(bytes, 7);
    assert_true(md_type_row_bytes(MD_TYPE_I8, INT64_MAX, &bytes));
    assert_true(bytes == (size_t)INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_consistent),
        cmocka_unit_test(ids_and_names_find_their_type),
        cmocka_unit_test(other_engines_types_are_refused_by_name),
        cmocka_unit_test(unknown_ids_are_malformed),
        cmocka_unit_test(row_bytes_checks_its_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
