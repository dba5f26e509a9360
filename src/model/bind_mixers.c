/* SPDX-License-Identifier: Apache-2.0
 *
 * Binding what takes the place of plain attention: latent attention, and mixers that carry a state. */
#include "model/bind.h"

#include <math.h>

/* Both layouts: k_b and v_b by head, as the absorbed form wants them, or kv_b with a head's keys and then its values, whose
 * keys are turned. */
static md_status bind_up(const md_binder *b, md_latent_spec *la)
{
    if (md_bind_present(b, MD_SLOT_K_B)) {
        MD_TRY(md_bind_matrix(b, MD_SLOT_K_B, true, &la->k_up));
        MD_TRY(md_bind_matrix(b, MD_SLOT_V_B, true, &la->v_up));
        la->k_stride = la->rank;
        la->v_stride = la->dim_v;
        return MD_OK;
    }
    MD_TRY(md_bind_matrix(b, MD_SLOT_KV_B, true, &la->k_up));
    la->v_up = la->k_up;
    la->k_turned = true;
    la->k_stride = la->v_stride = la->dim_nope + la->dim_v;
    la->v_first = la->dim_nope;
    return MD_OK;
}

md_status md_bind_latent(const md_binder *b, md_attn_spec *a)
{
    const md_hparams *hp = b->hp;
    md_latent_spec *la = md_arena_alloc(&b->m->arena, 1, sizeof *la);
    if (!la)
        return md_fail_memory(b->err, "a layer's description");
    la->rank = hp->latent.rank;
    la->n_rot = hp->n_rot;
    la->dim_nope = hp->latent.dim_nope;
    la->dim_v = hp->latent.dim_v;
    if (hp->attn_scale == 0.0f)
        a->scale = md_rope_score_scale(hp) / sqrtf((float)(la->dim_nope + la->n_rot));
    a->n_head_kv = 1;
    a->dim_k = la->rank + la->n_rot;
    a->dim_v = la->rank;
    a->latent = la;
    if (hp->latent.q_rank > 0) {
        MD_TRY(md_bind_matrix(b, MD_SLOT_Q_A, true, &la->q_a));
        MD_TRY(md_bind_norm(b, MD_SLOT_Q_A_NORM, MD_N_SLOTS, &la->q_a_norm));
        MD_TRY(md_bind_matrix(b, MD_SLOT_Q_B, true, &a->q));
    } else {
        MD_TRY(md_bind_matrix(b, MD_SLOT_Q, true, &a->q));
    }
    MD_TRY(md_bind_matrix(b, MD_SLOT_KV_A, true, &la->kv_a));
    MD_TRY(md_bind_norm(b, MD_SLOT_KV_A_NORM, MD_N_SLOTS, &la->kv_norm));
    return bind_up(b, la);
}

/* ---- mixers with a state ---- */

/* The epsilon under a key's length in a gated delta net: the authors' code has this number, whatever the model's norms use. */
#define DELTA_EPS 1e-6f

/* The file has a channel's taps together; steps go along channels. */
static md_status bind_taps(const md_binder *b, md_slot slot, md_recurrent_spec *r)
{
    const float *file;
    MD_TRY(md_bind_vector(b, slot, true, &file));
    float *w = md_arena_alloc(&b->m->arena, (size_t)r->n_conv * (size_t)r->kernel, sizeof *w);
    if (!w)
        return md_fail_memory(b->err, "a convolution");
    for (int64_t c = 0; c < r->n_conv; c++)
        for (int64_t t = 0; t < r->kernel; t++)
            w[t * r->n_conv + c] = file[c * r->kernel + t];
    r->conv = w;
    return MD_OK;
}

static md_status bind_delta(const md_binder *b, md_recurrent_spec *r)
{
    r->grouped = !md_bind_present(b, MD_SLOT_DELTA_QKV);
    if (r->grouped) {
        MD_TRY(md_bind_matrix(b, MD_SLOT_SSM_IN, true, &r->in));
    } else {
        MD_TRY(md_bind_matrix(b, MD_SLOT_DELTA_QKV, true, &r->in));
        MD_TRY(md_bind_matrix(b, MD_SLOT_DELTA_GATE, true, &r->gate));
    }
    r->paired = md_bind_present(b, MD_SLOT_DELTA_BA);
    if (r->paired) {
        MD_TRY(md_bind_matrix(b, MD_SLOT_DELTA_BA, true, &r->beta));
    } else {
        MD_TRY(md_bind_matrix(b, MD_SLOT_DELTA_BETA, true, &r->beta));
        MD_TRY(md_bind_matrix(b, MD_SLOT_DELTA_ALPHA, true, &r->alpha));
    }
    MD_TRY(md_bind_vector(b, MD_SLOT_SSM_A, true, &r->a));
    r->out_norm = (md_norm){.kind = MD_NORM_RMS, .eps = b->hp->norm_eps};
    return md_bind_vector(b, MD_SLOT_DELTA_NORM, true, &r->out_norm.w);
}

static md_status bind_mamba(const md_binder *b, md_recurrent_spec *r)
{
    MD_TRY(md_bind_matrix(b, MD_SLOT_SSM_IN, true, &r->in));
    MD_TRY(md_bind_vector(b, MD_SLOT_SSM_CONV_BIAS, false, &r->conv_bias));
    MD_TRY(md_bind_vector(b, MD_SLOT_MAMBA_A, true, &r->a));
    MD_TRY(md_bind_vector(b, MD_SLOT_MAMBA_D, true, &r->d));
    r->out_norm = (md_norm){.kind = MD_NORM_RMS, .eps = b->hp->norm_eps};
    return md_bind_vector(b, MD_SLOT_MAMBA_NORM, true, &r->out_norm.w);
}

static md_status bind_conv(const md_binder *b, md_recurrent_spec *r)
{
    MD_TRY(md_bind_matrix(b, MD_SLOT_CONV_IN, true, &r->in));
    MD_TRY(bind_taps(b, MD_SLOT_CONV_TAPS, r));
    return md_bind_matrix(b, MD_SLOT_CONV_OUT, true, &r->out);
}

md_status md_bind_recurrent(const md_binder *b, md_mixer mixer, int64_t *state, const md_recurrent_spec **out)
{
    const md_recurrent_hparams *hp = &b->hp->recurrent;
    md_recurrent_spec *r = md_arena_alloc(&b->m->arena, 1, sizeof *r);
    if (!r)
        return md_fail_memory(b->err, "a layer's description");
    *r = (md_recurrent_spec){.mixer = mixer,
                             .n_k_head = hp->n_k_head,
                             .n_v_head = hp->n_v_head,
                             .dim_k = hp->dim_k,
                             .dim_v = hp->dim_v,
                             .kernel = hp->kernel,
                             .n_conv = hp->n_conv,
                             .head_repeats = b->m->arch->delta_repeats,
                             .eps = DELTA_EPS};
    MD_TRY(md_bind_norm(b, MD_SLOT_ATTN_NORM, MD_SLOT_ATTN_NORM_BIAS, &r->norm));
    MD_TRY(md_bind_norm(b, MD_SLOT_ATTN_POST_NORM, MD_N_SLOTS, &r->post_norm));
    MD_TRY(md_bind_norm(b, MD_SLOT_ATTN_AFTER_NORM, MD_SLOT_ATTN_AFTER_NORM_BIAS, &r->after_norm));
    if (mixer == MD_MIXER_CONV) {
        MD_TRY(bind_conv(b, r));
    } else {
        MD_TRY(mixer == MD_MIXER_DELTA ? bind_delta(b, r) : bind_mamba(b, r));
        MD_TRY(bind_taps(b, MD_SLOT_SSM_CONV, r));
        MD_TRY(md_bind_vector(b, MD_SLOT_SSM_DT_BIAS, true, &r->dt_bias));
        MD_TRY(md_bind_matrix(b, MD_SLOT_SSM_OUT, true, &r->out));
    }
    r->conv_at = *state;
    r->state_at = r->conv_at + (int64_t)(r->kernel - 1) * r->n_conv;
    *state = r->state_at + (int64_t)r->n_v_head * r->dim_k * r->dim_v;
    *out = r;
    return MD_OK;
}
