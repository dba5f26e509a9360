/* SPDX-License-Identifier: Apache-2.0
 *
 * What a tokenizer is made of: plain arrays, never a file. `model/` fills this from GGUF metadata. */
#ifndef MD_TEXT_VOCAB_H
#define MD_TEXT_VOCAB_H

#include <medley/tokenizer.h>

/* Kinds of tokens, ids as GGUF's tokenizer.ggml.token_type has them. */
enum md_token_type {
    MD_TOKEN_NORMAL = 1,
    MD_TOKEN_UNKNOWN = 2,
    MD_TOKEN_CONTROL = 3,
    MD_TOKEN_USER_DEFINED = 4,
    MD_TOKEN_UNUSED = 5,
    MD_TOKEN_BYTE = 6,
};

typedef struct md_vocab_str {
    const char *s; /* borrowed during md_tokenizer_new only */
    size_t n;
} md_vocab_str;

/* Everything is borrowed for the duration of md_tokenizer_new and copied. */
typedef struct md_vocab {
    const char *model;         /* "gpt2" (byte-level BPE), "gemma4" and "whitespace" (BPE on characters), "llama"
                                * (SentencePiece BPE), "t5" (SentencePiece unigram) or "bert" (WordPiece); others are
                                * refused by name */
    const char *pre;           /* BPE splitting rule, e.g. "smollm"; NULL or "": "default" */
    const md_vocab_str *token; /* [n_tokens], as stored (byte-level BPE: in GPT-2's visible alphabet) */
    const int32_t *type;       /* [n_tokens] md_token_type, or NULL: all normal */
    const float *score;        /* [n_tokens] SentencePiece scores, or NULL; BPE and WordPiece have none */
    size_t n_tokens;
    const md_vocab_str *merge; /* [n_merges] "left right", BPE only */
    size_t n_merges;
    int32_t bos, eos, unk, eot, eom;            /* -1: none */
    int32_t sep;                                /* WordPiece: ends a text; -1: none */
    int32_t add_bos, add_eos, add_space_prefix; /* 0, 1, or -1: the kind's default */
    int32_t merge_spaces;                       /* unigram: spaces at the ends are dropped, runs are one; -1: no */
    const void *charsmap;                       /* unigram: SentencePiece's precompiled normalisation, or NULL */
    size_t charsmap_bytes;
    int32_t lowercase;     /* WordPiece, "whitespace"; -1: yes, and no */
    int32_t strip_accents; /* WordPiece; -1: as lowercase */
} md_vocab;

md_status md_tokenizer_new(const md_vocab *v, md_tokenizer **out, md_error *err) MD_MUST_USE;

#endif
