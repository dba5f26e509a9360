/* SPDX-License-Identifier: Apache-2.0
 *
 * Binding attention: projections as the file has them, norms of heads, latent attention, gates, ropes. */
#include "model/bind.h"

#include "base/mathd.h"

#include <math.h>

/* q, k and v: three matrices, or one that holds them one after another. */
static md_status bind_qkv(const md_binder *b, md_attn_spec *a)
{
    md_error *err = b->err;
    if (md_bind_present(b, MD_SLOT_QKV)) {
        md_weight all;
        MD_TRY(md_bind_linear(b, MD_SLOT_QKV, MD_SLOT_QKV_BIAS, &all));
        const int64_t n_q = md_bind_size(b, 'q'), n_k = md_bind_size(b, 'k'), n_v = md_bind_size(b, 'v');
        a->q = md_bind_rows(&all, 0, n_q);
        a->k = md_bind_rows(&all, n_q, n_k);
        a->v = md_bind_rows(&all, n_q + n_k, n_v);
        return MD_OK;
    }
    if (md_bind_needed(b, MD_SLOT_QKV)) {
        char name[128];
        md_bind_name(b, MD_SLOT_QKV, name);
        if (!md_bind_present(b, MD_SLOT_Q))
            return md_bind_missing(b, name);
    }
    MD_TRY(md_bind_matrix(b, MD_SLOT_Q, true, &a->q));
    MD_TRY(md_bind_vector(b, MD_SLOT_Q_BIAS, md_bind_needed(b, MD_SLOT_Q_BIAS), &a->q.bias));
    if (a->cache != b->layer) { /* files may hold the keys and values that nobody reads */
        md_weight unused;
        MD_TRY(md_bind_matrix(b, MD_SLOT_K, false, &unused));
        return md_bind_matrix(b, MD_SLOT_V, false, &unused);
    }
    MD_TRY(md_bind_matrix(b, MD_SLOT_K, true, &a->k));
    MD_TRY(md_bind_vector(b, MD_SLOT_K_BIAS, md_bind_needed(b, MD_SLOT_K_BIAS), &a->k.bias));
    a->keys_are_values = b->m->arch->keys_are_values && !md_bind_present(b, MD_SLOT_V);
    MD_FAIL_IF(a->keys_are_values && a->dim_k != a->dim_v, MD_ERR_FORMAT,
               "layer %d has no values of its own, and its keys have another size", b->layer);
    if (a->keys_are_values)
        return MD_OK;
    MD_TRY(md_bind_matrix(b, MD_SLOT_V, true, &a->v));
    return md_bind_vector(b, MD_SLOT_V_BIAS, md_bind_needed(b, MD_SLOT_V_BIAS), &a->v.bias);
}

static md_status bind_qk_norm(const md_binder *b, md_attn_spec *a)
{
    md_error *err = b->err;
    const md_arch *arch = b->m->arch;
    a->qk_norm_last = arch->qk_norm_last;
    if ((arch->qk_norm_needs_rope && !b->hp->layer[b->layer].rope) ||
        (arch->qk_norm_not_experts > 0 && b->hp->n_expert == arch->qk_norm_not_experts))
        return MD_OK;
    if (arch->qk_norm_plain) {
        a->qk_norm = MD_QK_NORM_HEAD;
        a->q_norm = a->k_norm = (md_norm){.kind = MD_NORM_RMS, .eps = b->hp->norm_eps};
        return MD_OK;
    }
    static const md_slot weights[][2] = {
        [MD_QK_NORM_NONE] = {MD_SLOT_Q_NORM, MD_SLOT_K_NORM},
        [MD_QK_NORM_HEAD] = {MD_SLOT_Q_NORM, MD_SLOT_K_NORM},
        [MD_QK_NORM_FULL] = {MD_SLOT_Q_NORM_FULL, MD_SLOT_K_NORM_FULL},
        [MD_QK_NORM_EACH] = {MD_SLOT_Q_NORM_EACH, MD_SLOT_K_NORM_EACH},
    };
    const md_slot *w = weights[arch->qk_norm];
    MD_TRY(md_bind_norm(b, w[0], MD_SLOT_Q_NORM_BIAS, &a->q_norm));
    if (a->cache == b->layer)
        MD_TRY(md_bind_norm(b, w[1], MD_SLOT_K_NORM_BIAS, &a->k_norm));
    MD_FAIL_IF(a->cache == b->layer && !a->q_norm.w != !a->k_norm.w, MD_ERR_FORMAT,
               "layer %d has a norm for only one of queries and keys", b->layer);
    a->qk_norm = a->q_norm.w ? arch->qk_norm : MD_QK_NORM_NONE;
    return MD_OK;
}

/* A gate for each head, or for each value; in a family with either, the tensor's own rows tell. */
static md_status bind_gate(const md_binder *b, md_attn_spec *a)
{
    a->gate_in_q = b->m->arch->gate_in_q;
    a->gate_act = b->m->arch->gate_act;
    const bool heads = md_bind_has(b, MD_SLOT_ATTN_GATE), values = md_bind_has(b, MD_SLOT_ATTN_GATE_EACH);
    md_slot slot = heads ? MD_SLOT_ATTN_GATE : MD_SLOT_ATTN_GATE_EACH;
    if (heads && values) {
        char name[128];
        md_bind_name(b, slot, name);
        const md_gguf_tensor *t = md_gguf_find_tensor(b->m->file, name);
        slot = t && t->dim[1] != a->n_head ? MD_SLOT_ATTN_GATE_EACH : slot;
    }
    const bool needed = md_bind_needed(b, MD_SLOT_ATTN_GATE) || md_bind_needed(b, MD_SLOT_ATTN_GATE_EACH);
    return md_bind_matrix(b, slot, needed, &a->gate);
}

static void set_scales(const md_binder *b, md_attn_spec *a)
{
    const md_hparams *hp = b->hp;
    const md_arch *arch = b->m->arch;
    a->scale = hp->attn_scale != 0.0f ? hp->attn_scale : 1.0f / sqrtf((float)hp->layer[b->layer].dim_k);
    a->softcap = hp->attn_softcap;
    a->value_scale = hp->value_scale;
    a->clip = hp->clip;
    /* a temperature by position that the file gives is for all layers, a family's own for those without rope */
    if (hp->temper != 0.0f && (arch->temper == 0.0f || !hp->layer[b->layer].rope)) {
        a->temper = hp->temper;
        a->temper_floor = hp->temper_floor;
        a->temper_shift = arch->temper_shift;
    }
}

/* Slopes of heads (Press et al. 2022): 2^(-8/n), its square... for the largest power of two n in the heads; those beyond take
 * every second one of 2^(-4/n)'s. */
static md_status bind_slopes(const md_binder *b, md_attn_spec *a)
{
    if (!b->m->arch->linear_bias)
        return MD_OK;
    float *slope = md_arena_alloc(&b->m->arena, (size_t)a->n_head, sizeof *slope);
    if (!slope)
        return md_fail_memory(b->err, "a layer's description");
    int32_t n = 1;
    while (2 * n <= a->n_head)
        n *= 2;
    for (int32_t h = 0; h < a->n_head; h++)
        slope[h] = (float)md_pow_d(2.0, h < n ? -(8.0 / n) * (h + 1) : -(8.0 / (2.0 * n)) * (2 * (h - n) + 1));
    a->slope = slope;
    return MD_OK;
}

md_status md_bind_attention(const md_binder *b, md_attn_spec *a)
{
    const md_hparams *hp = b->hp;
    const md_arch *arch = b->m->arch;
    const md_layer_hparams *lh = &hp->layer[b->layer];
    a->n_head = lh->n_head;
    a->n_head_kv = lh->n_head_kv;
    a->dim_k = lh->dim_k;
    a->dim_v = lh->dim_v;
    a->cache = lh->cache;
    a->window = lh->windowed ? hp->window : 0;
    a->chunk = lh->rope ? hp->chunk : 0;
    md_error *err = b->err;
    MD_FAIL_IF(!hp->causal && (a->window > 0 || a->chunk > 0), MD_ERR_UNSUPPORTED,
               "layer %d sees a part of its sequence in both directions, which this version cannot compute", b->layer);
    a->v_norm = arch->v_norm;
    a->v_eps = hp->norm_eps;
    set_scales(b, a);
    MD_TRY(bind_slopes(b, a));
    /* a second norm, where there is one, is the mixer's; the first is then the feed-forward's */
    const bool second = !arch->input_again && md_bind_present(b, MD_SLOT_ATTN_NORM_2);
    MD_TRY(md_bind_norm(b, second ? MD_SLOT_ATTN_NORM_2 : MD_SLOT_ATTN_NORM,
                        second ? MD_SLOT_ATTN_NORM_2_BIAS : MD_SLOT_ATTN_NORM_BIAS, &a->norm));
    MD_TRY(md_bind_norm(b, MD_SLOT_ATTN_POST_NORM, MD_N_SLOTS, &a->post_norm));
    MD_TRY(md_bind_norm(b, MD_SLOT_ATTN_AFTER_NORM, MD_SLOT_ATTN_AFTER_NORM_BIAS, &a->after_norm));
    if (arch->input_again)
        MD_TRY(md_bind_norm(b, MD_SLOT_ATTN_NORM_2, MD_SLOT_ATTN_NORM_2_BIAS, &a->again_norm));
    if (arch->latent) {
        MD_TRY(md_bind_latent(b, a));
    } else {
        MD_TRY(bind_qkv(b, a));
        MD_TRY(bind_qk_norm(b, a));
    }
    MD_TRY(md_bind_matrix(b, MD_SLOT_ATTN_OUT, true, &a->out));
    MD_TRY(md_bind_vector(b, MD_SLOT_ATTN_OUT_BIAS, md_bind_needed(b, MD_SLOT_ATTN_OUT_BIAS), &a->out.bias));
    MD_TRY(bind_gate(b, a));
    return md_bind_vector(b, MD_SLOT_SINKS, md_bind_needed(b, MD_SLOT_SINKS), &a->sinks);
}

/* ---- ropes ---- */

static bool same_rope(const md_layer_hparams *a, const md_layer_hparams *b)
{
    return a->n_rot == b->n_rot && a->rope_base == b->rope_base && a->rope_scaled == b->rope_scaled &&
           a->rope_factors == b->rope_factors;
}

static md_status make_rope(const md_binder *b, const md_layer_hparams *lh, const float *factors,
                           const float *long_factors, md_rope_spec *r)
{
    const md_hparams *hp = b->hp;
    const size_t half = (size_t)lh->n_rot / 2;
    double *freq = md_arena_alloc(&b->m->arena, half, sizeof *freq), *far = NULL;
    if (long_factors && !(far = md_arena_alloc(&b->m->arena, half, sizeof *far)))
        return md_fail_memory(b->err, "rope frequencies");
    if (!freq)
        return md_fail_memory(b->err, "rope frequencies");
    *r = (md_rope_spec){
        .n_rot = lh->n_rot, .interleaved = b->m->arch->rope_interleaved, .freq = freq, .freq_long = far ? far : freq};
    md_rope_frequencies(hp, lh, lh->rope_factors ? factors : NULL, freq, &r->magnitude);
    if (far)
        md_rope_frequencies(hp, lh, lh->rope_factors ? long_factors : NULL, far, &r->magnitude);
    r->ctx_short = hp->rope_ctx_orig;
    return MD_OK;
}

/* One rope for each distinct setting of the layers; a layer holds its index. */
md_status md_bind_ropes(const md_binder *b, md_spec *s)
{
    const md_hparams *hp = b->hp;
    const float *factors, *long_factors = NULL;
    md_binder at = *b; /* the factors' size is that of a layer they are for */
    for (at.layer = 0; at.layer < hp->n_layer - 1; at.layer++)
        if (hp->layer[at.layer].rope && hp->layer[at.layer].rope_factors &&
            hp->layer[at.layer].mixer == MD_MIXER_ATTENTION)
            break;
    MD_TRY(md_bind_vector(&at, MD_SLOT_ROPE_FREQS, false, &factors));
    if (md_bind_present(&at, MD_SLOT_ROPE_SHORT)) {
        MD_TRY(md_bind_vector(&at, MD_SLOT_ROPE_SHORT, false, &factors));
        MD_TRY(md_bind_vector(&at, MD_SLOT_ROPE_LONG, true, &long_factors));
    }
    const int32_t n_factors = hp->layer[at.layer].n_rot;
    s->rope = md_arena_alloc(&b->m->arena, (size_t)hp->n_layer, sizeof *s->rope);
    int32_t *from = md_arena_alloc(&b->m->arena, (size_t)hp->n_layer, sizeof *from);
    if (!s->rope || !from)
        return md_fail_memory(b->err, "rope frequencies");
    for (int32_t l = 0; l < hp->n_layer; l++) {
        const md_layer_hparams *lh = &hp->layer[l];
        s->layer[l].attn.rope = -1;
        if (!lh->rope || lh->mixer != MD_MIXER_ATTENTION)
            continue;
        int32_t i = 0;
        while (i < s->n_rope && !same_rope(&hp->layer[from[i]], lh))
            i++;
        if (i == s->n_rope) {
            const bool fit = lh->n_rot == n_factors;
            MD_TRY(make_rope(b, lh, fit ? factors : NULL, fit ? long_factors : NULL, &s->rope[i]));
            s->max.n_rot = s->max.n_rot > lh->n_rot ? s->max.n_rot : lh->n_rot;
            from[s->n_rope++] = l;
        }
        s->layer[l].attn.rope = i;
    }
    return MD_OK;
}
