/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of names: what was put is found, in any order and number, whatever bytes the names are. */
#include "base/hashmap.h"
#include "support/fixtures.h"

#include <string.h>

static void test_put_and_get(void **state)
{
    (void)state;
    md_hashmap m = {0};
    bool added;
    assert_null(md_hashmap_get(&m, "a", 1));
    size_t *v = md_hashmap_put(&m, "a", 1, 10, &added);
    assert_true(v && added && *v == 10);
    v = md_hashmap_put(&m, "ab", 2, 20, &added);
    assert_true(v && added && *v == 20);
    v = md_hashmap_put(&m, "a", 1, 30, &added); /* the first one stays */
    assert_true(v && !added && *v == 10);
    *v = 11;
    assert_int_equal(*md_hashmap_get(&m, "a", 1), 11);
    assert_int_equal(m.n, 2);
    assert_null(md_hashmap_get(&m, "b", 1));
    assert_null(md_hashmap_get(&m, "", 0));
    md_hashmap_done(&m);
    assert_null(md_hashmap_get(&m, "a", 1));
    md_hashmap_done(&m);
}

static void test_names_are_bytes(void **state)
{
    (void)state;
    md_hashmap m = {0};
    bool added;
    static const char zeros[9] = {0};
    for (size_t n = 0; n <= 9; n++) { /* zero bytes of every length are different names */
        const size_t *v = md_hashmap_put(&m, zeros, n, n, &added);
        assert_true(v && added);
    }
    for (size_t n = 0; n <= 9; n++)
        assert_int_equal(*md_hashmap_get(&m, zeros, n), n);
    md_hashmap_done(&m);
}

static void test_many_names_through_growth(void **state)
{
    (void)state;
    enum { N = 50000 };
    md_hashmap m = {0};
    char(*name)[16] = calloc(N, sizeof *name);
    assert_non_null(name);
    for (size_t i = 0; i < N; i++) {
        bool added;
        const int n = snprintf(name[i], sizeof name[i], "blk.%zu", i);
        const size_t *v = md_hashmap_put(&m, name[i], (size_t)n, i, &added);
        assert_true(v && added);
        assert_true(m.n == i + 1 && m.cap > m.n); /* an empty slot ends every search */
    }
    for (size_t i = 0; i < N; i++)
        assert_int_equal(*md_hashmap_get(&m, name[i], strlen(name[i])), i);
    assert_null(md_hashmap_get(&m, "blk.50000", 9));
    md_hashmap_done(&m);
    free(name);
}

static void test_reserve(void **state)
{
    (void)state;
    md_hashmap m = {0};
    assert_true(md_hashmap_reserve(&m, 1000));
    const size_t cap = m.cap;
    for (size_t i = 0; i < 1000; i++) {
        static char name[1000][4];
        bool added;
        snprintf(name[i], sizeof name[i], "%03zu", i);
        assert_non_null(md_hashmap_put(&m, name[i], 3, i, &added));
    }
    assert_int_equal(m.cap, cap); /* no growth after it */
    assert_false(md_hashmap_reserve(&m, SIZE_MAX / 2));
    assert_int_equal(m.n, 1000); /* and the table is as it was */
    assert_int_equal(*md_hashmap_get(&m, "999", 3), 999);
    md_hashmap_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_and_get),
        cmocka_unit_test(test_names_are_bytes),
        cmocka_unit_test(test_many_names_through_growth),
        cmocka_unit_test(test_reserve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
