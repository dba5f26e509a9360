/* SPDX-License-Identifier: Apache-2.0
 *
 * Text without special tokens to ids: byte-level BPE word by word, character BPE line by line, SentencePiece as one
 * word.
 *
 * What a vocabulary cannot say: byte-level vocabularies often lack bytes that their training text never held. In valid
 * text such a byte is the unknown token if there is one, else it is left out before merging, as the models' own
 * tokenizers do; an invalid byte becomes U+FFFD. The other kinds fall back to byte tokens, then to the unknown token.
 * */
#include "text/tok.h"

#include "base/status.h"
#include "base/utf8.h"

#include <string.h>

static md_status push_all(md_tokens *out, const int32_t *id, size_t n, md_error *err)
{
    for (size_t i = 0; i < n; i++)
        MD_TRY(md_tokens_push(out, id[i], err));
    return MD_OK;
}

static md_status push_symbols(md_encoder *e, md_error *err)
{
    const md_symbol *symbol = e->merge.symbol;
    for (uint32_t i = 0; i != MD_NO_SYMBOL; i = symbol[i].next)
        MD_TRY(md_tokens_push(e->out, symbol[i].id, err));
    return MD_OK;
}

/* The symbol for a byte, or -1: leave it out. */
static int32_t byte_symbol(const md_tokenizer *t, char c)
{
    const int32_t id = t->byte_id[(unsigned char)c];
    return id < 0 && t->unk >= 0 && t->type[t->unk] == MD_TOKEN_UNKNOWN ? t->unk : id;
}

static md_status long_byte_word(md_encoder *e, const char *word, size_t n, md_error *err)
{
    MD_TRY(md_merge_reserve(&e->merge, n, err));
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        const int32_t id = byte_symbol(e->t, word[i]);
        if (id >= 0)
            e->merge.symbol[k++].id = id;
    }
    if (k == 0)
        return MD_OK;
    MD_TRY(md_merge_run(e->t, &e->merge, word, k, err));
    return push_symbols(e, err);
}

/* An md_word_fn. */
static md_status byte_word(void *user, const char *word, size_t n, md_error *err)
{
    md_encoder *e = user;
    const int32_t whole = md_string_table_find(&e->t->by_text, word, n); /* empty unless the rule says so */
    if (whole >= 0)
        return md_tokens_push(e->out, whole, err);
    if (n > MD_MERGE_SHORT)
        return long_byte_word(e, word, n, err);
    int32_t id[MD_MERGE_SHORT];
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        id[k] = byte_symbol(e->t, word[i]);
        k += id[k] >= 0;
    }
    return push_all(e->out, id, md_merge_short(&e->t->merges, id, k), err);
}

static md_status invalid_byte(md_encoder *e, char c, md_error *err)
{
    const int32_t id = e->t->byte_id[(unsigned char)c];
    return id >= 0 ? md_tokens_push(e->out, id, err) : byte_word(e, "\xef\xbf\xbd", 3, err);
}

/* Byte tokens for a character that is no token, or the unknown token. */
static md_status fallback(md_encoder *e, const char *s, size_t n, md_error *err)
{
    const md_tokenizer *t = e->t;
    bool all = true;
    for (size_t i = 0; i < n; i++)
        all = all && t->byte_id[(unsigned char)s[i]] >= 0;
    if (!all)
        return md_tokens_push(e->out, t->unk, err); /* it exists: a tokenizer is made only with one or the other */
    for (size_t i = 0; i < n; i++)
        MD_TRY(md_tokens_push(e->out, t->byte_id[(unsigned char)s[i]], err));
    return MD_OK;
}

static md_status merge_chars(md_encoder *e, const char *word, size_t n, md_error *err)
{
    const md_tokenizer *t = e->t;
    MD_TRY(md_merge_reserve(&e->merge, n, err));
    md_symbol *symbol = e->merge.symbol;
    size_t k = 0;
    for (size_t i = 0; i < n; k++) {
        uint32_t cp;
        const int valid = md_utf8_decode(word + i, n - i, &cp);
        const uint32_t bytes = valid ? (uint32_t)valid : 1;
        const int32_t id = md_string_table_find(&t->by_name, word + i, bytes);
        symbol[k].start = (uint32_t)i;
        symbol[k].n = bytes;
        symbol[k].id = id >= 0 && md_tok_is_text(t, id) ? id : -1;
        i += bytes;
    }
    MD_TRY(md_merge_run(t, &e->merge, word, k, err));
    for (uint32_t i = 0; i != MD_NO_SYMBOL; i = symbol[i].next) {
        if (symbol[i].id >= 0)
            MD_TRY(md_tokens_push(e->out, symbol[i].id, err));
        else
            MD_TRY(fallback(e, word + symbol[i].start, symbol[i].n, err));
    }
    return MD_OK;
}

static bool is_mark(const char *s, size_t n)
{
    return n >= 3 && memcmp(s, MD_SPACE_MARK, 3) == 0;
}

/* Where the next word of s[0..n), n > 0, begins: at the first mark that follows something else. */
static size_t word_bytes(const char *s, size_t n)
{
    size_t i = 0;
    while (is_mark(s + i, n - i))
        i += 3;
    while (i < n && !is_mark(s + i, n - i)) {
        const char *lead = i + 1 < n ? memchr(s + i + 1, MD_SPACE_MARK[0], n - i - 1) : NULL;
        i = lead ? (size_t)(lead - s) : n;
    }
    return i;
}

/* Tokens of escaped text. Cut into words where that changes nothing: short words merge faster than one long one. */
static md_status encode_chars(md_encoder *e, const char *s, size_t n, md_error *err)
{
    if (!e->t->spaces_lead)
        return n ? merge_chars(e, s, n, err) : MD_OK;
    for (size_t i = 0, len; i < n; i += len) {
        len = word_bytes(s + i, n - i);
        MD_TRY(merge_chars(e, s + i, len, err));
    }
    return MD_OK;
}

/* An md_word_fn. */
static md_status char_word(void *user, const char *word, size_t n, md_error *err)
{
    md_encoder *e = user;
    if (word[0] == '\n' && (e->t->rule->options & MD_PRETOK_WHOLE_NEWLINES)) {
        const int32_t whole = md_string_table_find(&e->t->by_name, word, n);
        if (whole >= 0 && md_tok_is_text(e->t, whole))
            return md_tokens_push(e->out, whole, err);
    }
    return encode_chars(e, word, n, err);
}

/* Copies text to e->escaped with U+2581 for spaces. */
static md_status escape(md_encoder *e, const char *text, size_t n, bool prefix, md_error *err)
{
    md_buf_reset(&e->escaped);
    if (prefix)
        md_buf_puts(&e->escaped, MD_SPACE_MARK);
    for (size_t i = 0; i < n;) {
        const char *space = memchr(text + i, ' ', n - i);
        const size_t to = space ? (size_t)(space - text) : n;
        md_buf_append(&e->escaped, text + i, to - i);
        if (space)
            md_buf_puts(&e->escaped, MD_SPACE_MARK);
        i = space ? to + 1 : n;
    }
    return e->escaped.failed ? md_fail_memory(err, "tokenizing a long text") : MD_OK;
}

/* How many bytes at the front of s[0..n) are valid UTF-8. */
static size_t valid_bytes(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n) {
        uint64_t eight;
        while (n - i >= 8 && (memcpy(&eight, s + i, 8), (eight & 0x8080808080808080u) == 0))
            i += 8;
        uint32_t cp;
        const int k = i < n ? md_utf8_decode(s + i, n - i, &cp) : 0;
        if (k == 0)
            break;
        i += (size_t)k;
    }
    return i;
}

md_status md_encode_bpe(md_encoder *e, const char *text, size_t n, md_error *err)
{
    const bool chars = e->t->kind == MD_TOK_CHARS;
    if (chars) {
        MD_TRY(escape(e, text, n, false, err));
        text = e->escaped.data;
        n = e->escaped.len;
    }
    for (size_t i = 0; i < n;) {
        const size_t valid = valid_bytes(text + i, n - i);
        MD_TRY(md_pretok_split(e->t->pretok, e->pretok, text + i, valid, chars ? char_word : byte_word, e, err));
        i += valid;
        if (i < n) {
            MD_TRY(chars ? fallback(e, text + i, 1, err) : invalid_byte(e, text[i], err));
            i++;
        }
    }
    return MD_OK;
}

md_status md_encode_spm(md_encoder *e, const char *text, size_t n, bool prefix, md_error *err)
{
    MD_TRY(escape(e, text, n, prefix, err));
    return encode_chars(e, e->escaped.data, e->escaped.len, err);
}
