/* SPDX-License-Identifier: Apache-2.0
 *
 * The attention half of a layer: norm, q k v, norms of heads, rope, cache, tiles, output (docs/numerics.md, sections 5-7).
 * Items of the tile loop are (block of rows, key head): the rows of a block and the query heads of a key head share each
 * tile that was read. Keys are never split between threads. */
#include "model/session.h"

#include "base/mathd.h"

#include <math.h>

typedef struct attention_job {
    md_session *s;
    const md_attn_spec *a;
    const md_rope_spec *rope; /* NULL: none */
    int32_t layer;
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
            md_sincos_d(j->s->s.row[i].pos * j->rope->freq[p], &sn, &c);
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

static void norm_heads(const md_session *s, const md_attn_spec *a, float *x, const float *w, int32_t n_head)
{
    const float eps = s->model->spec.norm_eps;
    if (a->qk_norm == MD_QK_NORM_FULL)
        s->ops.kern->rms_norm(x, w, x, (int64_t)n_head * a->dim_k, eps);
    else if (a->qk_norm == MD_QK_NORM_HEAD)
        for (int32_t h = 0; h < n_head; h++)
            s->ops.kern->rms_norm(x + (int64_t)h * a->dim_k, w, x + (int64_t)h * a->dim_k, a->dim_k, eps);
}

static void norm_queries_and_keys(const md_session *s, const md_attn_spec *a, float *q, float *k)
{
    norm_heads(s, a, q, a->q_norm, a->n_head);
    norm_heads(s, a, k, a->k_norm, a->n_head_kv);
}

static void turn_heads(const attention_job *j, int64_t i, float *x, int32_t n_head)
{
    const md_rope_args r = {.cs = j->s->s.cs + i * j->rope->n_rot,
                            .n_rot = j->rope->n_rot,
                            .head_dim = j->a->dim_k,
                            .n_heads = n_head,
                            .interleaved = j->rope->interleaved};
    j->s->ops.kern->rope(&r, x);
}

static void row_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const attention_job *j = ctx;
    md_session *s = j->s;
    const md_attn_spec *a = j->a;
    for (int64_t i = first; i < last; i++) {
        const md_row *r = &s->s.row[i];
        float *q = s->s.q + i * a->n_head * a->dim_k, *k = s->s.k + i * a->n_head_kv * a->dim_k;
        float *v = s->s.v + i * a->n_head_kv * a->dim_v;
        if (!a->qk_norm_last)
            norm_queries_and_keys(s, a, q, k);
        if (j->rope) {
            turn_heads(j, i, q, a->n_head);
            turn_heads(j, i, k, a->n_head_kv);
        }
        if (a->qk_norm_last)
            norm_queries_and_keys(s, a, q, k);
        if (a->value_scale != 1.0f)
            s->ops.kern->scale(v, a->value_scale, (int64_t)a->n_head_kv * a->dim_v);
        const int32_t page = r->seq->table.page[r->pos / MD_TILE];
        for (int32_t h = 0; h < a->n_head_kv; h++)
            md_kv_put(s->ops.kern, s->kv, page, j->layer, h, r->pos % MD_TILE, k + (int64_t)h * a->dim_k,
                      v + (int64_t)h * a->dim_v);
    }
}

/* ---- tiles ---- */

static int32_t lowest_key(const md_attn_spec *a, int32_t pos)
{
    return a->window > 0 && pos >= a->window ? pos - a->window + 1 : 0;
}

/* One row's query heads over one tile; heads [0, group) of key head g. */
static void attend_row(const attention_job *j, int64_t i, int32_t g, int32_t tile, const float *kt, const float *v,
                       md_thread_counters *count)
{
    md_session *s = j->s;
    const md_attn_spec *a = j->a;
    const int32_t pos = s->s.row[i].pos, group = a->n_head / a->n_head_kv, start = tile * MD_TILE;
    int32_t first = lowest_key(a, pos) - start, last = pos + 1 - start;
    first = first > 0 ? first : 0;
    last = last < MD_TILE ? last : MD_TILE;
    if (first >= last) {
        count->tiles_skipped++;
        return;
    }
    count->tiles_run++;
    for (int32_t h = g * group; h < (g + 1) * group; h++) {
        float *ml = s->s.ml + (i * a->n_head + h) * 2;
        const md_attend t = {.q = s->s.q + (i * a->n_head + h) * a->dim_k,
                             .kt = kt,
                             .v = v,
                             .dim_k = a->dim_k,
                             .dim_v = a->dim_v,
                             .first = first,
                             .last = last,
                             .scale = a->scale,
                             .softcap = a->softcap,
                             .m = &ml[0],
                             .l = &ml[1],
                             .acc = s->s.att + (i * a->n_head + h) * a->dim_v};
        s->ops.kern->attend(&t);
    }
}

static void start_row(const attention_job *j, int64_t i, int32_t g)
{
    const md_attn_spec *a = j->a;
    const int32_t group = a->n_head / a->n_head_kv;
    for (int32_t h = g * group; h < (g + 1) * group; h++) {
        float *ml = j->s->s.ml + (i * a->n_head + h) * 2, *acc = j->s->s.att + (i * a->n_head + h) * a->dim_v;
        ml[0] = -INFINITY;
        ml[1] = 0.0f;
        for (int32_t d = 0; d < a->dim_v; d++)
            acc[d] = 0.0f;
    }
}

static void end_row(const attention_job *j, int64_t i, int32_t g)
{
    const md_attn_spec *a = j->a;
    const md_kern *kern = j->s->ops.kern;
    const int32_t group = a->n_head / a->n_head_kv;
    for (int32_t h = g * group; h < (g + 1) * group; h++) {
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
    const md_spec *sp = &s->model->spec;
    float *buffer = s->s.tiles + (int64_t)thread * (sp->max_dim_k + sp->max_dim_v) * MD_TILE;
    md_thread_counters *count = &s->s.counters[thread];
    for (int64_t item = first; item < last; item++) {
        const md_row_block *b = &s->s.block[item / a->n_head_kv];
        const int32_t g = (int32_t)(item % a->n_head_kv), end = b->first + b->n;
        const int32_t low = lowest_key(a, s->s.row[b->first].pos) / MD_TILE, high = s->s.row[end - 1].pos / MD_TILE;
        const md_kv_table *table = &s->s.row[b->first].seq->table;
        for (int32_t i = b->first; i < end; i++)
            start_row(j, i, g);
        count->tiles_skipped += (uint64_t)low * (uint64_t)b->n;
        for (int32_t tile = low; tile <= high; tile++) {
            const float *kt, *v;
            md_kv_get(s->ops.kern, s->kv, table->page[tile], j->layer, g, buffer,
                      buffer + (int64_t)sp->max_dim_k * MD_TILE, &kt, &v);
            for (int32_t i = b->first; i < end; i++)
                attend_row(j, i, g, tile, kt, v, count);
        }
        for (int32_t i = b->first; i < end; i++)
            end_row(j, i, g);
    }
}

/* Each head's output times the sigmoid of its gate. */
static void gate_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const attention_job *j = ctx;
    const md_session *s = j->s;
    const md_attn_spec *a = j->a;
    for (int64_t i = first; i < last; i++) {
        s->ops.kern->sigmoid(s->s.head_gate + i * a->n_head, a->n_head);
        for (int32_t h = 0; h < a->n_head; h++)
            s->ops.kern->scale(s->s.att + (i * a->n_head + h) * a->dim_v, s->s.head_gate[i * a->n_head + h], a->dim_v);
    }
}

void md_step_attention(md_session *s, int32_t layer)
{
    const md_spec *sp = &s->model->spec;
    const md_attn_spec *a = &sp->layer[layer].attn;
    attention_job j = {.s = s, .a = a, .rope = a->rope >= 0 ? &sp->rope[a->rope] : NULL, .layer = layer};
    if (j.rope && s->rope_ready != a->rope) {
        md_pool_run(s->pool, s->n_rows, 4, angle_items, &j);
        s->rope_ready = a->rope;
    }
    md_rms_norm_rows(&s->ops, s->s.x, a->norm, s->s.h, s->n_rows, sp->n_embd, sp->norm_eps);
    md_rows_set(&s->s.in, s->s.h, s->n_rows, sp->n_embd);
    md_matmul(&s->ops, &a->q, &s->s.in, s->s.q, a->q.rows);
    md_matmul(&s->ops, &a->k, &s->s.in, s->s.k, a->k.rows);
    md_matmul(&s->ops, &a->v, &s->s.in, s->s.v, a->v.rows);
    if (a->gate.data)
        md_matmul(&s->ops, &a->gate, &s->s.in, s->s.head_gate, a->n_head);
    md_pool_run(s->pool, s->n_rows, 2, row_items, &j);
    md_pool_run(s->pool, (int64_t)s->n_blocks * a->n_head_kv, 1, attend_items, &j);
    if (a->gate.data)
        md_pool_run(s->pool, s->n_rows, 4, gate_items, &j);
    md_rows_set(&s->s.mid, s->s.att, s->n_rows, (int64_t)a->n_head * a->dim_v);
    md_matmul(&s->ops, &a->out, &s->s.mid, s->s.y, sp->n_embd);
    if (a->post_norm)
        md_rms_norm_rows(&s->ops, s->s.y, a->post_norm, s->s.y, s->n_rows, sp->n_embd, sp->norm_eps);
    md_residual(&s->ops, s->s.x, s->s.y, s->n_rows, sp->n_embd, sp->residual_scale);
}
