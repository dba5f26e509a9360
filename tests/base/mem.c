/* SPDX-License-Identifier: Apache-2.0
 *
 * Checked allocation, the arena and the growing buffer. */
#include "base/mem.h"
#include "support/fixtures.h"

#include <string.h>

static void test_checked_sizes(void **state)
{
    (void)state;
    size_t v = 7;
    assert_true(md_mul(SIZE_MAX / 3, 3, &v));
    assert_int_equal(v, SIZE_MAX);
    assert_false(md_mul(SIZE_MAX / 2 + 1, 2, &v));
    assert_true(md_mul(0, SIZE_MAX, &v));
    assert_int_equal(v, 0);
    assert_true(md_add(SIZE_MAX - 1, 1, &v));
    assert_int_equal(v, SIZE_MAX);
    assert_false(md_add(SIZE_MAX, 1, &v));
}

static void test_allocations_that_overflow_give_null(void **state)
{
    (void)state;
    assert_null(md_calloc(SIZE_MAX / 2 + 1, 2));
    assert_null(md_calloc_aligned(64, SIZE_MAX - 3, 1));
    char *p = md_calloc(4, 1);
    assert_non_null(p);
    memcpy(p, "abc", 4);
    assert_null(md_realloc(p, SIZE_MAX / 2 + 1, 2));
    assert_string_equal(p, "abc"); /* still ours after the failure */
    md_free(p);
    md_free(NULL);
}

static void test_calloc_is_zeroed_and_never_null_for_nothing(void **state)
{
    (void)state;
    void *nothing = md_calloc(0, 16);
    assert_non_null(nothing);
    md_free(nothing);
    for (size_t align = sizeof(void *); align <= 4096; align *= 2)
        for (size_t n = 0; n <= 130; n += 13) {
            unsigned char *p = md_calloc_aligned(align, n, 1);
            assert_non_null(p);
            assert_int_equal((uintptr_t)p % align, 0);
            for (size_t i = 0; i < n; i++)
                assert_int_equal(p[i], 0);
            md_free(p);
        }
}

static void test_strdup(void **state)
{
    (void)state;
    char *s = md_strdup("");
    assert_string_equal(s, "");
    md_free(s);
    s = md_strdup("router");
    assert_string_equal(s, "router");
    md_free(s);
}

/* Objects from one byte to more than a chunk: aligned, zeroed, and none overlaps another. */
static void test_arena_objects_are_apart(void **state)
{
    (void)state;
    enum { N = 600 };
    md_arena a = {0};
    unsigned char *p[N];
    size_t size[N], total = 0;
    for (int i = 0; i < N; i++) {
        size[i] = i % 97 == 96 ? 100 * 1024 : (size_t)(i * i) % 777 + 1;
        p[i] = md_arena_alloc(&a, size[i], 1);
        assert_non_null(p[i]);
        assert_int_equal((uintptr_t)p[i] % (size[i] >= 64 ? 64 : 16), 0);
        for (size_t k = 0; k < size[i]; k++)
            assert_int_equal(p[i][k], 0);
        memset(p[i], i & 0xff, size[i]);
        total += size[i];
    }
    for (int i = 0; i < N; i++)
        for (size_t k = 0; k < size[i]; k++)
            assert_int_equal(p[i][k], i & 0xff);
    assert_int_equal(a.used, total);
    md_arena_done(&a);
    assert_null(a.head);
    assert_int_equal(a.used, 0);
    md_arena_done(&a); /* twice is fine */
}

static void test_arena_refuses_what_overflows(void **state)
{
    (void)state;
    md_arena a = {0};
    assert_null(md_arena_alloc(&a, SIZE_MAX / 4 + 1, 4));
    assert_null(md_arena_alloc(&a, SIZE_MAX - 64, 1));
    char *s = md_arena_strndup(&a, "expert", 3);
    assert_string_equal(s, "exp");
    md_arena_done(&a);
}

static void test_buffer_grows_and_stays_terminated(void **state)
{
    (void)state;
    md_buf b = {0};
    char expected[4000];
    size_t n = 0;
    for (int i = 0; i < 300; i++) {
        md_buf_printf(&b, "%d,", i);
        n += (size_t)snprintf(expected + n, sizeof expected - n, "%d,", i);
        md_buf_putc(&b, (char)('a' + i % 26));
        expected[n++] = (char)('a' + i % 26);
        expected[n] = '\0';
        assert_int_equal(b.len, n);
        assert_int_equal(b.data[n], '\0');
    }
    assert_false(b.failed);
    assert_string_equal(b.data, expected);
    md_buf_append(&b, "\0x", 2); /* bytes, not text */
    assert_int_equal(b.len, n + 2);
    assert_int_equal(b.data[n + 1], 'x');
    md_buf_reset(&b);
    assert_int_equal(b.len, 0);
    assert_string_equal(b.data, "");
    md_buf_append(&b, NULL, 0);
    md_buf_puts(&b, "again");
    assert_string_equal(b.data, "again");
    md_buf_done(&b);
    assert_null(b.data);
}

static void test_buffer_failure_is_sticky(void **state)
{
    (void)state;
    md_buf b = {0};
    md_buf_puts(&b, "kept");
    md_buf_append(&b, "", SIZE_MAX - 2); /* refused before a byte is read */
    assert_true(b.failed);
    md_buf_puts(&b, " lost");
    assert_true(b.failed);
    assert_string_equal(b.data, "kept");
    md_buf_reset(&b);
    assert_false(b.failed);
    md_buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checked_sizes),
        cmocka_unit_test(test_allocations_that_overflow_give_null),
        cmocka_unit_test(test_calloc_is_zeroed_and_never_null_for_nothing),
        cmocka_unit_test(test_strdup),
        cmocka_unit_test(test_arena_objects_are_apart),
        cmocka_unit_test(test_arena_refuses_what_overflows),
        cmocka_unit_test(test_buffer_grows_and_stays_terminated),
        cmocka_unit_test(test_buffer_failure_is_sticky),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
