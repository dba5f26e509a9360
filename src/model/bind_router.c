/* SPDX-License-Identifier: Apache-2.0
 *
 * Binding what routers have beside their matrix, and recursion (docs/routers.md). These tensors belong to no family: the
 * metadata, or their being there, asks for them, so they are no slots. */
#include "model/bind.h"

#include <stdio.h>

/* The tensor, its shape checked; NULL where it is absent and may be. */
static md_status find(const md_binder *b, const char *name, bool need, int64_t d0, int64_t d1, int64_t d2,
                      const md_gguf_tensor **out)
{
    md_error *err = b->err;
    const md_gguf_tensor *t = *out = md_bind_look(b, name);
    if (!t)
        return need ? md_bind_missing(b, name) : MD_OK;
    MD_FAIL_IF(t->dim[0] != d0 || t->dim[1] != d1 || t->dim[2] != d2, MD_ERR_FORMAT,
               "tensor '%s' has shape [%lld, %lld, %lld], expected [%lld, %lld, %lld]", name, (long long)t->dim[0],
               (long long)t->dim[1], (long long)t->dim[2], (long long)d0, (long long)d1, (long long)d2);
    return MD_OK;
}

static const char *in_layer(const md_binder *b, const char *pattern, char buf[static 128])
{
    snprintf(buf, 128, "blk.%d.%s", b->layer, pattern);
    return buf;
}

static md_status vector(const md_binder *b, const char *name, bool need, int64_t d0, int64_t d1, int64_t d2,
                        const float **out)
{
    const md_gguf_tensor *t;
    *out = NULL;
    MD_TRY(find(b, name, need, d0, d1, d2, &t));
    return t ? md_bind_floats(b, t, out) : MD_OK;
}

/* A matrix of floats: what it multiplies has no quantized form in the step's scratch. */
static md_status matrix(const md_binder *b, const char *name, bool need, int64_t cols, int64_t rows, md_weight *out)
{
    md_error *err = b->err;
    const md_gguf_tensor *t;
    MD_TRY(find(b, name, need, cols, rows, 1, &t));
    if (!t)
        return MD_OK;
    MD_FAIL_IF(md_type_get(t->type)->act != MD_ACT_F32, MD_ERR_UNSUPPORTED,
               "tensor '%s' has type %s; F32, F16 or BF16 is expected", name, md_type_get(t->type)->name);
    return md_bind_view(b, t, true, out);
}

static md_status bind_others(const md_binder *b, md_ffn_spec *f)
{
    const md_router_hparams *x = &b->hp->routing;
    const int64_t d = b->hp->n_embd;
    char name[128];
    f->others = (md_expert_others){.n_constant = x->n_constant, .n_copy = x->n_copy, .n_zero = x->n_zero};
    if (x->n_constant == 0)
        return MD_OK;
    MD_TRY(vector(b, in_layer(b, "ffn_const.weight", name), true, d, x->n_constant, 1, &f->others.constant));
    return vector(b, in_layer(b, "ffn_const_inp.weight", name), true, d, 2, x->n_constant, &f->others.mix);
}

static md_status bind_carried(const md_binder *b, md_spec *s, md_ffn_spec *f)
{
    const int64_t h = b->hp->routing.carried;
    char name[128];
    if (h == 0)
        return MD_OK;
    if (md_type_get(f->route.type)->act != MD_ACT_F32)
        return md_fail(b->err, MD_ERR_UNSUPPORTED,
                       "layer %d: the matrix of a recurrent router has type %s; a float is expected", b->layer,
                       md_type_get(f->route.type)->name);
    MD_TRY(matrix(b, in_layer(b, "ffn_gate_proj.weight", name), true, b->hp->n_embd, h, &f->route_project));
    if (s->gru_in.data)
        return MD_OK;
    MD_TRY(matrix(b, "ffn_gate_gru_in.weight", true, h, 3 * h, &s->gru_in));
    MD_TRY(vector(b, "ffn_gate_gru_in.bias", true, 3 * h, 1, 1, &s->gru_in.bias));
    MD_TRY(matrix(b, "ffn_gate_gru_state.weight", true, h, 3 * h, &s->gru_state));
    return vector(b, "ffn_gate_gru_state.bias", true, 3 * h, 1, 1, &s->gru_state.bias);
}

/* Choices that depend on each other, or on what the engine does elsewhere. */
static md_status check_together(const md_binder *b, const md_spec *s, const md_ffn_spec *f)
{
    md_error *err = b->err;
    const md_arch *arch = b->m->arch;
    const md_router *r = &f->router;
    const bool choice = r->select == MD_SELECT_THRESHOLD, carried = b->hp->routing.carried > 0;
    MD_FAIL_IF(f->rounds > 1 && (arch->side || arch->route_norm || arch->route_early || arch->parallel),
               MD_ERR_UNSUPPORTED, "iterated routing does not go with this family's feed-forward");
    MD_FAIL_IF(carried && (arch->route_norm || arch->route_early), MD_ERR_UNSUPPORTED,
               "a recurrent router does not go with this family's router");
    MD_FAIL_IF(choice && r->score != MD_SCORE_SOFTMAX && r->score != MD_SCORE_SIGMOID, MD_ERR_UNSUPPORTED,
               "experts that choose tokens score them by softmax or sigmoid, not by %s", md_score_name(r->score));
    MD_FAIL_IF(choice && !s->causal && (r->capacity > 0 || b->hp->recursion.count > 1), MD_ERR_UNSUPPORTED,
               "experts that choose among all tokens of a sequence go with neither a capacity nor a recursion");
    MD_FAIL_IF(
        choice && s->causal && !r->threshold, MD_ERR_FORMAT,
        "experts that choose tokens need thresholds to generate: tensor 'blk.%d.ffn_exp_threshold.weight' is missing",
        b->layer);
    return MD_OK;
}

md_status md_bind_router(const md_binder *b, md_spec *s, md_ffn_spec *f)
{
    const md_router_hparams *x = &b->hp->routing;
    const int64_t e = f->router.n_expert;
    char name[128];
    f->choice_mean = b->hp->n_expert_used;
    f->rounds = x->rounds;
    f->rounds_inner = x->rounds_inner;
    f->route_first = !s->routed;
    s->routed = true;
    MD_TRY(vector(b, in_layer(b, "ffn_exp_threshold.weight", name), false, e, 1, 1, &f->router.threshold));
    MD_TRY(vector(b, in_layer(b, "ffn_exp_scale.weight", name), false, e, 1, 1, &f->router.expert_scale));
    MD_TRY(matrix(b, in_layer(b, "ffn_gate_res.weight", name), false, e, e, &f->route_residual));
    MD_TRY(bind_others(b, f));
    MD_TRY(bind_carried(b, s, f));
    if (f->router.capacity > 0) {
        f->counts_at = s->state_floats;
        s->state_floats += e * f->rounds;
    }
    return check_together(b, s, f);
}

/* ---- recursion ---- */

/* What a stretch that runs several times may hold: rounds share what the cache holds, and a token that has left must not
 * change what it remembers. */
static md_status check_stretch(const md_binder *b, const md_spec *s)
{
    md_error *err = b->err;
    const md_recursion_spec *x = &s->recursion;
    for (int32_t l = 0; l < s->n_layer; l++) {
        const md_layer *y = &s->layer[l];
        const bool inside = l >= x->first && l < x->first + x->length;
        MD_FAIL_IF(inside && (y->mixer != MD_MIXER_ATTENTION || y->attn.cache < x->first), MD_ERR_UNSUPPORTED,
                   "layer %d is repeated, which only layers of attention with keys of their own can be", l);
        MD_FAIL_IF(y->has_ffn &&
                       (y->ffn.router.capacity > 0 || y->ffn.route_residual.data || y->ffn.route_project.data),
                   MD_ERR_UNSUPPORTED, "layer %d: a router that remembers does not go with repeated layers", l);
    }
    MD_FAIL_IF(s->token_layer.width > 0, MD_ERR_UNSUPPORTED, "token vectors of layers do not go with repeated layers");
    return MD_OK;
}

md_status md_bind_recursion(const md_binder *b, md_spec *s)
{
    md_error *err = b->err;
    const md_recursion_hparams *h = &b->hp->recursion;
    md_recursion_spec *x = &s->recursion;
    if (h->count < 2)
        return MD_OK;
    *x = (md_recursion_spec){
        .first = h->first, .length = h->length, .count = h->count, .scale = h->scale, .threshold = h->threshold};
    MD_TRY(check_stretch(b, s));
    const float **gate = md_arena_alloc(&b->m->arena, (size_t)x->count, sizeof *gate);
    const int32_t n = s->n_layer + (x->count - 1) * x->length, after = x->first + x->length;
    MD_FAIL_IF(n > 4096, MD_ERR_UNSUPPORTED, "repeated layers make %d layers, more than 4096", n);
    md_layer *layer = md_arena_alloc(&b->m->arena, (size_t)n, sizeof *layer);
    if (!gate || !layer)
        return md_fail_memory(err, "repeated layers");
    for (int32_t i = 0; i < x->count; i++) {
        char name[64];
        snprintf(name, sizeof name, "recursion_gate.%d.weight", i);
        MD_TRY(vector(b, name, true, b->hp->n_embd, 1, 1, &gate[i]));
    }
    for (int32_t l = 0; l < n; l++) {
        const bool repeated = l >= after && l < after + (x->count - 1) * x->length;
        const int32_t from = l < after ? l : repeated ? x->first + (l - x->first) % x->length : l - (n - s->n_layer);
        layer[l] = s->layer[from];
        if (!repeated && l >= after && layer[l].attn.cache >= after)
            layer[l].attn.cache += n - s->n_layer;
    }
    s->layer = layer;
    s->n_layer = n;
    x->gate = gate;
    return MD_OK;
}
