/* SPDX-License-Identifier: Apache-2.0
 *
 * Splitting rules: each compiles, loses nothing, and takes long runs of anything in its stride; those that differ are
 * told apart by what they make of chosen texts. */
#include "pretok_case.h"
#include "text/pretok.h"
#include "tok_tiny.h"

#include <time.h>

/* Words with bars between. */
typedef struct joined {
    char text[512];
    size_t n;
} joined;

static md_status join(void *user, const char *word, size_t n, md_error *err)
{
    (void)err;
    joined *j = user;
    if (j->n)
        j->text[j->n++] = '|';
    assert_true(j->n + n < sizeof j->text);
    memcpy(j->text + j->n, word, n);
    j->n += n;
    j->text[j->n] = '\0';
    return MD_OK;
}

static md_pretok *compile(const char *name)
{
    md_error err = {0};
    md_pretok *p = NULL;
    const md_pretok_rule *rule = md_pretok_find(name);
    assert_non_null(rule);
    if (md_pretok_new(rule, &p, &err) != MD_OK)
        fail_msg("%s", err.message);
    return p;
}

/* The rules tell these apart; the words are what the publishers' tokenizers give. */
static const struct {
    const char *rule, *text, *words;
} cases[] = {
    {"gpt-2", "It's 2024,  eh?\n\nYes", "It|'s| 2024|,| | eh|?|\n|\n|Yes"},
    {"gpt-2", "don'T stop", "don|'|T| stop"},
    {"default", "It's 1234,  eh?\n\nYes", "It|'|s| |123|4|,| | eh|?|\n|\n|Yes"},
    {"default", "a 12 $3", "a| |12| |$|3"},
    {"whitespace", "ab, c\n d", "ab,| |c|\n |d"},
    {"smollm", "a 12b", "a| |1|2|b"},
    {"llama-bpe", "It'S 20241,  eh?\n\nYes", "It|'S| |202|41|,| | eh|?\n\n|Yes"},
    {"llama-bpe", "(foo) /bar", "(foo|)| /|bar"},
    {"llama-bpe", "a'\xc5\xbf", "a|'\xc5\xbf"}, /* the long s is an s */
    {"qwen2", "x 123", "x| |1|2|3"},
    {"qwen35",
     "a\xcc\x81"
     "b",
     "a\xcc\x81"
     "b"},
    {"llama-bpe",
     "a\xcc\x81"
     "b",
     "a|\xcc\x81"
     "b"},
    {"gpt-4o", "camelCaseWord's HTTPServer", "camel|Case|Word's| HTTPServer"},
    {"gpt-4o", "a/b/\n", "a|/b|/\n"},
    {"tekken", "Word's 12", "Word|'s| |1|2"},
    {"deepseek-v3", "x=foo \xe6\xbc\xa2\xe3\x81\xb2g", "x|=foo| |\xe6\xbc\xa2\xe3\x81\xb2|g"},
    {"deepseek-llm", " abc \xe6\xbc\xa2 12 ", " abc| |\xe6\xbc\xa2| |1|2| "},
    {"deepseek-coder", "foo(bar, 12)\n", "foo|(|bar|,| |1|2|)|\n"},
    {"kimi-k2",
     "\xe6\xbc\xa2"
     "abc\xe3\x81\xb2\xe6\xbc\xa2",
     "\xe6\xbc\xa2|abc\xe3\x81\xb2|\xe6\xbc\xa2"},
    {"tiny_aya", "1234567 12345x a1234", "1|234|567| |123|45|x| a|1|234"},
    {"tiny_aya", "12\xe2\x81\xb0 12\xc2\xb2", "12|\xe2\x81\xb0| |12\xc2\xb2"}, /* U+2070 ends a word, U+00B2 does not */
    {"superbpe", "of 1234567 x", "of |1|234|567| x"},
    {"superbpe",
     "12\xc2\xb2"
     "345",
     "12\xc2\xb2|345"},
    {"afmoe", "ab1234 \xe0\xba\x81\xe0\xba\x81", "ab|1|234| |\xe0\xba\x81\xe0\xba\x81"},
    {"falcon", "a+b 1234", "a|+|b| |123|4"},
    {"bloom", "a, b(c|d", "a|,| b|(|c|||d"},
    {"viking", "a12", "a|1|2"},
    {"chameleon", "xIMGIMGABZ a\n<sentinel:3>", "x|IMGIMGABZ| a|\n|<|sentinel|:|3|>"},
    {"exaone-moe", "foo bar  baz", "foo bar| | baz"},
    {"seed-coder", "a!\n", "a|!|\n"},
    {"jais-2", "       x", "    |  | x"},
    {"jais-2", "!\n  \n x", "!\n|  \n| x"},
    {"minicpm5", "a1234", "a|123|4"},
    {"youtu",
     "\xed\x95\x9c\xef\xbc\x81"
     "a12",
     "\xed\x95\x9c|\xef\xbc\x81|a|1|2"},
    {"spark2_5", "a!\n\n12", "a|!|\n|\n|1|2"},
    {"laguna", "a!\n\nb", "a|!|\n\n|b"},
    {"ufakzeka", "a's", "a|'s"},
    {"k2-horizon",
     "a\xe2\x80\x8d"
     "b",
     "a\xe2\x80\x8d"
     "b"},
    {"gemma4", "a b\n\nc", "a b|\n\n|c"},
    /* U+180E is no white space, U+0085 is */
    {"gpt-2",
     "a\xe1\xa0\x8e"
     "b",
     "a|\xe1\xa0\x8e|b"},
    {"gpt-2",
     "a\xc2\x85"
     "b",
     "a|\xc2\x85|b"},
    {"gpt-2", "!\xe1\xa0\x8e!", "!\xe1\xa0\x8e!"},
    {"gpt-2", "!\xc2\x85!", "!|\xc2\x85|!"},
};

static void words_of_chosen_texts(void **state)
{
    (void)state;
    md_pretok_scratch *s = md_pretok_scratch_new();
    assert_non_null(s);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        md_pretok *p = compile(cases[i].rule);
        joined j = {.n = 0};
        assert_int_equal(md_pretok_split(p, s, cases[i].text, strlen(cases[i].text), join, &j, NULL), MD_OK);
        if (strcmp(j.text, cases[i].words) != 0)
            fail_msg("%s: '%s' became '%s', not '%s'", cases[i].rule, cases[i].text, j.text, cases[i].words);
        md_pretok_free(p);
    }
    md_pretok_scratch_free(s);
}

/* Words must be the text in order, without gap and never empty. */
typedef struct follow {
    const char *at, *end;
    size_t words;
} follow;

static md_status follow_word(void *user, const char *word, size_t n, md_error *err)
{
    (void)err;
    follow *f = user;
    assert_ptr_equal(word, f->at);
    assert_true(n > 0 && n <= (size_t)(f->end - word));
    f->at = word + n;
    f->words++;
    return MD_OK;
}

static size_t follow_text(const md_pretok *p, md_pretok_scratch *s, const char *text, size_t n)
{
    follow f = {.at = text, .end = text + n};
    md_error err = {0};
    if (md_pretok_split(p, s, text, n, follow_word, &f, &err) != MD_OK)
        fail_msg("%s", err.message);
    assert_ptr_equal(f.at, text + n);
    return f.words;
}

static void every_rule_keeps_every_byte(void **state)
{
    (void)state;
    uint64_t seed = 1;
    md_pretok_scratch *s = md_pretok_scratch_new();
    assert_non_null(s);
    assert_true(md_pretok_n_rules() > 80);
    for (size_t r = 0; r < md_pretok_n_rules(); r++) {
        const char *name = md_pretok_rule_at(r)->name;
        assert_ptr_equal(md_pretok_find(name), md_pretok_rule_at(r)); /* no name twice */
        md_pretok *p = compile(name);
        assert_int_equal(follow_text(p, s, "", 0), 0);
        for (int round = 0; round < 50; round++) {
            char text[400];
            size_t n = 0;
            while (n < sizeof text - 4) {
                static const uint32_t top[] = {0x80, 0x80, 0x300, 0x3000, 0x10000, 0x110000};
                const uint32_t cp = tiny_random(&seed) % top[tiny_random(&seed) % 6];
                if (cp < 0xd800 || cp > 0xdfff)
                    n += (size_t)md_utf8_encode(cp, text + n);
            }
            assert_true(follow_text(p, s, text, n) > 0);
        }
        md_pretok_free(p);
    }
    md_pretok_scratch_free(s);
}

/* Runs on which a careless pattern takes quadratic time: seconds of the processor, where milliseconds will do. */
static void long_runs(void **state)
{
    (void)state;
    static const char *const units[] = {
        " ", "\n",  " \n",      "\t",           "7",        "A",        "a",           "'", "!", "Aa", "a ",
        "_", "a1!", "\xcc\x81", "\xe6\xbc\xa2", "\xc2\xb2", "\xca\xb0", "\xe3\x80\x80"};
    const size_t n = 1 << 17;
    char *text = malloc(n + 1);
    assert_non_null(text);
    md_pretok_scratch *s = md_pretok_scratch_new();
    assert_non_null(s);
    for (size_t r = 0; r < md_pretok_n_rules(); r++) {
        if (seen_before(r))
            continue;
        md_pretok *p = compile(md_pretok_rule_at(r)->name);
        for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
            const size_t unit = strlen(units[u]);
            const size_t len = n / unit * unit;
            for (size_t i = 0; i < len; i++)
                text[i] = units[u][i % unit];
            text[len] = 'x'; /* what the run fails on, where it fails */
            const clock_t start = clock();
            assert_true(follow_text(p, s, text, len + 1) > 0);
            if (clock() - start > CLOCKS_PER_SEC)
                fail_msg("%s takes too long for a run of '%s'", md_pretok_rule_at(r)->name, units[u]);
        }
        md_pretok_free(p);
    }
    md_pretok_scratch_free(s);
    free(text);
}

static md_status refuse(void *user, const char *word, size_t n, md_error *err)
{
    (void)user, (void)word, (void)n, (void)err;
    return MD_ERR_CANCELLED;
}

static void a_refused_word_ends_it(void **state)
{
    (void)state;
    md_pretok *p = compile("deepseek-v3");
    md_pretok_scratch *s = md_pretok_scratch_new();
    assert_non_null(s);
    assert_int_equal(md_pretok_split(p, s, "a 1", 3, refuse, NULL, NULL), MD_ERR_CANCELLED);
    md_pretok_scratch_free(s);
    md_pretok_free(p);
    md_pretok_free(NULL);
    md_pretok_scratch_free(NULL);
}

static void names(void **state)
{
    (void)state;
    assert_null(md_pretok_find("GPT-2"));
    assert_null(md_pretok_find("gpt-22"));
    assert_non_null(md_pretok_find("default"));
    assert_ptr_equal(md_pretok_find(""), md_pretok_find("default"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_of_chosen_texts),
        cmocka_unit_test(every_rule_keeps_every_byte),
        cmocka_unit_test(long_runs),
        cmocka_unit_test(a_refused_word_ends_it),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests_name("text/pretok", tests, NULL, NULL);
}
