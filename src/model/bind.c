/* SPDX-License-Identifier: Apache-2.0
 *
 * Binding by expectation: every tensor that a family needs is asked for by name, kind and shape; what is missing, of the
 * wrong shape or of the wrong kind is refused with both sides named; what the file has beyond that is noted. */
#include "model/bind.h"

#include "model/weights.h"

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
_Static_assert(MD_N_SLOTS <= 128, "slot sets are 128-bit masks");

/* All layers alike share the letters of model-wide tensors; what a layer may vary is the layer's. */
static int64_t size_of_layer(const md_binder *b, char letter)
{
    const md_layer_hparams *l = &b->hp->layer[b->layer < 0 ? 0 : b->layer];
    switch (letter) {
    case 'q': return (int64_t)l->n_head * l->dim_k * (b->m->arch->gate_in_q ? 2 : 1);
    case 'k': return (int64_t)l->n_head_kv * l->dim_k;
    case 'v': return (int64_t)l->n_head_kv * l->dim_v;
    case 'p': return size_of_layer(b, 'q') + size_of_layer(b, 'k') + size_of_layer(b, 'v');
    case 'o': return (int64_t)l->n_head * l->dim_v;
    case 'a': return l->dim_k;
    case 'h': return l->n_head_kv;
    case 'H': return l->n_head;
    case 'F': return l->n_ff;
    case 'G': return 2 * (int64_t)l->n_ff;
    case 'X': return b->width > 0 ? b->width : l->expert_width;
    case 'Y': return 2 * md_bind_size(b, 'X');
    case 'R': return l->n_rot / 2;
    case 'b': return (int64_t)l->n_head * (b->hp->latent.dim_nope + b->hp->latent.dim_v);
    }
    return -1;
}

static int64_t size_of_recurrent(const md_binder *b, char letter)
{
    const md_recurrent_hparams *r = &b->hp->recurrent;
    const int64_t values = (int64_t)r->n_v_head * r->dim_v;
    switch (letter) {
    case 'i': return r->n_in;
    case 'm': return r->n_conv;
    case 't': return r->kernel;
    case 'u': return r->n_v_head;
    case 'U': return 2 * (int64_t)r->n_v_head;
    case 'z': return values;
    case 'j': return r->dim_v;
    case 'f': return r->n_k_head;
    case 'g': return r->n_k_head > 0 ? values / r->n_k_head : 0;
    }
    return -1;
}

int64_t md_bind_size(const md_binder *b, char letter)
{
    const md_hparams *hp = b->hp;
    switch (letter) {
    case 0:
    case '1': return 1;
    case 'D': return hp->n_embd;
    case 'N': return hp->n_vocab;
    case 'C': return hp->n_ctx;
    case 'E': return hp->n_expert;
    case 'L': return hp->expert_embd;
    case 'e': return hp->router.n_expert;
    case 'd': return hp->routing.carried > 0 ? hp->routing.carried : hp->n_embd;
    case 'I': return hp->routing.rounds;
    case 'S': return hp->shared_width;
    case 'T': return hp->token_layer;
    case 'A': return (int64_t)hp->token_layer * hp->n_layer;
    case 'l': return hp->latent.q_rank;
    case 'r': return hp->latent.rank;
    case 'c': return hp->latent.rank + hp->n_rot;
    case 'n': return hp->latent.dim_nope;
    case 'w': return hp->latent.dim_v;
    }
    const int64_t size = size_of_recurrent(b, letter);
    return size >= 0 ? size : size_of_layer(b, letter);
}

/* A family's other name for a slot counts if the file has it, or if it lacks the usual one too. */
void md_bind_name(const md_binder *b, md_slot slot, char buf[static 128])
{
    char usual[128];
    snprintf(buf, 128, slots[slot].name, b->layer);
    for (const md_rename *r = b->m->arch->rename; r && r->name; r++) {
        if (r->slot != slot)
            continue;
        memcpy(usual, buf, sizeof usual);
        snprintf(buf, 128, r->name, b->layer);
        if (!md_gguf_find_tensor(b->m->file, buf) && md_gguf_find_tensor(b->m->file, usual))
            memcpy(buf, usual, sizeof usual);
    }
}

bool md_bind_has(const md_binder *b, md_slot slot)
{
    const md_slot_set every = MD_HAS(TOKEN_EMBD) | MD_HAS(OUTPUT_NORM);
    return ((b->m->arch->need | b->m->arch->may | every) >> slot & 1) != 0;
}

bool md_bind_needed(const md_binder *b, md_slot slot)
{
    return (b->m->arch->need >> slot & 1) != 0;
}

const md_gguf_tensor *md_bind_look(const md_binder *b, const char *name)
{
    const md_gguf_tensor *t = md_gguf_find_tensor(b->m->file, name);
    if (t)
        b->used[t - md_gguf_tensor_at(b->m->file, 0)] = true;
    return t;
}

/* Does t have the sizes that the slot's letters say? `stacked`: its last letter counts (one tensor for all experts). */
static md_status check_shape(const md_binder *b, const md_gguf_tensor *t, const char dim[3], bool stacked)
{
    md_error *err = b->err;
    int64_t want[MD_GGUF_MAX_DIMS] = {1, 1, 1, 1};
    for (int i = 0; i < (stacked ? 3 : 2); i++)
        want[i] = dim[i] == '*' ? t->dim[i] : md_bind_size(b, dim[i]);
    if (memcmp(want, t->dim, sizeof want) == 0)
        return MD_OK;
    return md_fail(err, MD_ERR_FORMAT, "tensor '%.*s' has shape [%lld, %lld, %lld], expected [%lld, %lld, %lld]",
                   (int)t->name.n, t->name.s, (long long)t->dim[0], (long long)t->dim[1], (long long)t->dim[2],
                   (long long)want[0], (long long)want[1], (long long)want[2]);
}

md_status md_bind_check_shape(const md_binder *b, const md_gguf_tensor *t, md_slot slot, bool stacked)
{
    return check_shape(b, t, slots[slot].dim, stacked);
}

md_status md_bind_missing(const md_binder *b, const char *name)
{
    return md_fail(b->err, MD_ERR_FORMAT, "tensor '%s' is missing, which every '%s' model needs", name,
                   b->m->arch->name);
}

/* The slot's tensor, its shape checked; NULL if the family has no such tensor, or may lack it and does. */
static md_status find_slot(const md_binder *b, md_slot slot, bool need, char name[static 128],
                           const md_gguf_tensor **out)
{
    *out = NULL;
    md_bind_name(b, slot, name);
    if (!md_bind_has(b, slot))
        return need ? md_bind_missing(b, name) : MD_OK;
    const md_gguf_tensor *t = md_bind_look(b, name);
    if (!t)
        return need ? md_bind_missing(b, name) : MD_OK;
    MD_TRY(check_shape(b, t, slots[slot].dim, true));
    *out = t;
    return MD_OK;
}

/* A vector of floats: in place where the file holds aligned F32, else widened into the arena. NULL if it may be absent
 * and is. */
md_status md_bind_vector(const md_binder *b, md_slot slot, bool need, const float **out)
{
    char name[128];
    const md_gguf_tensor *t;
    *out = NULL;
    MD_TRY(find_slot(b, slot, need, name, &t));
    return t ? md_bind_floats(b, t, out) : MD_OK;
}

md_status md_bind_floats(const md_binder *b, const md_gguf_tensor *t, const float **out)
{
    md_error *err = b->err;
    MD_FAIL_IF(md_type_get(t->type)->cls != MD_CLASS_FLOAT, MD_ERR_UNSUPPORTED,
               "tensor '%.*s' has type %s; F32, F16 or BF16 is expected", (int)t->name.n, t->name.s,
               md_type_get(t->type)->name);
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
md_status md_bind_scale(const md_binder *b, const char *name, int64_t count, const float **out, int64_t *step)
{
    md_error *err = b->err;
    char other[128];
    *out = NULL;
    *step = 0;
    const size_t stem = strlen(name) - strlen("weight");
    snprintf(other, sizeof other, "%.*sscale", (int)stem, name);
    const md_gguf_tensor *t = md_bind_look(b, other);
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

md_status md_bind_check_type(const md_binder *b, const md_gguf_tensor *t)
{
    md_error *err = b->err;
    const md_type_info *info = md_type_get(t->type);
    MD_FAIL_IF(info->act == MD_ACT_NONE, MD_ERR_UNSUPPORTED, "tensor '%.*s' has type %s, which is not one for weights",
               (int)t->name.n, t->name.s, info->name);
    b->m->wants32 |= info->act == MD_ACT_Q32;
    b->m->wants256 |= info->act == MD_ACT_Q256;
    return MD_OK;
}

md_status md_bind_view(const md_binder *b, const md_gguf_tensor *t, bool tiles, md_weight *out)
{
    md_error *err = b->err;
    const md_model *m = b->m;
    const size_t i = (size_t)(t - md_gguf_tensor_at(m->file, 0));
    const bool weave = tiles && md_tile_has(t->type) && t->dim[1] % MD_TILE_ROWS == 0;
    m->layout[i] = weave ? MD_LAYOUT_TILES : MD_LAYOUT_ROWS;
    MD_FAIL_IF(m->packed.is && m->packed.layout[i] != m->layout[i], MD_ERR_UNSUPPORTED,
               "tensor '%.*s' was packed for another use of it: pack the model again with this program", (int)t->name.n,
               t->name.s);
    *out = (md_weight){.type = t->type, .cols = t->dim[0], .rows = t->dim[1], .data = t->data};
    out->layout = m->mapped && !m->packed.is ? MD_LAYOUT_ROWS : (md_layout)m->layout[i];
    (void)!md_type_row_bytes(t->type, t->dim[0], &out->row_bytes);
    return MD_OK;
}

/* Tiles are cut every eight rows; matrices of which parts are used by themselves have them only if the parts begin there. Rows
 * that are looked up one by one stay as they are. */
static bool may_have_tiles(const md_binder *b, md_slot slot)
{
    const md_hparams *hp = b->hp;
    switch (slot) {
    case MD_SLOT_QKV: return (md_bind_size(b, 'q') | md_bind_size(b, 'k') | md_bind_size(b, 'v')) % MD_TILE_ROWS == 0;
    case MD_SLOT_FFN_GATE_UP: return md_bind_size(b, 'F') % MD_TILE_ROWS == 0;
    case MD_SLOT_K_B: return hp->latent.rank % MD_TILE_ROWS == 0;
    case MD_SLOT_V_B: return hp->latent.dim_v % MD_TILE_ROWS == 0;
    case MD_SLOT_TOKEN_EMBD: return !b->m->arch->encoder && !md_bind_present(b, MD_SLOT_OUTPUT);
    case MD_SLOT_KV_B:
    case MD_SLOT_POSITION_EMBD:
    case MD_SLOT_TOKEN_LAYER_EMBD: return false;
    default: return true;
    }
}

md_status md_bind_matrix(const md_binder *b, md_slot slot, bool need, md_weight *out)
{
    char name[128];
    const md_gguf_tensor *t;
    *out = (md_weight){0};
    MD_TRY(find_slot(b, slot, need, name, &t));
    if (!t)
        return MD_OK;
    MD_TRY(md_bind_check_type(b, t));
    MD_TRY(md_bind_view(b, t, may_have_tiles(b, slot), out));
    if (slot == MD_SLOT_ROUTER && md_bind_has(b, MD_SLOT_ROUTE_SCALE))
        return MD_OK; /* there the name means a vector */
    int64_t step;
    return md_bind_scale(b, name, 1, &out->scale, &step);
}

/* Rows [first, first + n) of a matrix that holds several. */
md_weight md_bind_rows(const md_weight *all, int64_t first, int64_t n)
{
    md_weight w = *all;
    w.data = (const char *)all->data + (size_t)first * all->row_bytes;
    w.rows = n;
    w.bias = all->bias ? all->bias + first : NULL;
    return w;
}

bool md_bind_present(const md_binder *b, md_slot slot)
{
    char name[128];
    md_bind_name(b, slot, name);
    return md_bind_has(b, slot) && md_gguf_find_tensor(b->m->file, name);
}

md_status md_bind_linear(const md_binder *b, md_slot weight, md_slot bias, md_weight *out)
{
    MD_TRY(md_bind_matrix(b, weight, md_bind_needed(b, weight), out));
    if (bias == MD_N_SLOTS || !out->data)
        return MD_OK;
    return md_bind_vector(b, bias, md_bind_needed(b, bias), &out->bias);
}

md_status md_bind_norm(const md_binder *b, md_slot weight, md_slot bias, md_norm *out)
{
    *out = (md_norm){.eps = b->hp->norm_eps};
    MD_TRY(md_bind_vector(b, weight, md_bind_needed(b, weight), &out->w));
    if (out->w && bias != MD_N_SLOTS)
        MD_TRY(md_bind_vector(b, bias, md_bind_needed(b, bias), &out->b));
    if (out->w)
        out->kind = b->hp->layer_norm ? MD_NORM_LAYER : MD_NORM_RMS;
    return MD_OK;
}

static void grow(int32_t *max, int64_t v)
{
    if (v > *max)
        *max = (int32_t)v;
}

static void note_attention(md_maxima *x, const md_attn_spec *a)
{
    const md_latent_spec *la = a->latent;
    const int32_t own = la ? la->dim_nope + la->n_rot : a->gate_in_q ? 2 * a->dim_k : a->dim_k;
    grow(&x->q, (int64_t)a->n_head * (own > a->dim_k ? own : a->dim_k));
    grow(&x->k, (int64_t)a->n_head_kv * a->dim_k);
    grow(&x->v, (int64_t)a->n_head_kv * a->dim_v);
    grow(&x->att, (int64_t)a->n_head * a->dim_v);
    grow(&x->gate, a->gate_in_q ? (int64_t)a->n_head * a->dim_v : a->gate.rows);
    if (la) {
        grow(&x->latent, (int64_t)a->n_head * (own > la->rank ? own : la->rank));
        grow(&x->att, (int64_t)a->n_head * own);
        grow(&x->q_rank, la->q_a.rows);
    }
    grow(&x->dim_k, a->dim_k);
    grow(&x->dim_v, a->dim_v);
    grow(&x->head, a->n_head);
}

static void note_recurrent(md_maxima *x, const md_recurrent_spec *r)
{
    grow(&x->mixed, r->in.rows);
    grow(&x->mixed, r->n_conv);
    grow(&x->mixed, r->out.cols);
    grow(&x->n_conv, r->n_conv);
    grow(&x->recurrent_head, 2 * r->n_v_head);
    grow(&x->recurrent_dim, r->dim_k);
    grow(&x->recurrent_dim, r->dim_v);
}

static void note_sizes(md_spec *s, const md_layer *l)
{
    md_maxima *x = &s->max;
    const md_ffn_spec *f = &l->ffn;
    if (l->mixer == MD_MIXER_ATTENTION)
        note_attention(x, &l->attn);
    else if (l->recurrent)
        note_recurrent(x, l->recurrent);
    grow(&x->ff, f->width);
    grow(&x->ff, f->shared_width);
    grow(&x->expert, f->router.n_expert);
    grow(&x->pick, f->router.top_k * (int64_t)(f->rounds > 1 ? f->rounds : 1));
    grow(&x->rounds, f->rounds);
    grow(&x->capacity, f->router.capacity);
    grow(&x->carried, f->route_project.rows);
    grow(&x->residual, f->route_residual.rows);
    grow(&x->expert_width, f->expert_width);
    grow(&x->expert_embd, f->latent_down.rows);
    x->parallel |= l->parallel;
    x->early |= f->route_early || f->routed_early || l->attn.again_norm.kind != MD_NORM_NONE;
    x->side |= f->width > 0 && f->router.n_expert > 0;
    x->route_norm |= f->route_norm.kind != MD_NORM_NONE;
}

static void note_unused(const md_binder *b)
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

/* What every token brings to every layer. */
static md_status bind_token_layers(const md_binder *b, md_token_layer_spec *t)
{
    if (b->hp->token_layer == 0 || !md_bind_has(b, MD_SLOT_TOKEN_LAYER_EMBD))
        return MD_OK;
    t->width = b->hp->token_layer;
    MD_TRY(md_bind_matrix(b, MD_SLOT_TOKEN_LAYER_EMBD, true, &t->embed));
    MD_TRY(md_bind_matrix(b, MD_SLOT_TOKEN_LAYER_PROJ, true, &t->project));
    return md_bind_norm(b, MD_SLOT_TOKEN_LAYER_NORM, MD_N_SLOTS, &t->project_norm);
}

static md_status bind_token_layer(const md_binder *b, const md_spec *s, md_layer *l)
{
    const float *scale;
    l->out_scale = 1.0f;
    MD_TRY(md_bind_vector(b, MD_SLOT_LAYER_SCALE, false, &scale));
    if (scale)
        l->out_scale = *scale;
    if (s->token_layer.width == 0)
        return MD_OK;
    MD_TRY(md_bind_matrix(b, MD_SLOT_TOKEN_GATE, true, &l->token_gate));
    MD_TRY(md_bind_matrix(b, MD_SLOT_TOKEN_PROJ, true, &l->token_project));
    return md_bind_norm(b, MD_SLOT_TOKEN_POST_NORM, MD_N_SLOTS, &l->token_norm);
}

static md_status bind_layer(const md_binder *b, md_spec *s, md_layer *l)
{
    const md_layer_hparams *lh = &b->hp->layer[b->layer];
    l->mixer = lh->mixer;
    l->has_ffn = lh->has_ffn;
    l->parallel = b->m->arch->parallel;
    if (l->mixer == MD_MIXER_ATTENTION)
        MD_TRY(md_bind_attention(b, &l->attn));
    else if (l->mixer != MD_MIXER_NONE)
        MD_TRY(md_bind_recurrent(b, l->mixer, &s->state_floats, &l->recurrent));
    if (l->has_ffn)
        MD_TRY(md_bind_ffn(b, s, &l->ffn));
    return bind_token_layer(b, s, l);
}

static md_status bind_ends(const md_binder *b, md_spec *s)
{
    const md_arch *arch = b->m->arch;
    MD_TRY(md_bind_matrix(b, MD_SLOT_TOKEN_EMBD, true, &s->embed));
    MD_TRY(md_bind_linear(b, MD_SLOT_POSITION_EMBD, MD_N_SLOTS, &s->position));
    MD_TRY(md_bind_vector(b, MD_SLOT_TOKEN_TYPES, false, &s->token_type));
    MD_TRY(md_bind_norm(b, MD_SLOT_EMBD_NORM, MD_SLOT_EMBD_NORM_BIAS, &s->embed_norm));
    MD_TRY(bind_token_layers(b, &s->token_layer));
    MD_TRY(md_bind_norm(b, MD_SLOT_OUTPUT_NORM, MD_SLOT_OUTPUT_NORM_BIAS, &s->out_norm));
    if (arch->encoder)
        return MD_OK;
    if (s->out_norm.kind == MD_NORM_NONE) {
        char name[128];
        md_bind_name(b, MD_SLOT_OUTPUT_NORM, name);
        return md_bind_missing(b, name);
    }
    MD_TRY(md_bind_matrix(b, MD_SLOT_OUTPUT, false, &s->output));
    if (!s->output.data)
        s->output = s->embed;
    return md_bind_vector(b, MD_SLOT_OUTPUT_BIAS, md_bind_needed(b, MD_SLOT_OUTPUT_BIAS), &s->output.bias);
}

static md_status bind_all(md_binder *b)
{
    md_model *m = b->m;
    const md_hparams *hp = b->hp;
    md_spec *s = &m->spec;
    *s = (md_spec){.n_layer = hp->n_layer,
                   .n_embd = hp->n_embd,
                   .n_vocab = hp->n_vocab,
                   .n_ctx = hp->n_ctx,
                   .ctx_limit = hp->ctx_limit,
                   .causal = hp->causal,
                   .embed_scale = hp->embed_scale,
                   .residual_scale = hp->residual_scale,
                   .logit_scale = hp->logit_scale,
                   .logit_softcap = hp->logit_softcap};
    s->layer = md_arena_alloc(&m->arena, (size_t)hp->n_layer, sizeof *s->layer);
    if (!s->layer)
        return md_fail_memory(b->err, "the model's layers");
    b->layer = -1;
    MD_TRY(bind_ends(b, s));
    for (b->layer = 0; b->layer < hp->n_layer; b->layer++) {
        md_layer *l = &s->layer[b->layer];
        MD_TRY(bind_layer(b, s, l));
        note_sizes(s, l);
    }
    b->layer = -1;
    MD_TRY(md_bind_ropes(b, s)); /* after the layers: a file that lacks tensors has cost no tables by then */
    MD_TRY(md_bind_recursion(b, s));
    m->experts = md_arena_alloc(&m->arena, (size_t)s->n_layer, sizeof *m->experts);
    if (!m->experts)
        return md_fail_memory(b->err, "the model's experts");
    for (int32_t l = 0; l < s->n_layer; l++)
        m->experts[l] = s->layer[l].ffn.expert;
    note_unused(b);
    if (hp->ctx_limit > 0)
        md_note(
            m, "the context is limited to %d positions: beyond them the model attends in a way that this version lacks",
            hp->ctx_limit);
    return MD_OK;
}

md_status md_model_bind(md_model *m, const md_hparams *hp, md_error *err)
{
    const size_t n = md_gguf_n_tensors(m->file);
    md_binder b = {.m = m, .hp = hp, .err = err, .used = md_calloc(n + 1, sizeof(bool))};
    m->layout = md_arena_alloc(&m->arena, n + 1, 1);
    if (!b.used || !m->layout) {
        md_free(b.used);
        return md_fail_memory(err, "the tensor table");
    }
    memset(m->layout, MD_LAYOUT_UNUSED, n + 1);
    const md_status status = bind_all(&b);
    md_free(b.used);
    return status;
}
