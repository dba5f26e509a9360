/* SPDX-License-Identifier: Apache-2.0
 *
 * Test models for the routers of docs/routers.md: one row each, with the metadata that asks for it. */
#include "shape/synth.h"

#include "base/status.h"

#include <stdio.h>
#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof *(table))

// clang-format off
static const md_synth_router routers[] = {
    {.name = "sqrt-softplus", .keys = {{"expert_gating_func", .u32 = 4}, {"expert_weights_norm", .yes = true}}},
    {.name = "sparse-mixer", .keys = {{"expert_gating_func", .u32 = 5}, {"expert_jitter", .f32 = 0.2f}}},
    {.name = "expert-choice", .features = MD_SYNTH_THRESHOLDS, .keys = {{"expert_select", .text = "choice"}}},
    {.name = "expert-choice-encoder", .encoder = true, .keys = {{"expert_select", .text = "choice"}}},
    {.name = "base", .n_used = 1, .keys = {{"expert_select", .text = "balanced"}}},
    {.name = "moge", .n_used = 4, .features = MD_SYNTH_EXPERT_SCALE,
     .keys = {{"expert_group_count", .u32 = 2}, {"expert_group_used_count", .u32 = 2}, {"expert_group_equal", .yes = true}}},
    {.name = "null", .n_used = 3, .zero = 4, .keys = {{"expert_weights_norm", .yes = true}}},
    {.name = "moe++", .features = MD_SYNTH_RESIDUAL, .n_used = 3, .constant = 2, .copy = 1, .zero = 1,
     .keys = {{"expert_weights_norm", .yes = true}}},
    {.name = "hmoe", .features = MD_SYNTH_WIDTHS, .n_used = 3},
    {.name = "chain", .features = MD_SYNTH_ROUNDS, .rounds = 3},
    {.name = "chain-outer", .features = MD_SYNTH_ROUNDS, .rounds = 2,
     .keys = {{"expert_iteration_residual", .text = "outer"}}},
    {.name = "rmoe", .features = MD_SYNTH_CARRIED, .n_layer = 3},
    {.name = "recursion", .features = MD_SYNTH_RECURSION, .n_layer = 3,
     .keys = {{"recursion_first", .u32 = 1}, {"recursion_length", .u32 = 1}, {"recursion_count", .u32 = 3},
              {"recursion_scale", .f32 = 0.5f}}},
    {.name = "capacity-drop",
     .keys = {{"expert_capacity_factor", .f32 = 0.75f}, {"expert_capacity_window", .u32 = 24}, {"expert_overflow", .text = "drop"}}},
    {.name = "capacity-reroute",
     .keys = {{"expert_capacity_factor", .f32 = 0.75f}, {"expert_capacity_window", .u32 = 24}, {"expert_overflow", .text = "reroute"}}},
};
// clang-format on

md_status md_synth_router_find(const char *name, const md_synth_router **out, md_error *err)
{
    *out = NULL;
    for (size_t i = 0; i < COUNT(routers); i++)
        if (strcmp(name, routers[i].name) == 0) {
            *out = &routers[i];
            return MD_OK;
        }
    return md_fail(err, MD_ERR_ARGUMENT, "there is no router '%s'", name);
}

const char *md_synth_router_name(size_t i)
{
    return i < COUNT(routers) ? routers[i].name : NULL;
}

static md_status set_count(md_gguf_writer *w, const char *arch, const char *suffix, int n, md_error *err)
{
    char key[96];
    snprintf(key, sizeof key, "%s.%s", arch, suffix);
    return n > 0 ? md_gguf_set_u32(w, key, (uint32_t)n, err) : MD_OK;
}

static md_status set_key(md_gguf_writer *w, const char *arch, const md_synth_key *k, md_error *err)
{
    char key[96];
    snprintf(key, sizeof key, "%s.%s", arch, k->suffix);
    if (k->text)
        return md_gguf_set_string(w, key, k->text, err);
    if (k->yes)
        return md_gguf_set_bool(w, key, true, err);
    return k->f32 != 0.0f ? md_gguf_set_f32(w, key, k->f32, err) : md_gguf_set_u32(w, key, k->u32, err);
}

md_status md_synth_router_keys(const md_synth_router *r, const char *arch, const int *width, int n_expert, int carried,
                               md_gguf_writer *w, md_error *err)
{
    static const float thresholds[] = {0.0f, 0.25f, 0.3f};
    char key[96];
    for (const md_synth_key *k = r->keys; k < r->keys + COUNT(r->keys) && k->suffix; k++)
        MD_TRY(set_key(w, arch, k, err));
    MD_TRY(set_count(w, arch, "expert_constant_count", r->constant, err));
    MD_TRY(set_count(w, arch, "expert_copy_count", r->copy, err));
    MD_TRY(set_count(w, arch, "expert_zero_count", r->zero, err));
    MD_TRY(set_count(w, arch, "expert_iteration_count", r->rounds, err));
    if (r->features & MD_SYNTH_CARRIED)
        MD_TRY(set_count(w, arch, "expert_recurrent_length", carried, err));
    if (r->encoder) {
        snprintf(key, sizeof key, "%s.attention.causal", arch);
        MD_TRY(md_gguf_set_bool(w, key, false, err));
    }
    if (r->features & MD_SYNTH_WIDTHS) {
        snprintf(key, sizeof key, "%s.expert_widths", arch);
        MD_TRY(md_gguf_set_array(w, key, MD_GGUF_I32, width, (size_t)n_expert, err));
    }
    if (r->features & MD_SYNTH_RECURSION) {
        snprintf(key, sizeof key, "%s.recursion_thresholds", arch);
        MD_TRY(md_gguf_set_array(w, key, MD_GGUF_F32, thresholds, COUNT(thresholds), err));
    }
    return MD_OK;
}
