/* SPDX-License-Identifier: Apache-2.0
 *
 * The routing of a layer's rows (docs/routers.md): logits, with what earlier routers hand on; then row by row, or, where rows
 * of one sequence depend on each other, sequence by sequence. Never across sequences, and in a model that generates never on
 * later rows. */
#include "model/session.h"

#include <string.h>

typedef struct route_job {
    const md_session *s;
    const md_ffn_spec *f;
    int32_t layer, round;
    int32_t *expert; /* (T, K) */
    float *weight;
} route_job;

static const uint8_t *mask_of(const route_job *j, int64_t row)
{
    const uint8_t *mask = j->s->s.row[row].seq->mask;
    return mask ? mask + (int64_t)j->layer * j->s->model->spec.max.expert : NULL;
}

static void route_row(const route_job *j, const md_router *r, int64_t row, const uint8_t *mask, int thread)
{
    const md_session *s = j->s;
    int32_t *expert = j->expert + row * r->top_k;
    float *weight = j->weight + row * r->top_k;
    if (s->s.active && !s->s.active[row]) { /* it has left a recursion */
        for (int32_t k = 0; k < r->top_k; k++) {
            expert[k] = -1;
            weight[k] = 0.0f;
        }
        return;
    }
    md_route(s->ops.kern, r, s->s.router_logits + row * r->n_expert, j->f->select_bias, mask,
             s->s.route_work + (int64_t)thread * 3 * s->model->spec.max.expert, expert, weight);
}

static void route_items(void *ctx, int64_t first, int64_t last, int thread)
{
    const route_job *j = ctx;
    for (int64_t i = first; i < last; i++)
        route_row(j, &j->f->router, i, mask_of(j, i), thread);
}

/* ---- capacity: a sequence's rows in order, counting what its window has taken ---- */

static void route_sequence(const route_job *j, int32_t first, int32_t *taken, uint8_t *mask, int thread)
{
    const md_session *s = j->s;
    const md_router *r = &j->f->router;
    const md_expert_others *o = &j->f->others;
    const int32_t n_ffn = r->n_expert - o->n_constant - o->n_copy - o->n_zero;
    for (int32_t i = first; i >= 0; i = s->s.row[i].next) {
        const uint8_t *own = mask_of(j, i);
        if (s->s.row[i].pos % r->window == 0)
            memset(taken, 0, (size_t)r->n_expert * sizeof *taken);
        md_capacity_mask(r, taken, own, mask);
        for (int32_t k = n_ffn; k < r->n_expert; k++) /* what costs nothing is never full */
            mask[k] = own ? own[k] : MD_MASK_NORMAL;
        route_row(j, r, i, mask, thread);
        md_count_picks(j->expert + (int64_t)i * r->top_k, r->top_k, taken);
    }
}

static void count_items(void *ctx, int64_t first, int64_t last, int thread)
{
    const route_job *j = ctx;
    const md_session *s = j->s;
    const int64_t e = j->f->router.n_expert, at = j->f->counts_at + j->round * e, max = s->model->spec.max.expert;
    int32_t *taken = s->s.taken + thread * max;
    for (int64_t a = first; a < last; a++) {
        const md_seq *q = s->s.row[s->s.first_row[a]].seq;
        for (int64_t k = 0; k < e; k++)
            taken[k] = (int32_t)q->state[at + k];
        route_sequence(j, s->s.first_row[a], taken, s->s.route_mask + thread * max, thread);
        for (int64_t k = 0; k < e; k++)
            q->next_state[at + k] = (float)taken[k];
    }
}

/* ---- experts choose tokens: a whole sequence at once, in encoders ---- */

static void choose_for_sequence(const route_job *j, int32_t first)
{
    const md_session *s = j->s;
    const md_router *r = &j->f->router;
    const int64_t e = r->n_expert, k = r->top_k;
    int32_t n = 0;
    for (int32_t i = first; i >= 0; i = s->s.row[i].next, n++) {
        float *score = s->s.choice + n * e;
        memcpy(score, s->s.router_logits + i * e, (size_t)e * sizeof *score);
        if (r->score == MD_SCORE_SIGMOID)
            s->ops.kern->sigmoid(score, e);
        else
            s->ops.kern->softmax(score, e);
    }
    md_choose_by_experts(s->s.choice, n, r->n_expert, md_choice_capacity(j->f->choice_mean, n, r->n_expert), r->top_k,
                         s->s.choice_work, s->s.choice_expert, s->s.choice_weight);
    n = 0;
    for (int32_t i = first; i >= 0; i = s->s.row[i].next, n++)
        memcpy(j->expert + i * k, s->s.choice_expert + n * k, (size_t)k * sizeof *j->expert);
}

/* Rows whose experts are known: only weights are left to find. */
static void weigh_items(void *ctx, int64_t first, int64_t last, int thread)
{
    const route_job *j = ctx;
    md_router given = j->f->router;
    given.select = MD_SELECT_GIVEN;
    for (int64_t i = first; i < last; i++)
        route_row(j, &given, i, mask_of(j, i), thread);
}

/* ---- logits ---- */

typedef struct gru_job {
    const md_session *s;
    int64_t h;
} gru_job;

static void gru_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const gru_job *j = ctx;
    const md_scratch *x = &j->s->s;
    for (int64_t i = first; i < last; i++)
        md_gru_step(j->s->ops.kern, x->gru_in + 3 * i * j->h, x->gru_state + 3 * i * j->h, x->carried + i * j->h, j->h);
}

/* Takes each row's carried state one step on: what the router's matrix reads. */
static md_rows *carry(md_session *s, const md_ffn_spec *f, bool first)
{
    const md_spec *sp = &s->model->spec;
    const int64_t n = s->n_rows, h = f->route_project.rows;
    md_rows *rows = &s->s.route_rows;
    if (first)
        memset(s->s.carried, 0, (size_t)(n * h) * sizeof *s->s.carried);
    md_matmul(&s->ops, &f->route_project, &s->s.in, s->s.projected, h);
    md_rows_set(rows, s->s.projected, n, h);
    md_matmul(&s->ops, &sp->gru_in, rows, s->s.gru_in, 3 * h);
    md_rows_set(rows, s->s.carried, n, h);
    md_matmul(&s->ops, &sp->gru_state, rows, s->s.gru_state, 3 * h);
    gru_job j = {.s = s, .h = h};
    md_pool_run(s->pool, n, 8, gru_items, &j);
    md_rows_set(rows, s->s.carried, n, h);
    return rows;
}

/* From the rows in `in`. */
static void find_logits(md_session *s, const md_ffn_spec *f, int32_t round)
{
    const int64_t n = s->n_rows, e = f->router.n_expert;
    const bool first = f->route_first && round == 0;
    md_rows *in = f->route_project.data ? carry(s, f, first) : &s->s.in;
    md_weight route = f->route;
    route.data = (const char *)route.data + (size_t)round * (size_t)e * route.row_bytes;
    md_matmul(&s->ops, &route, in, s->s.router_logits, e);
    if (f->route_softcap > 0.0f)
        s->ops.kern->softcap(s->s.router_logits, (int64_t)s->n_rows * e, f->route_softcap);
    if (f->route_residual.data && !first) {
        md_rows_set(&s->s.route_rows, s->s.last_logits, n, e);
        md_matmul(&s->ops, &f->route_residual, &s->s.route_rows, s->s.residual_logits, e);
        md_residual(&s->ops, s->s.router_logits, s->s.residual_logits, n, e, 1.0f);
    }
    if (s->model->spec.max.residual > 0) /* the next layer may want them */
        memcpy(s->s.last_logits, s->s.router_logits, (size_t)(n * e) * sizeof *s->s.last_logits);
}

void md_step_route(md_session *s, int32_t layer, int32_t round, int32_t *expert, float *weight)
{
    const md_ffn_spec *f = &s->model->spec.layer[layer].ffn;
    route_job j = {.s = s, .f = f, .layer = layer, .round = round, .expert = expert, .weight = weight};
    find_logits(s, f, round);
    if (f->router.capacity > 0) {
        md_pool_run(s->pool, s->n_active, 1, count_items, &j);
    } else if (f->router.select == MD_SELECT_THRESHOLD && !s->model->spec.causal) {
        for (int32_t a = 0; a < s->n_active; a++)
            choose_for_sequence(&j, s->s.first_row[a]);
        md_pool_run(s->pool, s->n_rows, 4, weigh_items, &j);
    } else {
        md_pool_run(s->pool, s->n_rows, 4, route_items, &j);
    }
    if (!md_observed(s, MD_POINT_ROUTING))
        return;
    const md_event e = {.point = MD_POINT_ROUTING,
                        .layer = layer,
                        .expert = -1,
                        .n_rows = s->n_rows,
                        .n_cols = f->router.top_k,
                        .expert_id = expert,
                        .weight = weight};
    md_observe(s, &e);
}
