/* SPDX-License-Identifier: Apache-2.0
 *
 * Splitting text into the words that byte-pair merges never cross. A rule is a few steps applied one after another:
 * each step cuts the pieces that the step before left, and sees one piece at a time, as if it were a text of its own.
 * */
#ifndef MD_TEXT_PRETOK_H
#define MD_TEXT_PRETOK_H

#include <medley/error.h>
#include <stdbool.h>
#include <stddef.h>

#define MD_PRETOK_MAX_STEPS 6

typedef enum md_pretok_op {
    MD_PRETOK_END = 0, /* no further step */
    MD_PRETOK_SPLIT,   /* every match is a piece, and so is what lies between matches */
    /* A match is a run of digits: cut into threes counted from its end, the rest of one or two first... */
    MD_PRETOK_TRIPLES,      /* ...and each group is a piece */
    MD_PRETOK_TRIPLE_STARTS /* ...and each full three begins a new piece; nothing else is cut */
} md_pretok_op;

typedef struct md_pretok_step {
    md_pretok_op op;
    const char *pattern; /* PCRE2, UTF and UCP */
} md_pretok_step;

enum md_pretok_options {
    MD_PRETOK_WHOLE_WORDS = 1, /* a word that is a token is that token, whatever the merges would make of it */
    MD_PRETOK_ADD_BOS = 2,     /* a BOS is added when the file does not say */
    MD_PRETOK_CHARS = 4,       /* merges work on characters with U+2581 for the space, not on GPT-2's byte alphabet */
    MD_PRETOK_WHOLE_NEWLINES = 8, /* as WHOLE_WORDS, for words of newlines only */
    MD_PRETOK_FORCE_BOS = 16,     /* a BOS is added whatever the file says: these models fail without */
    MD_PRETOK_DROP_SPACE = 32,    /* with CHARS: white space only separates words; it has no tokens */
};

typedef struct md_pretok_rule {
    const char *name; /* as in tokenizer.ggml.pre */
    unsigned options;
    md_pretok_step step[MD_PRETOK_MAX_STEPS];
} md_pretok_rule;

/* The rule of that name; "" means "default". NULL when there is none. */
const md_pretok_rule *md_pretok_find(const char *name);
size_t md_pretok_n_rules(void);
const md_pretok_rule *md_pretok_rule_at(size_t i);

/* A compiled rule: immutable, shared by threads. */
typedef struct md_pretok md_pretok;
md_status md_pretok_new(const md_pretok_rule *rule, md_pretok **out, md_error *err) MD_MUST_USE;
void md_pretok_free(md_pretok *p); /* NULL allowed */

/* What matching needs: one a thread. */
typedef struct md_pretok_scratch md_pretok_scratch;
md_pretok_scratch *md_pretok_scratch_new(void); /* NULL: memory is out */
void md_pretok_scratch_free(md_pretok_scratch *s);

/* Takes one word; anything but MD_OK ends the splitting and becomes its result. */
typedef md_status md_word_fn(void *user, const char *word, size_t n, md_error *err);

/* Calls fn for the words of text[0..n), in order; together they are the text. The text must be valid UTF-8. */
md_status md_pretok_split(const md_pretok *p, md_pretok_scratch *s, const char *text, size_t n, md_word_fn *fn,
                          void *user, md_error *err) MD_MUST_USE;

#endif
