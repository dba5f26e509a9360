/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzzes the tokenizers. The first byte gives the flags of md_tokenize and says what follows: a text for a vocabulary
 * that is made once (all 256 bytes, a few merges and special tokens; the second byte chooses the splitting rule), or a
 * vocabulary, tokens and merges split by newlines, with a text after it. Checked: nothing is lost of a text that the
 * byte vocabulary can say, ids are in range, and what the detokenizer shows is valid UTF-8. */
#include "base/utf8.h"
#include "text/pretok.h"
#include "text/vocab.h"

#include <stdlib.h>
#include <string.h>

#define MAX_TOKENS 600

typedef struct words {
    md_vocab_str token[MAX_TOKENS], merge[MAX_TOKENS];
    int32_t type[MAX_TOKENS];
    float score[MAX_TOKENS];
    char byte_name[256][8];
} words;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void require(int holds)
{
    if (!holds)
        abort();
}

static md_vocab empty_vocab(const words *w)
{
    return (md_vocab){.token = w->token,
                      .merge = w->merge,
                      .type = w->type,
                      .score = w->score,
                      .bos = -1,
                      .eos = -1,
                      .unk = -1,
                      .eot = -1,
                      .eom = -1,
                      .add_bos = -1,
                      .add_eos = -1,
                      .add_space_prefix = -1};
}

/* GPT-2's visible alphabet. */
static void add_bytes(words *w, md_vocab *v)
{
    uint32_t next = 256;
    for (unsigned b = 0; b < 256; b++) {
        const int visible = (b > 32 && b < 127) || (b > 160 && b != 173);
        const int len = md_utf8_encode(visible ? b : next++, w->byte_name[b]);
        w->token[v->n_tokens] = (md_vocab_str){.s = w->byte_name[b], .n = (size_t)len};
        w->type[v->n_tokens++] = MD_TOKEN_NORMAL;
    }
}

static void add_token(words *w, md_vocab *v, const char *s, size_t n, int32_t type, float score)
{
    if (v->n_tokens == MAX_TOKENS)
        return;
    w->token[v->n_tokens] = (md_vocab_str){.s = s, .n = n};
    w->score[v->n_tokens] = score;
    w->type[v->n_tokens++] = type;
}

static void add_merge(words *w, md_vocab *v, const char *s, size_t n)
{
    if (v->n_merges < MAX_TOKENS)
        w->merge[v->n_merges++] = (md_vocab_str){.s = s, .n = n};
}

static void show(const md_tokenizer *t, const md_tokens *ids, unsigned flags)
{
    md_detok *d = md_detok_new(t, flags & 1, flags & 2);
    require(d != NULL);
    for (size_t i = 0; i <= ids->n; i++) {
        const char *s;
        size_t n;
        require((i < ids->n ? md_detok_push(d, ids->id[i], &s, &n, NULL) : md_detok_finish(d, &s, &n, NULL)) == MD_OK);
        uint32_t cp;
        for (size_t at = 0; at < n;) {
            const int k = md_utf8_decode(s + at, n - at, &cp);
            require(k > 0);
            at += (size_t)k;
        }
    }
    md_detok_free(d);
}

/* exact: the ids' bytes are the text's. */
static void encode(const md_tokenizer *t, const char *text, size_t n, unsigned flags, int exact)
{
    md_tokens ids = {0};
    md_error err;
    require(md_tokenize(t, text, n, flags & 7, &ids, &err) == MD_OK);
    size_t at = 0;
    for (size_t i = 0; i < ids.n; i++) {
        size_t k;
        const char *s = md_token_bytes(t, ids.id[i], &k);
        require(s != NULL);
        if (exact)
            require(at + k <= n && memcmp(text + at, s, k) == 0);
        at += k;
    }
    require(!exact || at == n);
    show(t, &ids, flags >> 3);
    md_tokens_done(&ids);
}

/* --- a vocabulary that is always the same --- */

static md_tokenizer *fixed_tokenizer(size_t rule)
{
    static const char *const extra[] = {"he", "ll", "hell", "\xc4\xa0", "\xc4\xa0h", "12", "aa", "aaaa"};
    static const char *const merges[] = {"h e", "l l", "he ll", "\xc4\xa0 h", "1 2", "a a", "aa aa"};
    words *w = calloc(1, sizeof *w);
    require(w != NULL);
    md_vocab v = empty_vocab(w);
    add_bytes(w, &v);
    for (size_t i = 0; i < sizeof extra / sizeof extra[0]; i++)
        add_token(w, &v, extra[i], strlen(extra[i]), MD_TOKEN_NORMAL, 0);
    for (size_t i = 0; i < sizeof merges / sizeof merges[0]; i++)
        add_merge(w, &v, merges[i], strlen(merges[i]));
    add_token(w, &v, "<|im_end|>", 10, MD_TOKEN_CONTROL, 0);
    add_token(w, &v, "<t>", 3, MD_TOKEN_USER_DEFINED, 0);
    v.model = "gpt2";
    v.pre = md_pretok_rule_at(rule)->name;
    v.unk = 0;
    md_tokenizer *t;
    require(md_tokenizer_new(&v, &t, NULL) == MD_OK);
    free(w);
    return t;
}

/* Tokenizers are kept: making one costs more than a text. */
static void fixed_vocabulary(const char *text, size_t n, unsigned flags)
{
    static md_tokenizer *made[256];
    if (n == 0)
        return;
    const size_t rule = (unsigned char)text[0] % md_pretok_n_rules();
    if (!made[rule])
        made[rule] = fixed_tokenizer(rule);
    const int chars = (md_pretok_rule_at(rule)->options & MD_PRETOK_CHARS) != 0;
    encode(made[rule], text + 1, n - 1, flags, !chars && !(flags & 1));
}

/* --- a vocabulary from the input: lines of kind, name; an empty line ends it --- */

static void add_line(words *w, md_vocab *v, const char *s, size_t n)
{
    if (s[0] == 'm')
        add_merge(w, v, s + 1, n - 1);
    else
        add_token(w, v, s + 1, n - 1, s[0] % 7, (float)(s[0] / 7));
}

static void given_vocabulary(const char *s, size_t n, unsigned flags)
{
    static const char *const models[] = {"gpt2", "llama", "gemma4", "llama"};
    words *w = calloc(1, sizeof *w);
    require(w != NULL);
    md_vocab v = empty_vocab(w);
    v.model = models[flags >> 5 & 3];
    if (flags & 0x10)
        add_bytes(w, &v);
    v.unk = 0;
    while (n > 0) {
        const char *end = memchr(s, '\n', n);
        const size_t line = end ? (size_t)(end - s) : n;
        if (line > 0)
            add_line(w, &v, s, line);
        n -= end ? line + 1 : line;
        s += end ? line + 1 : line;
        if (line == 0)
            break;
    }
    md_tokenizer *t;
    if (md_tokenizer_new(&v, &t, NULL) == MD_OK)
        encode(t, s, n, flags, 0);
    md_tokenizer_free(t);
    free(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0 || n > 1 << 16)
        return 0;
    const unsigned flags = data[0];
    if (flags & 0x80)
        given_vocabulary((const char *)data + 1, n - 1, flags);
    else
        fixed_vocabulary((const char *)data + 1, n - 1, flags);
    return 0;
}
