/* SPDX-License-Identifier: Apache-2.0
 *
 * The attention of a layer: q k v, norms of heads, rope, cache, tiles, gates, output (docs/numerics.md, sections 5-7).
 * Items of the tile loop are (block of rows, key head, some of its query heads): the rows of a block and those heads share
 * each tile that was read. Keys are never split between threads. */
#include "model/session.h"

#include "base/mathd.h"

#include <math.h>
#include <string.h>

/* Query heads that share a tile; more of a key head's would leave threads idle where there are few key heads. */
#define GROUP 16

typedef struct attention_job {
    md_session *s;
    const md_attn_spec *a;
    const md_rope_spec *rope; /* NULL: none */
    const double *freq;
    bool own;       /* the layer has keys and values of its own */
    int32_t shares; /* items a block and key head */
} attention_job;

/* ---- rope ---- */

static void angle_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const attention_job *j = ctx;
    const int half = j->rope->n_rot / 2;
    for (int64_t i = first; i < last; i++) {
        float *cs = j->s->s.cs + i * 2 * half;
        for (int p = 0; p < half; p++) {
            double sn, c;
            md_sincos_d(j->s->s.row[i].pos * j->freq[p], &sn, &c);
            cs[2 * p] = (float)c;
            cs[2 * p + 1] = (float)sn;
            if (j->rope->magnitude != 1.0f) {
                cs[2 * p] *= j->rope->magnitude;
                cs[2 * p + 1] *= j->rope->magnitude;
            }
        }
    }
}

/* ---- rows: norms of heads, rope, into the cache ---- */

static void norm_heads(const md_session *s, const md_attn_spec *a, const md_norm *norm, float *x, int32_t n_head)
{
    const md_kern *kern = s->ops.kern;
    md_norm one = *norm;
    switch (a->qk_norm) {
    case MD_QK_NORM_NONE: return;
    case MD_QK_NORM_FULL: md_norm_row(kern, norm, x, x, (int64_t)n_head * a->dim_k); return;
    case MD_QK_NORM_HEAD:
    case MD_QK_NORM_EACH:
        for (int32_t h = 0; h < n_head; h++) {
            if (a->qk_norm == MD_QK_NORM_EACH)
                one.w = norm->w + (int64_t)h * a->dim_k;
            md_norm_row(kern, &one, x + (int64_t)h * a->dim_k, x + (int64_t)h * a->dim_k, a->dim_k);
        }
    }
}

/* The last n_rot values of heads where attention is latent, else the first. */
static void turn_heads(const attention_job *j, int64_t i, float *x, int32_t n_head)
{
    if (!j->rope)
        return;
    const md_rope_args r = {.cs = j->s->s.cs + i * j->rope->n_rot,
                            .n_rot = j->rope->n_rot,
                            .head_dim = j->a->dim_k,
                            .n_heads = n_head,
                            .interleaved = j->rope->interleaved};
    j->s->ops.kern->rope(&r, j->a->latent ? x + j->a->latent->rank : x);
}

/* Rows of q that are (queries, gate) a head, taken apart in place. */
static void split_gates(const md_session *s, const md_attn_spec *a, int64_t i)
{
    float *from = s->s.q + i * a->q.rows, *gate = s->s.head_gate + i * a->n_head * a->dim_k;
    for (int32_t h = 0; h < a->n_head; h++) {
        memcpy(gate + (int64_t)h * a->dim_k, from + (2 * (int64_t)h + 1) * a->dim_k, (size_t)a->dim_k * sizeof *gate);
        memmove(from + (int64_t)h * a->dim_k, from + 2 * (int64_t)h * a->dim_k, (size_t)a->dim_k * sizeof *from);
    }
}

static void temper(const md_session *s, const md_attn_spec *a, float *q, int32_t pos)
{
    const double step = floor((double)(pos + a->temper_shift) / a->temper_floor);
    s->ops.kern->scale(q, (float)(1.0 + (double)a->temper * md_log_d(1.0 + step)), (int64_t)a->n_head * a->dim_k);
}

static void query_row(const attention_job *j, int64_t i)
{
    md_session *s = j->s;
    const md_attn_spec *a = j->a;
    float *q = s->s.q + i * s->q_stride;
    if (a->clip > 0.0f)
        s->ops.kern->clamp(q, (int64_t)a->n_head * a->dim_k, a->clip);
    if (!a->qk_norm_last)
        norm_heads(s, a, &a->q_norm, q, a->n_head);
    turn_heads(j, i, q, a->n_head);
    if (a->qk_norm_last)
        norm_heads(s, a, &a->q_norm, q, a->n_head);
    if (a->temper != 0.0f)
        temper(s, a, q, s->s.row[i].pos);
}

static void key_row(const attention_job *j, int64_t i)
{
    md_session *s = j->s;
    const md_attn_spec *a = j->a;
    const md_row *r = &s->s.row[i];
    const int64_t n_v = (int64_t)a->n_head_kv * a->dim_v;
    float *k = s->s.k + i * a->n_head_kv * a->dim_k, *v = s->s.v + i * n_v;
    if (a->keys_are_values)
        memcpy(v, k, (size_t)n_v * sizeof *v);
    if (a->clip > 0.0f) {
        s->ops.kern->clamp(k, (int64_t)a->n_head_kv * a->dim_k, a->clip);
        s->ops.kern->clamp(v, n_v, a->clip);
    }
    if (!a->qk_norm_last)
        norm_heads(s, a, &a->k_norm, k, a->n_head_kv);
    turn_heads(j, i, k, a->n_head_kv);
    if (a->qk_norm_last)
        norm_heads(s, a, &a->k_norm, k, a->n_head_kv);
    if (a->v_norm)
        for (int32_t h = 0; h < a->n_head_kv; h++)
            s->ops.kern->rms_norm(v + (int64_t)h * a->dim_v, NULL, v + (int64_t)h * a->dim_v, a->dim_v, a->v_eps);
    if (a->value_scale != 1.0f)
        s->ops.kern->scale(v, a->value_scale, n_v);
    const int32_t page = r->seq->table.page[r->pos / MD_TILE];
    for (int32_t h = 0; h < a->n_head_kv; h++)
        md_kv_put(s->ops.kern, s->kv, page, a->cache, h, r->pos % MD_TILE, k + (int64_t)h * a->dim_k,
                  v + (int64_t)h * a->dim_v);
}

static void row_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const attention_job *j = ctx;
    for (int64_t i = first; i < last; i++) {
        if (j->a->gate_in_q)
            split_gates(j->s, j->a, i);
        query_row(j, i);
        if (j->own)
            key_row(j, i);
    }
}

/* ---- tiles ---- */

/* Keys [lowest, end) that a row sees. */
static int32_t lowest_key(const md_attn_spec *a, int32_t pos)
{
    if (a->chunk > 0)
        return pos / a->chunk * a->chunk;
    return a->window > 0 && pos >= a->window ? pos - a->window + 1 : 0;
}

static int32_t end_of_keys(const md_session *s, const md_row *r)
{
    return s->model->spec.causal ? r->pos + 1 : r->seq->table.length + r->seq->pending;
}

typedef struct tile {
    int32_t index;
    const float *kt, *v;
} tile;

/* One row's query heads [from, to) over one tile. */
static void attend_row(const attention_job *j, int64_t i, int32_t from, int32_t to, const tile *t,
                       md_thread_counters *count)
{
    md_session *s = j->s;
    const md_attn_spec *a = j->a;
    const md_row *r = &s->s.row[i];
    const int32_t start = t->index * MD_TILE;
    int32_t first = lowest_key(a, r->pos) - start, last = end_of_keys(s, r) - start;
    first = first > 0 ? first : 0;
    last = last < MD_TILE ? last : MD_TILE;
    if (first >= last) {
        count->tiles_skipped++;
        return;
    }
    count->tiles_run++;
    for (int32_t h = from; h < to; h++) {
        float *ml = s->s.ml + (i * a->n_head + h) * 2;
        const md_attend attend = {.q = s->s.q + i * s->q_stride + (int64_t)h * a->dim_k,
                                  .kt = t->kt,
                                  .v = t->v,
                                  .dim_k = a->dim_k,
                                  .dim_v = a->dim_v,
                                  .first = first,
                                  .last = last,
                                  .scale = a->scale,
                                  .softcap = a->softcap,
                                  .slope = a->slope ? a->slope[h] : 0.0f,
                                  .at = r->pos - start,
                                  .m = &ml[0],
                                  .l = &ml[1],
                                  .acc = s->s.att + (i * a->n_head + h) * a->dim_v};
        s->ops.kern->attend(&attend);
    }
}

static void start_row(const attention_job *j, int64_t i, int32_t from, int32_t to)
{
    const md_attn_spec *a = j->a;
    for (int32_t h = from; h < to; h++) {
        float *ml = j->s->s.ml + (i * a->n_head + h) * 2, *acc = j->s->s.att + (i * a->n_head + h) * a->dim_v;
        ml[0] = -INFINITY;
        ml[1] = 0.0f;
        for (int32_t d = 0; d < a->dim_v; d++)
            acc[d] = 0.0f;
    }
}

static void end_row(const attention_job *j, int64_t i, int32_t from, int32_t to)
{
    const md_attn_spec *a = j->a;
    const md_kern *kern = j->s->ops.kern;
    for (int32_t h = from; h < to; h++) {
        float *ml = j->s->s.ml + (i * a->n_head + h) * 2, *acc = j->s->s.att + (i * a->n_head + h) * a->dim_v;
        if (a->sinks)
            kern->attend_sink(a->sinks[h], &ml[0], &ml[1], acc, a->dim_v);
        kern->attend_finish(ml[1], acc, acc, a->dim_v);
    }
}

static void attend_items(void *ctx, int64_t first, int64_t last, int thread)
{
    const attention_job *j = ctx;
    md_session *s = j->s;
    const md_attn_spec *a = j->a;
    const md_maxima *x = &s->model->spec.max;
    const int32_t group = a->n_head / a->n_head_kv;
    float *buffer = s->s.tiles + (int64_t)thread * (x->dim_k + x->dim_v) * MD_TILE;
    md_thread_counters *count = &s->s.counters[thread];
    for (int64_t item = first; item < last; item++) {
        const int32_t g = (int32_t)(item / j->shares % a->n_head_kv), share = (int32_t)(item % j->shares);
        const int32_t from = g * group + share * GROUP, end_group = (g + 1) * group,
                      to = from + GROUP < end_group ? from + GROUP : end_group;
        const md_row_block *b = &s->s.block[item / j->shares / a->n_head_kv];
        const int32_t end = b->first + b->n;
        const md_kv_table *table = &s->s.row[b->first].seq->table;
        const int32_t low = lowest_key(a, s->s.row[b->first].pos) / MD_TILE,
                      high = (end_of_keys(s, &s->s.row[end - 1]) - 1) / MD_TILE;
        for (int32_t i = b->first; i < end; i++)
            start_row(j, i, from, to);
        count->tiles_skipped += (uint64_t)low * (uint64_t)b->n;
        for (tile t = {.index = low}; t.index <= high; t.index++) {
            md_kv_get(s->ops.kern, s->kv, table->page[t.index], a->cache, g, buffer,
                      buffer + (int64_t)x->dim_k * MD_TILE, &t.kt, &t.v);
            for (int32_t i = b->first; i < end; i++)
                attend_row(j, i, from, to, &t, count);
        }
        for (int32_t i = b->first; i < end; i++)
            end_row(j, i, from, to);
    }
}

/* ---- output ---- */

/* Heads' outputs, or each of their values, times what the gate's activation makes of it. */
static void gate_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const attention_job *j = ctx;
    const md_session *s = j->s;
    const md_attn_spec *a = j->a;
    const int64_t n = (int64_t)a->n_head * a->dim_v;
    const bool each = a->gate_in_q || a->gate.rows == n;
    for (int64_t i = first; i < last; i++) {
        float *gate = s->s.head_gate + i * (each ? n : a->n_head), *att = s->s.att + i * n;
        if (a->gate_act == MD_GATE_SOFTPLUS)
            s->ops.kern->softplus(gate, each ? n : a->n_head);
        else
            s->ops.kern->sigmoid(gate, each ? n : a->n_head);
        if (each)
            s->ops.kern->mul_into(att, gate, n);
        for (int32_t h = 0; !each && h < a->n_head; h++)
            s->ops.kern->scale(att + (int64_t)h * a->dim_v, gate[h], a->dim_v);
    }
}

static void turn_angles(md_session *s, attention_job *j, int32_t rope)
{
    if (rope < 0)
        return;
    j->rope = &s->model->spec.rope[rope];
    j->freq = s->args.n_positions > j->rope->ctx_short ? j->rope->freq_long : j->rope->freq;
    if (s->rope_ready == rope)
        return;
    md_pool_run(s->pool, s->n_rows, 4, angle_items, j);
    s->rope_ready = rope;
}

static void project(md_session *s, const md_attn_spec *a, bool own)
{
    if (a->latent) {
        md_step_latent_in(s, a);
        return;
    }
    md_matmul(&s->ops, &a->q, &s->s.in, s->s.q, a->q.rows);
    s->q_stride = a->q.rows;
    if (!own)
        return;
    md_matmul(&s->ops, &a->k, &s->s.in, s->s.k, a->k.rows);
    if (!a->keys_are_values)
        md_matmul(&s->ops, &a->v, &s->s.in, s->s.v, a->v.rows);
}

void md_step_attention(md_session *s, int32_t layer)
{
    const md_spec *sp = &s->model->spec;
    const md_attn_spec *a = &sp->layer[layer].attn;
    const bool own = a->cache == layer, gated = a->gate.data || a->gate_in_q;
    attention_job j = {.s = s, .a = a, .own = own, .shares = (a->n_head / a->n_head_kv + GROUP - 1) / GROUP};
    turn_angles(s, &j, a->rope);
    md_rows_set(&s->s.in, s->s.h, s->n_rows, sp->n_embd);
    if (a->gate.data)
        md_matmul(&s->ops, &a->gate, &s->s.in, s->s.head_gate, a->gate.rows);
    project(s, a, own);
    md_pool_run(s->pool, s->n_rows, 2, row_items, &j);
    md_pool_run(s->pool, (int64_t)s->n_blocks * a->n_head_kv * j.shares, 1, attend_items, &j);
    if (a->latent)
        md_step_latent_out(s, a);
    if (gated)
        md_pool_run(s->pool, s->n_rows, 4, gate_items, &j);
    md_rows_set(&s->s.mid, s->s.att, s->n_rows, a->out.cols);
    md_matmul(&s->ops, &a->out, &s->s.mid, s->s.y, sp->n_embd);
}
