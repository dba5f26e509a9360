/* SPDX-License-Identifier: Apache-2.0
 *
 * Errors as values: messages stay one line and one sentence, whatever the arguments bring in. */
#include "base/status.h"
#include "support/fixtures.h"

#include <string.h>

static void test_every_status_has_a_name(void **state)
{
    (void)state;
    for (int s = MD_OK; s <= MD_ERR_INTERNAL; s++) {
        assert_string_not_equal(md_status_name((md_status)s), "unknown");
        for (int t = MD_OK; t < s; t++)
            assert_string_not_equal(md_status_name((md_status)s), md_status_name((md_status)t));
    }
    assert_string_equal(md_status_name(MD_OK), "ok");
    assert_string_equal(md_status_name((md_status)99), "unknown");
}

static void test_fail_fills_the_error(void **state)
{
    (void)state;
    md_error err = {0};
    assert_int_equal(md_fail(&err, MD_ERR_LIMIT, "%d rows of %d", 7, 4), MD_ERR_LIMIT);
    assert_int_equal(err.code, MD_ERR_LIMIT);
    assert_string_equal(err.message, "7 rows of 4");
    assert_int_equal(md_fail(NULL, MD_ERR_IO, "nobody listens"), MD_ERR_IO);
    assert_int_equal(md_fail_within(NULL, MD_ERR_IO, "nobody listens"), MD_ERR_IO);
}

static void test_control_characters_cannot_forge_lines(void **state)
{
    (void)state;
    md_error err;
    assert_int_equal(md_fail(&err, MD_ERR_FORMAT, "tensor '%s'", "a\nerror: b\x1b[2J\x7f\r"), MD_ERR_FORMAT);
    assert_string_equal(err.message, "tensor 'a?error: b?[2J?"
                                     "?'");
    md_fail(&err, MD_ERR_FORMAT, "tensor '%s'", "Gewichtsmatrix \xc3\xa4"); /* other bytes stay */
    assert_string_equal(err.message, "tensor 'Gewichtsmatrix \xc3\xa4'");
}

static void test_within_puts_the_context_in_front(void **state)
{
    (void)state;
    md_error err;
    md_fail(&err, MD_ERR_FORMAT, "offset 12 is past the end");
    assert_int_equal(md_fail_within(&err, err.code, "cannot load '%s'", "a.gguf"), MD_ERR_FORMAT);
    assert_string_equal(err.message, "cannot load 'a.gguf': offset 12 is past the end");
}

static void test_long_messages_are_cut(void **state)
{
    (void)state;
    md_error err;
    char name[2000];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    md_fail(&err, MD_ERR_FORMAT, "%s", name);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    assert_int_equal(md_fail_within(&err, MD_ERR_IO, "%s", name), MD_ERR_IO);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    md_fail(&err, MD_ERR_FORMAT, "%s", name);
    md_fail_within(&err, MD_ERR_IO, "front");
    assert_memory_equal(err.message, "front: xxx", 10);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
}

static void test_memory_names_what_for(void **state)
{
    (void)state;
    md_error err;
    assert_int_equal(md_fail_memory(&err, "the KV pages"), MD_ERR_MEMORY);
    assert_string_equal(err.message, "out of memory for the KV pages");
}

static md_status tries(md_status inner, md_error *err, int *after)
{
    MD_TRY(inner);
    MD_FAIL_IF(*after > 0, MD_ERR_LIMIT, "%d is too many", *after);
    *after = 1;
    return MD_OK;
}

static void test_macros_pass_failures_on(void **state)
{
    (void)state;
    md_error err = {0};
    int after = 0;
    assert_int_equal(tries(MD_ERR_IO, &err, &after), MD_ERR_IO);
    assert_int_equal(after, 0);
    assert_int_equal(tries(MD_OK, &err, &after), MD_OK);
    assert_int_equal(after, 1);
    assert_int_equal(tries(MD_OK, &err, &after), MD_ERR_LIMIT);
    assert_string_equal(err.message, "1 is too many");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_status_has_a_name),
        cmocka_unit_test(test_fail_fills_the_error),
        cmocka_unit_test(test_control_characters_cannot_forge_lines),
        cmocka_unit_test(test_within_puts_the_context_in_front),
        cmocka_unit_test(test_long_messages_are_cut),
        cmocka_unit_test(test_memory_names_what_for),
        cmocka_unit_test(test_macros_pass_failures_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
