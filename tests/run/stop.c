/* SPDX-License-Identifier: Apache-2.0
 *
 * Stop strings in streamed text: whatever the pieces, what comes out is the text before the first stop string. */
#include "support/fixtures.h"

#include "run/stop.h"

#include <string.h>

typedef struct shown {
    char text[4096];
    size_t n, calls, refuse_at; /* refuse_at: the call that says stop, 0: none */
    bool whole;                 /* every piece began and ended between characters */
} shown;

static bool is_inside_character(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

static bool collect(void *user, const char *text, size_t n)
{
    shown *s = user;
    assert_true(n > 0);
    assert_true(s->n + n < sizeof s->text);
    if (is_inside_character(text[0]))
        s->whole = false;
    memcpy(s->text + s->n, text, n);
    s->n += n;
    s->text[s->n] = '\0';
    return ++s->calls != s->refuse_at;
}

static md_stop *new_stop(const char *const *stop, size_t n, shown *s)
{
    *s = (shown){.whole = true};
    md_stop *st = calloc(1, sizeof *st);
    assert_non_null(st);
    md_error err;
    if (md_stop_init(st, stop, n, collect, s, &err) != MD_OK)
        fail_msg("%s", err.message);
    return st;
}

/* Feeds text in pieces of `piece` bytes and finishes. */
static md_stop_verdict stream(const char *const *stop, size_t n_stop, const char *text, size_t piece, shown *s)
{
    md_stop *st = new_stop(stop, n_stop, s);
    md_stop_verdict v = MD_STOP_GO_ON;
    const size_t n = strlen(text);
    for (size_t i = 0; i < n && v == MD_STOP_GO_ON; i += piece)
        v = md_stop_feed(st, text + i, n - i < piece ? n - i : piece);
    if (v == MD_STOP_GO_ON)
        v = md_stop_finish(st);
    free(st);
    return v;
}

static void expect(const char *const *stop, size_t n_stop, const char *text, const char *before, bool found)
{
    for (size_t piece = 1; piece <= strlen(text) + 1; piece++) {
        shown s;
        const md_stop_verdict v = stream(stop, n_stop, text, piece, &s);
        assert_int_equal(v, found ? MD_STOP_FOUND : MD_STOP_GO_ON);
        assert_string_equal(s.text, before);
    }
}

static void stop_strings_end_the_text_across_any_pieces(void **state)
{
    (void)state;
    expect(NULL, 0, "plain text", "plain text", false);
    const char *const one[] = {"STOP"};
    expect(one, 1, "go STOP here", "go ", true);
    expect(one, 1, "STOP", "", true);
    expect(one, 1, "STSTOP", "ST", true);
    expect(one, 1, "ends in STO", "ends in STO", false);
    const char *const overlap[] = {"aabaab"};
    expect(overlap, 1, "aabaaabaab", "aaba", true);
    expect(overlap, 1, "aaaabaaab", "aaaabaaab", false);
    const char *const turn[] = {"\n\nUser:", "</s>"};
    expect(turn, 2, "Yes.\n\n\nUser: and", "Yes.\n", true);
    expect(turn, 2, "x </s>\n\nUser:", "x ", true);
}

static void the_first_complete_string_wins(void **state)
{
    (void)state;
    const char *const inner[] = {"abcdef", "cd"};
    expect(inner, 2, "..abcdef", "..ab", true); /* "cd" is complete first */
    const char *const together[] = {"cd", "abcd"};
    expect(together, 2, "..abcd", "..", true); /* they end together: the longer one */
}

static void pieces_are_whole_characters(void **state)
{
    (void)state;
    const char *const stop[] = {"\xc3\xa9t\xc3\xa9", "\xe2\x82\xac"};
    const char text[] = "un \xc3\xa9t et \xf0\x9f\x99\x82 puis \xe2\x82\xad \xe2\x82\xac";
    for (size_t piece = 1; piece < sizeof text; piece++) {
        shown s;
        assert_int_equal(stream(stop, 2, text, piece, &s), MD_STOP_FOUND);
        assert_string_equal(s.text, "un \xc3\xa9t et \xf0\x9f\x99\x82 puis \xe2\x82\xad ");
        assert_true(s.whole);
    }
}

static void text_is_held_back_no_longer_than_needed(void **state)
{
    (void)state;
    const char *const stop[] = {"END"};
    shown s;
    md_stop *st = new_stop(stop, 1, &s);
    assert_int_equal(md_stop_feed(st, "the EN", 6), MD_STOP_GO_ON);
    assert_string_equal(s.text, "the ");
    assert_int_equal(md_stop_feed(st, "gine", 4), MD_STOP_GO_ON);
    assert_string_equal(s.text, "the ENgine");
    free(st);
}

static void long_pieces_pass_through_the_fixed_buffer(void **state)
{
    (void)state;
    char longest[MD_STOP_BYTES_MAX + 1], text[3600];
    memset(longest, 'x', MD_STOP_BYTES_MAX);
    longest[MD_STOP_BYTES_MAX] = '\0';
    const char *const stop[] = {longest};
    size_t n = 0;
    for (int i = 0; n + 3 < 3300; i++) { /* three-byte characters, and runs of x that fall one short */
        memcpy(text + n, "\xe2\x82\xac", 3);
        n += 3;
        if (i % 100 == 99) {
            memset(text + n, 'x', MD_STOP_BYTES_MAX - 1);
            n += MD_STOP_BYTES_MAX - 1;
        }
    }
    text[n] = '\0';
    shown s;
    assert_int_equal(stream(stop, 1, text, n, &s), MD_STOP_GO_ON);
    assert_string_equal(s.text, text);
    assert_true(s.whole);
    assert_true(s.calls > 1);
}

/* Random texts over a small alphabet against a search by hand. */
static void random_texts_agree_with_a_plain_search(void **state)
{
    (void)state;
    uint32_t x = 1;
    for (int round = 0; round < 5000; round++) {
        char text[40], strings[3][8];
        const char *stop[3];
        for (size_t i = 0; i < sizeof text - 1; i++)
            text[i] = (char)('a' + ((x = x * 1664525u + 1013904223u) >> 24) % 2);
        text[sizeof text - 1] = '\0';
        for (int k = 0; k < 3; k++) {
            const size_t n = 3 + ((x = x * 1664525u + 1013904223u) >> 24) % 5;
            for (size_t i = 0; i < n; i++)
                strings[k][i] = (char)('a' + ((x = x * 1664525u + 1013904223u) >> 24) % 2);
            strings[k][n] = '\0';
            stop[k] = strings[k];
        }
        size_t end = SIZE_MAX, longest = 0; /* of the stop string that is complete first */
        for (int k = 0; k < 3; k++) {
            const char *at = strstr(text, stop[k]);
            const size_t n = strlen(stop[k]), e = at ? (size_t)(at - text) + n : SIZE_MAX;
            if (e < end || (e == end && n > longest)) {
                end = e;
                longest = n;
            }
        }
        shown s;
        const md_stop_verdict v = stream(stop, 3, text, 1 + (size_t)round % 7, &s);
        assert_int_equal(v, end == SIZE_MAX ? MD_STOP_GO_ON : MD_STOP_FOUND);
        if (end != SIZE_MAX)
            text[end - longest] = '\0';
        assert_string_equal(s.text, text);
    }
}

static void a_refusal_ends_it(void **state)
{
    (void)state;
    shown s;
    md_stop *st = new_stop(NULL, 0, &s);
    s.refuse_at = 2;
    assert_int_equal(md_stop_feed(st, "one", 3), MD_STOP_GO_ON);
    assert_int_equal(md_stop_feed(st, "two", 3), MD_STOP_REFUSED);
    free(st);
}

static void senseless_stop_strings_are_refused(void **state)
{
    (void)state;
    char long_one[MD_STOP_BYTES_MAX + 2];
    memset(long_one, 'y', sizeof long_one - 1);
    long_one[sizeof long_one - 1] = '\0';
    const char *const empty[] = {"a", ""}, *const too_long[] = {long_one}, *const broken[] = {"\xa9"},
                      *const null[] = {NULL};
    const char *many[MD_STOP_MAX + 1];
    for (int i = 0; i <= MD_STOP_MAX; i++)
        many[i] = "s";
    md_stop *st = calloc(1, sizeof *st);
    assert_non_null(st);
    md_error err;
    assert_int_equal(md_stop_init(st, empty, 2, NULL, NULL, &err), MD_ERR_ARGUMENT);
    assert_string_equal(err.message, "stop string 2 is empty");
    assert_int_equal(md_stop_init(st, too_long, 1, NULL, NULL, &err), MD_ERR_ARGUMENT);
    assert_int_equal(md_stop_init(st, broken, 1, NULL, NULL, &err), MD_ERR_ARGUMENT);
    assert_int_equal(md_stop_init(st, null, 1, NULL, NULL, &err), MD_ERR_ARGUMENT);
    assert_int_equal(md_stop_init(st, NULL, 1, NULL, NULL, &err), MD_ERR_ARGUMENT);
    assert_int_equal(md_stop_init(st, many, MD_STOP_MAX + 1, NULL, NULL, &err), MD_ERR_ARGUMENT);
    assert_int_equal(md_stop_init(st, many, MD_STOP_MAX, NULL, NULL, &err), MD_OK);
    free(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stop_strings_end_the_text_across_any_pieces),
        cmocka_unit_test(the_first_complete_string_wins),
        cmocka_unit_test(pieces_are_whole_characters),
        cmocka_unit_test(text_is_held_back_no_longer_than_needed),
        cmocka_unit_test(long_pieces_pass_through_the_fixed_buffer),
        cmocka_unit_test(random_texts_agree_with_a_plain_search),
        cmocka_unit_test(a_refusal_ends_it),
        cmocka_unit_test(senseless_stop_strings_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
