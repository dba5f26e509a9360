/* SPDX-License-Identifier: Apache-2.0
 *
 * The maker of random models, first half: the families with their features, and a spec's defaults, bounds and types. */
#include "shape/synth_spec.h"

#include "base/pool.h"
#include "base/status.h"

#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof *(table))

/* ---- families ---- */

// clang-format off
static const md_synth_family families[] = {
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
    {"deepseek2", LATENT | MOE | EXPERT_FF | SHARED, 0, 10000.0f, 1e-6f},
    {"medley-moe", HEAD_NORM | MOE | EXPERT_FF, SHARED | FUSED | LEGACY | ROUTER_BY_NAME, 10000.0f, 1e-6f},
};
// clang-format on
/* ---- the spec, with its defaults filled in ---- */

int md_synth_width(const md_synth *s, int expert)
{
    return s->spec.n_ff_exp * (s->features & MD_SYNTH_WIDTHS && expert % 2 == 1 ? 2 : 1);
}

/* Numbers that a recurrent router carries from layer to layer. */
static int carried(const md_synth *s)
{
    return s->spec.n_embd / 4 + 1;
}

int64_t md_synth_size(const md_synth *s, char letter)
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
    case 'X': return md_synth_width(s, s->expert);
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
    case 'l': return p->n_kv_rank;
    case 'r': return p->n_rope;
    case 'm': return p->n_kv_rank + p->n_rope;
    case 'z': return p->head_dim + p->n_rope;
    case 'Z': return (int64_t)p->n_head * (p->head_dim + p->n_rope);
    case 'P': return p->n_dense;
    case 'p': return p->n_ff_exp > 0 ? p->n_ff_shexp / p->n_ff_exp : 0;
    case 'I': return s->router ? s->router->rounds : 1;
    case '0': return 0;
    case '2': return 2;
    default: return 1;
    }
}

static md_status find_family(const char *arch, const md_synth_family **out, md_error *err)
{
    for (size_t i = 0; i < COUNT(families); i++)
        if (arch && strcmp(arch, families[i].arch) == 0) {
            *out = &families[i];
            return MD_OK;
        }
    return md_fail(err, MD_ERR_ARGUMENT, "architecture '%s' cannot be made", arch ? arch : "");
}

/* Features of the family and those that the spec asks for, if the family may have them. */
static md_status choose_features(md_synth *s, md_error *err)
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
        {LATENT, p->n_kv_rank > 0 || p->n_rope > 0 || p->n_dense > 0, "latent attention and dense layers"},
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

static void fill_defaults(md_synth *s)
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
    if (s->features & LATENT)
        default_to(&p->n_head_kv, 1);
    default_to(&p->n_head_kv, s->features & (FULL_NORM | ENCODER) || p->n_head % 2 ? p->n_head : p->n_head / 2);
    if (p->n_head > 0)
        default_to(&p->head_dim, p->n_embd / p->n_head);
    if (p->n_embd > 0 && p->n_embd <= N_EMBD_MAX)
        default_to(&p->n_ff, 2 * p->n_embd);
    default_to(&p->n_expert, moe ? 8 : 0);
    default_to(&p->n_expert_used, moe ? (p->n_expert < 2 ? p->n_expert : 2) : 0);
    default_to(&p->n_ff_exp, moe ? p->n_embd / 2 : 0);
    default_to(&p->n_ff_shexp, s->features & SHARED ? p->n_ff_exp : 0);
    if (s->features & LATENT) {
        default_to(&p->n_kv_rank, p->n_embd / 2);
        default_to(&p->n_rope, p->head_dim / 2);
    }
    default_to(&p->n_vocab, 320);
    default_to(&p->n_ctx, s->features & ENCODER ? 512 : 4096);
    default_to(&p->window, s->features & WINDOW ? 12 : 0);
}

static md_status check_sizes(const md_synth *s, md_error *err)
{
    const md_synth_spec *p = &s->spec;
    const bool moe = s->features & MOE, latent = s->features & LATENT;
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
        {"n_kv_rank", p->n_kv_rank, latent, latent ? 1 << 16 : 0},
        {"n_rope", p->n_rope, latent ? 2 : 0, latent ? 8192 : 0},
        {"n_dense", p->n_dense, 0, p->n_layer},
    };
    for (size_t i = 0; i < COUNT(sizes); i++)
        MD_FAIL_IF(sizes[i].value < sizes[i].min || sizes[i].value > sizes[i].max, MD_ERR_ARGUMENT,
                   "%s is %d, but must be from %d to %d", sizes[i].name, sizes[i].value, sizes[i].min, sizes[i].max);
    MD_FAIL_IF(p->n_head % p->n_head_kv != 0, MD_ERR_ARGUMENT, "n_head is %d, not a multiple of n_head_kv, %d",
               p->n_head, p->n_head_kv);
    MD_FAIL_IF(p->head_dim % 2 != 0, MD_ERR_ARGUMENT, "head_dim is %d, but must be even", p->head_dim);
    MD_FAIL_IF(p->n_rope % 2 != 0, MD_ERR_ARGUMENT, "n_rope is %d, but must be even", p->n_rope);
    MD_FAIL_IF(latent && p->n_head_kv != 1, MD_ERR_ARGUMENT, "n_head_kv is %d, but latent attention has 1",
               p->n_head_kv);
    MD_FAIL_IF(latent && p->n_ff_shexp % p->n_ff_exp != 0, MD_ERR_ARGUMENT,
               "n_ff_shexp is %d, not a multiple of n_ff_exp, %d", p->n_ff_shexp, p->n_ff_exp);
    MD_FAIL_IF(p->skew != 0.0f && !moe, MD_ERR_ARGUMENT, "a skew needs experts");
    if (moe)
        MD_TRY(md_synth_check_skew(p, err));
    MD_FAIL_IF(p->n_threads < 0 || p->n_threads > MD_POOL_MAX_THREADS, MD_ERR_ARGUMENT,
               "n_threads is %d, but must be from 0 (one) to %d", p->n_threads, MD_POOL_MAX_THREADS);
    return MD_OK;
}

static md_status choose_types(md_synth *s, md_error *err)
{
    const md_synth_spec *p = &s->spec;
    const char *const names[N_CLASSES] = {[ATTN] = p->type_attn ? p->type_attn : p->type,
                                          [FFN] = p->type_ffn ? p->type_ffn : p->type,
                                          [EMBD] = p->type_embd,
                                          [OUT] = p->type_out};
    for (int i = 0; i < N_CLASSES; i++) {
        s->type[i] = MD_TYPE_F32;
        MD_FAIL_IF(names[i] && !md_type_from_name(names[i], &s->type[i]), MD_ERR_ARGUMENT,
                   "there is no tensor type '%s'", names[i]);
        MD_FAIL_IF(md_type_get(s->type[i])->cls == MD_CLASS_DATA, MD_ERR_ARGUMENT, "a matrix cannot be of type %s",
                   names[i]);
    }
    return MD_OK;
}

md_status md_synth_begin(md_synth *s, const md_synth_spec *spec, md_error *err)
{
    *s = (md_synth){.spec = *spec};
    if (spec->like)
        MD_TRY(md_synth_like(&s->spec, err));
    MD_TRY(find_family(s->spec.arch, &s->family, err));
    MD_TRY(choose_features(s, err));
    fill_defaults(s);
    MD_TRY(check_sizes(s, err));
    return choose_types(s, err);
}
