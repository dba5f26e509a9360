/* SPDX-License-Identifier: Apache-2.0
 *
 * The tokenizer's public face: questions about tokens, and md_tokenize, which takes special tokens out of the text and
 * hands what lies between to the encoder of its kind. Scratch lives for one call; nothing is shared. */
#include "text/tok.h"

#include "base/status.h"

void md_tokens_done(md_tokens *t)
{
    if (!t)
        return;
    md_free(t->id);
    *t = (md_tokens){0};
}

md_status md_tokens_push(md_tokens *t, int32_t id, md_error *err)
{
    if (t->n == t->cap) {
        const size_t cap = t->cap ? t->cap + t->cap / 2 : 64;
        int32_t *p = md_realloc(t->id, cap, sizeof *p);
        if (!p)
            return md_fail_memory(err, "a list of tokens");
        t->id = p;
        t->cap = cap;
    }
    t->id[t->n++] = id;
    return MD_OK;
}

/* Text between special tokens. begins: it begins the text or follows a special token. */
static md_status encode(md_encoder *e, const char *text, size_t n, bool begins, md_error *err)
{
    if (n == 0)
        return MD_OK;
    const bool prefix = e->t->add_space_prefix && begins;
    switch (e->t->kind) {
    case MD_TOK_SPM: return md_encode_spm(e, text, n, prefix, err);
    case MD_TOK_UNIGRAM: return md_encode_unigram(e, text, n, prefix, err);
    case MD_TOK_WORDPIECE: return md_encode_wordpiece(e, text, n, err);
    case MD_TOK_BYTES:
    case MD_TOK_CHARS: break;
    }
    return md_encode_bpe(e, text, n, err);
}

static md_status encode_all(md_encoder *e, const char *text, size_t n, unsigned flags, md_error *err)
{
    const md_tokenizer *t = e->t;
    if ((flags & MD_TOKENIZE_BOS) && md_tokenizer_adds_bos(t))
        MD_TRY(md_emit_at(e, t->bos, (md_span){0, 0}, MD_TOKEN_ADDED, MD_NO_RANK, err));
    bool begins = !(flags & MD_TOKENIZE_INNER);
    for (size_t i = 0; i < n;) {
        size_t at = n, len = 0;
        const int32_t id = md_special_find(&t->special, text, n, i, flags & MD_TOKENIZE_SPECIAL, &at, &len);
        e->segment = text + i;
        e->segment_at = i;
        e->work += at - i;
        MD_TRY(encode(e, text + i, at - i, begins, err));
        if (id >= 0)
            MD_TRY(md_emit_at(e, id, (md_span){at, at + len}, MD_TOKEN_NAMED, MD_NO_RANK, err));
        begins = true;
        i = at + len;
    }
    if ((flags & MD_TOKENIZE_BOS) && t->tail >= 0)
        MD_TRY(md_emit_at(e, t->tail, (md_span){n, n}, MD_TOKEN_ADDED, MD_NO_RANK, err));
    return MD_OK;
}

/* notes, work: NULL allowed. */
static md_status run(const md_tokenizer *t, const char *text, size_t n, unsigned flags, md_tokens *out,
                     md_token_notes *notes, uint64_t *work, md_error *err)
{
    const unsigned known = MD_TOKENIZE_BOS | MD_TOKENIZE_SPECIAL | MD_TOKENIZE_INNER;
    MD_FAIL_IF(!t || !out || (!text && n), MD_ERR_ARGUMENT, "md_tokenize needs a tokenizer, a text and a list");
    MD_FAIL_IF(flags & ~known, MD_ERR_ARGUMENT, "md_tokenize does not know the flags 0x%x", flags & ~known);
    md_encoder e = {.t = t, .out = out, .notes = notes, .piece = -1};
    if (t->pretok) {
        e.pretok = md_pretok_scratch_new();
        if (!e.pretok)
            return md_fail_memory(err, "splitting a text into words");
    }
    const size_t before = out->n, notes_before = notes ? notes->n : 0;
    const md_status status = encode_all(&e, text, n, flags, err);
    if (status != MD_OK) {
        out->n = before;
        if (notes)
            notes->n = notes_before;
    }
    if (work)
        *work = e.work + e.merge.work;
    md_pretok_scratch_free(e.pretok);
    md_merge_scratch_done(&e.merge);
    md_buf_done(&e.escaped);
    md_buf_done(&e.spans);
    md_free(e.path);
    return status;
}

md_status md_tokenize(const md_tokenizer *t, const char *text, size_t n, unsigned flags, md_tokens *out, md_error *err)
{
    return run(t, text, n, flags, out, NULL, NULL, err);
}

md_status md_tokenize_explain(const md_tokenizer *t, const char *text, size_t n, unsigned flags, md_tokens *out,
                              md_token_notes *notes, md_error *err)
{
    MD_FAIL_IF(!notes, MD_ERR_ARGUMENT, "md_tokenize_explain needs a list of notes");
    return run(t, text, n, flags, out, notes, NULL, err);
}

md_status md_tokenize_counted(const md_tokenizer *t, const char *text, size_t n, unsigned flags, md_tokens *out,
                              uint64_t *work, md_error *err)
{
    return run(t, text, n, flags, out, NULL, work, err);
}

static bool in_range(const md_tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->n_tokens;
}

int32_t md_tokenizer_size(const md_tokenizer *t)
{
    return t->n_tokens;
}

const char *md_tokenizer_kind(const md_tokenizer *t)
{
    switch (t->kind) {
    case MD_TOK_SPM: return "spm";
    case MD_TOK_UNIGRAM: return "unigram";
    case MD_TOK_WORDPIECE: return "wordpiece";
    case MD_TOK_BYTES:
    case MD_TOK_CHARS: break;
    }
    return "bpe";
}

const char *md_tokenizer_pre(const md_tokenizer *t)
{
    return t->rule ? t->rule->name : "";
}

const char *md_token_bytes(const md_tokenizer *t, int32_t id, size_t *n)
{
    *n = 0;
    return in_range(t, id) ? md_strings_at(&t->text, (size_t)id, n) : NULL;
}

const char *md_token_type_name(const md_tokenizer *t, int32_t id)
{
    static const char *const names[] = {
        [MD_TOKEN_NORMAL] = "normal",   [MD_TOKEN_UNKNOWN] = "unknown",
        [MD_TOKEN_CONTROL] = "control", [MD_TOKEN_USER_DEFINED] = "user-defined",
        [MD_TOKEN_UNUSED] = "unused",   [MD_TOKEN_BYTE] = "byte",
    };
    return in_range(t, id) ? names[t->type[id]] : "";
}

bool md_token_score(const md_tokenizer *t, int32_t id, float *score)
{
    const bool has = t->score && in_range(t, id);
    *score = has ? t->score[id] : 0;
    return has;
}

bool md_token_is_special(const md_tokenizer *t, int32_t id)
{
    return in_range(t, id) &&
           (t->type[id] == MD_TOKEN_CONTROL || t->type[id] == MD_TOKEN_UNKNOWN || t->type[id] == MD_TOKEN_UNUSED);
}

bool md_token_is_eog(const md_tokenizer *t, int32_t id)
{
    return in_range(t, id) && t->eog[id];
}

int32_t md_token_find(const md_tokenizer *t, const char *name, size_t n)
{
    return md_string_table_find(&t->by_name, name, n);
}

int32_t md_token_bos(const md_tokenizer *t)
{
    return t->bos;
}

int32_t md_token_eos(const md_tokenizer *t)
{
    return t->eos;
}

bool md_tokenizer_adds_bos(const md_tokenizer *t)
{
    return t->add_bos && t->bos >= 0;
}
