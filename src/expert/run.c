/* SPDX-License-Identifier: Apache-2.0
 *
 * One layer's experts on grouped rows. Experts that are there begin at once, the others as they arrive; when all have made their
 * hidden rows (hidden.c), one loop makes the outputs and their sums (output.c), so a step of one row whose experts are resident
 * waits for its threads twice. A store that cannot hold all experts that the rows chose gets them in waves of ascending ids, the
 * next one being read while one runs. */
#include "expert/expert.h"

#include <math.h>
#include <string.h>

/* Experts of a wave. While one runs, the next is read; a small one leaves more slots to what is already there. */
#define MOST_OF_WAVE 8

int32_t md_wave_size(int32_t most)
{
    const int32_t half = most > 1 ? most / 2 : 1;
    return half < MOST_OF_WAVE ? half : MOST_OF_WAVE;
}

int64_t md_expert_work(int64_t n_rows, int64_t top_k, int64_t d, int n_threads)
{
    const int64_t floats = md_output_work(n_rows, top_k, d, n_threads), half = md_hidden_work();
    return floats > half ? floats : half;
}

/* ---- before: who runs what ---- */

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

static md_ffn_unit routed_unit(const md_expert_job *job, md_expert_scratch *s, int32_t e, const md_expert *w)
{
    const md_grouping *g = &s->group;
    const int32_t place = g->first[e];
    const int64_t width = w->down.cols;
    md_ffn_unit u = {.w = w,
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
    u.mid.x = u.hidden;
    u.mid.n = u.n;
    return u;
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

static void show_outputs(const md_ops *o, const md_expert_job *job, md_expert_scratch *s, const int32_t *expert,
                         int32_t n, md_expert_seen_fn *on_out, void *user)
{
    for (int32_t i = 0; i < n; i++) {
        md_ffn_unit *u = &s->unit[i];
        u->mid.have32 = u->mid.have256 = true;
        md_matmul(o, &u->w->down, &u->mid, s->out, job->d);
        on_out(user, expert[i], u->n, u->row, s->out);
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

/* ---- a wave ---- */

typedef struct run_job {
    const md_ops *o;
    md_expert_store *store;
    const md_expert_job *job;
    md_expert_scratch *s;
    md_rows *in;
    float *y;
    md_expert_seen_fn *on_out;
    void *user;
} run_job;

static void give_back(const run_job *r, int32_t n)
{
    for (int32_t i = 0; i < n; i++)
        r->store->release(r->store, r->job->layer, r->s->loaded_id[i]);
}

/* Moves the pending experts that are there to the units from n on, or else the first of them, for which it waits. Returns how
 * many units there are now, -1 if an expert cannot be had. */
static int32_t take_some(const run_job *r, int32_t n, int32_t *n_pending)
{
    md_expert_scratch *s = r->s;
    const int32_t layer = r->job->layer;
    int32_t kept = 0, begun = n;
    for (int32_t i = 0; i < *n_pending; i++) {
        const int32_t e = s->pending[i];
        if (r->store->ready(r->store, layer, e)) {
            s->loaded_id[n++] = e;
            continue;
        }
        s->pending[kept++] = e;
    }
    if (n == begun) {
        s->loaded_id[n++] = s->pending[0];
        memmove(s->pending, s->pending + 1, (size_t)--kept * sizeof *s->pending);
    }
    *n_pending = kept;
    for (; begun < n; begun++) {
        const md_expert *w = r->store->run(r->store, layer, s->loaded_id[begun]);
        if (!w) {
            give_back(r, begun);
            return -1;
        }
        s->unit[begun] = routed_unit(r->job, s, s->loaded_id[begun], w);
    }
    return n;
}

/* Experts expert[0 .. n), ascending; first and last of the layer? The store has been told that they are wanted. */
static bool run_wave(const run_job *r, const int32_t *expert, int32_t n, bool first, bool last)
{
    md_expert_scratch *s = r->s;
    const md_expert_job *job = r->job;
    const int64_t n_rows = r->in->n;
    int32_t n_pending = n, units = 0;
    memcpy(s->pending, expert, (size_t)n * sizeof *expert);
    do {
        const int32_t from = units;
        units = n_pending > 0 ? take_some(r, from, &n_pending) : from;
        if (units < 0)
            return false;
        const bool shared = last && job->shared && n_pending == 0;
        if (shared)
            s->unit[units] = unit_of(job->shared, n_rows, s->group.first[job->n_expert]);
        if (units - from + shared > 0)
            md_hidden_run(r->o, s->unit + from, units - from + shared, r->in, s->queue, s->work, s->work_floats);
    } while (n_pending > 0);
    if (r->on_out)
        show_outputs(r->o, job, s, s->loaded_id, units, r->on_out, r->user);
    const md_expert_wave wave = {.unit = s->unit,
                                 .n_units = units + (last && job->shared),
                                 .low = first ? INT32_MIN : expert[0],
                                 .high = last ? INT32_MAX : expert[n - 1] + 1,
                                 .first = first,
                                 .last = last};
    md_output_run(r->o, job, s, &wave, r->in->x, n_rows, r->y);
    give_back(r, units);
    return true;
}

bool md_experts_run(const md_ops *o, md_expert_store *store, const md_expert_job *job, md_rows *in,
                    md_expert_scratch *s, float *y, md_expert_seen_fn *on_out, void *user)
{
    const md_grouping *g = &s->group;
    s->rows.k = job->x;
    md_group(job->expert, (int32_t)in->n, job->top_k, job->n_expert, &s->group);
    order_slots(job, s, in->n);
    if (store->chosen)
        store->chosen(store, job->layer, job->expert, job->weight, in->n * job->top_k);
    if (job->others.n_constant > 0)
        md_pool_run(o->pool, in->n, 4, mix_items, &(mix_job){.o = o, .job = job, .x = in->x, .mix = s->mix});
    const run_job r = {o, store, job, s, in, y, on_out, user};
    const int32_t *active = g->active, n = g->n_active;
    if (store->most == 0 || n <= store->most) {
        store->want(store, job->layer, active, n);
        if (job->meanwhile)
            job->meanwhile(job->meanwhile_user);
        return run_wave(&r, active, n, true, true);
    }
    const int32_t most = md_wave_size(store->most);
    store->want(store, job->layer, active, most);
    if (job->meanwhile)
        job->meanwhile(job->meanwhile_user);
    for (int32_t at = 0; at < n; at += most) {
        const int32_t now = n - at < most ? n - at : most, left = n - at - now;
        if (left > 0 && store->most > 1)
            store->want(store, job->layer, active + at + now, left < most ? left : most);
        if (!run_wave(&r, active + at, now, at == 0, left == 0))
            return false;
        if (left > 0 && store->most == 1)
            store->want(store, job->layer, active + at + now, 1);
    }
    return true;
}
