/* SPDX-License-Identifier: Apache-2.0
 *
 * A guess of what the next layer's router will choose, made while the present layer's experts are read: its router applied to the
 * stream as it is before these experts add to it (Eliseev and Mazur 2023, "Fast Inference of Mixture-of-Experts Language Models
 * with Offloading"). It only says what is read early; the layer's own routing is not touched. */
#include "model/session.h"

/* Routers that read the normed stream, and nothing that another layer hands on. */
static bool can_guess(const md_ffn_spec *f)
{
    return f->router.n_expert > 0 && !f->route_early && !f->route_project.data && !f->route_residual.data &&
           f->rounds <= 1 && f->router.capacity <= 0 && f->router.select != MD_SELECT_THRESHOLD &&
           f->router.select != MD_SELECT_GIVEN;
}

/* Expert (T, K) of what layer `layer` will choose. */
static const int32_t *guess(md_session *s, int32_t layer)
{
    const md_ffn_spec *f = &s->model->spec.layer[layer].ffn;
    const int64_t n = s->n_rows, d = s->model->spec.n_embd, e = f->router.n_expert, k = f->router.top_k;
    const md_norm *norm = f->route_norm.kind != MD_NORM_NONE    ? &f->route_norm
                          : f->norm_routed.kind != MD_NORM_NONE ? &f->norm_routed
                                                                : &f->norm;
    md_norm_rows(&s->ops, norm, s->s.x, s->s.guess_in, n, d);
    md_rows_set(&s->s.guess_rows, s->s.guess_in, n, d);
    md_matmul(&s->ops, &f->route, &s->s.guess_rows, s->s.guess_logits, e);
    for (int64_t i = 0; i < n; i++)
        md_route(s->ops.kern, &f->router, s->s.guess_logits + i * e, f->select_bias, NULL, s->s.route_work,
                 s->s.guess_expert + i * k, s->s.guess_weight);
    return s->s.guess_expert;
}

void md_step_guess(void *session)
{
    md_session *s = session;
    md_expert_store *store = s->experts;
    const int32_t layer = store->guess;
    const bool known = layer > s->next_layer && s->n_rows <= MD_AHEAD_ROWS && !s->s.active && s->s.guess_in &&
                       can_guess(&s->model->spec.layer[layer].ffn);
    const int32_t k = known ? s->model->spec.layer[layer].ffn.router.top_k : 0;
    store->expect(store, known ? guess(s, layer) : NULL, (int64_t)k * s->n_rows);
}
