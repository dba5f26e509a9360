/* SPDX-License-Identifier: Apache-2.0
 *
 * What a header tells: sizes by part, counts of weights, one-line descriptions. */
#include "model/model.h"

#include "base/status.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* ORDER SLOTS */
static const struct part_row {
    const char *name;
    md_part part;
} part_rows[] = {
#define MD_SLOT(NAME, name, kind, part, d0, d1, d2) {name, MD_PART_##part},
#include "model/slots.def"
#undef MD_SLOT
};

const char *md_part_name(md_part p)
{
    switch (p) {
    case MD_PART_EMBEDDING: return "embeddings";
    case MD_PART_ATTENTION: return "attention";
    case MD_PART_DENSE_FFN: return "dense feed-forward";
    case MD_PART_ROUTED: return "routed experts";
    case MD_PART_SHARED: return "shared experts";
    case MD_PART_ROUTER: return "routers";
    case MD_PART_OTHER:
    case MD_N_PARTS: break;
    }
    return "other";
}

const char *md_pooling_name(md_pooling p)
{
    switch (p) {
    case MD_POOLING_NONE: return "none";
    case MD_POOLING_MEAN: return "mean";
    case MD_POOLING_CLS: return "cls";
    case MD_POOLING_LAST: return "last";
    case MD_POOLING_RANK: return "rank";
    case MD_POOLING_POWER: return "power";
    case MD_POOLING_MODEL: break;
    }
    return "model";
}

/* Matches a slot's name, where %d stands for digits. `stem`: how far the pattern counts. */
static bool matches(const char *pattern, size_t stem, const char *name, size_t n)
{
    size_t i = 0, p = 0;
    while (p < stem) {
        if (pattern[p] == '%') {
            const size_t start = i;
            while (i < n && isdigit((unsigned char)name[i]))
                i++;
            if (i == start)
                return false;
            p += 2;
        } else if (i < n && name[i] == pattern[p]) {
            i++;
            p++;
        } else {
            return false;
        }
    }
    return i == n || name[i] == '.';
}

/* blk.L.ffn_gate.E.weight: one expert of an early Mixtral file. */
bool md_is_legacy_expert(const char *name, size_t n)
{
    int dots = 0;
    bool digit_part = false;
    for (size_t i = 0; i + 1 < n; i++)
        if (name[i] == '.') {
            dots++;
            digit_part |= dots == 3 && isdigit((unsigned char)name[i + 1]);
        }
    return dots == 4 && digit_part && n > 8 && memcmp(name, "blk.", 4) == 0 && memmem(name, n, ".ffn_", 5) != NULL;
}

md_part md_part_of(const char *name, size_t n)
{
    if (md_is_legacy_expert(name, n))
        return MD_PART_ROUTED;
    for (size_t i = 0; i < sizeof part_rows / sizeof *part_rows; i++) {
        const char *pattern = part_rows[i].name, *dot = strrchr(pattern, '.');
        if (matches(pattern, (size_t)(dot - pattern), name, n))
            return part_rows[i].part;
    }
    return memmem(name, n, "attn", 4) ? MD_PART_ATTENTION : MD_PART_OTHER;
}

static const char *copy_str(md_arena *arena, md_str s)
{
    const char *p = md_arena_strndup(arena, s.s ? s.s : "", s.n);
    return p ? p : "";
}

static const char *string_of(const md_gguf *g, const char *key, md_arena *arena)
{
    md_str s = {0};
    if (md_gguf_string(g, key, &s, NULL, NULL) != MD_OK)
        s = (md_str){0};
    return copy_str(arena, s);
}

static void count_parts(const md_gguf *g, md_model_info *info)
{
    for (size_t i = 0; i < md_gguf_n_tensors(g); i++) {
        const md_gguf_tensor *t = md_gguf_tensor_at(g, i);
        md_part_size *p = &info->part[md_part_of(t->name.s, t->name.n)];
        p->tensors++;
        p->weights += (uint64_t)t->n_elements;
        p->bytes += t->bytes;
        info->weights += (uint64_t)t->n_elements;
    }
}

static void describe_tokenizer(const md_gguf *g, md_arena *arena, md_model_info *info)
{
    const char *model = string_of(g, "tokenizer.ggml.model", arena), *pre = string_of(g, "tokenizer.ggml.pre", arena);
    char line[160];
    const char *kind = strcmp(model, "gpt2") == 0 ? "bpe" : strcmp(model, "llama") == 0 ? "spm" : model;
    snprintf(line, sizeof line, pre[0] ? "%s (%s)" : "%s", kind, pre);
    info->tokenizer = copy_str(arena, (md_str){line, strlen(line)});
}

static md_status fill_from_hparams(const md_gguf *g, const md_arch *arch, md_arena *arena, md_model_info *info,
                                   md_error *err)
{
    md_hparams hp;
    MD_TRY(md_hparams_read(g, arch, arena, &hp, err));
    info->causal = hp.causal;
    info->has_logits = !arch->encoder;
    info->pooling = hp.pooling;
    info->n_layer = hp.n_layer;
    info->n_embd = hp.n_embd;
    info->n_vocab = hp.n_vocab;
    info->n_ctx_train = hp.n_ctx;
    const md_layer_hparams *attends = &hp.layer[0], *dense = &hp.layer[0];
    for (int32_t l = hp.n_layer - 1; l >= 0; l--) { /* the first that attends, the first with a dense part */
        attends = hp.layer[l].mixer == MD_MIXER_ATTENTION ? &hp.layer[l] : attends;
        dense = hp.layer[l].has_ffn && !hp.layer[l].routed ? &hp.layer[l] : dense;
    }
    info->n_head = attends->n_head;
    info->n_head_kv = attends->n_head_kv;
    info->n_head_dim = hp.dim_k;
    info->n_expert = hp.n_expert;
    info->n_expert_used = hp.n_expert_used;
    info->n_ff_expert = hp.expert_width;
    info->n_expert_shared = info->part[MD_PART_SHARED].tensors > 0;
    info->n_ff = dense->has_ffn && !dense->routed ? dense->n_ff : 0;
    info->weights_active = info->weights;
    if (hp.n_expert > 0) {
        char line[320];
        md_hparams_describe_router(&hp, line, sizeof line);
        info->router = copy_str(arena, (md_str){line, strlen(line)});
        const uint64_t routed = info->part[MD_PART_ROUTED].weights;
        const int32_t used = hp.n_expert_used < hp.n_expert ? hp.n_expert_used : hp.n_expert;
        info->weights_active -= routed - routed / (uint64_t)hp.n_expert * (uint64_t)used;
    }
    if (arch->encoder || md_gguf_find_tensor(g, "output.weight"))
        info->weights_active -= (uint64_t)hp.n_vocab * (uint64_t)hp.n_embd;
    return MD_OK;
}

md_status md_info_fill(const md_gguf *g, const md_arch *arch, md_arena *arena, md_model_info *info, md_error *err)
{
    *info = (md_model_info){.router = "", .causal = true, .has_logits = true, .pooling = MD_POOLING_LAST};
    info->arch = string_of(g, "general.architecture", arena);
    info->name = string_of(g, "general.name", arena);
    info->file_bytes = md_gguf_file_bytes(g);
    info->packed = md_gguf_find(g, MD_PACKED_KEY_ARCH) != NULL;
    info->for_streaming = info->packed && md_gguf_find(g, MD_PACKED_KEY_VIEW_NAME) != NULL;
    info->has_chat_template = md_gguf_find(g, "tokenizer.chat_template") != NULL;
    describe_tokenizer(g, arena, info);
    count_parts(g, info);
    return arch ? fill_from_hparams(g, arch, arena, info, err) : MD_OK;
}
