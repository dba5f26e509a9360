/* SPDX-License-Identifier: Apache-2.0 */
#include "model/hparams.h"

#include "base/status.h"
#include "model/packed.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *md_key_of(const md_key_reader *r, const char *suffix, char buf[static 128])
{
    snprintf(buf, 128, "%s.%s", r->prefix, suffix);
    return buf;
}

md_status md_key_i32(const md_key_reader *r, const char *suffix, int32_t min, int32_t max, int32_t fallback,
                     int32_t *out)
{
    md_error *err = r->err;
    char key[128];
    uint32_t v = 0;
    bool found;
    MD_TRY(md_gguf_u32(r->g, md_key_of(r, suffix, key), &v, &found, err));
    if (!found) {
        MD_FAIL_IF(fallback < 0, MD_ERR_FORMAT, "the metadata lacks '%s'", key);
        *out = fallback;
        return MD_OK;
    }
    MD_FAIL_IF(v < (uint32_t)min || v > (uint32_t)max, MD_ERR_FORMAT, "'%s' is %u, outside %d to %d", key, v, min, max);
    *out = (int32_t)v;
    return MD_OK;
}

md_status md_key_f32(const md_key_reader *r, const char *suffix, float *io)
{
    md_error *err = r->err;
    char key[128];
    float v = *io;
    MD_TRY(md_gguf_f32(r->g, md_key_of(r, suffix, key), &v, NULL, err));
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
    MD_FAIL_IF(md_str_eq(name, MD_PACKED_ARCH), MD_ERR_UNSUPPORTED,
               "this is a packed model, made for running only: give the file that it was packed from");
    *out = md_arch_find(name.s, name.n);
    MD_FAIL_IF(!*out, MD_ERR_UNSUPPORTED, "architecture '%.*s' is not one that this version knows",
               (int)(name.n < 64 ? name.n : 64), name.s);
    return MD_OK;
}

/* The context ends where what this version computes would stop being the model. */
static void limit_context(md_hparams *hp, int64_t n)
{
    const int32_t limit = n < INT32_MAX ? (int32_t)n : INT32_MAX;
    hp->ctx_limit = hp->ctx_limit > 0 && hp->ctx_limit < limit ? hp->ctx_limit : limit;
    hp->n_ctx = hp->n_ctx < limit ? hp->n_ctx : limit;
}

/* An indexer picks keys, or blocks of them: as long as there are no more than it picks, attention sees all. */
static md_status read_sparse(const md_key_reader *r, md_hparams *hp)
{
    int32_t top_k, block;
    MD_TRY(md_key_i32(r, "attention.indexer.top_k", 0, 1 << 30, 0, &top_k));
    MD_TRY(md_key_i32(r, "attention.indexer.block_size", 1, 1 << 20, 1, &block));
    if (top_k > 0)
        limit_context(hp, (int64_t)top_k * block);
    return MD_OK;
}

static md_status read_norm(const md_key_reader *r, const md_arch *arch, md_hparams *hp)
{
    float by_variance = -1.0f, by_square = -1.0f;
    MD_TRY(md_key_f32(r, "attention.layer_norm_epsilon", &by_variance));
    MD_TRY(md_key_f32(r, "attention.layer_norm_rms_epsilon", &by_square));
    const float own = arch->layer_norm ? by_variance : by_square, other = arch->layer_norm ? by_square : by_variance;
    hp->layer_norm = arch->layer_norm && !(arch->norm_by_eps && own < 0.0f && other >= 0.0f);
    hp->norm_eps = own >= 0.0f ? own : other >= 0.0f ? other : 1e-5f;
    return MD_OK;
}

static md_status read_attention(const md_key_reader *r, const md_arch *arch, md_hparams *hp)
{
    MD_TRY(md_key_i32(r, "attention.sliding_window", 0, 1 << 30, 0, &hp->window));
    MD_TRY(md_key_i32(r, "attention.chunk_size", 0, 1 << 30, arch->chunk, &hp->chunk));
    hp->temper = arch->temper;
    MD_TRY(md_key_f32(r, "attention.temperature_scale", &hp->temper));
    MD_TRY(md_key_i32(r, "attention.temperature_length", 0, 1 << 30, arch->temper_floor, &hp->temper_floor));
    if (arch->temper_ends && hp->temper_floor > 0)
        limit_context(hp, hp->temper_floor);
    MD_TRY(md_key_f32(r, "attention.value_scale", &hp->value_scale));
    MD_TRY(md_key_f32(r, "attention.clamp_kqv", &hp->clip));
    MD_TRY(md_key_f32(r, "attention.output_scale", &hp->attn_scale)); /* by this name it is the scores' */
    hp->attn_softcap = arch->attn_softcap;
    MD_TRY(md_key_f32(r, "attn_logit_softcapping", &hp->attn_softcap));
    MD_TRY(md_key_f32(r, "router_logit_softcapping", &hp->router_softcap));
    MD_TRY(md_key_f32(r, "final_logit_softcapping", &hp->logit_softcap));
    MD_TRY(read_sparse(r, hp));
    return read_norm(r, arch, hp);
}

/* Heads' own sizes; old files give those of all heads decompressed, newer ones give the cache's and keep these apart. */
static md_status read_latent(const md_key_reader *r, md_hparams *hp)
{
    md_error *err = r->err;
    md_latent_hparams *la = &hp->latent;
    MD_TRY(md_key_i32(r, "attention.kv_lora_rank", 1, 1 << 16, -1, &la->rank));
    MD_TRY(md_key_i32(r, "attention.q_lora_rank", 0, 1 << 16, 0, &la->q_rank));
    int32_t dim_k;
    MD_TRY(md_key_i32(r, "attention.key_length_mla", 1, 8192, hp->dim_k, &dim_k));
    MD_TRY(md_key_i32(r, "attention.value_length_mla", 1, 8192, hp->dim_v, &la->dim_v));
    hp->dim_k = dim_k;
    hp->dim_v = la->dim_v;
    for (int32_t l = 0; l < hp->n_layer; l++) {
        hp->layer[l].dim_k = hp->dim_k;
        hp->layer[l].dim_v = hp->dim_v;
    }
    MD_TRY(md_key_i32(r, "rope.dimension_count", 2, dim_k, dim_k, &hp->n_rot));
    la->dim_nope = dim_k - hp->n_rot;
    MD_FAIL_IF(la->dim_nope < 1, MD_ERR_FORMAT,
               "latent attention with heads of %d, all of them turned, is not possible", dim_k);
    return MD_OK;
}

static md_status read_recurrent(const md_key_reader *r, const md_arch *arch, md_hparams *hp)
{
    md_error *err = r->err;
    md_recurrent_hparams *re = &hp->recurrent;
    int32_t inner;
    if (arch->mixer_else == MD_MIXER_CONV) {
        MD_TRY(md_key_i32(r, "shortconv.l_cache", 2, MD_CONV_TAPS, -1, &re->kernel));
        re->n_conv = hp->n_embd;
        re->n_in = 3 * hp->n_embd;
        return MD_OK;
    }
    if (arch->mixer_else != MD_MIXER_DELTA && arch->mixer_else != MD_MIXER_MAMBA)
        return MD_OK;
    MD_TRY(md_key_i32(r, "ssm.conv_kernel", 2, MD_CONV_TAPS, -1, &re->kernel));
    MD_TRY(md_key_i32(r, "ssm.inner_size", 1, 1 << 20, -1, &inner));
    MD_TRY(md_key_i32(r, "ssm.state_size", 1, 8192, -1, &re->dim_k));
    MD_TRY(md_key_i32(r, "ssm.time_step_rank", 1, 4096, -1, &re->n_v_head));
    MD_TRY(md_key_i32(r, "ssm.group_count", 1, 4096, -1, &re->n_k_head));
    MD_FAIL_IF(inner % re->n_v_head || re->n_v_head % re->n_k_head, MD_ERR_FORMAT,
               "%d values in %d heads over %d key heads is not possible", inner, re->n_v_head, re->n_k_head);
    re->dim_v = inner / re->n_v_head;
    re->n_conv = 2 * re->n_k_head * re->dim_k + inner;
    re->n_in = re->n_conv + inner + (arch->mixer_else == MD_MIXER_MAMBA ? re->n_v_head : 0);
    return MD_OK;
}

static md_status read_rope_scaling(const md_key_reader *r, md_hparams *hp)
{
    md_error *err = r->err;
    MD_TRY(md_key_f32(r, "rope.scale_linear", &hp->rope_factor)); /* the old key, which means linear scaling */
    if (hp->rope_factor != 1.0f)
        hp->rope_scaling = MD_ROPE_LINEAR;
    MD_TRY(md_key_f32(r, "rope.scaling.factor", &hp->rope_factor));
    MD_TRY(md_key_f32(r, "rope.scaling.attn_factor", &hp->rope_attn_factor));
    MD_TRY(md_key_f32(r, "rope.scaling.yarn_ext_factor", &hp->yarn_ext_factor));
    MD_TRY(md_key_f32(r, "rope.scaling.yarn_beta_fast", &hp->yarn_beta_fast));
    MD_TRY(md_key_f32(r, "rope.scaling.yarn_beta_slow", &hp->yarn_beta_slow));
    MD_TRY(md_key_f32(r, "rope.scaling.yarn_log_multiplier", &hp->yarn_log));
    MD_TRY(md_key_f32(r, "rope.scaling.yarn_attn_factor", &hp->yarn_magnitude));
    MD_TRY(md_key_i32(r, "rope.scaling.original_context_length", 1, 1 << 30, hp->n_ctx, &hp->rope_ctx_orig));
    MD_FAIL_IF(!(hp->rope_factor > 0.0f), MD_ERR_FORMAT, "'%s.rope.scaling.factor' is not above 0", r->prefix);
    if (hp->temper_floor == 0)
        hp->temper_floor = hp->rope_ctx_orig;
    char key[128];
    md_str type = {0};
    bool found;
    MD_TRY(md_gguf_string(r->g, md_key_of(r, "rope.scaling.type", key), &type, &found, err));
    if (!found)
        return MD_OK;
    if (md_str_eq(type, "none"))
        hp->rope_scaling = MD_ROPE_NO_SCALING;
    else if (md_str_eq(type, "linear"))
        hp->rope_scaling = MD_ROPE_LINEAR;
    else if (md_str_eq(type, "yarn"))
        hp->rope_scaling = MD_ROPE_YARN;
    else if (md_str_eq(type, "longrope"))
        hp->rope_scaling = MD_ROPE_LONG;
    else
        return md_fail(err, MD_ERR_UNSUPPORTED, "rope scaling '%.*s' is not one that this version knows",
                       (int)(type.n < 64 ? type.n : 64), type.s);
    return MD_OK;
}

static md_status read_rope(const md_key_reader *r, const md_arch *arch, md_hparams *hp)
{
    md_error *err = r->err;
    if (!arch->latent)
        MD_TRY(md_key_i32(r, "rope.dimension_count", 2, 8192, hp->dim_k / 2 * 2, &hp->n_rot));
    MD_FAIL_IF(hp->n_rot % 2 || hp->n_rot > hp->dim_k, MD_ERR_FORMAT,
               "rope turns %d values of a head of %d; an even number of at most %d is possible", hp->n_rot, hp->dim_k,
               hp->dim_k);
    hp->no_rope = arch->no_rope;
    if (arch->rope_told) {
        char key[128];
        bool turned = true;
        MD_TRY(md_gguf_bool(r->g, md_key_of(r, "rope.scaling.finetuned", key), &turned, NULL, err));
        hp->no_rope |= !turned;
    }
    hp->rope_base = 10000.0f;
    MD_TRY(md_key_f32(r, "rope.freq_base", &hp->rope_base));
    MD_FAIL_IF(!(hp->rope_base > 0.0f), MD_ERR_FORMAT, "'%s.rope.freq_base' is not above 0", r->prefix);
    hp->rope_factor = hp->rope_attn_factor = hp->yarn_ext_factor = 1.0f;
    hp->yarn_beta_fast = 32.0f;
    hp->yarn_beta_slow = 1.0f;
    return read_rope_scaling(r, hp);
}

/* The width of all shared experts together, which are one FFN in the file. */
static md_status read_shared(const md_key_reader *r, const md_arch *arch, md_hparams *hp)
{
    int32_t n, width;
    MD_TRY(md_key_i32(r, "expert_shared_count", 0, 1024, 0, &n));
    MD_TRY(md_key_i32(r, "expert_shared_feed_forward_length", 0, 1 << 24, 0, &width));
    if (n == 0 && width == 0 && arch->shared_is_expert)
        n = 1;
    const int64_t all = width == 0                ? (int64_t)n * hp->expert_width
                        : arch->shared_per_expert ? (int64_t)n * width
                                                  : width;
    if (all > 1 << 24)
        return md_fail(r->err, MD_ERR_FORMAT, "%d shared experts of width %d are too many", n, width);
    hp->shared_width = (int32_t)all;
    return MD_OK;
}

static md_status read_experts(const md_key_reader *r, const md_arch *arch, md_arena *arena, md_hparams *hp)
{
    md_error *err = r->err;
    const bool dense = ((arch->need | arch->may) & MD_HAS(FFN_DOWN)) != 0;
    MD_TRY(md_key_i32(r, "expert_count", 0, 65536, dense ? 0 : -1, &hp->n_expert));
    MD_FAIL_IF(hp->n_expert == 0 && !dense, MD_ERR_FORMAT,
               "'%s.expert_count' is 0, and models of this family have experts", r->prefix);
    if (hp->n_expert == 0)
        return MD_OK;
    MD_FAIL_IF(!((arch->need | arch->may) & MD_HAS(ROUTER)), MD_ERR_FORMAT,
               "'%s.expert_count' is %d, and models of this family have no experts", r->prefix, hp->n_expert);
    hp->expert_embd = hp->n_embd;
    if (arch->may & MD_HAS(LATENT_DOWN))
        MD_TRY(md_key_i32(r, "moe_latent_size", 1, 1 << 20, hp->n_embd, &hp->expert_embd));
    MD_FAIL_IF(hp->n_expert_used < 1, MD_ERR_FORMAT, "the metadata lacks '%s.expert_used_count', or it is 0",
               r->prefix);
    MD_TRY(md_hparams_read_others(r, hp));
    const int32_t all = hp->n_expert + hp->routing.n_constant + hp->routing.n_copy + hp->routing.n_zero;
    MD_FAIL_IF(hp->n_expert_used > all, MD_ERR_FORMAT, "%d experts are used of %d", hp->n_expert_used, all);
    MD_TRY(md_key_i32(r, "leading_dense_block_count", 0, hp->n_layer, 0, &hp->n_dense_first));
    MD_TRY(read_shared(r, arch, hp));
    md_router *ro = &hp->router;
    *ro = (md_router){.score = hp->n_vocab == arch->sigmoid_vocab ? MD_SCORE_SIGMOID : arch->score,
                      .n_expert = all,
                      .top_k = hp->n_expert_used,
                      .normalise = arch->normalise,
                      .select = arch->select,
                      .scale = 1.0f};
    MD_TRY(md_key_f32(r, "expert_weights_scale", &ro->scale));
    if (ro->scale == 0.0f) /* some files store 0 for "none" */
        ro->scale = 1.0f;
    char key[128];
    MD_TRY(md_gguf_bool(r->g, md_key_of(r, "expert_weights_norm", key), &ro->normalise, NULL, err));
    int32_t gating;
    MD_TRY(md_key_i32(r, "expert_gating_func", 0, 5, 0, &gating));
    static const md_score by_number[] = {[1] = MD_SCORE_SOFTMAX,
                                         [2] = MD_SCORE_SIGMOID,
                                         [3] = MD_SCORE_SOFTMAX_PICKED,
                                         [4] = MD_SCORE_SQRT_SOFTPLUS,
                                         [5] = MD_SCORE_SPARSE_MIXER};
    if (gating > 0)
        ro->score = by_number[gating];
    MD_TRY(md_key_i32(r, "expert_group_count", 0, all, 0, &ro->n_group));
    MD_TRY(md_key_i32(r, "expert_group_used_count", 0, all, 0, &ro->n_group_kept));
    if (ro->n_group > 1) {
        MD_FAIL_IF(all % ro->n_group || ro->n_group_kept < 1 || ro->n_group_kept > ro->n_group, MD_ERR_FORMAT,
                   "%d experts in %d groups with %d kept is not possible", all, ro->n_group, ro->n_group_kept);
        MD_FAIL_IF(all / ro->n_group * ro->n_group_kept < ro->top_k, MD_ERR_FORMAT,
                   "%d kept groups of %d experts cannot fill top-%d", ro->n_group_kept, all / ro->n_group, ro->top_k);
        ro->group_score = ro->score == MD_SCORE_SIGMOID ? MD_GROUP_SUM2 : MD_GROUP_MAX;
    }
    return md_hparams_read_router(r, arena, hp);
}

/* The name in front of the file's keys: the family's, or its other spelling. */
static const char *prefix_of(const md_gguf *g, const md_arch *arch)
{
    md_str name = {0};
    md_error ignored;
    if (arch->also && md_gguf_string(g, "general.architecture", &name, NULL, &ignored) == MD_OK &&
        md_str_eq(name, arch->also))
        return arch->also;
    return arch->name;
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
    const md_key_reader r = {.g = g, .prefix = prefix_of(g, arch), .err = err};
    *hp = (md_hparams){.norm_eps = 1e-5f,
                       .embed_scale = 1,
                       .residual_scale = 1,
                       .logit_scale = 1,
                       .value_scale = 1,
                       .attn_scale = arch->attn_scale};
    MD_TRY(md_key_i32(&r, "block_count", 1, 4096, -1, &hp->n_layer));
    MD_TRY(md_key_i32(&r, "embedding_length", 1, 1 << 20, -1, &hp->n_embd));
    int32_t n_next;
    MD_TRY(md_key_i32(&r, "nextn_predict_layers", 0, hp->n_layer - 1, 0, &n_next));
    hp->n_layer -= n_next; /* blocks that predict further tokens come last and are left out */
    MD_TRY(md_key_i32(&r, "context_length", 1, 1 << 30, 4096, &hp->n_ctx));
    MD_TRY(md_key_i32(&r, "embedding_length_per_layer_input", 0, 1 << 16, 0, &hp->token_layer));
    MD_TRY(read_vocab_size(g, hp, err));
    hp->layer = md_arena_alloc(arena, (size_t)hp->n_layer, sizeof *hp->layer);
    if (!hp->layer)
        return md_fail_memory(err, "the model's description");
    MD_TRY(read_recurrent(&r, arch, hp));
    MD_TRY(read_attention(&r, arch, hp));
    MD_TRY(md_hparams_read_layers(g, arch, r.prefix, hp, err));
    if (arch->latent)
        MD_TRY(read_latent(&r, hp));
    MD_TRY(read_rope(&r, arch, hp));
    MD_TRY(read_experts(&r, arch, arena, hp));
    MD_TRY(md_hparams_read_recursion(&r, arena, hp));
    hp->causal = !arch->encoder;
    char key[128];
    MD_TRY(md_gguf_bool(g, md_key_of(&r, "attention.causal", key), &hp->causal, NULL, err));
    int32_t pooling;
    MD_TRY(md_key_i32(&r, "pooling_type", MD_POOLING_NONE, MD_POOLING_RANK,
                      hp->causal ? MD_POOLING_LAST : MD_POOLING_MEAN, &pooling));
    hp->pooling = (md_pooling)pooling;
    MD_TRY(md_hparams_read_settings(g, arch, r.prefix, hp, err));
    if (arch->embed_sqrt)
        hp->embed_scale = sqrtf((float)hp->n_embd);
    if (arch->wide_scale_layers == hp->n_layer)
        hp->attn_scale = 1.0f / sqrtf((float)hp->n_embd / (float)hp->layer[0].n_head);
    if (arch->embed_scale != 0.0f)
        hp->embed_scale = arch->embed_scale;
    if (arch->logit_scale != 0.0f)
        hp->logit_scale = arch->logit_scale;
    if (!arch->metadata_scales)
        return MD_OK;
    MD_TRY(md_key_f32(&r, "embedding_scale", &hp->embed_scale));
    MD_TRY(md_key_f32(&r, "residual_scale", &hp->residual_scale));
    MD_TRY(md_key_f32(&r, "logit_scale", &hp->logit_scale));
    MD_TRY(md_key_f32(&r, "attention.scale", &hp->attn_scale));
    MD_FAIL_IF(hp->logit_scale == 0.0f, MD_ERR_FORMAT, "'%s.logit_scale' is 0", r.prefix);
    if (!arch->logit_multiplies)
        hp->logit_scale = 1.0f / hp->logit_scale;
    return MD_OK;
}
