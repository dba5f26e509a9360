/* SPDX-License-Identifier: Apache-2.0
 *
 * One layer's experts on grouped rows, in two loops. The first makes every expert's hidden rows (hidden.c). An item of the second
 * is a stretch of output columns for all rows: each expert's products there, in ascending order, then the rows' weighted sums,
 * then the shared expert. So outputs of single experts stay in the thread's cache, and a step of one row waits for its threads
 * twice, whatever the number of experts. */
#include "expert/expert.h"

#include <math.h>

/* Columns that a product's rows must meet at least, once they are gathered. */
#define FEW_COLUMNS  32
#define MANY_COLUMNS 64
/* Most columns of an item. */
#define MOST_COLUMNS 256
/* Columns are handed out in these. */
#define STEP         16
/* Most codes that are asked for ahead: they stay in a second-level cache. */
#define FETCH_BYTES  (128 << 10)

typedef struct output_job {
    const md_ops *o;
    const md_expert_job *job;
    const md_expert_scratch *s;
    const float *x; /* (T, D) what experts read */
    float *y;
    int64_t n_rows;
    int32_t n_units;       /* the shared one is the last */
    int64_t columns, work; /* most of an item; floats a thread */
} output_job;

static int64_t round_up(int64_t n, int64_t step)
{
    return (n + step - 1) / step * step;
}

static int64_t clamp(int64_t n, int64_t low, int64_t high)
{
    return n < low ? low : n > high ? high : n;
}

/* Rows of products that an item has: each expert's, the shared one's, and one for each slot of a row (its constant experts). */
static int64_t products_of(int64_t n_rows, int64_t top_k)
{
    return n_rows * (top_k + 1) + top_k;
}

/* Most columns of an item: a thread gets four items or more. */
static int64_t columns_of(int64_t d, int n_threads)
{
    return clamp(round_up(d / ((int64_t)4 * n_threads), STEP), MANY_COLUMNS, MOST_COLUMNS);
}

int64_t md_expert_work(int64_t n_rows, int64_t top_k, int64_t d, int n_threads)
{
    const int64_t floats = products_of(n_rows, top_k) * columns_of(d, n_threads), half = md_hidden_work();
    return floats > half ? floats : half;
}

/* ---- the second half ---- */

/* Columns [from, from + n) of what a constant or a copy expert gives a row, in buf or where they are; NULL: nothing. */
static const float *other_output(const output_job *j, int64_t t, int64_t at, int64_t from, int64_t n, float *buf)
{
    const md_expert_others *others = &j->job->others;
    const int32_t k = j->job->expert[at] - j->job->n_expert;
    const float *x = j->x + t * j->job->d + from;
    if (k >= others->n_constant)
        return k < others->n_constant + others->n_copy ? x : NULL;
    const float *v = others->constant + k * j->job->d + from, *share = j->s->mix + 2 * at;
    for (int64_t i = 0; i < n; i++)
        buf[i] = fmaf(share[1], v[i], share[0] * x[i]);
    return buf;
}

/* One row's columns, in ascending expert id. out: products of all units, `columns` apart; buf: room for those of no unit. */
static void combine(const output_job *j, int64_t t, int64_t from, int64_t n, const float *out, float *buf, int thread)
{
    const md_expert_job *job = j->job;
    const int64_t k = job->top_k;
    const float **part = j->s->part + thread * k;
    float *weight = j->s->part_weight + thread * k;
    int n_parts = 0;
    for (int32_t i = 0; i < j->s->n_order[t]; i++) {
        const int64_t at = t * k + j->s->order[t * k + i];
        const bool routed = job->expert[at] < job->n_expert;
        part[n_parts] = routed ? out + j->s->group.slot[at] * j->columns
                               : other_output(j, t, at, from, n, buf + i * j->columns);
        weight[n_parts] = routed && job->weigh_input ? 1.0f : job->weight[at];
        n_parts += part[n_parts] != NULL;
    }
    j->o->kern->combine(part, weight, n_parts, j->y + t * job->d + from, n);
}

static void add_shared(const output_job *j, int64_t t, int64_t from, int64_t n, const float *out)
{
    float *y = j->y + t * j->job->d + from;
    if (j->job->shared_weight)
        j->o->kern->axpy(y, out, j->job->shared_weight[t], n);
    else
        j->o->kern->add(y, out, n);
}

/* Asks for the codes that the next unit's product reads, while this one's is under way: they were made by all threads. */
static void fetch_codes(const md_ffn_unit *u)
{
    const md_act act = md_rows_act(&u->mid, u->w->down.type);
    const int64_t bytes = act.code && u->n > 1 ? u->n * u->width : 0;
    for (int64_t i = 0; i < bytes && i < FETCH_BYTES; i += 64)
        __builtin_prefetch(act.code + i, 0, 2);
}

/* Columns [from, from + n). */
static void output_item(const output_job *j, int64_t from, int64_t n, int thread)
{
    float *out = j->s->work + thread * j->work;
    int64_t rows = 0;
    for (int32_t i = 0; i < j->n_units; i++) {
        const md_ffn_unit *u = &j->s->unit[i];
        const md_act act = md_rows_act(&u->mid, u->w->down.type);
        if (i + 1 < j->n_units) {
            md_weight_fetch(&u[1].w->down, from);
            fetch_codes(u + 1);
        }
        md_matmul_stretch(j->o->kern, &u->w->down, from, from + n, &act, NULL, u->n, out + u->place * j->columns,
                          j->columns);
        rows += u->n;
    }
    for (int64_t t = 0; t < j->n_rows; t++)
        combine(j, t, from, n, out, out + rows * j->columns, thread);
    const md_ffn_unit *shared = &j->s->unit[j->n_units - 1];
    for (int64_t t = 0; j->job->shared && t < j->n_rows; t++)
        add_shared(j, t, from, n, out + (shared->place + t) * j->columns);
}

static void output_items(void *ctx, int64_t first, int64_t last, int thread)
{
    const output_job *j = ctx;
    const int64_t end = last * STEP < j->job->d ? last * STEP : j->job->d;
    for (int64_t at = first * STEP; at < end; at += j->columns)
        output_item(j, at, clamp(end - at, 0, j->columns), thread);
}

/* ---- before: who runs what ---- */

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

static md_ffn_unit unit_of(const md_ffn_job *job, int64_t n, int64_t place)
{
    md_ffn_unit u = {.w = job->w,
                     .width = job->x,
                     .n = (int32_t)n,
                     .place = (int32_t)place,
                     .act = job->act,
                     .alpha = job->alpha,
                     .limit = job->limit,
                     .gated = job->gated,
                     .hidden = job->hidden,
                     .mid = *job->mid};
    md_rows_set(&u.mid, job->hidden, n, job->x);
    return u;
}

/* Units of the active experts, ascending, then the shared one. */
static int32_t list_units(const md_expert_job *job, md_expert_scratch *s, int64_t n_rows)
{
    const md_grouping *g = &s->group;
    int32_t n = 0;
    s->rows.k = job->x;
    for (; n < g->n_active; n++) {
        const int32_t e = g->active[n], place = g->first[e];
        const int64_t width = s->loaded[e]->down.cols;
        md_ffn_unit *u = &s->unit[n];
        *u = (md_ffn_unit){.w = s->loaded[e],
                           .width = width,
                           .row = g->row + place,
                           .n = g->first[e + 1] - place,
                           .place = place,
                           .act = job->act,
                           .alpha = job->alpha,
                           .limit = job->limit,
                           .gated = job->gated,
                           .weight = job->weigh_input ? s->pair_weight + place : NULL,
                           .hidden = s->hidden ? s->hidden + place * job->x : NULL,
                           .mid = md_rows_view(&s->rows, place, width)};
        u->mid.x = u->hidden;
        u->mid.n = u->n;
    }
    if (job->shared)
        s->unit[n++] = unit_of(job->shared, n_rows, g->first[job->n_expert]);
    return n;
}

/* Which slots a row's experts have, in ascending order of experts, each expert once; and the weights of pairs. */
static void order_slots(const md_expert_job *job, md_expert_scratch *s, int64_t n_rows)
{
    const int32_t k = job->top_k, n_others = job->others.n_constant + job->others.n_copy + job->others.n_zero;
    for (int64_t t = 0; t < n_rows; t++) {
        const int32_t *expert = job->expert + t * k, *slot = s->group.slot + t * k;
        int32_t *order = s->order + t * k, n = 0;
        for (int32_t i = 0; i < k; i++) {
            if (slot[i] >= 0)
                s->pair_weight[slot[i]] = job->weight[t * k + i];
            if (expert[i] < 0 || expert[i] >= job->n_expert + n_others)
                continue;
            int32_t at = n; /* sorted in: K is small */
            while (at > 0 && expert[order[at - 1]] > expert[i])
                at--;
            if (at > 0 && expert[order[at - 1]] == expert[i])
                continue;
            for (int32_t m = n++; m > at; m--)
                order[m] = order[m - 1];
            order[at] = i;
        }
        s->n_order[t] = n;
    }
}

typedef struct mix_job {
    const md_ops *o;
    const md_expert_job *job;
    const float *x;
    float *mix;
} mix_job;

/* The shares of rows' constant experts. */
static void mix_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const mix_job *m = ctx;
    const md_expert_job *j = m->job;
    const md_kern *kern = m->o->kern;
    for (int64_t at = first * j->top_k; at < last * j->top_k; at++) {
        const int32_t k = j->expert[at] - j->n_expert;
        if (k < 0 || k >= j->others.n_constant)
            continue;
        const float *w = j->others.mix + 2 * k * j->d, *x = m->x + at / j->top_k * j->d;
        float *share = m->mix + 2 * at;
        share[0] = kern->dot16(w, x, j->d);
        share[1] = kern->dot16(w + j->d, x, j->d);
        kern->softmax(share, 2);
    }
}

static void show_outputs(const md_ops *o, const md_expert_job *job, md_expert_scratch *s, md_expert_seen_fn *on_out,
                         void *user)
{
    for (int32_t i = 0; i < s->group.n_active; i++) {
        md_ffn_unit *u = &s->unit[i];
        u->mid.have32 = u->mid.have256 = true;
        md_matmul(o, &u->w->down, &u->mid, s->out, job->d);
        on_out(user, s->group.active[i], u->n, u->row, s->out);
    }
}

void md_ffn_run(const md_ops *o, const md_ffn_job *job, md_rows *in, md_expert_scratch *s, float *y)
{
    md_ffn_unit u = unit_of(job, in->n, 0);
    uint64_t queue;
    md_hidden_run(o, &u, 1, in, &queue, s->work, s->work_floats);
    u.mid.have32 = u.mid.have256 = true; /* the one that down reads */
    md_matmul(o, &job->w->down, &u.mid, y, job->d);
}

bool md_experts_run(const md_ops *o, md_expert_store *store, const md_expert_job *job, md_rows *in,
                    md_expert_scratch *s, float *y, md_expert_seen_fn *on_out, void *user)
{
    const int64_t n_rows = in->n;
    const md_grouping *g = &s->group;
    md_group(job->expert, (int32_t)n_rows, job->top_k, job->n_expert, &s->group);
    if (!take(store, job, s))
        return false;
    order_slots(job, s, n_rows);
    const int32_t n_units = list_units(job, s, n_rows);
    md_hidden_run(o, s->unit, n_units, in, s->queue, s->work, s->work_floats);
    if (on_out)
        show_outputs(o, job, s, on_out, user);
    if (job->others.n_constant > 0)
        md_pool_run(o->pool, n_rows, 4, mix_items, &(mix_job){.o = o, .job = job, .x = in->x, .mix = s->mix});
    output_job j = {.o = o,
                    .job = job,
                    .s = s,
                    .x = in->x,
                    .y = y,
                    .n_rows = n_rows,
                    .n_units = n_units,
                    .columns = columns_of(job->d, md_pool_threads(o->pool)),
                    .work = s->work_floats};
    md_pool_run(o->pool, (job->d + STEP - 1) / STEP, (n_rows < 4 ? FEW_COLUMNS : MANY_COLUMNS) / STEP, output_items,
                &j);
    for (int32_t i = 0; i < g->n_active; i++)
        store->release(store, job->layer, g->active[i]);
    return true;
}
