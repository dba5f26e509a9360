/* SPDX-License-Identifier: Apache-2.0
 *
 * A trie of names over bytes, for matching all names that begin at a place, or the longest. One hash table holds the
 * edges of all nodes, so a step is one look-up however many children a node has. Filled once, then read by any number
 * of threads. No edge lies further than MD_TABLE_REACH slots from where it belongs: a file made to collide is refused.
 * Two roots, so that names of two sorts can share a trie. */
#ifndef MD_TEXT_TOK_TRIE_H
#define MD_TEXT_TOK_TRIE_H

#include <medley/error.h>
#include <stddef.h>
#include <stdint.h>

#define MD_TRIE_NONE   0u /* no such node */
#define MD_TRIE_ROOT   1u
#define MD_TRIE_ROOT_2 2u

typedef struct md_trie_edge {
    uint32_t key;  /* parent << 8 | byte */
    uint32_t node; /* MD_TRIE_NONE: free slot */
} md_trie_edge;

typedef struct md_trie {
    md_trie_edge *edge; /* owned, [mask + 1], at most half full */
    size_t mask;
    int32_t *id; /* owned, [cap]: the name that ends at a node, -1: none */
    size_t n_nodes, cap;
} md_trie;

/* Room for about n_names; grows as needed. */
md_status md_trie_init(md_trie *t, size_t n_names, md_error *err) MD_MUST_USE;
/* Adds s[0..n), n > 0, below a root; the first of equal names wins. MD_ERR_FORMAT: made to collide. */
md_status md_trie_add(md_trie *t, uint32_t root, const char *s, size_t n, int32_t id, md_error *err) MD_MUST_USE;
void md_trie_done(md_trie *t);

/* The child of a node by a byte, or MD_TRIE_NONE. */
uint32_t md_trie_step(const md_trie *t, uint32_t node, unsigned char byte);

#endif
