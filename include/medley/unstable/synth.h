/* SPDX-License-Identifier: Apache-2.0
 *
 * Small models with random weights, for tests: real files of a family, with every tensor and key that such a file has
 * and a tokenizer inside, that say nothing sensible. Not stable yet. */
#ifndef MEDLEY_UNSTABLE_SYNTH_H
#define MEDLEY_UNSTABLE_SYNTH_H

#include <medley/error.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What to make. Zero (NULL, false) in a field means the value in brackets. */
typedef struct md_synth_spec {
    const char *arch;  /* "llama" (Mixtral's with n_expert > 0), "qwen2", "qwen2moe", "qwen3", "qwen3moe", "olmoe",
                        * "granite", "granitemoe", "smollm3", "gpt-oss", "bert", "medley-moe"; required */
    int n_layer;       /* [2] */
    int n_embd;        /* width of the model [64] */
    int n_head;        /* [4] */
    int n_head_kv;     /* divides n_head [half of n_head; olmoe, bert: n_head] */
    int head_dim;      /* even [n_embd / n_head] */
    int n_ff;          /* width of a dense FFN [2 n_embd] */
    int n_expert;      /* [families that have experts only: 8; llama: none] */
    int n_expert_used; /* [2] */
    int n_ff_exp;      /* width of an expert [n_embd / 2] */
    int n_ff_shexp;    /* width of the shared expert [qwen2moe: n_ff_exp; granitemoe: no shared expert] */
    int n_vocab;       /* at least what the tokenizer inside needs, about 290 [320] */
    int n_ctx;         /* context length that the file claims [4096; bert: 512] */
    int window;        /* positions of a sliding window; gpt-oss [12] */
    /* Types of the matrices by name, "Q4_K"; any type that a matrix may have. Rows must be whole blocks. [F32] */
    const char *type_attn; /* q, k, v, output */
    const char *type_ffn;  /* dense FFN, experts, shared expert; routers are F32 */
    const char *type_embd; /* token embedding */
    const char *type_out;  /* output matrix */
    bool fused_gate_up;    /* experts: gate and up in one tensor, gate rows first; not gpt-oss */
    bool legacy_experts;   /* llama: one tensor an expert, as in early Mixtral files */
    bool tied_output;      /* no output matrix: the embedding serves as one */
    bool rope_factors;     /* llama: a tensor with a divisor for each rope frequency */
    const char *router;    /* medley-moe: a router of docs/routers.md: "expert-choice", "expert-choice-encoder", "base",
                            * "moge", "null", "moe++", "hmoe", "chain", "chain-outer", "rmoe", "recursion", "capacity-drop",
                            * "capacity-reroute", "sparse-mixer", "sqrt-softplus" [top-k of a softmax] */
    uint64_t seed;
} md_synth_spec;

/* Writes the model to `path`, which appears whole or not at all. The same spec gives the same bytes on every machine.
 * MD_ERR_ARGUMENT names a field that makes no sense. Thread-safe. */
MD_API MD_MUST_USE md_status md_synth_write(const md_synth_spec *spec, const char *path, md_error *err);

#ifdef __cplusplus
}
#endif
#endif
