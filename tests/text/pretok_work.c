/* SPDX-License-Identifier: Apache-2.0
 *
 * Work of the splitting rules, counted and not timed: PCRE2 reports each item of a pattern that it tries, and a run
 * twice as long may take about twice as many. Each step of a rule is given what the steps before it leave, as in the
 * library. */
#include "pretok_case.h"
#include "text/pretok.h"
#include "tok_tiny.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define SHORT ((size_t)3000) /* bytes; more than any width that a pattern names */

typedef struct counter {
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *context;
    uint64_t tried;
} counter;

static int tried(pcre2_callout_block *block, void *user)
{
    (void)block;
    ((counter *)user)->tried++;
    return 0;
}

/* An md_word_fn: all matches of the step in a piece. */
static md_status count_matches(void *user, const char *word, size_t n, md_error *err)
{
    (void)err;
    counter *c = user;
    for (size_t from = 0; from < n;) {
        const int rc = pcre2_match(c->code, (PCRE2_SPTR)word, n, from, PCRE2_NO_UTF_CHECK, c->match, c->context);
        if (rc == PCRE2_ERROR_NOMATCH)
            break;
        assert_true(rc > 0);
        const size_t end = pcre2_get_ovector_pointer(c->match)[1];
        from = end > from ? end : from + 1;
        while (from < n && ((unsigned char)word[from] & 0xc0) == 0x80)
            from++;
    }
    return MD_OK;
}

/* How many items step k of a rule tries on a text. */
static uint64_t items_tried(const md_pretok_rule *rule, int k, const char *text, size_t n)
{
    md_pretok_rule before = *rule;
    before.step[k].op = MD_PRETOK_END;
    md_pretok *p = NULL;
    md_pretok_scratch *scratch = md_pretok_scratch_new();
    assert_non_null(scratch);
    assert_int_equal(md_pretok_new(&before, &p, NULL), MD_OK);
    int code;
    size_t at;
    counter c = {.code = pcre2_compile((PCRE2_SPTR)rule->step[k].pattern, PCRE2_ZERO_TERMINATED,
                                       PCRE2_UTF | PCRE2_UCP | PCRE2_AUTO_CALLOUT, &code, &at, NULL),
                 .match = pcre2_match_data_create(1, NULL),
                 .context = pcre2_match_context_create(NULL)};
    assert_true(c.code && c.match && c.context);
    pcre2_set_callout(c.context, tried, &c);
    pcre2_set_match_limit(c.context, UINT32_MAX);
    pcre2_set_depth_limit(c.context, UINT32_MAX);
    assert_int_equal(md_pretok_split(p, scratch, text, n, count_matches, &c, NULL), MD_OK);
    pcre2_match_context_free(c.context);
    pcre2_match_data_free(c.match);
    pcre2_code_free(c.code);
    md_pretok_scratch_free(scratch);
    md_pretok_free(p);
    return c.tried;
}

static void twice_the_text_twice_the_work(void **state)
{
    (void)state;
    static const char *const units[] = {" ",        "\n",       " \n",
                                        "\t",       "7",        "A",
                                        "a",        "'",        "!",
                                        "Aa",       "a ",       "1a",
                                        "a1!",      "\xcc\x81", "\xe6\xbc\xa2",
                                        "\xc2\xb2", "\xca\xb0", "\xe3\x80\x80",
                                        "\xd9\xa3"};
    char *text = malloc(2 * SHORT + 1);
    assert_non_null(text);
    for (size_t r = 0; r < md_pretok_n_rules(); r++) {
        const md_pretok_rule *rule = md_pretok_rule_at(r);
        if (seen_before(r))
            continue;
        for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
            const size_t unit = strlen(units[u]);
            uint64_t work[2] = {0, 0};
            for (size_t k = 0; k < 2; k++) {
                const size_t n = (k + 1) * SHORT / unit * unit;
                for (size_t i = 0; i < n; i++)
                    text[i] = units[u][i % unit];
                text[n] = 'x'; /* what the run fails on, where it fails */
                for (int step = 0; step < MD_PRETOK_MAX_STEPS && rule->step[step].op != MD_PRETOK_END; step++)
                    work[k] += items_tried(rule, step, text, n + 1);
            }
            if (work[1] > 2 * work[0] + work[0] / 4 + 1000)
                fail_msg("%s: %zu bytes of '%s' try %llu items, twice as many %llu", rule->name, SHORT, units[u],
                         (unsigned long long)work[0], (unsigned long long)work[1]);
        }
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(twice_the_text_twice_the_work)};
    return cmocka_run_group_tests_name("text/pretok_work", tests, NULL, NULL);
}
