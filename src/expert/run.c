/* SPDX-License-Identifier: Apache-2.0
 *
 * One layer's experts on grouped rows: gather, gate and up, activation, down, weighted combine in ascending expert id.
 * Work items are (expert, stretch of weight rows), so that few large experts and many small ones both keep every thread
 * busy. Experts of one width go through together (Wang et al. 2024, "HMoE": there may be several widths). */
#include "expert/expert.h"

#include <math.h>

/* Rows of a weight in one item. */
#define STRETCH 32

typedef struct product_job {
    const md_ops *o;
    const md_expert_scratch *s;
    md_rows *in; /* rows by batch row, or by pair */
    bool by_pair;
    int64_t stretches; /* items an expert */
    int64_t rows;      /* rows of the weight */
    int32_t n_same;
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
    const int32_t e = j->s->same[item / j->stretches];
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
                          .out = j->out + (j->by_pair ? begin : j->s->pair[begin]) * j->ld + j->offset,
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
    md_pool_run(j.o->pool, j.stretches * j.n_same, 1, product_items, &j);
}

typedef struct combine_job {
    const md_expert_job *job;
    const md_ops *o;
    const md_expert_scratch *s;
    const float *x; /* (T, D) what experts read */
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

/* The shares of a row's constant experts. */
static void mix_row(const combine_job *c, int64_t t)
{
    const md_expert_job *j = c->job;
    const md_kern *kern = c->o->kern;
    for (int64_t at = t * j->top_k; at < (t + 1) * j->top_k; at++) {
        const int32_t k = j->expert[at] - j->n_expert;
        if (k < 0 || k >= j->others.n_constant)
            continue;
        const float *w = j->others.mix + 2 * k * j->d, *x = c->x + t * j->d;
        float *share = c->s->mix + 2 * at;
        share[0] = kern->dot16(w, x, j->d);
        share[1] = kern->dot16(w + j->d, x, j->d);
        kern->softmax(share, 2);
    }
}

/* Values [from, from + n) of what the expert of a pick gives, in buf or where they are; NULL: nothing. */
static const float *output_of(const combine_job *c, int64_t t, int64_t at, int64_t from, int64_t n, float *buf)
{
    const md_expert_job *j = c->job;
    const int32_t k = j->expert[at] - j->n_expert;
    const float *x = c->x + t * j->d + from;
    if (k < 0)
        return c->s->out + c->s->group.slot[at] * j->d + from;
    if (k >= j->others.n_constant)
        return k < j->others.n_constant + j->others.n_copy ? x : NULL;
    const float *v = j->others.constant + k * j->d + from, *share = c->s->mix + 2 * at;
    for (int64_t i = 0; i < n; i++)
        buf[i] = fmaf(share[1], v[i], share[0] * x[i]);
    return buf;
}

/* One row, in ascending expert id. Products of two floats are exact in double and the sum is rounded once. */
static void combine_row(const combine_job *c, int64_t t)
{
    enum { COLUMNS = 256 };
    const md_expert_job *j = c->job;
    if (j->others.n_constant > 0)
        mix_row(c, t);
    for (int64_t from = 0; from < j->d; from += COLUMNS) {
        const int64_t n = j->d - from < COLUMNS ? j->d - from : COLUMNS;
        double sum[COLUMNS] = {0};
        float buf[COLUMNS];
        for (int32_t done = -1, s; (s = next_pick(j, t, done)) >= 0;) {
            const int64_t at = t * j->top_k + s;
            const float *out = output_of(c, t, at, from, n, buf);
            const double weight = j->weigh_input && j->expert[at] < j->n_expert ? 1.0 : (double)j->weight[at];
            for (int64_t i = 0; out && i < n; i++)
                sum[i] += weight * (double)out[i];
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
static void prepare_rows(const md_ops *o, const md_expert_scratch *s, int32_t n_same, md_rows *rows, int which)
{
    for (int32_t i = 0; i < n_same; i++) {
        const md_weight *w = weight_of(s->loaded[s->same[i]], which);
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

/* Lists the active experts of a width and gives their pairs rows of hidden; returns how many experts, and how many pairs. */
static int32_t choose_width(const md_expert_job *job, int64_t width, md_expert_scratch *s, int32_t *n_pairs)
{
    const md_grouping *g = &s->group;
    int32_t n = 0;
    *n_pairs = 0;
    for (int32_t i = 0; i < g->n_active; i++) {
        const int32_t e = g->active[i];
        if (job->n_width > 0 && s->loaded[e]->down.cols != width)
            continue;
        s->same[n++] = e;
        for (int32_t p = g->first[e]; p < g->first[e + 1]; p++)
            s->pair[p] = (*n_pairs)++;
    }
    return n;
}

/* What an expert reads times its weight gives its products times the weight: they are linear. */
static void weigh_products(const md_ops *o, const md_expert_job *job, const md_expert_scratch *s, int64_t n_rows,
                           int64_t expert_width, float *products, int64_t width)
{
    for (int64_t i = 0; job->weigh_input && i < n_rows * job->top_k; i++)
        if (s->group.slot[i] >= 0 && (job->n_width == 0 || s->loaded[job->expert[i]]->down.cols == expert_width))
            o->kern->scale(products + s->pair[s->group.slot[i]] * width, job->weight[i], width);
}

/* hidden = act(gate) * up, or act(up), for the experts of one width. */
static void run_up(const md_ops *o, const md_expert_job *job, int64_t width, int32_t n_same, int32_t n_pairs,
                   md_rows *in, md_expert_scratch *s)
{
    product_job j = {.o = o, .s = s, .in = in, .n_same = n_same, .rows = width, .which = UP};
    prepare_rows(o, s, n_same, in, UP);
    if (!job->gated) {
        j.out = s->hidden, j.ld = width;
        product(j);
        weigh_products(o, job, s, in->n, width, s->hidden, width);
        md_ffn_activate_alone(o, job->act, s->hidden, s->hidden, n_pairs, width);
        return;
    }
    const bool fused = !s->loaded[s->same[0]]->gate.data;
    j.out = s->gate_up, j.ld = 2 * width;
    if (fused) {
        j.rows = 2 * width;
    } else {
        prepare_rows(o, s, n_same, in, GATE);
        j.which = GATE;
        product(j);
        j.which = UP, j.offset = width;
    }
    product(j);
    weigh_products(o, job, s, in->n, width, s->gate_up, 2 * width);
    md_ffn_activate_pairs(o, job->act, job->alpha, job->limit, s->gate_up, s->hidden, n_pairs, width);
}

/* Outputs of the active experts of one width. */
static void run_width(const md_ops *o, const md_expert_job *job, int64_t width, md_rows *in, md_expert_scratch *s)
{
    int32_t n_pairs;
    const int32_t n = choose_width(job, width, s, &n_pairs);
    if (n == 0)
        return;
    run_up(o, job, width, n, n_pairs, in, s);
    md_rows_set(&s->rows, s->hidden, n_pairs, width);
    prepare_rows(o, s, n, &s->rows, DOWN);
    product((product_job){.o = o,
                          .s = s,
                          .in = &s->rows,
                          .by_pair = true,
                          .rows = job->d,
                          .n_same = n,
                          .out = s->out,
                          .ld = job->d,
                          .which = DOWN});
}

bool md_experts_run(const md_ops *o, md_expert_store *store, const md_expert_job *job, md_rows *in,
                    md_expert_scratch *s, float *y, md_expert_seen_fn *on_out, void *user)
{
    const int32_t n_rows = (int32_t)in->n;
    md_group(job->expert, n_rows, job->top_k, job->n_expert, &s->group);
    if (!take(store, job, s))
        return false;
    const md_grouping *g = &s->group;
    if (job->n_width == 0)
        run_width(o, job, job->x, in, s);
    for (int32_t i = 0; i < job->n_width; i++)
        run_width(o, job, job->width[i], in, s);
    if (on_out)
        for (int32_t i = 0; i < g->n_active; i++) {
            const int32_t e = g->active[i], begin = g->first[e];
            on_out(user, e, g->first[e + 1] - begin, g->row + begin, s->out + begin * job->d);
        }
    combine_job c = {.job = job, .o = o, .s = s, .x = in->x, .y = y};
    md_pool_run(o->pool, n_rows, 4, combine_items, &c);
    for (int32_t i = 0; i < g->n_active; i++)
        store->release(store, job->layer, g->active[i]);
    return true;
}
