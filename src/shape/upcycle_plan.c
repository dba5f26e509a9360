/* SPDX-License-Identifier: Apache-2.0
 *
 * What upcycling will do to a file, decided and checked from its header: families, shapes, types, the groups of neurons.
 * Refuses whatever it cannot turn into a mixture that computes the same. */
#include "shape/upcycle.h"

#include "base/mem.h"
#include "base/status.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Families whose mixture form has no shared expert and divides the picked experts' weights by their sum, so that equal
 * experts add up to the dense FFN. */
static const struct family {
    const char *dense, *moe;
    bool own_width; /* experts' width in expert_feed_forward_length, not feed_forward_length */
} families[] = {{"llama", "llama", false}, {"qwen3", "qwen3moe", true}, {"granite", "granitemoe", false}};
#define FAMILY_NAMES "llama, qwen3 and granite"

static const char *const part_name[MD_N_FFN_PARTS] = {"ffn_gate", "ffn_up", "ffn_down"};

#define STR_ARGS(str) ((str).n > 80 ? 80 : (int)(str).n), (str).s

/* ---- names ---- */

/* "blk.LAYER.PART.rest" of a dense FFN's matrices. */
static bool split_name(md_str name, int32_t *layer, md_ffn_part *part, md_str *rest)
{
    const char *s = name.s, *const end = name.s + name.n;
    if (name.n < 5 || memcmp(s, "blk.", 4) != 0)
        return false;
    s += 4;
    int32_t n = 0;
    const char *const digits = s;
    for (; s < end && *s >= '0' && *s <= '9' && s - digits < 6; s++)
        n = n * 10 + (*s - '0');
    if (s == digits || s == end || *s++ != '.')
        return false;
    for (int p = 0; p < MD_N_FFN_PARTS; p++) {
        const size_t length = strlen(part_name[p]);
        if ((size_t)(end - s) > length && memcmp(s, part_name[p], length) == 0 && s[length] == '.') {
            *layer = n;
            *part = (md_ffn_part)p;
            *rest = (md_str){s + length + 1, (size_t)(end - s) - length - 1};
            return true;
        }
    }
    return false;
}

/* ---- the family ---- */

static md_status read_u32(const md_upcycle_plan *p, const char *key, uint32_t *out, md_error *err)
{
    char full[128];
    bool found;
    snprintf(full, sizeof full, "%s.%s", p->arch_in, key);
    MD_TRY(md_gguf_u32(p->in, full, out, &found, err));
    MD_FAIL_IF(!found, MD_ERR_FORMAT, "key '%s' is missing", full);
    return MD_OK;
}

static md_status refuse_mixture(const md_gguf *in, md_str arch, md_error *err)
{
    char key[128];
    uint32_t n_expert = 0;
    if (snprintf(key, sizeof key, "%.*s.expert_count", STR_ARGS(arch)) < (int)sizeof key)
        MD_TRY(md_gguf_u32(in, key, &n_expert, NULL, err));
    MD_FAIL_IF(n_expert > 0 || md_gguf_find_tensor(in, "blk.0.ffn_gate_inp.weight"), MD_ERR_UNSUPPORTED,
               "the model is a mixture of experts already; only dense models can be upcycled");
    return MD_OK;
}

static md_status read_family(md_upcycle_plan *p, md_error *err)
{
    md_str arch;
    bool found;
    MD_TRY(md_gguf_string(p->in, "general.architecture", &arch, &found, err));
    MD_FAIL_IF(!found, MD_ERR_FORMAT, "key 'general.architecture' is missing");
    MD_TRY(refuse_mixture(p->in, arch, err));
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (md_str_eq(arch, families[i].dense)) {
            p->arch_in = families[i].dense;
            p->arch_out = families[i].moe;
            p->set_expert_width = families[i].own_width;
        }
    MD_FAIL_IF(!p->arch_in, MD_ERR_UNSUPPORTED,
               "models of architecture '%.*s' cannot be upcycled; those of " FAMILY_NAMES " can", STR_ARGS(arch));
    uint32_t n_layer, n_embd;
    MD_TRY(read_u32(p, "block_count", &n_layer, err));
    MD_TRY(read_u32(p, "embedding_length", &n_embd, err));
    MD_FAIL_IF(n_layer == 0 || n_layer > md_gguf_n_tensors(p->in), MD_ERR_FORMAT,
               "the model claims %u layers, but has %zu tensors", n_layer, md_gguf_n_tensors(p->in));
    p->n_layer = (int32_t)n_layer;
    p->n_embd = n_embd;
    return MD_OK;
}

/* ---- layers ---- */

static md_status check_shape(const md_gguf_tensor *t, int64_t columns, int64_t rows, md_error *err)
{
    MD_FAIL_IF(t->n_dims != 2 || t->dim[0] != columns || t->dim[1] != rows, MD_ERR_FORMAT,
               "tensor '%.*s' is [%lld, %lld, %lld, %lld], not [%lld, %lld]", STR_ARGS(t->name), (long long)t->dim[0],
               (long long)t->dim[1], (long long)t->dim[2], (long long)t->dim[3], (long long)columns, (long long)rows);
    return MD_OK;
}

/* How many groups of neurons each expert of a layer gets anew. */
static md_status plan_groups(const md_upcycle_plan *p, md_upcycle_layer *l, md_error *err)
{
    const float ratio = p->args->drop_ratio;
    const md_gguf_tensor *down = l->part[MD_FFN_DOWN];
    const md_type_info *down_type = md_type_get(down->type);
    l->group = down_type->block;
    if (ratio == 0.0f)
        return MD_OK;
    for (int i = 0; i < MD_N_FFN_PARTS; i++)
        MD_FAIL_IF(
            !md_type_can_encode(l->part[i]->type), MD_ERR_UNSUPPORTED,
            "neurons of tensor '%.*s' cannot be drawn anew: %s cannot be encoded yet; leave the drop ratio at 0 or "
            "start from a file of another type",
            STR_ARGS(l->part[i]->name), md_type_get(l->part[i]->type)->name);
    const int64_t n_groups = l->n_ff / l->group;
    l->n_redraw = (int64_t)floor((double)ratio * (double)n_groups + 0.5);
    MD_FAIL_IF(
        l->n_redraw == 0 || l->n_redraw == n_groups, MD_ERR_ARGUMENT,
        "a drop ratio of %g is too %s: '%.*s' (%s) has %lld groups of %lld neurons, of which %s would be drawn anew",
        (double)ratio, l->n_redraw == 0 ? "small" : "large", STR_ARGS(down->name), down_type->name, (long long)n_groups,
        (long long)l->group, l->n_redraw == 0 ? "none" : "all");
    return MD_OK;
}

static md_status check_layer(const md_upcycle_plan *p, int32_t layer, md_error *err)
{
    md_upcycle_layer *l = &p->layer[layer];
    for (int i = 0; i < MD_N_FFN_PARTS; i++)
        MD_FAIL_IF(!l->part[i], MD_ERR_FORMAT, "tensor 'blk.%d.%s.weight' is missing", layer, part_name[i]);
    l->n_ff = l->part[MD_FFN_GATE]->dim[1];
    MD_TRY(check_shape(l->part[MD_FFN_GATE], p->n_embd, l->n_ff, err));
    MD_TRY(check_shape(l->part[MD_FFN_UP], p->n_embd, l->n_ff, err));
    MD_TRY(check_shape(l->part[MD_FFN_DOWN], l->n_ff, p->n_embd, err));
    MD_FAIL_IF(p->set_expert_width && l->n_ff != p->layer[0].n_ff, MD_ERR_UNSUPPORTED,
               "layers 0 and %d have FFNs of different widths, which '%s' files cannot hold", layer, p->arch_out);
    return plan_groups(p, l, err);
}

/* ---- tensors ---- */

/* Finds what is to become experts and refuses what cannot. */
static md_status find_ffn_tensors(md_upcycle_plan *p, md_error *err)
{
    for (size_t i = 0; i < md_gguf_n_tensors(p->in); i++) {
        const md_gguf_tensor *t = md_gguf_tensor_at(p->in, i);
        int32_t layer;
        md_ffn_part part;
        md_str rest;
        if (!split_name(t->name, &layer, &part, &rest))
            continue;
        MD_FAIL_IF(layer >= p->n_layer, MD_ERR_FORMAT, "tensor '%.*s' is beyond the model's %d layers",
                   STR_ARGS(t->name), p->n_layer);
        if (md_str_eq(rest, "weight"))
            p->layer[layer].part[part] = t;
        else
            MD_FAIL_IF(!md_str_eq(rest, "scale") || t->n_elements != 1, MD_ERR_UNSUPPORTED,
                       "tensor '%.*s': FFNs with %s cannot be upcycled", STR_ARGS(t->name),
                       md_str_eq(rest, "bias") ? "biases" : "such an addition");
    }
    return MD_OK;
}

static md_status add(md_upcycle_plan *p, md_upcycle_tensor t, int64_t n_elements, md_error *err)
{
    MD_FAIL_IF(__builtin_add_overflow(p->bytes, t.bytes, &p->bytes) ||
                   __builtin_add_overflow(p->weights, (uint64_t)n_elements, &p->weights),
               MD_ERR_LIMIT, "%d experts make the file too large", p->args->n_expert);
    p->tensor[p->n_tensors++] = t;
    return MD_OK;
}

static md_status add_router(md_upcycle_plan *p, int32_t layer, md_error *err)
{
    md_upcycle_tensor t = {.kind = MD_UPCYCLE_ROUTER, .layer = layer};
    const int64_t n = p->n_embd * p->args->n_expert; /* 32 and 10 bits */
    MD_FAIL_IF(!md_mul((size_t)n, sizeof(float), &t.bytes), MD_ERR_LIMIT, "the router is too large");
    snprintf(t.name, sizeof t.name, "blk.%d.ffn_gate_inp.weight", layer);
    return add(p, t, n, err);
}

static md_status add_tensor(md_upcycle_plan *p, const md_gguf_tensor *src, bool *has_router, md_error *err)
{
    md_upcycle_tensor t = {.kind = MD_UPCYCLE_COPY, .src = src, .layer = -1, .bytes = src->bytes};
    md_str rest;
    if (!split_name(src->name, &t.layer, &t.part, &rest)) {
        t.layer = -1;
        return add(p, t, src->n_elements, err);
    }
    if (!has_router[t.layer]) {
        has_router[t.layer] = true;
        MD_TRY(add_router(p, t.layer, err));
    }
    t.kind = md_str_eq(rest, "weight") ? MD_UPCYCLE_EXPERTS : MD_UPCYCLE_SCALES;
    int64_t n;
    MD_FAIL_IF(!md_mul(src->bytes, (size_t)p->args->n_expert, &t.bytes) ||
                   __builtin_mul_overflow(src->n_elements, (int64_t)p->args->n_expert, &n),
               MD_ERR_LIMIT, "%d copies of tensor '%.*s' are too large for a file", p->args->n_expert,
               STR_ARGS(src->name));
    snprintf(t.name, sizeof t.name, "blk.%d.%s_exps.%.*s", t.layer, part_name[t.part], STR_ARGS(rest));
    return add(p, t, n, err);
}

static md_status plan_tensors(md_upcycle_plan *p, md_error *err)
{
    const size_t n_in = md_gguf_n_tensors(p->in);
    p->tensor = md_calloc(n_in + (size_t)p->n_layer, sizeof *p->tensor);
    bool *has_router = md_calloc((size_t)p->n_layer, sizeof *has_router);
    if (!p->tensor || !has_router) {
        md_free(has_router);
        return md_fail_memory(err, "the tensors of a mixture");
    }
    md_status status = MD_OK;
    for (size_t i = 0; status == MD_OK && i < n_in; i++)
        status = add_tensor(p, md_gguf_tensor_at(p->in, i), has_router, err);
    md_free(has_router);
    return status;
}

md_status md_upcycle_plan_make(const md_gguf *in, const md_upcycle_args *args, md_upcycle_plan *out, md_error *err)
{
    *out = (md_upcycle_plan){.in = in, .args = args};
    MD_TRY(read_family(out, err));
    out->layer = md_calloc((size_t)out->n_layer, sizeof *out->layer);
    if (!out->layer)
        return md_fail_memory(err, "the layers of a mixture");
    MD_TRY(find_ffn_tensors(out, err));
    for (int32_t i = 0; i < out->n_layer; i++)
        MD_TRY(check_layer(out, i, err));
    return plan_tensors(out, err);
}

void md_upcycle_plan_done(md_upcycle_plan *p)
{
    md_free(p->layer);
    md_free(p->tensor);
    *p = (md_upcycle_plan){0};
}
