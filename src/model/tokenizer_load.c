/* SPDX-License-Identifier: Apache-2.0
 *
 * GGUF metadata to an md_vocab. Checks that arrays are there, of the right kind and of one length; what the values mean
 * is checked by the tokenizer. Files without ids of special tokens get those that are customary for their kind, if any. */
#include "model/tokenizer_load.h"

#include "base/mem.h"
#include "base/status.h"
#include "text/vocab.h"

#include <string.h>

#define KEY "tokenizer.ggml."

/* What the md_vocab borrows. */
typedef struct parts {
    md_arena arena;
    md_vocab vocab;
} parts;

static md_status read_name(parts *p, const md_gguf *g, const char *key, const char **out, md_error *err)
{
    md_str s = {0};
    bool found = false;
    MD_TRY(md_gguf_string(g, key, &s, &found, err));
    *out = NULL;
    if (!found)
        return MD_OK;
    *out = md_arena_strndup(&p->arena, s.s, s.n);
    return *out ? MD_OK : md_fail_memory(err, "the vocabulary");
}

/* An array of strings; *n = 0 when the key is absent. */
static md_status read_strings(parts *p, const md_gguf *g, const char *key, const md_vocab_str **out, size_t *n,
                              md_error *err)
{
    *out = NULL;
    *n = 0;
    const md_gguf_kv *kv = md_gguf_find(g, key);
    if (!kv)
        return MD_OK;
    MD_FAIL_IF(kv->kind != MD_GGUF_ARRAY || kv->elem != MD_GGUF_STRING, MD_ERR_FORMAT, "%s is not an array of strings",
               key);
    md_vocab_str *s = md_arena_alloc(&p->arena, kv->count, sizeof *s);
    if (!s)
        return md_fail_memory(err, "the vocabulary");
    for (uint64_t i = 0; i < kv->count; i++)
        s[i] = (md_vocab_str){.s = kv->strings[i].s, .n = kv->strings[i].n};
    *out = s;
    *n = kv->count;
    return MD_OK;
}

/* An array with an element for each token; *found is false when the key is absent. */
static md_status find_column(const md_gguf *g, const char *key, size_t n_tokens, const md_gguf_kv **out, md_error *err)
{
    *out = md_gguf_find(g, key);
    if (!*out)
        return MD_OK;
    MD_FAIL_IF((*out)->kind != MD_GGUF_ARRAY, MD_ERR_FORMAT, "%s is not an array", key);
    MD_FAIL_IF((*out)->count < n_tokens, MD_ERR_FORMAT, "%s has %llu elements for %zu tokens", key,
               (unsigned long long)(*out)->count, n_tokens);
    return MD_OK;
}

static md_status read_types(parts *p, const md_gguf *g, md_error *err)
{
    const md_gguf_kv *kv;
    MD_TRY(find_column(g, KEY "token_type", p->vocab.n_tokens, &kv, err));
    if (!kv)
        return MD_OK;
    int32_t *type = md_arena_alloc(&p->arena, p->vocab.n_tokens, sizeof *type);
    if (!type)
        return md_fail_memory(err, "the vocabulary");
    for (size_t i = 0; i < p->vocab.n_tokens; i++) {
        int64_t v;
        MD_TRY(md_gguf_array_i64(kv, i, &v, err));
        type[i] = v < 0 || v > INT32_MAX ? INT32_MAX : (int32_t)v;
    }
    p->vocab.type = type;
    return MD_OK;
}

static md_status read_scores(parts *p, const md_gguf *g, md_error *err)
{
    const md_gguf_kv *kv;
    MD_TRY(find_column(g, KEY "scores", p->vocab.n_tokens, &kv, err));
    if (!kv)
        return MD_OK;
    float *score = md_arena_alloc(&p->arena, p->vocab.n_tokens, sizeof *score);
    if (!score)
        return md_fail_memory(err, "the vocabulary");
    for (size_t i = 0; i < p->vocab.n_tokens; i++)
        MD_TRY(md_gguf_array_f32(kv, i, &score[i], err));
    p->vocab.score = score;
    return MD_OK;
}

/* Some writers say "none" with the largest number. */
static md_status read_id(const md_gguf *g, const char *key, int32_t absent, int32_t *out, md_error *err)
{
    uint32_t v = UINT32_MAX;
    bool found = false;
    *out = absent;
    MD_TRY(md_gguf_u32(g, key, &v, &found, err));
    if (!found)
        return MD_OK;
    MD_FAIL_IF(v > INT32_MAX && v != UINT32_MAX, MD_ERR_FORMAT, "%s is %u: not a token", key, v);
    *out = v == UINT32_MAX ? -1 : (int32_t)v;
    return MD_OK;
}

static md_status read_flag(const md_gguf *g, const char *key, int32_t *out, md_error *err)
{
    bool v = false, found = false;
    MD_TRY(md_gguf_bool(g, key, &v, &found, err));
    *out = found ? v : -1;
    return MD_OK;
}

static md_status read_charsmap(parts *p, const md_gguf *g, md_error *err)
{
    const md_gguf_kv *kv = md_gguf_find(g, KEY "precompiled_charsmap");
    if (!kv)
        return MD_OK;
    MD_FAIL_IF(kv->kind != MD_GGUF_ARRAY || (kv->elem != MD_GGUF_I8 && kv->elem != MD_GGUF_U8), MD_ERR_FORMAT,
               KEY "precompiled_charsmap is not an array of bytes");
    p->vocab.charsmap = kv->data;
    p->vocab.charsmap_bytes = kv->count;
    return MD_OK;
}

/* What files of a kind mean when they name no special tokens. Kinds that are not listed have none. */
typedef struct customs {
    const char *model;
    int32_t bos, eos, unk, sep;
} customs;

static const customs customary[] = {
    {"llama", 1, 2, 0, -1},
    {"t5", -1, 1, 2, -1},
    {"bert", 101, -1, 100, 102},
};

static customs customs_of(const md_vocab *v)
{
    customs c = {.bos = -1, .eos = -1, .unk = -1, .sep = -1};
    for (size_t i = 0; i < sizeof customary / sizeof customary[0]; i++)
        if (strcmp(v->model, customary[i].model) == 0)
            c = customary[i];
    int32_t *id[] = {&c.bos, &c.eos, &c.unk, &c.sep};
    for (size_t i = 0; i < sizeof id / sizeof id[0]; i++)
        if (*id[i] >= 0 && (size_t)*id[i] >= v->n_tokens)
            *id[i] = -1;
    return c;
}

static md_status read_ids(md_vocab *v, const md_gguf *g, md_error *err)
{
    const customs c = customs_of(v);
    int32_t cls;
    MD_TRY(read_id(g, KEY "cls_token_id", c.bos, &cls, err));
    MD_TRY(read_id(g, KEY "bos_token_id", strcmp(v->model, "bert") == 0 ? cls : c.bos, &v->bos, err));
    MD_TRY(read_id(g, KEY "eos_token_id", c.eos, &v->eos, err));
    MD_TRY(read_id(g, KEY "unknown_token_id", c.unk, &v->unk, err));
    MD_TRY(read_id(g, KEY "eot_token_id", -1, &v->eot, err));
    MD_TRY(read_id(g, KEY "eom_token_id", -1, &v->eom, err));
    /* The key is spelled like this in files. */
    return read_id(g, KEY "seperator_token_id", c.sep, &v->sep, err);
}

static md_status read_flags(md_vocab *v, const md_gguf *g, md_error *err)
{
    MD_TRY(read_flag(g, KEY "add_bos_token", &v->add_bos, err));
    MD_TRY(read_flag(g, KEY "add_eos_token", &v->add_eos, err));
    MD_TRY(read_flag(g, KEY "add_space_prefix", &v->add_space_prefix, err));
    MD_TRY(read_flag(g, KEY "remove_extra_whitespaces", &v->merge_spaces, err));
    MD_TRY(read_flag(g, KEY "normalizer.lowercase", &v->lowercase, err));
    return read_flag(g, KEY "normalizer.strip_accents", &v->strip_accents, err);
}

static md_status read_vocab(parts *p, const md_gguf *g, md_error *err)
{
    md_vocab *v = &p->vocab;
    MD_TRY(read_name(p, g, KEY "model", &v->model, err));
    MD_FAIL_IF(!v->model, MD_ERR_FORMAT, "the file has no tokenizer (" KEY "model)");
    MD_TRY(read_name(p, g, KEY "pre", &v->pre, err));
    MD_TRY(read_strings(p, g, KEY "tokens", &v->token, &v->n_tokens, err));
    MD_FAIL_IF(v->n_tokens == 0, MD_ERR_FORMAT, "the tokenizer has no vocabulary (" KEY "tokens)");
    MD_TRY(read_types(p, g, err));
    MD_TRY(read_scores(p, g, err));
    MD_TRY(read_strings(p, g, KEY "merges", &v->merge, &v->n_merges, err));
    MD_FAIL_IF(!v->merge && strcmp(v->model, "gpt2") == 0, MD_ERR_FORMAT,
               "the tokenizer has no merges (" KEY "merges)");
    MD_TRY(read_charsmap(p, g, err));
    MD_TRY(read_ids(v, g, err));
    return read_flags(v, g, err);
}

md_status md_tokenizer_from_gguf(const md_gguf *g, md_tokenizer **out, md_error *err)
{
    *out = NULL;
    parts p = {0};
    md_status status = read_vocab(&p, g, err);
    if (status == MD_OK)
        status = md_tokenizer_new(&p.vocab, out, err);
    md_arena_done(&p.arena);
    return status;
}

md_status md_tokenizer_open(const char *path, md_tokenizer **out, md_error *err)
{
    MD_FAIL_IF(!path || !out, MD_ERR_ARGUMENT, "md_tokenizer_open needs a path and a place for the tokenizer");
    *out = NULL;
    md_gguf *g;
    MD_TRY(md_gguf_open(path, MD_GGUF_HEADER, &g, err));
    md_status status = md_tokenizer_from_gguf(g, out, err);
    if (status != MD_OK)
        status = md_fail_within(err, status, "this model cannot be given text");
    md_gguf_close(g);
    return status;
}
