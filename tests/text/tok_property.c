/* SPDX-License-Identifier: Apache-2.0
 *
 * What must hold for every vocabulary and text: merging equals a merge loop written the plain way, on short and long
 * words alike; decoding gives the bytes back, in one piece or token by token; long words take no more than their time.
 * */
#include "tok_tiny.h"

#define ROUNDS 400

/* Byte BPE over "abcd": random pairs of tokens merge, in random order of discovery. */
static tiny *random_vocabulary(uint64_t *seed)
{
    tiny *y = tiny_new("gpt2", "superbpe"); /* a rule that cuts at digits only: words of any length */
    tiny_bytes(y);
    int32_t known[64] = {'a', 'b', 'c', 'd'};
    size_t n = 4;
    while (n < 40) {
        const md_vocab_str l = y->token[known[tiny_random(seed) % n]], r = y->token[known[tiny_random(seed) % n]];
        char left[64], right[64], both[128];
        snprintf(left, sizeof left, "%.*s", (int)l.n, l.s);
        snprintf(right, sizeof right, "%.*s", (int)r.n, r.s);
        snprintf(both, sizeof both, "%s%s", left, right);
        bool exists = l.n + r.n > 24;
        for (size_t i = 0; i < y->v.n_tokens; i++)
            exists = exists || (y->token[i].n == strlen(both) && memcmp(y->token[i].s, both, y->token[i].n) == 0);
        if (exists)
            continue;
        tiny_merge(y, left, right, false);
        known[n++] = (int32_t)y->v.n_tokens - 1;
    }
    return y;
}

static int32_t name_id(const tiny *y, const char *s, size_t n)
{
    for (size_t i = 0; i < y->v.n_tokens; i++)
        if (y->token[i].n == n && memcmp(y->token[i].s, s, n) == 0)
            return (int32_t)i;
    return -1;
}

/* Merge m applies to neighbours a and b of the word? */
static bool is_merge(const tiny *y, size_t m, md_vocab_str a, md_vocab_str b)
{
    const md_vocab_str s = y->merge[m];
    return s.n == a.n + 1 + b.n && memcmp(s.s, a.s, a.n) == 0 && s.s[a.n] == ' ' &&
           memcmp(s.s + a.n + 1, b.s, b.n) == 0;
}

/* The plain way: look through all merges in order of rank for one that applies, leftmost first; repeat. */
static size_t plain_merge(const tiny *y, const char *word, size_t n, md_vocab_str *part)
{
    for (size_t i = 0; i < n; i++)
        part[i] = (md_vocab_str){.s = word + i, .n = 1};
    for (size_t m = 0; m < y->v.n_merges; m++)
        for (size_t i = 0; i + 1 < n; i++)
            if (is_merge(y, m, part[i], part[i + 1])) {
                part[i].n += part[i + 1].n;
                memmove(part + i + 1, part + i + 2, (n - i - 2) * sizeof *part);
                n--;
                m = (size_t)-1; /* from the start: the new token may take part in a merge of lower rank */
                break;
            }
    return n;
}

static void merging_equals_the_plain_way(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (int round = 0; round < ROUNDS; round++) {
        tiny *y = random_vocabulary(&seed);
        const md_tokenizer *t = tiny_make(y);
        char word[160];
        const size_t n = 1 + tiny_random(&seed) % (round % 2 ? 40 : 160);
        const uint32_t letters = 1 + tiny_random(&seed) % 4;
        for (size_t i = 0; i < n; i++)
            word[i] = (char)('a' + tiny_random(&seed) % letters);
        md_vocab_str part[160];
        const size_t want = plain_merge(y, word, n, part);
        md_tokens got = tok_ids(t, word, n, 0);
        assert_int_equal(got.n, want);
        for (size_t i = 0; i < want; i++)
            assert_int_equal(got.id[i], name_id(y, part[i].s, part[i].n));
        md_tokens_done(&got);
        tiny_free(y);
    }
}

/* SentencePiece the plain way: the pair that makes the token of the best score, leftmost first. */
static size_t plain_spm(const tiny *y, const char *word, size_t n, md_vocab_str *part)
{
    for (size_t i = 0; i < n; i++)
        part[i] = (md_vocab_str){.s = word + i, .n = 1};
    for (;;) {
        size_t best = n;
        float score = -1e30f;
        for (size_t i = 0; i + 1 < n; i++) {
            const int32_t id = name_id(y, part[i].s, part[i].n + part[i + 1].n);
            if (id >= 0 && y->score[id] > score) {
                score = y->score[id];
                best = i;
            }
        }
        if (best == n)
            return n;
        part[best].n += part[best + 1].n;
        memmove(part + best + 1, part + best + 2, (n - best - 2) * sizeof *part);
        n--;
    }
}

static void sentencepiece_equals_the_plain_way(void **state)
{
    (void)state;
    uint64_t seed = 2;
    for (int round = 0; round < ROUNDS; round++) {
        tiny *y = random_vocabulary(&seed);
        y->v.model = "llama";
        y->v.unk = 0;
        for (size_t i = 0; i < y->v.n_tokens; i++)
            y->score[i] = (float)(tiny_random(&seed) % 20) - 10;
        const md_tokenizer *t = tiny_make(y);
        char word[160];
        const size_t n = 1 + tiny_random(&seed) % 160;
        for (size_t i = 0; i < n; i++)
            word[i] = (char)('a' + tiny_random(&seed) % 4);
        md_vocab_str part[160];
        const size_t want = plain_spm(y, word, n, part);
        md_tokens got = tok_ids(t, word, n, MD_TOKENIZE_INNER);
        assert_int_equal(got.n, want);
        for (size_t i = 0; i < want; i++)
            assert_int_equal(got.id[i], name_id(y, part[i].s, part[i].n));
        md_tokens_done(&got);
        tiny_free(y);
    }
}

/* Bytes of every sort: noise, ASCII, and well-formed characters with noise in between. */
static size_t random_text(uint64_t *seed, char *text, size_t cap)
{
    const uint32_t sort = tiny_random(seed) % 3;
    const size_t want = tiny_random(seed) % (cap - 4);
    size_t n = 0;
    while (n < want) {
        if (sort == 2 && tiny_random(seed) % 8)
            n += (size_t)md_utf8_encode(
                tiny_random(seed) % 4 ? tiny_random(seed) % 0x3000 : tiny_random(seed) % 0x10000, text + n);
        else
            text[n++] = (char)(sort == 1 ? ' ' + tiny_random(seed) % 95 : tiny_random(seed));
    }
    return n;
}

/* The bytes of the tokens are the text, for every splitting rule in turn. */
static void bytes_come_back(void **state)
{
    (void)state;
    const char *rules[] = {"gpt-2",        "llama-bpe",   "qwen2",   "gpt-4o",
                           "deepseek-llm", "deepseek-v3", "kimi-k2", "tiny_aya"};
    uint64_t seed = 3;
    for (int round = 0; round < ROUNDS; round++) {
        tiny *y = random_vocabulary(&seed);
        y->v.pre = rules[round % 8];
        const md_tokenizer *t = tiny_make(y);
        char text[300];
        const size_t n = random_text(&seed, text, sizeof text);
        md_tokens got = tok_ids(t, text, n, 0);
        size_t at = 0;
        for (size_t i = 0; i < got.n; i++) {
            size_t k;
            const char *s = md_token_bytes(t, got.id[i], &k);
            assert_true(at + k <= n);
            assert_memory_equal(s, text + at, k);
            at += k;
        }
        assert_int_equal(at, n);
        md_tokens_done(&got);
        tiny_free(y);
    }
}

/* What the detokenizer shows is always valid UTF-8, and the valid text itself comes back unchanged. */
static void pieces_are_characters(void **state)
{
    (void)state;
    uint64_t seed = 4;
    tiny *y = random_vocabulary(&seed);
    const md_tokenizer *t = tiny_make(y);
    md_detok *d = md_detok_new(t, true, true);
    assert_non_null(d);
    for (int round = 0; round < ROUNDS; round++) {
        char text[300], shown[900];
        const size_t n = random_text(&seed, text, sizeof text);
        md_tokens ids = tok_ids(t, text, n, 0);
        size_t len = 0;
        for (size_t i = 0; i <= ids.n; i++) {
            const char *s;
            size_t k;
            assert_int_equal(i < ids.n ? md_detok_push(d, ids.id[i], &s, &k, NULL) : md_detok_finish(d, &s, &k, NULL),
                             MD_OK);
            uint32_t cp;
            for (size_t at = 0, step; at < k; at += step) {
                step = (size_t)md_utf8_decode(s + at, k - at, &cp);
                assert_true(step > 0);
            }
            memcpy(shown + len, s, k);
            len += k;
        }
        uint32_t cp;
        bool valid = true;
        for (size_t at = 0; at < n && valid;) {
            const int k = md_utf8_decode(text + at, n - at, &cp);
            valid = k > 0;
            at += (size_t)k;
        }
        if (valid) {
            assert_int_equal(len, n);
            assert_memory_equal(shown, text, n);
        }
        md_tokens_done(&ids);
    }
    md_detok_free(d);
    tiny_free(y);
}

/* A megabyte without a place to split: quadratic work would not end within the test's time limit. */
static void long_words(void **state)
{
    (void)state;
    uint64_t seed = 5;
    const size_t n = 1 << 20;
    char *text = malloc(n);
    assert_non_null(text);
    for (int spm = 0; spm < 2; spm++) {
        tiny *y = random_vocabulary(&seed);
        y->v.model = spm ? "llama" : "gpt2";
        y->v.unk = 0;
        const md_tokenizer *t = tiny_make(y);
        for (int sort = 0; sort < 3; sort++) {
            for (size_t i = 0; i < n; i++)
                text[i] = (char)(sort == 0 ? 'a' : sort == 1 ? 'a' + tiny_random(&seed) % 4 : '<');
            md_tokens got = tok_ids(t, text, n, MD_TOKENIZE_INNER | MD_TOKENIZE_SPECIAL);
            assert_true(got.n > 0 && got.n <= n);
            md_tokens_done(&got);
        }
        tiny_free(y);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merging_equals_the_plain_way),
        cmocka_unit_test(sentencepiece_equals_the_plain_way),
        cmocka_unit_test(bytes_come_back),
        cmocka_unit_test(pieces_are_characters),
        cmocka_unit_test(long_words),
    };
    return cmocka_run_group_tests_name("text/tok_property", tests, NULL, NULL);
}
