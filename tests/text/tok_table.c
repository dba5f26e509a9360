/* SPDX-License-Identifier: Apache-2.0
 *
 * The tokenizer's hash tables: what was added is found, what was not is not, and keys chosen to collide are refused
 * before they make look-ups slow. */
#include "base/mem.h"
#include "text/tok_table.h"
#include "tok_tiny.h"

static void strings_are_found(void **state)
{
    (void)state;
    enum { N = 1000 };
    char bytes[N * 8];
    size_t start[N + 1] = {0};
    for (size_t i = 0; i < N; i++) /* of every length from 1 to 5, "0" to "999", each twice */
        start[i + 1] = start[i] + 1 + (size_t)sprintf(bytes + start[i], "%s%zu", i % 3 ? "k" : "", i / 2);
    const md_strings s = {.bytes = bytes, .start = start, .n = N};
    md_string_table t;
    assert_true(md_string_table_init(&t, &s, N));
    for (int32_t i = 0; i < N; i++)
        assert_true(md_string_table_add(&t, i));
    for (int32_t i = 0; i < N; i++) {
        size_t n;
        const char *p = md_strings_at(&s, (size_t)i, &n);
        const int32_t got = md_string_table_find(&t, p, n);
        assert_true(got == i || got == i - 1); /* the first of equals */
        assert_string_equal(bytes + start[got], p);
    }
    assert_int_equal(md_string_table_find(&t, "1000", 4), -1);
    assert_int_equal(md_string_table_find(&t, "k", 1), -1);
    assert_int_equal(md_string_table_find(&t, "k1\0", 3), -1);
    md_string_table_done(&t);
    assert_int_equal(md_string_table_find(&t, "1", 1), -1);
}

static void merges_are_found(void **state)
{
    (void)state;
    enum { N = 5000 };
    md_merge_table t;
    assert_true(md_merge_table_init(&t, N));
    for (int32_t i = 0; i < N; i++)
        assert_true(md_merge_table_add(&t, i % 70, i / 70, (uint32_t)i, i + 1));
    assert_true(md_merge_table_add(&t, 0, 0, 9, 9)); /* the first stays */
    for (int32_t i = 0; i < N; i++) {
        const md_merge *m = md_merge_table_find(&t, i % 70, i / 70);
        assert_non_null(m);
        assert_int_equal(m->rank, i);
        assert_int_equal(m->id, i + 1);
    }
    assert_null(md_merge_table_find(&t, 70, 0));
    assert_null(md_merge_table_find(&t, INT32_MAX, INT32_MAX));
    md_merge_table_done(&t);
}

static void colliding_pairs_are_refused(void **state)
{
    (void)state;
    enum { N = 4096 };
    md_merge_table t;
    assert_true(md_merge_table_init(&t, N));
    int added = 0;
    bool refused = false;
    for (int32_t left = 0; left < N && !refused; left++)
        for (int32_t right = 0; right < N && !refused; right++) {
            const uint64_t pair = (uint64_t)left << 32 | (uint32_t)right;
            if ((md_merge_hash(pair) & t.mask) != 7)
                continue;
            if (md_merge_table_add(&t, left, right, 0, 0))
                assert_non_null(md_merge_table_find(&t, left, right));
            else
                refused = true;
            added += !refused;
        }
    assert_true(refused);
    assert_int_equal(added, MD_TABLE_REACH);
    md_merge_table_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_are_found),
        cmocka_unit_test(merges_are_found),
        cmocka_unit_test(colliding_pairs_are_refused),
    };
    return cmocka_run_group_tests_name("text/tok_table", tests, NULL, NULL);
}
