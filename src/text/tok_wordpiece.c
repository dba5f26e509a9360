/* SPDX-License-Identifier: Apache-2.0
 *
 * WordPiece: text is cleaned, cut at white space, punctuation and ideographs, folded to small letters without accents
 * where the model wants that, and each word is cut from its front on into the longest pieces that match; a word that
 * does not come out whole is one unknown token. In the vocabulary pieces that begin a word carry U+2581 in front. One
 * pass, one word in memory at a time; bytes that are not UTF-8 are dropped, as U+FFFD is. Schuster, Nakajima, "Japanese
 * and Korean Voice Search", 2012; Devlin, Chang, Lee, Toutanova, "BERT", 2019. */
#include "text/tok.h"

#include "base/status.h"
#include "base/utf8.h"

#include <string.h>
#include <utf8proc.h>

#define MAX_WORD 100 /* characters; a longer word is one unknown token */

md_status md_wordpiece_init(md_tokenizer *t, md_error *err)
{
    MD_FAIL_IF(t->unk < 0, MD_ERR_FORMAT, "a WordPiece vocabulary needs an unknown token and names none");
    MD_TRY(md_trie_init(&t->pieces, (size_t)t->n_tokens, err));
    for (int32_t i = 0; i < t->n_tokens; i++) {
        size_t n;
        const char *name = md_strings_at(&t->name, (size_t)i, &n);
        if (n == 0 || !md_tok_is_text(t, i))
            continue;
        /* The mark alone is the character itself, going on. */
        if (n > 3 && memcmp(name, MD_SPACE_MARK, 3) == 0)
            MD_TRY(md_trie_add(&t->pieces, MD_TRIE_ROOT, name + 3, n - 3, i, err));
        else
            MD_TRY(md_trie_add(&t->pieces, MD_TRIE_ROOT_2, name, n, i, err));
    }
    return MD_OK;
}

/* --- characters --- */

/* Is a character deleted? White space among the control characters is dealt with before. */
static bool is_deleted(uint32_t cp, utf8proc_category_t category)
{
    return cp == 0 || cp == 0xfffd || category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF ||
           category == UTF8PROC_CATEGORY_CO;
}

static bool is_space(uint32_t cp, utf8proc_category_t category)
{
    return cp == '\t' || cp == '\n' || cp == '\r' || category == UTF8PROC_CATEGORY_ZS ||
           category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP;
}

static bool is_punctuation(uint32_t cp)
{
    if (cp < 0x80)
        return cp > ' ' && cp < 0x7f && !(cp >= '0' && cp <= '9') && !((cp | 0x20) >= 'a' && (cp | 0x20) <= 'z');
    const utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    return c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO;
}

/* Ideographs, not the alphabets of Japanese and Korean. The gap before U+2B920 is in the models' own tokenizer. */
static bool is_ideograph(uint32_t cp)
{
    return (cp >= 0x4e00 && cp <= 0x9fff) || (cp >= 0x3400 && cp <= 0x4dbf) || (cp >= 0x20000 && cp <= 0x2a6df) ||
           (cp >= 0x2a700 && cp <= 0x2b73f) || (cp >= 0x2b740 && cp <= 0x2b81f) || (cp >= 0x2b920 && cp <= 0x2ceaf) ||
           (cp >= 0xf900 && cp <= 0xfaff) || (cp >= 0x2f800 && cp <= 0x2fa1f);
}

/* --- words --- */

/* The word being gathered in e->escaped. */
typedef struct word {
    md_encoder *e;
    size_t chars;
    md_span at; /* bytes of the segment */
} word;

/* The longest piece at s[0..n): its token and *len, or -1. */
static int32_t longest(md_encoder *e, const char *s, size_t n, bool front, size_t *len)
{
    const md_trie *pieces = &e->t->pieces;
    uint32_t node = front ? MD_TRIE_ROOT : MD_TRIE_ROOT_2;
    int32_t id = -1;
    size_t i = 0;
    while (i < n) {
        node = md_trie_step(pieces, node, (unsigned char)s[i++]);
        if (node == MD_TRIE_NONE)
            break;
        /* Pieces are whole characters: one that ends inside is not for this text. */
        if (pieces->id[node] >= 0 && (i == n || ((unsigned char)s[i] & 0xc0) != 0x80)) {
            id = pieces->id[node];
            *len = i;
        }
    }
    e->work += i;
    return id;
}

/* Appends the pieces of s[0..n); false if they do not reach its end. */
static md_status pieces_of(md_encoder *e, const char *s, size_t n, bool *whole, md_error *err)
{
    *whole = true;
    for (size_t i = 0, len = 0; i < n; i += len) {
        const int32_t id = longest(e, s + i, n - i, i == 0, &len);
        *whole = id >= 0;
        if (!*whole)
            break;
        MD_TRY(md_emit(e, id, s + i, len, MD_TOKEN_LONGEST, MD_NO_RANK, err));
    }
    return MD_OK;
}

static md_status end_word(word *w, md_error *err)
{
    md_encoder *e = w->e;
    if (w->chars == 0)
        return MD_OK;
    MD_TRY(md_escaped_check(e, err));
    e->piece++;
    const size_t tokens = e->out->n, notes = e->notes ? e->notes->n : 0;
    bool whole = false;
    if (w->chars <= MAX_WORD)
        MD_TRY(pieces_of(e, e->escaped.data, e->escaped.len, &whole, err));
    if (!whole) {
        e->out->n = tokens;
        if (e->notes)
            e->notes->n = notes;
        const md_span input = {e->segment_at + w->at.begin, e->segment_at + w->at.end};
        MD_TRY(md_emit_at(e, e->t->unk, input, MD_TOKEN_FALLBACK, MD_NO_RANK, err));
    }
    w->chars = 0;
    md_escaped_reset(e);
    return MD_OK;
}

/* A character in its final form; [begin, end) is where it comes from. */
static md_status put_char(word *w, uint32_t cp, size_t begin, size_t end, md_error *err)
{
    const bool alone = is_punctuation(cp);
    if (alone)
        MD_TRY(end_word(w, err));
    if (w->chars++ == 0)
        w->at.begin = begin;
    w->at.end = end;
    if (w->chars <= MAX_WORD) {
        char utf8[4];
        const int n = md_utf8_encode(cp, utf8);
        md_escaped_put(w->e, utf8, (size_t)n, begin, end);
    }
    return alone ? end_word(w, err) : MD_OK;
}

static md_status put_lowercase(word *w, uint32_t cp, size_t begin, size_t end, md_error *err)
{
    if (!w->e->t->lowercase)
        return put_char(w, cp, begin, end, err);
    uint32_t small[2];
    const size_t n = md_small_letters(cp, small);
    for (size_t i = 0; i < n; i++)
        MD_TRY(put_char(w, small[i], begin, end, err));
    return MD_OK;
}

static md_status put_folded(word *w, uint32_t cp, size_t begin, size_t end, md_error *err)
{
    if (!w->e->t->strip_accents)
        return put_lowercase(w, cp, begin, end, err);
    utf8proc_int32_t part[8];
    int boundary = UTF8PROC_BOUNDCLASS_START;
    const utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)cp, part, 8,
                                                       UTF8PROC_DECOMPOSE | UTF8PROC_STABLE, &boundary);
    for (utf8proc_ssize_t i = 0; i < n && i < 8; i++)
        if (utf8proc_category(part[i]) != UTF8PROC_CATEGORY_MN)
            MD_TRY(put_lowercase(w, (uint32_t)part[i], begin, end, err));
    return MD_OK;
}

md_status md_encode_wordpiece(md_encoder *e, const char *text, size_t n, md_error *err)
{
    word w = {.e = e};
    md_escaped_reset(e);
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t cp;
        const int valid = md_utf8_decode(text + i, n - i, &cp);
        len = valid ? (size_t)valid : 1;
        e->work += len;
        if (!valid)
            continue;
        const utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)cp);
        if (is_space(cp, category)) {
            MD_TRY(end_word(&w, err));
            continue;
        }
        if (is_deleted(cp, category))
            continue;
        const bool alone = is_ideograph(cp);
        if (alone)
            MD_TRY(end_word(&w, err));
        MD_TRY(put_folded(&w, cp, i, i + len, err));
        if (alone)
            MD_TRY(end_word(&w, err));
    }
    return end_word(&w, err);
}
