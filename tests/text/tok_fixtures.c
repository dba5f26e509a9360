/* SPDX-License-Identifier: Apache-2.0
 *
 * Published vocabularies with the ids that their own tokenizers give for 46 strings; no special tokens added, none
 * recognised. Each text comes back from its ids; from those of a vocabulary that normalises, a text of the same ids. */
#include "tok_tiny.h"

#define SEPARATOR "\n__ggml_vocab_test__\n"

/* One line of ids; returns how many. */
static size_t read_ids(char **line, int32_t *id, size_t cap)
{
    size_t n = 0;
    char *end = strchr(*line, '\n');
    if (end)
        *end = '\0';
    for (char *p = *line, *next;; p = next) {
        const long v = strtol(p, &next, 10);
        if (next == p)
            break;
        assert_true(n < cap);
        id[n++] = (int32_t)v;
    }
    *line = end ? end + 1 : *line + strlen(*line);
    return n;
}

static void check_ids(const char *name, int number, md_tokens got, const int32_t *want, size_t n_want)
{
    if (got.n != n_want || (n_want && memcmp(got.id, want, n_want * sizeof want[0]) != 0))
        fail_msg("%s: string %d has other ids than expected", name, number);
}

/* Normalised text: the words come back, unless one of them was unknown. */
static void check_words(const md_tokenizer *t, const char *name, int number, const int32_t *want, size_t n_want)
{
    for (size_t i = 0; i < n_want; i++)
        if (md_token_is_special(t, want[i]))
            return;
    size_t len;
    char *back = tok_decode(t, want, n_want, false, true, &len);
    md_tokens again = tok_ids(t, back, len, 0);
    check_ids(name, number, again, want, n_want);
    md_tokens_done(&again);
    free(back);
}

static void check_text(const md_tokenizer *t, const char *name, int number, const char *text, size_t n, char **line)
{
    int32_t want[2048];
    const size_t n_want = read_ids(line, want, sizeof want / sizeof want[0]);
    md_tokens got = tok_ids(t, text, n, 0);
    check_ids(name, number, got, want, n_want);
    md_tokens_done(&got);
    if (strcmp(md_tokenizer_kind(t), "wordpiece") == 0) {
        check_words(t, name, number, want, n_want);
        return;
    }
    size_t len;
    char *back = tok_decode(t, want, n_want, false, true, &len);
    if (len != n || memcmp(back, text, n) != 0)
        fail_msg("%s: string %d does not come back", name, number);
    free(back);
}

static md_tokenizer *load(const char *name)
{
    md_error err = {0};
    md_tokenizer *t;
    if (md_tokenizer_open(fixture("tokenizers/ggml-vocab-%s.gguf", name), &t, &err) != MD_OK)
        fail_msg("%s", err.message);
    return t;
}

static void fixture_ids(void **state)
{
    const char *name = *(const char **)*state;
    md_tokenizer *t = load(name);
    size_t n, n_out;
    char *texts = read_all(fixture("tokenizers/ggml-vocab-%s.gguf.inp", name), &n);
    char *ids = read_all(fixture("tokenizers/ggml-vocab-%s.gguf.out", name), &n_out);
    char *line = ids, *text = texts;
    int number = 0;
    for (char *end; text < texts + n; text = end + strlen(SEPARATOR)) {
        end = strstr(text, SEPARATOR);
        if (!end) {
            check_text(t, name, ++number, text, (size_t)(texts + n - text), &line);
            break;
        }
        check_text(t, name, ++number, text, (size_t)(end - text), &line);
    }
    assert_int_equal(number, 46);
    free(ids);
    free(texts);
    md_tokenizer_free(t);
}

/* What the files say about special tokens. */
static void settings(void **state)
{
    (void)state;
    md_tokenizer *t = load("llama-spm");
    assert_string_equal(md_tokenizer_kind(t), "spm");
    assert_int_equal(md_tokenizer_size(t), 32000);
    assert_int_equal(md_token_bos(t), 1);
    assert_true(md_tokenizer_adds_bos(t));
    assert_true(md_token_is_eog(t, 2));
    md_tokenizer_free(t);
    t = load("deepseek-coder");
    assert_string_equal(md_tokenizer_pre(t), "deepseek-coder");
    assert_int_equal(md_token_eos(t), 32014);
    assert_true(md_tokenizer_adds_bos(t));
    md_tokenizer_free(t);
    t = load("bert-bge");
    assert_string_equal(md_tokenizer_kind(t), "wordpiece");
    assert_tokens(t, "Hello, World!", MD_TOKENIZE_BOS, 101, 7592, 1010, 2088, 999, 102);
    assert_tokens(t, "a [MASK].", MD_TOKENIZE_SPECIAL, 1037, 103, 1012);
    md_tokenizer_free(t);
}

int main(void)
{
    const char *names[] = {"gpt-2", "llama-spm", "starcoder", "falcon", "deepseek-coder", "mpt", "refact", "bert-bge"};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(fixture_ids, &names[0]),
        cmocka_unit_test_prestate(fixture_ids, &names[1]),
        cmocka_unit_test_prestate(fixture_ids, &names[2]),
        cmocka_unit_test_prestate(fixture_ids, &names[3]),
        cmocka_unit_test_prestate(fixture_ids, &names[4]),
        cmocka_unit_test_prestate(fixture_ids, &names[5]),
        cmocka_unit_test_prestate(fixture_ids, &names[6]),
        cmocka_unit_test_prestate(fixture_ids, &names[7]),
        cmocka_unit_test(settings),
    };
    return cmocka_run_group_tests_name("text/tok_fixtures", tests, NULL, NULL);
}
