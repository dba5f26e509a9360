/* SPDX-License-Identifier: Apache-2.0
 *
 * Byte-level BPE on a vocabulary made for the purpose: merging, special tokens, bytes that are missing, whole words,
 * and every refusal of a malformed vocabulary. */
#include "tok_tiny.h"

enum { H = 'h', E = 'e', L = 'l', O = 'o', SP = ' ' };

/* Token 256: he, 257: ll, 258: llo, 259: hello, 260: " h" and so on. */
static tiny *hello(const char *pre)
{
    tiny *y = tiny_new("gpt2", pre);
    tiny_bytes(y);
    tiny_merge(y, "h", "e", false);        /* 256 */
    tiny_merge(y, "l", "l", false);        /* 257 */
    tiny_merge(y, "ll", "o", false);       /* 258 */
    tiny_merge(y, "he", "llo", false);     /* 259 */
    tiny_merge(y, "\xc4\xa0", "h", false); /* 260: space is U+0120 */
    return y;
}

static void merges_go_by_rank(void **state)
{
    (void)state;
    tiny *y = hello("gpt-2");
    const md_tokenizer *t = tiny_make(y);
    assert_tokens(t, "", 0, );
    assert_tokens(t, "hello", 0, 259);
    assert_tokens(t, "hellhello", 0, 256, 257, 259);
    assert_tokens(t, " hello", 0, SP, 259); /* "h e" has the lower rank, so " h" never forms */
    assert_tokens(t, " hi", 0, 260, 'i');
    assert_tokens(t, "lll", 0, 257, L); /* leftmost first */
    assert_string_equal(md_tokenizer_kind(t), "bpe");
    assert_string_equal(md_tokenizer_pre(t), "gpt-2");
    tiny_free(y);
}

static void files_may_name_no_rule(void **state)
{
    (void)state;
    const char *names[] = {NULL, "", "default"};
    for (size_t i = 0; i < 3; i++) {
        tiny *y = hello(names[i]);
        assert_string_equal(md_tokenizer_pre(tiny_make(y)), "default");
        tiny_free(y);
    }
}

static void merges_stay_inside_words(void **state)
{
    (void)state;
    tiny *y = hello("gpt-2");
    tiny_merge(y, "o", "\xc4\xa0", false); /* "o " */
    tiny_merge(y, "1", "2", false);
    const md_tokenizer *t = tiny_make(y);
    assert_tokens(t, "o o", 0, O, SP, O);
    assert_tokens(t, "12", 0, 262);
    tiny_free(y);
    y = hello("smollm"); /* digits stand alone */
    tiny_merge(y, "1", "2", false);
    assert_tokens(tiny_make(y), "12", 0, '1', '2');
    tiny_free(y);
}

static void special_tokens_on_request(void **state)
{
    (void)state;
    tiny *y = hello("gpt-2");
    const int32_t start = tiny_add(y, "<|im_start|>", MD_TOKEN_CONTROL, 0);
    const int32_t tool = tiny_add(y, "<tool>", MD_TOKEN_USER_DEFINED, 0);
    const int32_t tools = tiny_add(y, "<tool>s", MD_TOKEN_USER_DEFINED, 0);
    const int32_t ol = tiny_add(y, "ol>", MD_TOKEN_CONTROL, 0);
    const int32_t unk = tiny_add(y, "<unk>", MD_TOKEN_UNKNOWN, 0);
    const md_tokenizer *t = tiny_make(y);
    assert_tokens(t, "<|im_start|>hello", MD_TOKENIZE_SPECIAL, start, 259);
    assert_tokens(t, "hello<|im_start|><|im_start|>", MD_TOKENIZE_SPECIAL, 259, start, start);
    assert_tokens(t, "<|im_start|", MD_TOKENIZE_SPECIAL, '<', '|', 'i', 'm', '_', 's', 't', 'a', 'r', 't', '|');
    assert_tokens(t, "<tool>", 0, tool);
    assert_tokens(t, "<tool>s", 0, tools);                 /* longest */
    assert_tokens(t, "<tool>", MD_TOKENIZE_SPECIAL, tool); /* leftmost */
    assert_tokens(t, "<ol>", MD_TOKENIZE_SPECIAL, '<', ol);
    assert_tokens(t, "<ol>", 0, '<', O, L, '>'); /* control tokens stay text */
    assert_tokens(t, "<unk>", MD_TOKENIZE_SPECIAL, unk);
    assert_tokens(t, "<unk>", 0, '<', 'u', 'n', 'k', '>');
    assert_true(md_token_is_special(t, start));
    assert_true(md_token_is_special(t, unk));
    assert_false(md_token_is_special(t, tool));
    assert_false(md_token_is_special(t, -1));
    assert_false(md_token_is_special(t, md_tokenizer_size(t)));
    tiny_free(y);
}

static void text_never_becomes_a_control_token(void **state)
{
    (void)state;
    tiny *y = hello("llama-bpe"); /* where a whole word may be a token */
    const int32_t control = tiny_add(y, "ab", MD_TOKEN_CONTROL, 0);
    tiny_merge(y, "a", "b", true);
    const md_tokenizer *t = tiny_make(y);
    assert_tokens(t, "ab", 0, 'a', 'b');
    assert_tokens(t, "ab", MD_TOKENIZE_SPECIAL, control);
    tiny_free(y);
}

static void whole_words_where_the_rule_says_so(void **state)
{
    (void)state;
    for (int whole = 0; whole < 2; whole++) {
        tiny *y = hello(whole ? "llama-bpe" : "gpt-2");
        const int32_t word = tiny_add(y, "\xc4\xa0wxyz", MD_TOKEN_NORMAL, 0); /* no merge leads there */
        const md_tokenizer *t = tiny_make(y);
        if (whole)
            assert_tokens(t, " wxyz", 0, word);
        else
            assert_tokens(t, " wxyz", 0, SP, 'w', 'x', 'y', 'z');
        tiny_free(y);
    }
}

static void bos_and_eos(void **state)
{
    (void)state;
    tiny *y = hello("gpt-2");
    y->v.bos = tiny_add(y, "<s>", MD_TOKEN_CONTROL, 0);
    y->v.eos = tiny_add(y, "<e>", MD_TOKEN_CONTROL, 0);
    const int32_t bos = y->v.bos, eos = y->v.eos;
    const md_tokenizer *t = tiny_make(y);
    assert_false(md_tokenizer_adds_bos(t));
    assert_tokens(t, "he", MD_TOKENIZE_BOS, 256);
    assert_int_equal(md_token_bos(t), bos);
    assert_int_equal(md_token_eos(t), eos);
    md_tokenizer_free(y->t);
    y->v.add_bos = y->v.add_eos = 1;
    t = tiny_make(y);
    assert_tokens(t, "he", MD_TOKENIZE_BOS, bos, 256, eos);
    assert_tokens(t, "", MD_TOKENIZE_BOS, bos, eos);
    assert_tokens(t, "he", 0, 256);
    md_tokenizer_free(y->t);
    y->v.add_bos = y->v.add_eos = -1;
    y->v.pre = "llama-bpe"; /* adds one by default */
    t = tiny_make(y);
    assert_tokens(t, "he", MD_TOKENIZE_BOS, bos, 256);
    md_tokenizer_free(y->t);
    y->v.add_bos = 0;
    t = tiny_make(y);
    assert_tokens(t, "he", MD_TOKENIZE_BOS, 256);
    tiny_free(y);
}

static void any_bytes_are_accepted(void **state)
{
    (void)state;
    tiny *y = hello("gpt-2");
    const md_tokenizer *t = tiny_make(y);
    assert_tokens(t, "he\xff\xc3(he\xe2\x82", 0, 256, 0xff, 0xc3, '(', 256, 0xe2, 0x82);
    assert_tokens(t, "\xed\xa0\x80", 0, 0xed, 0xa0, 0x80); /* a surrogate */
    tiny_free(y);
}

static void bytes_the_vocabulary_lacks(void **state)
{
    (void)state;
    tiny *y = hello("gpt-2");
    y->token[4] = tiny_keep(y, "?1", 2); /* no byte 0x04, no byte 0xff any more */
    y->token[255] = tiny_keep(y, "?2", 2);
    const md_tokenizer *t = tiny_make(y);
    assert_tokens(t,
                  "h\x04"
                  "e",
                  0, H, E); /* a control character is no part of the word "e" */
    assert_tokens(t, "\x04", 0, );
    assert_tokens(t, "he\xff", 0, 256, 0xef, 0xbf, 0xbd);
    md_tokenizer_free(y->t);
    y->v.unk = tiny_add(y, "<unk>", MD_TOKEN_UNKNOWN, 0);
    const int32_t unk = y->v.unk;
    t = tiny_make(y);
    assert_tokens(t, "\x04\x04", 0, unk, unk);
    tiny_free(y);
}

static void a_failure_leaves_the_list_alone(void **state)
{
    (void)state;
    tiny *y = hello("gpt-2");
    const md_tokenizer *t = tiny_make(y);
    md_tokens out = {0};
    md_error err = {0};
    assert_int_equal(md_tokens_push(&out, 7, &err), MD_OK);
    assert_int_equal(md_tokenize(t, "he", 2, 64, &out, &err), MD_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "0x40"));
    assert_int_equal(md_tokenize(t, NULL, 2, 0, &out, &err), MD_ERR_ARGUMENT);
    assert_int_equal(md_tokenize(t, NULL, 0, 0, &out, &err), MD_OK);
    assert_int_equal(out.n, 1);
    assert_int_equal(md_tokenize(t, "he", 2, 0, &out, &err), MD_OK); /* appends */
    assert_int_equal(out.n, 2);
    assert_int_equal(out.id[0], 7);
    assert_int_equal(out.id[1], 256);
    md_tokens_done(&out);
    assert_null(out.id);
    tiny_free(y);
}

static void questions_about_tokens(void **state)
{
    (void)state;
    tiny *y = hello("gpt-2");
    const int32_t end = tiny_add(y, "<|im_end|>", MD_TOKEN_CONTROL, 0);
    const int32_t odd = tiny_add(y, "\xe6\xbc\xa2\xc4\xa0", MD_TOKEN_NORMAL, 0); /* U+6F22 is not in the alphabet */
    const md_tokenizer *t = tiny_make(y);
    size_t n;
    assert_int_equal(md_tokenizer_size(t), 263);
    assert_memory_equal(md_token_bytes(t, 260, &n), " h", 2);
    assert_int_equal(n, 2);
    assert_memory_equal(md_token_bytes(t, end, &n), "<|im_end|>", 10);
    assert_memory_equal(md_token_bytes(t, odd, &n), "\xe6\xbc\xa2\xc4\xa0", 5);
    for (int b = 0; b < 256; b++) {
        const char *s = md_token_bytes(t, b, &n);
        assert_int_equal(n, 1);
        assert_int_equal((unsigned char)s[0], b);
    }
    assert_null(md_token_bytes(t, 263, &n));
    assert_int_equal(n, 0);
    assert_null(md_token_bytes(t, -1, &n));
    assert_int_equal(md_token_find(t, "<|im_end|>", 10), end);
    assert_int_equal(md_token_find(t, "\xc4\xa0h", 3), 260);
    assert_int_equal(md_token_find(t, "<|im_end|", 9), -1);
    assert_int_equal(md_token_find(t, "", 0), -1);
    tiny_free(y);
}

static void empty_and_repeated_names(void **state)
{
    (void)state;
    tiny *y = hello("gpt-2");
    tiny_add(y, "", MD_TOKEN_CONTROL, 0);
    tiny_add(y, "", MD_TOKEN_NORMAL, 0);
    tiny_add(y, "ll", MD_TOKEN_NORMAL, 0);
    const md_tokenizer *t = tiny_make(y);
    assert_tokens(t, "hello", MD_TOKENIZE_SPECIAL, 259);
    assert_int_equal(md_token_find(t, "ll", 2), 257); /* the first */
    tiny_free(y);
}

static void refusals(void **state)
{
    (void)state;
    tiny *y = hello("gpt-2");
    y->v.model = "rwkv";
    tiny_refused(y, MD_ERR_UNSUPPORTED, "'bert'");
    y->v.model = NULL;
    tiny_refused(y, MD_ERR_UNSUPPORTED, "''");
    y->v.model = "gpt2";
    y->v.pre = "no-such-rule";
    tiny_refused(y, MD_ERR_UNSUPPORTED, "'no-such-rule'");
    y->v.pre = "gpt-2";
    y->v.bos = 100000;
    tiny_refused(y, MD_ERR_FORMAT, "BOS token is 100000");
    y->v.bos = -2;
    tiny_refused(y, MD_ERR_FORMAT, "BOS token is -2");
    y->v.bos = -1;
    y->v.eom = (int32_t)y->v.n_tokens;
    tiny_refused(y, MD_ERR_FORMAT, "EOM");
    y->v.eom = -1;
    y->type[3] = 7;
    tiny_refused(y, MD_ERR_FORMAT, "token 3 has the unknown type 7");
    y->type[3] = MD_TOKEN_NORMAL;
    tiny_merge(y, "h", "q", true);
    tiny_refused(y, MD_ERR_FORMAT, "merge 5, 'h q'");
    y->merge[5] = tiny_keep(y, "hello", 5);
    tiny_refused(y, MD_ERR_FORMAT, "merge 5, 'hello', is not two tokens");
    y->merge[5] = tiny_keep(y, "h ", 2);
    tiny_refused(y, MD_ERR_FORMAT, "merge 5");
    y->merge[5] = (md_vocab_str){.s = "", .n = 0};
    tiny_refused(y, MD_ERR_FORMAT, "merge 5");
    y->v.n_merges--;
    y->v.n_tokens = 0;
    tiny_refused(y, MD_ERR_FORMAT, "0 tokens");
    tiny_free(y);
}

static void long_special_names_are_refused(void **state)
{
    (void)state;
    tiny *y = hello("gpt-2");
    char name[1026];
    memset(name, 'x', sizeof name - 1);
    name[1025] = '\0';
    const int32_t id = tiny_add(y, name, MD_TOKEN_CONTROL, 0);
    tiny_refused(y, MD_ERR_UNSUPPORTED, "special token 261");
    y->token[id].n = 1024;
    assert_tokens(tiny_make(y), "x", MD_TOKENIZE_SPECIAL, 'x');
    tiny_free(y);
}

/* --- ends of an answer --- */

static void check_eog(const tiny *y, const char *name, bool want)
{
    const int32_t id = md_token_find(y->t, name, strlen(name));
    assert_true(id >= 0);
    if (md_token_is_eog(y->t, id) != want)
        fail_msg("%s %s an answer", name, want ? "does not end" : "ends");
}

static void ends_of_an_answer(void **state)
{
    (void)state;
    tiny *y = hello("gpt-2");
    y->v.eos = tiny_add(y, "my-eos", MD_TOKEN_CONTROL, 0);
    y->v.eot = tiny_add(y, "my-eot", MD_TOKEN_CONTROL, 0);
    y->v.eom = tiny_add(y, "my-eom", MD_TOKEN_NORMAL, 0);
    tiny_add(y, "<|im_end|>", MD_TOKEN_CONTROL, 0);
    tiny_add(y, "<|im_start|>", MD_TOKEN_CONTROL, 0);
    tiny_add(y, "<|end|>", MD_TOKEN_USER_DEFINED, 0); /* wrongly typed in some files */
    tiny_add(y, "</s>", MD_TOKEN_NORMAL, 0);          /* could be HTML */
    tiny_add(y,
             "<\xef\xbd\x9c"
             "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>",
             MD_TOKEN_CONTROL, 0);
    tiny_make(y);
    check_eog(y, "my-eos", true);
    check_eog(y, "my-eot", true);
    check_eog(y, "my-eom", true);
    check_eog(y, "<|im_end|>", true);
    check_eog(y, "<|im_start|>", false);
    check_eog(y, "<|end|>", true);
    check_eog(y, "</s>", false);
    check_eog(y,
              "<\xef\xbd\x9c"
              "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>",
              true);
    check_eog(y, "hello", false);
    assert_true(md_token_is_special(y->t, md_token_find(y->t, "<|end|>", 7)));
    assert_false(md_token_is_eog(y->t, -1));
    assert_false(md_token_is_eog(y->t, md_tokenizer_size(y->t)));
    tiny_free(y);
}

/* Where messages have parts, <|end|> is the end of a part. */
static void ends_of_a_part(void **state)
{
    (void)state;
    tiny *y = hello("gpt-4o");
    tiny_add(y, "<|end|>", MD_TOKEN_CONTROL, 0);
    tiny_add(y, "<|call|>", MD_TOKEN_CONTROL, 0);
    const int32_t ret = tiny_add(y, "<|return|>", MD_TOKEN_CONTROL, 0);
    y->v.eos = ret;
    tiny_make(y);
    check_eog(y, "<|end|>", false);
    check_eog(y, "<|call|>", true);
    check_eog(y, "<|return|>", true);
    md_tokenizer_free(y->t);
    y->token[ret] = tiny_keep(y, "<|retour|>", 10); /* without it the name means what it says */
    tiny_make(y);
    check_eog(y, "<|end|>", true);
    tiny_free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_go_by_rank),
        cmocka_unit_test(files_may_name_no_rule),
        cmocka_unit_test(merges_stay_inside_words),
        cmocka_unit_test(special_tokens_on_request),
        cmocka_unit_test(text_never_becomes_a_control_token),
        cmocka_unit_test(whole_words_where_the_rule_says_so),
        cmocka_unit_test(bos_and_eos),
        cmocka_unit_test(any_bytes_are_accepted),
        cmocka_unit_test(bytes_the_vocabulary_lacks),
        cmocka_unit_test(a_failure_leaves_the_list_alone),
        cmocka_unit_test(questions_about_tokens),
        cmocka_unit_test(empty_and_repeated_names),
        cmocka_unit_test(refusals),
        cmocka_unit_test(long_special_names_are_refused),
        cmocka_unit_test(ends_of_an_answer),
        cmocka_unit_test(ends_of_a_part),
    };
    return cmocka_run_group_tests_name("text/tok_bpe", tests, NULL, NULL);
}
