/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the tokenizer share: the tokenizer itself, immutable once md_tokenizer_new returns, and the scratch
 * of one md_tokenize call. Not for use outside tok*.c, detok.c and chat_tokens.c. */
#ifndef MD_TEXT_TOK_H
#define MD_TEXT_TOK_H

#include "base/mem.h"
#include "text/pretok.h"
#include "text/tok_charsmap.h"
#include "text/tok_special.h"
#include "text/tok_table.h"
#include "text/tok_trie.h"
#include "text/vocab.h"

typedef enum md_tok_kind {
    MD_TOK_BYTES,     /* BPE on bytes; stored names are in GPT-2's visible alphabet */
    MD_TOK_CHARS,     /* BPE on characters, U+2581 for the space, bytes as <0xXX> */
    MD_TOK_SPM,       /* SentencePiece BPE: as CHARS, but merges are ordered by the score of what they make */
    MD_TOK_UNIGRAM,   /* SentencePiece unigram: the pieces whose scores have the greatest sum */
    MD_TOK_WORDPIECE, /* words of normalised text, each the longest pieces from its front on */
} md_tok_kind;

struct md_tokenizer {
    md_tok_kind kind;
    const md_pretok_rule *rule; /* borrowed, static; NULL but for BYTES and CHARS */
    md_pretok *pretok;          /* owned; NULL likewise */
    int32_t bos, eos, unk;
    int32_t tail; /* what ends a text as the model wants it: EOS, WordPiece's [SEP], or -1 */
    bool add_bos, add_space_prefix;
    bool drops_first_space; /* a text's first space is the tokenizer's, not the text's */
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
    float *score;            /* SPM, UNIGRAM, owned, [n_tokens] */
    size_t max_piece;        /* SPM: bytes of the longest name that merging can make */
    bool spaces_lead;        /* no token has U+2581 after another character, so none crosses the front of a mark */
    md_trie pieces;          /* UNIGRAM; WORDPIECE: fronts of words at the first root, what goes on at the second */
    double unk_score;        /* UNIGRAM: of a character that no piece can say */
    md_charsmap charsmap;    /* UNIGRAM */
    bool merge_spaces;       /* UNIGRAM: runs of spaces count as one, and none at the ends */
    bool lowercase;          /* WORDPIECE, and CHARS that drop white space */
    bool strip_accents;      /* WORDPIECE */
    md_special special;
};

/* May merging text give this token? Never control tokens: typed text must not become one. */
static inline bool md_tok_is_text(const md_tokenizer *t, int32_t id)
{
    return t->type[id] == MD_TOKEN_NORMAL || t->type[id] == MD_TOKEN_USER_DEFINED;
}

/* The parts of md_tokenizer_new that are one kind's own business; scores and types are in place. */
md_status md_unigram_init(md_tokenizer *t, const md_vocab *v, md_error *err) MD_MUST_USE;
md_status md_wordpiece_init(md_tokenizer *t, md_error *err) MD_MUST_USE;

/* Marks in t->eog what ends an answer, and makes control tokens of those that only ever are that. Needs by_name. */
void md_tok_mark_eog(md_tokenizer *t, int32_t eot, int32_t eom);

/* --- merging, tok_merge.c --- */

#define MD_NO_RANK   UINT32_MAX
#define MD_NO_SYMBOL UINT32_MAX

/* A stretch of the word that is one token so far, linked to its neighbours. */
typedef struct md_symbol {
    uint32_t prev, next; /* MD_NO_SYMBOL at the ends */
    uint32_t start, n;   /* bytes of the word (n: in kinds that work on characters only) */
    int32_t id;          /* -1: a character that is no token */
    int32_t merged;      /* what it and the next become... */
    uint32_t rank;       /* ...and when; MD_NO_RANK: never, or this symbol is gone */
    uint32_t made;       /* rank of the merge that made it, MD_NO_RANK: none */
} md_symbol;

typedef struct md_merge_scratch {
    md_symbol *symbol; /* owned, [cap] */
    size_t cap;
    uint64_t *heap; /* owned, [heap_cap]: rank << 32 | symbol */
    size_t heap_n, heap_cap;
    uint64_t work; /* pairs looked at */
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

/* The best way to a place in a text, while it is looked for. */
typedef struct md_path_node {
    double score;
    int32_t id;    /* piece that ends here */
    uint32_t from; /* where it begins */
} md_path_node;

typedef struct md_span {
    size_t begin, end;
} md_span;

typedef struct md_encoder {
    const md_tokenizer *t;
    md_tokens *out;
    md_token_notes *notes;     /* borrowed; NULL: nobody asks how tokens came to be */
    md_pretok_scratch *pretok; /* owned; NULL for kinds without a splitting rule */
    md_merge_scratch merge;
    md_buf escaped;     /* text as the vocabulary spells it: normalised, U+2581 for spaces */
    md_path_node *path; /* owned, [path_cap] */
    size_t path_cap;
    uint64_t work; /* steps taken, to be counted by tests: bytes of text, pairs, steps of tries */
    /* For notes: which bytes of the input the text at hand stands for. */
    const char *segment;  /* the input between two special tokens... */
    size_t segment_at;    /* ...and where it begins */
    md_buf spans;         /* an md_span in the segment for each byte of e->escaped */
    const char *stand_in; /* not NULL: text that replaces the one byte here */
    int64_t piece;        /* number of the piece at hand */
} md_encoder;

/* Appends a token that stands for s[0..n), which lies in the segment or in e->escaped. rank: -1 for none. */
md_status md_emit(md_encoder *e, int32_t id, const char *s, size_t n, md_token_how how, uint32_t rank,
                  md_error *err) MD_MUST_USE;
/* The same for bytes of the input. */
md_status md_emit_at(md_encoder *e, int32_t id, md_span input, md_token_how how, uint32_t rank,
                     md_error *err) MD_MUST_USE;
/* Byte tokens for s[0..n), or one unknown token if the vocabulary lacks one of them. */
md_status md_emit_fallback(md_encoder *e, const char *s, size_t n, md_error *err) MD_MUST_USE;
/* Appends to e->escaped what segment bytes [begin, end) have become. */
void md_escaped_put(md_encoder *e, const char *s, size_t n, size_t begin, size_t end);
void md_escaped_reset(md_encoder *e);
md_status md_escaped_check(const md_encoder *e, md_error *err) MD_MUST_USE; /* was there memory for all of it? */
/* The small form of a character, one or two: returns how many. */
size_t md_small_letters(uint32_t cp, uint32_t out[2]);
/* Where the next word of s[0..n), n > 0, begins: at the first mark that follows something else. */
size_t md_marked_word(const char *s, size_t n);

md_status md_encode_bpe(md_encoder *e, const char *text, size_t n, md_error *err) MD_MUST_USE;
/* prefix: a space is put in front. */
md_status md_encode_spm(md_encoder *e, const char *text, size_t n, bool prefix, md_error *err) MD_MUST_USE;
md_status md_encode_unigram(md_encoder *e, const char *text, size_t n, bool prefix, md_error *err) MD_MUST_USE;
md_status md_encode_wordpiece(md_encoder *e, const char *text, size_t n, md_error *err) MD_MUST_USE;
#define MD_SPACE_MARK "\xe2\x96\x81" /* U+2581, SentencePiece's visible space */

/* md_tokenize, and how many steps it took: for tests of its bounds. */
md_status md_tokenize_counted(const md_tokenizer *t, const char *text, size_t n, unsigned flags, md_tokens *out,
                              uint64_t *work, md_error *err) MD_MUST_USE;

#endif
