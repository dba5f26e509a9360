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
#include <utf8proc.h>

/* Appends what is left of a merged word. */
static md_status emit_symbols(md_encoder *e, const char *word, size_t n, md_error *err)
{
    const md_symbol *symbol = e->merge.symbol;
    const bool ranks = e->t->kind != MD_TOK_SPM;
    for (uint32_t i = 0; i != MD_NO_SYMBOL; i = symbol[i].next) {
        const md_symbol *s = &symbol[i];
        const size_t end = s->next == MD_NO_SYMBOL ? n : symbol[s->next].start;
        const char *text = word + s->start;
        if (s->id < 0)
            MD_TRY(md_emit_fallback(e, text, end - s->start, err));
        else if (s->made != MD_NO_RANK)
            MD_TRY(md_emit(e, s->id, text, end - s->start, MD_TOKEN_MERGED, ranks ? s->made : MD_NO_RANK, err));
        else
            MD_TRY(md_emit(e, s->id, text, end - s->start,
                           e->t->type[s->id] == MD_TOKEN_UNKNOWN ? MD_TOKEN_FALLBACK : MD_TOKEN_SINGLE, MD_NO_RANK,
                           err));
    }
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
            e->merge.symbol[k++] = (md_symbol){.id = id, .start = (uint32_t)i};
    }
    if (k == 0)
        return MD_OK;
    MD_TRY(md_merge_run(e->t, &e->merge, word, k, err));
    return emit_symbols(e, word, n, err);
}

/* An md_word_fn. */
static md_status byte_word(void *user, const char *word, size_t n, md_error *err)
{
    md_encoder *e = user;
    e->piece++;
    const int32_t whole = md_string_table_find(&e->t->by_text, word, n); /* empty unless the rule says so */
    if (whole >= 0)
        return md_emit(e, whole, word, n, MD_TOKEN_WHOLE, MD_NO_RANK, err);
    if (n > MD_MERGE_SHORT || e->notes)
        return long_byte_word(e, word, n, err);
    int32_t id[MD_MERGE_SHORT];
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        id[k] = byte_symbol(e->t, word[i]);
        k += id[k] >= 0;
    }
    k = md_merge_short(&e->t->merges, id, k);
    for (size_t i = 0; i < k; i++)
        MD_TRY(md_tokens_push(e->out, id[i], err));
    return MD_OK;
}

/* A byte that is no part of a character. */
static md_status invalid_byte(md_encoder *e, const char *at, md_error *err)
{
    const int32_t id = e->t->byte_id[(unsigned char)*at];
    if (id >= 0) {
        e->piece++;
        return md_emit(e, id, at, 1, MD_TOKEN_SINGLE, MD_NO_RANK, err);
    }
    e->stand_in = at;
    const md_status status = byte_word(e, "\xef\xbf\xbd", 3, err);
    e->stand_in = NULL;
    return status;
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
        symbol[k] = (md_symbol){.start = (uint32_t)i, .n = bytes, .id = id >= 0 && md_tok_is_text(t, id) ? id : -1};
        i += bytes;
    }
    MD_TRY(md_merge_run(t, &e->merge, word, k, err));
    return emit_symbols(e, word, n, err);
}

static bool is_mark(const char *s, size_t n)
{
    return n >= 3 && memcmp(s, MD_SPACE_MARK, 3) == 0;
}

size_t md_marked_word(const char *s, size_t n)
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
        len = md_marked_word(s + i, n - i);
        MD_TRY(merge_chars(e, s + i, len, err));
    }
    return MD_OK;
}

/* Is the word one of white space, as rules that separate words by it make them? */
static bool is_space_word(const char *word, size_t n)
{
    uint32_t cp = 0;
    if (!md_utf8_decode(word, n, &cp))
        return false;
    const utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    return (cp >= '\t' && cp <= '\r') || cp == 0x85 || c == UTF8PROC_CATEGORY_ZS || c == UTF8PROC_CATEGORY_ZL ||
           c == UTF8PROC_CATEGORY_ZP;
}

/* An md_word_fn. */
static md_status char_word(void *user, const char *word, size_t n, md_error *err)
{
    md_encoder *e = user;
    const unsigned options = e->t->rule->options;
    if ((options & MD_PRETOK_DROP_SPACE) && is_space_word(word, n))
        return MD_OK;
    e->piece++;
    if (word[0] == '\n' && (options & MD_PRETOK_WHOLE_NEWLINES)) {
        const int32_t whole = md_string_table_find(&e->t->by_name, word, n);
        if (whole >= 0 && md_tok_is_text(e->t, whole))
            return md_emit(e, whole, word, n, MD_TOKEN_WHOLE, MD_NO_RANK, err);
    }
    return encode_chars(e, word, n, err);
}

/* Copies text to e->escaped with U+2581 for spaces. */
static md_status escape(md_encoder *e, const char *text, size_t n, bool prefix, md_error *err)
{
    md_escaped_reset(e);
    if (prefix)
        md_escaped_put(e, MD_SPACE_MARK, 3, 0, 0);
    for (size_t i = 0; i < n;) {
        const char *space = memchr(text + i, ' ', n - i);
        const size_t to = space ? (size_t)(space - text) : n;
        if (!e->notes)
            md_buf_append(&e->escaped, text + i, to - i);
        for (size_t k = i; e->notes && k < to; k++)
            md_escaped_put(e, text + k, 1, k, k + 1);
        if (space)
            md_escaped_put(e, MD_SPACE_MARK, 3, to, to + 1);
        i = space ? to + 1 : n;
    }
    return md_escaped_check(e, err);
}

size_t md_small_letters(uint32_t cp, uint32_t out[2])
{
    out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp);
    out[1] = 0x307;
    return cp == 0x130 ? 2 : 1; /* I with a dot is the one character whose small form is two, i and the dot */
}

/* Copies text to e->escaped, in small letters if the model wants them. */
static md_status copy_folded(md_encoder *e, const char *text, size_t n, md_error *err)
{
    md_escaped_reset(e);
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t cp, small[2];
        const int valid = md_utf8_decode(text + i, n - i, &cp);
        len = valid ? (size_t)valid : 1;
        if (!valid || !e->t->lowercase) {
            md_escaped_put(e, text + i, len, i, i + len);
            continue;
        }
        const size_t letters = md_small_letters(cp, small);
        for (size_t k = 0; k < letters; k++) {
            char utf8[4];
            const int bytes = md_utf8_encode(small[k], utf8);
            md_escaped_put(e, utf8, (size_t)bytes, i, i + len);
        }
    }
    return md_escaped_check(e, err);
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
        const bool drops = e->t->rule->options & MD_PRETOK_DROP_SPACE;
        MD_TRY(drops ? copy_folded(e, text, n, err) : escape(e, text, n, false, err));
        text = e->escaped.data;
        n = e->escaped.len;
    }
    for (size_t i = 0; i < n;) {
        const size_t valid = valid_bytes(text + i, n - i);
        MD_TRY(md_pretok_split(e->t->pretok, e->pretok, text + i, valid, chars ? char_word : byte_word, e, err));
        i += valid;
        if (i < n) {
            e->piece += chars;
            MD_TRY(chars ? md_emit_fallback(e, text + i, 1, err) : invalid_byte(e, text + i, err));
            i++;
        }
    }
    return MD_OK;
}

md_status md_encode_spm(md_encoder *e, const char *text, size_t n, bool prefix, md_error *err)
{
    MD_TRY(escape(e, text, n, prefix, err));
    e->piece++;
    return encode_chars(e, e->escaped.data, e->escaped.len, err);
}
