/* SPDX-License-Identifier: Apache-2.0
 *
 * Shapes of a bound outline as counts. Widths are those that the forward pass has (model/step*.c); what is small beside products and
 * attention, such as the choice of experts itself, is left out. */
#include "plan/work.h"

#include "base/status.h"

#include <string.h>

#define MOST_EXPERTS 4096 /* of a layer: a replay's work grows with them for every choice */

static md_plan_mul mul_of(const md_weight *w)
{
    return w->data ? (md_plan_mul){.type = w->type, .weights = (double)w->rows * (double)w->cols} : (md_plan_mul){0};
}

/* The part of a matrix of several heads' that is used. */
static md_plan_mul heads_of(const md_weight *w, double rows)
{
    return w->data ? (md_plan_mul){.type = w->type, .weights = rows * (double)w->cols} : (md_plan_mul){0};
}

static void attention(const md_attn_spec *a, int32_t layer, md_plan_layer *l)
{
    const bool own = a->cache == layer;
    l->heads = a->n_head;
    l->groups = (double)a->n_head / a->n_head_kv;
    l->dim = a->dim_k + a->dim_v;
    l->see = a->window > 0 ? a->window : a->chunk;
    l->normed += (double)a->n_head * a->dim_k + (own ? (double)a->n_head_kv * (a->dim_k + a->dim_v) : 0.0);
    l->mixer[0] = mul_of(&a->q);
    l->mixer[1] = mul_of(&a->out);
    l->mixer[2] = mul_of(&a->gate);
    if (a->latent) {
        const md_latent_spec *la = a->latent;
        l->mixer[3] = mul_of(&la->q_a);
        l->mixer[4] = mul_of(&la->kv_a);
        l->mixer[5] = heads_of(&la->k_up, (double)a->n_head * (la->k_turned ? la->dim_nope : la->rank));
        l->mixer[6] = heads_of(&la->v_up, (double)a->n_head * la->dim_v);
    } else if (own) {
        l->mixer[3] = mul_of(&a->k);
        l->mixer[4] = a->keys_are_values ? (md_plan_mul){0} : mul_of(&a->v);
    }
}

static void recurrent(const md_recurrent_spec *r, md_plan_layer *l)
{
    l->mixer[0] = mul_of(&r->in);
    l->mixer[1] = mul_of(&r->gate);
    l->mixer[2] = mul_of(&r->beta);
    l->mixer[3] = mul_of(&r->alpha);
    l->mixer[4] = mul_of(&r->out);
    l->state = 2.0 * sizeof(float) *
               ((double)r->n_v_head * r->dim_k * r->dim_v + (double)r->kernel * r->n_conv); /* read and written */
    l->normed += (double)r->n_v_head * r->dim_v + r->n_conv;
}

static void experts(const md_ffn_spec *f, const md_stream_plan *plan, int32_t layer, md_plan_layer *l)
{
    const md_expert *e = f->expert;
    l->n_expert = f->router.n_expert - f->others.n_constant - f->others.n_copy - f->others.n_zero;
    l->top_k = f->router.top_k;
    l->rounds = f->rounds > 1 ? f->rounds : 1;
    l->width = f->expert_embd;
    l->expert_hidden = f->expert_width;
    l->around[0] = mul_of(&f->route);
    l->around[1] = mul_of(&f->latent_down);
    l->around[2] = mul_of(&f->latent_up);
    l->shared_hidden = f->shared_width;
    l->shared[0] = mul_of(&f->shared_gate);
    l->shared[1] = mul_of(&f->shared_up);
    l->shared[2] = mul_of(&f->shared_down);
    l->expert[0] = mul_of(&e->gate);
    l->expert[1] = mul_of(&e->up);
    l->expert[2] = mul_of(&e->down);
    const md_expert_source *source = plan->args.source[layer];
    const md_expert_place *place[] = {&source->gate, &source->up, &source->down};
    for (int i = 0; i < MD_PLAN_FFN; i++) {
        l->expert_bytes += (double)place[i]->bytes;
        l->woven_bytes += place[i]->weave ? (double)place[i]->bytes : 0.0;
        l->expert_reads += place[i]->bytes > 0;
    }
}

static void layer_of(const md_model *m, int32_t i, md_plan_layer *l)
{
    const md_layer *from = &m->spec.layer[i];
    const md_ffn_spec *f = &from->ffn;
    l->normed = 2.0 * m->spec.n_embd;
    if (from->mixer == MD_MIXER_ATTENTION)
        attention(&from->attn, i, l);
    else if (from->recurrent)
        recurrent(from->recurrent, l);
    if (!from->has_ffn)
        return;
    l->dense_hidden = f->width;
    l->dense[0] = mul_of(&f->gate);
    l->dense[1] = mul_of(&f->up);
    l->dense[2] = mul_of(&f->down);
    if (f->expert && m->stream)
        experts(f, m->stream, i, l);
}

/* Tensors that are read at start, or could be. */
static void weigh(const md_model *m, md_plan_work *w)
{
    for (size_t i = 0; i < md_gguf_n_tensors(m->file); i++) {
        const md_gguf_tensor *t = md_gguf_tensor_at(m->file, i);
        const bool woven = m->layout[i] == MD_LAYOUT_TILES && !m->packed.is, stays = !m->streamed || !md_stream_is(t);
        w->all_bytes += (double)t->bytes;
        w->all_woven += woven ? (double)t->bytes : 0.0;
        w->resident_bytes += stays ? (double)t->bytes : 0.0;
        w->resident_woven += stays && woven ? (double)t->bytes : 0.0;
    }
}

md_status md_plan_work_fill(const md_model *m, md_arena *arena, md_plan_work *out, md_error *err)
{
    *out = (md_plan_work){
        .n_layer = m->spec.n_layer, .output = mul_of(&m->spec.output), .output_normed = m->spec.n_embd};
    out->layer = md_arena_alloc(arena, (size_t)out->n_layer, sizeof *out->layer);
    if (!out->layer)
        return md_fail_memory(err, "a plan");
    for (int32_t i = 0; i < out->n_layer; i++) {
        layer_of(m, i, &out->layer[i]);
        MD_FAIL_IF(out->layer[i].n_expert > MOST_EXPERTS, MD_ERR_LIMIT,
                   "layer %d has %d experts; plans are made for up to %d", (int)i, (int)out->layer[i].n_expert,
                   MOST_EXPERTS);
    }
    weigh(m, out);
    return MD_OK;
}

static void note_types(const md_plan_mul *m, int n, bool *type)
{
    for (int i = 0; i < n; i++)
        type[m[i].type] |= m[i].weights > 0.0;
}

void md_plan_work_types(const md_plan_work *w, bool type[MD_N_TYPES])
{
    memset(type, 0, MD_N_TYPES * sizeof *type);
    note_types(&w->output, 1, type);
    for (int32_t i = 0; i < w->n_layer; i++) {
        const md_plan_layer *l = &w->layer[i];
        note_types(l->mixer, MD_PLAN_MIXER, type);
        note_types(l->dense, MD_PLAN_FFN, type);
        note_types(l->shared, MD_PLAN_FFN, type);
        note_types(l->around, MD_PLAN_FFN, type);
        note_types(l->expert, MD_PLAN_FFN, type);
    }
}
