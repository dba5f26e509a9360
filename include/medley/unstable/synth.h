/* SPDX-License-Identifier: Apache-2.0
 *
 * Models with random weights: real files of a family, with every tensor and key that such a file has and a tokenizer
 * inside, that say nothing sensible. Small ones for tests, and with the shapes of public models for measuring speed. Not
 * stable yet. */
#ifndef MEDLEY_UNSTABLE_SYNTH_H
#define MEDLEY_UNSTABLE_SYNTH_H

#include <medley/error.h>
#include <medley/model.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What to make. Zero (NULL, false) in a field means the value in brackets. */
typedef struct md_synth_spec {
    /* The shape of a public model: "olmoe" (as architecture llama), "qwen3-30b-a3b", "mixtral", "deepseek-v2-lite" or
     * "gpt-oss-20b"; fields that are not zero differ from it. Such a model is made for measuring: norms are 1, and weights
     * in blocks are random codes instead of rounded random numbers [none] */
    const char *like;
    const char *arch;  /* "llama" (Mixtral's with n_expert > 0), "qwen2", "qwen2moe", "qwen3", "qwen3moe", "olmoe",
                        * "granite", "granitemoe", "smollm3", "gpt-oss", "deepseek2", "bert", "medley-moe"; required
                        * unless `like` is given */
    int n_layer;       /* [2] */
    int n_embd;        /* width of the model [64] */
    int n_head;        /* [4] */
    int n_head_kv;     /* divides n_head [half of n_head; olmoe, bert: n_head] */
    int head_dim;      /* even [n_embd / n_head] */
    int n_ff;          /* width of a dense FFN [2 n_embd] */
    int n_expert;      /* [families that have experts only: 8; llama: none] */
    int n_expert_used; /* [2] */
    int n_ff_exp;      /* width of an expert [n_embd / 2] */
    int n_ff_shexp;    /* width of the shared expert [qwen2moe, deepseek2: n_ff_exp; granitemoe: no shared expert] */
    int n_kv_rank;     /* deepseek2: numbers from which all keys and values of a token are made [n_embd / 2] */
    int n_rope;        /* deepseek2: the rotated part of a key, beside its head_dim others [head_dim / 2] */
    int n_dense;       /* deepseek2: layers at the beginning without experts [0] */
    int n_vocab;       /* at least what the tokenizer inside needs, about 290 [320] */
    int n_ctx;         /* context length that the file claims [4096; bert: 512] */
    int window;        /* positions of a sliding window; gpt-oss [12] */
    /* Types of the matrices by name, "Q4_K"; any type that a matrix may have. Rows must be whole blocks; with `type`,
     * matrices whose rows are not get the type that public quantizers take then [F32] */
    const char *type;      /* of attention and FFN; with it, weights are random codes as said above [like: Q4_K, for
                            * gpt-oss-20b MXFP4; then embedding and output get it, too, or Q6_K below 4 bits] */
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
    float skew;            /* how much more popular some experts are: the exponent of Zipf's law, 0 to 4 [all alike] */
    uint64_t seed;
    int n_threads;            /* never changes the file [1] */
    md_progress_fn *progress; /* unit: bytes; may be NULL */
    void *progress_user;
} md_synth_spec;

/* Writes the model to `path`, which appears whole or not at all. The same spec gives the same bytes on every machine.
 * MD_ERR_ARGUMENT names a field that makes no sense; MD_ERR_CANCELLED: progress wanted no more. Memory: about 8 MiB,
 * whatever the model. Thread-safe. */
MD_API MD_MUST_USE md_status md_synth_write(const md_synth_spec *spec, const char *path, md_error *err);

/* The same file's header alone: keys and the table of tensors, without the weights behind them. What describes and plans reads it as if
 * it were the whole file. */
MD_API MD_MUST_USE md_status md_synth_write_header(const md_synth_spec *spec, const char *path, md_error *err);

#ifdef __cplusplus
}
#endif
#endif
