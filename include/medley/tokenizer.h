/* SPDX-License-Identifier: Apache-2.0
 *
 * Text to token ids and back. A tokenizer is immutable once made: any number of threads may use it. */
#ifndef MEDLEY_TOKENIZER_H
#define MEDLEY_TOKENIZER_H

#include <medley/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct md_tokenizer md_tokenizer;
typedef struct md_detok md_detok;

/* A growing list of token ids. Starts as {0}; freed with md_tokens_done. */
typedef struct md_tokens {
    int32_t *id; /* [n], owned; NULL while empty */
    size_t n;
    size_t cap;
} md_tokens;
MD_API void md_tokens_done(md_tokens *t);
/* Appends one id. MD_ERR_MEMORY leaves t as it was. */
MD_API MD_MUST_USE md_status md_tokens_push(md_tokens *t, int32_t id, md_error *err);

enum md_tokenize_flags {
    MD_TOKENIZE_BOS = 1,     /* put the BOS token in front if the model wants one (and an EOS at the end likewise) */
    MD_TOKENIZE_SPECIAL = 2, /* "<|im_end|>" in the text becomes that special token; without it, it stays text */
    MD_TOKENIZE_INNER = 4,   /* the text continues an earlier piece: no leading space is added (SentencePiece) */
};

/* Appends the tokens of text[0..n) to *out. Any bytes are accepted: what is not valid UTF-8 goes through byte tokens.
 * A byte that the vocabulary has no token for becomes its unknown token, or is dropped, as the field does (SmolLM2 lacks
 * 21), so decoding need not give back every text. flags: md_tokenize_flags. On failure *out is as it was. */
MD_API MD_MUST_USE md_status md_tokenize(const md_tokenizer *t, const char *text, size_t n, unsigned flags,
                                         md_tokens *out, md_error *err);

/* Number of tokens in the vocabulary. */
MD_API int32_t md_tokenizer_size(const md_tokenizer *t);
/* Name of the kind: "bpe" or "spm". Borrowed, static. */
MD_API const char *md_tokenizer_kind(const md_tokenizer *t);
/* Name of the splitting rule of a BPE tokenizer, e.g. "gpt-2"; "" otherwise. Borrowed from t. */
MD_API const char *md_tokenizer_pre(const md_tokenizer *t);
/* The token's bytes as they appear in text; *n gets the length. Special tokens give their name ("<|im_end|>").
 * Borrowed from t; NULL (and *n = 0) for an id out of range. Not NUL-terminated. */
MD_API const char *md_token_bytes(const md_tokenizer *t, int32_t id, size_t *n);
/* True for control tokens and other tokens that are not text. False out of range. */
MD_API bool md_token_is_special(const md_tokenizer *t, int32_t id);
/* True for every token that ends an answer: EOS, EOT, EOM and the names that serve as such. */
MD_API bool md_token_is_eog(const md_tokenizer *t, int32_t id);
/* The id of a token by its exact stored name, or -1. */
MD_API int32_t md_token_find(const md_tokenizer *t, const char *name, size_t n);
/* -1 when the model has none. */
MD_API int32_t md_token_bos(const md_tokenizer *t);
MD_API int32_t md_token_eos(const md_tokenizer *t);
MD_API bool md_tokenizer_adds_bos(const md_tokenizer *t);

/* --- incremental detokenizer: never gives out half a UTF-8 character --- */
/* special: show special tokens by name instead of dropping them. first: the tokens start a text, so SentencePiece's
 * leading space is dropped. NULL if memory is out. t must outlive it. One thread at a time. */
MD_API md_detok *md_detok_new(const md_tokenizer *t, bool special, bool first);
MD_API void md_detok_free(md_detok *d); /* NULL allowed */
/* Feeds one token. *text gets the bytes that are now complete (may be empty, never NULL), valid until the next call on
 * d; bytes that can never become valid UTF-8 come out as U+FFFD. MD_ERR_ARGUMENT for an id out of range. */
MD_API MD_MUST_USE md_status md_detok_push(md_detok *d, int32_t id, const char **text, size_t *n, md_error *err);
/* What is still held back, with an incomplete character replaced by U+FFFD. d can be used for a new text after it. */
MD_API MD_MUST_USE md_status md_detok_finish(md_detok *d, const char **text, size_t *n, md_error *err);

#ifdef __cplusplus
}
#endif
#endif
