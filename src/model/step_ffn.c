/* SPDX-License-Identifier: Apache-2.0
 *
 * The feed-forward half of a layer: dense, or routed experts with a shared one beside them (docs/numerics.md, section 8). */
#include "model/session.h"

#include <string.h>

/* A layer's dense part, or its shared expert. */
typedef struct common {
    md_expert matrices;
    md_ffn_job job; /* points at them */
} common;

static void set_common(md_session *s, const md_ffn_spec *f, const md_weight *gate, const md_weight *up,
                       const md_weight *down, int64_t width, common *c)
{
    c->matrices = (md_expert){.gate = *gate, .up = *up, .down = *down};
    c->job = (md_ffn_job){.w = &c->matrices,
                          .d = s->model->spec.n_embd,
                          .x = width,
                          .act = f->act,
                          .alpha = f->alpha,
                          .limit = f->dense_limit,
                          .gated = gate->data != NULL,
                          .hidden = s->s.hidden_ff,
                          .mid = &s->s.mid};
}

static void dense(md_session *s, const md_ffn_spec *f, float *out)
{
    common c;
    set_common(s, f, &f->gate, &f->up, &f->down, f->width, &c);
    md_ffn_run(&s->ops, &c.job, &s->s.in, &s->s.experts, out);
    md_step_part_end(s, MD_STEP_DENSE_FFN);
}

/* ---- routed experts ---- */

typedef struct routed_job {
    md_session *s;
    int32_t layer;
} routed_job;

static void observe_expert(void *user, int32_t expert, int32_t n_rows, const int32_t *row, const float *out)
{
    const routed_job *j = user;
    const md_event e = {.point = MD_POINT_EXPERT_OUT,
                        .layer = j->layer,
                        .expert = expert,
                        .n_rows = n_rows,
                        .n_cols = j->s->model->spec.layer[j->layer].ffn.expert_embd,
                        .row = row,
                        .values = out};
    md_observe(j->s, &e);
}

/* ---- shared expert ---- */

typedef struct weigh_job {
    const md_session *s;
    const md_ffn_spec *f;
} weigh_job;

static void weigh_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const weigh_job *j = ctx;
    const md_session *s = j->s;
    const int64_t d = s->model->spec.n_embd;
    for (int64_t i = first; i < last; i++)
        s->s.shared_weight[i] = s->ops.kern->dot16(j->f->shared_scale, s->s.h + i * d, d);
    s->ops.kern->sigmoid(s->s.shared_weight + first, last - first);
}

/* The rows' weights of the shared expert; NULL: ones. */
static const float *weigh_shared(md_session *s, const md_ffn_spec *f)
{
    if (!f->shared_scale)
        return NULL;
    md_pool_run(s->pool, s->n_rows, 16, weigh_items, &(weigh_job){.s = s, .f = f});
    return s->s.shared_weight;
}

/* y += the shared expert, where it does not work in the same space as the routed ones. */
static void add_shared(md_session *s, const md_ffn_job *shared, const float *weight)
{
    const int64_t d = s->model->spec.n_embd;
    md_ffn_run(&s->ops, shared, &s->s.in, &s->s.experts, s->s.shared);
    if (!weight) {
        md_residual(&s->ops, s->s.y, s->s.shared, s->n_rows, d, 1.0f);
        return;
    }
    for (int32_t i = 0; i < s->n_rows; i++)
        s->ops.kern->axpy(s->s.y + i * d, s->s.shared + i * d, weight[i], d);
}

/* Routes the rows by what the router reads: what the experts read, the layer's input, or the stream under a norm of its own. */
static void route(md_session *s, const md_ffn_spec *f, int32_t layer, int32_t round, int32_t *expert, float *weight)
{
    const int64_t d = s->model->spec.n_embd;
    const float *x = f->route_early ? s->s.early : s->s.h;
    if (f->route_norm.kind != MD_NORM_NONE) {
        md_norm_rows(&s->ops, &f->route_norm, s->s.x, s->s.route_in, s->n_rows, d);
        x = s->s.route_in;
    }
    if (x != s->s.in.x)
        md_rows_set(&s->s.in, x, s->n_rows, d);
    md_step_route(s, layer, round, expert, weight);
    md_step_on_miss(s, layer, expert, weight);
    if (s->s.in.x != s->s.h)
        md_rows_set(&s->s.in, s->s.h, s->n_rows, d);
    md_step_part_end(s, MD_STEP_ROUTER);
}

/* y = the experts' sum, from the rows in `in`, which stay set; where experts work in a space of their own, a matrix leads into
 * it and another one out of it. */
static bool run_in_space(md_session *s, const md_ffn_spec *f, const md_expert_job *job, routed_job *j)
{
    md_expert_seen_fn *seen = md_observed(s, MD_POINT_EXPERT_OUT) ? observe_expert : NULL;
    if (!f->latent_down.data)
        return md_experts_run(&s->ops, s->experts, job, &s->s.in, &s->s.experts, s->s.y, seen, j);
    const float *x = s->s.in.x;
    const int64_t n = s->n_rows, d = s->model->spec.n_embd;
    md_matmul(&s->ops, &f->latent_down, &s->s.in, s->s.expert_in, job->d);
    md_rows_set(&s->s.in, s->s.expert_in, n, job->d);
    if (!md_experts_run(&s->ops, s->experts, job, &s->s.in, &s->s.experts, s->s.expert_out, seen, j))
        return false;
    md_rows_set(&s->s.mid, s->s.expert_out, n, job->d);
    md_matmul(&s->ops, &f->latent_up, &s->s.mid, s->s.y, d);
    md_rows_set(&s->s.in, x, n, d);
    return true;
}

static void scale_rows(md_session *s, float a)
{
    const int64_t d = s->model->spec.n_embd;
    for (int64_t i = 0; a != 1.0f && i < s->n_rows; i++)
        s->ops.kern->scale(s->s.y + i * d, a, d);
}

/* y = the routed experts and the shared one, from the rows in h. */
static bool run_experts(md_session *s, const md_ffn_spec *f, int32_t layer, const int32_t *expert, const float *weight)
{
    const md_expert_others *o = &f->others;
    routed_job j = {.s = s, .layer = layer};
    common shared;
    const bool beside = f->shared_width > 0, apart = beside && f->latent_down.data;
    const float *shared_weight = beside ? weigh_shared(s, f) : NULL;
    if (beside)
        set_common(s, f, &f->shared_gate, &f->shared_up, &f->shared_down, f->shared_width, &shared);
    const md_expert_job job = {.layer = layer,
                               .n_expert = f->router.n_expert - o->n_constant - o->n_copy - o->n_zero,
                               .top_k = f->router.top_k,
                               .d = f->expert_embd,
                               .x = f->expert_width,
                               .others = *o,
                               .act = f->act,
                               .alpha = f->alpha,
                               .limit = f->limit,
                               .gated = f->gated,
                               .weigh_input = f->weigh_input,
                               .expert = expert,
                               .weight = weight,
                               .shared = beside && !apart ? &shared.job : NULL,
                               .shared_weight = shared_weight,
                               .meanwhile = s->experts->expect ? md_step_guess : NULL,
                               .meanwhile_user = s};
    if (!run_in_space(s, f, &job, &j))
        return false;
    if (apart)
        add_shared(s, &shared.job, shared_weight);
    if (beside && f->width == 0)
        scale_rows(s, f->side_scale);
    md_step_part_end(s, MD_STEP_EXPERTS);
    return true;
}

/* Iterated routing (Wang et al. 2025, "Chain-of-Experts"): each round reads what the one before gave. With the inner residual a
 * round adds what it read, and the last one's output takes the place of the stream. Slots are kept as (T, rounds, K). */
static bool run_rounds(md_session *s, const md_ffn_spec *f, int32_t layer, int32_t *expert, float *weight)
{
    const int64_t n = s->n_rows, d = s->model->spec.n_embd, k = f->router.top_k;
    for (int32_t round = 0; round < f->rounds; round++) {
        route(s, f, layer, round, s->s.round_expert, s->s.round_weight);
        for (int64_t i = 0; i < n; i++) {
            const int64_t at = (i * f->rounds + round) * k;
            memcpy(expert + at, s->s.round_expert + i * k, (size_t)k * sizeof *expert);
            memcpy(weight + at, s->s.round_weight + i * k, (size_t)k * sizeof *weight);
        }
        if (!run_experts(s, f, layer, s->s.round_expert, s->s.round_weight))
            return false;
        if (f->rounds_inner)
            md_residual(&s->ops, s->s.y, s->s.h, n, d, 1.0f);
        if (round + 1 < f->rounds) {
            memcpy(s->s.h, s->s.y, (size_t)(n * d) * sizeof *s->s.h);
            md_rows_set(&s->s.in, s->s.h, n, d);
        }
    }
    if (f->rounds_inner)
        memset(s->s.x, 0, (size_t)(n * d) * sizeof *s->s.x);
    return true;
}

static bool routed(md_session *s, const md_ffn_spec *f, int32_t layer)
{
    const int64_t at = (int64_t)layer * s->args.n_rows * s->model->spec.max.pick;
    int32_t *expert = s->s.expert + at;
    float *weight = s->s.weight + at;
    if (f->rounds > 1)
        return run_rounds(s, f, layer, expert, weight);
    route(s, f, layer, 0, expert, weight);
    return run_experts(s, f, layer, expert, weight);
}

/* The dense part, then the routed one from rows of its own, each under its own norms; y = their sum. */
static bool side_by_side(md_session *s, const md_ffn_spec *f, int32_t layer)
{
    const int64_t n = s->n_rows, d = s->model->spec.n_embd;
    dense(s, f, s->s.side);
    md_norm_rows(&s->ops, &f->post_dense, s->s.side, s->s.side, n, d);
    if (f->norm_routed.kind != MD_NORM_NONE) {
        md_norm_rows(&s->ops, &f->norm_routed, f->routed_early ? s->s.early : s->s.x, s->s.h, n, d);
        md_rows_set(&s->s.in, s->s.h, n, d);
    }
    if (!routed(s, f, layer))
        return false;
    md_norm_rows(&s->ops, &f->post_routed, s->s.y, s->s.y, n, d);
    md_residual(&s->ops, s->s.y, s->s.side, n, d, 1.0f);
    scale_rows(s, f->side_scale);
    return true;
}

bool md_step_ffn(md_session *s, int32_t layer)
{
    const md_spec *sp = &s->model->spec;
    const md_ffn_spec *f = &sp->layer[layer].ffn;
    md_observe_rows(s, MD_POINT_FFN_IN, layer, s->s.h);
    md_rows_set(&s->s.in, s->s.h, s->n_rows, sp->n_embd);
    if (f->router.n_expert > 0)
        return f->width > 0 ? side_by_side(s, f, layer) : routed(s, f, layer);
    dense(s, f, s->s.y);
    return true;
}
