/* SPDX-License-Identifier: Apache-2.0
 *
 * SentencePiece unigram on vocabularies made for the purpose: the best sum of scores wins, normalisation and spaces
 * come out as SentencePiece has them, what no piece says becomes bytes or one unknown token. */
#include "tok_charsmap_make.h"
#include "tok_tiny.h"

#include <math.h>

#define M "\xe2\x96\x81"

enum { PAD, EOS, UNK, MARK, A, B, AB, MARK_A, BB, MARK_AB, ABB };

/* Ids: 0 <pad>, 1 </s>, 2 <unk>, then pieces. */
static tiny *pieces(void)
{
    tiny *y = tiny_new("t5", "default");
    tiny_add(y, "<pad>", MD_TOKEN_CONTROL, 0);
    tiny_add(y, "</s>", MD_TOKEN_CONTROL, 0);
    tiny_add(y, "<unk>", MD_TOKEN_UNKNOWN, 0);
    tiny_add(y, M, MD_TOKEN_NORMAL, -2);
    tiny_add(y, "a", MD_TOKEN_NORMAL, -3);
    tiny_add(y, "b", MD_TOKEN_NORMAL, -4);
    tiny_add(y, "ab", MD_TOKEN_NORMAL, -6.5f);
    tiny_add(y, M "a", MD_TOKEN_NORMAL, -4.5f);
    tiny_add(y, "bb", MD_TOKEN_NORMAL, -5);
    tiny_add(y, M "ab", MD_TOKEN_NORMAL, -9);
    tiny_add(y, "abb", MD_TOKEN_NORMAL, -8);
    y->v.unk = UNK;
    y->v.eos = EOS;
    return y;
}

static void the_best_sum_wins(void **state)
{
    (void)state;
    tiny *y = pieces();
    const md_tokenizer *t = tiny_make(y);
    assert_string_equal(md_tokenizer_kind(t), "unigram");
    assert_tokens(t, "a", MD_TOKENIZE_INNER, A);
    assert_tokens(t, "ab", MD_TOKENIZE_INNER, AB); /* -6.5 against -7 */
    assert_tokens(t, "abab", MD_TOKENIZE_INNER, AB, AB);
    /* of equals the one whose last piece begins first */
    assert_tokens(t, "abb", MD_TOKENIZE_INNER, ABB);
    assert_tokens(t, "bbb", MD_TOKENIZE_INNER, B, BB);
    assert_tokens(t, "ab", 0, MARK, AB);
    assert_tokens(t, "a", MD_TOKENIZE_BOS, MARK_A, EOS); /* an EOS unless the file says otherwise, no BOS */
    md_tokenizer_free(y->t);
    y->v.add_eos = 0;
    t = tiny_make(y);
    assert_tokens(t, "a", MD_TOKENIZE_BOS, MARK_A);
    tiny_free(y);
}

/* Slow and plain: the best of all ways to cut, by trying each. */
static double try_all(const tiny *y, const char *s, size_t n)
{
    if (n == 0)
        return 0;
    double best = -INFINITY;
    for (size_t i = 0; i < y->v.n_tokens; i++) {
        const md_vocab_str p = y->token[i];
        if (y->type[i] == MD_TOKEN_NORMAL && p.n <= n && memcmp(p.s, s, p.n) == 0)
            best = fmax(best, (double)y->score[i] + try_all(y, s + p.n, n - p.n));
    }
    return best;
}

static void no_other_way_is_better(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (int round = 0; round < 300; round++) {
        tiny *y = tiny_new("t5", NULL);
        tiny_add(y, "<unk>", MD_TOKEN_UNKNOWN, 0);
        y->v.unk = 0;
        y->v.add_space_prefix = 0;
        for (char c = 'a'; c <= 'c'; c++)
            tiny_add(y, (char[2]){c, '\0'}, MD_TOKEN_NORMAL, -1.0f - (float)(tiny_random(&seed) % 64) / 8);
        for (int i = 0; i < 12; i++) {
            char name[8] = "";
            const size_t n = 2 + tiny_random(&seed) % 4;
            for (size_t k = 0; k < n; k++)
                name[k] = (char)('a' + tiny_random(&seed) % 3);
            bool exists = false;
            for (size_t k = 0; k < y->v.n_tokens; k++)
                exists = exists || (y->token[k].n == n && memcmp(y->token[k].s, name, n) == 0);
            if (!exists)
                tiny_add(y, name, MD_TOKEN_NORMAL, -1.0f - (float)(tiny_random(&seed) % 128) / 8);
        }
        const md_tokenizer *t = tiny_make(y);
        char text[13];
        const size_t n = 1 + tiny_random(&seed) % 12;
        for (size_t i = 0; i < n; i++)
            text[i] = (char)('a' + tiny_random(&seed) % 3);
        md_tokens got = tok_ids(t, text, n, 0);
        double sum = 0;
        size_t at = 0;
        for (size_t i = 0; i < got.n; i++) {
            const md_vocab_str p = y->token[got.id[i]];
            assert_true(p.n <= n - at && memcmp(text + at, p.s, p.n) == 0);
            at += p.n;
            sum += (double)y->score[got.id[i]];
        }
        assert_int_equal(at, n);
        assert_true(fabs(sum - try_all(y, text, n)) < 1e-9); /* eighths add exactly */
        md_tokens_done(&got);
        tiny_free(y);
    }
}

static void unknown_text(void **state)
{
    (void)state;
    tiny *y = pieces();
    const md_tokenizer *t = tiny_make(y);
    assert_tokens(t, "xyz", MD_TOKENIZE_INNER, UNK); /* one for a run */
    assert_tokens(t, "xax", MD_TOKENIZE_INNER, UNK, A, UNK);
    assert_tokens(t, "a\xffx", MD_TOKENIZE_INNER, A, UNK); /* U+FFFD for what is not UTF-8 */
    assert_tokens(t, "</s>a", MD_TOKENIZE_INNER, UNK, A);
    assert_tokens(t, "</s>a", MD_TOKENIZE_SPECIAL, EOS, MARK_A); /* a text begins anew */
    md_tokenizer_free(y->t);
    const int32_t bytes = tiny_byte_names(y);
    t = tiny_make(y);
    assert_tokens(t, "a\xc3\xa9", MD_TOKENIZE_INNER, A, bytes + 0xc3, bytes + 0xa9);
    assert_tokens(t, "\xff", MD_TOKENIZE_INNER, bytes + 0xef, bytes + 0xbf, bytes + 0xbd);
    assert_tokens(t, "<0x41>", MD_TOKENIZE_INNER, bytes + '<', bytes + '0', bytes + 'x', bytes + '4', bytes + '1',
                  bytes + '>');
    tiny_free(y);
}

static void spaces(void **state)
{
    (void)state;
    tiny *y = pieces();
    const md_tokenizer *t = tiny_make(y);
    assert_tokens(t, "", 0, );
    assert_tokens(t, " ", 0, MARK, MARK);
    assert_tokens(t, "a  b ", 0, MARK_A, MARK, MARK, B, MARK);
    md_tokenizer_free(y->t);
    y->v.merge_spaces = 1;
    t = tiny_make(y);
    assert_tokens(t, "   ", 0, );
    assert_tokens(t, "  a   b  ", 0, MARK_A, MARK, B);
    assert_tokens(t, " a", MD_TOKENIZE_INNER, A);
    md_tokenizer_free(y->t);
    y->v.add_space_prefix = 0;
    t = tiny_make(y);
    assert_tokens(t, " a  a", 0, A, MARK_A);
    tiny_free(y);
}

/* A piece with a mark inside: then words must not be cut apart. */
static void pieces_across_words(void **state)
{
    (void)state;
    tiny *y = pieces();
    const int32_t across = tiny_add(y, "b" M "a", MD_TOKEN_NORMAL, -1);
    const md_tokenizer *t = tiny_make(y);
    assert_tokens(t, "ab ab", 0, MARK_A, across, B);
    tiny_free(y);
}

static const replaced rules[] = {
    {"A", "a"},
    {"\t", " "},
    {"\xc3\x84", "ab"}, /* A umlaut */
    {"\xef\xac\x80", "bb"},
    {"\xc2\xad", ""}, /* soft hyphen */
    {"\xe2\x80\x83", "  "},
    {"x", "X"},
    {"xyz", "b"},
};

static tiny *normalizing(unsigned char table[CHARSMAP_MAX])
{
    tiny *y = pieces();
    y->v.charsmap_bytes = charsmap_make(rules, sizeof rules / sizeof rules[0], table);
    y->v.charsmap = table;
    return y;
}

static void normal_forms(void **state)
{
    (void)state;
    unsigned char *table = malloc(CHARSMAP_MAX);
    assert_non_null(table);
    tiny *y = normalizing(table);
    const md_tokenizer *t = tiny_make(y);
    assert_tokens(t, "A", MD_TOKENIZE_INNER, A);
    assert_tokens(t, "\xc3\x84", MD_TOKENIZE_INNER, AB);
    assert_tokens(t, "a\xef\xac\x80", MD_TOKENIZE_INNER, ABB);
    assert_tokens(t,
                  "a\xc2\xad"
                  "b",
                  MD_TOKENIZE_INNER, AB);
    assert_tokens(t, "a\tA", MD_TOKENIZE_INNER, A, MARK_A);
    assert_tokens(t, "xyza", MD_TOKENIZE_INNER, B, A); /* the longest sequence */
    assert_tokens(t, "xya", MD_TOKENIZE_INNER, UNK, A);
    assert_tokens(t, "\xc2\xad", 0, MARK);
    md_tokenizer_free(y->t);
    y->v.merge_spaces = 1;
    t = tiny_make(y);
    assert_tokens(t, "\t a \t b\xe2\x80\x83", 0, MARK_A, MARK, B);
    assert_tokens(t, "a\xe2\x80\x83 b", 0, MARK_A, MARK, MARK, B); /* two spaces at once stay two */
    assert_tokens(t, "\xc2\xad", 0, );
    tiny_free(y);
    free(table);
}

static void broken_tables_are_refused(void **state)
{
    (void)state;
    unsigned char *table = malloc(CHARSMAP_MAX);
    assert_non_null(table);
    tiny *y = normalizing(table);
    const size_t whole = y->v.charsmap_bytes;
    for (size_t n = 1; n < 4; n++) {
        y->v.charsmap_bytes = n;
        tiny_refused(y, MD_ERR_FORMAT, "cut short");
    }
    y->v.charsmap_bytes = 4 + 4 * CHARSMAP_UNITS; /* no replacements */
    tiny_refused(y, MD_ERR_FORMAT, "claims a trie");
    y->v.charsmap_bytes = whole - 1;
    tiny_refused(y, MD_ERR_FORMAT, "no end");
    y->v.charsmap_bytes = whole;
    table[0] = 2; /* not a number of units */
    tiny_refused(y, MD_ERR_FORMAT, "claims a trie");
    table[0] = 0;
    memset(table + 4 + 4 * CHARSMAP_UNITS, 'x', 600);
    table[4 + 4 * CHARSMAP_UNITS + 600] = '\0';
    y->v.charsmap_bytes = 4 + 4 * CHARSMAP_UNITS + 601;
    tiny_refused(y, MD_ERR_UNSUPPORTED, "600 bytes");
    tiny_free(y);
    free(table);
}

/* Tables that are valid as far as can be checked and nonsense otherwise: whatever they lead to, nothing breaks. */
static void nonsense_tables_do_no_harm(void **state)
{
    (void)state;
    unsigned char *table = malloc(CHARSMAP_MAX);
    assert_non_null(table);
    uint64_t seed = 9;
    for (int round = 0; round < 200; round++) {
        tiny *y = normalizing(table);
        for (int k = 0; k < 400; k++)
            table[4 + tiny_random(&seed) % (4 * CHARSMAP_UNITS)] = (unsigned char)tiny_random(&seed);
        const md_tokenizer *t = tiny_make(y);
        char text[200];
        for (size_t i = 0; i < sizeof text; i++)
            text[i] = (char)(tiny_random(&seed) % 2 ? "Aax\xc3\x84\t"[tiny_random(&seed) % 6]
                                                    : (int)tiny_random(&seed));
        md_tokens got = tok_ids(t, text, sizeof text, 0);
        assert_true(got.n > 0);
        md_tokens_done(&got);
        tiny_free(y);
    }
    free(table);
}

static void refusals(void **state)
{
    (void)state;
    tiny *y = pieces();
    y->v.unk = -1;
    tiny_refused(y, MD_ERR_FORMAT, "<0x00>");
    y->v.unk = UNK;
    y->v.score = NULL;
    tiny_refused(y, MD_ERR_FORMAT, "scores");
    y->v.score = y->score;
    y->score[A] = NAN;
    tiny_refused(y, MD_ERR_FORMAT, "not a number");
    tiny_free(y);
}

static void decoding(void **state)
{
    (void)state;
    tiny *y = pieces();
    const md_tokenizer *t = tiny_make(y);
    size_t n;
    char *text = tok_decode(t, (int32_t[]){MARK_A, B, MARK_AB, EOS}, 4, false, true, &n);
    assert_string_equal(text, "ab ab");
    free(text);
    tiny_free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_sum_wins),
        cmocka_unit_test(no_other_way_is_better),
        cmocka_unit_test(unknown_text),
        cmocka_unit_test(spaces),
        cmocka_unit_test(pieces_across_words),
        cmocka_unit_test(normal_forms),
        cmocka_unit_test(broken_tables_are_refused),
        cmocka_unit_test(nonsense_tables_do_no_harm),
        cmocka_unit_test(refusals),
        cmocka_unit_test(decoding),
    };
    return cmocka_run_group_tests_name("text/tok_unigram", tests, NULL, NULL);
}
