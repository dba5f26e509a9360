/* SPDX-License-Identifier: Apache-2.0
 *
 * SentencePiece's precompiled normalisation: a double-array trie of character sequences and what each becomes. Made by
 * others and stored in model files; every step through it is checked, the length of a match and of what replaces it is
 * bounded, so that hostile tables cost no more than real ones. Immutable once made. Aoe, "An Efficient Digital Search
 * Algorithm by Using a Double-Array Structure", 1989; Kudo, Richardson, "SentencePiece", 2018. */
#ifndef MD_TEXT_TOK_CHARSMAP_H
#define MD_TEXT_TOK_CHARSMAP_H

#include <medley/error.h>
#include <stddef.h>
#include <stdint.h>

typedef struct md_charsmap {
    uint32_t *unit; /* owned, [n_units]; NULL: nothing is replaced */
    size_t n_units;
    char *text; /* owned, [n_text]: replacements, each ended by a NUL */
    size_t n_text;
} md_charsmap;

/* Copies and checks a table; n == 0 makes the empty one. */
md_status md_charsmap_init(md_charsmap *m, const void *bytes, size_t n, md_error *err) MD_MUST_USE;
void md_charsmap_done(md_charsmap *m);

/* The longest sequence at s[0..n) that is replaced: its length in bytes, and *to[0..*n_to) for it; 0 when there is
 * none. Borrowed from m. */
size_t md_charsmap_match(const md_charsmap *m, const char *s, size_t n, const char **to, size_t *n_to);

#endif
