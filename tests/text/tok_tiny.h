/* SPDX-License-Identifier: Apache-2.0
 *
 * Small vocabularies for the tokenizer's tests: tokens are added one by one, the tokenizer is made from what is there.
 * */
#ifndef MD_TEST_TOK_TINY_H
#define MD_TEST_TOK_TINY_H

#include "base/utf8.h"
#include "support/fixtures.h"
#include "text/vocab.h"

#include <string.h>

#define TINY_MAX 2048

typedef struct tiny {
    md_vocab v;
    md_vocab_str token[TINY_MAX], merge[TINY_MAX];
    int32_t type[TINY_MAX];
    float score[TINY_MAX];
    char store[64 * TINY_MAX]; /* names */
    size_t used;
    md_tokenizer *t;
} tiny;

static inline md_vocab_str tiny_keep(tiny *y, const char *s, size_t n)
{
    assert_true(y->used + n <= sizeof y->store);
    char *p = y->store + y->used;
    memcpy(p, s, n);
    y->used += n;
    return (md_vocab_str){.s = p, .n = n};
}

static inline int32_t tiny_add(tiny *y, const char *name, int32_t type, float score)
{
    const size_t i = y->v.n_tokens++;
    assert_true(i < TINY_MAX);
    y->token[i] = tiny_keep(y, name, strlen(name));
    y->type[i] = type;
    y->score[i] = score;
    return (int32_t)i;
}

/* Adds the merge, and its result as a token unless `exists`. */
static inline void tiny_merge(tiny *y, const char *left, const char *right, bool exists)
{
    char s[256];
    snprintf(s, sizeof s, "%s%s", left, right);
    if (!exists)
        tiny_add(y, s, MD_TOKEN_NORMAL, 0);
    snprintf(s, sizeof s, "%s %s", left, right);
    assert_true(y->v.n_merges < TINY_MAX);
    y->merge[y->v.n_merges++] = tiny_keep(y, s, strlen(s));
}

static inline tiny *tiny_new(const char *model, const char *pre)
{
    tiny *y = calloc(1, sizeof *y);
    assert_non_null(y);
    y->v = (md_vocab){.model = model,
                      .pre = pre,
                      .token = y->token,
                      .type = y->type,
                      .score = y->score,
                      .merge = y->merge,
                      .bos = -1,
                      .eos = -1,
                      .unk = -1,
                      .eot = -1,
                      .eom = -1,
                      .add_bos = -1,
                      .add_eos = -1,
                      .add_space_prefix = -1,
                      .sep = -1,
                      .merge_spaces = -1,
                      .lowercase = -1,
                      .strip_accents = -1};
    return y;
}

/* GPT-2's visible character for a byte, as in the published table: written out here on purpose, not shared. */
static inline int tiny_visible(int byte, char out[8])
{
    int cp = byte, next = 256;
    for (int b = 0; b <= byte; b++)
        if (b <= 32 || (b >= 127 && b <= 160) || b == 173) {
            cp = b == byte ? next : cp;
            next++;
        }
    const int n = md_utf8_encode((uint32_t)cp, out);
    out[n] = '\0';
    return n;
}

/* Token b is byte b. */
static inline void tiny_bytes(tiny *y)
{
    for (int b = 0; b < 256; b++) {
        char name[8];
        tiny_visible(b, name);
        tiny_add(y, name, MD_TOKEN_NORMAL, 0);
    }
}

/* Token base + b is "<0xXX>". */
static inline int32_t tiny_byte_names(tiny *y)
{
    const int32_t base = (int32_t)y->v.n_tokens;
    for (unsigned b = 0; b < 256; b++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", b);
        tiny_add(y, name, MD_TOKEN_BYTE, 0);
    }
    return base;
}

static inline const md_tokenizer *tiny_make(tiny *y)
{
    md_error err = {0};
    if (md_tokenizer_new(&y->v, &y->t, &err) != MD_OK)
        fail_msg("%s", err.message);
    return y->t;
}

static inline void tiny_free(tiny *y)
{
    md_tokenizer_free(y->t);
    free(y);
}

/* Making it fails with this code, and the sentence holds this text. */
static inline void tiny_refused(tiny *y, md_status code, const char *says)
{
    md_error err = {0};
    md_tokenizer *t = (md_tokenizer *)y;
    assert_int_equal(md_tokenizer_new(&y->v, &t, &err), code);
    assert_null(t);
    if (!strstr(err.message, says))
        fail_msg("'%s' does not say '%s'", err.message, says);
    assert_int_equal(md_tokenizer_new(&y->v, &t, NULL), code);
}

static inline md_tokens tok_ids(const md_tokenizer *t, const char *text, size_t n, unsigned flags)
{
    md_tokens out = {0};
    md_error err = {0};
    if (md_tokenize(t, text, n, flags, &out, &err) != MD_OK)
        fail_msg("%s", err.message);
    return out;
}

#define assert_tokens(t, text, flags, ...)                                             \
    do {                                                                               \
        const int32_t want_[] = {-1, __VA_ARGS__}; /* the -1 lets the list be empty */ \
        md_tokens got_ = tok_ids(t, text, strlen(text), flags);                        \
        assert_int_equal(got_.n, sizeof want_ / sizeof want_[0] - 1);                  \
        if (got_.n)                                                                    \
            assert_memory_equal(got_.id, want_ + 1, got_.n * sizeof want_[0]);         \
        md_tokens_done(&got_);                                                         \
    } while (0)

/* Decodes everything through a new detokenizer; malloc'ed, NUL-terminated. */
static inline char *tok_decode(const md_tokenizer *t, const int32_t *id, size_t count, bool special, bool first,
                               size_t *n)
{
    md_detok *d = md_detok_new(t, special, first);
    assert_non_null(d);
    char *out = NULL;
    *n = 0;
    for (size_t i = 0; i <= count; i++) {
        const char *s;
        size_t k;
        const md_status status = i < count ? md_detok_push(d, id[i], &s, &k, NULL) : md_detok_finish(d, &s, &k, NULL);
        assert_int_equal(status, MD_OK);
        assert_non_null(s);
        out = realloc(out, *n + k + 1);
        assert_non_null(out);
        memcpy(out + *n, s, k);
        *n += k;
        out[*n] = '\0';
    }
    md_detok_free(d);
    return out;
}

/* xorshift64*: the same numbers in every run. */
static inline uint32_t tiny_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (uint32_t)(*state * 0x2545f4914f6cdd1du >> 32);
}

#endif
