/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers that differ from layer to layer: heads, widths, mixers, windows, rope settings, clamps. Files give them as arrays,
 * as one number, or not at all, and then the family's rule holds. */
#include "base/status.h"
#include "model/hparams.h"

#include <stdio.h>

md_status md_layer_array_find(const md_gguf *g, const char *prefix, const char *suffix, int32_t n_layer,
                              md_layer_array *out, md_error *err)
{
    snprintf(out->key, sizeof out->key, "%s.%s", prefix, suffix);
    out->kv = md_gguf_find(g, out->key);
    out->array = out->kv && out->kv->kind == MD_GGUF_ARRAY;
    MD_FAIL_IF(out->array && out->kv->count < (uint64_t)n_layer, MD_ERR_FORMAT, "'%s' has %llu values for %d layers",
               out->key, (unsigned long long)out->kv->count, n_layer);
    return MD_OK;
}

static md_status float_at(const md_layer_array *a, int32_t layer, float min, float *io, md_error *err)
{
    if (!a->kv)
        return MD_OK;
    MD_TRY(md_gguf_array_f32(a->kv, a->array ? (uint64_t)layer : 0, io, err));
    MD_FAIL_IF(!(*io >= min && *io <= 1e30f), MD_ERR_FORMAT, "'%s' is not a sensible number for layer %d", a->key,
               layer);
    return MD_OK;
}

static md_status int_at(const md_layer_array *a, int32_t layer, int32_t min, int32_t max, int32_t *io, md_error *err)
{
    if (!a->kv)
        return MD_OK;
    int64_t v;
    MD_TRY(md_gguf_array_i64(a->kv, a->array ? (uint64_t)layer : 0, &v, err));
    MD_FAIL_IF(v < min || v > max, MD_ERR_FORMAT, "'%s' is %lld for layer %d, outside %d to %d", a->key, (long long)v,
               layer, min, max);
    *io = (int32_t)v;
    return MD_OK;
}

/* ---- heads, widths, mixers ---- */

static md_status read_heads(const md_gguf *g, const md_arch *arch, const char *prefix, md_hparams *hp, md_error *err)
{
    md_layer_array q, kv, ff, expert, used;
    MD_TRY(md_layer_array_find(g, prefix, "attention.head_count", hp->n_layer, &q, err));
    MD_TRY(md_layer_array_find(g, prefix, "attention.head_count_kv", hp->n_layer, &kv, err));
    MD_TRY(md_layer_array_find(g, prefix, "feed_forward_length", hp->n_layer, &ff, err));
    MD_TRY(md_layer_array_find(g, prefix, "expert_feed_forward_length", hp->n_layer, &expert, err));
    MD_TRY(md_layer_array_find(g, prefix, "expert_used_count", hp->n_layer, &used, err));
    MD_FAIL_IF(!q.kv, MD_ERR_FORMAT, "the metadata lacks '%s.attention.head_count'", prefix);
    const int32_t least = arch->mixer_else != MD_MIXER_NONE || arch->one_branch ? 0 : 1;
    for (int32_t l = 0; l < hp->n_layer; l++) {
        md_layer_hparams *lh = &hp->layer[l];
        MD_TRY(int_at(&q, l, least, 4096, &lh->n_head, err));
        lh->n_head_kv = lh->n_head;
        MD_TRY(int_at(&kv, l, least, 4096, &lh->n_head_kv, err));
        MD_TRY(int_at(&ff, l, 0, 1 << 24, &lh->n_ff, err));
        lh->expert_width = arch->expert_width_is_ff ? lh->n_ff : 0;
        MD_TRY(int_at(&expert, l, 0, 1 << 24, &lh->expert_width, err));
        MD_TRY(int_at(&used, l, 0, 1024, &lh->n_expert_used, err));
        if (arch->dense_width_is_embd)
            lh->n_ff = hp->n_embd;
        MD_FAIL_IF(lh->n_head_kv > 0 && (lh->n_head < 1 || lh->n_head % lh->n_head_kv), MD_ERR_FORMAT,
                   "layer %d has %d query heads, not a multiple of its %d key heads", l, lh->n_head, lh->n_head_kv);
        hp->expert_width = lh->expert_width > hp->expert_width ? lh->expert_width : hp->expert_width;
        hp->n_expert_used = lh->n_expert_used > hp->n_expert_used ? lh->n_expert_used : hp->n_expert_used;
    }
    return MD_OK;
}

static bool has_tensor(const md_gguf *g, int32_t layer, const char *what)
{
    char name[64];
    snprintf(name, sizeof name, "blk.%d.%s.weight", layer, what);
    return md_gguf_find_tensor(g, name) != NULL;
}

/* Which layers attend and which carry a state; which have a feed-forward. */
static md_status read_mixers(const md_gguf *g, const md_arch *arch, const char *prefix, md_hparams *hp, md_error *err)
{
    md_layer_array every, recurrent;
    int32_t n = arch->attention_every;
    MD_TRY(md_layer_array_find(g, prefix, "attention.recurrent_layers", hp->n_layer, &recurrent, err));
    MD_TRY(md_layer_array_find(g, prefix, "full_attention_interval", hp->n_layer, &every, err));
    MD_TRY(int_at(&every, 0, 1, 4096, &n, err));
    for (int32_t l = 0; l < hp->n_layer; l++) {
        md_layer_hparams *lh = &hp->layer[l];
        lh->has_ffn = !arch->one_branch || lh->n_ff > 0 || has_tensor(g, l, "ffn_gate_inp");
        int32_t carries = n > 0 && (l + 1) % n != 0;
        if (arch->mixer_else != MD_MIXER_NONE)
            MD_TRY(int_at(&recurrent, l, 0, 1, &carries, err));
        const bool attends = lh->n_head_kv > 0 && !carries;
        lh->mixer = arch->one_branch && lh->has_ffn ? MD_MIXER_NONE : attends ? MD_MIXER_ATTENTION : arch->mixer_else;
        lh->cache = l;
    }
    return MD_OK;
}

/* Which layers have the window: an array of truth values, a period (every n-th layer lacks it), or the family's rule. */
static md_status read_windows(const md_gguf *g, const md_arch *arch, const char *prefix, md_hparams *hp, md_error *err)
{
    md_layer_array a;
    MD_TRY(md_layer_array_find(g, prefix, "attention.sliding_window_pattern", hp->n_layer, &a, err));
    int32_t every = arch->window_every;
    if (!a.array)
        MD_TRY(int_at(&a, 0, 0, 4096, &every, err));
    for (int32_t l = 0; l < hp->n_layer; l++) {
        int64_t v = arch->window_all || (every > 0 && l % every != (arch->window_first ? 0 : every - 1));
        if (a.array)
            MD_TRY(md_gguf_array_i64(a.kv, (uint64_t)l, &v, err));
        hp->layer[l].windowed = v != 0 && hp->window > 0;
    }
    return MD_OK;
}

/* Head sizes; layers with a window may have their own. */
static md_status read_head_sizes(const md_gguf *g, const md_arch *arch, const char *prefix, md_hparams *hp,
                                 md_error *err)
{
    const md_key_reader r = {.g = g, .prefix = prefix, .err = err};
    int32_t heads = 0, k_window, v_window;
    for (int32_t l = 0; l < hp->n_layer && heads == 0; l++)
        heads = hp->layer[l].n_head;
    int32_t head = heads > 0 ? hp->n_embd / heads : 0;
    if (arch->head_is_rope)
        MD_TRY(md_key_i32(&r, "rope.dimension_count", 2, 8192, head, &head));
    MD_TRY(md_key_i32(&r, "attention.key_length", 1, 8192, head, &hp->dim_k));
    MD_TRY(md_key_i32(&r, "attention.value_length", 1, 8192, head, &hp->dim_v));
    MD_FAIL_IF((hp->dim_k < 1 || hp->dim_v < 1) && heads > 0, MD_ERR_FORMAT, "width %d is too small for %d heads",
               hp->n_embd, heads);
    MD_TRY(md_key_i32(&r, "attention.key_length_swa", 1, 8192, hp->dim_k, &k_window));
    MD_TRY(md_key_i32(&r, "attention.value_length_swa", 1, 8192, hp->dim_v, &v_window));
    for (int32_t l = 0; l < hp->n_layer; l++) {
        hp->layer[l].dim_k = hp->layer[l].windowed ? k_window : hp->dim_k;
        hp->layer[l].dim_v = hp->layer[l].windowed ? v_window : hp->dim_v;
    }
    return MD_OK;
}

/* The last layers may read the keys and values of the last layer of their kind that has its own. */
static md_status read_caches(const md_gguf *g, const char *prefix, md_hparams *hp, md_error *err)
{
    const md_key_reader r = {.g = g, .prefix = prefix, .err = err};
    int32_t n_shared;
    MD_TRY(md_key_i32(&r, "attention.shared_kv_layers", 0, hp->n_layer - 1, 0, &n_shared));
    const int32_t own = hp->n_layer - n_shared;
    for (int32_t l = own; l < hp->n_layer; l++) {
        const md_layer_hparams *lh = &hp->layer[l];
        if (lh->mixer != MD_MIXER_ATTENTION)
            continue;
        int32_t from = own - 1;
        while (from >= 0 && (hp->layer[from].windowed != lh->windowed || hp->layer[from].mixer != MD_MIXER_ATTENTION))
            from--;
        MD_FAIL_IF(from < 0 || hp->layer[from].n_head_kv != lh->n_head_kv || hp->layer[from].dim_k != lh->dim_k ||
                       hp->layer[from].dim_v != lh->dim_v,
                   MD_ERR_FORMAT, "layer %d shares keys and values, but no earlier layer has any of its kind", l);
        hp->layer[l].cache = from;
    }
    return MD_OK;
}

md_status md_hparams_read_layers(const md_gguf *g, const md_arch *arch, const char *prefix, md_hparams *hp,
                                 md_error *err)
{
    MD_TRY(read_heads(g, arch, prefix, hp, err));
    MD_TRY(read_mixers(g, arch, prefix, hp, err));
    MD_TRY(read_windows(g, arch, prefix, hp, err));
    MD_TRY(read_head_sizes(g, arch, prefix, hp, err));
    return read_caches(g, prefix, hp, err);
}

/* ---- rope, clamps, experts ---- */

static bool turns(const md_arch *arch, const md_hparams *hp, int32_t layer)
{
    const int32_t every = arch->no_rope_every;
    if (hp->no_rope || (every > 0 && (layer + 1) % every == 0))
        return false;
    return !arch->rope_in_windows || hp->window == 0 || hp->layer[layer].windowed ||
           (arch->rope_in_dense_first && layer < hp->n_dense_first);
}

static md_status read_ropes(const md_gguf *g, const md_arch *arch, const char *prefix, md_hparams *hp, md_error *err)
{
    md_layer_array base, base_window, rot, rot_window;
    MD_TRY(md_layer_array_find(g, prefix, "rope.freq_base_per_layer", hp->n_layer, &base, err));
    MD_TRY(md_layer_array_find(g, prefix, "rope.freq_base_swa", hp->n_layer, &base_window, err));
    MD_TRY(md_layer_array_find(g, prefix, "rope.dimension_count_per_layer", hp->n_layer, &rot, err));
    MD_TRY(md_layer_array_find(g, prefix, "rope.dimension_count_swa", hp->n_layer, &rot_window, err));
    for (int32_t l = 0; l < hp->n_layer; l++) {
        md_layer_hparams *lh = &hp->layer[l];
        lh->rope = turns(arch, hp, l);
        lh->rope_base = hp->rope_base;
        lh->rope_scaled = !(lh->windowed && arch->windows_unscaled);
        lh->rope_factors = !(lh->windowed && arch->factors_not_in_windows);
        lh->n_rot = hp->n_rot < lh->dim_k || arch->latent ? hp->n_rot : lh->dim_k / 2 * 2;
        if (lh->windowed && arch->window_rope_base > 0.0f) {
            lh->rope_base = arch->window_rope_base;
            lh->rope_scaled = false;
        }
        if (lh->windowed) {
            MD_TRY(float_at(&base_window, l, 1e-6f, &lh->rope_base, err));
            MD_TRY(int_at(&rot_window, l, 2, lh->dim_k, &lh->n_rot, err));
        }
        MD_TRY(float_at(&base, l, 1e-6f, &lh->rope_base, err));
        MD_TRY(int_at(&rot, l, 2, lh->dim_k, &lh->n_rot, err));
        MD_FAIL_IF(lh->n_rot % 2 || (lh->rope && lh->mixer == MD_MIXER_ATTENTION && lh->n_rot < 2), MD_ERR_FORMAT,
                   "layer %d turns %d values of a head; an even number up to %d is possible", l, lh->n_rot, lh->dim_k);
    }
    return MD_OK;
}

static md_status read_limits(const md_gguf *g, const md_arch *arch, const char *prefix, md_hparams *hp, md_error *err)
{
    md_layer_array routed, shared;
    MD_TRY(md_layer_array_find(g, prefix, "swiglu_clamp_exp", hp->n_layer, &routed, err));
    MD_TRY(md_layer_array_find(g, prefix, "swiglu_clamp_shexp", hp->n_layer, &shared, err));
    for (int32_t l = 0; l < hp->n_layer; l++) {
        hp->layer[l].limit = arch->act_limit;
        hp->layer[l].shared_limit = arch->act == MD_FFN_OAI ? arch->act_limit : 0.0f;
        MD_TRY(float_at(&routed, l, 0.0f, &hp->layer[l].limit, err));
        MD_TRY(float_at(&shared, l, 0.0f, &hp->layer[l].shared_limit, err));
    }
    return MD_OK;
}

/* Leading layers may be dense; in some families a layer has experts if it has a router. */
static void find_routed(const md_gguf *g, const md_arch *arch, md_hparams *hp)
{
    for (int32_t l = 0; l < hp->n_layer; l++)
        hp->layer[l].routed = hp->n_expert > 0 && l >= hp->n_dense_first && hp->layer[l].has_ffn &&
                              (!arch->router_tells || has_tensor(g, l, "ffn_gate_inp"));
}

md_status md_hparams_read_settings(const md_gguf *g, const md_arch *arch, const char *prefix, md_hparams *hp,
                                   md_error *err)
{
    find_routed(g, arch, hp);
    MD_TRY(read_ropes(g, arch, prefix, hp, err));
    return read_limits(g, arch, prefix, hp, err);
}
