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
        r->isum32 = take(p, values / 32 + n, sizeof(int16_t));
    }
    if (m->wants256) {
        r->code256 = take(p, values, 1);
        r->scale256 = floats(p, values / 256 + n);
        r->sum16 = take(p, values / 16 + n, sizeof(int16_t));
    }
}

static int64_t max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static bool reads_floats(const md_weight *w)
{
    return w->data && md_type_get(w->type)->act == MD_ACT_F32;
}

/* Does some down matrix read hidden values as they are? */
static bool hidden_floats(const md_model *m)
{
    for (int32_t l = 0; l < m->spec.n_layer; l++) {
        const md_ffn_spec *f = &m->spec.layer[l].ffn;
        if (reads_floats(&f->down) || reads_floats(&f->shared_down))
            return true;
        const md_expert_others *o = &f->others;
        for (int32_t e = 0; e < f->router.n_expert - o->n_constant - o->n_copy - o->n_zero; e++)
            if (reads_floats(&f->expert[e].down))
                return true;
    }
    return false;
}

static void take_ffn(planner *p, const md_model *m, const md_session_args *args, md_scratch *s)
{
    const md_spec *sp = &m->spec;
    md_expert_scratch *e = &s->experts;
    const int64_t t = args->n_rows, threads = args->n_threads, k = sp->max.pick, n = sp->max.expert, pairs = t * k,
                  x = sp->max.expert_width;
    const bool plain = hidden_floats(m);
    s->hidden_ff = floats(p, plain ? t * sp->max.ff : 0);
    s->shared = floats(p, n > 0 ? t * sp->n_embd : 0);
    s->shared_weight = floats(p, n > 0 ? t : 0);
    e->work_floats = md_expert_work(t, k, max_i64(sp->n_embd, sp->max.expert_embd), args->n_threads);
    e->work = floats(p, threads * e->work_floats);
    if (n == 0)
        return;
    e->hidden = plain ? floats(p, pairs * x) : NULL;
    e->out = floats(p, t * max_i64(sp->n_embd, sp->max.expert_embd));
    take_rows(p, m, &e->rows, pairs, x);
    e->part = take(p, threads * k, sizeof *e->part);
    e->part_weight = floats(p, threads * k);
    e->loaded_id = ints(p, n);
    e->pending = ints(p, n);
    e->sum = m->streamed ? take(p, t * max_i64(sp->n_embd, sp->max.expert_embd), sizeof *e->sum) : NULL;
    e->unit = take(p, n + 1, sizeof *e->unit);
    e->queue = take(p, n + 1, sizeof *e->queue);
    e->pair_weight = floats(p, pairs);
    e->order = ints(p, pairs);
    e->n_order = ints(p, t);
    e->mix = floats(p, 2 * pairs);
    e->group.active = ints(p, n);
    e->group.first = ints(p, n + 1);
    e->group.row = ints(p, pairs);
    e->group.slot = ints(p, pairs);
}

/* What a guess of the next layer's routing needs, where experts are read as they are needed. */
static void take_guess(planner *p, const md_model *m, const md_session_args *args, md_scratch *s)
{
    const md_spec *sp = &m->spec;
    const int64_t g = args->n_rows < MD_AHEAD_ROWS ? args->n_rows : MD_AHEAD_ROWS;
    if (!m->streamed)
        return;
    s->guess_in = floats(p, g * sp->n_embd);
    take_rows(p, m, &s->guess_rows, g, sp->n_embd);
    s->guess_logits = floats(p, g * sp->max.expert);
    s->guess_expert = ints(p, g * sp->max.pick);
    s->guess_weight = floats(p, sp->max.pick);
}

static void take_attention(planner *p, const md_model *m, const md_session_args *args, md_scratch *s)
{
    const md_maxima *x = &m->spec.max;
    const int64_t t = args->n_rows, threads = args->n_threads;
    s->q = floats(p, t * x->q);
    s->k = floats(p, t * x->k);
    s->v = floats(p, t * x->v);
    s->q_rank = floats(p, t * x->q_rank);
    s->latent = floats(p, t * x->latent);
    s->latent_q = floats(p, t * x->latent);
    s->widened = floats(p, x->latent > 0 ? threads * MD_TURNED_ROWS * max_i64(x->dim_k, x->dim_v) : 0);
    s->att = floats(p, t * x->att);
    s->ml = floats(p, t * x->head * 2);
    s->head_gate = floats(p, t * x->gate);
    take_rows(p, m, &s->heads, x->latent > 0 ? t * x->head : 0, x->head > 0 ? x->latent / x->head : 0);
    s->cs = floats(p, t * x->n_rot);
}

static void take_recurrent(planner *p, const md_model *m, const md_session_args *args, md_scratch *s)
{
    const md_maxima *x = &m->spec.max;
    const int64_t t = args->n_rows;
    s->mixed = floats(p, t * x->mixed);
    s->conv_in = floats(p, t * x->mixed);
    s->gates = floats(p, t * x->mixed);
    s->conv = floats(p, t * x->n_conv);
    s->numbers = floats(p, t * x->recurrent_head);
    s->recurrent = floats(p, args->n_threads * 3 * (int64_t)x->recurrent_dim);
}

/* What the routers of docs/routers.md need beyond logits. */
static void take_routers(planner *p, const md_model *m, const md_session_args *args, md_scratch *s)
{
    const md_spec *sp = &m->spec;
    const int64_t t = args->n_rows, threads = args->n_threads, e = sp->max.expert, h = sp->max.carried,
                  k = sp->max.pick;
    const bool choose = !sp->causal && sp->routed, recursion = sp->recursion.count > 0;
    s->taken = ints(p, sp->max.capacity > 0 ? threads * e : 0);
    s->needed = take(p, args->on_miss != MD_ON_MISS_READ ? e : 0, 1);
    s->route_mask = take(p, sp->max.capacity > 0 ? threads * e : 0, 1);
    s->last_logits = floats(p, t * sp->max.residual);
    s->residual_logits = floats(p, t * sp->max.residual);
    s->projected = floats(p, t * h);
    s->carried = floats(p, t * h);
    s->gru_in = floats(p, 3 * t * h);
    s->gru_state = floats(p, 3 * t * h);
    s->choice = floats(p, choose ? t * e : 0);
    s->choice_expert = ints(p, choose ? t * k : 0);
    s->choice_weight = floats(p, choose ? t * k : 0);
    s->choice_work = ints(p, choose ? t : 0);
    s->round_expert = ints(p, sp->max.rounds > 1 ? t * k : 0);
    s->round_weight = floats(p, sp->max.rounds > 1 ? t * k : 0);
    s->round_x = floats(p, recursion ? t * sp->n_embd : 0);
    s->round_gate = floats(p, recursion ? t : 0);
    s->active = recursion ? take(p, t, 1) : NULL;
}

size_t md_scratch_plan(const md_model *m, const md_session_args *args, md_scratch *s, unsigned char *base)
{
    planner p = {.base = base};
    const md_spec *sp = &m->spec;
    const md_maxima *x = &sp->max;
    const int64_t t = args->n_rows, d = sp->n_embd, threads = args->n_threads;
    *s = (md_scratch){0};
    s->x = floats(&p, t * d);
    s->h = floats(&p, t * d);
    s->y = floats(&p, t * d);
    s->early = floats(&p, x->early ? t * d : 0);
    s->ahead = floats(&p, x->parallel ? t * d : 0);
    s->side = floats(&p, x->side ? t * d : 0);
    s->route_in = floats(&p, x->route_norm ? t * d : 0);
    take_attention(&p, m, args, s);
    take_recurrent(&p, m, args, s);
    s->token = floats(&p, t * sp->n_layer * sp->token_layer.width);
    s->token_gate = floats(&p, t * sp->token_layer.width);
    s->expert_in = floats(&p, t * x->expert_embd);
    s->expert_out = floats(&p, t * x->expert_embd);
    take_rows(&p, m, &s->in, t, max_i64(max_i64(d, x->q_rank), x->expert_embd));
    take_rows(&p, m, &s->mid, t,
              max_i64(max_i64(x->att, x->mixed), max_i64(max_i64(x->ff, x->expert_embd), sp->token_layer.width)));
    s->router_logits = floats(&p, t * sp->max.expert);
    s->route_work = floats(&p, threads * 3 * sp->max.expert);
    s->expert = ints(&p, sp->n_layer * t * sp->max.pick);
    s->weight = floats(&p, sp->n_layer * t * sp->max.pick);
    take_ffn(&p, m, args, s);
    take_guess(&p, m, args, s);
    take_routers(&p, m, args, s);
    s->logits = floats(&p, sp->output.data && !args->hidden_only ? (int64_t)args->n_logits * sp->n_vocab : 0);
    s->walk_x = floats(&p, (int64_t)args->n_walk * d);
    s->walk_token = ints(&p, args->n_walk);
    s->hidden = floats(&p, (int64_t)args->n_hidden * d);
    s->row = take(&p, t, sizeof *s->row);
    s->block = take(&p, t, sizeof *s->block);
    s->first_row = ints(&p, t);
    s->counters = take(&p, threads, sizeof *s->counters);
    return (p.at + 63) / 64 * 64;
}
