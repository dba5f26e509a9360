/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the tokenizer share: the tokenizer itself, immutable once md_tokenizer_new returns, and the scratch
 * of one md_tokenize call. Not for use outside tok*.c, detok.c and chat_tokens.c. */
#ifndef MD_TEXT_TOK_H
#define MD_TEXT_TOK_H

#include "base/mem.h"
#include "text/pretok.h"
#include "text/tok_special.h"
#include "text/tok_table.h"
#include "text/vocab.h"

typedef enum md_tok_kind {
    MD_TOK_BYTES, /* BPE on bytes; stored names are in GPT-2's visible alphabet */
    MD_TOK_CHARS, /* BPE on characters, U+2581 for the space, bytes as <0xXX> */
    MD_TOK_SPM,   /* SentencePiece BPE: as CHARS, but merges are ordered by the score of what they make */
} md_tok_kind;

struct md_tokenizer {
    md_tok_kind kind;
    const md_pretok_rule *rule; /* borrowed, static; NULL for SPM */
    md_pretok *pretok;          /* owned; NULL for SPM */
    int32_t bos, eos, unk;
    bool add_bos, add_eos, add_space_prefix;
    int32_t n_tokens;
    md_strings name; /* as stored */
    md_strings text; /* as it appears in text */
    size_t max_text; /* bytes of the longest text */
    uint8_t *type;   /* owned, [n_tokens] md_token_type */
    bool *eog;       /* owned, [n_tokens] */
    md_string_table by_name;
    md_string_table by_text; /* tokens that a whole word may be; empty without MD_PRETOK_WHOLE_WORDS */
    int32_t byte_id[256];    /* token of a single byte, -1: none */
    md_merge_table merges;   /* BPE */
    uint32_t *priority;      /* SPM, owned, [n_tokens]: lower merges first */
    size_t max_piece;        /* SPM: bytes of the longest name that merging can make */
    bool spaces_lead;        /* CHARS, SPM: no token has U+2581 after another character, so merges never cross there */
    md_special special;
};

/* May merging text give this token? Never control tokens: typed text must not become one. */
static inline bool md_tok_is_text(const md_tokenizer *t, int32_t id)
{
    return t->type[id] == MD_TOKEN_NORMAL || t->type[id] == MD_TOKEN_USER_DEFINED;
}

/* Marks in t->eog what ends an answer, and makes control tokens of those that only ever are that. Needs by_name. */
void md_tok_mark_eog(md_tokenizer *t, int32_t eot, int32_t eom);

/* --- merging, tok_merge.c --- */

#define MD_NO_RANK   UINT32_MAX
#define MD_NO_SYMBOL UINT32_MAX

/* A stretch of the word that is one token so far, linked to its neighbours. */
typedef struct md_symbol {
    uint32_t prev, next; /* MD_NO_SYMBOL at the ends */
    uint32_t start, n;   /* bytes of the word (kinds that work on characters only) */
    int32_t id;          /* -1: a character that is no token */
    int32_t merged;      /* what it and the next become... */
    uint32_t rank;       /* ...and when; MD_NO_RANK: never, or this symbol is gone */
} md_symbol;

typedef struct md_merge_scratch {
    md_symbol *symbol; /* owned, [cap] */
    size_t cap;
    uint64_t *heap; /* owned, [heap_cap]: rank << 32 | symbol */
    size_t heap_n, heap_cap;
} md_merge_scratch;

void md_merge_scratch_done(md_merge_scratch *s);
/* Room for n symbols in s->symbol; what is in it is lost. MD_ERR_LIMIT for a word that 32 bits cannot count. */
md_status md_merge_reserve(md_merge_scratch *s, size_t n, md_error *err) MD_MUST_USE;
/* Merges symbols [0, n) (start, n and id filled in) of a word until nothing merges; afterwards the symbols linked by
 * `next` from 0 on remain. O(n log n). */
md_status md_merge_run(const md_tokenizer *t, md_merge_scratch *s, const char *word, size_t n,
                       md_error *err) MD_MUST_USE;
/* The same for a short word given as ids of bytes, in place: returns how many are left. n <= MD_MERGE_SHORT. */
#define MD_MERGE_SHORT 40
size_t md_merge_short(const md_merge_table *merges, int32_t *id, size_t n);

/* --- one call of md_tokenize --- */
typedef struct md_encoder {
    const md_tokenizer *t;
    md_tokens *out;
    md_pretok_scratch *pretok; /* owned; NULL for SPM */
    md_merge_scratch merge;
    md_buf escaped; /* text with U+2581 for spaces */
} md_encoder;

md_status md_encode_bpe(md_encoder *e, const char *text, size_t n, md_error *err) MD_MUST_USE;
/* prefix: a space is put in front. */
md_status md_encode_spm(md_encoder *e, const char *text, size_t n, bool prefix, md_error *err) MD_MUST_USE;
#define MD_SPACE_MARK "\xe2\x96\x81" /* U+2581, SentencePiece's visible space */

#endif
