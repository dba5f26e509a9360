/* SPDX-License-Identifier: Apache-2.0
 *
 * GBNF: what each form of it matches, against tables and against PCRE2 on random expressions; what is refused, with which
 * sentence; and that neither ambiguity nor depth nor size gets out of hand. */
#include "text/grammar_case.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

typedef struct form {
    const char *grammar;
    const char *whole[8];   /* texts it matches */
    const char *refused[8]; /* texts it does not match, though some begin well */
} form;

static const form forms[] = {
    {"root ::= \"abc\"", {"abc"}, {"", "ab", "abcd", "x"}},
    {"root ::= \"a\" | \"b\" \"c\" | \"\"", {"a", "bc", ""}, {"b", "ac"}},
    {"root ::= \"a\" (\"b\" | \"c\")* \"d\"", {"ad", "abd", "acbcd"}, {"a", "abc"}},
    {"root ::= [a-cx]+ [^a-z\\n]", {"abcx!", "xA", "a\xc3\xa4"}, {"", "!", "ab\n", "abz"}},
    {"root ::= \"ab\"+ \"c\"?", {"ab", "abab", "ababc"}, {"", "c", "aba", "abcc"}},
    {"root ::= [0-9]{3}", {"123"}, {"12", "1234"}},
    {"root ::= [0-9]{2,}", {"12", "123456"}, {"1"}},
    {"root ::= [0-9]{0,2} \"x\"", {"x", "1x", "12x"}, {"123x"}},
    {"root ::= (\"a\" | \"bc\"){2,3} \"!\"", {"aa!", "bca!", "abcbc!"}, {"a!", "aaaa!"}},
    {"root ::= ((\"a\"{2} \"b\"){2} \"c\"){2}", {"aabaabcaabaabc"}, {"aabaabc", "aabaabcaabaab"}},
    {"root ::= \"a\"{0} \"b\"", {"b"}, {"ab"}},
    {"root ::= .. \"!\"", {"ab!", "\xe6\x95\xb0\xf0\x9f\x98\x80!", "\n\n!"}, {"a!", "\xff\xfe!"}},
    {"root ::= [\\x41\\u00e4\\U0001F600-\\U0001F602\\]\\[\\-\\\\^]+",
     {"A", "\xc3\xa4", "\xf0\x9f\x98\x81", "][-\\^"},
     {"B", "\xf0\x9f\x98\x83", "\xc3\xa5"}},
    {"root ::= [a-]+ \"\\t\\r\\n\\\"\\\\\"", {"-a\t\r\n\"\\"}, {"b"}},
    {"root ::= [^\\x00-\\x7f]",
     {"\xc2\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xf4\x8f\xbf\xbf"},
     {"a", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8", "\x80"}},
    {"# a comment\nroot ::= # another\n  item (\",\" # more\n item)* |\n \"none\"\n\nitem ::= [0-9]+\r\n",
     {"1", "1,22,3", "none"},
     {"", "1,", ","}},
    {"root ::= list\nlist ::= \"[\" (list (\",\" list)*)? \"]\"", {"[]", "[[],[[]]]"}, {"[", "[[]", "[]]", "[,]"}},
    {"root ::= \"a\" root \"b\" | \"\"", {"", "ab", "aaabbb"}, {"aab", "abb"}},
    {"root ::= \"x\" root | \"y\"", {"y", "xxxxxxxxxy"}, {"x", "yx"}}, /* right recursion */
    {"root ::= a b \"!\"\na ::= \"x\"?\nb ::= a a \"y\"?",
     {"!", "x!", "xxxy!", "y!"},
     {"xxxx!", "yx!"}}, /* may be empty */
    {"root ::= p | q\np ::= \"a\" p \"a\" | \"c\"\nq ::= \"a\" q \"b\" | \"c\"", {"c", "aacaa", "aacbb"}, {"aacab"}},
    {"root ::= (\"a\"?)* (\"b\"*)+ ((\"c\"?)?){0,3}", {"", "aab", "bccc"}, {"cccc", "ba"}},
    {"my-rule_2 ::= \"x\" | \"y\"\nroot ::= my-rule_2 ( my-rule_2 )", {"xy"}, {"x"}},
    {"root ::= \"\"", {""}, {"a"}},
};

static void every_form_matches_what_it_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        md_grammar *g = grammar_of(forms[i].grammar);
        assert_string_equal(md_grammar_text(g), forms[i].grammar);
        md_gmatch m;
        match_begin(&m, g);
        for (int k = 0; k < 8 && forms[i].whole[k]; k++)
            if (!match_whole(&m, forms[i].whole[k], strlen(forms[i].whole[k])))
                fail_msg("%s: does not match '%s'", forms[i].grammar, forms[i].whole[k]);
        for (int k = 0; k < 8 && forms[i].refused[k]; k++)
            if (match_whole(&m, forms[i].refused[k], strlen(forms[i].refused[k])))
                fail_msg("%s: matches '%s'", forms[i].grammar, forms[i].refused[k]);
        assert_false(m.limited);
        md_gmatch_done(&m);
        md_grammar_free(g);
    }
}

/* ---- against PCRE2 ---- */

/* One random expression, written as GBNF and as a regular expression. */
typedef struct twin {
    char gbnf[4096], regex[4096];
    size_t n_gbnf, n_regex;
} twin;

static void put(twin *t, const char *gbnf, const char *regex)
{
    t->n_gbnf += (size_t)snprintf(t->gbnf + t->n_gbnf, sizeof t->gbnf - t->n_gbnf, "%s", gbnf);
    t->n_regex += (size_t)snprintf(t->regex + t->n_regex, sizeof t->regex - t->n_regex, "%s", regex);
    assert_true(t->n_gbnf < sizeof t->gbnf - 64 && t->n_regex < sizeof t->regex - 64);
}

static void put_random(twin *t, uint64_t *x, int depth)
{
    static const char *const atoms[][2] = {{"\"a\"", "a"},
                                           {"\"b\"", "b"},
                                           {"[ab]", "[ab]"},
                                           {"[^a]", "[^a]"},
                                           {"\"\xc3\xa4\"", "\xc3\xa4"},
                                           {"[\xc3\xa0-\xe2\x82\xac]", "[\xc3\xa0-\xe2\x82\xac]"},
                                           {"[^\xc3\xa4 b]", "[^\xc3\xa4 b]"},
                                           {".", "(?s:.)"},
                                           {"\"\"", "(?:)"}};
    static const char *const times[] = {"*", "+", "?", "{2}", "{0,2}", "{1,3}", "{2,}"};
    const uint32_t kind = depth > 3 ? 0 : case_random(x) % 5;
    if (kind < 2) {
        const uint32_t a = case_random(x) % 9;
        put(t, atoms[a][0], atoms[a][1]);
    } else {
        put(t, "(", "(?:");
        put_random(t, x, depth + 1);
        for (uint32_t n = case_random(x) % 3; n > 0; n--) {
            put(t, kind == 2 ? " | " : " ", kind == 2 ? "|" : "");
            put_random(t, x, depth + 1);
        }
        put(t, ")", ")");
    }
    if (case_random(x) % 3 == 0) {
        const char *often = times[case_random(x) % 7];
        put(t, often, often);
    }
}

static void random_expressions_match_as_in_pcre2(void **state)
{
    (void)state;
    static const char *const letters[] = {"a", "b", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80", " ", "c"};
    uint64_t x = 12345;
    size_t matched = 0, tried = 0;
    for (int round = 0; round < 1500; round++) {
        twin t = {0};
        put(&t, "root ::= ", "^(?:");
        put_random(&t, &x, 0);
        put(&t, "\n", ")\\z");
        int code;
        PCRE2_SIZE at;
        pcre2_code *re = pcre2_compile((PCRE2_SPTR)t.regex, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_DOTALL, &code, &at,
                                       NULL);
        assert_non_null(re);
        pcre2_match_data *data = pcre2_match_data_create(1, NULL);
        md_grammar *g = grammar_of(t.gbnf);
        md_gmatch m;
        match_begin(&m, g);
        for (int k = 0; k < 25; k++) {
            char text[64] = {0};
            for (uint32_t n = case_random(&x) % 7; n > 0; n--)
                strcat(text, letters[case_random(&x) % 7]);
            const bool want = pcre2_match(re, (PCRE2_SPTR)text, strlen(text), 0, 0, data, NULL) >= 0;
            if (match_whole(&m, text, strlen(text)) != want)
                fail_msg("%s and '%s': PCRE2 says %s for %s", t.gbnf, text, want ? "yes" : "no", t.regex);
            matched += want;
            tried++;
        }
        char walked[64];
        const int n = match_walk(&m, &x, "ab", walked, sizeof walked);
        if (n >= 0)
            assert_true(pcre2_match(re, (PCRE2_SPTR)walked, (size_t)n, 0, 0, data, NULL) >= 0);
        md_gmatch_done(&m);
        md_grammar_free(g);
        pcre2_match_data_free(data);
        pcre2_code_free(re);
    }
    assert_true(matched > tried / 20 && matched < tried * 19 / 20); /* both answers were asked for */
}

/* ---- refusals ---- */

static void what_is_malformed_is_refused_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *grammar, *says;
        md_status code;
    } bad[] = {
        {"", "no rule 'root'", MD_ERR_FORMAT},
        {"a ::= \"x\"", "no rule 'root'", MD_ERR_FORMAT},
        {"root ::= a", "line 1, column 10: rule 'a' is used and not defined", MD_ERR_FORMAT},
        {"root ::= \"x\"\nroot ::= \"y\"", "line 2, column 1: rule 'root' is defined a second time", MD_ERR_FORMAT},
        {"root := \"x\"", "line 1, column 6: '::='", MD_ERR_FORMAT},
        {"root ::= \"x", "line 1, column 10: a text in quotes does not end", MD_ERR_FORMAT},
        {"root ::= [a", "column 10: a class of characters does not end", MD_ERR_FORMAT},
        {"root ::= []", "holds none", MD_ERR_FORMAT},
        {"root ::= [^\\x00-\\U0010FFFF]", "holds none", MD_ERR_FORMAT},
        {"root ::= [z-a]", "from U+7A down to U+61", MD_ERR_FORMAT},
        {"root ::= \"\\q\"", "unknown escape \\q", MD_ERR_FORMAT},
        {"root ::= \"\\x4\"", "\\x wants 2 hexadecimal digits", MD_ERR_FORMAT},
        {"root ::= \"\\U00110000\"", "beyond the last character", MD_ERR_FORMAT},
        {"root ::= \"\\uD800\"", "half of a surrogate pair", MD_ERR_FORMAT},
        {"root ::= \"\xff\"", "not UTF-8", MD_ERR_FORMAT},
        {"root ::= (\"a\"", "a group does not end", MD_ERR_FORMAT},
        {"root ::= \"a\")", "column 13: an element, '|' or the end", MD_ERR_FORMAT},
        {"root ::= *", "'*' with nothing in front", MD_ERR_FORMAT},
        {"root ::= \"a\" | +", "'+' with nothing in front", MD_ERR_FORMAT},
        {"root ::= \"a\"+?", "'?' right behind another repetition", MD_ERR_FORMAT},
        {"root ::= \"a\"{2", "'}' is missing", MD_ERR_FORMAT},
        {"root ::= \"a\"{x}", "a number is missing", MD_ERR_FORMAT},
        {"root ::= \"a\"{3,2}", "at least 3 and at most 2", MD_ERR_FORMAT},
        {"root ::= \"a\"{99999999999}", "more than 524288 nodes", MD_ERR_LIMIT},
        {"root ::= <think>", "no vocabulary to look it up in", MD_ERR_FORMAT},
        {"root ::= <[x]>", "written <[123]>", MD_ERR_FORMAT},
        {"root ::= !\"a\"", "'!' stands before a token", MD_ERR_FORMAT},
        {"root ::= root \"a\" | \"b\"", "'root' calls itself before it has read anything", MD_ERR_FORMAT},
        {"root ::= a \"x\"\na ::= b?  c\nb ::= \"y\"\nc ::= a \"z\" | \"w\"", "left recursion", MD_ERR_FORMAT},
        {"root ::= \"\" [a]* root \"b\" | \"c\"", "left recursion", MD_ERR_FORMAT},
        {"root ::= \"a\" root", "'root' can never come to an end", MD_ERR_FORMAT},
        {"root ::= \"a\" | x\nx ::= \"(\" y \")\"\ny ::= \"[\" x \"]\"", "can never come to an end", MD_ERR_FORMAT},
        {"root ::= \"a\"{500000} | \"b\"{500000}", "more than 524288 nodes", MD_ERR_LIMIT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        md_error err = {0};
        md_grammar *g = (md_grammar *)&err;
        assert_int_equal(md_grammar_new(bad[i].grammar, strlen(bad[i].grammar), NULL, &g, &err), bad[i].code);
        assert_null(g);
        if (!strstr(err.message, bad[i].says))
            fail_msg("%s: '%s' does not say '%s'", bad[i].grammar, err.message, bad[i].says);
        assert_int_equal(md_grammar_new(bad[i].grammar, strlen(bad[i].grammar), NULL, &g, NULL), bad[i].code);
    }
    md_grammar *g;
    assert_int_equal(md_grammar_new("root ::= \"a\0\"", 13, NULL, &g, NULL), MD_ERR_FORMAT);
    md_grammar_free(NULL);
}

/* ---- limits ---- */

static void groups_inside_each_other_are_bounded(void **state)
{
    (void)state;
    for (int depth = MD_GRAMMAR_GROUP_MAX; depth <= MD_GRAMMAR_GROUP_MAX + 1; depth++) {
        char text[4 * MD_GRAMMAR_GROUP_MAX] = "root ::= ";
        for (int i = 0; i < depth; i++)
            strcat(text, "(");
        strcat(text, "\"a\"");
        for (int i = 0; i < depth; i++)
            strcat(text, ")");
        md_grammar *g;
        md_error err = {0};
        const md_status want = depth > MD_GRAMMAR_GROUP_MAX ? MD_ERR_LIMIT : MD_OK;
        assert_int_equal(md_grammar_new(text, strlen(text), NULL, &g, &err), want);
        assert_true(want == MD_OK || strstr(err.message, "groups inside each other"));
        md_grammar_free(g);
    }
}

/* Every way to cut a text into items is one derivation, 2^n of them; the places stay few. */
static void ambiguity_costs_little(void **state)
{
    (void)state;
    static const char *const grammars[] = {
        "root ::= s\ns ::= \"a\" s s | \"a\" s | \"a\"",
        "root ::= (\"a\" | \"aa\" | \"aaa\" | [a-b] \"a\")*",
        "root ::= x\nx ::= \"a\" x \"b\" | \"a\" x \"c\" | \"a\" x | \"\"",
    };
    for (size_t i = 0; i < sizeof grammars / sizeof *grammars; i++) {
        md_grammar *g = grammar_of(grammars[i]);
        md_gmatch m;
        match_begin(&m, g);
        for (int n = 0; n < 300; n++) {
            assert_int_equal(match_read(&m, "a", 1), 1);
            assert_true(m.state[m.path[0]].n < 1000);
        }
        assert_true(match_complete(&m));
        assert_false(m.limited);
        md_gmatch_done(&m);
        md_grammar_free(g);
    }
}

static void depth_is_bounded_and_told(void **state)
{
    (void)state;
    md_grammar *g = grammar_of("root ::= \"(\" root \")\" | \"x\"");
    md_gmatch m;
    match_begin(&m, g);
    int n = 0;
    while (n < 2 * MD_GRAMMAR_DEPTH_MAX && match_read(&m, "(", 1) == 1)
        n++;
    assert_true(n >= MD_GRAMMAR_DEPTH_MAX - 2 && n <= MD_GRAMMAR_DEPTH_MAX + 2);
    assert_true(m.limited);
    md_gmatch_done(&m);

    match_begin(&m, g); /* half as deep is no trouble, and everything that was opened can be closed */
    for (int i = 0; i < MD_GRAMMAR_DEPTH_MAX / 2; i++)
        assert_int_equal(match_read(&m, "(", 1), 1);
    assert_int_equal(match_read(&m, "x", 1), 1);
    for (int i = 0; i < MD_GRAMMAR_DEPTH_MAX / 2; i++) {
        assert_false(match_complete(&m));
        assert_int_equal(match_read(&m, ")", 1), 1);
    }
    assert_true(match_complete(&m));
    md_gmatch_done(&m);
    md_grammar_free(g);
}

/* More alternatives at one place than are followed: the grammar is refused there, and says so. */
static void alternatives_at_one_place_are_bounded(void **state)
{
    (void)state;
    md_grammar *g = grammar_of("root ::= ([a-z]? [0-9]?){0,20000} \"!\"");
    md_gmatch m;
    match_begin(&m, g);
    assert_true(m.limited);
    assert_int_equal(m.path[0], MD_GSTATE_DEAD);
    md_gmatch_done(&m);
    md_grammar_free(g);
}

/* Counted strings make a new state with every byte: the tables fill and are collected many times on the way. */
static void collecting_loses_nothing(void **state)
{
    (void)state;
    md_grammar *g = grammar_of("root ::= \"[\" item (\",\" item)* \"]\"\n"
                               "item ::= root | \"\\\"\" [^\"]{0,60000} \"\\\"\"\n");
    md_gmatch m;
    match_begin(&m, g);
    const char *open = "[[[[\"";
    assert_int_equal(match_read(&m, open, strlen(open)), strlen(open));
    const uint64_t before = m.epoch;
    for (int i = 0; i < 59999; i++)
        assert_int_equal(match_read(&m, i % 3 ? "a" : "\xe6\x95\xb0", i % 3 ? 1 : 3), i % 3 ? 1 : 3);
    assert_true(m.epoch > before + 5);
    assert_int_equal(match_read(&m, "z", 1), 1);
    assert_int_equal(match_read(&m, "z", 1), 0); /* 60000 are full */
    assert_int_equal(match_read(&m, "\",[\"b\"]]]]", 10), 10);
    assert_false(match_complete(&m));
    assert_int_equal(match_read(&m, "]", 1), 1);
    assert_true(match_complete(&m));
    assert_int_equal(match_read(&m, "]", 1), 0);
    assert_false(m.limited);
    md_gmatch_done(&m);
    md_grammar_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_matches_what_it_says),
        cmocka_unit_test(random_expressions_match_as_in_pcre2),
        cmocka_unit_test(what_is_malformed_is_refused_with_its_place),
        cmocka_unit_test(groups_inside_each_other_are_bounded),
        cmocka_unit_test(ambiguity_costs_little),
        cmocka_unit_test(depth_is_bounded_and_told),
        cmocka_unit_test(alternatives_at_one_place_are_bounded),
        cmocka_unit_test(collecting_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
