/* SPDX-License-Identifier: Apache-2.0
 *
 * One step: a batch of rows through the layers. A step is a walk that may stop between layers and go on; begin checks
 * everything that can fail, so that what follows cannot, short of an expert store that loses a file. */
#include "model/session.h"

#include "base/mathd.h"
#include "base/status.h"

#include <string.h>

/* ---- begin ---- */

static md_status check_rows(md_session *s, const md_batch *b, md_error *err)
{
    const md_spec *sp = &s->model->spec;
    MD_FAIL_IF(b->n < 1 || b->n > s->args.n_rows, MD_ERR_ARGUMENT, "a step of %d rows; this session takes 1 to %d",
               b->n, s->args.n_rows);
    MD_FAIL_IF(!b->seq || (!b->token) == (!b->embd), MD_ERR_ARGUMENT,
               "a batch needs sequences, and either tokens or embeddings");
    int32_t n_out = 0;
    for (int32_t i = 0; i < b->n; i++) {
        md_seq *q = b->seq[i];
        MD_FAIL_IF(!q || q->session != s, MD_ERR_ARGUMENT, "row %d has no sequence of this session", i);
        MD_FAIL_IF(b->token && (b->token[i] < 0 || b->token[i] >= sp->n_vocab), MD_ERR_ARGUMENT,
                   "row %d has token %d; the vocabulary has 0 to %d", i, b->token[i], sp->n_vocab - 1);
        const int32_t pos = q->table.length + q->pending;
        MD_FAIL_IF(b->pos && b->pos[i] != pos, MD_ERR_ARGUMENT, "row %d is at position %d; its sequence goes on at %d",
                   i, b->pos[i], pos);
        const uint8_t want = b->want ? b->want[i] : (i == b->n - 1 ? MD_WANT_LOGITS : 0);
        md_row *r = &s->s.row[i];
        *r = (md_row){.seq = q, .pos = pos, .want = want, .slot = -1};
        if (want & (MD_WANT_LOGITS | MD_WANT_HIDDEN))
            r->slot = n_out++;
        q->pending++;
    }
    MD_FAIL_IF(n_out > s->args.n_logits, MD_ERR_ARGUMENT, "%d rows want logits; this session gives at most %d a step",
               n_out, s->args.n_logits);
    return MD_OK;
}

/* Takes the pages that the rows' positions fall into, all or none. */
static md_status take_pages(md_session *s, md_error *err)
{
    int64_t needed = 0;
    int32_t longest = 0;
    for (const md_seq *q = s->first; q; q = q->next)
        if (q->pending > 0) {
            const int32_t length = q->table.length + q->pending;
            needed += md_kv_table_pages_needed(s->kv, &q->table, length);
            longest = length > longest ? length : longest;
        }
    MD_FAIL_IF(needed > md_kv_pool_free_pages(s->kv) || longest > s->args.n_positions, MD_ERR_LIMIT,
               "the context is full: %d positions are set aside (--ctx), and this step needs position %d",
               s->args.n_positions, longest - 1);
    for (md_seq *q = s->first; q; q = q->next)
        if (q->pending > 0 && !md_kv_table_extend(s->kv, &q->table, q->table.length + q->pending))
            return md_fail(err, MD_ERR_INTERNAL, "KV pages ran out although they were counted");
    return MD_OK;
}

static void cut_blocks(md_session *s)
{
    s->n_blocks = 0;
    for (int32_t i = 0; i < s->n_rows; i++) {
        md_row_block *last = s->n_blocks > 0 ? &s->s.block[s->n_blocks - 1] : NULL;
        if (last && last->n < MD_ATTEND_ROWS && s->s.row[i].seq == s->s.row[last->first].seq)
            last->n++;
        else
            s->s.block[s->n_blocks++] = (md_row_block){.first = i, .n = 1};
    }
}

typedef struct embed_job {
    const md_session *s;
    const md_batch *b;
} embed_job;

static void embed_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const embed_job *j = ctx;
    const md_spec *sp = &j->s->model->spec;
    const int64_t d = sp->n_embd;
    for (int64_t i = first; i < last; i++) {
        float *x = j->s->s.x + i * d;
        if (j->b->embd)
            memcpy(x, j->b->embd + i * d, (size_t)d * sizeof *x);
        else
            md_type_decode(sp->embed.type, (const char *)sp->embed.data + (size_t)j->b->token[i] * sp->embed.row_bytes,
                           x, d);
        if (sp->embed.scale && !j->b->embd)
            j->s->ops.kern->scale(x, *sp->embed.scale, d);
        if (sp->embed_scale != 1.0f)
            j->s->ops.kern->scale(x, sp->embed_scale, d);
    }
}

static void clear_pending(md_session *s)
{
    for (md_seq *q = s->first; q; q = q->next)
        q->pending = 0;
}

md_status md_step_begin(md_session *s, const md_batch *b, md_error *err)
{
    MD_FAIL_IF(s->stepping, MD_ERR_ARGUMENT, "a step is already under way in this session");
    s->n_rows = 0;
    md_status status = check_rows(s, b, err);
    if (status == MD_OK)
        status = take_pages(s, err);
    if (status != MD_OK) {
        clear_pending(s);
        return status;
    }
    s->n_rows = b->n;
    s->next_layer = 0;
    s->rope_ready = -1;
    s->stepping = true;
    cut_blocks(s);
    embed_job j = {.s = s, .b = b};
    md_pool_run(s->pool, b->n, 8, embed_items, &j);
    return MD_OK;
}

void md_step_abandon(md_session *s)
{
    if (!s->stepping)
        return;
    for (md_seq *q = s->first; q; q = q->next)
        if (q->pending > 0) {
            md_kv_table_trim(s->kv, &q->table, q->table.length);
            q->pending = 0;
        }
    s->stepping = false;
    s->n_rows = 0;
}

/* ---- advance ---- */

/* Normed last states and logits of the rows that asked, gathered side by side. */
static void finish(md_session *s)
{
    const md_spec *sp = &s->model->spec;
    const int64_t d = sp->n_embd;
    int64_t n = 0;
    bool logits = false;
    for (int32_t i = 0; i < s->n_rows; i++) {
        const md_row *r = &s->s.row[i];
        if (r->slot < 0)
            continue;
        memcpy(s->s.h + n * d, s->s.x + i * d, (size_t)d * sizeof *s->s.h);
        logits |= (r->want & MD_WANT_LOGITS) != 0;
        n++;
    }
    if (n > 0)
        md_rms_norm_rows(&s->ops, s->s.h, sp->out_norm, s->s.hidden, n, d, sp->norm_eps);
    if (logits) {
        md_rows_set(&s->s.in, s->s.hidden, n, d);
        md_matmul(&s->ops, &sp->output, &s->s.in, s->s.logits, sp->n_vocab);
        if (sp->logit_scale != 1.0f)
            s->ops.kern->scale(s->s.logits, 1.0f / sp->logit_scale, n * sp->n_vocab);
        if (sp->logit_softcap != 0.0f)
            s->ops.kern->softcap(s->s.logits, n * sp->n_vocab, sp->logit_softcap);
    }
    for (md_seq *q = s->first; q; q = q->next) {
        q->table.length += q->pending;
        q->pending = 0;
    }
    s->steps++;
    s->rows += (uint64_t)s->n_rows;
    s->stepping = false;
}

md_status md_step_advance(md_session *s, int32_t n_layers, bool *done, md_error *err)
{
    *done = false;
    MD_FAIL_IF(!s->stepping, MD_ERR_ARGUMENT, "no step is under way in this session");
    MD_FAIL_IF(n_layers < 1, MD_ERR_ARGUMENT, "a step advances by at least one layer");
    const int32_t n = s->model->spec.n_layer;
    for (; n_layers > 0 && s->next_layer < n; n_layers--, s->next_layer++) {
        md_observe_rows(s, MD_POINT_LAYER_IN, s->next_layer, s->s.x);
        md_step_attention(s, s->next_layer);
        if (!md_step_ffn(s, s->next_layer)) {
            md_step_abandon(s);
            return md_fail(err, MD_ERR_IO, "an expert of layer %d could not be read", s->next_layer);
        }
        md_observe_rows(s, MD_POINT_LAYER_OUT, s->next_layer, s->s.x);
    }
    if (s->next_layer == n) {
        finish(s);
        *done = true;
    }
    return MD_OK;
}

md_status md_decode(md_session *s, const md_batch *b, md_error *err)
{
    MD_TRY(md_step_begin(s, b, err));
    bool done;
    return md_step_advance(s, s->model->spec.n_layer, &done, err);
}

/* ---- results ---- */

static const md_row *result_row(const md_session *s, int32_t row, uint8_t want)
{
    if (s->stepping || row < 0 || row >= s->n_rows || !(s->s.row[row].want & want))
        return NULL;
    return &s->s.row[row];
}

const float *md_step_logits(const md_session *s, int32_t row)
{
    const md_row *r = result_row(s, row, MD_WANT_LOGITS);
    return r ? s->s.logits + (int64_t)r->slot * s->model->spec.n_vocab : NULL;
}

const float *md_step_hidden(const md_session *s, int32_t row)
{
    const md_row *r = result_row(s, row, MD_WANT_HIDDEN);
    return r ? s->s.hidden + (int64_t)r->slot * s->model->spec.n_embd : NULL;
}

bool md_step_routing(const md_session *s, int32_t row, int32_t layer, const int32_t **expert, const float **weight,
                     int32_t *k)
{
    *expert = NULL;
    *weight = NULL;
    *k = 0;
    const md_spec *sp = &s->model->spec;
    if (!result_row(s, row, MD_WANT_ROUTING) || layer < 0 || layer >= sp->n_layer)
        return false;
    *k = sp->layer[layer].ffn.router.top_k;
    const int64_t at = (int64_t)layer * s->args.n_rows * sp->max_pick + (int64_t)row * *k;
    *expert = s->s.expert + at;
    *weight = s->s.weight + at;
    return true;
}
