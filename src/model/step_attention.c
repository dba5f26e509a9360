/* SPDX-License-Identifier: Apache-2.0
 *
 * The attention of a layer: q k v, norms of heads, rope, cache, tiles, gates, output (docs/numerics.md, sections 5-7).
 * Items of the tile loop are (some rows of a block, a key head, some of its query heads): those rows and heads share each tile
 * that is read. Keys are never split between threads. */
#include "model/session.h"

#include "base/mathd.h"

#include <math.h>
#include <string.h>

/* Most queries (a row's head each) of an item: enough to make the widening of a tile cheap. */
#define QUERIES     128
/* As few as an item should have where there is a choice. */
#define FEW_QUERIES 16
/* Items a thread that make up for their unequal lengths. */
#define ITEMS       4

typedef struct attention_job {
    md_session *s;
    const md_attn_spec *a;
    const md_rope_spec *rope; /* NULL: none */
    const double *freq;
    bool own;              /* the layer has keys and values of its own */
    int32_t rows, parts;   /* of an item; items along a block */
    int32_t heads, shares; /* of an item; items along a key head's query heads */
    int64_t n_items;
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

/* One item, and its queries: rows in order, and in a row heads in order. */
typedef struct attend_item {
    const attention_job *j;
    int32_t first, n; /* rows */
    int32_t from, heads;
    int32_t kv_head;
    md_query query[QUERIES];
} attend_item;

/* False: the block has fewer rows than others, and none for this item. */
static bool item_at(const attention_job *j, int64_t index, attend_item *t)
{
    const md_attn_spec *a = j->a;
    const int32_t group = a->n_head / a->n_head_kv, skip_heads = (int32_t)(index % j->shares) * j->heads;
    const int64_t part = index / j->shares / a->n_head_kv;
    const md_row_block *b = &j->s->s.block[part / j->parts];
    const int32_t skip = (int32_t)(part % j->parts) * j->rows;
    t->j = j;
    t->first = b->first + skip;
    t->n = b->n - skip < j->rows ? b->n - skip : j->rows;
    t->kv_head = (int32_t)(index / j->shares % a->n_head_kv);
    t->from = t->kv_head * group + skip_heads;
    t->heads = group - skip_heads < j->heads ? group - skip_heads : j->heads;
    return t->n > 0;
}

static void start_queries(attend_item *t)
{
    const md_session *s = t->j->s;
    const md_attn_spec *a = t->j->a;
    md_query *q = t->query;
    for (int32_t i = t->first; i < t->first + t->n; i++)
        for (int32_t h = t->from; h < t->from + t->heads; h++, q++) {
            *q = (md_query){.q = s->s.q + i * s->q_stride + (int64_t)h * a->dim_k,
                            .acc = s->s.att + ((int64_t)i * a->n_head + h) * a->dim_v,
                            .ml = s->s.ml + ((int64_t)i * a->n_head + h) * 2,
                            .slope = a->slope ? a->slope[h] : 0.0f};
            q->ml[0] = -INFINITY;
            q->ml[1] = 0.0f;
            memset(q->acc, 0, (size_t)a->dim_v * sizeof *q->acc);
        }
}

static void end_queries(const attend_item *t)
{
    const md_attn_spec *a = t->j->a;
    const md_kern *kern = t->j->s->ops.kern;
    for (int32_t i = 0; i < t->n * t->heads; i++) {
        const md_query *q = &t->query[i];
        if (a->sinks)
            kern->attend_sink(a->sinks[t->from + i % t->heads], &q->ml[0], &q->ml[1], q->acc, a->dim_v);
        kern->attend_finish(q->ml[1], q->acc, q->acc, a->dim_v);
    }
}

/* One tile. The rows that see something of it follow each other, since both ends of what a row sees grow with its position. */
static void attend_tile(attend_item *t, int32_t index, const md_kv_tile *tile, const md_kv_tile *next,
                        md_thread_counters *count)
{
    const md_session *s = t->j->s;
    const md_attn_spec *a = t->j->a;
    const int32_t start = index * MD_TILE;
    int32_t seen = 0, from = 0;
    for (int32_t i = 0; i < t->n; i++) {
        const md_row *r = &s->s.row[t->first + i];
        const int32_t low = lowest_key(a, r->pos) - start, end = end_of_keys(s, r) - start;
        const int32_t first = low > 0 ? low : 0, last = end < MD_TILE ? end : MD_TILE;
        if (first >= last)
            continue;
        from = seen++ > 0 ? from : i;
        for (int32_t h = 0; h < t->heads; h++) {
            md_query *q = &t->query[i * t->heads + h];
            q->first = first;
            q->last = last;
            q->at = r->pos - start;
        }
    }
    count->tiles_run += (uint64_t)(seen * t->heads);
    count->tiles_skipped += (uint64_t)((t->n - seen) * t->heads);
    if (seen > 0)
        s->ops.kern->attend(&(md_attend){.tile = tile,
                                         .next = next,
                                         .query = t->query + from * t->heads,
                                         .n = seen * t->heads,
                                         .scale = a->scale,
                                         .softcap = a->softcap});
}

static void run_item(attend_item *t, md_thread_counters *count)
{
    const md_session *s = t->j->s;
    const md_attn_spec *a = t->j->a;
    const md_row *row = &s->s.row[t->first];
    const md_kv_table *table = &row->seq->table;
    const int32_t low = lowest_key(a, row->pos) / MD_TILE, high = (end_of_keys(s, &row[t->n - 1]) - 1) / MD_TILE;
    start_queries(t);
    count->tiles_skipped += (uint64_t)low * (uint64_t)(t->n * t->heads);
    md_kv_tile tile[2];
    tile[low % 2] = md_kv_tile_at(s->kv, table->page[low], a->cache, t->kv_head);
    for (int32_t i = low; i <= high; i++) {
        const md_kv_tile *next = NULL;
        if (i < high) {
            tile[(i + 1) % 2] = md_kv_tile_at(s->kv, table->page[i + 1], a->cache, t->kv_head);
            next = &tile[(i + 1) % 2];
        }
        attend_tile(t, i, &tile[i % 2], next, count);
    }
    end_queries(t);
}

static void attend_items(void *ctx, int64_t first, int64_t last, int thread)
{
    const attention_job *j = ctx;
    for (int64_t i = first; i < last; i++) {
        attend_item t;
        if (item_at(j, i, &t))
            run_item(&t, &j->s->s.counters[thread]);
    }
}

static int32_t ceil_div(int32_t a, int32_t b)
{
    return (a + b - 1) / b;
}

static void count_items(attention_job *j, int32_t block)
{
    const int32_t group = j->a->n_head / j->a->n_head_kv;
    j->parts = ceil_div(block, j->rows);
    j->shares = ceil_div(group, j->heads);
    j->n_items = (int64_t)j->s->n_blocks * j->parts * j->a->n_head_kv * j->shares;
}

/* Rows of a block are worth cutting while their queries are many; a row's heads only where threads would idle. */
static bool too_few_items(const attention_job *j, int32_t threads)
{
    if (j->n_items >= (int64_t)ITEMS * threads)
        return false;
    if (j->rows > 1)
        return j->n_items < threads || j->rows * j->heads > FEW_QUERIES;
    return j->heads > 1 && j->n_items % threads != 0;
}

static void attend(attention_job *j)
{
    md_session *s = j->s;
    const int32_t group = j->a->n_head / j->a->n_head_kv, threads = md_pool_threads(s->pool);
    int32_t block = 1;
    for (int32_t i = 0; i < s->n_blocks; i++)
        block = s->s.block[i].n > block ? s->s.block[i].n : block;
    j->heads = group < QUERIES ? group : QUERIES;
    j->rows = QUERIES / j->heads < block ? QUERIES / j->heads : block;
    count_items(j, block);
    while (too_few_items(j, threads)) {
        int32_t *cut = j->rows > 1 ? &j->rows : &j->heads;
        *cut = ceil_div(*cut, 2);
        count_items(j, block);
    }
    md_pool_run(s->pool, j->n_items, 1, attend_items, j);
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
    j->freq = s->args.n_context > j->rope->ctx_short ? j->rope->freq_long : j->rope->freq;
    if (s->rope_ready == rope)
        return;
    md_pool_run(s->pool, s->n_rows, 4, angle_items, j);
    s->rope_ready = rope;
}

static void project(md_session *s, const md_attn_spec *a, bool own)
{
    const md_weight none = {0};
    const md_matmul_part gate = {.w = &a->gate, .out = s->s.head_gate, .ld = a->gate.rows};
    if (a->latent) {
        md_matmul_parts(&s->ops, &gate, 1, &s->s.in);
        md_step_latent_in(s, a);
        return;
    }
    const md_matmul_part part[] = {
        {.w = &a->q, .out = s->s.q, .ld = a->q.rows},
        {.w = own ? &a->k : &none, .out = s->s.k, .ld = a->k.rows},
        {.w = own && !a->keys_are_values ? &a->v : &none, .out = s->s.v, .ld = a->v.rows},
        gate,
    };
    md_matmul_parts(&s->ops, part, sizeof part / sizeof *part, &s->s.in);
    s->q_stride = a->q.rows;
}

void md_step_attention(md_session *s, int32_t layer)
{
    const md_spec *sp = &s->model->spec;
    const md_attn_spec *a = &sp->layer[layer].attn;
    const bool own = a->cache == layer, gated = a->gate.data || a->gate_in_q;
    attention_job j = {.s = s, .a = a, .own = own};
    turn_angles(s, &j, a->rope);
    md_rows_set(&s->s.in, s->s.h, s->n_rows, sp->n_embd);
    project(s, a, own);
    md_pool_run(s->pool, s->n_rows, 2, row_items, &j);
    attend(&j);
    if (a->latent)
        md_step_latent_out(s, a);
    if (gated)
        md_pool_run(s->pool, s->n_rows, 4, gate_items, &j);
    md_rows_set(&s->s.mid, s->s.att, s->n_rows, a->out.cols);
    md_matmul(&s->ops, &a->out, &s->s.mid, s->s.y, sp->n_embd);
}
