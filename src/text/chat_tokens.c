/* SPDX-License-Identifier: Apache-2.0
 *
 * Rendered chats to tokens. Special tokens are looked for inside template segments only; what lies between two of them
 * is tokenized as one text across the borders of segments, so that a conversation without the names of special tokens
 * in its messages gives the tokens of the whole text. */
#include <medley/chat.h>

#include "base/status.h"
#include "text/tok.h"

/* The next special token that lies wholly in one template segment and begins at or after `from`. *at is r->n and the
 * result -1 when there is none. *segment moves to where the search stands. */
static int32_t next_special(const md_rendered *r, const md_tokenizer *t, size_t from, size_t *segment, size_t *at,
                            size_t *len)
{
    for (; *segment < r->n_segments; ++*segment) {
        const md_segment *s = &r->segment[*segment];
        const size_t end = s->start + s->n;
        size_t start = from > s->start ? from : s->start;
        while (s->kind == MD_SEGMENT_TEMPLATE && start < end) {
            const int32_t id = md_special_find(&t->special, r->text, end, start, true, at, len);
            if (id < 0)
                break;
            if (md_token_is_special(t, id))
                return id;
            start = *at + *len; /* one that md_tokenize finds anywhere: it belongs to the text */
        }
    }
    *at = r->n;
    *len = 0;
    return -1;
}

static md_status tokenize(const md_rendered *r, const md_tokenizer *t, md_tokens *out, md_error *err)
{
    size_t segment = 0, at = 0, len = 0;
    for (size_t i = 0; i < r->n || i == 0; i = at + len) {
        const int32_t id = next_special(r, t, i, &segment, &at, &len);
        const bool begins_with_bos = id >= 0 && id == md_token_bos(t) && at == 0;
        if (i == 0 && md_tokenizer_adds_bos(t) && !begins_with_bos)
            MD_TRY(md_tokens_push(out, md_token_bos(t), err));
        if (at > i)
            MD_TRY(md_tokenize(t, r->text + i, at - i, 0, out, err));
        if (id < 0)
            return MD_OK;
        MD_TRY(md_tokens_push(out, id, err));
    }
    return MD_OK;
}

md_status md_rendered_tokenize(const md_rendered *r, const md_tokenizer *t, md_tokens *out, md_error *err)
{
    MD_FAIL_IF(!r || !t || !out || (!r->text && r->n), MD_ERR_ARGUMENT,
               "md_rendered_tokenize needs a rendering, a tokenizer and a list");
    const size_t before = out->n;
    const md_status status = tokenize(r, t, out, err);
    if (status != MD_OK)
        out->n = before;
    return status;
}
