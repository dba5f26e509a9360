/* SPDX-License-Identifier: Apache-2.0
 *
 * Published vocabularies with the ids that their own tokenizers give for 46 strings; no special tokens added, none
 * recognised. Each text comes back from its ids. */
#include "model/tokenizer_load.h"
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

static void check_text(const md_tokenizer *t, const char *name, int number, const char *text, size_t n, char **line)
{
    int32_t want[2048];
    const size_t n_want = read_ids(line, want, sizeof want / sizeof want[0]);
    md_tokens got = tok_ids(t, text, n, 0);
    if (got.n != n_want || (n_want && memcmp(got.id, want, n_want * sizeof want[0]) != 0))
        fail_msg("%s: string %d has other ids than expected", name, number);
    size_t len;
    char *back = tok_decode(t, got.id, got.n, false, true, &len);
    if (len != n || memcmp(back, text, n) != 0)
        fail_msg("%s: string %d does not come back", name, number);
    free(back);
    md_tokens_done(&got);
}

static md_tokenizer *load(const char *name)
{
    md_error err = {0};
    md_gguf *g;
    md_tokenizer *t;
    if (md_gguf_open(fixture("tokenizers/ggml-vocab-%s.gguf", name), MD_GGUF_HEADER, &g, &err) != MD_OK)
        fail_msg("%s", err.message);
    if (md_tokenizer_from_gguf(g, &t, &err) != MD_OK)
        fail_msg("%s", err.message);
    md_gguf_close(g);
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
}

static void word_piece_is_refused(void **state)
{
    (void)state;
    md_error err = {0};
    md_gguf *g;
    md_tokenizer *t = NULL;
    if (md_gguf_open(fixture("tokenizers/ggml-vocab-bert-bge.gguf"), MD_GGUF_HEADER, &g, &err) != MD_OK)
        fail_msg("%s", err.message);
    assert_true(md_tokenizer_from_gguf(g, &t, &err) != MD_OK);
    assert_null(t);
    assert_non_null(strstr(err.message, "bert"));
    md_gguf_close(g);
}

int main(void)
{
    const char *names[] = {"gpt-2", "llama-spm", "starcoder", "falcon", "deepseek-coder", "mpt", "refact"};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(fixture_ids, &names[0]), cmocka_unit_test_prestate(fixture_ids, &names[1]),
        cmocka_unit_test_prestate(fixture_ids, &names[2]), cmocka_unit_test_prestate(fixture_ids, &names[3]),
        cmocka_unit_test_prestate(fixture_ids, &names[4]), cmocka_unit_test_prestate(fixture_ids, &names[5]),
        cmocka_unit_test_prestate(fixture_ids, &names[6]), cmocka_unit_test(settings),
        cmocka_unit_test(word_piece_is_refused),
    };
    return cmocka_run_group_tests_name("text/tok_fixtures", tests, NULL, NULL);
}
