/* SPDX-License-Identifier: Apache-2.0
 *
 * Makes a tokenizer from a vocabulary. Everything in it comes from a file and is checked here: ids in range, kinds and
 * rules known, merges made of tokens that exist. Afterwards nothing is checked again. */
#include "text/tok.h"

#include "base/status.h"
#include "base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Names are copied one after another; texts are never longer than names, so the same sizes serve for them. */
static bool strings_reserve(md_strings *s, const md_vocab_str *token, size_t n)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        if (!md_add(bytes, token[i].n + 1, &bytes))
            return false;
    s->bytes = md_calloc(bytes, 1);
    s->start = md_calloc(n + 1, sizeof *s->start);
    return s->bytes && s->start;
}

static void strings_append(md_strings *s, const char *p, size_t n)
{
    const size_t at = s->start[s->n];
    if (n)
        memcpy(s->bytes + at, p, n);
    s->bytes[at + n] = '\0';
    s->start[++s->n] = at + n + 1;
}

/* --- GPT-2's visible alphabet: printable bytes of Latin-1 are themselves, the others follow from U+0100 on --- */

static bool is_visible(unsigned b)
{
    return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
}

static uint32_t visible_of_byte(unsigned byte)
{
    uint32_t cp = 256;
    for (unsigned b = 0; b < byte; b++)
        cp += !is_visible(b);
    return is_visible(byte) ? byte : cp;
}

/* -1 for what is not in the alphabet. */
static int byte_of_visible(uint32_t cp)
{
    if (cp < 256)
        return is_visible(cp) ? (int)cp : -1;
    if (cp < 256 + 33)
        return (int)(cp - 256);
    if (cp < 256 + 67)
        return (int)(cp - 256 - 33 + 127);
    return cp == 256 + 67 ? 173 : -1;
}

/* Bytes that a name in the visible alphabet stands for; a name with any other character stands for itself. */
static size_t decode_visible(const char *name, size_t n, char *out)
{
    size_t len = 0;
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        const int k = md_utf8_decode(name + i, n - i, &cp);
        const int byte = k ? byte_of_visible(cp) : -1;
        if (byte < 0) {
            memcpy(out, name, n);
            return n;
        }
        out[len++] = (char)byte;
        i += (size_t)k;
    }
    return len;
}

/* Puts spaces for U+2581. */
static size_t decode_marks(const char *name, size_t n, char *out)
{
    size_t len = 0;
    for (size_t i = 0; i < n;) {
        if (n - i >= 3 && memcmp(name + i, MD_SPACE_MARK, 3) == 0) {
            out[len++] = ' ';
            i += 3;
        } else {
            out[len++] = name[i++];
        }
    }
    return len;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that "<0xXX>" stands for, or -1. */
static int byte_of_name(const char *name, size_t n)
{
    if (n != 6 || memcmp(name, "<0x", 3) != 0 || name[5] != '>')
        return -1;
    const int hi = hex_digit(name[3]), lo = hex_digit(name[4]);
    return hi < 0 || lo < 0 ? -1 : hi * 16 + lo;
}

static size_t decode_name(const md_tokenizer *t, int32_t id, const char *name, size_t n, char *out)
{
    if (t->type[id] == MD_TOKEN_NORMAL)
        return t->kind == MD_TOK_BYTES ? decode_visible(name, n, out) : decode_marks(name, n, out);
    const int byte = t->type[id] == MD_TOKEN_BYTE ? byte_of_name(name, n) : -1;
    if (byte >= 0) {
        out[0] = (char)byte;
        return 1;
    }
    if (n)
        memcpy(out, name, n);
    return n;
}

/* --- the parts, one after another --- */

/* Kinds without a splitting rule, by name of the model. */
static const struct {
    const char *model;
    md_tok_kind kind;
} plain_kinds[] = {{"llama", MD_TOK_SPM}, {"t5", MD_TOK_UNIGRAM}, {"bert", MD_TOK_WORDPIECE}};

static md_status choose_kind(md_tokenizer *t, const md_vocab *v, md_error *err)
{
    const char *model = v->model ? v->model : "";
    for (size_t i = 0; i < sizeof plain_kinds / sizeof plain_kinds[0]; i++)
        if (strcmp(model, plain_kinds[i].model) == 0) {
            t->kind = plain_kinds[i].kind;
            return MD_OK;
        }
    /* Two models are a splitting rule as well. */
    const bool is_rule = strcmp(model, "gemma4") == 0 || strcmp(model, "whitespace") == 0;
    MD_FAIL_IF(!is_rule && strcmp(model, "gpt2") != 0, MD_ERR_UNSUPPORTED,
               "tokenizer model '%s' is not supported; 'gpt2', 'gemma4', 'whitespace', 'llama', 't5' and 'bert' are",
               model);
    const char *pre = is_rule ? model : v->pre ? v->pre : "";
    t->rule = md_pretok_find(pre);
    MD_FAIL_IF(!t->rule, MD_ERR_UNSUPPORTED, "splitting rule '%s' (tokenizer.ggml.pre) is not known to this build",
               pre);
    t->kind = t->rule->options & MD_PRETOK_CHARS ? MD_TOK_CHARS : MD_TOK_BYTES;
    return md_pretok_new(t->rule, &t->pretok, err);
}

static md_status take_id(const md_vocab *v, const char *what, int32_t id, md_error *err)
{
    MD_FAIL_IF(id < -1 || (id >= 0 && (size_t)id >= v->n_tokens), MD_ERR_FORMAT,
               "the %s token is %d, beyond a vocabulary of %zu tokens", what, id, v->n_tokens);
    return MD_OK;
}

static md_status take_settings(md_tokenizer *t, const md_vocab *v, md_error *err)
{
    MD_TRY(take_id(v, "BOS", v->bos, err));
    MD_TRY(take_id(v, "EOS", v->eos, err));
    MD_TRY(take_id(v, "unknown", v->unk, err));
    MD_TRY(take_id(v, "EOT", v->eot, err));
    MD_TRY(take_id(v, "EOM", v->eom, err));
    MD_TRY(take_id(v, "SEP", v->sep, err));
    t->bos = v->bos;
    t->eos = v->eos;
    t->unk = v->unk;
    const unsigned options = t->rule ? t->rule->options : 0;
    const bool spm = t->kind == MD_TOK_SPM, unigram = t->kind == MD_TOK_UNIGRAM, words = t->kind == MD_TOK_WORDPIECE;
    t->add_bos = v->add_bos < 0 ? spm || (options & MD_PRETOK_ADD_BOS) : v->add_bos;
    if (words || (options & MD_PRETOK_FORCE_BOS)) /* encoders of words were never trained without */
        t->add_bos = true;
    t->tail = words ? v->sep : (v->add_eos < 0 ? unigram : v->add_eos) ? v->eos : -1;
    t->add_space_prefix = (spm || unigram) && v->add_space_prefix != 0;
    t->drops_first_space = t->add_space_prefix || words;
    t->lowercase = v->lowercase < 0 ? words : v->lowercase;
    t->strip_accents = v->strip_accents < 0 ? t->lowercase : v->strip_accents != 0;
    return MD_OK;
}

static md_status take_names(md_tokenizer *t, const md_vocab *v, md_error *err)
{
    MD_FAIL_IF(v->n_tokens == 0 || v->n_tokens >= INT32_MAX, MD_ERR_FORMAT, "a vocabulary of %zu tokens", v->n_tokens);
    t->n_tokens = (int32_t)v->n_tokens;
    t->type = md_calloc(v->n_tokens, sizeof *t->type);
    t->eog = md_calloc(v->n_tokens, sizeof *t->eog);
    if (!t->type || !t->eog || !strings_reserve(&t->name, v->token, v->n_tokens) ||
        !strings_reserve(&t->text, v->token, v->n_tokens) || !md_string_table_init(&t->by_name, &t->name, v->n_tokens))
        return md_fail_memory(err, "the vocabulary");
    for (int32_t i = 0; i < t->n_tokens; i++) {
        const int32_t type = v->type ? v->type[i] : MD_TOKEN_NORMAL;
        MD_FAIL_IF(type < 0 || type > MD_TOKEN_BYTE, MD_ERR_FORMAT, "token %d has the unknown type %d", i, type);
        t->type[i] = (uint8_t)(type == 0 ? MD_TOKEN_NORMAL : type);
        strings_append(&t->name, v->token[i].s, v->token[i].n);
        MD_FAIL_IF(v->token[i].n && !md_string_table_add(&t->by_name, i), MD_ERR_FORMAT, MD_TABLE_COLLIDING);
    }
    return MD_OK;
}

/* Texts, the tokens of single bytes, and special tokens: after types are final. */
static md_status derive(md_tokenizer *t, md_error *err)
{
    for (int32_t i = 0; i < t->n_tokens; i++) {
        size_t n;
        const char *name = md_strings_at(&t->name, (size_t)i, &n);
        char *out = t->text.bytes + t->text.start[i];
        const size_t len = decode_name(t, i, name, n, out);
        out[len] = '\0';
        t->text.start[++t->text.n] = t->text.start[i] + len + 1;
        if (len > t->max_text)
            t->max_text = len;
        const bool control = t->type[i] == MD_TOKEN_CONTROL || t->type[i] == MD_TOKEN_UNKNOWN;
        if (control || t->type[i] == MD_TOKEN_USER_DEFINED)
            MD_TRY(md_special_add(&t->special, name, n, i, control, err));
    }
    for (unsigned b = 0; b < 256; b++) {
        char name[8];
        int n;
        if (t->kind == MD_TOK_BYTES)
            n = md_utf8_encode(visible_of_byte(b), name);
        else
            n = snprintf(name, sizeof name, "<0x%02X>", b);
        const int32_t id = md_string_table_find(&t->by_name, name, (size_t)n);
        const int want = t->kind == MD_TOK_BYTES ? MD_TOKEN_NORMAL : MD_TOKEN_BYTE;
        t->byte_id[b] = id >= 0 && t->type[id] == want ? id : -1;
    }
    return MD_OK;
}

/* A merge reads "left right"; a space may be the first character of left, nothing else in it. */
static bool split_merge(md_vocab_str m, size_t *left)
{
    const char *space = m.n > 2 ? memchr(m.s + 1, ' ', m.n - 1) : NULL;
    *left = space ? (size_t)(space - m.s) : 0;
    return space && *left + 1 < m.n;
}

static md_status add_merge(md_tokenizer *t, uint32_t rank, md_vocab_str m, md_buf *joined, md_error *err)
{
    size_t n;
    const int shown = m.n < 80 ? (int)m.n : 80;
    MD_FAIL_IF(!split_merge(m, &n), MD_ERR_FORMAT, "merge %u, '%.*s', is not two tokens with a space between", rank,
               shown, m.s);
    md_buf_reset(joined);
    md_buf_append(joined, m.s, n);
    md_buf_append(joined, m.s + n + 1, m.n - n - 1);
    if (joined->failed)
        return md_fail_memory(err, "the merges");
    const int32_t left = md_string_table_find(&t->by_name, m.s, n);
    const int32_t right = md_string_table_find(&t->by_name, m.s + n + 1, m.n - n - 1);
    const int32_t id = md_string_table_find(&t->by_name, joined->data, joined->len);
    MD_FAIL_IF(left < 0 || right < 0 || id < 0, MD_ERR_FORMAT,
               "merge %u, '%.*s', needs a token that the vocabulary does not have", rank, shown, m.s);
    MD_FAIL_IF(md_tok_is_text(t, id) && !md_merge_table_add(&t->merges, left, right, rank, id), MD_ERR_FORMAT,
               MD_TABLE_COLLIDING);
    return MD_OK;
}

static md_status take_merges(md_tokenizer *t, const md_vocab *v, md_error *err)
{
    MD_FAIL_IF(v->n_merges >= INT32_MAX, MD_ERR_FORMAT, "a vocabulary of %zu merges", v->n_merges);
    if (!md_merge_table_init(&t->merges, v->n_merges))
        return md_fail_memory(err, "the merges");
    md_buf joined = {0};
    md_status status = MD_OK;
    for (size_t i = 0; i < v->n_merges && status == MD_OK; i++)
        status = add_merge(t, (uint32_t)i, v->merge[i], &joined, err);
    md_buf_done(&joined);
    MD_TRY(status);
    if (!(t->rule->options & MD_PRETOK_WHOLE_WORDS))
        return MD_OK;
    if (!md_string_table_init(&t->by_text, &t->text, v->n_tokens))
        return md_fail_memory(err, "the vocabulary");
    for (int32_t i = 0; i < t->n_tokens; i++)
        MD_FAIL_IF(t->type[i] == MD_TOKEN_NORMAL && !md_string_table_add(&t->by_text, i), MD_ERR_FORMAT,
                   MD_TABLE_COLLIDING);
    return MD_OK;
}

/* Merging never makes longer pieces than this: it bounds the work on a text by the text. SentencePiece stops at 512. */
#define MAX_PIECE 1024

static md_status take_scores(md_tokenizer *t, const md_vocab *v, md_error *err)
{
    MD_FAIL_IF(!v->score, MD_ERR_FORMAT, "a SentencePiece vocabulary needs scores and has none");
    t->score = md_calloc(v->n_tokens, sizeof *t->score);
    if (!t->score)
        return md_fail_memory(err, "the vocabulary");
    for (int32_t i = 0; i < t->n_tokens; i++) {
        MD_FAIL_IF(isnan(v->score[i]), MD_ERR_FORMAT, "the score of token %d is not a number", i);
        t->score[i] = v->score[i];
        if (md_tok_is_text(t, i) && v->token[i].n > t->max_piece)
            t->max_piece = v->token[i].n;
    }
    if (t->max_piece > MAX_PIECE)
        t->max_piece = MAX_PIECE;
    return MD_OK;
}

/* Has a name U+2581 after another character? */
static bool mark_inside(const char *name, size_t n)
{
    size_t i = 0;
    while (n - i >= 3 && memcmp(name + i, MD_SPACE_MARK, 3) == 0)
        i += 3;
    for (; n - i >= 3; i++)
        if (memcmp(name + i, MD_SPACE_MARK, 3) == 0)
            return true;
    return false;
}

static void look_for_marks(md_tokenizer *t)
{
    t->spaces_lead = t->kind != MD_TOK_BYTES;
    for (int32_t i = 0; i < t->n_tokens && t->spaces_lead; i++) {
        size_t n;
        const char *name = md_strings_at(&t->name, (size_t)i, &n);
        if (md_tok_is_text(t, i) && mark_inside(name, n))
            t->spaces_lead = false;
    }
}

/* Kinds that work on characters must be able to say any byte, one way or the other. */
static md_status check_fallback(const md_tokenizer *t, md_error *err)
{
    if (t->kind == MD_TOK_BYTES || t->unk >= 0)
        return MD_OK;
    for (int b = 0; b < 256; b++)
        MD_FAIL_IF(t->byte_id[b] < 0, MD_ERR_FORMAT,
                   "the vocabulary has neither an unknown token nor one for the byte <0x%02X>", b);
    return MD_OK;
}

static md_status fill(md_tokenizer *t, const md_vocab *v, md_error *err)
{
    MD_TRY(choose_kind(t, v, err));
    MD_TRY(take_settings(t, v, err));
    MD_TRY(take_names(t, v, err));
    md_tok_mark_eog(t, v->eot, v->eom);
    MD_TRY(derive(t, err));
    look_for_marks(t);
    if (t->rule)
        MD_TRY(take_merges(t, v, err));
    if (t->kind == MD_TOK_SPM || t->kind == MD_TOK_UNIGRAM)
        MD_TRY(take_scores(t, v, err));
    if (t->kind == MD_TOK_UNIGRAM)
        MD_TRY(md_unigram_init(t, v, err));
    if (t->kind == MD_TOK_WORDPIECE)
        MD_TRY(md_wordpiece_init(t, err));
    return check_fallback(t, err);
}

md_status md_tokenizer_new(const md_vocab *v, md_tokenizer **out, md_error *err)
{
    *out = NULL;
    md_tokenizer *t = md_calloc(1, sizeof *t);
    if (!t)
        return md_fail_memory(err, "a tokenizer");
    const md_status status = fill(t, v, err);
    if (status != MD_OK) {
        md_tokenizer_free(t);
        return status;
    }
    *out = t;
    return MD_OK;
}

void md_tokenizer_free(md_tokenizer *t)
{
    if (!t)
        return;
    md_pretok_free(t->pretok);
    md_strings_done(&t->name);
    md_strings_done(&t->text);
    md_string_table_done(&t->by_name);
    md_string_table_done(&t->by_text);
    md_merge_table_done(&t->merges);
    md_special_done(&t->special);
    md_free(t->score);
    md_trie_done(&t->pieces);
    md_charsmap_done(&t->charsmap);
    md_free(t->type);
    md_free(t->eog);
    md_free(t);
}
