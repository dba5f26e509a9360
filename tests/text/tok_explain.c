/* SPDX-License-Identifier: Apache-2.0
 *
 * Notes about tokens: which bytes of the text each stands for and how it came to be, for every kind of vocabulary; and
 * asking changes no token. */
#include "tok_charsmap_make.h"
#include "tok_tiny.h"

#define M "\xe2\x96\x81"

/* The notes of a text as "begin-end/piece how rank" with bars between. */
static char *notes_of(const md_tokenizer *t, const char *text, size_t n, unsigned flags)
{
    md_tokens plain = tok_ids(t, text, n, flags), ids = {0};
    md_token_notes notes = {0};
    md_error err = {0};
    if (md_tokenize_explain(t, text, n, flags, &ids, &notes, &err) != MD_OK)
        fail_msg("%s", err.message);
    assert_int_equal(ids.n, plain.n);
    assert_int_equal(notes.n, plain.n);
    if (plain.n)
        assert_memory_equal(ids.id, plain.id, plain.n * sizeof *plain.id);
    char *out = calloc(1, 64 * notes.n + 1);
    assert_non_null(out);
    for (size_t i = 0, at = 0; i < notes.n; i++) {
        const md_token_note *k = &notes.at[i];
        at += (size_t)sprintf(out + at, "%s%zu-%zu/%d %s", i ? "|" : "", k->begin, k->end, (int)k->piece,
                              md_token_how_name(k->how));
        if (k->rank >= 0)
            at += (size_t)sprintf(out + at, " %d", (int)k->rank);
    }
    md_tokens_done(&plain);
    md_tokens_done(&ids);
    md_token_notes_done(&notes);
    return out;
}

#define assert_notes(t, text, flags, want)                       \
    do {                                                         \
        char *got_ = notes_of(t, text, sizeof(text) - 1, flags); \
        assert_string_equal(got_, want);                         \
        free(got_);                                              \
    } while (0)

static tiny *bytes_with(const char *pre)
{
    tiny *y = tiny_new("gpt2", pre);
    tiny_bytes(y);
    tiny_merge(y, "a", "b", false);
    tiny_merge(y, "\xc4\xa0", "ab", false);
    tiny_merge(y, "ab", "ab", false);
    y->v.bos = tiny_add(y, "<s>", MD_TOKEN_CONTROL, 0);
    y->v.add_bos = 1;
    y->v.eos = tiny_add(y, "<e>", MD_TOKEN_USER_DEFINED, 0);
    y->v.add_eos = 1;
    return y;
}

static void merges(void **state)
{
    (void)state;
    tiny *y = bytes_with("gpt-2");
    const md_tokenizer *t = tiny_make(y);
    assert_notes(t, "", 0, "");
    assert_notes(t, "ab abx", 0, "0-2/0 merged 0|2-5/1 merged 1|5-6/1 single");
    assert_notes(t, "abab", 0, "0-4/0 merged 2");
    assert_notes(t, "a<e>b", MD_TOKENIZE_BOS, "0-0/-1 added|0-1/0 single|1-4/-1 named|4-5/1 single|5-5/-1 added");
    assert_notes(t, "<s>", MD_TOKENIZE_SPECIAL, "0-3/-1 named");
    assert_notes(t, "\xc3\xa9\xff", 0, "0-1/0 single|1-2/0 single|2-3/1 single");
    tiny_free(y);
    y = bytes_with("llama-bpe");
    tiny_add(y, "xyz", MD_TOKEN_NORMAL, 0);
    t = tiny_make(y);
    assert_notes(t, "xyz", 0, "0-3/0 whole");
    tiny_free(y);
}

/* A byte without a token: left out, or the unknown token; one that is not UTF-8 is stood for by U+FFFD. */
static void bytes_that_are_missing(void **state)
{
    (void)state;
    tiny *y = bytes_with("gpt-2");
    y->type['x'] = MD_TOKEN_UNUSED;
    y->type[0xff] = MD_TOKEN_UNUSED;
    const md_tokenizer *t = tiny_make(y);
    assert_notes(t, "axb", 0, "0-3/0 merged 0");
    assert_notes(t, "axa", 0, "0-2/0 single|2-3/0 single");
    assert_notes(t, "a\xff", 0, "0-1/0 single|1-2/1 single|1-2/1 single|1-2/1 single");
    md_tokenizer_free(y->t);
    y->v.unk = tiny_add(y, "<unk>", MD_TOKEN_UNKNOWN, 0);
    t = tiny_make(y);
    assert_notes(t, "axb", 0, "0-1/0 single|1-2/0 fallback|2-3/0 single");
    tiny_free(y);
}

static void characters(void **state)
{
    (void)state;
    tiny *y = tiny_new("gemma4", "");
    const int32_t unk = tiny_add(y, "<unk>", MD_TOKEN_UNKNOWN, 0);
    y->v.unk = unk;
    y->v.bos = unk;
    tiny_byte_names(y);
    tiny_add(y, "a", MD_TOKEN_NORMAL, 0);
    tiny_add(y, "\n\n", MD_TOKEN_NORMAL, 0);
    tiny_add(y, M, MD_TOKEN_NORMAL, 0);
    tiny_merge(y, M, "a", false);
    const md_tokenizer *t = tiny_make(y);
    assert_notes(t, "a a\n\na\xc3\xa9", 0,
                 "0-1/0 single|1-3/0 merged 0|3-5/1 whole|5-6/2 single|6-7/2 fallback|7-8/2 fallback");
    tiny_free(y);
}

static void scored_merges(void **state)
{
    (void)state;
    tiny *y = tiny_new("llama", "");
    y->v.unk = tiny_add(y, "<unk>", MD_TOKEN_UNKNOWN, 0);
    tiny_add(y, M, MD_TOKEN_NORMAL, -1);
    tiny_add(y, "a", MD_TOKEN_NORMAL, -2);
    const int32_t mark_a = tiny_add(y, M "a", MD_TOKEN_NORMAL, -3.5f);
    const md_tokenizer *t = tiny_make(y);
    assert_notes(t, "aa \xc3\xa9", 0, "0-1/0 merged|1-2/0 single|2-3/0 single|3-5/0 fallback");
    float score;
    assert_true(md_token_score(t, mark_a, &score));
    assert_float_equal(score, -3.5f, 0);
    assert_false(md_token_score(t, 99, &score));
    tiny_free(y);
}

static void normalised_text(void **state)
{
    (void)state;
    static const replaced rules[] = {{"\xef\xac\x80", "ff"}, {"\xc2\xad", ""}};
    unsigned char *table = malloc(CHARSMAP_MAX);
    assert_non_null(table);
    tiny *y = tiny_new("t5", "");
    y->v.unk = tiny_add(y, "<unk>", MD_TOKEN_UNKNOWN, 0);
    tiny_add(y, M, MD_TOKEN_NORMAL, -3);
    tiny_add(y, "f", MD_TOKEN_NORMAL, -2);
    tiny_add(y, M "f", MD_TOKEN_NORMAL, -3);
    y->v.charsmap_bytes = charsmap_make(rules, 2, table);
    y->v.charsmap = table;
    y->v.merge_spaces = 1;
    const md_tokenizer *t = tiny_make(y);
    /* both halves of the ligature stand for all of it; the spaces dropped are nobody's */
    assert_notes(t,
                 "  \xef\xac\x80  f\xc2\xad"
                 "f?! ",
                 0, "2-5/0 chosen|2-5/0 chosen|5-8/0 chosen|10-11/0 chosen|11-13/0 fallback");
    tiny_free(y);
    free(table);
}

static void words(void **state)
{
    (void)state;
    tiny *y = tiny_new("bert", "");
    y->v.unk = tiny_add(y, "[UNK]", MD_TOKEN_CONTROL, 0);
    y->v.sep = y->v.bos = tiny_add(y, "[SEP]", MD_TOKEN_CONTROL, 0);
    tiny_add(y, M "ab", MD_TOKEN_NORMAL, 0);
    tiny_add(y, "e", MD_TOKEN_NORMAL, 0);
    const md_tokenizer *t = tiny_make(y);
    assert_notes(t,
                 " a\xc2\xad"
                 "B\xc3\x89 \xc3\xa9 ab",
                 MD_TOKENIZE_BOS,
                 "0-0/-1 added|1-5/0 longest|5-7/0 longest|8-10/1 fallback|11-13/2 longest|13-13/-1 added");
    tiny_free(y);
}

static void words_without_space(void **state)
{
    (void)state;
    tiny *y = tiny_new("whitespace", "");
    y->v.unk = tiny_add(y, "<unk>", MD_TOKEN_UNKNOWN, 0);
    tiny_add(y, "a", MD_TOKEN_NORMAL, 0);
    const int32_t b = tiny_add(y, "b", MD_TOKEN_NORMAL, 0);
    tiny_merge(y, "a", "b", false);
    const md_tokenizer *t = tiny_make(y);
    assert_tokens(t, "ab\xe3\x80\x80 B\n", 0, b + 1, 0); /* no small letters unless the file asks */
    md_tokenizer_free(y->t);
    y->v.lowercase = 1;
    t = tiny_make(y);
    assert_notes(t, "\xc4\xb0", 0, "0-2/0 fallback|0-2/0 fallback"); /* two characters when small */
    assert_notes(t, "aB \xe3\x80\x80?B\n", 0, "0-2/0 merged 0|6-7/1 fallback|7-8/1 single");
    tiny_free(y);
}

static void kinds(void **state)
{
    (void)state;
    static const char *const want[] = {"normal", "unknown", "control", "user-defined", "unused", "byte"};
    tiny *y = tiny_new("llama", "");
    for (int32_t type = MD_TOKEN_NORMAL; type <= MD_TOKEN_BYTE; type++)
        tiny_add(y, (char[2]){(char)('a' + type), '\0'}, type, 0);
    y->v.unk = 1;
    const md_tokenizer *t = tiny_make(y);
    for (int32_t i = 0; i < 6; i++)
        assert_string_equal(md_token_type_name(t, i), want[i]);
    assert_string_equal(md_token_type_name(t, 6), "");
    assert_string_equal(md_token_type_name(t, -1), "");
    assert_string_equal(md_token_how_name((md_token_how)99), "");
    tiny_free(y);
}

static void wrong_use(void **state)
{
    (void)state;
    tiny *y = bytes_with("gpt-2");
    const md_tokenizer *t = tiny_make(y);
    md_tokens ids = {0};
    md_token_notes notes = {0};
    md_error err = {0};
    assert_int_equal(md_tokenize_explain(t, "a", 1, 0, &ids, NULL, &err), MD_ERR_ARGUMENT);
    assert_int_equal(md_tokenize_explain(NULL, "a", 1, 0, &ids, &notes, &err), MD_ERR_ARGUMENT);
    assert_int_equal(md_tokenize_explain(t, "a", 1, 64, &ids, &notes, &err), MD_ERR_ARGUMENT);
    assert_int_equal(ids.n + notes.n, 0);
    md_token_notes_done(NULL);
    tiny_free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges),
        cmocka_unit_test(bytes_that_are_missing),
        cmocka_unit_test(characters),
        cmocka_unit_test(scored_merges),
        cmocka_unit_test(normalised_text),
        cmocka_unit_test(words),
        cmocka_unit_test(words_without_space),
        cmocka_unit_test(kinds),
        cmocka_unit_test(wrong_use),
    };
    return cmocka_run_group_tests_name("text/tok_explain", tests, NULL, NULL);
}
