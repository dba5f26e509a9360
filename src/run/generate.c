/* SPDX-License-Identifier: Apache-2.0
 *
 * A whole answer. Owns the list of answer tokens of a session and the arrays of its prompt batches (kept in the session's
 * slot); all of them are sized before the first step, so the loop allocates nothing. On an error the sequence is as it
 * was; sampler and constraint keep what they were told. */
#include <medley/generate.h>

#include "base/mem.h"
#include "base/status.h"
#include "base/sys.h"
#include "model/session.h"
#include "run/answer.h"
#include "run/sample.h"

#include <string.h>

/* What a session keeps between answers. */
typedef struct generate_state {
    int32_t *token; /* owned, [cap]: the last answer */
    size_t cap;
    size_t n;
    md_seq **seq;  /* owned, [n_rows] */
    uint8_t *want; /* owned, [n_rows] */
    size_t n_rows;
} generate_state;

typedef struct generation {
    md_session *session;
    md_seq *q;
    const md_generate_args *args;
    generate_state *state;
    const float *logits; /* of the last row */
    md_answer answer;
    md_generate_result result;
} generation;

const char *md_finish_name(md_finish f)
{
    switch (f) {
    case MD_FINISH_EOG: return "eog";
    case MD_FINISH_STOP: return "stop";
    case MD_FINISH_LENGTH: return "length";
    case MD_FINISH_CONTEXT: return "context";
    case MD_FINISH_CANCELLED: return "cancelled";
    case MD_FINISH_GRAMMAR: return "grammar";
    }
    return "unknown";
}

/* ---- the session's slot ---- */

static void free_state(void *p)
{
    generate_state *st = p;
    if (!st)
        return;
    md_free(st->token);
    md_free(st->seq);
    md_free(st->want);
    md_free(st);
}

/* The session's state with room for an answer of n_tokens. */
static generate_state *take_state(md_session *s, size_t n_tokens)
{
    void **slot = md_session_slot(s, free_state);
    if (!*slot)
        *slot = md_calloc(1, sizeof(generate_state));
    generate_state *st = *slot;
    if (!st)
        return NULL;
    const size_t n_rows = (size_t)md_session_max_rows(s);
    if (!st->seq)
        st->seq = md_calloc(n_rows, sizeof(md_seq *));
    if (!st->want)
        st->want = md_calloc(n_rows, 1);
    if (!st->seq || !st->want)
        return NULL;
    st->n_rows = n_rows;
    st->n = 0;
    if (n_tokens > st->cap) {
        int32_t *more = md_realloc(st->token, n_tokens, sizeof *more);
        if (!more)
            return NULL;
        st->token = more;
        st->cap = n_tokens;
    }
    return st;
}

const int32_t *md_generated_tokens(const md_seq *q)
{
    const generate_state *st = *md_session_slot(md_seq_session(q), free_state);
    return st ? st->token : NULL;
}

/* ---- checks ---- */

/* Positions that q can grow by: pages nobody uses and the rest of its last page, which takes a page to copy it if it is
 * shared. */
static size_t room_of(const md_seq *q)
{
    const md_session *s = q->session;
    const int64_t length = q->table.length, in_page = length % MD_TILE;
    int64_t room = md_session_free_positions(s);
    if (in_page > 0) {
        room -= MD_TILE * (int64_t)md_kv_table_pages_needed(s->kv, &q->table, (int32_t)length + 1);
        room = room < 0 ? 0 : room + MD_TILE - in_page;
    }
    const int64_t most = s->args.n_context - length;
    return (size_t)(room < most ? room : most);
}

static md_status check_args(const md_seq *q, const md_generate_args *a, size_t n_vocab, md_error *err)
{
    MD_TRY(md_answer_check(a->prompt, a->n_prompt, a->max_tokens, (int32_t)n_vocab, err));
    MD_FAIL_IF(!a->sampler, MD_ERR_ARGUMENT, "no sampler was given");
    MD_FAIL_IF((size_t)md_sampler_n_vocab(a->sampler) != n_vocab, MD_ERR_ARGUMENT,
               "the sampler was made for %d tokens, but the model has %zu", md_sampler_n_vocab(a->sampler), n_vocab);
    MD_FAIL_IF(a->constraint && (size_t)md_constraint_n_vocab(a->constraint) != n_vocab, MD_ERR_ARGUMENT,
               "the grammar was bound to a vocabulary of %d tokens, but the model has %zu",
               md_constraint_n_vocab(a->constraint), n_vocab);
    const size_t room = room_of(q);
    MD_FAIL_IF(a->n_prompt > room, MD_ERR_LIMIT,
               "the prompt has %zu tokens, but of the context %zu positions are free: shorten it or give more context",
               a->n_prompt, room);
    return MD_OK;
}

/* ---- prompt ---- */

static md_status run_prompt(generation *g, bool *go_on, md_error *err)
{
    const md_generate_args *a = g->args;
    generate_state *st = g->state;
    for (size_t i = 0; i < st->n_rows; i++)
        st->seq[i] = g->q;
    memset(st->want, 0, st->n_rows);
    *go_on = true;
    for (size_t done = 0; done < a->n_prompt && *go_on;) {
        const size_t left = a->n_prompt - done, n = left < st->n_rows ? left : st->n_rows;
        if (n == left)
            st->want[n - 1] = MD_WANT_LOGITS;
        const md_batch b = {.n = (int32_t)n, .token = a->prompt + done, .seq = st->seq, .want = st->want};
        MD_TRY(md_decode(g->session, &b, err));
        if (n == left)
            g->logits = md_step_logits(g->session, (int32_t)n - 1);
        for (size_t i = 0; i < n; i++)
            md_sampler_accept(a->sampler, a->prompt[done + i]);
        done += n;
        g->result.n_prompt = (int32_t)done;
        *go_on = !a->on_prompt || a->on_prompt(a->user, done, a->n_prompt);
    }
    return MD_OK;
}

/* ---- answer ---- */

static md_status append_token(generation *g, int32_t token, bool *full, md_error *err)
{
    const md_batch b = {.n = 1, .token = &token, .seq = &g->q};
    const md_status status = md_decode(g->session, &b, err);
    *full = status == MD_ERR_LIMIT;
    if (*full)
        return MD_OK;
    MD_TRY(status);
    g->logits = md_step_logits(g->session, 0);
    return MD_OK;
}

static md_status run_answer(generation *g, md_error *err)
{
    generate_state *st = g->state;
    md_answer *a = &g->answer;
    for (;;) {
        int32_t token;
        MD_TRY(md_answer_next(a, g->logits, md_seq_length(g->q) - 1, &token, err));
        if (token >= 0)
            st->token[st->n++] = token;
        if (a->over)
            return MD_OK;
        bool full = room_of(g->q) == 0 || st->n == st->cap;
        if (!full)
            MD_TRY(append_token(g, token, &full, err));
        if (full)
            return md_answer_end(a, MD_FINISH_CONTEXT, err);
    }
}

static md_status run(generation *g, md_error *err)
{
    const double start = md_sys_seconds();
    bool go_on;
    MD_TRY(run_prompt(g, &go_on, err));
    const double answer = md_sys_seconds();
    g->result.prompt_seconds = answer - start;
    if (!go_on) {
        g->result.finish = MD_FINISH_CANCELLED;
        return MD_OK;
    }
    MD_TRY(run_answer(g, err));
    g->result.finish = g->answer.finish;
    g->result.logits_hash = g->answer.hash;
    g->result.generate_seconds = md_sys_seconds() - answer;
    g->result.n_generated = (int32_t)g->state->n;
    return MD_OK;
}

/* Everything that an answer needs, before the first step. */
static md_status prepare(generation *g, md_error *err)
{
    const md_generate_args *a = g->args;
    const md_model *model = md_session_model(g->session);
    const md_model_info *info = md_model_get_info(model);
    MD_FAIL_IF(!info->causal || !info->has_logits, MD_ERR_UNSUPPORTED,
               "'%s' is an encoder, which makes vectors of texts and does not go on with them: use 'medley embed'",
               info->arch);
    MD_FAIL_IF(g->session->args.hidden_only, MD_ERR_ARGUMENT,
               "the session gives hidden states only; answers need logits");
    MD_TRY(check_args(g->q, a, (size_t)info->n_vocab, err));
    const md_tokenizer *t = md_model_tokenizer(model);
    MD_FAIL_IF(!t && (a->on_text || a->n_stop > 0), MD_ERR_UNSUPPORTED, "the model gives no text: %s",
               md_model_tokenizer_error(model));
    const size_t max_tokens = a->max_tokens < 0 ? SIZE_MAX : (size_t)a->max_tokens;
    MD_TRY(md_answer_init(&g->answer,
                          &(md_answer_args){.tokenizer = t,
                                            .sampler = a->sampler,
                                            .constraint = a->constraint,
                                            .stop = a->stop,
                                            .n_stop = a->n_stop,
                                            .max_tokens = max_tokens,
                                            .special = a->special,
                                            .ignore_eog = a->ignore_eog,
                                            .hash = true,
                                            .on_text = a->on_text,
                                            .user = a->user},
                          info->n_vocab, err));
    const size_t most = room_of(g->q) - a->n_prompt + 1; /* the last token needs no position of its own */
    g->state = take_state(g->session, max_tokens < most ? max_tokens : most);
    return g->state ? MD_OK : md_fail_memory(err, "an answer");
}

md_status md_generate(md_seq *q, const md_generate_args *args, md_generate_result *out, md_error *err)
{
    *out = (md_generate_result){0};
    generation g = {.session = md_seq_session(q), .q = q, .args = args, .result = {.logits_hash = MD_HASH_START}};
    const int32_t before = md_seq_length(q);
    md_status status = prepare(&g, err);
    if (status == MD_OK) {
        status = run(&g, err);
        if (status == MD_OK) {
            *out = g.result;
        } else {
            const md_status undone = md_seq_trim(q, before, NULL); /* shortening to what was there cannot fail */
            (void)undone;
        }
    }
    md_answer_done(&g.answer);
    return status;
}
