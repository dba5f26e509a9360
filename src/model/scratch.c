/* SPDX-License-Identifier: Apache-2.0
 *
 * The plan of a session's scratch: one function lays it out, for measuring and for real. */
#include "model/session.h"

typedef struct planner {
    unsigned char *base; /* NULL: measuring */
    size_t at;
} planner;

/* Sizes are products of checked hyperparameters and stay far below 2^63. */
static void *take(planner *p, int64_t n, size_t size)
{
    p->at = (p->at + 63) / 64 * 64;
    void *here = p->base ? p->base + p->at : NULL;
    p->at += (size_t)(n > 0 ? n : 0) * size;
    return here;
}

static float *floats(planner *p, int64_t n)
{
    return take(p, n, sizeof(float));
}

static int32_t *ints(planner *p, int64_t n)
{
    return take(p, n, sizeof(int32_t));
}

/* Forms of up to n rows of k values: only those that some weight of the model wants. */
static void take_rows(planner *p, const md_model *m, md_rows *r, int64_t n, int64_t k)
{
    const int64_t values = n * k;
    if (m->wants32) {
        r->code32 = take(p, values, 1);
        r->scale32 = floats(p, values / 32 + n);
        r->sum32 = floats(p, values / 32 + n);
    }
    if (m->wants256) {
        r->code256 = take(p, values, 1);
        r->scale256 = floats(p, values / 256 + n);
        r->sum16 = take(p, values / 16 + n, sizeof(int16_t));
    }
}

static void take_experts(planner *p, const md_model *m, md_expert_scratch *e, int64_t t)
{
    const md_spec *sp = &m->spec;
    if (sp->max_expert == 0)
        return;
    const int64_t pairs = t * sp->max_pick, x = sp->max_expert_width;
    e->gate_up = floats(p, pairs * 2 * x);
    e->hidden = floats(p, pairs * x);
    e->out = floats(p, pairs * sp->n_embd);
    take_rows(p, m, &e->rows, pairs, x);
    e->loaded = take(p, sp->max_expert, sizeof *e->loaded);
    e->pair = ints(p, pairs);
    e->group.active = ints(p, sp->max_expert);
    e->group.first = ints(p, sp->max_expert + 1);
    e->group.row = ints(p, pairs);
    e->group.slot = ints(p, pairs);
}

static int64_t max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

size_t md_scratch_plan(const md_model *m, const md_session_args *args, md_scratch *s, unsigned char *base)
{
    planner p = {.base = base};
    const md_spec *sp = &m->spec;
    const int64_t t = args->n_rows, d = sp->n_embd, threads = args->n_threads;
    *s = (md_scratch){0};
    s->x = floats(&p, t * d);
    s->h = floats(&p, t * d);
    s->y = floats(&p, t * d);
    s->q = floats(&p, t * sp->max_q);
    s->k = floats(&p, t * sp->max_k);
    s->v = floats(&p, t * sp->max_v);
    s->att = floats(&p, t * sp->max_q);
    s->ml = floats(&p, t * sp->max_head * 2);
    s->head_gate = floats(&p, t * sp->max_head);
    s->gate = floats(&p, t * sp->max_ff);
    s->up = floats(&p, t * sp->max_ff);
    s->shared = floats(&p, sp->max_expert > 0 ? t * d : 0);
    take_rows(&p, m, &s->in, t, d);
    take_rows(&p, m, &s->mid, t, max_i64(sp->max_q, sp->max_ff));
    s->router_logits = floats(&p, t * sp->max_expert);
    s->route_work = floats(&p, threads * 3 * sp->max_expert);
    s->expert = ints(&p, sp->n_layer * t * sp->max_pick);
    s->weight = floats(&p, sp->n_layer * t * sp->max_pick);
    take_experts(&p, m, &s->experts, t);
    s->cs = floats(&p, t * sp->max_n_rot);
    s->tiles = floats(&p, threads * ((int64_t)sp->max_dim_k + sp->max_dim_v) * MD_TILE);
    s->logits = floats(&p, (int64_t)args->n_logits * sp->n_vocab);
    s->hidden = floats(&p, (int64_t)args->n_logits * d);
    s->row = take(&p, t, sizeof *s->row);
    s->block = take(&p, t, sizeof *s->block);
    s->counters = take(&p, threads, sizeof *s->counters);
    return (p.at + 63) / 64 * 64;
}
