/* SPDX-License-Identifier: Apache-2.0
 *
 * Walks. A slab of rows is put in the step's scratch, a layer runs, and the stream is put back. Slabs of a layer go in order, so a
 * row finds the keys of all rows before it. */
#include "model/walk.h"

#include "base/mem.h"
#include "base/status.h"
#include "model/session.h"

#include <string.h>

struct md_walk {
    md_session *session; /* borrowed */
    int32_t most;
    float *x;       /* borrowed from the session, (most, D) the residual stream */
    int32_t *token; /* (most) */
    md_seq *q;      /* borrowed; NULL: nothing is under way */
    int32_t n;
    int32_t layer, first; /* where it goes on: the layer, and the first row that has not been through it */
};

bool md_walk_suits(const md_session *s)
{
    const md_spec *sp = &s->model->spec;
    return sp->causal && sp->output.data && !s->args.hidden_only && sp->state_floats == 0 && sp->max.carried == 0 &&
           sp->max.residual == 0 && sp->token_layer.width == 0 && sp->recursion.count == 0;
}

md_status md_walk_new(md_session *s, md_walk **out, md_error *err)
{
    *out = NULL;
    MD_FAIL_IF(!md_walk_suits(s) || s->args.n_walk == 0, MD_ERR_UNSUPPORTED,
               "prompts of this model or session go through all layers at once");
    md_walk *w = md_calloc(1, sizeof *w);
    if (!w)
        return md_fail_memory(err, "a prompt that goes layer by layer");
    *w = (md_walk){.session = s, .most = s->args.n_walk, .x = s->s.walk_x, .token = s->s.walk_token};
    *out = w;
    return MD_OK;
}

void md_walk_free(md_walk *w)
{
    if (!w)
        return;
    md_walk_abandon(w);
    md_free(w);
}

int32_t md_walk_most(const md_walk *w)
{
    return w->most;
}

/* The next rows, up to `most`, as those of a step. */
static void set_rows(md_walk *w, int32_t most)
{
    md_session *s = w->session;
    const int32_t left = w->n - w->first, n = left < most ? left : most;
    for (int32_t i = 0; i < n; i++)
        s->s.row[i] = (md_row){.seq = w->q,
                               .pos = w->q->table.length + w->first + i,
                               .token = w->token[w->first + i],
                               .slot = -1,
                               .next = i + 1 < n ? i + 1 : -1};
    s->n_rows = n;
    s->s.first_row[0] = 0;
    s->n_active = 1;
    s->rope_ready = -1;
    md_step_cut_blocks(s);
}

static md_status check(const md_walk *w, const md_seq *q, const int32_t *token, int32_t n, md_error *err)
{
    const md_session *s = w->session;
    const md_spec *sp = &s->model->spec;
    MD_FAIL_IF(w->q || s->stepping || q->walking || q->session != s, MD_ERR_ARGUMENT,
               "another prompt or step is under way here");
    MD_FAIL_IF(n < 1 || n > w->most, MD_ERR_ARGUMENT, "a walk of %d tokens; this one takes 1 to %d", n, w->most);
    for (int32_t i = 0; i < n; i++)
        MD_FAIL_IF(token[i] < 0 || token[i] >= sp->n_vocab, MD_ERR_ARGUMENT,
                   "token %d of the prompt is %d; the vocabulary has 0 to %d", i, token[i], sp->n_vocab - 1);
    const int64_t length = (int64_t)q->table.length + n;
    MD_FAIL_IF(length > s->args.n_context || (sp->position.data && length > sp->position.rows), MD_ERR_LIMIT,
               "the context is full: %d positions are set aside (--ctx), and this prompt needs %lld", s->args.n_context,
               (long long)length);
    return MD_OK;
}

md_status md_walk_begin(md_walk *w, md_seq *q, const int32_t *token, int32_t n, md_error *err)
{
    md_session *s = w->session;
    MD_TRY(check(w, q, token, n, err));
    MD_FAIL_IF(!md_kv_table_extend(s->kv, &q->table, q->table.length + n), MD_ERR_LIMIT,
               "the KV cache has no room for %d more positions", n);
    memcpy(w->token, token, (size_t)n * sizeof *token);
    w->q = q;
    w->n = n;
    w->layer = w->first = 0;
    q->walking = w;
    const size_t d = (size_t)s->model->spec.n_embd;
    for (; w->first < n; w->first += s->n_rows) {
        set_rows(w, s->args.n_rows);
        md_step_embed(s, &(md_batch){.n = s->n_rows, .token = w->token + w->first});
        memcpy(w->x + (size_t)w->first * d, s->s.x, (size_t)s->n_rows * d * sizeof *w->x);
    }
    w->first = 0;
    s->n_rows = 0;
    return MD_OK;
}

static bool run_slab(md_walk *w, int32_t most)
{
    md_session *s = w->session;
    const size_t d = (size_t)s->model->spec.n_embd;
    set_rows(w, most);
    float *x = w->x + (size_t)w->first * d;
    memcpy(s->s.x, x, (size_t)s->n_rows * d * sizeof *x);
    w->q->pending = w->n;
    s->stepping = true;
    const bool ok = md_step_layer(s, w->layer);
    if (ok)
        md_observe_rows(s, MD_POINT_LAYER_OUT, w->layer, s->s.x);
    s->stepping = false;
    w->q->pending = 0;
    memcpy(x, s->s.x, (size_t)s->n_rows * d * sizeof *x);
    w->first += s->n_rows;
    if (w->first == w->n) {
        w->first = 0;
        w->layer++;
    }
    return ok;
}

/* The last slab's rows are in the scratch still: those of the last token want logits. */
static void finish(md_walk *w, int32_t *row)
{
    md_session *s = w->session;
    md_seq *q = w->q;
    *row = s->n_rows - 1;
    s->s.row[*row].want = MD_WANT_LOGITS;
    s->s.row[*row].slot = 0;
    md_step_outputs(s);
    q->table.length += w->n;
    s->steps++;
    s->rows += (uint64_t)w->n;
    q->walking = NULL;
    w->q = NULL;
}

md_status md_walk_advance(md_walk *w, int32_t rows, bool *done, int32_t *row, md_error *err)
{
    md_session *s = w->session;
    *done = false;
    *row = -1;
    MD_FAIL_IF(!w->q || s->stepping, MD_ERR_ARGUMENT, "no prompt is on its way here, or a step is under way");
    MD_FAIL_IF(rows < 1, MD_ERR_ARGUMENT, "a prompt goes on by at least one row of a layer");
    const int32_t layer = w->layer;
    s->part_began = md_sys_seconds();
    if (!run_slab(w, rows < s->args.n_rows ? rows : s->args.n_rows)) {
        md_walk_abandon(w);
        return md_step_lost(s, layer, err);
    }
    *done = w->layer == s->model->spec.n_layer;
    if (*done)
        finish(w, row);
    return MD_OK;
}

void md_walk_abandon(md_walk *w)
{
    if (!w->q)
        return;
    md_kv_table_trim(w->session->kv, &w->q->table, w->q->table.length);
    w->q->walking = NULL;
    w->q = NULL;
}
