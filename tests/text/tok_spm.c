/* SPDX-License-Identifier: Apache-2.0
 *
 * SentencePiece BPE and the BPE on characters, on vocabularies made for the purpose: scores decide, spaces are U+2581,
 * what is no token falls back to bytes, then to the unknown token. */
#include "tok_tiny.h"

#include <math.h>

#define M "\xe2\x96\x81"

enum { UNK, BOS, EOS, BYTES };

/* Ids: 0 <unk>, 1 <s>, 2 </s>, 3.. the bytes, then pieces. */
static tiny *pieces(void)
{
    tiny *y = tiny_new("llama", "default");
    tiny_add(y, "<unk>", MD_TOKEN_UNKNOWN, 0);
    tiny_add(y, "<s>", MD_TOKEN_CONTROL, 0);
    tiny_add(y, "</s>", MD_TOKEN_CONTROL, 0);
    y->v.unk = UNK;
    y->v.bos = BOS;
    y->v.eos = EOS;
    assert_int_equal(tiny_byte_names(y), BYTES);
    return y;
}

enum { A = BYTES + 256, B, C, MARK, AB, BC, MARK_A, ABC };

static tiny *abc(void)
{
    tiny *y = pieces();
    tiny_add(y, "a", MD_TOKEN_NORMAL, -10);
    tiny_add(y, "b", MD_TOKEN_NORMAL, -11);
    tiny_add(y, "c", MD_TOKEN_NORMAL, -12);
    tiny_add(y, M, MD_TOKEN_NORMAL, -13);
    tiny_add(y, "ab", MD_TOKEN_NORMAL, -2);
    tiny_add(y, "bc", MD_TOKEN_NORMAL, -1);
    tiny_add(y, M "a", MD_TOKEN_NORMAL, -3);
    tiny_add(y, "abc", MD_TOKEN_NORMAL, -4);
    return y;
}

static void scores_decide(void **state)
{
    (void)state;
    tiny *y = abc();
    const md_tokenizer *t = tiny_make(y);
    assert_string_equal(md_tokenizer_kind(t), "spm");
    assert_string_equal(md_tokenizer_pre(t), "");
    assert_tokens(t, "ab", MD_TOKENIZE_INNER, AB);
    assert_tokens(t, "abc", MD_TOKENIZE_INNER, ABC); /* bc, then a + bc */
    assert_tokens(t, "abab", MD_TOKENIZE_INNER, AB, AB);
    assert_tokens(t, "bbc", MD_TOKENIZE_INNER, B, BC);
    tiny_free(y);
}

static void spaces_in_front(void **state)
{
    (void)state;
    tiny *y = abc();
    const md_tokenizer *t = tiny_make(y);
    assert_tokens(t, "", 0, );
    assert_tokens(t, "", MD_TOKENIZE_BOS, BOS);
    assert_tokens(t, "a", 0, MARK_A);
    assert_tokens(t, "a", MD_TOKENIZE_BOS, BOS, MARK_A);
    assert_tokens(t, "a", MD_TOKENIZE_INNER, A);
    assert_tokens(t, " a", MD_TOKENIZE_INNER, MARK_A);
    assert_tokens(t, " a", 0, MARK, MARK_A);
    assert_tokens(t, "a  a", MD_TOKENIZE_INNER, A, MARK, MARK_A);
    assert_tokens(t, "c" M "a", MD_TOKENIZE_INNER, C, MARK_A); /* the mark itself is a space, too */
    /* after a special token a text begins anew */
    assert_tokens(t, "a</s>a", MD_TOKENIZE_SPECIAL | MD_TOKENIZE_INNER, A, EOS, MARK_A);
    md_tokenizer_free(y->t);
    y->v.add_space_prefix = 0;
    t = tiny_make(y);
    assert_tokens(t, "a", 0, A);
    tiny_free(y);
}

/* Cutting at spaces must not be seen: here a token holds one inside, and nothing may be cut. */
static void tokens_across_spaces(void **state)
{
    (void)state;
    tiny *y = abc();
    const int32_t inside = tiny_add(y, "ab" M, MD_TOKEN_NORMAL, -0.5f);
    const md_tokenizer *t = tiny_make(y);
    assert_tokens(t, "ab a", MD_TOKENIZE_INNER, inside, A);
    tiny_free(y);
}

static void fallbacks(void **state)
{
    (void)state;
    tiny *y = abc();
    const md_tokenizer *t = tiny_make(y);
    assert_tokens(t, "a\xc3\xa9\xff", MD_TOKENIZE_INNER, A, BYTES + 0xc3, BYTES + 0xa9, BYTES + 0xff);
    assert_tokens(t,
                  "\xe4"
                  "abc",
                  MD_TOKENIZE_INNER, BYTES + 0xe4, ABC); /* a broken character takes nothing along */
    md_tokenizer_free(y->t);
    y->type[BYTES + 0xa9] = MD_TOKEN_UNUSED;
    t = tiny_make(y);
    assert_tokens(t, "a\xc3\xa9z", MD_TOKENIZE_INNER, A, UNK, BYTES + 'z');
    md_tokenizer_free(y->t);
    y->t = NULL;
    y->v.unk = -1;
    tiny_refused(y, MD_ERR_FORMAT, "<0xA9>");
    tiny_free(y);
}

static void text_never_becomes_a_control_token(void **state)
{
    (void)state;
    tiny *y = abc();
    const int32_t lt = tiny_add(y, "<", MD_TOKEN_NORMAL, -20), slash = tiny_add(y, "/", MD_TOKEN_NORMAL, -20);
    const int32_t s = tiny_add(y, "s", MD_TOKEN_NORMAL, -20), gt = tiny_add(y, ">", MD_TOKEN_NORMAL, -20);
    const int32_t left = tiny_add(y, "</", MD_TOKEN_NORMAL, -5), right = tiny_add(y, "s>", MD_TOKEN_NORMAL, -5);
    const md_tokenizer *t = tiny_make(y);
    assert_tokens(t, "</s>", MD_TOKENIZE_INNER, left, right); /* not 2, whatever its score */
    assert_tokens(t, "</s>", MD_TOKENIZE_SPECIAL, EOS);
    assert_tokens(t, "<s/>", MD_TOKENIZE_INNER, lt, s, slash, gt);
    assert_tokens(t, "<0x41>", MD_TOKENIZE_INNER, lt, BYTES + '0', BYTES + 'x', BYTES + '4', BYTES + '1', gt);
    tiny_free(y);
}

static void equal_scores_merge_from_the_left(void **state)
{
    (void)state;
    tiny *y = pieces();
    const int32_t a = tiny_add(y, "a", MD_TOKEN_NORMAL, -9), aa = tiny_add(y, "aa", MD_TOKEN_NORMAL, -0.0f);
    const int32_t ab = tiny_add(y, "ab", MD_TOKEN_NORMAL, 0.0f), b = tiny_add(y, "b", MD_TOKEN_NORMAL, -9);
    const md_tokenizer *t = tiny_make(y);
    assert_tokens(t, "aab", MD_TOKENIZE_INNER, aa, b);
    assert_tokens(t, "aaab", MD_TOKENIZE_INNER, aa, ab);
    assert_tokens(t, "aba", MD_TOKENIZE_INNER, ab, a);
    tiny_free(y);
}

static void texts_of_tokens(void **state)
{
    (void)state;
    tiny *y = abc();
    const int32_t user = tiny_add(y, "  ", MD_TOKEN_USER_DEFINED, 0);
    const md_tokenizer *t = tiny_make(y);
    size_t n;
    assert_memory_equal(md_token_bytes(t, MARK_A, &n), " a", 2);
    assert_int_equal(n, 2);
    assert_memory_equal(md_token_bytes(t, BYTES + 0xe2, &n), "\xe2", 1);
    assert_int_equal(n, 1);
    assert_tokens(t, "a  a", MD_TOKENIZE_INNER, A, user, MARK_A);
    tiny_free(y);
}

static void refusals(void **state)
{
    (void)state;
    tiny *y = abc();
    y->score[A] = NAN;
    tiny_refused(y, MD_ERR_FORMAT, "score of token 259");
    y->v.score = NULL;
    tiny_refused(y, MD_ERR_FORMAT, "scores");
    tiny_free(y);
}

/* The BPE on characters: merges as in BPE, spaces and bytes as in SentencePiece, lines of newlines whole. */
static void bpe_on_characters(void **state)
{
    (void)state;
    tiny *y = pieces();
    y->v.model = "gemma4";
    y->v.add_bos = 0; /* such models fail without: not believed */
    const int32_t a = tiny_add(y, "a", MD_TOKEN_NORMAL, 0);
    tiny_add(y, "b", MD_TOKEN_NORMAL, 0);
    const int32_t mark = tiny_add(y, M, MD_TOKEN_NORMAL, 0);
    const int32_t lf = tiny_add(y, "\n", MD_TOKEN_NORMAL, 0), lf3 = tiny_add(y, "\n\n\n", MD_TOKEN_NORMAL, 0);
    tiny_merge(y, M, "a", false);
    const int32_t mark_a = lf3 + 1;
    tiny_merge(y, M "a", "b", false);
    const int32_t mark_ab = lf3 + 2;
    const md_tokenizer *t = tiny_make(y);
    assert_string_equal(md_tokenizer_kind(t), "bpe");
    assert_string_equal(md_tokenizer_pre(t), "gemma4");
    assert_tokens(t, "a ab a", MD_TOKENIZE_BOS, BOS, a, mark_ab, mark_a);
    assert_tokens(t, "a\n\n\na\n\n", 0, a, lf3, a, lf, lf);
    assert_tokens(t, "a  \xc3\xa9\xff", 0, a, mark, mark, BYTES + 0xc3, BYTES + 0xa9, BYTES + 0xff);
    tiny_free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_decide),
        cmocka_unit_test(spaces_in_front),
        cmocka_unit_test(tokens_across_spaces),
        cmocka_unit_test(fallbacks),
        cmocka_unit_test(text_never_becomes_a_control_token),
        cmocka_unit_test(equal_scores_merge_from_the_left),
        cmocka_unit_test(texts_of_tokens),
        cmocka_unit_test(refusals),
        cmocka_unit_test(bpe_on_characters),
    };
    return cmocka_run_group_tests_name("text/tok_spm", tests, NULL, NULL);
}
