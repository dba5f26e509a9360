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

/* The tokenizer of a GGUF file, of a whole model or of a file with a vocabulary only; no weights are read. *out is NULL
 * on failure, else the caller frees it with md_tokenizer_free. */
MD_API MD_MUST_USE md_status md_tokenizer_open(const char *path, md_tokenizer **out, md_error *err);
/* NULL allowed. Only for what md_tokenizer_open gave. */
MD_API void md_tokenizer_free(md_tokenizer *t);

enum md_tokenize_flags {
    MD_TOKENIZE_BOS = 1,     /* put the BOS token in front if the model wants one (and an EOS or SEP at the end) */
    MD_TOKENIZE_SPECIAL = 2, /* "<|im_end|>" in the text becomes that special token; without it, it stays text */
    MD_TOKENIZE_INNER = 4,   /* the text continues an earlier piece: no leading space is added (SentencePiece) */
};

/* Appends the tokens of text[0..n) to *out. Any bytes are accepted: what is not valid UTF-8 goes through byte tokens,
 * is U+FFFD to a unigram vocabulary, and is dropped by WordPiece. A byte that the vocabulary has no token for becomes its
 * unknown token, or is dropped, as the field does (SmolLM2 lacks 21), and unigram and WordPiece normalise: decoding need
 * not give back every text. flags: md_tokenize_flags. On failure *out is as it was. */
MD_API MD_MUST_USE md_status md_tokenize(const md_tokenizer *t, const char *text, size_t n, unsigned flags,
                                         md_tokens *out, md_error *err);

/* How a token came to be. */
typedef enum md_token_how {
    MD_TOKEN_ADDED,    /* put in front or at the end because the model wants it there */
    MD_TOKEN_NAMED,    /* its name stood in the text */
    MD_TOKEN_WHOLE,    /* a whole piece, taken as it is whatever merges would make of it */
    MD_TOKEN_SINGLE,   /* a byte or character that merged with nothing */
    MD_TOKEN_MERGED,   /* a merge made it */
    MD_TOKEN_CHOSEN,   /* on the path of the best sum of scores (unigram) */
    MD_TOKEN_LONGEST,  /* the longest that matched (WordPiece) */
    MD_TOKEN_FALLBACK, /* no token says the text: one of its bytes, or the unknown token */
} md_token_how;

typedef struct md_token_note {
    size_t begin, end; /* bytes of the text that it stands for; equal if it stands for none */
    int64_t piece;     /* number of the piece of text, from 0, that it is part of; -1 for ADDED and NAMED */
    md_token_how how;
    int32_t rank; /* number of the merge that made it, from 0; -1: none, or merges have no numbers (SentencePiece) */
} md_token_note;

/* A growing list of notes. Starts as {0}; freed with md_token_notes_done. */
typedef struct md_token_notes {
    md_token_note *at; /* [n], owned; NULL while empty */
    size_t n;
    size_t cap;
} md_token_notes;
MD_API void md_token_notes_done(md_token_notes *notes);

/* md_tokenize, the same tokens, with a note for each; slower. On failure both lists are as they were. */
MD_API MD_MUST_USE md_status md_tokenize_explain(const md_tokenizer *t, const char *text, size_t n, unsigned flags,
                                                 md_tokens *out, md_token_notes *notes, md_error *err);
/* "added", "named", "whole", "single", "merged", "chosen", "longest", "fallback". Static; "" for other values. */
MD_API const char *md_token_how_name(md_token_how how);

/* Number of tokens in the vocabulary. */
MD_API int32_t md_tokenizer_size(const md_tokenizer *t);
/* Name of the kind: "bpe", "spm" (SentencePiece BPE), "unigram" or "wordpiece". Borrowed, static. */
MD_API const char *md_tokenizer_kind(const md_tokenizer *t);
/* Name of the splitting rule of a BPE tokenizer, e.g. "gpt-2"; "" otherwise. Borrowed from t. */
MD_API const char *md_tokenizer_pre(const md_tokenizer *t);
/* The token's bytes as they appear in text; *n gets the length. Special tokens give their name ("<|im_end|>").
 * Borrowed from t; NULL (and *n = 0) for an id out of range. Not NUL-terminated. */
MD_API const char *md_token_bytes(const md_tokenizer *t, int32_t id, size_t *n);
/* What the file says of the token: "normal", "unknown", "control", "user-defined", "unused" or "byte". Borrowed, static;
 * "" for an id out of range. */
MD_API const char *md_token_type_name(const md_tokenizer *t, int32_t id);
/* The token's score; false, and *score = 0, if the vocabulary has none (BPE, WordPiece) or the id is out of range. */
MD_API bool md_token_score(const md_tokenizer *t, int32_t id, float *score);
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
