/* SPDX-License-Identifier: Apache-2.0
 *
 * Drafts from the text itself (Saxena 2023, "Prompt Lookup Decoding"): what followed the last time that the same few tokens
 * came up. The longest repetition counts, of equal ones the latest. */
#include "run/scheduler.h"

#include <string.h>

#define LONGEST     4    /* tokens that must be repeated */
#define LOOKED_AT   8192 /* back from the end */
#define DRAFT_WORTH 0.25 /* share of drafted tokens that must prove right for it to go on */

/* The tokens that followed the last time the known ones ended like now: up to `most`, written to out; returns how many. */
static int32_t look_up(const int32_t *known, int32_t n, int32_t *out, int32_t most)
{
    const int32_t from = n > LOOKED_AT ? n - LOOKED_AT : 0;
    int32_t best = 0, at = -1;
    for (int32_t end = n - 1; end > from && best < LONGEST; end--) { /* a repetition that ends before known[end] */
        int32_t same = 0;
        while (same < LONGEST && end - 1 - same >= from && known[end - 1 - same] == known[n - 1 - same])
            same++;
        if (same > best) {
            best = same;
            at = end;
        }
    }
    if (best < 2)
        return 0;
    const int32_t follow = n - at, take = follow < most ? follow : most;
    memcpy(out, known + at, (size_t)take * sizeof *out);
    return take;
}

void md_draft_all(md_scheduler *s)
{
    if (s->args.n_draft == 0)
        return;
    bool more = false;
    for (md_request *r = s->running.first; r; r = r->next) {
        r->n_guess = 0;
        r->wants_guess = false;
        /* drafts can be kept only as far as the answer and its context go */
        const int32_t room = r->cap - r->n_known - 1, most = s->args.n_draft < room ? s->args.n_draft : room;
        if (most < 1 || r->draft_worth < DRAFT_WORTH || !md_request_decodes(r))
            continue;
        r->n_guess = look_up(r->token, r->n_known, r->guess, most);
        more |= r->wants_guess = r->n_guess == 0;
    }
    if (more && s->args.drafter)
        md_drafter_run(s);
}
