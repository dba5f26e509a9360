/* SPDX-License-Identifier: Apache-2.0
 *
 * The scheduler: its life, and its step: requests that left, requests that begin, a step of the session, what came of it, and a
 * prompt's way through some layers. */
#include "run/scheduler.h"

#include "base/status.h"
#include "base/sys.h"
#include "model/session.h"
#include "run/logprob.h"

#include <string.h>

#define MOST_RUNNING 1024
#define MOST_WAITING (1 << 20)
#define USUAL_CTX    8192
#define FULL_ONES    4 /* requests of a full context that the usual room takes */
#define USUAL_ROWS   512
#define MOST_WALK    4096 /* tokens that go layer by layer together */
#define STATES_KEPT  64   /* of recurrent layers, at page borders of kept prefixes; fewer where they are large: */
#define STATE_BYTES  (256 << 20)

const char *md_prefill_name(md_prefill p)
{
    switch (p) {
    case MD_PREFILL_AUTO: return "auto";
    case MD_PREFILL_CHUNKED: return "chunked";
    case MD_PREFILL_LAYERED: return "layered";
    }
    return "?";
}

void md_scheduler_args_default(md_scheduler_args *args)
{
    *args = (md_scheduler_args){.n_running = 16, .n_waiting = 1024, .keep_prefixes = true};
}

static bool copies_for_drafts(const md_model *m, const md_scheduler_args *a)
{
    return a->n_draft > 0 && m->spec.state_floats > 0;
}

void md_scheduler_session_args(const md_model *m, const md_scheduler_args *args, md_session_args *out)
{
    const int32_t context = m->spec.n_ctx < USUAL_CTX ? m->spec.n_ctx : USUAL_CTX;
    if (!m->spec.causal || !m->spec.output.data) {
        md_embed_session_args(m, context, out);
        out->n_sequences = args->n_running;
        return;
    }
    md_session_args_default(m, out);
    const int32_t full = args->n_running < FULL_ONES ? args->n_running : FULL_ONES;
    const int32_t answers = args->n_running * (1 + args->n_draft);
    out->n_context = context;
    out->n_positions = context * full;
    out->n_rows = answers > USUAL_ROWS ? answers : USUAL_ROWS;
    out->n_logits = answers;
    out->n_hidden = out->n_rows;
    out->n_sequences = args->n_running * (copies_for_drafts(m, args) ? 2 : 1);
    /* where experts are read from the file, a prompt that goes layer by layer reads each one fewer times */
    if (args->prefill == MD_PREFILL_LAYERED || (args->prefill == MD_PREFILL_AUTO && m->streamed))
        out->n_walk = context < MOST_WALK ? context : MOST_WALK;
}

static int64_t state_bytes(const md_model *m)
{
    const int64_t one = 4 * m->spec.state_floats, all = STATES_KEPT * one;
    return all <= STATE_BYTES ? all : one > STATE_BYTES / 4 ? 4 * one : STATE_BYTES;
}

#define REQUEST_BYTES (64 << 10)
#define TOKEN_BYTES   32 /* of the sampler, a token of the vocabulary */

int64_t md_scheduler_bytes(const md_model *m, const md_scheduler_args *a, const md_session_args *session)
{
    const int64_t context = session->n_context > 0 ? session->n_context : session->n_positions;
    const md_prefixes_args kept = {.folder = a->kv_folder, .state_bytes = state_bytes(m)};
    return (a->keep_prefixes ? (int64_t)md_prefixes_bytes(m, session->n_positions, &kept) : 0) +
           (int64_t)m->spec.n_vocab * TOKEN_BYTES + a->n_running * (REQUEST_BYTES + context * (int64_t)sizeof(int32_t));
}

static md_status check(const md_session *s, const md_scheduler_args *a, md_error *err)
{
    const md_session_args *have = &s->args;
    MD_FAIL_IF(a->n_running < 1 || a->n_running > MOST_RUNNING, MD_ERR_ARGUMENT, "%d requests at once; give 1 to %d",
               a->n_running, MOST_RUNNING);
    MD_FAIL_IF(a->n_waiting < 1 || a->n_waiting > MOST_WAITING, MD_ERR_ARGUMENT, "a queue of %d requests; give 1 to %d",
               a->n_waiting, MOST_WAITING);
    MD_FAIL_IF(a->n_draft < 0 || a->n_draft > MD_MOST_DRAFT, MD_ERR_ARGUMENT, "drafts of %d tokens; give 0 to %d",
               a->n_draft, MD_MOST_DRAFT);
    MD_FAIL_IF(a->n_chunk < 0 || !(a->step_seconds >= 0.0), MD_ERR_ARGUMENT,
               "a chunk of %d prompt tokens and steps of %g s; give 0 or more", a->n_chunk, a->step_seconds);
    MD_FAIL_IF((unsigned)a->prefill > MD_PREFILL_LAYERED || (unsigned)a->order > MD_ORDER_PREFIX, MD_ERR_ARGUMENT,
               "there is no such way to order requests or to run prompts");
    if (a->drafter)
        MD_TRY(md_drafter_check(a->drafter, s, a->n_running, err));
    const int32_t answers = have->hidden_only ? 1 : a->n_running * (1 + a->n_draft);
    const int32_t sequences = a->n_running * (copies_for_drafts(s->model, a) ? 2 : 1);
    MD_FAIL_IF(
        have->n_logits < answers || have->n_sequences - s->n_seqs < sequences, MD_ERR_ARGUMENT,
        "%d requests at once with drafts of %d tokens need %d logits rows and %d sequences, but the session has %d and %d",
        a->n_running, a->n_draft, answers, sequences, have->n_logits, have->n_sequences - s->n_seqs);
    return MD_OK;
}

static md_status make(md_scheduler *s, md_error *err)
{
    md_session *session = s->session;
    const int32_t drafts = s->args.drafter ? md_session_max_rows(s->args.drafter) : 0;
    const size_t rows = (size_t)(session->args.n_rows > drafts ? session->args.n_rows : drafts);
    /* text ends with the hidden states of a text's positions: all of them must be there */
    s->n_rows = session->args.hidden_only ? session->args.n_hidden : session->args.n_rows;
    s->token = md_calloc(rows, sizeof *s->token);
    s->seq = md_calloc(rows, sizeof(md_seq *));
    s->want = md_calloc(rows, 1);
    s->work = md_sampler_work_new(s->n_vocab);
    if (!s->token || !s->seq || !s->want || !s->work)
        return md_fail_memory(err, "a scheduler");
    if (session->args.n_walk > 0 && md_walk_suits(session) && !md_observed(session, MD_POINT_LAYER_IN))
        MD_TRY(md_walk_new(session, &s->walk, err));
    if (s->args.keep_prefixes && session->model->spec.causal && session->args.on_miss == MD_ON_MISS_READ)
        MD_TRY(md_prefixes_new(session,
                               &(md_prefixes_args){.folder = s->args.kv_folder,
                                                   .folder_bytes = s->args.kv_folder_bytes,
                                                   .state_bytes = state_bytes(session->model)},
                               &s->prefixes, err));
    s->args.kv_folder = NULL; /* the caller's text may go */
    return MD_OK;
}

md_status md_scheduler_new(md_session *session, const md_scheduler_args *args, md_scheduler **out, md_error *err)
{
    *out = NULL;
    MD_TRY(check(session, args, err));
    md_scheduler *s = md_calloc(1, sizeof *s);
    if (!s)
        return md_fail_memory(err, "a scheduler");
    *s = (md_scheduler){.session = session,
                        .args = *args,
                        .tokenizer = md_model_tokenizer(session->model),
                        .n_vocab = session->model->spec.n_vocab};
    const md_status status = make(s, err);
    if (status != MD_OK) {
        md_scheduler_free(s);
        return status;
    }
    *out = s;
    return MD_OK;
}

static void free_list(md_request_list *l)
{
    while (l->first) {
        md_request *r = l->first;
        md_list_remove(l, r);
        md_request_free(r);
    }
}

void md_scheduler_free(md_scheduler *s)
{
    if (!s)
        return;
    free_list(&s->running);
    free_list(&s->waiting);
    md_walk_free(s->walk);
    md_prefixes_free(s->prefixes);
    md_sampler_work_free(s->work);
    md_free(s->token);
    md_free((void *)s->seq);
    md_free(s->want);
    md_free(s);
}

/* ---- begin and leave ---- */

/* Pages that those who run will take for what they know already, and for the next token. */
static int32_t pages_promised(const md_scheduler *s)
{
    int32_t n = 0;
    for (const md_request *r = s->running.first; r; r = r->next) {
        const int32_t all = md_kv_pages_of(r->n_known + 1) - r->seq->table.n_pages;
        n += all > 0 ? all : 0;
    }
    return n;
}

static bool fits(const md_scheduler *s, const md_request *r)
{
    if (s->running.n == 0)
        return true;
    const int32_t kept = s->prefixes ? md_prefixes_evictable(s->prefixes) : 0;
    return md_kv_pages_of(r->n_known + 1) + pages_promised(s) <= md_kv_pool_free_pages(s->session->kv) + kept;
}

/* r's sequence, with as much of its text as is kept. */
static md_status begin(md_scheduler *s, md_request *r, md_error *err)
{
    MD_TRY(md_seq_new(s->session, &r->seq, err));
    int32_t taken = 0;
    if (s->prefixes && !r->embed)
        MD_TRY(md_prefixes_take(s->prefixes, r->seq, md_request_scope(r), r->token, (size_t)r->n_known, &taken, err));
    if (r->began == 0.0) {
        r->began = md_sys_seconds();
        r->n_cached = taken;
        s->counts.cached_tokens += (uint64_t)taken;
    }
    md_list_remove(&s->waiting, r);
    r->running = true;
    r->prefix_kept = false;
    md_list_add(&s->running, r);
    if (r->n_known == r->n_prompt)
        md_request_emit(r, &(md_request_event){.point = MD_REQUEST_PROMPT, .n_done = taken});
    return MD_OK;
}

static void admit(md_scheduler *s)
{
    while (s->running.n < s->args.n_running) {
        md_request *r = md_order_next(s);
        if (!r || !fits(s, r))
            return;
        md_error why;
        if (begin(s, r, &why) != MD_OK)
            md_request_fail(r, &why);
    }
}

/* ---- what came of a step ---- */

static void keep_prefix(md_scheduler *s, md_request *r)
{
    if (s->prefixes && !r->embed)
        md_prefixes_add(s->prefixes, r->seq, md_request_scope(r), r->token, (size_t)r->n_known);
}

static void drop_cancelled(md_request_list *l)
{
    for (md_request *r = l->first, *next; r; r = next) {
        next = r->next;
        if (!r->cancelled)
            continue;
        if (r->seq && !r->seq->walking)
            keep_prefix(r->owner, r);
        md_request_end(r);
    }
}

/* The token that r's last row gave, told to r. */
static void tell_token(md_scheduler *s, md_request *r, const float *logits, int32_t token)
{
    md_request_event e = {.point = MD_REQUEST_TOKEN, .token = token};
    if (r->n_candidates >= 0) {
        e.logprob = md_logprobs(logits, s->n_vocab, token, s->candidate, r->n_candidates);
        e.candidate = s->candidate;
        e.n_candidates = r->n_candidates;
    }
    md_request_emit(r, &e);
}

/* Brings the sequence back to what is known, less the last token, which was not fed: drafts behind it were wrong. */
static md_status drop_drafts(md_request *r, md_error *err)
{
    const int32_t right = r->n_known - 1;
    if (r->before && md_seq_length(r->seq) > right) {
        md_seq_free(r->seq);
        r->seq = r->before;
    } else {
        md_seq_free(r->before);
        if (md_seq_length(r->seq) > right)
            MD_TRY(md_seq_trim(r->seq, right, err));
    }
    r->before = NULL;
    return MD_OK;
}

static void judge_drafts(md_scheduler *s, md_request *r, int32_t right)
{
    if (r->n_draft == 0)
        return;
    r->n_drafted += r->n_draft;
    r->n_accepted += right;
    r->draft_worth += 0.1 * ((double)right / r->n_draft - r->draft_worth);
    s->counts.drafted += (uint64_t)r->n_draft;
    s->counts.accepted += (uint64_t)right;
}

/* Tokens of all rows that count: the last known one's, and those of drafts as long as they prove right. drafted: the tokens
 * that stood behind it. */
static md_status answer(md_scheduler *s, md_request *r, const int32_t *drafted, md_error *err)
{
    md_answer *a = &r->answer;
    int32_t right = 0;
    for (;; right++) {
        const float *logits = md_step_logits(s->session, r->last_row + right);
        int32_t token;
        MD_TRY(md_answer_next(a, logits, r->n_known - 1, &token, err));
        MD_FAIL_IF(r->text.failed, MD_ERR_MEMORY, "no memory for an answer's text");
        if (r->answered == 0.0)
            r->answered = md_sys_seconds();
        if (token >= 0) {
            r->token[r->n_known++] = token;
            s->counts.answer_tokens++;
            md_client_serve(r, 0, 1);
            if (!a->over && r->n_known == r->cap)
                MD_TRY(md_answer_end(a, MD_FINISH_CONTEXT, err));
            tell_token(s, r, logits, token);
        }
        if (a->over || right == r->n_draft || drafted[right] != token)
            break;
    }
    judge_drafts(s, r, right);
    return drop_drafts(r, err);
}

static md_status pool_rows(md_scheduler *s, md_request *r, md_error *err)
{
    const int32_t at = md_seq_length(r->seq) - r->n_feed, first = r->last_row - r->n_feed + 1;
    for (int32_t i = 0; i < r->n_feed; i++)
        MD_TRY(md_pooled_add(&r->pooled, (size_t)(at + i), md_step_hidden(s->session, first + i), err));
    return MD_OK;
}

static md_status settle_one(md_scheduler *s, md_request *r, bool *over, md_error *err)
{
    const bool prompt = r->n_known == r->n_prompt, fed = md_seq_length(r->seq) - r->n_draft == r->n_known;
    *over = false;
    if (prompt) {
        s->counts.prompt_tokens += (uint64_t)r->n_feed;
        md_client_serve(r, r->n_feed, 0);
        md_request_emit(r, &(md_request_event){.point = MD_REQUEST_PROMPT, .n_done = md_seq_length(r->seq)});
    }
    if (r->embed) {
        MD_TRY(pool_rows(s, r, err));
        *over = fed;
        return MD_OK;
    }
    if (!r->prefix_kept && (fed || s->session->model->spec.state_floats > 0))
        keep_prefix(s, r);
    r->prefix_kept |= fed;
    if (!fed)
        return MD_OK;
    MD_TRY(answer(s, r, s->token + r->last_row + 1, err));
    *over = r->answer.over;
    return MD_OK;
}

static void settle(md_scheduler *s, md_request *r)
{
    md_error why;
    bool over;
    if (settle_one(s, r, &over, &why) != MD_OK) {
        md_request_fail(r, &why);
    } else if (over) {
        keep_prefix(s, r);
        md_request_end(r);
    }
}

/* ---- a step ---- */

/* Copies of sequences that cannot be shortened, before their drafts run. */
static md_status keep_before(md_scheduler *s, md_error *err)
{
    if (!copies_for_drafts(s->session->model, &s->args))
        return MD_OK;
    for (md_request *r = s->running.first; r; r = r->next)
        if (r->n_draft > 0)
            MD_TRY(md_seq_fork(r->seq, &r->before, err));
    return MD_OK;
}

static void run_rows(md_scheduler *s)
{
    md_error why;
    const double began = md_sys_seconds();
    md_status status = keep_before(s, &why);
    if (status == MD_OK)
        status = md_decode(s->session, &(md_batch){.n = s->n, .token = s->token, .seq = s->seq, .want = s->want}, &why);
    const double seconds = md_sys_seconds() - began;
    s->counts.busy_seconds += seconds;
    s->counts.steps++;
    if (status == MD_OK)
        md_rows_learn(s, seconds);
    for (md_request *r = s->running.first, *next; r; r = next) {
        next = r->next;
        if (r->n_feed == 0 || r == s->walker)
            continue;
        if (status != MD_OK)
            md_request_fail(r, &why);
        else
            settle(s, r);
    }
}

/* Somebody whose prompt is worth it sets out, if the walk is free. */
static void choose_walker(md_scheduler *s)
{
    if (!s->walk || s->walker)
        return;
    bool others = false;
    for (const md_request *r = s->running.first; r; r = r->next)
        others |= r->n_known > r->n_prompt;
    for (md_request *r = s->running.first; r; r = r->next) {
        const int32_t at = md_seq_length(r->seq), left = r->n_known - at;
        const int32_t n = left < md_walk_most(s->walk) ? left : md_walk_most(s->walk);
        if (r->embed || n <= (others ? md_rows_chunk(s) : s->n_rows))
            continue;
        const int32_t pages = md_kv_table_pages_needed(s->session->kv, &r->seq->table, at + n);
        md_error why;
        if (!md_rows_room(s, pages + s->running.n) || /* others get a page each before this one is full */
            md_walk_begin(s->walk, r->seq, r->token + at, n, &why) != MD_OK)
            return;
        r->n_feed = n;
        s->walker = r;
        return;
    }
}

/* One slab at least, and more as long as another one probably fits into the time. */
static void run_walk(md_scheduler *s)
{
    md_request *r = s->walker;
    md_error why;
    bool done = false;
    double began = md_sys_seconds(), left = md_rows_spare(s), took = 0.0;
    for (bool first = true; !done && (first || took <= left); first = false) {
        if (md_walk_advance(s->walk, md_rows_slab(s), &done, &r->last_row, &why) != MD_OK) {
            md_request_fail(r, &why);
            return;
        }
        const double now = md_sys_seconds();
        const int32_t rows = s->session->n_rows;
        took = now - began;
        md_rows_learn_slab(s, rows, took);
        s->counts.busy_seconds += took;
        left -= took;
        began = now;
    }
    if (!done)
        return;
    s->walker = NULL;
    r->n_draft = 0;
    settle(s, r);
}

md_status md_scheduler_step(md_scheduler *s, bool *idle, md_error *err)
{
    MD_FAIL_IF(s->session->stepping, MD_ERR_ARGUMENT, "a step is under way in the scheduler's session");
    drop_cancelled(&s->waiting);
    drop_cancelled(&s->running);
    admit(s);
    choose_walker(s);
    md_draft_all(s);
    *idle = !md_rows_compose(s);
    if (*idle)
        return MD_OK;
    if (s->n > 0)
        run_rows(s);
    if (s->walker)
        run_walk(s);
    return MD_OK;
}

/* ---- what it does ---- */

void md_scheduler_get_counts(const md_scheduler *s, md_scheduler_counts *out)
{
    *out = s->counts;
    out->running = s->running.n;
    out->waiting = s->waiting.n;
    out->pages = (uint64_t)md_kv_pages_of(s->session->args.n_positions);
    out->chunk = md_rows_chunk(s);
    if (s->prefixes)
        md_prefixes_counts_of(s->prefixes, &out->prefix_pages, &out->pages_restored, &out->pages_saved);
}

int32_t md_scheduler_get_running(const md_scheduler *s, md_running *out, int32_t most)
{
    int32_t n = 0;
    for (const md_request *r = s->running.first; r && n < most; r = r->next, n++) {
        const int32_t done = md_seq_length(r->seq);
        out[n] = (md_running){.n_prompt = r->n_prompt,
                              .n_done = done < r->n_prompt ? done : r->n_prompt,
                              .n_generated = r->n_known - r->n_prompt,
                              .client = r->client->name};
    }
    return n;
}
