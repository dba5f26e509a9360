/* SPDX-License-Identifier: Apache-2.0
 *
 * Rounds of repeated layers (Bae et al. 2025, "Mixture-of-Recursions"), in their causal form: a row is active in a round if it
 * was in the one before and g = scale * sigmoid(gate . x) is at least the round's threshold. Its stream becomes x + g F(x);
 * that of the others stays x. All rows write keys and values in the first round, which later rounds read, so what a row
 * sees does not depend on who else is active. */
#include "model/session.h"

#include <string.h>

typedef struct round_job {
    md_session *s;
    int32_t round;
} round_job;

static void gate_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const round_job *j = ctx;
    const md_session *s = j->s;
    const md_recursion_spec *x = &s->model->spec.recursion;
    const int64_t d = s->model->spec.n_embd;
    for (int64_t i = first; i < last; i++) {
        float g = s->ops.kern->dot16(x->gate[j->round], s->s.x + i * d, d);
        s->ops.kern->sigmoid(&g, 1);
        g *= x->scale;
        s->s.round_gate[i] = g;
        s->s.active[i] = (j->round == 0 || s->s.active[i]) && g >= x->threshold[j->round];
    }
}

/* No row is in this round, nor will be in a later one: nobody has experts in its layers. */
static void leave_empty(md_session *s, int32_t first_layer, int32_t n)
{
    const md_spec *sp = &s->model->spec;
    const int64_t slots = (int64_t)s->args.n_rows * sp->max.pick;
    for (int64_t i = first_layer * slots; i < (first_layer + n) * slots; i++) {
        s->s.expert[i] = -1;
        s->s.weight[i] = 0.0f;
    }
}

int32_t md_step_round_begin(md_session *s, int32_t layer)
{
    const md_recursion_spec *x = &s->model->spec.recursion;
    const int32_t at = layer - x->first;
    if (at < 0 || at >= x->count * x->length)
        memset(s->s.active, 1, (size_t)s->n_rows);
    if (at < 0 || at >= x->count * x->length || at % x->length != 0)
        return 0;
    round_job j = {.s = s, .round = at / x->length};
    md_pool_run(s->pool, s->n_rows, 8, gate_items, &j);
    if (j.round == 0 || memchr(s->s.active, 1, (size_t)s->n_rows)) {
        memcpy(s->s.round_x, s->s.x, (size_t)s->n_rows * (size_t)s->model->spec.n_embd * sizeof *s->s.x);
        return 0;
    }
    leave_empty(s, layer, x->length);
    return x->length;
}

static void mix_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const round_job *j = ctx;
    const md_scratch *s = &j->s->s;
    const int64_t d = j->s->model->spec.n_embd;
    for (int64_t i = first; i < last; i++) {
        float *x = s->x + i * d, *before = s->round_x + i * d;
        if (s->active[i])
            j->s->ops.kern->axpy(before, x, s->round_gate[i], d);
        memcpy(x, before, (size_t)d * sizeof *x);
    }
}

void md_step_round_end(md_session *s, int32_t layer)
{
    const md_recursion_spec *x = &s->model->spec.recursion;
    const int32_t at = layer - x->first;
    if (at < 0 || at >= x->count * x->length || at % x->length != x->length - 1)
        return;
    round_job j = {.s = s, .round = at / x->length};
    md_pool_run(s->pool, s->n_rows, 8, mix_items, &j);
}
