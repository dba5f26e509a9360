/* SPDX-License-Identifier: Apache-2.0
 *
 * Splitting rules against what the publishers' patterns give in the engine that the publishers use: random texts,
 * recorded by pretok_golden.py. */
#include "text/pretok.h"
#include "tok_tiny.h"

#define MAX_WORDS 512

typedef struct lengths {
    size_t n[MAX_WORDS], count;
} lengths;

static md_status measure(void *user, const char *word, size_t n, md_error *err)
{
    (void)word, (void)err;
    lengths *l = user;
    assert_true(l->count < MAX_WORDS);
    l->n[l->count++] = n;
    return MD_OK;
}

/* The next column, ended by a NUL; *line moves behind it. */
static char *column(char **line, char end)
{
    char *begin = *line, *at = strchr(begin, end);
    assert_non_null(at);
    *at = '\0';
    *line = at + 1;
    return begin;
}

/* Python's escapes to UTF-8, in place; returns the length. */
static size_t unescape(char *s)
{
    char *out = s;
    for (const char *p = s; *p;) {
        if (*p != '\\') {
            *out++ = *p++;
            continue;
        }
        const char kind = p[1];
        const size_t digits = kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
        char hex[9] = "";
        memcpy(hex, p + 2, digits);
        p += 2 + digits;
        if (digits)
            out += md_utf8_encode((uint32_t)strtoul(hex, NULL, 16), out);
        else
            *out++ = (char)(kind == 'n' ? '\n' : kind == 'r' ? '\r' : kind == 't' ? '\t' : kind);
    }
    return (size_t)(out - s);
}

static void check(const md_pretok *p, md_pretok_scratch *scratch, const char *rule, int number, char **line)
{
    char *text = column(line, '\t');
    const size_t n = unescape(text);
    char *want = column(line, '\n');
    lengths got = {.count = 0};
    assert_int_equal(md_pretok_split(p, scratch, text, n, measure, &got, NULL), MD_OK);
    for (size_t i = 0; i < got.count; i++) {
        char *next;
        if (strtoul(want, &next, 10) != got.n[i] || next == want)
            fail_msg("line %d, %s: word %zu is %zu bytes, expected %s", number, rule, i, got.n[i], want);
        want = next;
    }
    if (*want)
        fail_msg("line %d, %s: after %zu words more were expected: %s", number, rule, got.count, want);
}

static void as_recorded(void **state)
{
    (void)state;
    size_t n;
    char *all = read_all(MD_SOURCE_DIR "/tests/text/pretok_golden.txt", &n);
    md_pretok_scratch *scratch = md_pretok_scratch_new();
    md_pretok *p = NULL;
    char current[64] = "";
    int number = 0, rules = 0;
    for (char *line = all; line < all + n;) {
        const char *rule = column(&line, '\t');
        if (strcmp(rule, current) != 0) {
            md_pretok_free(p);
            snprintf(current, sizeof current, "%s", rule);
            const md_pretok_rule *r = md_pretok_find(rule);
            assert_non_null(r);
            assert_int_equal(md_pretok_new(r, &p, NULL), MD_OK);
            rules++;
        }
        check(p, scratch, rule, ++number, &line);
    }
    assert_true(rules > 20 && number > 500);
    md_pretok_free(p);
    md_pretok_scratch_free(scratch);
    free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_recorded)};
    return cmocka_run_group_tests_name("text/pretok_golden", tests, NULL, NULL);
}
