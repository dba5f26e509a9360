/* SPDX-License-Identifier: Apache-2.0
 *
 * Drafts from a smaller model (Leviathan et al. 2023): it reads what the requests know, all of them in one step, and goes on with
 * its likeliest token as long as it is sure of it. Whatever fails here only means that there is no draft. */
#include "run/scheduler.h"

#include "base/status.h"
#include "model/session.h"

#include <math.h>
#include <string.h>

#define SURE 0.4f /* probability that a token must have for another one to be drafted behind it */

void md_scheduler_drafter_args(const md_model *drafter, const md_scheduler_args *args, const md_session_args *session,
                               md_session_args *out)
{
    md_session_args_default(drafter, out);
    out->n_threads = session->n_threads;
    out->n_context = session->n_context > 0 ? session->n_context : session->n_positions;
    if (drafter->spec.ctx_limit > 0 && out->n_context > drafter->spec.ctx_limit)
        out->n_context = drafter->spec.ctx_limit;
    out->n_positions = session->n_positions > out->n_context ? session->n_positions : out->n_context;
    out->n_sequences = out->n_logits = args->n_running;
    out->n_rows = out->n_rows > args->n_running ? out->n_rows : args->n_running;
    out->isa = session->isa;
}

md_status md_drafter_check(const md_session *drafter, const md_session *s, int32_t n_running, md_error *err)
{
    const md_model *small = drafter->model, *large = s->model;
    const md_tokenizer *a = md_model_tokenizer(small), *b = md_model_tokenizer(large);
    MD_FAIL_IF(drafter == s || !small->spec.causal || !small->spec.output.data || drafter->args.hidden_only ||
                   small->spec.state_floats > 0,
               MD_ERR_UNSUPPORTED,
               "'%s' cannot draft: that takes a causal model without recurrent layers, in its own session",
               small->info.name);
    MD_FAIL_IF(drafter->args.n_logits < n_running || drafter->args.n_sequences - drafter->n_seqs < n_running,
               MD_ERR_ARGUMENT,
               "the drafter's session has %d logits rows and %d sequences; %d requests at once need as many",
               drafter->args.n_logits, drafter->args.n_sequences - drafter->n_seqs, n_running);
    MD_FAIL_IF(!a || !b || md_tokenizer_size(a) != md_tokenizer_size(b), MD_ERR_UNSUPPORTED,
               "'%s' cannot draft for '%s': their tokens differ", small->info.name, large->info.name);
    for (int32_t t = 0; t < md_tokenizer_size(a); t++) {
        size_t n = 0, m = 0;
        const char *x = md_token_bytes(a, t, &n), *y = md_token_bytes(b, t, &m);
        MD_FAIL_IF(n != m || memcmp(x, y, n) != 0, MD_ERR_UNSUPPORTED,
                   "'%s' cannot draft for '%s': their tokens differ, token %d is one of them", small->info.name,
                   large->info.name, t);
    }
    return MD_OK;
}

/* The likeliest token that the tokenizer knows, and how likely it is. */
static int32_t likeliest(const float *logits, int32_t n, float *share)
{
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++)
        best = logits[i] > logits[best] ? i : best;
    float sum = 0.0f; /* what is drafted changes no result: libm will do */
    for (int32_t i = 0; i < n; i++)
        sum += expf(logits[i] - logits[best]);
    *share = 1.0f / sum;
    return best;
}

/* Brings the drafter's sequence back to what proved right. */
static bool rewind_to_known(md_request *r)
{
    const int32_t fed = md_seq_length(r->draft_seq);
    int32_t same = fed < r->guessed_at ? fed : r->guessed_at;
    while (same < fed && same < r->n_known && r->token[same] == r->guess_read[same - r->guessed_at])
        same++;
    const int32_t most = r->n_known - 1;
    return md_seq_trim(r->draft_seq, same < most ? same : most, NULL) == MD_OK;
}

static int32_t most_guesses(const md_scheduler *s, const md_request *r)
{
    const int32_t room = r->cap - r->n_known - 1, context = s->args.drafter->args.n_context - r->n_known;
    int32_t most = s->args.n_draft < room ? s->args.n_draft : room;
    most = most < context ? most : context;
    return most;
}

/* Does r want guesses, and can it have any? */
static bool begin(md_scheduler *s, md_request *r)
{
    if (!r->wants_guess || most_guesses(s, r) < 1)
        return false;
    if (!r->draft_seq && md_seq_new(s->args.drafter, &r->draft_seq, NULL) != MD_OK)
        return false;
    return rewind_to_known(r);
}

/* Rows of known tokens that the drafter has not read; true if they are all there. */
static bool add_known(md_scheduler *s, md_request *r)
{
    const int32_t at = md_seq_length(r->draft_seq), pending = r->n_known - at,
                  left = s->args.drafter->args.n_rows - s->n;
    const int32_t n = pending < left ? pending : left;
    for (int32_t i = 0; i < n; i++, s->n++) {
        s->token[s->n] = r->token[at + i];
        s->seq[s->n] = r->draft_seq;
        s->want[s->n] = i + 1 == pending ? MD_WANT_LOGITS : 0;
    }
    r->last_row = s->n - 1;
    return n == pending;
}

static bool run(md_scheduler *s)
{
    return s->n > 0 &&
           md_decode(s->args.drafter, &(md_batch){.n = s->n, .token = s->token, .seq = s->seq, .want = s->want},
                     NULL) == MD_OK;
}

/* The token behind r's last row; false: that was the last one. */
static bool take(md_scheduler *s, md_request *r)
{
    const int32_t n = md_tokenizer_size(s->tokenizer), vocab = s->args.drafter->model->spec.n_vocab;
    float share;
    const int32_t token = likeliest(md_step_logits(s->args.drafter, r->last_row), n < vocab ? n : vocab, &share);
    if (share < SURE && r->n_guess > 0)
        return false;
    r->guess[r->n_guess] = r->guess_read[r->n_guess] = token;
    r->n_guess++;
    return share >= SURE && r->n_guess < most_guesses(s, r);
}

/* The arrays of the step to come serve the drafter's steps first: they are as long as the longer one's rows. */
void md_drafter_run(md_scheduler *s)
{
    s->n = 0;
    for (md_request *r = s->running.first; r; r = r->next) {
        r->guessing = begin(s, r);
        if (!r->guessing)
            continue;
        r->guessed_at = r->n_known;
        r->guessing = s->n < s->args.drafter->args.n_rows && add_known(s, r);
    }
    while (run(s)) {
        s->n = 0;
        for (md_request *r = s->running.first; r; r = r->next) {
            r->guessing = r->guessing && take(s, r);
            if (!r->guessing)
                continue;
            r->last_row = s->n;
            s->token[s->n] = r->guess[r->n_guess - 1];
            s->seq[s->n] = r->draft_seq;
            s->want[s->n++] = MD_WANT_LOGITS;
        }
    }
}
