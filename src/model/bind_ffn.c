/* SPDX-License-Identifier: Apache-2.0
 *
 * Binding the feed-forward half of a layer: dense, routed, shared. */
#include "model/bind.h"

#include <math.h>
#include <stdio.h>

/* ---- experts ---- */

/* Early Mixtral files hold one tensor an expert: blk.L.ffn_gate.E.weight. */
static void legacy_name(const md_binder *b, md_slot slot, int32_t expert, char buf[static 128])
{
    const char *what = slot == MD_SLOT_GATE_EXPS ? "gate" : slot == MD_SLOT_UP_EXPS ? "up" : "down";
    snprintf(buf, 128, "blk.%d.ffn_%s.%d.weight", b->layer, what, expert);
}

static md_weight *part_of_expert(md_expert *e, md_slot slot)
{
    return slot == MD_SLOT_GATE_EXPS ? &e->gate : slot == MD_SLOT_DOWN_EXPS ? &e->down : &e->up;
}

static md_status bind_stack(const md_binder *b, md_slot slot, const md_gguf_tensor *t, md_expert *expert)
{
    char name[128];
    md_bind_name(b, slot, name);
    MD_TRY(md_bind_check_shape(b, t, slot, true));
    MD_TRY(md_bind_check_type(b, t));
    const float *scale;
    int64_t step;
    MD_TRY(md_bind_scale(b, name, b->hp->n_expert, &scale, &step));
    md_weight w;
    const bool whole = slot != MD_SLOT_GATE_UP_EXPS || md_bind_size(b, 'X') % MD_TILE_ROWS == 0; /* gates, then ups */
    MD_TRY(md_bind_view(b, t, whole, &w));
    const size_t stride = t->data_stride ? t->data_stride : w.row_bytes * (size_t)w.rows;
    for (int32_t e = 0; e < b->hp->n_expert; e++) {
        md_weight *p = part_of_expert(&expert[e], slot);
        *p = w;
        p->data = (const char *)t->data + (size_t)e * stride;
        p->scale = scale ? scale + e * step : NULL;
    }
    return MD_OK;
}

static md_status bind_experts(const md_binder *b, md_slot slot, md_expert *expert)
{
    char name[128];
    md_bind_name(b, slot, name);
    const md_gguf_tensor *t = md_bind_look(b, name);
    if (t)
        return bind_stack(b, slot, t, expert);
    for (int32_t e = 0; e < b->hp->n_expert; e++) {
        char one[128];
        md_binder own = *b;
        own.width = b->hp->routing.width ? b->hp->routing.width[e] : 0;
        legacy_name(b, slot, e, one);
        t = md_bind_look(b, one);
        if (!t)
            return md_bind_missing(b, e == 0 ? name : one);
        MD_TRY(md_bind_check_shape(&own, t, slot, false));
        MD_TRY(md_bind_check_type(b, t));
        MD_TRY(md_bind_view(b, t, true, part_of_expert(&expert[e], slot)));
    }
    return MD_OK;
}

static md_status bind_expert_bias(const md_binder *b, md_slot slot, md_slot weight, int64_t width, md_expert *expert)
{
    const float *bias;
    MD_TRY(md_bind_vector(b, slot, md_bind_needed(b, slot), &bias));
    for (int32_t e = 0; bias && e < b->hp->n_expert; e++)
        part_of_expert(&expert[e], weight)->bias = bias + e * width;
    return MD_OK;
}

/* The matrices of all experts: gate and up apart or as one, or no gate at all. */
static md_status bind_expert_stacks(const md_binder *b, md_ffn_spec *f)
{
    md_error *err = b->err;
    char fused[128];
    md_bind_name(b, MD_SLOT_GATE_UP_EXPS, fused);
    f->gated = md_bind_has(b, MD_SLOT_GATE_EXPS);
    const md_gguf_tensor *t = f->gated ? md_bind_look(b, fused) : NULL;
    if (t) {
        MD_TRY(bind_stack(b, MD_SLOT_GATE_UP_EXPS, t, f->expert));
        MD_FAIL_IF(b->m->arch->need & MD_HAS(GATE_EXPS_BIAS), MD_ERR_UNSUPPORTED,
                   "tensor '%s' joins gate and up, which this family's biases do not allow", fused);
    } else {
        if (f->gated)
            MD_TRY(bind_experts(b, MD_SLOT_GATE_EXPS, f->expert));
        MD_TRY(bind_experts(b, MD_SLOT_UP_EXPS, f->expert));
    }
    MD_TRY(bind_experts(b, MD_SLOT_DOWN_EXPS, f->expert));
    MD_TRY(bind_expert_bias(b, MD_SLOT_GATE_EXPS_BIAS, MD_SLOT_GATE_EXPS, f->expert_width, f->expert));
    MD_TRY(bind_expert_bias(b, MD_SLOT_UP_EXPS_BIAS, MD_SLOT_UP_EXPS, f->expert_width, f->expert));
    return bind_expert_bias(b, MD_SLOT_DOWN_EXPS_BIAS, MD_SLOT_DOWN_EXPS, b->hp->n_embd, f->expert);
}

static md_status bind_shared(const md_binder *b, md_ffn_spec *f)
{
    if (b->hp->shared_width == 0 || !md_bind_has(b, MD_SLOT_UP_SHEXP))
        return MD_OK;
    f->shared_width = b->hp->shared_width;
    if (md_bind_has(b, MD_SLOT_GATE_SHEXP))
        MD_TRY(md_bind_matrix(b, MD_SLOT_GATE_SHEXP, true, &f->shared_gate));
    MD_TRY(md_bind_matrix(b, MD_SLOT_UP_SHEXP, true, &f->shared_up));
    MD_TRY(md_bind_matrix(b, MD_SLOT_DOWN_SHEXP, true, &f->shared_down));
    return md_bind_vector(b, MD_SLOT_SHARED_SCALE, md_bind_needed(b, MD_SLOT_SHARED_SCALE), &f->shared_scale);
}

/* A router that reads the stream by itself, normed: its norm's weights are the file's scale over sqrt(D). */
static md_status bind_route_norm(const md_binder *b, md_ffn_spec *f)
{
    const float *scale;
    MD_TRY(md_bind_vector(b, MD_SLOT_ROUTE_SCALE, true, &scale));
    const int32_t d = b->hp->n_embd;
    float *w = md_arena_alloc(&b->m->arena, (size_t)d, sizeof *w);
    if (!w)
        return md_fail_memory(b->err, "a router's scale");
    for (int32_t i = 0; i < d; i++)
        w[i] = scale[i] / sqrtf((float)d);
    f->route_norm = (md_norm){.kind = MD_NORM_RMS, .w = w, .eps = b->hp->norm_eps};
    return MD_OK;
}

/* The experts' way into a space of their own and out of it. */
static md_status bind_latent_space(const md_binder *b, md_ffn_spec *f)
{
    f->expert_embd = b->hp->expert_embd;
    MD_TRY(md_bind_matrix(b, MD_SLOT_LATENT_DOWN, f->expert_embd != b->hp->n_embd, &f->latent_down));
    return md_bind_matrix(b, MD_SLOT_LATENT_UP, f->latent_down.data != NULL, &f->latent_up);
}

static md_status bind_routed(const md_binder *b, md_spec *s, md_ffn_spec *f)
{
    md_error *err = b->err;
    const md_arch *arch = b->m->arch;
    f->router = b->hp->router;
    const int32_t used = b->hp->layer[b->layer].n_expert_used;
    if (used != b->hp->n_expert_used) /* the router's number is the largest of all layers */
        f->router.top_k = used;
    MD_FAIL_IF(f->router.top_k < 1, MD_ERR_FORMAT, "layer %d has experts but uses none", b->layer);
    f->expert_width = b->hp->layer[b->layer].expert_width;
    MD_FAIL_IF(f->expert_width < 1, MD_ERR_FORMAT, "the metadata lacks '%s.expert_feed_forward_length'", arch->name);
    f->route_early = arch->route_early;
    f->routed_early = arch->routed_early;
    f->weigh_input = arch->weigh_input;
    MD_TRY(md_bind_matrix(b, MD_SLOT_ROUTER, true, &f->route));
    MD_TRY(md_bind_vector(b, MD_SLOT_ROUTER_BIAS, md_bind_needed(b, MD_SLOT_ROUTER_BIAS), &f->route.bias));
    MD_TRY(md_bind_vector(b, MD_SLOT_SELECT_BIAS, false, &f->select_bias));
    if (arch->route_norm)
        MD_TRY(bind_route_norm(b, f));
    MD_TRY(bind_latent_space(b, f));
    f->expert = md_arena_alloc(&b->m->arena, (size_t)b->hp->n_expert, sizeof *f->expert);
    if (!f->expert)
        return md_fail_memory(err, "a layer's experts");
    MD_TRY(bind_expert_stacks(b, f));
    MD_TRY(md_bind_router(b, s, f));
    return bind_shared(b, f);
}

/* Are gate and up one matrix? Where a family's files have either form, the rows tell. */
static bool is_gate_up(const md_binder *b, int32_t width)
{
    if (!md_bind_has(b, MD_SLOT_FFN_GATE_UP) || !md_bind_has(b, MD_SLOT_FFN_UP))
        return md_bind_has(b, MD_SLOT_FFN_GATE_UP);
    char name[128];
    md_bind_name(b, MD_SLOT_FFN_UP, name);
    const md_gguf_tensor *t = md_gguf_find_tensor(b->m->file, name);
    return t && t->dim[1] == 2 * (int64_t)width;
}

static md_status bind_dense(const md_binder *b, md_ffn_spec *f)
{
    md_error *err = b->err;
    f->width = b->hp->layer[b->layer].n_ff;
    MD_FAIL_IF(!md_bind_has(b, MD_SLOT_FFN_DOWN), MD_ERR_FORMAT,
               "layer %d has no experts, which every layer of this family has", b->layer);
    MD_FAIL_IF(f->width < 1, MD_ERR_FORMAT, "the metadata lacks '%s.feed_forward_length'", b->m->arch->name);
    MD_TRY(md_bind_matrix(b, MD_SLOT_FFN_DOWN, true, &f->down));
    MD_TRY(md_bind_vector(b, MD_SLOT_FFN_DOWN_BIAS, md_bind_needed(b, MD_SLOT_FFN_DOWN_BIAS), &f->down.bias));
    if (is_gate_up(b, f->width)) {
        md_weight both;
        const bool up_first = md_bind_present(b, MD_SLOT_ATTN_NORM_2) && b->m->arch->input_again;
        MD_TRY(md_bind_matrix(b, MD_SLOT_FFN_GATE_UP, true, &both));
        MD_TRY(md_bind_vector(b, MD_SLOT_FFN_GATE_UP_BIAS, false, &both.bias));
        f->gate = md_bind_rows(&both, up_first ? f->width : 0, f->width);
        f->up = md_bind_rows(&both, up_first ? 0 : f->width, f->width);
        return MD_OK;
    }
    MD_TRY(md_bind_matrix(b, MD_SLOT_FFN_UP, true, &f->up));
    MD_TRY(md_bind_vector(b, MD_SLOT_FFN_UP_BIAS, md_bind_needed(b, MD_SLOT_FFN_UP_BIAS), &f->up.bias));
    if (!md_bind_has(b, MD_SLOT_FFN_GATE))
        return MD_OK;
    /* a family that also knows both in one may have no gate at all */
    MD_TRY(md_bind_matrix(b, MD_SLOT_FFN_GATE, !md_bind_has(b, MD_SLOT_FFN_GATE_UP), &f->gate));
    return md_bind_vector(b, MD_SLOT_FFN_GATE_BIAS, false, &f->gate.bias);
}

md_status md_bind_ffn(const md_binder *b, md_spec *s, md_ffn_spec *f)
{
    const md_arch *arch = b->m->arch;
    const bool routed = b->hp->layer[b->layer].routed;
    f->act = arch->act;
    f->alpha = arch->act_alpha;
    f->limit = b->hp->layer[b->layer].limit;
    f->dense_limit = b->hp->layer[b->layer].shared_limit;
    f->side_scale = arch->side_scale != 0.0f ? arch->side_scale : 1.0f;
    /* one norm for both branches of a parallel layer, unless the file has another */
    const bool one = arch->parallel && !md_bind_present(b, MD_SLOT_FFN_NORM);
    MD_TRY(md_bind_norm(b, one ? MD_SLOT_ATTN_NORM : MD_SLOT_FFN_NORM,
                        one ? MD_SLOT_ATTN_NORM_BIAS : MD_SLOT_FFN_NORM_BIAS, &f->norm));
    MD_TRY(md_bind_norm(b, MD_SLOT_FFN_POST_NORM, MD_N_SLOTS, &f->post_norm));
    MD_TRY(md_bind_norm(b, MD_SLOT_FFN_AFTER_NORM, MD_SLOT_FFN_AFTER_NORM_BIAS, &f->after_norm));
    if (!routed)
        return bind_dense(b, f);
    MD_TRY(bind_routed(b, s, f));
    const bool side = arch->side && md_bind_present(b, MD_SLOT_FFN_UP);
    f->route_softcap = side || !arch->route_cap_beside ? b->hp->router_softcap : 0.0f;
    if (!side)
        return MD_OK;
    MD_TRY(bind_dense(b, f));
    MD_TRY(md_bind_norm(b, MD_SLOT_FFN_NORM_ROUTED, MD_N_SLOTS, &f->norm_routed));
    MD_TRY(md_bind_norm(b, MD_SLOT_FFN_POST_DENSE, MD_N_SLOTS, &f->post_dense));
    return md_bind_norm(b, MD_SLOT_FFN_POST_ROUTED, MD_N_SLOTS, &f->post_routed);
}
