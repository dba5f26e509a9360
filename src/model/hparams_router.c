/* SPDX-License-Identifier: Apache-2.0
 *
 * What the metadata says of routers beyond the usual switches (docs/routers.md, docs/format.md): selection, equal groups,
 * capacity, experts that are no FFN or have widths of their own, rounds, a carried state, recursion. Any family may have
 * these; files that say nothing get what they always got. */
#include "model/hparams.h"

#include "base/status.h"

#include <stdio.h>
#include <string.h>

/* Picks one of `names` (NULL-ended); the first where the key is absent. */
static md_status read_choice(const md_key_reader *r, const char *suffix, const char *const *names, int *out)
{
    md_error *err = r->err;
    char key[128];
    md_str text = {0};
    bool found;
    *out = 0;
    MD_TRY(md_gguf_string(r->g, md_key_of(r, suffix, key), &text, &found, err));
    if (!found)
        return MD_OK;
    for (; names[*out]; ++*out)
        if (md_str_eq(text, names[*out]))
            return MD_OK;
    return md_fail(err, MD_ERR_UNSUPPORTED, "'%s' is '%.*s', which this version does not know", key,
                   (int)(text.n < 64 ? text.n : 64), text.s);
}

static md_status read_bool(const md_key_reader *r, const char *suffix, bool *io)
{
    char key[128];
    return md_gguf_bool(r->g, md_key_of(r, suffix, key), io, NULL, r->err);
}

static md_status read_selection(const md_key_reader *r, md_hparams *hp)
{
    md_error *err = r->err;
    static const char *const names[] = {"score", "logit", "choice", "balanced", NULL};
    md_router *ro = &hp->router;
    int select;
    bool equal = false;
    MD_TRY(read_choice(r, "expert_select", names, &select));
    if (select == 1)
        ro->select = MD_SELECT_LOGIT;
    if (select == 2) {
        const int32_t most = ro->n_expert < 1024 ? ro->n_expert : 1024;
        ro->select = MD_SELECT_THRESHOLD;
        MD_TRY(md_key_i32(r, "expert_used_max", hp->n_expert_used, most, most, &ro->top_k));
    }
    if (select == 3) {
        MD_FAIL_IF(ro->top_k != 1, MD_ERR_FORMAT,
                   "balanced assignment gives a token one expert; '%s.expert_used_count' is %d", r->prefix, ro->top_k);
        ro->select = MD_SELECT_LOGIT;
        ro->score = MD_SCORE_SIGMOID;
        ro->normalise = false;
    }
    MD_TRY(read_bool(r, "expert_group_equal", &equal));
    if (!equal)
        return MD_OK;
    MD_FAIL_IF(ro->n_group < 2 || ro->top_k % ro->n_group || select == 2, MD_ERR_FORMAT,
               "%d groups cannot give equal shares of %d picks", ro->n_group, ro->top_k);
    ro->group_score = MD_GROUP_EQUAL;
    return MD_OK;
}

static md_status read_capacity(const md_key_reader *r, md_hparams *hp)
{
    md_error *err = r->err;
    static const char *const names[] = {"reroute", "drop", NULL};
    md_router *ro = &hp->router;
    float factor = 0.0f;
    int overflow;
    MD_TRY(md_key_f32(r, "expert_capacity_factor", &factor));
    MD_FAIL_IF(factor < 0.0f, MD_ERR_FORMAT, "'%s.expert_capacity_factor' is below 0", r->prefix);
    MD_TRY(md_key_i32(r, "expert_capacity_window", 1, 1 << 20, 64, &ro->window));
    MD_TRY(read_choice(r, "expert_overflow", names, &overflow));
    ro->overflow = overflow == 1 ? MD_OVERFLOW_DROP : MD_OVERFLOW_REROUTE;
    if (factor > 0.0f)
        ro->capacity = md_capacity(factor, ro->top_k, ro->window, hp->n_expert);
    return MD_OK;
}

/* A width for each expert; the different ones are few, so that experts of one width still run together. */
static md_status read_widths(const md_key_reader *r, md_arena *arena, md_hparams *hp)
{
    md_error *err = r->err;
    char key[128];
    const md_gguf_kv *kv = md_gguf_find(r->g, md_key_of(r, "expert_widths", key));
    if (!kv)
        return MD_OK;
    MD_FAIL_IF(kv->kind != MD_GGUF_ARRAY || kv->count != (uint64_t)hp->n_expert, MD_ERR_FORMAT,
               "'%s' is not an array with a width for each of %d experts", key, hp->n_expert);
    md_router_hparams *x = &hp->routing;
    x->width = md_arena_alloc(arena, (size_t)hp->n_expert, sizeof *x->width);
    x->widths = md_arena_alloc(arena, MD_MAX_WIDTHS, sizeof *x->widths);
    if (!x->width || !x->widths)
        return md_fail_memory(err, "the widths of experts");
    for (int32_t e = 0; e < hp->n_expert; e++) {
        int64_t v;
        MD_TRY(md_gguf_array_i64(kv, (uint64_t)e, &v, err));
        MD_FAIL_IF(v < 1 || v > 1 << 24, MD_ERR_FORMAT, "'%s' is %lld for expert %d", key, (long long)v, e);
        x->width[e] = (int32_t)v;
        int32_t i = 0;
        while (i < x->n_width && x->widths[i] != x->width[e])
            i++;
        MD_FAIL_IF(i == MD_MAX_WIDTHS, MD_ERR_UNSUPPORTED, "'%s' has more than %d different widths", key,
                   MD_MAX_WIDTHS);
        if (i == x->n_width)
            x->widths[x->n_width++] = x->width[e];
        hp->expert_width = x->width[e] > hp->expert_width ? x->width[e] : hp->expert_width;
    }
    for (int32_t l = 0; l < hp->n_layer; l++)
        hp->layer[l].expert_width = hp->expert_width;
    return MD_OK;
}

md_status md_hparams_read_others(const md_key_reader *r, md_hparams *hp)
{
    md_router_hparams *x = &hp->routing;
    MD_TRY(md_key_i32(r, "expert_constant_count", 0, 1024, 0, &x->n_constant));
    MD_TRY(md_key_i32(r, "expert_copy_count", 0, 1024, 0, &x->n_copy));
    return md_key_i32(r, "expert_zero_count", 0, 1024, 0, &x->n_zero);
}

md_status md_hparams_read_router(const md_key_reader *r, md_arena *arena, md_hparams *hp)
{
    static const char *const residuals[] = {"inner", "outer", NULL};
    md_router_hparams *x = &hp->routing;
    int residual;
    hp->router.n_null = x->n_zero;
    hp->router.norm_floor = 1e-20f; /* scores may all underflow; reference codes add this to the sum */
    hp->router.jitter = 0.01f;
    MD_TRY(md_key_f32(r, "expert_jitter", &hp->router.jitter));
    MD_TRY(read_selection(r, hp));
    MD_TRY(read_capacity(r, hp));
    MD_TRY(read_widths(r, arena, hp));
    MD_TRY(md_key_i32(r, "expert_iteration_count", 1, 16, 1, &x->rounds));
    MD_TRY(read_choice(r, "expert_iteration_residual", residuals, &residual));
    x->rounds_inner = x->rounds > 1 && residual == 0;
    return md_key_i32(r, "expert_recurrent_length", 0, 65536, 0, &x->carried);
}

md_status md_hparams_read_recursion(const md_key_reader *r, md_arena *arena, md_hparams *hp)
{
    md_error *err = r->err;
    md_recursion_hparams *x = &hp->recursion;
    char key[128];
    MD_TRY(md_key_i32(r, "recursion_count", 1, 16, 1, &x->count));
    if (x->count == 1)
        return MD_OK;
    MD_TRY(md_key_i32(r, "recursion_first", 0, hp->n_layer - 1, -1, &x->first));
    MD_TRY(md_key_i32(r, "recursion_length", 1, hp->n_layer - x->first, -1, &x->length));
    x->scale = 1.0f;
    MD_TRY(md_key_f32(r, "recursion_scale", &x->scale));
    const md_gguf_kv *kv = md_gguf_find(r->g, md_key_of(r, "recursion_thresholds", key));
    MD_FAIL_IF(!kv || kv->kind != MD_GGUF_ARRAY || kv->count != (uint64_t)x->count, MD_ERR_FORMAT,
               "'%s' is not an array with a threshold for each of %d rounds", key, x->count);
    x->threshold = md_arena_alloc(arena, (size_t)x->count, sizeof *x->threshold);
    if (!x->threshold)
        return md_fail_memory(err, "thresholds");
    for (int32_t i = 0; i < x->count; i++)
        MD_TRY(md_gguf_array_f32(kv, (uint64_t)i, &x->threshold[i], err));
    return MD_OK;
}

void md_hparams_describe_router(const md_hparams *hp, char *buf, size_t n)
{
    const md_router_hparams *x = &hp->routing;
    const md_recursion_hparams *r = &hp->recursion;
    md_buf b = {0};
    md_router_describe(&hp->router, buf, n);
    if (x->n_constant + x->n_copy > 0)
        md_buf_printf(&b, ", %d constant and %d copy experts", x->n_constant, x->n_copy);
    if (x->n_width > 1)
        md_buf_printf(&b, ", experts of %d widths", x->n_width);
    if (x->rounds > 1)
        md_buf_printf(&b, ", %d rounds", x->rounds);
    if (x->carried > 0)
        md_buf_printf(&b, ", carrying %d numbers from layer to layer", x->carried);
    if (r->count > 1)
        md_buf_printf(&b, ", layers %d to %d up to %d times", r->first, r->first + r->length - 1, r->count);
    const size_t at = strlen(buf);
    if (b.data && at < n)
        snprintf(buf + at, n - at, "%s", b.data);
    md_buf_done(&b);
}
