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
    const bool logits = sp->output.data && !s->args.hidden_only;
    const uint8_t usual = logits ? MD_WANT_LOGITS : MD_WANT_HIDDEN;
    int32_t n_logits = 0, n_hidden = 0;
    for (int32_t i = 0; i < b->n; i++) {
        md_seq *q = b->seq[i];
        MD_FAIL_IF(!q || q->session != s, MD_ERR_ARGUMENT, "row %d has no sequence of this session", i);
        MD_FAIL_IF(q->walking, MD_ERR_ARGUMENT, "the prompt of row %d's sequence is on its way layer by layer", i);
        MD_FAIL_IF(b->token && (b->token[i] < 0 || b->token[i] >= sp->n_vocab), MD_ERR_ARGUMENT,
                   "row %d has token %d; the vocabulary has 0 to %d", i, b->token[i], sp->n_vocab - 1);
        const int32_t pos = q->table.length + q->pending;
        MD_FAIL_IF(
            !sp->causal && q->table.length > 0, MD_ERR_ARGUMENT,
            "row %d would add to a sequence that was already run, but this model sees a sequence as one unit: give "
            "all of it in one step, or trim it to nothing first",
            i);
        MD_FAIL_IF(sp->position.data && pos >= sp->position.rows, MD_ERR_LIMIT,
                   "row %d is at position %d; this model has learned positions 0 to %lld only: give a shorter text", i,
                   pos, (long long)sp->position.rows - 1);
        MD_FAIL_IF(b->pos && b->pos[i] != pos, MD_ERR_ARGUMENT, "row %d is at position %d; its sequence goes on at %d",
                   i, b->pos[i], pos);
        const uint8_t want = b->want ? b->want[i] : i == b->n - 1 ? usual : 0;
        MD_FAIL_IF((want & MD_WANT_LOGITS) && !logits, MD_ERR_ARGUMENT,
                   "row %d wants logits; this %s has hidden states only", i,
                   sp->output.data ? "session" : "model has no output matrix: it");
        md_row *r = &s->s.row[i];
        *r = (md_row){.seq = q, .pos = pos, .token = b->token ? b->token[i] : -1, .want = want, .slot = -1, .next = -1};
        if (want & MD_WANT_LOGITS)
            r->slot = n_logits++;
        else if (want & MD_WANT_HIDDEN)
            r->slot = n_hidden++;
        q->pending++;
    }
    MD_FAIL_IF(n_logits > (logits ? s->args.n_logits : 0) || n_logits + n_hidden > s->args.n_hidden, MD_ERR_ARGUMENT,
               "%d rows want logits and %d hidden states only; this session gives at most %d a step, and %d of both",
               n_logits, n_hidden, s->args.n_logits, s->args.n_hidden);
    for (int32_t i = 0; i < b->n; i++) /* rows with logits come first, so that theirs is one product */
        if (s->s.row[i].slot >= 0 && !(s->s.row[i].want & MD_WANT_LOGITS))
            s->s.row[i].slot += n_logits;
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
    MD_FAIL_IF(longest > s->args.n_context, MD_ERR_LIMIT,
               "the context is full: %d positions are set aside (--ctx), and this step needs position %d",
               s->args.n_context, longest - 1);
    MD_FAIL_IF(
        needed > md_kv_pool_free_pages(s->kv), MD_ERR_LIMIT,
        "the KV cache is full: of %d positions that sequences share (--ctx), %d are free, and this step needs %lld more",
        s->args.n_positions, md_kv_pool_free_pages(s->kv) * MD_TILE, (long long)needed * MD_TILE);
    for (md_seq *q = s->first; q; q = q->next)
        if (q->pending > 0 && !md_kv_table_extend(s->kv, &q->table, q->table.length + q->pending))
            return md_fail(err, MD_ERR_INTERNAL, "KV pages ran out although they were counted");
    return MD_OK;
}

/* The rows of each sequence, in order, for mixers that go through them one by one. */
static void chain_rows(md_session *s)
{
    s->n_active = 0;
    for (int32_t i = 0; i < s->n_rows; i++) {
        md_seq *q = s->s.row[i].seq;
        if (s->s.row[i].pos == q->table.length)
            s->s.first_row[s->n_active++] = i;
        else
            s->s.row[q->last_row].next = i;
        q->last_row = i;
    }
}

void md_step_cut_blocks(md_session *s)
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

static void add_position(const md_session *s, float *x, int32_t pos, float *work)
{
    const md_spec *sp = &s->model->spec;
    md_weight_row(&sp->position, pos, work);
    s->ops.kern->add(x, work, sp->n_embd);
}

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
            md_weight_row(&sp->embed, j->b->token[i], x);
        if (sp->embed.scale && !j->b->embd)
            j->s->ops.kern->scale(x, *sp->embed.scale, d);
        if (sp->embed_scale != 1.0f)
            j->s->ops.kern->scale(x, sp->embed_scale, d);
        if (sp->token_type)
            j->s->ops.kern->add(x, sp->token_type, d);
        if (sp->position.data)
            add_position(j->s, x, j->s->s.row[i].pos, j->s->s.y + i * d);
        md_norm_row(j->s->ops.kern, &sp->embed_norm, x, x, d);
    }
}

void md_step_embed(md_session *s, const md_batch *b)
{
    embed_job j = {.s = s, .b = b};
    md_pool_run(s->pool, b->n, 8, embed_items, &j);
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
    s->part_began = md_sys_seconds();
    md_step_cut_blocks(s);
    chain_rows(s);
    md_step_embed(s, b);
    md_step_token_layers(s, b->token);
    md_step_part_end(s, MD_STEP_OTHER);
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
void md_step_outputs(md_session *s)
{
    const md_spec *sp = &s->model->spec;
    const int64_t d = sp->n_embd;
    int64_t n = 0, n_logits = 0;
    for (int32_t i = 0; i < s->n_rows; i++) {
        const md_row *r = &s->s.row[i];
        if (r->slot < 0)
            continue;
        memcpy(s->s.h + r->slot * d, s->s.x + i * d, (size_t)d * sizeof *s->s.h);
        n_logits += (r->want & MD_WANT_LOGITS) != 0;
        n++;
    }
    if (n > 0)
        md_norm_rows(&s->ops, &sp->out_norm, s->s.h, s->s.hidden, n, d);
    md_step_part_end(s, MD_STEP_OTHER);
    if (n_logits > 0) {
        md_rows_set(&s->s.in, s->s.hidden, n_logits, d);
        md_matmul(&s->ops, &sp->output, &s->s.in, s->s.logits, sp->n_vocab);
        if (sp->logit_scale != 1.0f)
            s->ops.kern->scale(s->s.logits, sp->logit_scale, n_logits * sp->n_vocab);
        if (sp->logit_softcap != 0.0f)
            s->ops.kern->softcap(s->s.logits, n_logits * sp->n_vocab, sp->logit_softcap);
    }
    md_step_part_end(s, MD_STEP_OUTPUT);
}

static void finish(md_session *s)
{
    md_step_outputs(s);
    for (md_seq *q = s->first; q; q = q->next) {
        if (q->pending > 0 && q->state) {
            float *now = q->next_state;
            q->next_state = q->state;
            q->state = now;
        }
        q->table.length += q->pending;
        q->pending = 0;
    }
    s->steps++;
    s->rows += (uint64_t)s->n_rows;
    s->stepping = false;
}

/* A mixer's or a feed-forward's output: under its norm, into the stream, and the stream under its norm. */
static void add_branch(md_session *s, const md_norm *post, const md_norm *after)
{
    const md_spec *sp = &s->model->spec;
    const int64_t n = s->n_rows, d = sp->n_embd;
    md_norm_rows(&s->ops, post, s->s.y, s->s.y, n, d);
    md_residual(&s->ops, s->s.x, s->s.y, n, d, sp->residual_scale);
    md_norm_rows(&s->ops, after, s->s.x, s->s.x, n, d);
}

static void run_mixer(md_session *s, const md_layer *l, int32_t layer)
{
    const int64_t n = s->n_rows, d = s->model->spec.n_embd;
    if (l->mixer == MD_MIXER_ATTENTION) {
        md_norm_rows(&s->ops, &l->attn.norm, s->s.x, s->s.h, n, d);
        md_step_part_end(s, MD_STEP_OTHER);
        md_step_attention(s, layer);
        md_step_part_end(s, MD_STEP_MIXER);
        add_branch(s, &l->attn.post_norm, &l->attn.after_norm);
        if (l->attn.again_norm.kind != MD_NORM_NONE) {
            md_residual(&s->ops, s->s.x, s->s.early, n, d, 1.0f);
            md_norm_rows(&s->ops, &l->attn.again_norm, s->s.x, s->s.x, n, d);
        }
    } else if (l->mixer != MD_MIXER_NONE) {
        md_norm_rows(&s->ops, &l->recurrent->norm, s->s.x, s->s.h, n, d);
        md_step_part_end(s, MD_STEP_OTHER);
        md_step_recurrent(s, l->recurrent);
        md_step_part_end(s, MD_STEP_MIXER);
        add_branch(s, &l->recurrent->post_norm, &l->recurrent->after_norm);
    }
}

bool md_step_layer(md_session *s, int32_t layer)
{
    const md_spec *sp = &s->model->spec;
    md_observe_rows(s, MD_POINT_LAYER_IN, layer, s->s.x);
    const md_layer *l = &sp->layer[layer];
    const int64_t n = s->n_rows, d = sp->n_embd;
    if (l->ffn.route_early || l->ffn.routed_early || l->attn.again_norm.kind != MD_NORM_NONE)
        memcpy(s->s.early, s->s.x, (size_t)(n * d) * sizeof *s->s.x);
    if (l->parallel && l->has_ffn)
        md_norm_rows(&s->ops, &l->ffn.norm, s->s.x, s->s.ahead, n, d);
    run_mixer(s, l, layer);
    if (l->has_ffn) {
        if (l->parallel)
            memcpy(s->s.h, s->s.ahead, (size_t)(n * d) * sizeof *s->s.h);
        else
            md_norm_rows(&s->ops, &l->ffn.norm, s->s.x, s->s.h, n, d);
        md_step_part_end(s, MD_STEP_OTHER);
        if (!md_step_ffn(s, layer))
            return false;
        add_branch(s, &l->ffn.post_norm, &l->ffn.after_norm);
    }
    md_step_token_layer(s, layer);
    if (l->out_scale != 1.0f)
        for (int64_t i = 0; i < n; i++)
            s->ops.kern->scale(s->s.x + i * d, l->out_scale, d);
    return true;
}

md_status md_step_lost(const md_session *s, int32_t layer, md_error *err)
{
    return md_fail(err, MD_ERR_IO, "an expert of layer %d could not be read: %s", layer,
                   s->streamed ? md_streamed_error(s->streamed) : "it is not there");
}

md_status md_step_advance(md_session *s, int32_t n_layers, bool *done, md_error *err)
{
    *done = false;
    MD_FAIL_IF(!s->stepping, MD_ERR_ARGUMENT, "no step is under way in this session");
    MD_FAIL_IF(n_layers < 1, MD_ERR_ARGUMENT, "a step advances by at least one layer");
    s->part_began = md_sys_seconds();
    const int32_t n = s->model->spec.n_layer;
    const bool recursion = s->model->spec.recursion.count > 0;
    for (; n_layers > 0 && s->next_layer < n; n_layers--, s->next_layer++) {
        const int32_t skipped = recursion ? md_step_round_begin(s, s->next_layer) : 0;
        if (skipped > 0) {
            s->next_layer += skipped - 1;
            continue;
        }
        if (!md_step_layer(s, s->next_layer)) {
            md_step_abandon(s);
            return md_step_lost(s, s->next_layer, err);
        }
        if (recursion)
            md_step_round_end(s, s->next_layer);
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
    const md_ffn_spec *f = &sp->layer[layer].ffn;
    *k = f->router.top_k * (f->rounds > 1 ? f->rounds : 1);
    const int64_t at = (int64_t)layer * s->args.n_rows * sp->max.pick + (int64_t)row * *k;
    *expert = s->s.expert + at;
    *weight = s->s.weight + at;
    return true;
}
