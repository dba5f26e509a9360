/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers that differ from layer to layer: windows, rope settings, clamps. Files give them as arrays, as one number, or not
 * at all, and then the family's rule holds. */
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

/* Which layers have the window: an array of truth values, a period (every n-th layer lacks it), or the family's rule. */
static md_status read_windows(const md_gguf *g, const md_arch *arch, md_hparams *hp, md_error *err)
{
    md_layer_array a;
    MD_TRY(md_layer_array_find(g, arch->name, "attention.sliding_window_pattern", hp->n_layer, &a, err));
    int64_t every = arch->window_every, v;
    if (a.kv && !a.array) {
        MD_TRY(md_gguf_array_i64(a.kv, 0, &every, err));
        MD_FAIL_IF(every < 0 || every > 4096, MD_ERR_FORMAT, "'%s' is not a sensible number", a.key);
    }
    for (int32_t l = 0; l < hp->n_layer; l++) {
        hp->layer[l].windowed = every > 0 && l % every != every - 1;
        if (a.array) {
            MD_TRY(md_gguf_array_i64(a.kv, (uint64_t)l, &v, err));
            hp->layer[l].windowed = v != 0;
        }
        hp->layer[l].windowed &= hp->window > 0;
    }
    return MD_OK;
}

static md_status read_ropes(const md_gguf *g, const md_arch *arch, md_hparams *hp, md_error *err)
{
    md_layer_array base, base_window, rot;
    MD_TRY(md_layer_array_find(g, arch->name, "rope.freq_base_per_layer", hp->n_layer, &base, err));
    MD_TRY(md_layer_array_find(g, arch->name, "rope.freq_base_swa", hp->n_layer, &base_window, err));
    MD_TRY(md_layer_array_find(g, arch->name, "rope.dimension_count_per_layer", hp->n_layer, &rot, err));
    for (int32_t l = 0; l < hp->n_layer; l++) {
        md_layer_hparams *lh = &hp->layer[l];
        lh->rope_base = hp->rope_base;
        lh->rope_scaled = true;
        lh->n_rot = hp->n_rot;
        if (lh->windowed && arch->window_rope_base > 0.0f) {
            lh->rope_base = arch->window_rope_base;
            lh->rope_scaled = false;
        }
        if (lh->windowed)
            MD_TRY(float_at(&base_window, l, 1e-6f, &lh->rope_base, err));
        MD_TRY(float_at(&base, l, 1e-6f, &lh->rope_base, err));
        if (rot.kv) {
            int64_t v;
            MD_TRY(md_gguf_array_i64(rot.kv, rot.array ? (uint64_t)l : 0, &v, err));
            MD_FAIL_IF(v < 2 || v % 2 || v > hp->dim_k, MD_ERR_FORMAT,
                       "'%s' is %lld for layer %d; an even number up to %d is possible", rot.key, (long long)v, l,
                       hp->dim_k);
            lh->n_rot = (int32_t)v;
        }
    }
    return MD_OK;
}

static md_status read_limits(const md_gguf *g, const md_arch *arch, md_hparams *hp, md_error *err)
{
    md_layer_array routed, shared;
    MD_TRY(md_layer_array_find(g, arch->name, "swiglu_clamp_exp", hp->n_layer, &routed, err));
    MD_TRY(md_layer_array_find(g, arch->name, "swiglu_clamp_shexp", hp->n_layer, &shared, err));
    for (int32_t l = 0; l < hp->n_layer; l++) {
        hp->layer[l].limit = arch->act_limit;
        MD_TRY(float_at(&routed, l, 0.0f, &hp->layer[l].limit, err));
        MD_TRY(float_at(&shared, l, 0.0f, &hp->layer[l].shared_limit, err));
    }
    return MD_OK;
}

/* Leading layers may be dense; in some families a layer has experts if it has a router. */
static void find_routed(const md_gguf *g, const md_arch *arch, md_hparams *hp)
{
    for (int32_t l = 0; l < hp->n_layer; l++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%d.ffn_gate_inp.weight", l);
        hp->layer[l].routed = hp->n_expert > 0 && l >= hp->n_dense_first &&
                              (!arch->router_tells || md_gguf_find_tensor(g, name));
    }
}

md_status md_hparams_read_layers(const md_gguf *g, const md_arch *arch, md_arena *arena, md_hparams *hp, md_error *err)
{
    hp->layer = md_arena_alloc(arena, (size_t)hp->n_layer, sizeof *hp->layer);
    if (!hp->layer)
        return md_fail_memory(err, "the model's description");
    find_routed(g, arch, hp);
    MD_TRY(read_windows(g, arch, hp, err));
    MD_TRY(read_ropes(g, arch, hp, err));
    return read_limits(g, arch, hp, err);
}
