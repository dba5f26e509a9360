/* SPDX-License-Identifier: Apache-2.0
 *
 * The feed-forward half of a layer: dense, or routed experts with a shared one beside them (docs/numerics.md, section 8). */
#include "model/session.h"

/* out (T, D) = down(act(gate, up)). */
static void dense(md_session *s, const md_ffn_spec *f, const md_weight *gate, const md_weight *up,
                  const md_weight *down, int64_t width, float *out)
{
    md_matmul(&s->ops, gate, &s->s.in, s->s.gate, width);
    md_matmul(&s->ops, up, &s->s.in, s->s.up, width);
    md_ffn_activate(&s->ops, f->act, f->alpha, f->dense_limit, s->s.gate, s->s.up, s->s.gate, s->n_rows, width);
    md_rows_set(&s->s.mid, s->s.gate, s->n_rows, width);
    md_matmul(&s->ops, down, &s->s.mid, out, s->model->spec.n_embd);
}

/* ---- routing ---- */

typedef struct route_job {
    md_session *s;
    const md_ffn_spec *f;
    int32_t layer;
    int32_t *expert;
    float *weight;
} route_job;

static void route_items(void *ctx, int64_t first, int64_t last, int thread)
{
    const route_job *j = ctx;
    const md_session *s = j->s;
    const md_router *r = &j->f->router;
    const int64_t max_expert = s->model->spec.max_expert;
    float *work = s->s.route_work + (int64_t)thread * 3 * max_expert;
    for (int64_t i = first; i < last; i++) {
        const uint8_t *mask = s->s.row[i].seq->mask;
        md_route(s->ops.kern, r, s->s.router_logits + i * r->n_expert, j->f->select_bias,
                 mask ? mask + j->layer * max_expert : NULL, work, j->expert + i * r->top_k, j->weight + i * r->top_k);
    }
}

static void observe_routing(md_session *s, const route_job *j)
{
    if (!md_observed(s, MD_POINT_ROUTING))
        return;
    const md_event e = {.point = MD_POINT_ROUTING,
                        .layer = j->layer,
                        .expert = -1,
                        .n_rows = s->n_rows,
                        .n_cols = j->f->router.top_k,
                        .expert_id = j->expert,
                        .weight = j->weight};
    s->observe(s->observe_user, &e);
}

static void observe_expert(void *user, int32_t expert, int32_t n_rows, const int32_t *row, const float *out)
{
    const route_job *j = user;
    const md_event e = {.point = MD_POINT_EXPERT_OUT,
                        .layer = j->layer,
                        .expert = expert,
                        .n_rows = n_rows,
                        .n_cols = j->s->model->spec.n_embd,
                        .row = row,
                        .values = out};
    j->s->observe(j->s->observe_user, &e);
}

/* ---- shared expert ---- */

static void add_shared(md_session *s, const md_ffn_spec *f)
{
    const int64_t d = s->model->spec.n_embd;
    dense(s, f, &f->shared_gate, &f->shared_up, &f->shared_down, f->shared_width, s->s.shared);
    if (!f->shared_scale) {
        md_residual(&s->ops, s->s.y, s->s.shared, s->n_rows, d, 1.0f);
        return;
    }
    const md_kern *kern = s->ops.kern;
    for (int32_t i = 0; i < s->n_rows; i++) {
        float gate = kern->dot16(f->shared_scale, s->s.h + i * d, d);
        kern->sigmoid(&gate, 1);
        kern->axpy(s->s.y + i * d, s->s.shared + i * d, gate, d);
    }
}

static bool routed(md_session *s, const md_ffn_spec *f, int32_t layer)
{
    const md_spec *sp = &s->model->spec;
    const int64_t at = (int64_t)layer * s->args.n_rows * sp->max_pick;
    route_job j = {.s = s, .f = f, .layer = layer, .expert = s->s.expert + at, .weight = s->s.weight + at};
    md_matmul(&s->ops, &f->route, &s->s.in, s->s.router_logits, f->router.n_expert);
    md_pool_run(s->pool, s->n_rows, 4, route_items, &j);
    observe_routing(s, &j);
    const md_expert_job job = {.layer = layer,
                               .n_expert = f->router.n_expert,
                               .top_k = f->router.top_k,
                               .d = sp->n_embd,
                               .x = f->expert_width,
                               .act = f->act,
                               .alpha = f->alpha,
                               .limit = f->limit,
                               .expert = j.expert,
                               .weight = j.weight};
    if (!md_experts_run(&s->ops, &s->store.store, &job, &s->s.in, &s->s.experts, s->s.y,
                        md_observed(s, MD_POINT_EXPERT_OUT) ? observe_expert : NULL, &j))
        return false;
    if (f->shared_width > 0)
        add_shared(s, f);
    return true;
}

bool md_step_ffn(md_session *s, int32_t layer)
{
    const md_spec *sp = &s->model->spec;
    const md_ffn_spec *f = &sp->layer[layer].ffn;
    md_rms_norm_rows(&s->ops, s->s.x, f->norm, s->s.h, s->n_rows, sp->n_embd, sp->norm_eps);
    md_observe_rows(s, MD_POINT_FFN_IN, layer, s->s.h);
    md_rows_set(&s->s.in, s->s.h, s->n_rows, sp->n_embd);
    if (f->router.n_expert > 0) {
        if (!routed(s, f, layer))
            return false;
    } else {
        dense(s, f, &f->gate, &f->up, &f->down, f->width, s->s.y);
    }
    if (f->post_norm)
        md_rms_norm_rows(&s->ops, s->s.y, f->post_norm, s->s.y, s->n_rows, sp->n_embd, sp->norm_eps);
    md_residual(&s->ops, s->s.x, s->s.y, s->n_rows, sp->n_embd, sp->residual_scale);
    return true;
}
