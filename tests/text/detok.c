/* SPDX-License-Identifier: Apache-2.0
 *
 * The incremental detokenizer: characters whole, broken bytes as U+FFFD, special tokens shown or dropped, the leading
 * space of SentencePiece. */
#include "tok_tiny.h"

#define BAD "\xef\xbf\xbd"

static void push(md_detok *d, int32_t id, const char *want)
{
    const char *s = NULL;
    size_t n = 99;
    assert_int_equal(md_detok_push(d, id, &s, &n, NULL), MD_OK);
    assert_non_null(s);
    assert_int_equal(n, strlen(want));
    assert_memory_equal(s, want, n);
}

static void finish(md_detok *d, const char *want)
{
    const char *s = NULL;
    size_t n = 99;
    assert_int_equal(md_detok_finish(d, &s, &n, NULL), MD_OK);
    assert_non_null(s);
    assert_int_equal(n, strlen(want));
    assert_memory_equal(s, want, n);
}

static void characters_are_whole(void **state)
{
    (void)state;
    tiny *y = tiny_new("gpt2", "gpt-2");
    tiny_bytes(y);
    md_detok *d = md_detok_new(tiny_make(y), false, true);
    assert_non_null(d);
    push(d, 'a', "a");
    push(d, 0xe2, "");
    push(d, 0x82, "");
    push(d, 0xac, "\xe2\x82\xac");
    push(d, 0xf0, "");
    push(d, 0x9f, "");
    push(d, 0x98, "");
    push(d, 0x80, "\xf0\x9f\x98\x80");
    finish(d, "");
    push(d, 0xe2, "");
    push(d, 'x', BAD "x"); /* it never becomes whole */
    push(d, 0xe2, "");
    finish(d, BAD);
    push(d, 0xac, BAD); /* what was held back is gone: a new text */
    finish(d, "");
    md_detok_free(d);
    tiny_free(y);
}

/* One U+FFFD for each maximal part of a character: the examples of the Unicode standard, tables 3-8 to 3-11. */
static void broken_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *shown;
    } cases[] = {
        {"\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41", BAD BAD BAD BAD BAD BAD BAD BAD "A"},
        {"\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41", BAD BAD BAD BAD BAD BAD BAD BAD "A"},
        {"\xf4\x91\x92\x93\xff\x41\x80\xbf\x42", BAD BAD BAD BAD BAD "A" BAD BAD "B"},
        {"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", BAD BAD BAD BAD "A"},
    };
    tiny *y = tiny_new("gpt2", "gpt-2");
    tiny_bytes(y);
    const md_tokenizer *t = tiny_make(y);
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        int32_t id[16];
        const size_t count = strlen(cases[c].bytes);
        for (size_t i = 0; i < count; i++)
            id[i] = (unsigned char)cases[c].bytes[i];
        size_t n;
        char *s = tok_decode(t, id, count, false, true, &n);
        assert_string_equal(s, cases[c].shown);
        free(s);
    }
    tiny_free(y);
}

static void special_tokens(void **state)
{
    (void)state;
    tiny *y = tiny_new("gpt2", "gpt-2");
    tiny_bytes(y);
    const int32_t control = tiny_add(y, "<|im_end|>", MD_TOKEN_CONTROL, 0);
    const int32_t user = tiny_add(y, "<think>", MD_TOKEN_USER_DEFINED, 0);
    const int32_t unused = tiny_add(y, "[PAD]", MD_TOKEN_UNUSED, 0);
    const md_tokenizer *t = tiny_make(y);
    md_detok *d = md_detok_new(t, false, true);
    push(d, control, "");
    push(d, user, "<think>");
    push(d, unused, "");
    const char *s = NULL;
    size_t n;
    md_error err = {0};
    assert_int_equal(md_detok_push(d, md_tokenizer_size(t), &s, &n, &err), MD_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "259"));
    assert_int_equal(md_detok_push(d, -1, &s, &n, NULL), MD_ERR_ARGUMENT);
    md_detok_free(d);
    d = md_detok_new(t, true, true);
    push(d, control, "<|im_end|>");
    push(d, 0xe2, "");
    push(d, control, BAD "<|im_end|>");
    push(d, unused, "[PAD]");
    md_detok_free(d);
    md_detok_free(NULL);
    tiny_free(y);
}

static void leading_space(void **state)
{
    (void)state;
    tiny *y = tiny_new("llama", NULL);
    y->v.unk = tiny_add(y, "<unk>", MD_TOKEN_UNKNOWN, 0);
    const int32_t bos = tiny_add(y, "<s>", MD_TOKEN_CONTROL, 0);
    const int32_t hello = tiny_add(y, "\xe2\x96\x81hello", MD_TOKEN_NORMAL, 0);
    const int32_t space = tiny_add(y, "\xe2\x96\x81", MD_TOKEN_NORMAL, 0);
    const md_tokenizer *t = tiny_make(y);
    md_detok *d = md_detok_new(t, false, true);
    push(d, bos, "");
    push(d, hello, "hello");
    push(d, hello, " hello");
    finish(d, "");
    push(d, space, "");
    push(d, hello, " hello");
    md_detok_free(d);
    d = md_detok_new(t, false, false); /* goes on from an earlier text */
    push(d, hello, " hello");
    md_detok_free(d);
    md_tokenizer_free(y->t);
    y->v.add_space_prefix = 0; /* none was added, none is taken away */
    t = tiny_make(y);
    d = md_detok_new(t, false, true);
    push(d, hello, " hello");
    md_detok_free(d);
    tiny_free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(characters_are_whole),
        cmocka_unit_test(broken_bytes),
        cmocka_unit_test(special_tokens),
        cmocka_unit_test(leading_space),
    };
    return cmocka_run_group_tests_name("text/detok", tests, NULL, NULL);
}
