/* SPDX-License-Identifier: Apache-2.0
 *
 * Binding by expectation: every tensor that a family needs is asked for by name, kind and shape; what is missing, of the
 * wrong shape or of the wrong kind is refused with both sides named; what the file has beyond that is noted. */
#include "model/model.h"

#include "base/status.h"

#include <stdio.h>
#include <string.h>

typedef struct slot_row {
    const char *name;
    char kind;
    char dim[3];
} slot_row;

/* ORDER SLOTS */
static const slot_row slots[MD_N_SLOTS] = {
#define MD_SLOT(NAME, name, kind, part, d0, d1, d2) {name, #kind[0], {d0, d1, d2}},
#include "model/slots.def"
#undef MD_SLOT
};
_Static_assert(MD_N_SLOTS <= 64, "slot sets are 64-bit masks");

typedef struct binder {
    md_model *m;
    const md_hparams *hp;
    md_error *err;
    bool *used; /* (n tensors) */
    int32_t layer;
} binder;

static int64_t size_of(const binder *b, char letter)
{
    const md_hparams *hp = b->hp;
    const int32_t l = b->layer < 0 ? 0 : b->layer;
    switch (letter) {
    case 0: return 1;
    case 'D': return hp->n_embd;
    case 'N': return hp->n_vocab;
    case 'q': return (int64_t)hp->n_head[l] * hp->dim_k;
    case 'k': return (int64_t)hp->n_head_kv[l] * hp->dim_k;
    case 'v': return (int64_t)hp->n_head_kv[l] * hp->dim_v;
    case 'p': return size_of(b, 'q') + size_of(b, 'k') + size_of(b, 'v');
    case 'o': return (int64_t)hp->n_head[l] * hp->dim_v;
    case 'a': return hp->dim_k;
    case 'H': return hp->n_head[l];
    case 'F': return hp->n_ff[l];
    case 'G': return 2 * (int64_t)hp->n_ff[l];
    case 'E': return hp->n_expert;
    case 'X': return hp->expert_width;
    case 'Y': return 2 * (int64_t)hp->expert_width;
    case 'S': return hp->shared_width;
    case 'R': return hp->layer[l].n_rot / 2;
    }
    return -1;
}

static void name_of(const binder *b, md_slot slot, char buf[static 128])
{
    const char *pattern = slots[slot].name;
    for (const md_rename *r = b->m->arch->rename; r && r->name; r++)
        if (r->slot == slot)
            pattern = r->name;
    snprintf(buf, 128, pattern, b->layer);
}

static bool has(const binder *b, md_slot slot)
{
    const unsigned long long every = MD_HAS(TOKEN_EMBD) | MD_HAS(OUTPUT_NORM);
    return ((b->m->arch->need | b->m->arch->may | every) >> slot & 1) != 0;
}

static bool needed(const binder *b, md_slot slot)
{
    return (b->m->arch->need >> slot & 1) != 0;
}

static int32_t max_i32(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

static const md_gguf_tensor *look(const binder *b, const char *name)
{
    const md_gguf_tensor *t = md_gguf_find_tensor(b->m->file, name);
    if (t)
        b->used[t - md_gguf_tensor_at(b->m->file, 0)] = true;
    return t;
}

/* Does t have the sizes that the slot's letters say? `stacked`: its last letter counts (one tensor for all experts). */
static md_status check_shape(const binder *b, const md_gguf_tensor *t, const char dim[3], bool stacked)
{
    md_error *err = b->err;
    int64_t want[MD_GGUF_MAX_DIMS] = {1, 1, 1, 1};
    for (int i = 0; i < (stacked ? 3 : 2); i++)
        want[i] = size_of(b, dim[i]);
    if (memcmp(want, t->dim, sizeof want) == 0)
        return MD_OK;
    return md_fail(err, MD_ERR_FORMAT, "tensor '%.*s' has shape [%lld, %lld, %lld], expected [%lld, %lld, %lld]",
                   (int)t->name.n, t->name.s, (long long)t->dim[0], (long long)t->dim[1], (long long)t->dim[2],
                   (long long)want[0], (long long)want[1], (long long)want[2]);
}

static md_status missing(const binder *b, const char *name)
{
    return md_fail(b->err, MD_ERR_FORMAT, "tensor '%s' is missing, which every '%s' model needs", name,
                   b->m->arch->name);
}

/* The slot's tensor, its shape checked; NULL if the family has no such tensor, or may lack it and does. */
static md_status find_slot(const binder *b, md_slot slot, bool need, char name[static 128], const md_gguf_tensor **out)
{
    *out = NULL;
    if (!has(b, slot))
        return MD_OK;
    name_of(b, slot, name);
    const md_gguf_tensor *t = look(b, name);
    if (!t)
        return need ? missing(b, name) : MD_OK;
    MD_TRY(check_shape(b, t, slots[slot].dim, true));
    *out = t;
    return MD_OK;
}

/* A vector of floats: in place where the file holds aligned F32, else widened into the arena. NULL if it may be absent
 * and is. */
static md_status bind_vector(const binder *b, md_slot slot, bool need, const float **out)
{
    md_error *err = b->err;
    char name[128];
    const md_gguf_tensor *t;
    *out = NULL;
    MD_TRY(find_slot(b, slot, need, name, &t));
    if (!t)
        return MD_OK;
    MD_FAIL_IF(md_type_get(t->type)->cls != MD_CLASS_FLOAT, MD_ERR_UNSUPPORTED,
               "tensor '%s' has type %s; F32, F16 or BF16 is expected", name, md_type_get(t->type)->name);
    if (t->type == MD_TYPE_F32 && (uintptr_t)t->data % 4 == 0) {
        *out = t->data;
        return MD_OK;
    }
    float *copy = md_arena_alloc(&b->m->arena, (size_t)t->n_elements, sizeof *copy);
    if (!copy)
        return md_fail_memory(err, "a tensor");
    md_type_decode(t->type, t->data, copy, t->n_elements);
    *out = copy;
    return MD_OK;
}

/* Factors that belong to a matrix (NVFP4): NAME.scale beside NAME.weight, `count` of them or one. */
static md_status bind_scale(const binder *b, const char *name, int64_t count, const float **out, int64_t *step)
{
    md_error *err = b->err;
    char other[128];
    *out = NULL;
    *step = 0;
    const size_t stem = strlen(name) - strlen("weight");
    snprintf(other, sizeof other, "%.*sscale", (int)stem, name);
    const md_gguf_tensor *t = look(b, other);
    if (!t)
        return MD_OK;
    MD_FAIL_IF(t->type != MD_TYPE_F32 || (t->n_elements != 1 && t->n_elements != count), MD_ERR_FORMAT,
               "tensor '%s' is not one F32 factor a matrix", other);
    float *copy = md_arena_alloc(&b->m->arena, (size_t)t->n_elements, sizeof *copy);
    if (!copy)
        return md_fail_memory(err, "a tensor");
    memcpy(copy, t->data, (size_t)t->n_elements * sizeof *copy);
    *out = copy;
    *step = t->n_elements > 1;
    return MD_OK;
}

static md_status check_matrix_type(const binder *b, const md_gguf_tensor *t)
{
    md_error *err = b->err;
    const md_type_info *info = md_type_get(t->type);
    MD_FAIL_IF(info->act == MD_ACT_NONE, MD_ERR_UNSUPPORTED, "tensor '%.*s' has type %s, which is not one for weights",
               (int)t->name.n, t->name.s, info->name);
    b->m->wants32 |= info->act == MD_ACT_Q32;
    b->m->wants256 |= info->act == MD_ACT_Q256;
    return MD_OK;
}

static md_weight view(const md_gguf_tensor *t)
{
    md_weight w = {.type = t->type, .cols = t->dim[0], .rows = t->dim[1], .data = t->data};
    (void)!md_type_row_bytes(t->type, t->dim[0], &w.row_bytes);
    return w;
}

static md_status bind_matrix(const binder *b, md_slot slot, bool need, md_weight *out)
{
    char name[128];
    const md_gguf_tensor *t;
    *out = (md_weight){0};
    MD_TRY(find_slot(b, slot, need, name, &t));
    if (!t)
        return MD_OK;
    MD_TRY(check_matrix_type(b, t));
    *out = view(t);
    int64_t step;
    return bind_scale(b, name, 1, &out->scale, &step);
}

/* ---- experts ---- */

/* Early Mixtral files hold one tensor an expert: blk.L.ffn_gate.E.weight. */
static void legacy_name(const binder *b, md_slot slot, int32_t expert, char buf[static 128])
{
    const char *what = slot == MD_SLOT_GATE_EXPS ? "gate" : slot == MD_SLOT_UP_EXPS ? "up" : "down";
    snprintf(buf, 128, "blk.%d.ffn_%s.%d.weight", b->layer, what, expert);
}

static md_weight *part_of_expert(md_expert *e, md_slot slot)
{
    return slot == MD_SLOT_GATE_EXPS ? &e->gate : slot == MD_SLOT_DOWN_EXPS ? &e->down : &e->up;
}

static md_status bind_stack(const binder *b, md_slot slot, const md_gguf_tensor *t, md_expert *expert)
{
    char name[128];
    name_of(b, slot, name);
    MD_TRY(check_shape(b, t, slots[slot].dim, true));
    MD_TRY(check_matrix_type(b, t));
    const float *scale;
    int64_t step;
    MD_TRY(bind_scale(b, name, b->hp->n_expert, &scale, &step));
    const md_weight w = view(t);
    for (int32_t e = 0; e < b->hp->n_expert; e++) {
        md_weight *p = part_of_expert(&expert[e], slot);
        *p = w;
        p->data = (const char *)t->data + (size_t)e * w.row_bytes * (size_t)w.rows;
        p->scale = scale ? scale + e * step : NULL;
    }
    return MD_OK;
}

static md_status bind_experts(const binder *b, md_slot slot, md_expert *expert)
{
    char name[128];
    name_of(b, slot, name);
    const md_gguf_tensor *t = look(b, name);
    if (t)
        return bind_stack(b, slot, t, expert);
    for (int32_t e = 0; e < b->hp->n_expert; e++) {
        char one[128];
        legacy_name(b, slot, e, one);
        t = look(b, one);
        if (!t)
            return missing(b, e == 0 ? name : one);
        MD_TRY(check_shape(b, t, slots[slot].dim, false));
        MD_TRY(check_matrix_type(b, t));
        *part_of_expert(&expert[e], slot) = view(t);
    }
    return MD_OK;
}

static md_status bind_expert_bias(const binder *b, md_slot slot, md_slot weight, int64_t width, md_expert *expert)
{
    const float *bias;
    MD_TRY(bind_vector(b, slot, needed(b, slot), &bias));
    for (int32_t e = 0; bias && e < b->hp->n_expert; e++)
        part_of_expert(&expert[e], weight)->bias = bias + e * width;
    return MD_OK;
}

static md_status bind_routed(const binder *b, md_ffn_spec *f)
{
    md_error *err = b->err;
    const md_hparams *hp = b->hp;
    MD_FAIL_IF(hp->expert_width < 1, MD_ERR_FORMAT, "the metadata lacks '%s.expert_feed_forward_length'",
               b->m->arch->name);
    f->router = hp->router;
    f->expert_width = hp->expert_width;
    MD_TRY(bind_matrix(b, MD_SLOT_ROUTER, true, &f->route));
    MD_TRY(bind_vector(b, MD_SLOT_ROUTER_BIAS, needed(b, MD_SLOT_ROUTER_BIAS), &f->route.bias));
    MD_TRY(bind_vector(b, MD_SLOT_SELECT_BIAS, false, &f->select_bias));
    f->expert = md_arena_alloc(&b->m->arena, (size_t)hp->n_expert, sizeof *f->expert);
    if (!f->expert)
        return md_fail_memory(err, "a layer's experts");
    char fused[128];
    name_of(b, MD_SLOT_GATE_UP_EXPS, fused);
    const md_gguf_tensor *t = look(b, fused);
    if (t) {
        MD_TRY(bind_stack(b, MD_SLOT_GATE_UP_EXPS, t, f->expert));
        MD_FAIL_IF(b->m->arch->need & MD_HAS(GATE_EXPS_BIAS), MD_ERR_UNSUPPORTED,
                   "tensor '%s' joins gate and up, which this family's biases do not allow", fused);
    } else {
        MD_TRY(bind_experts(b, MD_SLOT_GATE_EXPS, f->expert));
        MD_TRY(bind_experts(b, MD_SLOT_UP_EXPS, f->expert));
    }
    MD_TRY(bind_experts(b, MD_SLOT_DOWN_EXPS, f->expert));
    MD_TRY(bind_expert_bias(b, MD_SLOT_GATE_EXPS_BIAS, MD_SLOT_GATE_EXPS, hp->expert_width, f->expert));
    MD_TRY(bind_expert_bias(b, MD_SLOT_UP_EXPS_BIAS, MD_SLOT_UP_EXPS, hp->expert_width, f->expert));
    MD_TRY(bind_expert_bias(b, MD_SLOT_DOWN_EXPS_BIAS, MD_SLOT_DOWN_EXPS, hp->n_embd, f->expert));
    if (hp->shared_width > 0 && has(b, MD_SLOT_GATE_SHEXP)) {
        f->shared_width = hp->shared_width;
        MD_TRY(bind_matrix(b, MD_SLOT_GATE_SHEXP, true, &f->shared_gate));
        MD_TRY(bind_matrix(b, MD_SLOT_UP_SHEXP, true, &f->shared_up));
        MD_TRY(bind_matrix(b, MD_SLOT_DOWN_SHEXP, true, &f->shared_down));
        MD_TRY(bind_vector(b, MD_SLOT_SHARED_SCALE, needed(b, MD_SLOT_SHARED_SCALE), &f->shared_scale));
    }
    return MD_OK;
}

/* Rows [first, first + n) of a matrix that holds several. */
static md_weight rows_of(const md_weight *all, int64_t first, int64_t n)
{
    md_weight w = *all;
    w.data = (const char *)all->data + (size_t)first * all->row_bytes;
    w.rows = n;
    w.bias = all->bias ? all->bias + first : NULL;
    return w;
}

static md_status bind_dense(const binder *b, md_ffn_spec *f)
{
    md_error *err = b->err;
    f->width = b->hp->n_ff[b->layer];
    MD_FAIL_IF(f->width < 1, MD_ERR_FORMAT, "the metadata lacks '%s.feed_forward_length'", b->m->arch->name);
    MD_TRY(bind_matrix(b, MD_SLOT_FFN_DOWN, true, &f->down));
    MD_TRY(bind_vector(b, MD_SLOT_FFN_DOWN_BIAS, false, &f->down.bias));
    if (has(b, MD_SLOT_FFN_GATE_UP)) {
        md_weight both;
        MD_TRY(bind_matrix(b, MD_SLOT_FFN_GATE_UP, true, &both));
        f->gate = rows_of(&both, 0, f->width);
        f->up = rows_of(&both, f->width, f->width);
        return MD_OK;
    }
    MD_TRY(bind_matrix(b, MD_SLOT_FFN_GATE, true, &f->gate));
    MD_TRY(bind_matrix(b, MD_SLOT_FFN_UP, true, &f->up));
    MD_TRY(bind_vector(b, MD_SLOT_FFN_GATE_BIAS, false, &f->gate.bias));
    return bind_vector(b, MD_SLOT_FFN_UP_BIAS, false, &f->up.bias);
}

static md_status bind_ffn(const binder *b, md_ffn_spec *f)
{
    f->act = b->m->arch->act;
    f->alpha = b->m->arch->act_alpha;
    f->limit = b->hp->layer[b->layer].limit;
    f->dense_limit = b->hp->layer[b->layer].shared_limit;
    MD_TRY(bind_vector(b, MD_SLOT_FFN_NORM, true, &f->norm));
    MD_TRY(bind_vector(b, MD_SLOT_FFN_POST_NORM, needed(b, MD_SLOT_FFN_POST_NORM), &f->post_norm));
    return b->hp->layer[b->layer].routed ? bind_routed(b, f) : bind_dense(b, f);
}

/* q, k and v: three matrices, or one that holds them one after another. */
static md_status bind_qkv(const binder *b, md_attn_spec *a)
{
    if (has(b, MD_SLOT_QKV)) {
        md_weight all;
        MD_TRY(bind_matrix(b, MD_SLOT_QKV, true, &all));
        MD_TRY(bind_vector(b, MD_SLOT_QKV_BIAS, needed(b, MD_SLOT_QKV_BIAS), &all.bias));
        const int64_t n_q = size_of(b, 'q'), n_k = size_of(b, 'k'), n_v = size_of(b, 'v');
        a->q = rows_of(&all, 0, n_q);
        a->k = rows_of(&all, n_q, n_k);
        a->v = rows_of(&all, n_q + n_k, n_v);
        return MD_OK;
    }
    MD_TRY(bind_matrix(b, MD_SLOT_Q, true, &a->q));
    MD_TRY(bind_matrix(b, MD_SLOT_K, true, &a->k));
    MD_TRY(bind_matrix(b, MD_SLOT_V, true, &a->v));
    MD_TRY(bind_vector(b, MD_SLOT_Q_BIAS, needed(b, MD_SLOT_Q_BIAS), &a->q.bias));
    MD_TRY(bind_vector(b, MD_SLOT_K_BIAS, needed(b, MD_SLOT_K_BIAS), &a->k.bias));
    return bind_vector(b, MD_SLOT_V_BIAS, needed(b, MD_SLOT_V_BIAS), &a->v.bias);
}

static md_status bind_qk_norm(const binder *b, md_attn_spec *a)
{
    md_error *err = b->err;
    const bool full = b->m->arch->qk_norm == MD_QK_NORM_FULL;
    const md_slot q = full ? MD_SLOT_Q_NORM_FULL : MD_SLOT_Q_NORM, k = full ? MD_SLOT_K_NORM_FULL : MD_SLOT_K_NORM;
    MD_TRY(bind_vector(b, q, needed(b, q), &a->q_norm));
    MD_TRY(bind_vector(b, k, needed(b, k), &a->k_norm));
    MD_FAIL_IF(!a->q_norm != !a->k_norm, MD_ERR_FORMAT, "layer %d has a norm for only one of queries and keys",
               b->layer);
    a->qk_norm = a->q_norm ? b->m->arch->qk_norm : MD_QK_NORM_NONE;
    a->qk_norm_last = b->m->arch->qk_norm_last;
    return MD_OK;
}

static md_status bind_attention(const binder *b, md_attn_spec *a)
{
    const md_hparams *hp = b->hp;
    const int32_t l = b->layer;
    a->n_head = hp->n_head[l];
    a->n_head_kv = hp->n_head_kv[l];
    a->dim_k = hp->dim_k;
    a->dim_v = hp->dim_v;
    a->window = hp->layer[l].windowed ? hp->window : 0;
    a->scale = hp->attn_scale != 0.0f ? hp->attn_scale : 1.0f / __builtin_sqrtf((float)hp->dim_k);
    a->softcap = hp->attn_softcap;
    a->value_scale = hp->value_scale;
    MD_TRY(bind_vector(b, MD_SLOT_ATTN_NORM, true, &a->norm));
    MD_TRY(bind_qkv(b, a));
    MD_TRY(bind_qk_norm(b, a));
    MD_TRY(bind_matrix(b, MD_SLOT_ATTN_OUT, true, &a->out));
    MD_TRY(bind_vector(b, MD_SLOT_ATTN_OUT_BIAS, needed(b, MD_SLOT_ATTN_OUT_BIAS), &a->out.bias));
    MD_TRY(bind_matrix(b, MD_SLOT_ATTN_GATE, needed(b, MD_SLOT_ATTN_GATE), &a->gate));
    MD_TRY(bind_vector(b, MD_SLOT_ATTN_POST_NORM, needed(b, MD_SLOT_ATTN_POST_NORM), &a->post_norm));
    return bind_vector(b, MD_SLOT_SINKS, needed(b, MD_SLOT_SINKS), &a->sinks);
}

/* One rope for each distinct setting of the layers; a layer holds its index. */
static md_status bind_ropes(const binder *b, md_spec *s)
{
    const md_hparams *hp = b->hp;
    const int32_t none_every = b->m->arch->no_rope_every;
    const float *factors;
    MD_TRY(bind_vector(b, MD_SLOT_ROPE_FREQS, false, &factors));
    s->rope = md_arena_alloc(&b->m->arena, (size_t)hp->n_layer, sizeof *s->rope);
    int32_t *from = md_arena_alloc(&b->m->arena, (size_t)hp->n_layer, sizeof *from);
    if (!s->rope || !from)
        return md_fail_memory(b->err, "rope frequencies");
    for (int32_t l = 0; l < hp->n_layer; l++) {
        const md_layer_hparams *lh = &hp->layer[l];
        int32_t i = 0;
        while (i < s->n_rope &&
               (hp->layer[from[i]].n_rot != lh->n_rot || hp->layer[from[i]].rope_base != lh->rope_base ||
                hp->layer[from[i]].rope_scaled != lh->rope_scaled))
            i++;
        if (i == s->n_rope) {
            double *freq = md_arena_alloc(&b->m->arena, (size_t)lh->n_rot / 2, sizeof *freq);
            if (!freq)
                return md_fail_memory(b->err, "rope frequencies");
            md_rope_spec *r = &s->rope[s->n_rope];
            *r = (md_rope_spec){.n_rot = lh->n_rot, .interleaved = b->m->arch->rope_interleaved, .freq = freq};
            md_rope_frequencies(hp, lh, lh->n_rot == hp->layer[0].n_rot ? factors : NULL, freq, &r->magnitude);
            s->max_n_rot = max_i32(s->max_n_rot, lh->n_rot);
            from[s->n_rope++] = l;
        }
        s->layer[l].attn.rope = none_every > 0 && (l + 1) % none_every == 0 ? -1 : i;
    }
    return MD_OK;
}

static void note_sizes(md_spec *s, const md_layer *l)
{
    const md_attn_spec *a = &l->attn;
    s->max_q = max_i32(s->max_q, a->n_head * max_i32(a->dim_k, a->dim_v));
    s->max_k = max_i32(s->max_k, a->n_head_kv * a->dim_k);
    s->max_v = max_i32(s->max_v, a->n_head_kv * a->dim_v);
    s->max_dim_k = max_i32(s->max_dim_k, a->dim_k);
    s->max_dim_v = max_i32(s->max_dim_v, a->dim_v);
    s->max_head = max_i32(s->max_head, a->n_head);
    s->max_ff = max_i32(s->max_ff, max_i32(l->ffn.width, l->ffn.shared_width));
    s->max_expert = max_i32(s->max_expert, l->ffn.router.n_expert);
    s->max_pick = max_i32(s->max_pick, l->ffn.router.top_k);
    s->max_expert_width = max_i32(s->max_expert_width, l->ffn.expert_width);
}

static void note_unused(const binder *b)
{
    size_t unused = 0;
    const md_gguf_tensor *first = NULL;
    for (size_t i = 0; i < md_gguf_n_tensors(b->m->file); i++)
        if (!b->used[i]) {
            first = first ? first : md_gguf_tensor_at(b->m->file, i);
            unused++;
        }
    if (unused > 0)
        md_note(b->m, "%zu tensor%s not used, the first is '%.*s'", unused, unused == 1 ? " is" : "s are",
                (int)first->name.n, first->name.s);
}

static md_status bind_all(binder *b)
{
    md_error *err = b->err;
    md_model *m = b->m;
    const md_hparams *hp = b->hp;
    md_spec *s = &m->spec;
    *s = (md_spec){.n_layer = hp->n_layer,
                   .n_embd = hp->n_embd,
                   .n_vocab = hp->n_vocab,
                   .n_ctx = hp->n_ctx,
                   .norm_eps = hp->norm_eps,
                   .embed_scale = hp->embed_scale,
                   .residual_scale = hp->residual_scale,
                   .logit_scale = hp->logit_scale,
                   .logit_softcap = hp->logit_softcap};
    s->layer = md_arena_alloc(&m->arena, (size_t)hp->n_layer, sizeof *s->layer);
    m->experts = md_arena_alloc(&m->arena, (size_t)hp->n_layer, sizeof *m->experts);
    if (!s->layer || !m->experts)
        return md_fail_memory(err, "the model's layers");
    b->layer = -1;
    MD_TRY(bind_matrix(b, MD_SLOT_TOKEN_EMBD, true, &s->embed));
    MD_TRY(bind_vector(b, MD_SLOT_OUTPUT_NORM, true, &s->out_norm));
    MD_TRY(bind_matrix(b, MD_SLOT_OUTPUT, false, &s->output));
    if (!s->output.data)
        s->output = s->embed;
    MD_TRY(bind_ropes(b, s));
    for (b->layer = 0; b->layer < hp->n_layer; b->layer++) {
        md_layer *l = &s->layer[b->layer];
        MD_TRY(bind_attention(b, &l->attn));
        MD_TRY(bind_ffn(b, &l->ffn));
        m->experts[b->layer] = l->ffn.expert;
        note_sizes(s, l);
    }
    note_unused(b);
    return MD_OK;
}

md_status md_model_bind(md_model *m, const md_hparams *hp, md_error *err)
{
    binder b = {.m = m, .hp = hp, .err = err, .used = md_calloc(md_gguf_n_tensors(m->file) + 1, sizeof(bool))};
    if (!b.used)
        return md_fail_memory(err, "the tensor table");
    const md_status status = bind_all(&b);
    md_free(b.used);
    return status;
}
