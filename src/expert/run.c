/* SPDX-License-Identifier: Apache-2.0
 *
 * One layer's experts on grouped rows: gather, gate and up, activation, down, weighted combine in ascending expert id.
 * Work items are (expert, stretch of weight rows), so that few large experts and many small ones both keep every thread
 * busy. */
#include "expert/expert.h"

/* Rows of a weight in one item. */
#define STRETCH 32

typedef struct product_job {
    const md_ops *o;
    const md_expert_scratch *s;
    md_rows *in; /* rows by batch row, or by pair */
    bool by_pair;
    int64_t stretches; /* items an expert */
    int64_t rows;      /* rows of the weight */
    float *out;
    int64_t ld, offset; /* where this weight's rows begin in an output row */
    enum { GATE, UP, DOWN } which;
} product_job;

static const md_weight *weight_of(const md_expert *e, int which)
{
    return which == GATE ? &e->gate : which == UP ? &e->up : &e->down;
}

static void product_item(const product_job *j, int64_t item)
{
    const int32_t e = j->s->group.active[item / j->stretches];
    const int64_t first = item % j->stretches * STRETCH, last = first + STRETCH < j->rows ? first + STRETCH : j->rows;
    const int32_t begin = j->s->group.first[e], n = j->s->group.first[e + 1] - begin;
    const md_weight *w = weight_of(j->s->loaded[e], j->which);
    md_act act = md_rows_act(j->in, w->type);
    const md_product m = {.w = w->data,
                          .row_bytes = w->row_bytes,
                          .first = first,
                          .last = last,
                          .act = &act,
                          .rows = (j->by_pair ? j->s->pair : j->s->group.row) + begin,
                          .n_rows = n,
                          .out = j->out + begin * j->ld + j->offset,
                          .ld_out = j->ld};
    j->o->kern->mul[w->type](&m);
    if (w->scale || w->bias)
        for (int32_t t = 0; t < n; t++)
            md_finish_rows(m.out + t * j->ld, w->scale, w->bias, first, last);
}

static void product_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    for (int64_t i = first; i < last; i++)
        product_item(ctx, i);
}

static void product(product_job j)
{
    j.stretches = (j.rows + STRETCH - 1) / STRETCH;
    md_pool_run(j.o->pool, j.stretches * j.s->group.n_active, 1, product_items, &j);
}

typedef struct combine_job {
    const md_expert_job *job;
    const md_ops *o;
    const md_expert_scratch *s;
    float *y;
} combine_job;

/* The row's pick of the lowest expert id above `done`, or -1. K is small, so it is simply looked for. */
static int32_t next_pick(const md_expert_job *j, int64_t t, int32_t done)
{
    const int32_t *expert = j->expert + t * j->top_k;
    int32_t next = -1;
    for (int32_t s = 0; s < j->top_k; s++)
        if (expert[s] > done && (next < 0 || expert[s] < expert[next]))
            next = s;
    return next;
}

/* One row, in ascending expert id. Products of two floats are exact in double and the sum is rounded once. */
static void combine_row(const combine_job *c, int64_t t)
{
    enum { COLUMNS = 256 };
    const md_expert_job *j = c->job;
    for (int64_t from = 0; from < j->d; from += COLUMNS) {
        const int64_t n = j->d - from < COLUMNS ? j->d - from : COLUMNS;
        double sum[COLUMNS] = {0};
        for (int32_t done = -1, s; (s = next_pick(j, t, done)) >= 0;) {
            const int64_t at = t * j->top_k + s;
            const float *out = c->s->out + c->s->group.slot[at] * j->d + from;
            for (int64_t i = 0; i < n; i++)
                sum[i] += (double)j->weight[at] * (double)out[i];
            done = j->expert[at];
        }
        for (int64_t i = 0; i < n; i++)
            c->y[t * j->d + from + i] = (float)sum[i];
    }
}

static void combine_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    for (int64_t t = first; t < last; t++)
        combine_row(ctx, t);
}

/* Quantized forms of the rows that the experts' matrices ask for; types may differ from expert to expert. */
static void prepare_rows(const md_ops *o, const md_expert_scratch *s, md_rows *rows, int which)
{
    for (int32_t i = 0; i < s->group.n_active; i++) {
        const md_weight *w = weight_of(s->loaded[s->group.active[i]], which);
        if (w->data)
            md_rows_need(o, rows, w->type);
    }
}

static bool take(md_expert_store *store, const md_expert_job *job, md_expert_scratch *s)
{
    store->want(store, job->layer, s->group.active, s->group.n_active);
    for (int32_t i = 0; i < s->group.n_active; i++) {
        const int32_t e = s->group.active[i];
        s->loaded[e] = store->run(store, job->layer, e);
        if (!s->loaded[e]) {
            while (i-- > 0)
                store->release(store, job->layer, s->group.active[i]);
            return false;
        }
    }
    return true;
}

bool md_experts_run(const md_ops *o, md_expert_store *store, const md_expert_job *job, md_rows *in,
                    md_expert_scratch *s, float *y, md_expert_seen_fn *on_out, void *user)
{
    const int32_t n_rows = (int32_t)in->n;
    md_group(job->expert, n_rows, job->top_k, job->n_expert, &s->group);
    if (!take(store, job, s))
        return false;
    const md_grouping *g = &s->group;
    const int32_t n_pairs = g->first[job->n_expert];
    for (int32_t i = 0; i < n_pairs; i++)
        s->pair[i] = i;
    if (g->n_active > 0) {
        const bool fused = !s->loaded[g->active[0]]->gate.data;
        prepare_rows(o, s, in, UP);
        prepare_rows(o, s, in, GATE);
        if (!fused)
            product((product_job){
                .o = o, .s = s, .in = in, .rows = job->x, .out = s->gate_up, .ld = 2 * job->x, .which = GATE});
        product((product_job){.o = o,
                              .s = s,
                              .in = in,
                              .rows = fused ? 2 * job->x : job->x,
                              .out = s->gate_up,
                              .ld = 2 * job->x,
                              .offset = fused ? 0 : job->x,
                              .which = UP});
        md_ffn_activate_pairs(o, job->act, job->alpha, job->limit, s->gate_up, s->hidden, n_pairs, job->x);
        md_rows_set(&s->rows, s->hidden, n_pairs, job->x);
        prepare_rows(o, s, &s->rows, DOWN);
        product((product_job){.o = o,
                              .s = s,
                              .in = &s->rows,
                              .by_pair = true,
                              .rows = job->d,
                              .out = s->out,
                              .ld = job->d,
                              .which = DOWN});
    }
    if (on_out)
        for (int32_t i = 0; i < g->n_active; i++) {
            const int32_t e = g->active[i], begin = g->first[e];
            on_out(user, e, g->first[e + 1] - begin, g->row + begin, s->out + begin * job->d);
        }
    combine_job c = {.job = job, .o = o, .s = s, .y = y};
    md_pool_run(o->pool, n_rows, 4, combine_items, &c);
    for (int32_t i = 0; i < g->n_active; i++)
        store->release(store, job->layer, g->active[i]);
    return true;
}
