/* SPDX-License-Identifier: Apache-2.0
 *
 * The maker of test models. Two tables say everything: the families with their features, and the tensors and keys with
 * the features that they need. Sizes are letters, the same as where models bind their tensors:
 *
 *   D model width, N vocabulary, q all heads' queries, k all heads' keys (and values), a one head, H heads, h heads of
 *   keys, F dense FFN width, E experts, U experts used, X expert width, Y twice that, S shared width, R half a head,
 *   L layers, C context, O context before its extension, W window, 1 one; e all experts, g what a router carries on, Q
 *   three times that, d what the router reads, y constant experts, I rounds, 2 two; latent attention's: l rank of keys and
 *   values, r rotated part of a head, m both, z a head of queries, Z all of them, P dense layers, p shared experts */
#include "shape/synth_spec.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/status.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof *(table))

/* ---- tensors ---- */

/* How values are drawn; see law_of. */
enum law { MATRIX, BRANCH, ATTENTION, LOGITS, EMBEDDING, ROUTER, NORM, BIAS, SINK, FACTOR, THRESHOLD };

typedef struct tensor_row {
    const char *name; /* %d: the layer, then the expert */
    const char *dims; /* letters, innermost first */
    enum type_class cls;
    enum law law;
    unsigned need, not ; /* features that must be there, or must not */
} tensor_row;

// clang-format off
static const tensor_row model_tensors[] = {
    {"token_embd.weight", "DN", EMBD, EMBEDDING, 0, 0},
    {"position_embd.weight", "DC", PLAIN, EMBEDDING, ENCODER, 0},
    {"token_types.weight", "D2", PLAIN, EMBEDDING, ENCODER, 0},
    {"token_embd_norm.weight", "D", PLAIN, NORM, ENCODER, 0},
    {"token_embd_norm.bias", "D", PLAIN, BIAS, ENCODER, 0},
    {"output_norm.weight", "D", PLAIN, NORM, 0, ENCODER},
    {"output.weight", "DN", OUT, LOGITS, 0, TIED | ENCODER},
    {"rope_freqs.weight", "R", PLAIN, FACTOR, FACTORS, 0},
    {"ffn_gate_gru_in.weight",    "gQ", PLAIN, MATRIX, MD_SYNTH_CARRIED, 0},
    {"ffn_gate_gru_in.bias",      "Q",  PLAIN, BIAS,   MD_SYNTH_CARRIED, 0},
    {"ffn_gate_gru_state.weight", "gQ", PLAIN, MATRIX, MD_SYNTH_CARRIED, 0},
    {"ffn_gate_gru_state.bias",   "Q",  PLAIN, BIAS,   MD_SYNTH_CARRIED, 0},
    {"recursion_gate.0.weight", "D", PLAIN, ROUTER, MD_SYNTH_RECURSION, 0},
    {"recursion_gate.1.weight", "D", PLAIN, ROUTER, MD_SYNTH_RECURSION, 0},
    {"recursion_gate.2.weight", "D", PLAIN, ROUTER, MD_SYNTH_RECURSION, 0},
};

static const tensor_row layer_tensors[] = {
    {"blk.%d.attn_norm.weight",           "D",   PLAIN, NORM,      0,                  ENCODER},
    {"blk.%d.ffn_norm.weight",            "D",   PLAIN, NORM,      0,                  POST_NORM | ENCODER},
    {"blk.%d.attn_output_norm.weight",    "D",   PLAIN, NORM,      ENCODER,            0},
    {"blk.%d.attn_output_norm.bias",      "D",   PLAIN, BIAS,      ENCODER,            0},
    {"blk.%d.layer_output_norm.weight",   "D",   PLAIN, NORM,      ENCODER,            0},
    {"blk.%d.layer_output_norm.bias",     "D",   PLAIN, BIAS,      ENCODER,            0},
    {"blk.%d.post_attention_norm.weight", "D",   PLAIN, NORM,      POST_NORM,          0},
    {"blk.%d.attn_q.weight",              "Dq",  ATTN,  ATTENTION, 0,                  LATENT},
    {"blk.%d.attn_q.weight",              "DZ",  ATTN,  ATTENTION, LATENT,             0},
    {"blk.%d.attn_kv_a_mqa.weight",       "Dm",  ATTN,  MATRIX,    LATENT,             0},
    {"blk.%d.attn_kv_a_norm.weight",      "l",   PLAIN, NORM,      LATENT,             0},
    {"blk.%d.attn_k_b.weight",            "alH", ATTN,  MATRIX,    LATENT,             0},
    {"blk.%d.attn_v_b.weight",            "laH", ATTN,  MATRIX,    LATENT,             0},
    {"blk.%d.attn_q.bias",                "q",   PLAIN, BIAS,      QKV_BIAS,           0},
    {"blk.%d.attn_k.weight",              "Dk",  ATTN,  ATTENTION, 0,                  LATENT},
    {"blk.%d.attn_k.bias",                "k",   PLAIN, BIAS,      QKV_BIAS,           0},
    {"blk.%d.attn_v.weight",              "Dk",  ATTN,  ATTENTION, 0,                  LATENT},
    {"blk.%d.attn_v.bias",                "k",   PLAIN, BIAS,      QKV_BIAS,           0},
    {"blk.%d.attn_output.weight",         "qD",  ATTN,  BRANCH,    0,                  0},
    {"blk.%d.attn_output.bias",           "D",   PLAIN, BIAS,      OUT_BIAS,           0},
    {"blk.%d.attn_q_norm.weight",         "a",   PLAIN, NORM,      HEAD_NORM,          0},
    {"blk.%d.attn_k_norm.weight",         "a",   PLAIN, NORM,      HEAD_NORM,          0},
    {"blk.%d.attn_q_norm.weight",         "q",   PLAIN, NORM,      FULL_NORM,          0},
    {"blk.%d.attn_k_norm.weight",         "k",   PLAIN, NORM,      FULL_NORM,          0},
    {"blk.%d.attn_sinks.weight",          "H",   PLAIN, SINK,      SINKS,              0},
    {"blk.%d.ffn_gate.weight",            "DF",  FFN,   MATRIX,    0,                  MOE | ENCODER},
    {"blk.%d.ffn_up.weight",              "DF",  FFN,   MATRIX,    0,                  MOE},
    {"blk.%d.ffn_up.bias",                "F",   PLAIN, BIAS,      ENCODER,            0},
    {"blk.%d.ffn_down.weight",            "FD",  FFN,   BRANCH,    0,                  MOE},
    {"blk.%d.ffn_down.bias",              "D",   PLAIN, BIAS,      ENCODER,            0},
    {"blk.%d.ffn_gate_inp.weight",        "de",  PLAIN, ROUTER,    MOE,                MD_SYNTH_ROUNDS},
    {"blk.%d.ffn_gate_inp.weight",        "DeI", PLAIN, ROUTER,    MD_SYNTH_ROUNDS,    0},
    {"blk.%d.ffn_gate_proj.weight",       "Dg",  PLAIN, MATRIX,    MD_SYNTH_CARRIED,   0},
    {"blk.%d.ffn_gate_res.weight",        "ee",  PLAIN, MATRIX,    MD_SYNTH_RESIDUAL,  0},
    {"blk.%d.ffn_exp_threshold.weight",   "e",   PLAIN, THRESHOLD, MD_SYNTH_THRESHOLDS, 0},
    {"blk.%d.ffn_exp_scale.weight",       "e",   PLAIN, NORM,      MD_SYNTH_EXPERT_SCALE, 0},
    {"blk.%d.ffn_const.weight",           "Dy",  PLAIN, SINK,      MD_SYNTH_CONSTANT,  0},
    {"blk.%d.ffn_const_inp.weight",       "D2y", PLAIN, MATRIX,    MD_SYNTH_CONSTANT,  0},
    {"blk.%d.ffn_gate_inp.bias",          "E",   PLAIN, BIAS,      EXPERT_BIAS,        0},
    {"blk.%d.ffn_gate_exps.weight",       "DXE", FFN,   MATRIX,    MOE,                FUSED | LEGACY},
    {"blk.%d.ffn_up_exps.weight",         "DXE", FFN,   MATRIX,    MOE,                FUSED | LEGACY},
    {"blk.%d.ffn_gate_up_exps.weight",    "DYE", FFN,   MATRIX,    MOE | FUSED,        0},
    {"blk.%d.ffn_down_exps.weight",       "XDE", FFN,   BRANCH,    MOE,                LEGACY},
    {"blk.%d.ffn_gate_exps.bias",         "XE",  PLAIN, BIAS,      EXPERT_BIAS,        0},
    {"blk.%d.ffn_up_exps.bias",           "XE",  PLAIN, BIAS,      EXPERT_BIAS,        0},
    {"blk.%d.ffn_down_exps.bias",         "DE",  PLAIN, BIAS,      EXPERT_BIAS,        0},
    {"blk.%d.ffn_gate_shexp.weight",      "DS",  FFN,   MATRIX,    SHARED,             0},
    {"blk.%d.ffn_up_shexp.weight",        "DS",  FFN,   MATRIX,    SHARED,             0},
    {"blk.%d.ffn_down_shexp.weight",      "SD",  FFN,   BRANCH,    SHARED,             0},
    {"blk.%d.ffn_gate_inp_shexp.weight",  "D",   PLAIN, ROUTER,    SHARED_GATE,        0},
};

/* One for each expert. */
static const tensor_row expert_tensors[] = {
    {"blk.%d.ffn_gate.%d.weight", "DX", FFN, MATRIX, MOE | LEGACY, 0},
    {"blk.%d.ffn_up.%d.weight",   "DX", FFN, MATRIX, MOE | LEGACY, 0},
    {"blk.%d.ffn_down.%d.weight", "XD", FFN, BRANCH, MOE | LEGACY, 0},
};

/* ---- keys ---- */

static const struct {
    const char *suffix; /* behind "ARCH." */
    char size;
    unsigned need, not;
} size_keys[] = {
    {"block_count",                          'L', 0,            0},
    {"context_length",                       'C', 0,            0},
    {"embedding_length",                     'D', 0,            0},
    {"attention.head_count",                 'H', 0,            0},
    {"attention.head_count_kv",              'h', 0,            0},
    {"vocab_size",                           'N', 0,            0},
    {"rope.dimension_count",                 'a', 0,            ENCODER | LATENT},
    {"rope.dimension_count",                 'r', LATENT,       0},
    {"pooling_type",                         '1', ENCODER,      0},
    {"attention.key_length",                 'a', 0,            LATENT},
    {"attention.value_length",               'a', 0,            LATENT},
    {"attention.key_length",                 'm', LATENT,       0},
    {"attention.value_length",               'l', LATENT,       0},
    {"attention.key_length_mla",             'z', LATENT,       0},
    {"attention.value_length_mla",           'a', LATENT,       0},
    {"attention.kv_lora_rank",               'l', LATENT,       0},
    {"attention.q_lora_rank",                '0', LATENT,       0},
    {"leading_dense_block_count",            'P', LATENT,       0},
    {"expert_shared_count",                  'p', LATENT,       0},
    {"expert_gating_func",                   '1', LATENT,       0},
    {"expert_count",                         'E', MOE,          0},
    {"expert_used_count",                    'U', MOE,          0},
    {"expert_feed_forward_length",           'X', EXPERT_FF,    0},
    {"expert_shared_feed_forward_length",    'S', SHARED,       LATENT},
    {"attention.sliding_window",             'W', WINDOW,       0},
    {"rope.scaling.original_context_length", 'O', YARN,         0},
};

static const struct {
    const char *suffix;
    float value;
    unsigned need;
} value_keys[] = {
    {"logit_scale",         1.5f,        MULTIPLIERS},
    {"residual_scale",      0.5f,        MULTIPLIERS},
    {"embedding_scale",     3.0f,        MULTIPLIERS},
    {"attention.scale",     0.3f,        MULTIPLIERS},
    {"expert_weights_scale", 1.0f,       LATENT},
    {"rope.scaling.factor", YARN_FACTOR, YARN},
};
// clang-format on

/* ---- the plan of tensors ---- */

static bool applies(unsigned features, unsigned need, unsigned not )
{
    return (features & need) == need && (features & not ) == 0;
}

/* Sizes of the random numbers: matrices keep the size of what passes through them, norms are near one, and logits and
 * router scores are a few units apart, so that choices are clear. Where only speed matters norms are one, and what a
 * layer adds is small beside the embedding (as in GPT-2's initialization): with many layers of random weights, all tokens
 * would come to look alike and choose the same experts. */
static void law_of(const md_synth *s, enum law law, md_synth_tensor *t)
{
    const float unit = 1.0f / sqrtf((float)t->dim[0]);
    t->law = law == NORM || law == FACTOR || law == THRESHOLD ? MD_SYNTH_UNIFORM : MD_SYNTH_NORMAL;
    t->center = law == NORM ? 1.0f : law == FACTOR ? 4.5f : law == THRESHOLD ? 0.15f : 0.0f;
    t->router = law == ROUTER && t->n_dims == 2;
    switch (law) {
    case MATRIX: t->spread = unit; break;
    case BRANCH: t->spread = s->spec.like ? unit / sqrtf(2.0f * (float)s->spec.n_layer) : unit; break;
    case ATTENTION: t->spread = 1.5f * unit; break;
    case LOGITS:
    case ROUTER: t->spread = 3.0f * unit; break;
    case EMBEDDING: t->spread = s->features & TIED ? 3.0f * unit : s->spec.like ? 1.0f : 0.5f; break;
    case NORM: t->spread = s->spec.like ? 0.0f : 0.3f; break;
    case BIAS: t->spread = 0.2f; break;
    case SINK: t->spread = 1.0f; break;
    case FACTOR: t->spread = 3.5f; break;
    case THRESHOLD: t->spread = 0.05f; break;
    }
}

static md_status push(md_synth *s, const md_synth_tensor *t, md_error *err)
{
    if (s->n_tensors == s->cap) {
        const size_t cap = s->cap ? 2 * s->cap : 64;
        md_synth_tensor *grown = md_realloc(s->tensor, cap, sizeof *grown);
        if (!grown)
            return md_fail_memory(err, "the tensor table");
        s->tensor = grown;
        s->cap = cap;
    }
    s->tensor[s->n_tensors++] = *t;
    return MD_OK;
}

/* NVFP4 keeps a factor beside each matrix, "NAME.scale" for "NAME.weight". */
static md_status plan_scale(md_synth *s, const md_synth_tensor *of, md_error *err)
{
    md_synth_tensor t = {.type = MD_TYPE_F32,
                         .n_dims = 1,
                         .dim = {of->n_dims == 3 ? of->dim[2] : 1},
                         .law = MD_SYNTH_UNIFORM,
                         .center = 1.0f / 64.0f,
                         .spread = 0.5f / 64.0f};
    const int stem = (int)(strlen(of->name) - strlen("weight"));
    snprintf(t.name, sizeof t.name, "%.*sscale", stem, of->name);
    return push(s, &t, err);
}

static md_status plan_tensor(md_synth *s, const tensor_row *row, int layer, int expert, md_error *err)
{
    const unsigned features = layer < s->spec.n_dense ? s->features & ~(unsigned)(MOE | SHARED) : s->features;
    if (!applies(features, row->need, row->not ))
        return MD_OK;
    s->expert = expert;
    md_synth_tensor t = {
        .type = s->type[row->cls], .n_dims = (int)strlen(row->dims), .codes = s->spec.type && row->cls != PLAIN};
    snprintf(t.name, sizeof t.name, row->name, layer, expert);
    for (int i = 0; i < t.n_dims; i++)
        t.dim[i] = md_synth_size(s, row->dims[i]);
    if (s->spec.type)
        t.type = md_synth_fitting_type(t.type, t.dim[0]);
    law_of(s, row->law, &t);
    MD_TRY(push(s, &t, err));
    return t.type == MD_TYPE_NVFP4 ? plan_scale(s, &t, err) : MD_OK;
}

static md_status plan_tensors(md_synth *s, md_error *err)
{
    for (size_t i = 0; i < COUNT(model_tensors); i++)
        MD_TRY(plan_tensor(s, &model_tensors[i], s->spec.n_dense, 0, err));
    for (int layer = 0; layer < s->spec.n_layer; layer++) {
        for (size_t i = 0; i < COUNT(layer_tensors); i++)
            MD_TRY(plan_tensor(s, &layer_tensors[i], layer, 0, err));
        for (size_t i = 0; i < COUNT(expert_tensors); i++)
            for (int e = 0; e < s->spec.n_expert; e++)
                MD_TRY(plan_tensor(s, &expert_tensors[i], layer, e, err));
    }
    s->expert = 0;
    return MD_OK;
}

/* ---- writing ---- */

static const char *key_of(const md_synth *s, const char *suffix, char key[96])
{
    snprintf(key, 96, "%s.%s", s->family->arch, suffix);
    return key;
}

static md_status write_router_keys(const md_synth *s, md_gguf_writer *w, md_error *err)
{
    if (!s->router)
        return MD_OK;
    int *width = md_calloc((size_t)s->spec.n_expert, sizeof *width);
    if (!width)
        return md_fail_memory(err, "the widths of experts");
    for (int e = 0; e < s->spec.n_expert; e++)
        width[e] = md_synth_width(s, e);
    const md_status status = md_synth_router_keys(s->router, s->family->arch, width, s->spec.n_expert,
                                                  (int)md_synth_size(s, 'g'), w, err);
    md_free(width);
    return status;
}

static md_status write_name(const md_synth *s, md_gguf_writer *w, md_error *err)
{
    char name[160], skew[32] = "";
    const md_synth_spec *p = &s->spec;
    if (p->skew > 0.0f)
        snprintf(skew, sizeof skew, ", skew %g", (double)p->skew);
    if (p->like)
        snprintf(name, sizeof name, "random %s, %d layers, %s%s, seed %llu", p->like, p->n_layer, p->type, skew,
                 (unsigned long long)p->seed);
    else
        snprintf(name, sizeof name, "random %s%s, seed %llu", s->family->arch, skew, (unsigned long long)p->seed);
    return md_gguf_set_string(w, "general.name", name, err);
}

static md_status write_keys(const md_synth *s, md_gguf_writer *w, md_error *err)
{
    char key[96];
    MD_TRY(md_gguf_set_string(w, "general.architecture", s->family->arch, err));
    MD_TRY(md_gguf_set_string(w, "general.type", "model", err));
    MD_TRY(write_name(s, w, err));
    const char ff = s->features & FF_IS_EXPERT && s->features & MOE ? 'X' : 'F';
    MD_TRY(md_gguf_set_u32(w, key_of(s, "feed_forward_length", key), (uint32_t)md_synth_size(s, ff), err));
    for (size_t i = 0; i < COUNT(size_keys); i++)
        if (applies(s->features, size_keys[i].need, size_keys[i].not ))
            MD_TRY(md_gguf_set_u32(w, key_of(s, size_keys[i].suffix, key),
                                   (uint32_t)md_synth_size(s, size_keys[i].size), err));
    if (s->features & ENCODER) {
        MD_TRY(md_gguf_set_f32(w, key_of(s, "attention.layer_norm_epsilon", key), s->family->norm_eps, err));
        MD_TRY(md_gguf_set_bool(w, key_of(s, "attention.causal", key), false, err));
    } else {
        MD_TRY(md_gguf_set_f32(w, key_of(s, "attention.layer_norm_rms_epsilon", key), s->family->norm_eps, err));
        MD_TRY(md_gguf_set_f32(w, key_of(s, "rope.freq_base", key), s->family->rope_base, err));
    }
    for (size_t i = 0; i < COUNT(value_keys); i++)
        if (applies(s->features, value_keys[i].need, 0))
            MD_TRY(md_gguf_set_f32(w, key_of(s, value_keys[i].suffix, key), value_keys[i].value, err));
    MD_TRY(write_router_keys(s, w, err));
    if (s->features & YARN)
        MD_TRY(md_gguf_set_string(w, key_of(s, "rope.scaling.type", key), "yarn", err));
    return md_synth_tokenizer(s->spec.n_vocab, w, err);
}

static md_status write_tensors(const md_synth *s, md_synth_sink *k, md_error *err)
{
    float *factor = NULL;
    md_status status = MD_OK;
    if (s->spec.skew > 0.0f) {
        factor = md_calloc((size_t)md_synth_size(s, 'e'), sizeof *factor);
        if (!factor)
            return md_fail_memory(err, "the popularity of experts");
    }
    for (size_t i = 0; i < s->n_tensors && status == MD_OK; i++) {
        const md_synth_tensor *t = &s->tensor[i];
        const bool skewed = factor && t->router;
        if (skewed)
            status = md_synth_skew(&s->spec, md_rand_stream(t->name), factor, err);
        if (status == MD_OK)
            status = md_synth_fill(s->spec.seed, t, skewed ? factor : NULL, k, err);
    }
    md_free(factor);
    return status;
}

static md_status write_header(const md_synth *s, md_gguf_writer *w, md_error *err)
{
    MD_TRY(write_keys(s, w, err));
    for (size_t i = 0; i < s->n_tensors; i++) {
        const md_synth_tensor *t = &s->tensor[i];
        MD_TRY(md_gguf_add_tensor(w, t->name, t->type, t->n_dims, t->dim, err));
    }
    return md_gguf_begin(w, err);
}

static md_status write_model(const md_synth *s, md_synth_sink *k, md_error *err)
{
    MD_TRY(write_header(s, k->writer, err));
    k->total = md_gguf_writer_bytes(k->writer);
    MD_TRY(write_tensors(s, k, err));
    return md_gguf_commit(k->writer, err);
}

md_status md_synth_write(const md_synth_spec *spec, const char *path, md_error *err)
{
    md_synth s;
    MD_TRY(md_synth_begin(&s, spec, err));
    md_synth_sink k = {.progress = spec->progress, .progress_user = spec->progress_user};
    md_status status = plan_tensors(&s, err);
    if (status == MD_OK)
        status = md_pool_new(spec->n_threads > 0 ? spec->n_threads : 1, &k.pool, err);
    if (status == MD_OK)
        status = md_gguf_writer_new(path, &k.writer, err);
    if (status == MD_OK)
        status = write_model(&s, &k, err);
    md_gguf_writer_close(k.writer);
    md_synth_sink_done(&k);
    md_pool_free(k.pool);
    md_free(s.tensor);
    return status;
}

md_status md_synth_write_header(const md_synth_spec *spec, const char *path, md_error *err)
{
    md_synth s;
    md_gguf_writer *w = NULL;
    MD_TRY(md_synth_begin(&s, spec, err));
    md_status status = plan_tensors(&s, err);
    if (status == MD_OK)
        status = md_gguf_writer_new(path, &w, err);
    if (status == MD_OK)
        status = write_header(&s, w, err);
    if (status == MD_OK)
        status = md_gguf_commit_header(w, err);
    md_gguf_writer_close(w);
    md_free(s.tensor);
    return status;
}
