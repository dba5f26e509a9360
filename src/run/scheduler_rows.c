/* SPDX-License-Identifier: Apache-2.0
 *
 * A step's rows: one of each answer and its drafts, then prompts, first come first served, as far as rows, pages and the time
 * that answers may wait for the next token allow (Agrawal et al. 2023, SARATHI). Pages that only keep prefixes make room; if that
 * is not enough, the request that began last gives its own back. */
#include "run/scheduler.h"

#include "model/session.h"

#include <string.h>

#define USUAL_CHUNK  256
#define SLOWED       0.6 /* share of a step of answers that prompts may add */
#define LOOK_AGAIN   64
#define LEAST_CHUNK  16
#define NEWEST       0.2 /* weight of the newest step in what steps cost */
#define USUAL_SLAB   256
#define BITE_SECONDS 0.25 /* of a walk while nobody waits for a token: somebody may want to come in, or to leave */

static void learn(double *mean, double value)
{
    *mean = *mean > 0.0 ? *mean + NEWEST * (value - *mean) : value;
}

static int pace_of(int32_t n_decoding)
{
    int i = 0;
    while (i + 1 < MD_PACES && 1 << i < n_decoding)
        i++;
    return i;
}

void md_rows_learn(md_scheduler *s, double seconds)
{
    md_pace *p = &s->pace;
    const int i = pace_of(s->n_decoding);
    const double decode = s->n_decoding > 0 ? p->decode[i] : 0.0;
    if (s->n_prompt_rows > 0 && seconds > decode)
        learn(&p->prompt_row, (seconds - decode) / s->n_prompt_rows);
    if (s->n_prompt_rows == 0 && s->n_decoding > 0) {
        learn(&p->decode[i], seconds);
        p->since[i] = 0;
    }
}

void md_rows_learn_slab(md_scheduler *s, int32_t rows, double seconds)
{
    learn(&s->pace.slab_row, seconds / rows);
}

/* Seconds that a step with answers leaves to prompts: up to the target, or a share of what answers take. Below 0: unknown. */
static double spare(const md_scheduler *s)
{
    const double decode = s->pace.decode[pace_of(s->n_decoding)];
    if (s->args.step_seconds > 0.0)
        return s->args.step_seconds > decode ? s->args.step_seconds - decode : 0.0;
    return decode > 0.0 ? SLOWED * decode : -1.0;
}

/* Rows that fit into it, each costing so many seconds. */
static int32_t fitting(const md_scheduler *s, double seconds_per_row, int32_t usual)
{
    const double left = spare(s);
    if (left < 0.0 || seconds_per_row <= 0.0)
        return usual < s->n_rows ? usual : s->n_rows;
    const double n = left / seconds_per_row;
    return n < LEAST_CHUNK ? LEAST_CHUNK : n > s->n_rows ? s->n_rows : (int32_t)n;
}

int32_t md_rows_chunk(const md_scheduler *s)
{
    const int32_t n = s->args.n_chunk > 0 ? s->args.n_chunk : fitting(s, s->pace.prompt_row, USUAL_CHUNK);
    return n < s->n_rows ? n : s->n_rows;
}

int32_t md_rows_slab(const md_scheduler *s)
{
    return s->n_decoding == 0 ? s->n_rows : fitting(s, s->pace.slab_row, USUAL_SLAB);
}

double md_rows_spare(const md_scheduler *s)
{
    return s->n_decoding == 0 ? BITE_SECONDS : spare(s);
}

/* Is it time for a step without prompts, to see what answers take alone? */
static bool look_again(md_scheduler *s)
{
    if (s->n_decoding == 0 || s->args.n_chunk > 0)
        return false;
    const int i = pace_of(s->n_decoding);
    return s->pace.decode[i] == 0.0 || ++s->pace.since[i] > LOOK_AGAIN;
}

/* ---- rows ---- */

static int32_t pending_of(const md_request *r)
{
    return r->n_known - md_seq_length(r->seq);
}

bool md_request_decodes(const md_request *r)
{
    return r->seq && !r->embed && r->n_known > r->n_prompt && pending_of(r) == 1;
}

static void put_row(md_scheduler *s, const md_request *r, int32_t token, uint8_t want)
{
    s->token[s->n] = token;
    s->seq[s->n] = r->seq;
    s->want[s->n] = want;
    s->n++;
}

static void add_answer(md_scheduler *s, md_request *r)
{
    r->n_feed = 1;
    r->last_row = s->n;
    put_row(s, r, r->token[r->n_known - 1], MD_WANT_LOGITS);
    r->n_draft = r->n_guess;
    for (int32_t i = 0; i < r->n_draft; i++)
        put_row(s, r, r->guess[i], MD_WANT_LOGITS);
    s->n_decoding++;
}

/* Where a model has a state that is kept at page borders, prompts stop at the last one on their way. */
static int32_t to_border(const md_scheduler *s, const md_request *r, int32_t n)
{
    const int32_t at = md_seq_length(r->seq), end = at + n, border = end / MD_TILE * MD_TILE;
    if (s->session->model->spec.state_floats == 0 || !s->prefixes || r->embed || border <= at)
        return n;
    return border - at;
}

static int32_t add_prompt(md_scheduler *s, md_request *r, int32_t most)
{
    const int32_t at = md_seq_length(r->seq), pending = r->n_known - at;
    int32_t n = pending < most ? pending : most;
    if (r->embed && !s->session->model->spec.causal && n < pending)
        return 0; /* all in one step, or in a later one */
    n = to_border(s, r, n);
    for (int32_t i = 0; i < n; i++) {
        const bool last = i + 1 == pending;
        const bool wants = r->embed ? md_pooled_counts(&r->pooled, (size_t)(at + i)) : last;
        put_row(s, r, r->token[at + i], !wants ? 0 : r->embed ? MD_WANT_HIDDEN : MD_WANT_LOGITS);
    }
    r->n_feed = n;
    r->last_row = s->n - 1;
    s->n_prompt_rows += n;
    return n;
}

static void fill(md_scheduler *s)
{
    s->n = s->n_prompt_rows = s->n_decoding = 0;
    for (md_request *r = s->running.first; r; r = r->next) {
        if (r == s->walker)
            continue;
        r->n_feed = r->n_draft = 0;
        if (md_request_decodes(r))
            add_answer(s, r);
    }
    /* who decodes while others' vectors are made waits as for a prompt */
    int32_t left = s->n_decoding == 0 ? s->n_rows : look_again(s) ? 0 : md_rows_chunk(s);
    left = left < s->n_rows - s->n ? left : s->n_rows - s->n;
    for (md_request *r = s->running.first; r && left > 0; r = r->next)
        if (r != s->walker && r->n_feed == 0)
            left -= add_prompt(s, r, left);
}

/* ---- pages ---- */

static int32_t pages_needed(const md_scheduler *s)
{
    int32_t n = 0;
    for (const md_request *r = s->running.first; r; r = r->next)
        if (r->n_feed > 0 && r != s->walker)
            n += (r->n_draft > 0) + /* a copy without the drafts may share the last page */
                 md_kv_table_pages_needed(s->session->kv, &r->seq->table,
                                          md_seq_length(r->seq) + r->n_feed + r->n_draft);
    return n;
}

bool md_rows_room(md_scheduler *s, int32_t pages)
{
    const int32_t missing = pages - md_kv_pool_free_pages(s->session->kv);
    if (missing > 0 && s->prefixes)
        md_prefixes_evict(s->prefixes, missing);
    return pages <= md_kv_pool_free_pages(s->session->kv);
}

bool md_rows_compose(md_scheduler *s)
{
    for (;;) {
        fill(s);
        if (s->n == 0)
            return s->walker != NULL;
        if (md_rows_room(s, pages_needed(s)))
            return true;
        /* Alone it fits: its context is no larger than the room, which then is its own. */
        md_request *last = s->running.last;
        if (last == s->running.first)
            return true;
        md_request_preempt(last);
    }
}
