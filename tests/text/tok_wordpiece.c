/* SPDX-License-Identifier: Apache-2.0
 *
 * WordPiece on a vocabulary made for the purpose: what is cleaned, folded and cut apart, and the longest pieces of what
 * is left. Expected ids follow the models' own tokenizer, not other readers of GGUF, where those differ. */
#include "tok_tiny.h"

#define M "\xe2\x96\x81"

enum { PAD, UNK, CLS, SEP, UN, AFF, AFFABLE, ABLE, A, B, BB, DOT, HAN, E_ACUTE, E, I_DOTTED, I, DOT_ABOVE, I_CAPITAL };

static tiny *pieces(void)
{
    static const char *const words[] = {
        M "un",           "aff",        "affable", "able",       M "a", M "b",      "b",   M ".",
        M "\xe6\xbc\xa2", M "\xc3\xa9", M "e",     M "\xc4\xb0", M "i", "\xcc\x87", M "I",
    };
    tiny *y = tiny_new("bert", "ignored");
    tiny_add(y, "[PAD]", MD_TOKEN_CONTROL, 0);
    tiny_add(y, "[UNK]", MD_TOKEN_CONTROL, 0);
    tiny_add(y, "[CLS]", MD_TOKEN_CONTROL, 0);
    tiny_add(y, "[SEP]", MD_TOKEN_CONTROL, 0);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        tiny_add(y, words[i], MD_TOKEN_NORMAL, 0);
    y->v.unk = UNK;
    y->v.bos = CLS;
    y->v.sep = SEP;
    return y;
}

static void longest_first(void **state)
{
    (void)state;
    tiny *y = pieces();
    const md_tokenizer *t = tiny_make(y);
    assert_string_equal(md_tokenizer_kind(t), "wordpiece");
    assert_tokens(t, "unaffable", 0, UN, AFFABLE);
    assert_tokens(t, "unaffaffable", 0, UN, AFF, AFFABLE);
    assert_tokens(t, "unaffablb", 0, UNK); /* the longest is not taken back */
    assert_tokens(t, "affable", 0, UNK);   /* what goes on does not begin */
    assert_tokens(t, "abbb", 0, A, BB, BB, BB);
    assert_tokens(t, "un able", 0, UN, UNK);
    assert_tokens(t, "", 0, );
    assert_tokens(t, "a", MD_TOKENIZE_BOS, CLS, A, SEP);
    assert_tokens(t, "", MD_TOKENIZE_BOS, CLS, SEP);
    tiny_free(y);
}

static void cutting(void **state)
{
    (void)state;
    tiny *y = pieces();
    const md_tokenizer *t = tiny_make(y);
    assert_tokens(t, " a\t\n\r b\xc2\xa0\xe3\x80\x80 a ", 0, A, B, A);
    assert_tokens(t, "a.b..", 0, A, DOT, B, DOT, DOT);
    assert_tokens(t,
                  "a\xe6\xbc\xa2\xe6\xbc\xa2"
                  "b",
                  0, A, HAN, HAN, B);
    assert_tokens(t, "a$b", 0, A, UNK, B);     /* every ASCII sign is punctuation */
    assert_tokens(t, "a\xe2\x82\xac", 0, UNK); /* the euro sign is not */
    assert_tokens(t,
                  "a\xe2\x80\x94"
                  "b",
                  0, A, UNK, B);               /* the dash is */
    assert_tokens(t, "a\xe3\x81\x82", 0, UNK); /* kana are letters */
    tiny_free(y);
}

static void cleaning(void **state)
{
    (void)state;
    tiny *y = pieces();
    const md_tokenizer *t = tiny_make(y);
    md_tokens got = tok_ids(t, "a\0b", 3, 0);
    assert_int_equal(got.n, 2);
    assert_int_equal(got.id[1], BB);
    md_tokens_done(&got);
    assert_tokens(t,
                  "a\x01\x0b\x0c\x7f\xc2\x85\xc2\xad\xe2\x80\x8b\xef\xbf\xbd\xee\x80\x80"
                  "b",
                  0, A, BB);
    assert_tokens(t,
                  "a\xff\xc3"
                  "b\xe6\xbc",
                  0, A, BB); /* what is not UTF-8 is dropped */
    tiny_free(y);
}

static void folding(void **state)
{
    (void)state;
    static const char e_acute[] = "\xc3\xa9", e_capital_acute[] = "\xc3\x89", i_dotted[] = "\xc4\xb0";
    tiny *y = pieces();
    const md_tokenizer *t = tiny_make(y);
    assert_tokens(t, "UNAFFable", 0, UN, AFFABLE);
    assert_tokens(t, e_capital_acute, 0, E);
    assert_tokens(t, "e\xcc\x81", 0, E);
    assert_tokens(t, i_dotted, 0, I);
    md_tokenizer_free(y->t);
    y->v.strip_accents = 0;
    t = tiny_make(y);
    assert_tokens(t, e_capital_acute, 0, E_ACUTE);
    assert_tokens(t, i_dotted, 0, I, DOT_ABOVE); /* its small form is two characters */
    md_tokenizer_free(y->t);
    y->v.strip_accents = -1;
    y->v.lowercase = 0;
    t = tiny_make(y);
    assert_tokens(t, "A a", 0, UNK, A);
    assert_tokens(t, e_acute, 0, E_ACUTE);
    assert_tokens(t, i_dotted, 0, I_DOTTED);
    md_tokenizer_free(y->t);
    y->v.strip_accents = 1;
    t = tiny_make(y);
    assert_tokens(t, i_dotted, 0, I_CAPITAL);
    assert_tokens(t, e_acute, 0, E);
    tiny_free(y);
}

/* 100 characters are a word still, 101 are not, whatever their bytes. */
static void long_words(void **state)
{
    (void)state;
    tiny *y = pieces();
    y->v.lowercase = 0;
    const int32_t more = tiny_add(y, "\xc3\xa9", MD_TOKEN_NORMAL, 0);
    const md_tokenizer *t = tiny_make(y);
    char text[2 * 101 + 1] = "a";
    for (size_t i = 0; i < 100; i++)
        memcpy(text + 1 + 2 * i, "\xc3\xa9", 3);
    md_tokens got = tok_ids(t, text, 1 + 2 * 99, 0);
    assert_int_equal(got.n, 100);
    assert_int_equal(got.id[99], more);
    md_tokens_done(&got);
    assert_tokens(t, text, 0, UNK);
    tiny_free(y);
}

/* Names of special tokens are punctuation and letters unless asked for. U+2581 is a character like others. */
static void names_and_marks(void **state)
{
    (void)state;
    tiny *y = pieces();
    const int32_t word = tiny_add(y, M M, MD_TOKEN_NORMAL, 0), more = tiny_add(y, M, MD_TOKEN_NORMAL, 0);
    const md_tokenizer *t = tiny_make(y);
    assert_tokens(t, "a[SEP]", 0, A, UNK, UNK, UNK);
    assert_tokens(t, "a[SEP]b", MD_TOKENIZE_SPECIAL, A, SEP, B);
    assert_tokens(t, M, 0, word);
    assert_tokens(t, M M, 0, word, more);
    assert_tokens(t, "b" M "un", 0, UNK); /* "un" begins words, and this one has begun */
    tiny_free(y);
}

static void decoding(void **state)
{
    (void)state;
    tiny *y = pieces();
    const md_tokenizer *t = tiny_make(y);
    size_t n;
    char *text = tok_decode(t, (int32_t[]){CLS, UN, AFFABLE, A, DOT, SEP}, 6, false, true, &n);
    assert_string_equal(text, "unaffable a .");
    free(text);
    tiny_free(y);
}

static void refusals(void **state)
{
    (void)state;
    tiny *y = pieces();
    y->v.unk = -1;
    tiny_refused(y, MD_ERR_FORMAT, "unknown token");
    y->v.unk = UNK;
    y->v.sep = 1000;
    tiny_refused(y, MD_ERR_FORMAT, "SEP");
    tiny_free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(longest_first), cmocka_unit_test(cutting),    cmocka_unit_test(cleaning),
        cmocka_unit_test(folding),       cmocka_unit_test(long_words), cmocka_unit_test(names_and_marks),
        cmocka_unit_test(decoding),      cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests_name("text/tok_wordpiece", tests, NULL, NULL);
}
