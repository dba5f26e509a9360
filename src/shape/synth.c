/* SPDX-License-Identifier: Apache-2.0
 *
 * The maker of test models. Two tables say everything: the families with their features, and the tensors and keys with
 * the features that they need. Sizes are letters, the same as where models bind their tensors:
 *
 *   D model width, N vocabulary, q all heads' queries, k all heads' keys (and values), a one head, H heads, h heads of
 *   keys, F dense FFN width, E experts, U experts used, X expert width, Y twice that, S shared width, R half a head,
 *   L layers, C context, O context before its extension, W window, 1 one; e all experts, g what a router carries on, Q
 *   three times that, d what the router reads, y constant experts, I rounds, 2 two */
#include "shape/synth.h"
#include "base/mem.h"
#include "base/status.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof *(table))

/* ---- families ---- */

enum feature {
    MOE = 1 << 0,         /* experts in place of a dense FFN */
    SHARED = 1 << 1,      /* a shared expert */
    SHARED_GATE = 1 << 2, /* scaled by a gate of its own */
    QKV_BIAS = 1 << 3,
    OUT_BIAS = 1 << 4,    /* on the attention output */
    EXPERT_BIAS = 1 << 5, /* on router and experts */
    HEAD_NORM = 1 << 6,   /* q and k normed head by head */
    FULL_NORM = 1 << 7,   /* q and k normed over all heads */
    SINKS = 1 << 8,
    POST_NORM = 1 << 9,     /* the second norm is called post_attention_norm */
    FF_IS_EXPERT = 1 << 10, /* feed_forward_length is the width of an expert */
    EXPERT_FF = 1 << 11,    /* expert_feed_forward_length is there */
    MULTIPLIERS = 1 << 12,  /* Granite's */
    WINDOW = 1 << 13,
    YARN = 1 << 14,
    /* asked for by the spec, in families that may */
    LEGACY = 1 << 15,
    FUSED = 1 << 16,
    FACTORS = 1 << 17,
    TIED = 1 << 18,
    ROUTER_BY_NAME = 1 << 19,
    ENCODER = 1 << 20, /* BERT's: learned positions, norms after the residuals, biases, no gate and no output matrix */
    /* what the named router asks for is at the top (synth.h) */
};

typedef struct family {
    const char *arch;
    unsigned has, may;
    float rope_base, norm_eps;
} family;

// clang-format off
static const family families[] = {
    {"llama", FF_IS_EXPERT, MOE | LEGACY | FUSED | FACTORS, 500000.0f, 1e-5f},
    {"qwen2", QKV_BIAS, 0, 1000000.0f, 1e-6f},
    {"qwen2moe", QKV_BIAS | MOE | EXPERT_FF | SHARED | SHARED_GATE, FUSED, 1000000.0f, 1e-6f},
    {"qwen3", HEAD_NORM, 0, 1000000.0f, 1e-6f},
    {"qwen3moe", HEAD_NORM | MOE | EXPERT_FF, FUSED, 1000000.0f, 1e-6f},
    {"olmoe", FULL_NORM | MOE | FF_IS_EXPERT, FUSED, 10000.0f, 1e-5f},
    {"granite", MULTIPLIERS, 0, 10000.0f, 1e-5f},
    {"granitemoe", MULTIPLIERS | MOE | FF_IS_EXPERT, SHARED | FUSED, 10000.0f, 1e-5f},
    {"smollm3", 0, 0, 5000000.0f, 1e-6f},
    {"gpt-oss",
     QKV_BIAS | OUT_BIAS | MOE | EXPERT_BIAS | SINKS | POST_NORM | FF_IS_EXPERT | EXPERT_FF | WINDOW | YARN, 0,
     150000.0f, 1e-5f},
    {"bert", ENCODER | QKV_BIAS | OUT_BIAS, 0, 10000.0f, 1e-12f},
    {"medley-moe", HEAD_NORM | MOE | EXPERT_FF, SHARED | FUSED | LEGACY | ROUTER_BY_NAME, 10000.0f, 1e-6f},
};
// clang-format on

/* ---- tensors ---- */

enum type_class { ATTN, FFN, EMBD, OUT, PLAIN, N_CLASSES }; /* PLAIN: F32 always */

/* How values are drawn; see law_of. */
enum law { MATRIX, ATTENTION, LOGITS, EMBEDDING, ROUTER, NORM, BIAS, SINK, FACTOR, THRESHOLD };

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
    {"blk.%d.attn_q.weight",              "Dq",  ATTN,  ATTENTION, 0,                  0},
    {"blk.%d.attn_q.bias",                "q",   PLAIN, BIAS,      QKV_BIAS,           0},
    {"blk.%d.attn_k.weight",              "Dk",  ATTN,  ATTENTION, 0,                  0},
    {"blk.%d.attn_k.bias",                "k",   PLAIN, BIAS,      QKV_BIAS,           0},
    {"blk.%d.attn_v.weight",              "Dk",  ATTN,  ATTENTION, 0,                  0},
    {"blk.%d.attn_v.bias",                "k",   PLAIN, BIAS,      QKV_BIAS,           0},
    {"blk.%d.attn_output.weight",         "qD",  ATTN,  MATRIX,    0,                  0},
    {"blk.%d.attn_output.bias",           "D",   PLAIN, BIAS,      OUT_BIAS,           0},
    {"blk.%d.attn_q_norm.weight",         "a",   PLAIN, NORM,      HEAD_NORM,          0},
    {"blk.%d.attn_k_norm.weight",         "a",   PLAIN, NORM,      HEAD_NORM,          0},
    {"blk.%d.attn_q_norm.weight",         "q",   PLAIN, NORM,      FULL_NORM,          0},
    {"blk.%d.attn_k_norm.weight",         "k",   PLAIN, NORM,      FULL_NORM,          0},
    {"blk.%d.attn_sinks.weight",          "H",   PLAIN, SINK,      SINKS,              0},
    {"blk.%d.ffn_gate.weight",            "DF",  FFN,   MATRIX,    0,                  MOE | ENCODER},
    {"blk.%d.ffn_up.weight",              "DF",  FFN,   MATRIX,    0,                  MOE},
    {"blk.%d.ffn_up.bias",                "F",   PLAIN, BIAS,      ENCODER,            0},
    {"blk.%d.ffn_down.weight",            "FD",  FFN,   MATRIX,    0,                  MOE},
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
    {"blk.%d.ffn_down_exps.weight",       "XDE", FFN,   MATRIX,    MOE,                LEGACY},
    {"blk.%d.ffn_gate_exps.bias",         "XE",  PLAIN, BIAS,      EXPERT_BIAS,        0},
    {"blk.%d.ffn_up_exps.bias",           "XE",  PLAIN, BIAS,      EXPERT_BIAS,        0},
    {"blk.%d.ffn_down_exps.bias",         "DE",  PLAIN, BIAS,      EXPERT_BIAS,        0},
    {"blk.%d.ffn_gate_shexp.weight",      "DS",  FFN,   MATRIX,    SHARED,             0},
    {"blk.%d.ffn_up_shexp.weight",        "DS",  FFN,   MATRIX,    SHARED,             0},
    {"blk.%d.ffn_down_shexp.weight",      "SD",  FFN,   MATRIX,    SHARED,             0},
    {"blk.%d.ffn_gate_inp_shexp.weight",  "D",   PLAIN, ROUTER,    SHARED_GATE,        0},
};

/* One for each expert. */
static const tensor_row expert_tensors[] = {
    {"blk.%d.ffn_gate.%d.weight", "DX", FFN, MATRIX, MOE | LEGACY, 0},
    {"blk.%d.ffn_up.%d.weight",   "DX", FFN, MATRIX, MOE | LEGACY, 0},
    {"blk.%d.ffn_down.%d.weight", "XD", FFN, MATRIX, MOE | LEGACY, 0},
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
    {"rope.dimension_count",                 'a', 0,            ENCODER},
    {"pooling_type",                         '1', ENCODER,      0},
    {"attention.key_length",                 'a', 0,            0},
    {"attention.value_length",               'a', 0,            0},
    {"expert_count",                         'E', MOE,          0},
    {"expert_used_count",                    'U', MOE,          0},
    {"expert_feed_forward_length",           'X', EXPERT_FF,    0},
    {"expert_shared_feed_forward_length",    'S', SHARED,       0},
    {"attention.sliding_window",             'W', WINDOW,       0},
    {"rope.scaling.original_context_length", 'O', YARN,         0},
};

enum { YARN_FACTOR = 32 };

static const struct {
    const char *suffix;
    float value;
    unsigned need;
} value_keys[] = {
    {"logit_scale",         1.5f,        MULTIPLIERS},
    {"residual_scale",      0.5f,        MULTIPLIERS},
    {"embedding_scale",     3.0f,        MULTIPLIERS},
    {"attention.scale",     0.3f,        MULTIPLIERS},
    {"rope.scaling.factor", YARN_FACTOR, YARN},
};
// clang-format on

/* ---- the spec, with its defaults filled in ---- */

typedef struct synth {
    md_synth_spec spec;
    const family *family;
    const md_synth_router *router; /* borrowed, or NULL */
    int expert;                    /* whose tensor is under way */
    unsigned features;
    md_type type[N_CLASSES];
    md_synth_tensor *tensor; /* owned, [n_tensors] */
    size_t n_tensors, cap;
} synth;

/* Where experts have widths of their own, every other one is twice as wide. */
static int width_of(const synth *s, int expert)
{
    return s->spec.n_ff_exp * (s->features & MD_SYNTH_WIDTHS && expert % 2 == 1 ? 2 : 1);
}

/* Numbers that a recurrent router carries from layer to layer. */
static int carried(const synth *s)
{
    return s->spec.n_embd / 4 + 1;
}

static int64_t size_of(const synth *s, char letter)
{
    const md_synth_spec *p = &s->spec;
    switch (letter) {
    case 'D': return p->n_embd;
    case 'N': return p->n_vocab;
    case 'q': return (int64_t)p->n_head * p->head_dim;
    case 'k': return (int64_t)p->n_head_kv * p->head_dim;
    case 'a': return p->head_dim;
    case 'H': return p->n_head;
    case 'h': return p->n_head_kv;
    case 'F': return p->n_ff;
    case 'E': return p->n_expert;
    case 'U': return p->n_expert_used;
    case 'X': return width_of(s, s->expert);
    case 'Y': return 2 * (int64_t)p->n_ff_exp;
    case 'S': return p->n_ff_shexp;
    case 'R': return p->head_dim / 2;
    case 'L': return p->n_layer;
    case 'C': return p->n_ctx;
    case 'O': return p->n_ctx < YARN_FACTOR ? 1 : p->n_ctx / YARN_FACTOR;
    case 'W': return p->window;
    case 'e': return p->n_expert + (s->router ? s->router->constant + s->router->copy + s->router->zero : 0);
    case 'g': return carried(s);
    case 'Q': return 3 * (int64_t)carried(s);
    case 'd': return s->features & MD_SYNTH_CARRIED ? carried(s) : p->n_embd;
    case 'y': return s->router ? s->router->constant : 0;
    case 'I': return s->router ? s->router->rounds : 1;
    case '2': return 2;
    default: return 1;
    }
}

static bool applies(const synth *s, unsigned need, unsigned not )
{
    return (s->features & need) == need && (s->features & not ) == 0;
}

static md_status find_family(const char *arch, const family **out, md_error *err)
{
    for (size_t i = 0; i < COUNT(families); i++)
        if (arch && strcmp(arch, families[i].arch) == 0) {
            *out = &families[i];
            return MD_OK;
        }
    return md_fail(err, MD_ERR_ARGUMENT, "architecture '%s' cannot be made", arch ? arch : "");
}

/* Features of the family and those that the spec asks for, if the family may have them. */
static md_status choose_features(synth *s, md_error *err)
{
    const md_synth_spec *p = &s->spec;
    const struct {
        unsigned feature;
        bool wanted;
        const char *what;
    } asked[] = {
        {MOE, p->n_expert > 0, "experts"},
        {SHARED, p->n_ff_shexp > 0, "a shared expert"},
        {WINDOW, p->window > 0, "a window"},
        {FUSED, p->fused_gate_up, "gate and up fused"},
        {LEGACY, p->legacy_experts, "one tensor for each expert"},
        {FACTORS, p->rope_factors, "rope factors"},
        {ROUTER_BY_NAME, p->router != NULL, "a router by name"},
    };
    s->features = s->family->has | (p->tied_output ? TIED : 0);
    for (size_t i = 0; i < COUNT(asked); i++) {
        if (!asked[i].wanted)
            continue;
        MD_FAIL_IF(!((s->family->has | s->family->may) & asked[i].feature), MD_ERR_ARGUMENT,
                   "architecture '%s' cannot have %s", s->family->arch, asked[i].what);
        s->features |= asked[i].feature;
    }
    if (p->router) {
        MD_TRY(md_synth_router_find(p->router, &s->router, err));
        s->features |= s->router->features | (s->router->constant > 0 ? MD_SYNTH_CONSTANT : 0) |
                       (s->router->features & MD_SYNTH_WIDTHS ? LEGACY : 0);
    }
    MD_FAIL_IF((s->features & (FUSED | LEGACY)) && !(s->features & MOE), MD_ERR_ARGUMENT,
               "fused_gate_up and legacy_experts need n_expert");
    MD_FAIL_IF((s->features & FUSED) && (s->features & LEGACY), MD_ERR_ARGUMENT,
               "fused_gate_up and legacy_experts exclude each other");
    return MD_OK;
}

enum { N_EMBD_MAX = 1 << 20 };

static void default_to(int *field, int value)
{
    if (*field == 0)
        *field = value;
}

static void fill_defaults(synth *s)
{
    md_synth_spec *p = &s->spec;
    const bool moe = s->features & MOE;
    if (s->router) {
        default_to(&p->n_layer, s->router->n_layer);
        default_to(&p->n_expert_used, s->router->n_used);
    }
    default_to(&p->n_layer, 2);
    default_to(&p->n_embd, 64);
    default_to(&p->n_head, 4);
    default_to(&p->n_head_kv, s->features & (FULL_NORM | ENCODER) || p->n_head % 2 ? p->n_head : p->n_head / 2);
    if (p->n_head > 0)
        default_to(&p->head_dim, p->n_embd / p->n_head);
    if (p->n_embd > 0 && p->n_embd <= N_EMBD_MAX)
        default_to(&p->n_ff, 2 * p->n_embd);
    default_to(&p->n_expert, moe ? 8 : 0);
    default_to(&p->n_expert_used, moe ? (p->n_expert < 2 ? p->n_expert : 2) : 0);
    default_to(&p->n_ff_exp, moe ? p->n_embd / 2 : 0);
    default_to(&p->n_ff_shexp, s->features & SHARED ? p->n_ff_exp : 0);
    default_to(&p->n_vocab, 320);
    default_to(&p->n_ctx, s->features & ENCODER ? 512 : 4096);
    default_to(&p->window, s->features & WINDOW ? 12 : 0);
}

static md_status check_sizes(const synth *s, md_error *err)
{
    const md_synth_spec *p = &s->spec;
    const bool moe = s->features & MOE;
    const struct {
        const char *name;
        int value, min, max;
    } sizes[] = {
        {"n_layer", p->n_layer, 1, 4096},
        {"n_embd", p->n_embd, 1, N_EMBD_MAX},
        {"n_head", p->n_head, 1, 4096},
        {"n_head_kv", p->n_head_kv, 1, p->n_head},
        {"head_dim", p->head_dim, 2, 8192},
        {"n_ff", p->n_ff, 1, 1 << 24},
        {"n_expert", p->n_expert, moe, moe ? 65536 : 0},
        {"n_expert_used", p->n_expert_used, moe, p->n_expert},
        {"n_ff_exp", p->n_ff_exp, moe, 1 << 24},
        {"n_ff_shexp", p->n_ff_shexp, s->features & SHARED ? 1 : 0, 1 << 24},
        {"n_vocab", p->n_vocab, md_synth_vocab_min(), 1 << 24},
        {"n_ctx", p->n_ctx, 1, 1 << 30},
        {"window", p->window, 0, 1 << 30},
    };
    for (size_t i = 0; i < COUNT(sizes); i++)
        MD_FAIL_IF(sizes[i].value < sizes[i].min || sizes[i].value > sizes[i].max, MD_ERR_ARGUMENT,
                   "%s is %d, but must be from %d to %d", sizes[i].name, sizes[i].value, sizes[i].min, sizes[i].max);
    MD_FAIL_IF(p->n_head % p->n_head_kv != 0, MD_ERR_ARGUMENT, "n_head is %d, not a multiple of n_head_kv, %d",
               p->n_head, p->n_head_kv);
    MD_FAIL_IF(p->head_dim % 2 != 0, MD_ERR_ARGUMENT, "head_dim is %d, but must be even", p->head_dim);
    return MD_OK;
}

static md_status choose_types(synth *s, md_error *err)
{
    const char *const names[N_CLASSES] = {
        [ATTN] = s->spec.type_attn, [FFN] = s->spec.type_ffn, [EMBD] = s->spec.type_embd, [OUT] = s->spec.type_out};
    for (int i = 0; i < N_CLASSES; i++) {
        s->type[i] = MD_TYPE_F32;
        MD_FAIL_IF(names[i] && !md_type_from_name(names[i], &s->type[i]), MD_ERR_ARGUMENT,
                   "there is no tensor type '%s'", names[i]);
        MD_FAIL_IF(md_type_get(s->type[i])->cls == MD_CLASS_DATA, MD_ERR_ARGUMENT, "a matrix cannot be of type %s",
                   names[i]);
    }
    return MD_OK;
}

/* ---- the plan of tensors ---- */

/* Sizes of the random numbers: matrices keep the size of what passes through them, norms are near one, and logits and
 * router scores are a few units apart, so that choices are clear. */
static void law_of(const synth *s, enum law law, md_synth_tensor *t)
{
    const float unit = 1.0f / sqrtf((float)t->dim[0]);
    t->law = law == NORM || law == FACTOR || law == THRESHOLD ? MD_SYNTH_UNIFORM : MD_SYNTH_NORMAL;
    t->center = law == NORM ? 1.0f : law == FACTOR ? 4.5f : law == THRESHOLD ? 0.15f : 0.0f;
    switch (law) {
    case MATRIX: t->spread = unit; break;
    case ATTENTION: t->spread = 1.5f * unit; break;
    case LOGITS:
    case ROUTER: t->spread = 3.0f * unit; break;
    case EMBEDDING: t->spread = s->features & TIED ? 3.0f * unit : 0.5f; break;
    case NORM: t->spread = 0.3f; break;
    case BIAS: t->spread = 0.2f; break;
    case SINK: t->spread = 1.0f; break;
    case FACTOR: t->spread = 3.5f; break;
    case THRESHOLD: t->spread = 0.05f; break;
    }
}

static md_status push(synth *s, const md_synth_tensor *t, md_error *err)
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
static md_status plan_scale(synth *s, const md_synth_tensor *of, md_error *err)
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

static md_status plan_tensor(synth *s, const tensor_row *row, int layer, int expert, md_error *err)
{
    if (!applies(s, row->need, row->not ))
        return MD_OK;
    s->expert = expert;
    md_synth_tensor t = {.type = s->type[row->cls], .n_dims = (int)strlen(row->dims)};
    snprintf(t.name, sizeof t.name, row->name, layer, expert);
    for (int i = 0; i < t.n_dims; i++)
        t.dim[i] = size_of(s, row->dims[i]);
    law_of(s, row->law, &t);
    MD_TRY(push(s, &t, err));
    return t.type == MD_TYPE_NVFP4 ? plan_scale(s, &t, err) : MD_OK;
}

static md_status plan_tensors(synth *s, md_error *err)
{
    for (size_t i = 0; i < COUNT(model_tensors); i++)
        MD_TRY(plan_tensor(s, &model_tensors[i], 0, 0, err));
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

static const char *key_of(const synth *s, const char *suffix, char key[96])
{
    snprintf(key, 96, "%s.%s", s->family->arch, suffix);
    return key;
}

static md_status write_router_keys(const synth *s, md_gguf_writer *w, md_error *err)
{
    if (!s->router)
        return MD_OK;
    int *width = md_calloc((size_t)s->spec.n_expert, sizeof *width);
    if (!width)
        return md_fail_memory(err, "the widths of experts");
    for (int e = 0; e < s->spec.n_expert; e++)
        width[e] = width_of(s, e);
    const md_status status = md_synth_router_keys(s->router, s->family->arch, width, s->spec.n_expert, carried(s), w,
                                                  err);
    md_free(width);
    return status;
}

static md_status write_keys(const synth *s, md_gguf_writer *w, md_error *err)
{
    char key[96], name[96];
    snprintf(name, sizeof name, "random %s, seed %llu", s->family->arch, (unsigned long long)s->spec.seed);
    MD_TRY(md_gguf_set_string(w, "general.architecture", s->family->arch, err));
    MD_TRY(md_gguf_set_string(w, "general.type", "model", err));
    MD_TRY(md_gguf_set_string(w, "general.name", name, err));
    const char ff = s->features & FF_IS_EXPERT && s->features & MOE ? 'X' : 'F';
    MD_TRY(md_gguf_set_u32(w, key_of(s, "feed_forward_length", key), (uint32_t)size_of(s, ff), err));
    for (size_t i = 0; i < COUNT(size_keys); i++)
        if (applies(s, size_keys[i].need, size_keys[i].not ))
            MD_TRY(
                md_gguf_set_u32(w, key_of(s, size_keys[i].suffix, key), (uint32_t)size_of(s, size_keys[i].size), err));
    if (s->features & ENCODER) {
        MD_TRY(md_gguf_set_f32(w, key_of(s, "attention.layer_norm_epsilon", key), s->family->norm_eps, err));
        MD_TRY(md_gguf_set_bool(w, key_of(s, "attention.causal", key), false, err));
    } else {
        MD_TRY(md_gguf_set_f32(w, key_of(s, "attention.layer_norm_rms_epsilon", key), s->family->norm_eps, err));
        MD_TRY(md_gguf_set_f32(w, key_of(s, "rope.freq_base", key), s->family->rope_base, err));
    }
    for (size_t i = 0; i < COUNT(value_keys); i++)
        if (applies(s, value_keys[i].need, 0))
            MD_TRY(md_gguf_set_f32(w, key_of(s, value_keys[i].suffix, key), value_keys[i].value, err));
    MD_TRY(write_router_keys(s, w, err));
    if (s->features & YARN)
        MD_TRY(md_gguf_set_string(w, key_of(s, "rope.scaling.type", key), "yarn", err));
    return md_synth_tokenizer(s->spec.n_vocab, w, err);
}

static md_status write_model(const synth *s, md_gguf_writer *w, md_error *err)
{
    MD_TRY(write_keys(s, w, err));
    for (size_t i = 0; i < s->n_tensors; i++) {
        const md_synth_tensor *t = &s->tensor[i];
        MD_TRY(md_gguf_add_tensor(w, t->name, t->type, t->n_dims, t->dim, err));
    }
    MD_TRY(md_gguf_begin(w, err));
    for (size_t i = 0; i < s->n_tensors; i++)
        MD_TRY(md_synth_fill(s->spec.seed, &s->tensor[i], w, err));
    return md_gguf_commit(w, err);
}

md_status md_synth_write(const md_synth_spec *spec, const char *path, md_error *err)
{
    synth s = {.spec = *spec};
    MD_TRY(find_family(spec->arch, &s.family, err));
    MD_TRY(choose_features(&s, err));
    fill_defaults(&s);
    MD_TRY(check_sizes(&s, err));
    MD_TRY(choose_types(&s, err));
    md_gguf_writer *w = NULL;
    md_status status = plan_tensors(&s, err);
    if (status == MD_OK)
        status = md_gguf_writer_new(path, &w, err);
    if (status == MD_OK)
        status = write_model(&s, w, err);
    md_gguf_writer_close(w);
    md_free(s.tensor);
    return status;
}
