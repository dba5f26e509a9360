/* SPDX-License-Identifier: Apache-2.0
 *
 * UTF-8 against its definition (Unicode 15, table 3-7): every code point, every string of up to three bytes, and four
 * bytes at every border. */
#include "base/utf8.h"
#include "support/fixtures.h"

#include <string.h>

/* Length and value by first principles: the bits spelled out, then the forms that the definition forbids taken away. */
static int decode_by_definition(const unsigned char *s, size_t n, uint32_t *cp)
{
    static const struct {
        unsigned char mask, lead;
        uint32_t least;
    } form[4] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    for (size_t len = 1; len <= 4 && len <= n; len++) {
        if ((s[0] & form[len - 1].mask) != form[len - 1].lead)
            continue;
        uint32_t v = s[0] & (unsigned char)~form[len - 1].mask;
        for (size_t i = 1; i < len; i++) {
            if (s[i] < 0x80 || s[i] > 0xbf)
                return 0;
            v = v * 64 + (s[i] - 0x80u);
        }
        if (v < form[len - 1].least || (v >= 0xd800 && v <= 0xdfff) || v > 0x10ffff)
            return 0;
        *cp = v;
        return (int)len;
    }
    return 0;
}

static void check(const unsigned char *s, size_t n)
{
    uint32_t got = 0, want = 0;
    const int len = md_utf8_decode((const char *)s, n, &got);
    const int len_want = decode_by_definition(s, n, &want);
    if (len != len_want || got != want)
        fail_msg("%02x %02x %02x %02x of %zu: length %d, U+%04X; expected %d, U+%04X", s[0], s[1], s[2], s[3], n, len,
                 got, len_want, want);
}

static void test_every_code_point_survives(void **state)
{
    (void)state;
    for (uint32_t cp = 0; cp <= 0x10ffff; cp++) {
        char text[4] = {0};
        const int len = md_utf8_encode(cp, text);
        uint32_t back = ~cp;
        if (cp >= 0xd800 && cp <= 0xdfff) {
            assert_int_equal(md_utf8_decode(text, (size_t)len, &back), 0);
            continue;
        }
        const int n = md_utf8_decode(text, (size_t)len, &back);
        if (n != len || back != cp || len != 1 + (cp >= 0x80) + (cp >= 0x800) + (cp >= 0x10000))
            fail_msg("U+%04X does not survive", cp);
        for (int cut = 0; cut < len; cut++)
            if (md_utf8_decode(text, (size_t)cut, &back) != 0)
                fail_msg("U+%04X cut to %d bytes is accepted", cp, cut);
    }
}

static void test_every_string_of_three_bytes(void **state)
{
    (void)state;
    for (uint32_t bytes = 0; bytes < 1u << 24; bytes++) {
        const unsigned char s[4] = {(unsigned char)(bytes >> 16), (unsigned char)(bytes >> 8), (unsigned char)bytes, 0};
        check(s, 3);
        if ((bytes & 0xff) == 0)
            check(s, 2);
        if ((bytes & 0xffff) == 0)
            check(s, 1);
    }
    uint32_t cp;
    assert_int_equal(md_utf8_decode("", 0, &cp), 0);
}

static void test_four_bytes_at_every_border(void **state)
{
    (void)state;
    static const unsigned char border[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff};
    for (unsigned lead = 0xe0; lead <= 0xff; lead++)
        for (unsigned second = 0; second <= 0xff; second++)
            for (size_t i = 0; i < sizeof border; i++)
                for (size_t k = 0; k < sizeof border; k++)
                    check((const unsigned char[]){(unsigned char)lead, (unsigned char)second, border[i], border[k]}, 4);
}

static void test_complete_holds_back_only_an_unfinished_end(void **state)
{
    (void)state;
    static const uint32_t cps[] = {0x80,   0x7ff,  0x800,   0xfff,   0x1000,  0xd7ff,
                                   0xe000, 0xffff, 0x10000, 0x3ffff, 0x40000, 0x10ffff};
    for (size_t i = 0; i < sizeof cps / sizeof cps[0]; i++) {
        char text[9] = "ab\xc3\xa9"; /* the front is whole */
        const int len = md_utf8_encode(cps[i], text + 4);
        for (int cut = 1; cut < len; cut++)
            assert_int_equal(md_utf8_complete(text, (size_t)(4 + cut)), 4);
        assert_int_equal(md_utf8_complete(text, (size_t)(4 + len)), 4 + len);
    }
    assert_int_equal(md_utf8_complete("", 0), 0);
}

static void test_complete_lets_invalid_bytes_go(void **state)
{
    (void)state;
    static const char *const invalid[] = {
        "a\x80",         "a\xc0",
        "a\xc1",         "a\xf5",
        "a\xff",         "a\xe0\x80",
        "a\xed\xa0",     "a\xf0\x80",
        "a\xf4\x90",     "a\xf0\x80\x80",
        "a\x80\x80\x80", "\x80\x80\x80\x80",
        "a\xc3\xa9\x80", "a\xe2\x82\xac\x80",
    };
    for (size_t i = 0; i < sizeof invalid / sizeof invalid[0]; i++)
        assert_int_equal(md_utf8_complete(invalid[i], strlen(invalid[i])), strlen(invalid[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code_point_survives),
        cmocka_unit_test(test_every_string_of_three_bytes),
        cmocka_unit_test(test_four_bytes_at_every_border),
        cmocka_unit_test(test_complete_holds_back_only_an_unfinished_end),
        cmocka_unit_test(test_complete_lets_invalid_bytes_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
