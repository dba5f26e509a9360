/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzzes the tokenizers. The first byte gives the flags of md_tokenize and says what follows: a line that names a
 * vocabulary that is always the same, and a text for it; or a vocabulary and a text. Vocabularies that are always the
 * same: for each splitting rule all 256 bytes, a few merges and special tokens; "unigram"; "wordpiece"; and "charsmap",
 * unigram with a normalisation table that comes before the text. Checked: nothing is lost of a text that the byte
 * vocabulary can say, ids are in range, what the detokenizer shows is valid UTF-8, and explaining changes no token and
 * names bytes of the text. */
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
                      .add_space_prefix = -1,
                      .sep = -1,
                      .merge_spaces = -1,
                      .lowercase = -1,
                      .strip_accents = -1};
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

static void explain(const md_tokenizer *t, const char *text, size_t n, unsigned flags, const md_tokens *ids)
{
    md_tokens again = {0};
    md_token_notes notes = {0};
    require(md_tokenize_explain(t, text, n, flags, &again, &notes, NULL) == MD_OK);
    require(again.n == ids->n && notes.n == ids->n);
    require(ids->n == 0 || memcmp(again.id, ids->id, ids->n * sizeof *ids->id) == 0);
    for (size_t i = 0; i < notes.n; i++)
        require(notes.at[i].begin <= notes.at[i].end && notes.at[i].end <= n);
    md_token_notes_done(&notes);
    md_tokens_done(&again);
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
    explain(t, text, n, flags & 7, &ids);
    md_tokens_done(&ids);
}

/* --- a vocabulary that is always the same --- */

/* All bytes, for a splitting rule. */
static md_tokenizer *byte_tokenizer(size_t rule)
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

/* Pieces for unigram ("t5") or WordPiece ("bert"); table[0..n_table) is unigram's normalisation. */
static md_tokenizer *piece_tokenizer(const char *model, const void *table, size_t n_table)
{
    static const char *const pieces[] = {"\xe2\x96\x81",
                                         "a",
                                         "b",
                                         "ab",
                                         "aa",
                                         "aaaa",
                                         "\xe2\x96\x81h",
                                         "\xe2\x96\x81hell",
                                         "e",
                                         "l",
                                         "lo",
                                         ".",
                                         "\xe2\x96\x81.",
                                         "1",
                                         "\xe2\x96\x81\xe6\xbc\xa2"};
    words *w = calloc(1, sizeof *w);
    require(w != NULL);
    md_vocab v = empty_vocab(w);
    add_token(w, &v, "<unk>", 5, MD_TOKEN_UNKNOWN, 0);
    add_token(w, &v, "[SEP]", 5, MD_TOKEN_CONTROL, 0);
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++)
        add_token(w, &v, pieces[i], strlen(pieces[i]), MD_TOKEN_NORMAL, -1.5f * (float)(i % 7));
    v.model = model;
    v.unk = 0;
    v.sep = v.bos = v.eos = 1;
    v.merge_spaces = n_table % 2;
    v.charsmap = table;
    v.charsmap_bytes = n_table;
    md_tokenizer *t;
    if (md_tokenizer_new(&v, &t, NULL) != MD_OK)
        require(t == NULL && n_table > 0);
    free(w);
    return t;
}

/* The input is the size of a table in two bytes, the table, a text. */
static void given_charsmap(const char *s, size_t n, unsigned flags)
{
    if (n < 2)
        return;
    size_t table = (size_t)(unsigned char)s[0] | (size_t)(unsigned char)s[1] << 8;
    table = table < n - 2 ? table : n - 2;
    md_tokenizer *t = piece_tokenizer("t5", s + 2, table);
    if (t)
        encode(t, s + 2 + table, n - 2 - table, flags, 0);
    md_tokenizer_free(t);
}

static size_t rule_of(const char *name, size_t n)
{
    size_t sum = 0;
    for (size_t i = 0; i < md_pretok_n_rules(); i++)
        if (strlen(md_pretok_rule_at(i)->name) == n && memcmp(md_pretok_rule_at(i)->name, name, n) == 0)
            return i;
    for (size_t i = 0; i < n; i++)
        sum += (unsigned char)name[i];
    return sum % md_pretok_n_rules();
}

static int is_called(const char *s, size_t n, const char *name)
{
    return n == strlen(name) && memcmp(s, name, n) == 0;
}

/* Tokenizers are kept: making one costs more than a text. */
static void fixed_vocabulary(const char *s, size_t n, unsigned flags)
{
    static md_tokenizer *by_rule[256], *unigram, *wordpiece;
    const char *end = n ? memchr(s, '\n', n) : NULL;
    if (!end)
        return;
    const size_t name = (size_t)(end - s);
    const char *text = end + 1;
    n -= name + 1;
    if (is_called(s, name, "charsmap")) {
        given_charsmap(text, n, flags);
        return;
    }
    if (is_called(s, name, "unigram") || is_called(s, name, "wordpiece")) {
        md_tokenizer **t = name == 7 ? &unigram : &wordpiece;
        if (!*t)
            *t = piece_tokenizer(name == 7 ? "t5" : "bert", NULL, 0);
        encode(*t, text, n, flags, 0);
        return;
    }
    const size_t rule = rule_of(s, name);
    if (!by_rule[rule])
        by_rule[rule] = byte_tokenizer(rule);
    const int chars = (md_pretok_rule_at(rule)->options & MD_PRETOK_CHARS) != 0;
    encode(by_rule[rule], text, n, flags, !chars && !(flags & 1));
}

/* --- a vocabulary from the input: a byte for the model, lines of kind, name; an empty line ends it --- */

static void add_line(words *w, md_vocab *v, const char *s, size_t n)
{
    if (s[0] == 'm')
        add_merge(w, v, s + 1, n - 1);
    else
        add_token(w, v, s + 1, n - 1, s[0] % 7, (float)(s[0] / 7));
}

static void given_vocabulary(const char *s, size_t n, unsigned flags)
{
    static const char *const models[] = {"gpt2", "llama", "gemma4", "t5", "bert", "whitespace"};
    if (n == 0)
        return;
    words *w = calloc(1, sizeof *w);
    require(w != NULL);
    md_vocab v = empty_vocab(w);
    v.model = models[(unsigned char)s[0] % (sizeof models / sizeof models[0])];
    s++;
    n--;
    if (flags & 0x10)
        add_bytes(w, &v);
    v.unk = 0;
    v.merge_spaces = flags >> 5 & 1;
    v.lowercase = flags >> 6 & 1;
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
