/* SPDX-License-Identifier: Apache-2.0 */
#include "model/hparams.h"

#include "base/status.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct reader {
    const md_gguf *g;
    const char *prefix; /* the architecture's name */
    md_error *err;
} reader;

static const char *key_of(const reader *r, const char *suffix, char buf[static 128])
{
    snprintf(buf, 128, "%s.%s", r->prefix, suffix);
    return buf;
}

/* An integer in [min, max]; required when fallback < 0. */
static md_status read_i32(const reader *r, const char *suffix, int32_t min, int32_t max, int32_t fallback, int32_t *out)
{
    md_error *err = r->err;
    char key[128];
    uint32_t v = 0;
    bool found;
    MD_TRY(md_gguf_u32(r->g, key_of(r, suffix, key), &v, &found, err));
    if (!found) {
        MD_FAIL_IF(fallback < 0, MD_ERR_FORMAT, "the metadata lacks '%s'", key);
        *out = fallback;
        return MD_OK;
    }
    MD_FAIL_IF(v < (uint32_t)min || v > (uint32_t)max, MD_ERR_FORMAT, "'%s' is %u, outside %d to %d", key, v, min, max);
    *out = (int32_t)v;
    return MD_OK;
}

/* One number for all layers, or an array with one for each. */
static md_status read_layers(const reader *r, const char *suffix, int32_t n_layer, int32_t min, int32_t max,
                             int32_t *out, bool *found)
{
    md_error *err = r->err;
    md_layer_array a;
    MD_TRY(md_layer_array_find(r->g, r->prefix, suffix, n_layer, &a, err));
    *found = a.kv != NULL;
    if (!a.kv)
        return MD_OK;
    for (int32_t l = 0; l < n_layer; l++) {
        int64_t v;
        MD_TRY(md_gguf_array_i64(a.kv, a.array ? (uint64_t)l : 0, &v, err));
        MD_FAIL_IF(v < min || v > max, MD_ERR_FORMAT, "'%s' is %lld for layer %d, outside %d to %d", a.key,
                   (long long)v, l, min, max);
        out[l] = (int32_t)v;
    }
    return MD_OK;
}

static md_status read_f32(const reader *r, const char *suffix, float *io)
{
    md_error *err = r->err;
    char key[128];
    float v = *io;
    MD_TRY(md_gguf_f32(r->g, key_of(r, suffix, key), &v, NULL, err));
    MD_FAIL_IF(!(v >= -1e30f && v <= 1e30f), MD_ERR_FORMAT, "'%s' is not a sensible number", key);
    *io = v;
    return MD_OK;
}

md_status md_hparams_arch(const md_gguf *g, const md_arch **out, md_error *err)
{
    md_str name = {0};
    bool found;
    *out = NULL;
    MD_TRY(md_gguf_string(g, "general.architecture", &name, &found, err));
    MD_FAIL_IF(!found, MD_ERR_FORMAT, "the metadata lacks 'general.architecture': this is not a model");
    *out = md_arch_find(name.s, name.n);
    MD_FAIL_IF(!*out, MD_ERR_UNSUPPORTED, "architecture '%.*s' is not one that this version knows",
               (int)(name.n < 64 ? name.n : 64), name.s);
    return MD_OK;
}

static md_status read_attention(const reader *r, md_arena *arena, md_hparams *hp)
{
    md_error *err = r->err;
    const int32_t n = hp->n_layer;
    hp->n_head = md_arena_alloc(arena, (size_t)n, sizeof(int32_t));
    hp->n_head_kv = md_arena_alloc(arena, (size_t)n, sizeof(int32_t));
    hp->n_ff = md_arena_alloc(arena, (size_t)n, sizeof(int32_t));
    if (!hp->n_head || !hp->n_head_kv || !hp->n_ff)
        return md_fail_memory(err, "the model's description");
    bool found;
    MD_TRY(read_layers(r, "attention.head_count", n, 1, 4096, hp->n_head, &found));
    MD_FAIL_IF(!found, MD_ERR_FORMAT, "the metadata lacks '%s.attention.head_count'", r->prefix);
    MD_TRY(read_layers(r, "attention.head_count_kv", n, 1, 4096, hp->n_head_kv, &found));
    if (!found)
        memcpy(hp->n_head_kv, hp->n_head, (size_t)n * sizeof(int32_t));
    for (int32_t l = 0; l < n; l++)
        MD_FAIL_IF(hp->n_head[l] % hp->n_head_kv[l], MD_ERR_FORMAT,
                   "layer %d has %d query heads, not a multiple of its %d key heads", l, hp->n_head[l],
                   hp->n_head_kv[l]);
    MD_TRY(read_layers(r, "feed_forward_length", n, 0, 1 << 24, hp->n_ff, &found));
    const int32_t head = hp->n_embd / hp->n_head[0];
    MD_TRY(read_i32(r, "attention.key_length", 1, 8192, head, &hp->dim_k));
    MD_TRY(read_i32(r, "attention.value_length", 1, 8192, head, &hp->dim_v));
    MD_FAIL_IF(hp->dim_k < 1 || hp->dim_v < 1, MD_ERR_FORMAT, "width %d is too small for %d heads", hp->n_embd,
               hp->n_head[0]);
    MD_TRY(read_i32(r, "attention.sliding_window", 0, 1 << 30, 0, &hp->window));
    MD_TRY(read_f32(r, "attention.value_scale", &hp->value_scale));
    MD_TRY(read_f32(r, "attn_logit_softcapping", &hp->attn_softcap));
    MD_TRY(read_f32(r, "final_logit_softcapping", &hp->logit_softcap));
    MD_TRY(read_f32(r, "attention.layer_norm_rms_epsilon", &hp->norm_eps));
    return MD_OK;
}

static md_status read_rope(const reader *r, md_hparams *hp)
{
    md_error *err = r->err;
    MD_TRY(read_i32(r, "rope.dimension_count", 2, 8192, hp->dim_k, &hp->n_rot));
    MD_FAIL_IF(hp->n_rot % 2 || hp->n_rot > hp->dim_k, MD_ERR_FORMAT,
               "rope turns %d values of a head of %d; an even number of at most %d is possible", hp->n_rot, hp->dim_k,
               hp->dim_k);
    hp->rope_base = 10000.0f;
    MD_TRY(read_f32(r, "rope.freq_base", &hp->rope_base));
    MD_FAIL_IF(!(hp->rope_base > 0.0f), MD_ERR_FORMAT, "'%s.rope.freq_base' is not above 0", r->prefix);
    hp->rope_factor = hp->rope_attn_factor = hp->yarn_ext_factor = 1.0f;
    hp->yarn_beta_fast = 32.0f;
    hp->yarn_beta_slow = 1.0f;
    MD_TRY(read_f32(r, "rope.scale_linear", &hp->rope_factor)); /* the old key, which means linear scaling */
    if (hp->rope_factor != 1.0f)
        hp->rope_scaling = MD_ROPE_LINEAR;
    MD_TRY(read_f32(r, "rope.scaling.factor", &hp->rope_factor));
    MD_TRY(read_f32(r, "rope.scaling.attn_factor", &hp->rope_attn_factor));
    MD_TRY(read_f32(r, "rope.scaling.yarn_ext_factor", &hp->yarn_ext_factor));
    MD_TRY(read_f32(r, "rope.scaling.yarn_beta_fast", &hp->yarn_beta_fast));
    MD_TRY(read_f32(r, "rope.scaling.yarn_beta_slow", &hp->yarn_beta_slow));
    MD_TRY(read_i32(r, "rope.scaling.original_context_length", 1, 1 << 30, hp->n_ctx, &hp->rope_ctx_orig));
    MD_FAIL_IF(!(hp->rope_factor > 0.0f), MD_ERR_FORMAT, "'%s.rope.scaling.factor' is not above 0", r->prefix);
    char key[128];
    md_str type = {0};
    bool found;
    MD_TRY(md_gguf_string(r->g, key_of(r, "rope.scaling.type", key), &type, &found, err));
    if (!found)
        return MD_OK;
    if (md_str_eq(type, "none"))
        hp->rope_scaling = MD_ROPE_NO_SCALING;
    else if (md_str_eq(type, "linear"))
        hp->rope_scaling = MD_ROPE_LINEAR;
    else if (md_str_eq(type, "yarn"))
        hp->rope_scaling = MD_ROPE_YARN;
    else
        return md_fail(err, MD_ERR_UNSUPPORTED, "rope scaling '%.*s' is not one that this version knows",
                       (int)(type.n < 64 ? type.n : 64), type.s);
    return MD_OK;
}

/* The width of all shared experts together, which are one FFN in the file. */
static md_status read_shared(const reader *r, const md_arch *arch, md_hparams *hp)
{
    int32_t n, width;
    MD_TRY(read_i32(r, "expert_shared_count", 0, 1024, 0, &n));
    MD_TRY(read_i32(r, "expert_shared_feed_forward_length", 0, 1 << 24, 0, &width));
    const int64_t all = width == 0                ? (int64_t)n * hp->expert_width
                        : arch->shared_per_expert ? (int64_t)n * width
                                                  : width;
    if (all > 1 << 24)
        return md_fail(r->err, MD_ERR_FORMAT, "%d shared experts of width %d are too many", n, width);
    hp->shared_width = (int32_t)all;
    return MD_OK;
}

static md_status read_experts(const reader *r, const md_arch *arch, md_hparams *hp)
{
    md_error *err = r->err;
    MD_TRY(read_i32(r, "expert_count", 0, 65536, 0, &hp->n_expert));
    if (hp->n_expert == 0)
        return MD_OK;
    MD_TRY(read_i32(r, "expert_used_count", 1, 1024, -1, &hp->n_expert_used));
    MD_FAIL_IF(hp->n_expert_used > hp->n_expert, MD_ERR_FORMAT, "%d experts are used of %d", hp->n_expert_used,
               hp->n_expert);
    MD_TRY(read_i32(r, "leading_dense_block_count", 0, hp->n_layer, 0, &hp->n_dense_first));
    const int32_t width = arch->expert_width_is_ff ? hp->n_ff[hp->n_layer - 1] : 0;
    MD_TRY(read_i32(r, "expert_feed_forward_length", 1, 1 << 24, width, &hp->expert_width));
    MD_TRY(read_shared(r, arch, hp));
    md_router *ro = &hp->router;
    *ro = (md_router){.score = arch->score,
                      .n_expert = hp->n_expert,
                      .top_k = hp->n_expert_used,
                      .normalise = arch->normalise,
                      .scale = 1.0f};
    MD_TRY(read_f32(r, "expert_weights_scale", &ro->scale));
    if (ro->scale == 0.0f) /* some files store 0 for "none" */
        ro->scale = 1.0f;
    char key[128];
    MD_TRY(md_gguf_bool(r->g, key_of(r, "expert_weights_norm", key), &ro->normalise, NULL, err));
    int32_t gating;
    MD_TRY(read_i32(r, "expert_gating_func", 0, 3, 0, &gating));
    if (gating > 0)
        ro->score = gating == 1 ? MD_SCORE_SOFTMAX : gating == 2 ? MD_SCORE_SIGMOID : MD_SCORE_SOFTMAX_PICKED;
    MD_TRY(read_i32(r, "expert_group_count", 0, hp->n_expert, 0, &ro->n_group));
    MD_TRY(read_i32(r, "expert_group_used_count", 0, hp->n_expert, 0, &ro->n_group_kept));
    if (ro->n_group > 1) {
        MD_FAIL_IF(hp->n_expert % ro->n_group || ro->n_group_kept < 1 || ro->n_group_kept > ro->n_group, MD_ERR_FORMAT,
                   "%d experts in %d groups with %d kept is not possible", hp->n_expert, ro->n_group, ro->n_group_kept);
        MD_FAIL_IF(hp->n_expert / ro->n_group * ro->n_group_kept < ro->top_k, MD_ERR_FORMAT,
                   "%d kept groups of %d experts cannot fill top-%d", ro->n_group_kept, hp->n_expert / ro->n_group,
                   ro->top_k);
        ro->group_score = ro->score == MD_SCORE_SIGMOID ? MD_GROUP_SUM2 : MD_GROUP_MAX;
    }
    return MD_OK;
}

static md_status read_vocab_size(const md_gguf *g, md_hparams *hp, md_error *err)
{
    const md_gguf_tensor *t = md_gguf_find_tensor(g, "token_embd.weight");
    MD_FAIL_IF(!t, MD_ERR_FORMAT, "tensor 'token_embd.weight' is missing: this is not a whole language model");
    MD_FAIL_IF(t->n_dims > 2 || t->dim[1] > 1 << 28, MD_ERR_FORMAT,
               "tensor 'token_embd.weight' has an impossible shape");
    hp->n_vocab = (int32_t)t->dim[1];
    return MD_OK;
}

md_status md_hparams_read(const md_gguf *g, const md_arch *arch, md_arena *arena, md_hparams *hp, md_error *err)
{
    const reader r = {.g = g, .prefix = arch->name, .err = err};
    *hp = (md_hparams){.norm_eps = 1e-5f, .embed_scale = 1, .residual_scale = 1, .logit_scale = 1, .value_scale = 1};
    MD_TRY(read_i32(&r, "block_count", 1, 4096, -1, &hp->n_layer));
    MD_TRY(read_i32(&r, "embedding_length", 1, 1 << 20, -1, &hp->n_embd));
    int32_t n_next;
    MD_TRY(read_i32(&r, "nextn_predict_layers", 0, hp->n_layer - 1, 0, &n_next));
    hp->n_layer -= n_next; /* blocks that predict further tokens come last and are left out */
    MD_TRY(read_i32(&r, "context_length", 1, 1 << 30, 4096, &hp->n_ctx));
    MD_TRY(read_vocab_size(g, hp, err));
    MD_TRY(read_attention(&r, arena, hp));
    MD_TRY(read_rope(&r, hp));
    MD_TRY(read_experts(&r, arch, hp));
    MD_TRY(md_hparams_read_layers(g, arch, arena, hp, err));
    if (arch->embed_sqrt)
        hp->embed_scale = sqrtf((float)hp->n_embd);
    if (arch->wide_scale_layers == hp->n_layer)
        hp->attn_scale = 1.0f / sqrtf((float)hp->n_embd / (float)hp->n_head[0]);
    if (arch->metadata_scales) {
        MD_TRY(read_f32(&r, "embedding_scale", &hp->embed_scale));
        MD_TRY(read_f32(&r, "residual_scale", &hp->residual_scale));
        MD_TRY(read_f32(&r, "logit_scale", &hp->logit_scale));
        MD_TRY(read_f32(&r, "attention.scale", &hp->attn_scale));
        MD_FAIL_IF(hp->logit_scale == 0.0f, MD_ERR_FORMAT, "'%s.logit_scale' is 0", arch->name);
    }
    return MD_OK;
}
