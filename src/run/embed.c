/* SPDX-License-Identifier: Apache-2.0
 *
 * Vectors of texts. Texts share steps as long as rows, sequences and pages last; a causal model takes a longer one in pieces. Sums
 * over positions are in double and in the order of the positions, so neither changes a bit (docs/numerics.md, section 13). */
#include <medley/embed.h>

#include "base/mem.h"
#include "base/status.h"
#include "model/session.h"
#include "run/pooled.h"

#include <string.h>

/* Texts of a step, and rows, in the sessions that this file describes. */
#define MOST_TEXTS 32
#define USUAL_ROWS 512

typedef struct embedding {
    md_session *session;
    const md_embed_input *in;
    size_t n_in;
    md_embed_args args;
    md_pooled pooled;     /* the text under way; owns sum */
    int32_t n_rows;       /* most rows of a step: what it takes and may give hidden states of */
    md_seq **seq;         /* owned, [n_seqs]: empty between steps */
    int32_t n_seqs, cap;  /* sequences made; most that there may be */
    int32_t *token;       /* owned, [n_rows] */
    md_seq **row_seq;     /* owned, [n_rows] */
    uint8_t *want;        /* owned, [n_rows] */
    uint64_t done, total; /* tokens */
} embedding;

void md_embed_session_args(const md_model *m, int32_t longest, md_session_args *args)
{
    md_session_args_default(m, args);
    args->hidden_only = true;
    args->kv_type = MD_KV_F32;
    args->n_sequences = MOST_TEXTS;
    args->n_rows = m->spec.causal || longest < USUAL_ROWS ? USUAL_ROWS : longest;
    args->n_logits = args->n_rows;
    /* every text begins a page of its own */
    const int64_t positions = (int64_t)(longest > args->n_rows ? longest : args->n_rows) + MOST_TEXTS * MD_TILE;
    args->n_positions = positions < INT32_MAX ? (int32_t)positions : INT32_MAX;
    if (m->spec.ctx_limit > 0 && args->n_positions > m->spec.ctx_limit)
        args->n_positions = m->spec.ctx_limit;
}

size_t md_embed_count(const md_model *m, const md_embed_input *in, md_pooling pooling)
{
    const md_pooling p = pooling == MD_POOLING_MODEL ? m->info.pooling : pooling;
    return p == MD_POOLING_NONE ? in->n : 1;
}

/* ---- checks, before anything runs ---- */

static int32_t pages_of(size_t n)
{
    return (int32_t)((n + MD_TILE - 1) / MD_TILE);
}

static md_status check_input(const embedding *e, size_t i, md_error *err)
{
    const md_embed_input *in = &e->in[i];
    const md_spec *sp = &e->session->model->spec;
    MD_FAIL_IF(in->n == 0 || !in->token, MD_ERR_ARGUMENT, "text %zu of %zu has no tokens", i + 1, e->n_in);
    for (size_t k = 0; k < in->n; k++)
        MD_FAIL_IF(in->token[k] < 0 || in->token[k] >= sp->n_vocab, MD_ERR_ARGUMENT,
                   "token %d in text %zu of %zu is not one of the model's, 0 to %d", in->token[k], i + 1, e->n_in,
                   sp->n_vocab - 1);
    MD_FAIL_IF(sp->position.data && in->n > (size_t)sp->position.rows, MD_ERR_LIMIT,
               "text %zu of %zu has %zu tokens, but this model has learned positions for %lld: give a shorter one",
               i + 1, e->n_in, in->n, (long long)sp->position.rows);
    MD_FAIL_IF(
        !sp->causal && in->n > (size_t)e->n_rows, MD_ERR_LIMIT,
        "text %zu of %zu has %zu tokens, which this model takes in one step, but the session's steps have %d rows",
        i + 1, e->n_in, in->n, e->n_rows);
    const int32_t room = md_session_free_positions(e->session);
    MD_FAIL_IF(in->n > (size_t)room || in->n > (size_t)e->session->args.n_context, MD_ERR_LIMIT,
               "text %zu of %zu has %zu tokens, but only %d positions are free in the session", i + 1, e->n_in, in->n,
               room);
    return MD_OK;
}

static md_status prepare(embedding *e, const md_embed_args *args, md_error *err)
{
    const md_session *s = e->session;
    if (args)
        e->args = *args;
    else
        e->args.pooling = MD_POOLING_MODEL;
    MD_TRY(md_pooled_set(&e->pooled, s->model, e->args.pooling, e->args.power, err));
    e->pooled.raw = e->args.raw;
    e->pooled.width = s->model->spec.n_embd;
    e->n_rows = s->args.n_hidden;
    e->cap = s->args.n_sequences - s->n_seqs;
    e->cap = e->cap < e->n_rows ? e->cap : e->n_rows;
    MD_FAIL_IF(e->cap < 1, MD_ERR_LIMIT, "all %d sequences of the session are in use", s->args.n_sequences);
    for (size_t i = 0; i < e->n_in; i++) {
        MD_TRY(check_input(e, i, err));
        e->total += e->in[i].n;
    }
    e->seq = md_calloc((size_t)e->cap, sizeof(md_seq *));
    e->token = md_calloc((size_t)e->n_rows, sizeof *e->token);
    e->row_seq = md_calloc((size_t)e->n_rows, sizeof(md_seq *));
    e->want = md_calloc((size_t)e->n_rows, 1);
    e->pooled.sum = md_calloc((size_t)e->pooled.width, sizeof *e->pooled.sum);
    return e->seq && e->token && e->row_seq && e->want && e->pooled.sum ? MD_OK
                                                                        : md_fail_memory(err, "vectors of texts");
}

/* The rows [row, row + n) of the step are text i from position `first` on. */
static md_status pool_rows(embedding *e, size_t i, size_t first, int32_t row, int32_t n, md_error *err)
{
    e->pooled.n = e->in[i].n;
    for (int32_t k = 0; k < n; k++)
        MD_TRY(md_pooled_add(&e->pooled, first + (size_t)k, md_step_hidden(e->session, row + k), err));
    return MD_OK;
}

/* ---- steps ---- */

static void add_rows(embedding *e, size_t i, size_t first, md_seq *q, int32_t row, int32_t n)
{
    const md_embed_input *in = &e->in[i];
    e->pooled.n = in->n;
    for (int32_t k = 0; k < n; k++) {
        const size_t p = first + (size_t)k;
        e->token[row + k] = in->token[p];
        e->row_seq[row + k] = q;
        e->want[row + k] = md_pooled_counts(&e->pooled, p) ? MD_WANT_HIDDEN : 0;
    }
}

static md_status step(embedding *e, int32_t n, md_error *err)
{
    const md_batch b = {.n = n, .token = e->token, .seq = e->row_seq, .want = e->want};
    MD_TRY(md_decode(e->session, &b, err));
    e->done += (uint64_t)n;
    MD_FAIL_IF(e->args.progress && !e->args.progress(e->args.progress_user, e->done, e->total), MD_ERR_CANCELLED,
               "making vectors was stopped after %llu of %llu tokens", (unsigned long long)e->done,
               (unsigned long long)e->total);
    return MD_OK;
}

static md_status need_sequence(embedding *e, int32_t i, md_error *err)
{
    if (i < e->n_seqs)
        return MD_OK;
    MD_TRY(md_seq_new(e->session, &e->seq[i], err));
    e->n_seqs = i + 1;
    return MD_OK;
}

/* A text that is longer than a step. */
static md_status run_long(embedding *e, size_t i, md_error *err)
{
    MD_TRY(need_sequence(e, 0, err));
    for (size_t at = 0; at < e->in[i].n;) {
        const size_t left = e->in[i].n - at;
        const int32_t n = left < (size_t)e->n_rows ? (int32_t)left : e->n_rows;
        add_rows(e, i, at, e->seq[0], 0, n);
        MD_TRY(step(e, n, err));
        MD_TRY(pool_rows(e, i, at, 0, n, err));
        at += (size_t)n;
    }
    return md_seq_trim(e->seq[0], 0, err);
}

/* Whole texts from *next on, as many as fit; at least one does. */
static md_status run_several(embedding *e, size_t *next, md_error *err)
{
    const size_t begin = *next;
    int32_t rows = 0, texts = 0, pages = md_session_free_positions(e->session) / MD_TILE;
    size_t end = begin;
    for (; end < e->n_in && texts < e->cap; end++, texts++) {
        const size_t n = e->in[end].n;
        if (n > (size_t)(e->n_rows - rows) || pages_of(n) > pages)
            break;
        MD_TRY(need_sequence(e, texts, err));
        add_rows(e, end, 0, e->seq[texts], rows, (int32_t)n);
        rows += (int32_t)n;
        pages -= pages_of(n);
    }
    MD_TRY(step(e, rows, err));
    for (size_t i = begin, row = 0; i < end; row += e->in[i++].n)
        MD_TRY(pool_rows(e, i, 0, (int32_t)row, (int32_t)e->in[i].n, err));
    for (int32_t i = 0; i < texts; i++)
        MD_TRY(md_seq_trim(e->seq[i], 0, err));
    *next = end;
    return MD_OK;
}

static md_status run(embedding *e, md_error *err)
{
    for (size_t i = 0; i < e->n_in;) {
        if (e->in[i].n > (size_t)e->n_rows)
            MD_TRY(run_long(e, i++, err));
        else
            MD_TRY(run_several(e, &i, err));
    }
    return MD_OK;
}

md_status md_embed(md_session *s, const md_embed_input *in, size_t n, const md_embed_args *args, float *out,
                   md_error *err)
{
    embedding e = {.session = s, .in = in, .n_in = n, .pooled = {.out = out}};
    md_status status = prepare(&e, args, err);
    if (status == MD_OK)
        status = run(&e, err);
    for (int32_t i = 0; i < e.n_seqs; i++)
        md_seq_free(e.seq[i]);
    md_free((void *)e.seq);
    md_free(e.token);
    md_free((void *)e.row_seq);
    md_free(e.want);
    md_free(e.pooled.sum);
    return status;
}
