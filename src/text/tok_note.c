/* SPDX-License-Identifier: Apache-2.0
 *
 * The way out of every encoder: a token is appended and, if somebody asks, a note of what it stands for. Encoders name
 * the text that they look at; here that becomes bytes of the input, through the normalised copy where there is one. */
#include "text/tok.h"

#include "base/status.h"

#include <string.h>

void md_token_notes_done(md_token_notes *notes)
{
    if (!notes)
        return;
    md_free(notes->at);
    *notes = (md_token_notes){0};
}

const char *md_token_how_name(md_token_how how)
{
    static const char *const names[] = {
        [MD_TOKEN_ADDED] = "added",     [MD_TOKEN_NAMED] = "named",       [MD_TOKEN_WHOLE] = "whole",
        [MD_TOKEN_SINGLE] = "single",   [MD_TOKEN_MERGED] = "merged",     [MD_TOKEN_CHOSEN] = "chosen",
        [MD_TOKEN_LONGEST] = "longest", [MD_TOKEN_FALLBACK] = "fallback",
    };
    return (size_t)how < sizeof names / sizeof names[0] ? names[how] : "";
}

static md_status push_note(md_token_notes *list, md_token_note note, md_error *err)
{
    if (list->n == list->cap) {
        const size_t cap = list->cap ? list->cap + list->cap / 2 : 64;
        md_token_note *p = md_realloc(list->at, cap, sizeof *p);
        if (!p)
            return md_fail_memory(err, "notes about tokens");
        list->at = p;
        list->cap = cap;
    }
    list->at[list->n++] = note;
    return MD_OK;
}

md_status md_emit_at(md_encoder *e, int32_t id, md_span input, md_token_how how, uint32_t rank, md_error *err)
{
    MD_TRY(md_tokens_push(e->out, id, err));
    if (!e->notes)
        return MD_OK;
    const bool in_piece = how != MD_TOKEN_ADDED && how != MD_TOKEN_NAMED;
    const md_token_note note = {.begin = input.begin,
                                .end = input.end,
                                .piece = in_piece ? e->piece : -1,
                                .how = how,
                                .rank = rank == MD_NO_RANK ? -1 : (int32_t)rank};
    return push_note(e->notes, note, err);
}

static md_span span_of(const md_encoder *e, size_t i)
{
    md_span s;
    memcpy(&s, e->spans.data + i * sizeof s, sizeof s);
    return s;
}

/* The bytes of the segment that s[0..n) stands for. */
static md_span in_segment(const md_encoder *e, const char *s, size_t n)
{
    if (e->stand_in)
        return (md_span){(size_t)(e->stand_in - e->segment), (size_t)(e->stand_in - e->segment) + 1};
    if (e->spans.len == 0)
        return (md_span){(size_t)(s - e->segment), (size_t)(s - e->segment) + n};
    const size_t first = (size_t)(s - e->escaped.data);
    return (md_span){span_of(e, first).begin, span_of(e, n ? first + n - 1 : first).end};
}

md_status md_emit(md_encoder *e, int32_t id, const char *s, size_t n, md_token_how how, uint32_t rank, md_error *err)
{
    if (!e->notes)
        return md_tokens_push(e->out, id, err);
    const md_span at = in_segment(e, s, n);
    return md_emit_at(e, id, (md_span){e->segment_at + at.begin, e->segment_at + at.end}, how, rank, err);
}

md_status md_emit_fallback(md_encoder *e, const char *s, size_t n, md_error *err)
{
    const md_tokenizer *t = e->t;
    bool all = true;
    for (size_t i = 0; i < n; i++)
        all = all && t->byte_id[(unsigned char)s[i]] >= 0;
    if (!all) /* the unknown token exists: a tokenizer is made only with one or the other */
        return md_emit(e, t->unk, s, n, MD_TOKEN_FALLBACK, MD_NO_RANK, err);
    for (size_t i = 0; i < n; i++)
        MD_TRY(md_emit(e, t->byte_id[(unsigned char)s[i]], s + i, 1, MD_TOKEN_FALLBACK, MD_NO_RANK, err));
    return MD_OK;
}

void md_escaped_reset(md_encoder *e)
{
    md_buf_reset(&e->escaped);
    md_buf_reset(&e->spans);
}

void md_escaped_put(md_encoder *e, const char *s, size_t n, size_t begin, size_t end)
{
    md_buf_append(&e->escaped, s, n);
    const md_span span = {begin, end};
    for (size_t i = 0; e->notes && i < n; i++)
        md_buf_append(&e->spans, &span, sizeof span);
}

md_status md_escaped_check(const md_encoder *e, md_error *err)
{
    return e->escaped.failed || e->spans.failed ? md_fail_memory(err, "tokenizing a long text") : MD_OK;
}
