/* SPDX-License-Identifier: Apache-2.0
 *
 * Random models with the shapes of public ones, for measuring: sizes by name, the types that public files would have,
 * and routers that prefer some experts. Pure functions of the spec. */
#include "shape/synth.h"

#include "base/mathd.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/status.h"

#include <math.h>
#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof *(table))

/* ---- shapes ---- */

/* The context is what files of the family claim, but for "olmoe", whose 4096 would leave no room for measuring depth. */
// clang-format off
static const md_synth_spec shapes[] = {
    {.like = "olmoe", .arch = "llama", .type = "Q4_K", .n_layer = 16, .n_embd = 2048, .n_head = 16, .n_head_kv = 16,
     .head_dim = 128, .n_expert = 64, .n_expert_used = 8, .n_ff_exp = 1024, .n_vocab = 50304, .n_ctx = 32768},
    {.like = "qwen3-30b-a3b", .arch = "qwen3moe", .type = "Q4_K", .n_layer = 48, .n_embd = 2048, .n_head = 32, .n_head_kv = 4,
     .head_dim = 128, .n_ff = 6144, .n_expert = 128, .n_expert_used = 8, .n_ff_exp = 768, .n_vocab = 151936, .n_ctx = 40960},
    {.like = "mixtral", .arch = "llama", .type = "Q4_K", .n_layer = 32, .n_embd = 4096, .n_head = 32, .n_head_kv = 8,
     .head_dim = 128, .n_expert = 8, .n_expert_used = 2, .n_ff_exp = 14336, .n_vocab = 32000, .n_ctx = 32768},
    {.like = "deepseek-v2-lite", .arch = "deepseek2", .type = "Q4_K", .n_layer = 27, .n_embd = 2048, .n_head = 16,
     .n_head_kv = 1, .head_dim = 128, .n_rope = 64, .n_kv_rank = 512, .n_ff = 10944, .n_dense = 1, .n_expert = 64,
     .n_expert_used = 6, .n_ff_exp = 1408, .n_ff_shexp = 2 * 1408, .n_vocab = 102400, .n_ctx = 163840},
    {.like = "gpt-oss-20b", .arch = "gpt-oss", .type = "MXFP4", .n_layer = 24, .n_embd = 2880, .n_head = 64, .n_head_kv = 8,
     .head_dim = 64, .n_expert = 32, .n_expert_used = 4, .n_ff_exp = 2880, .window = 128, .n_vocab = 201088,
     .n_ctx = 131072},
};
// clang-format on

static md_status unknown_shape(const char *name, md_error *err)
{
    md_buf b = {0};
    for (size_t i = 0; i < COUNT(shapes); i++)
        md_buf_printf(&b, "%s%s", i > 0 ? ", " : "", shapes[i].like);
    const md_status status = b.failed
                                 ? md_fail_memory(err, "an error message")
                                 : md_fail(err, MD_ERR_ARGUMENT, "there is no shape '%s'; there are %s", name, b.data);
    md_buf_done(&b);
    return status;
}

/* Public files keep the first and last matrix in more bits than the rest when the rest has fewer than 4; and files in
 * 4-bit floats keep all but the experts in 8 bits. */
static void default_types(md_synth_spec *s)
{
    md_type type;
    if (!s->type || !md_type_from_name(s->type, &type) || md_type_get(type)->cls != MD_CLASS_QUANT)
        return;
    const md_type_info *t = md_type_get(type);
    const bool float4 = type == MD_TYPE_MXFP4 || type == MD_TYPE_NVFP4;
    const char *ends = float4 ? "Q8_0" : t->bytes * 8 < t->block * 4 ? "Q6_K" : s->type;
    if (!s->type_embd)
        s->type_embd = ends;
    if (!s->type_out)
        s->type_out = ends;
    if (!s->type_attn && float4)
        s->type_attn = "Q8_0";
}

md_status md_synth_like(md_synth_spec *s, md_error *err)
{
    const md_synth_spec *shape = NULL;
    for (size_t i = 0; i < COUNT(shapes); i++)
        if (strcmp(shapes[i].like, s->like) == 0)
            shape = &shapes[i];
    if (!shape)
        return unknown_shape(s->like, err);
    MD_FAIL_IF(s->arch && strcmp(s->arch, shape->arch) != 0, MD_ERR_ARGUMENT,
               "'%s' is of architecture '%s', not '%s': leave the architecture out", s->like, shape->arch, s->arch);
    s->arch = shape->arch;
    if (!s->type)
        s->type = shape->type;
    default_types(s);
    const struct {
        int *to, from;
    } sizes[] = {
        {&s->n_layer, shape->n_layer},
        {&s->n_embd, shape->n_embd},
        {&s->n_head, shape->n_head},
        {&s->n_head_kv, shape->n_head_kv},
        {&s->head_dim, shape->head_dim},
        {&s->n_rope, shape->n_rope},
        {&s->n_kv_rank, shape->n_kv_rank},
        {&s->n_ff, shape->n_ff},
        {&s->n_dense, shape->n_dense},
        {&s->n_expert, shape->n_expert},
        {&s->n_expert_used, shape->n_expert_used},
        {&s->n_ff_exp, shape->n_ff_exp},
        {&s->n_ff_shexp, shape->n_ff_shexp},
        {&s->n_vocab, shape->n_vocab},
        {&s->n_ctx, shape->n_ctx},
        {&s->window, shape->window},
    };
    for (size_t i = 0; i < COUNT(sizes); i++)
        if (*sizes[i].to == 0)
            *sizes[i].to = sizes[i].from;
    return MD_OK;
}

/* ---- types ---- */

md_type md_synth_fitting_type(md_type type, int64_t row)
{
    const md_type_info *t = md_type_get(type);
    if (row % t->block == 0)
        return type;
    md_type near = MD_TYPE_F16;
    switch (type) {
    case MD_TYPE_Q4_K: near = MD_TYPE_Q5_0; break;
    case MD_TYPE_Q5_K: near = MD_TYPE_Q5_1; break;
    case MD_TYPE_Q6_K: near = MD_TYPE_Q8_0; break;
    case MD_TYPE_TQ1_0:
    case MD_TYPE_TQ2_0:
    case MD_TYPE_Q1_0:
    case MD_TYPE_Q2_0:
    case MD_TYPE_NVFP4: near = MD_TYPE_Q4_0; break;
    default: near = t->block == 256 ? MD_TYPE_IQ4_NL : MD_TYPE_F16; break;
    }
    return row % md_type_get(near)->block == 0 ? near : MD_TYPE_F16;
}

/* ---- popular experts ---- */

/* No expert can be chosen by more than half of the tokens when its score is as often below zero as above. */
#define MOST_CHOSEN 0.45

/* How often the expert of rank r is chosen: top-k slots divided by Zipf's law, none above the most that is possible. */
static double chosen(double factor, double skew, int rank)
{
    const double p = factor * md_pow_d(rank + 1, -skew);
    return p < MOST_CHOSEN ? p : MOST_CHOSEN;
}

static double zipf_factor(const md_synth_spec *s)
{
    double low = 0, high = s->n_expert_used * md_pow_d(s->n_expert, (double)s->skew);
    for (int step = 0; step < 60; step++) {
        const double factor = 0.5 * (low + high);
        double sum = 0;
        for (int r = 0; r < s->n_expert; r++)
            sum += chosen(factor, (double)s->skew, r);
        *(sum < s->n_expert_used ? &low : &high) = factor;
    }
    return high;
}

/* x that a standard normal number exceeds with probability p, 0 < p < 0.5 (Hastings 1955; within 4.5e-4). */
static double normal_above(double p)
{
    const double t = sqrt(-2.0 * md_log_d(p));
    return t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
}

md_status md_synth_check_skew(const md_synth_spec *s, md_error *err)
{
    MD_FAIL_IF(!(s->skew >= 0.0f && s->skew <= 4.0f), MD_ERR_ARGUMENT,
               "the skew is %g; give Zipf's exponent, from 0 (all experts alike) to 4", (double)s->skew);
    MD_FAIL_IF(s->skew > 0.0f && s->n_expert_used > MOST_CHOSEN * s->n_expert, MD_ERR_ARGUMENT,
               "experts cannot be more popular than others when a token uses %d of %d: leave the skew out",
               s->n_expert_used, s->n_expert);
    return MD_OK;
}

md_status md_synth_skew(const md_synth_spec *s, uint64_t stream, float *factor, md_error *err)
{
    int *rank = md_calloc((size_t)s->n_expert, sizeof *rank);
    if (!rank)
        return md_fail_memory(err, "the ranks of experts");
    /* Another order in each layer. */
    for (int e = 0; e < s->n_expert; e++) {
        const int other = (int)(md_philox(s->seed, (uint64_t)e, ~stream).v[0] % (uint32_t)(e + 1));
        rank[e] = rank[other];
        rank[other] = e;
    }
    const double zipf = zipf_factor(s);
    /* The score that the k-th best of a token's experts has, if all were alike: factors are 1 then. */
    const double bar = normal_above((double)s->n_expert_used / s->n_expert);
    for (int e = 0; e < s->n_expert; e++)
        factor[e] = (float)(bar / normal_above(chosen(zipf, (double)s->skew, rank[e])));
    md_free(rank);
    return MD_OK;
}
