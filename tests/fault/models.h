/* SPDX-License-Identifier: Apache-2.0
 *
 * Small models of every kind that the project can make, for tests that damage them: dense, experts, a shared expert,
 * fused and separate expert tensors, quantized, split in two files. */
#ifndef MD_TEST_FAULT_MODELS_H
#define MD_TEST_FAULT_MODELS_H

#include "support/scratch.h"

#include "format/gguf.h"
#include <medley/unstable/synth.h>

/* 300 tokens and a width of 32 make files of about 90 KB. */
#define SMALL        .n_layer = 2, .n_embd = 32, .n_head = 2, .n_vocab = 300, .n_ctx = 256
#define ALL_TYPES(t) .type_attn = (t), .type_ffn = (t), .type_embd = (t), .type_out = (t)

static const struct small_model {
    const char *name;
    md_synth_spec spec;
} small_models[] = {
    {"dense", {.arch = "llama", SMALL, .rope_factors = true}},
    {"tied", {.arch = "qwen3", SMALL, .tied_output = true}},
    {"experts", {.arch = "olmoe", SMALL, .n_expert = 4}},
    {"fused", {.arch = "qwen3moe", SMALL, .n_expert = 4, .fused_gate_up = true}},
    {"separate", {.arch = "llama", SMALL, .n_expert = 4, .legacy_experts = true}},
    {"shared", {.arch = "qwen2moe", SMALL, .n_expert = 4}},
    {"biases", {.arch = "gpt-oss", SMALL, .n_expert = 4}},
    {"multipliers", {.arch = "granitemoe", SMALL, .n_expert = 4, .n_ff_shexp = 32}},
    {"quantized", {.arch = "qwen3moe", SMALL, .n_expert = 4, .n_ff_exp = 32, ALL_TYPES("Q8_0")}},
    {"superblocks",
     {.arch = "llama", .n_layer = 1, .n_embd = 256, .n_head = 4, .n_ff = 256, .n_vocab = 300, ALL_TYPES("Q4_K")}},
    {"factors", {.arch = "llama", .n_layer = 1, .n_embd = 64, .n_head = 2, .n_vocab = 300, ALL_TYPES("NVFP4")}},
};
enum { N_SMALL_MODELS = sizeof small_models / sizeof small_models[0] };

/* Fails the test with the library's sentence. */
static inline void whole(md_status status, const md_error *err)
{
    if (status != MD_OK)
        fail_msg("%s", err->message);
}

/* Writes the model into the folder and gives its path (static, as scratch_path's). */
static inline const char *make_small_model(const char *folder, const struct small_model *m)
{
    md_error err = {0};
    const char *path = scratch_path(folder, m->name);
    whole(md_synth_write(&m->spec, path, &err), &err);
    return path;
}

/* One of two files with half the tensors each; keys go into both. */
static inline void write_half(const md_gguf *g, uint32_t part, const char *path)
{
    md_error err = {0};
    md_gguf_writer *w;
    const size_t n = md_gguf_n_tensors(g), first = part ? n / 2 : 0, last = part ? n : n / 2;
    whole(md_gguf_writer_new(path, &w, &err), &err);
    for (size_t i = 0; i < md_gguf_n_kv(g); i++)
        whole(md_gguf_copy_kv(w, md_gguf_kv_at(g, i), &err), &err);
    whole(md_gguf_set_u32(w, "split.no", part, &err), &err);
    whole(md_gguf_set_u32(w, "split.count", 2, &err), &err);
    whole(md_gguf_set_i32(w, "split.tensors.count", (int32_t)n, &err), &err);
    for (size_t i = first; i < last; i++) {
        const md_gguf_tensor *t = md_gguf_tensor_at(g, i);
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.s);
        whole(md_gguf_add_tensor(w, name, t->type, t->n_dims, t->dim, &err), &err);
    }
    whole(md_gguf_begin(w, &err), &err);
    for (size_t i = first; i < last; i++) {
        const md_gguf_tensor *t = md_gguf_tensor_at(g, i);
        whole(md_gguf_data(w, t->data, t->bytes, &err), &err);
    }
    whole(md_gguf_commit(w, &err), &err);
    md_gguf_writer_close(w);
}

/* The path of the first of the two files. */
static inline const char *make_split_model(const char *folder, const struct small_model *m)
{
    md_error err = {0};
    md_gguf *g;
    whole(md_gguf_open(make_small_model(folder, m), MD_GGUF_MAP, &g, &err), &err);
    write_half(g, 1, scratch_path(folder, "split-00002-of-00002.gguf"));
    const char *first = scratch_path(folder, "split-00001-of-00002.gguf");
    write_half(g, 0, first);
    md_gguf_close(g);
    return first;
}

#endif
