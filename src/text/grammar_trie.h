/* SPDX-License-Identifier: Apache-2.0
 *
 * The text tokens of a vocabulary as a tree of their bytes, laid out in the order of a walk through it: a grammar that
 * refuses a beginning skips all tokens that share it. Immutable once made. */
#ifndef MD_TEXT_GRAMMAR_TRIE_H
#define MD_TEXT_GRAMMAR_TRIE_H

#include <medley/tokenizer.h>

typedef struct md_gtrie_node {
    uint32_t end;   /* the first node that does not begin with these bytes */
    uint32_t token; /* tokens that are exactly these bytes: token[this one's..the next node's) */
    uint32_t depth; /* bytes up to here, at least 1 */
    uint8_t byte;   /* the last of them */
} md_gtrie_node;

typedef struct md_gtrie {
    md_gtrie_node *node; /* owned, [n + 1]; the last one only bounds tokens */
    size_t n;
    int32_t *token; /* owned, [n_tokens] ids in the order of their bytes */
    size_t n_tokens;
    size_t max_depth;
} md_gtrie;

/* The tokens below n_vocab that are text and not empty. Special tokens are none. False when memory is out, or the texts
 * have more than 2^32 bytes. */
bool md_gtrie_init(md_gtrie *t, const md_tokenizer *tok, int32_t n_vocab) MD_MUST_USE;
void md_gtrie_done(md_gtrie *t);

#endif
