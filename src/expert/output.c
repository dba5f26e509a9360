/* SPDX-License-Identifier: Apache-2.0
 *
 * The second half of a layer's experts: an item is a stretch of output columns for all rows. It makes each expert's products
 * there, then the rows' weighted sums in ascending order of experts, then adds the shared expert, so that outputs of single
 * experts stay in the thread's cache. Where experts come in waves, a row's sum so far waits in double precision, as the
 * combining kernel keeps it: the bits are those of one wave. */
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
    const md_expert_wave *wave;
    const float *x; /* (T, D) what experts read */
    float *y;
    int64_t n_rows;
    int64_t columns; /* most of an item */
} output_job;

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
    return clamp(md_round_up(d / ((int64_t)4 * n_threads), STEP), MANY_COLUMNS, MOST_COLUMNS);
}

int64_t md_output_work(int64_t n_rows, int64_t top_k, int64_t d, int n_threads)
{
    return products_of(n_rows, top_k) * columns_of(d, n_threads);
}

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

/* Goes on with a row's sums; what each term adds is exact in double precision, so how it is computed does not matter. */
static void add_wave(const output_job *j, int64_t t, int64_t from, int64_t n, int n_parts, const float *const *part,
                     const float *weight)
{
    double *sum = j->s->sum + t * j->job->d + from;
    float *y = j->y + t * j->job->d + from;
    for (int64_t i = 0; j->wave->first && i < n; i++)
        sum[i] = 0.0;
    for (int p = 0; p < n_parts; p++) {
        const double w = (double)weight[p];
        const float *x = part[p];
        for (int64_t i = 0; i < n; i++)
            sum[i] += w * (double)x[i];
    }
    for (int64_t i = 0; j->wave->last && i < n; i++)
        y[i] = (float)sum[i];
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
        const int32_t e = job->expert[at];
        if (e < j->wave->low || e >= j->wave->high)
            continue;
        const bool routed = e < job->n_expert;
        part[n_parts] = routed ? out + j->s->group.slot[at] * j->columns
                               : other_output(j, t, at, from, n, buf + i * j->columns);
        weight[n_parts] = routed && job->weigh_input ? 1.0f : job->weight[at];
        n_parts += part[n_parts] != NULL;
    }
    if (j->wave->first && j->wave->last)
        j->o->kern->combine(part, weight, n_parts, j->y + t * job->d + from, n);
    else
        add_wave(j, t, from, n, n_parts, part, weight);
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
    const md_expert_wave *w = j->wave;
    float *out = j->s->work + thread * j->s->work_floats;
    for (int32_t i = 0; i < w->n_units; i++) {
        const md_ffn_unit *u = &w->unit[i];
        const md_act act = md_rows_act(&u->mid, u->w->down.type);
        if (i + 1 < w->n_units) {
            md_weight_fetch(&u[1].w->down, from);
            fetch_codes(u + 1);
        }
        md_matmul_stretch(j->o->kern, &u->w->down, from, from + n, &act, NULL, u->n, out + u->place * j->columns,
                          j->columns);
    }
    float *buf = out + j->n_rows * (j->job->top_k + 1) * j->columns;
    for (int64_t t = 0; t < j->n_rows; t++)
        combine(j, t, from, n, out, buf, thread);
    const md_ffn_unit *shared = &w->unit[w->n_units - 1];
    for (int64_t t = 0; j->job->shared && w->last && t < j->n_rows; t++)
        add_shared(j, t, from, n, out + (shared->place + t) * j->columns);
}

static void output_items(void *ctx, int64_t first, int64_t last, int thread)
{
    const output_job *j = ctx;
    const int64_t end = last * STEP < j->job->d ? last * STEP : j->job->d;
    for (int64_t at = first * STEP; at < end; at += j->columns)
        output_item(j, at, clamp(end - at, 0, j->columns), thread);
}

void md_output_run(const md_ops *o, const md_expert_job *job, const md_expert_scratch *s, const md_expert_wave *wave,
                   const float *x, int64_t n_rows, float *y)
{
    output_job j = {.o = o,
                    .job = job,
                    .s = s,
                    .wave = wave,
                    .x = x,
                    .y = y,
                    .n_rows = n_rows,
                    .columns = columns_of(job->d, md_pool_threads(o->pool))};
    md_pool_run(o->pool, (job->d + STEP - 1) / STEP, (n_rows < 4 ? FEW_COLUMNS : MANY_COLUMNS) / STEP, output_items,
                &j);
}
