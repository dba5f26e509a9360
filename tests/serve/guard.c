/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys, hosts and kinds of bodies. */
#include "serve/guard.h"

#include "base/mem.h"
#include "support/scratch.h"

#include <string.h>

static void keys_are_read_line_by_line(void **state)
{
    (void)state;
    static const char text[] = "# a comment\nfirst\n\n \tsecond \r\n#x\nthird";
    size_t n;
    md_error err;
    char(*key)[MD_KEY_MOST_BYTES] = md_keys_parse(text, sizeof text - 1, &n, &err);
    assert_non_null(key);
    assert_int_equal(n, 3);
    assert_string_equal(key[0], "first");
    assert_string_equal(key[1], "second");
    assert_string_equal(key[2], "third");
    md_free(key);
}

static void bad_key_files_are_refused(void **state)
{
    (void)state;
    size_t n;
    md_error err;
    char longest[300];
    memset(longest, 'x', sizeof longest);
    assert_null(md_keys_parse("", 0, &n, &err));
    assert_null(md_keys_parse("# x\n", 4, &n, &err));
    assert_null(md_keys_parse("a\nb c\n", 6, &n, &err));
    assert_non_null(strstr(err.message, "line 2"));
    assert_null(strstr(err.message, "b c"));
    assert_null(md_keys_parse("a\0b", 3, &n, &err));
    assert_null(md_keys_parse(longest, 256, &n, &err));
    char(*key)[MD_KEY_MOST_BYTES] = md_keys_parse(longest, 255, &n, &err);
    assert_non_null(key);
    md_free(key);
}

static void keys_are_found_whole(void **state)
{
    md_keys k;
    md_error err;
    scratch_put(*state, "/keys", "alpha\nbeta\nalpha\n");
    assert_int_equal(md_keys_init(&k, scratch_path(*state, "keys"), &err), MD_OK);
    assert_int_equal(md_keys_find(&k, "alpha"), 1);
    assert_int_equal(md_keys_find(&k, "beta"), 2);
    static const char *const wrong[] = {"", "alph", "alphaa", "Alpha", "betaalpha", "gamma"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(md_keys_find(&k, wrong[i]), 0);
    assert_int_equal(md_keys_find(&k, NULL), 0);
    scratch_put(*state, "/keys", "\n");
    assert_int_equal(md_keys_reload(&k, &err), MD_ERR_FORMAT);
    assert_int_equal(md_keys_find(&k, "beta"), 2);
    scratch_put(*state, "/keys", "beta\n");
    assert_int_equal(md_keys_reload(&k, &err), MD_OK);
    assert_int_equal(md_keys_find(&k, "beta"), 1);
    md_keys_done(&k);
}

static void without_a_file_no_key_is_needed(void **state)
{
    (void)state;
    md_keys k;
    md_error err;
    assert_int_equal(md_keys_init(&k, NULL, &err), MD_OK);
    assert_int_equal(md_keys_find(&k, NULL), -1);
    char a[MD_CLIENT_BYTES], b[MD_CLIENT_BYTES], again[MD_CLIENT_BYTES];
    md_keys_client("alpha", a);
    md_keys_client("beta", b);
    md_keys_client("alpha", again);
    assert_int_equal(strlen(a), MD_CLIENT_BYTES - 1);
    assert_string_equal(a, again);
    assert_string_not_equal(a, b);
    md_keys_done(&k);
}

static void hosts(void **state)
{
    (void)state;
    static const char *const more[] = {"box.lan", "::1:2"};
    static const char *const good[] = {"localhost", "LocalHost:80", "127.0.0.1",   "127.1.2.3:1",
                                       "[::1]",     "[::1]:9",      "BOX.lan:8080"};
    static const char *const bad[] = {"",     "localhost.",   "box.lan.evil", "evil:80@localhost", "127.0.0.1.nip.io",
                                      "[::1", "[::1]x",       "::1",          "128.0.0.1",         "localhost:8x",
                                      ":80",  "[127.0.0.1.]", "0x7f.0.0.1",   "[::1]:8x",          "[::1]:8#"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!md_host_allowed(good[i], more, 2))
            fail_msg("'%s' is refused", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (md_host_allowed(bad[i], more, 2))
            fail_msg("'%s' is allowed", bad[i]);
    assert_false(md_host_allowed(NULL, more, 2));
}

static void json_types(void **state)
{
    (void)state;
    assert_true(md_is_json_type("application/json"));
    assert_true(md_is_json_type("Application/JSON; charset=utf-8"));
    assert_false(md_is_json_type("application/jsonx"));
    assert_false(md_is_json_type("text/plain"));
    assert_false(md_is_json_type(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_read_line_by_line),
        cmocka_unit_test(bad_key_files_are_refused),
        IN_SCRATCH(keys_are_found_whole),
        cmocka_unit_test(without_a_file_no_key_is_needed),
        cmocka_unit_test(hosts),
        cmocka_unit_test(json_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
