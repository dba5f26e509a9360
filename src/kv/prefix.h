/* SPDX-License-Identifier: Apache-2.0
 *
 * Pasts that can be taken up again: a tree over full pages, a node a page, found by the tokens on the way to it. Scopes keep
 * apart what must not be shared. Pages that only the tree holds are in one list by last use, oldest first; a node is in it
 * only if all below it are, so the oldest one is a leaf and leaving costs O(1). Children are found through one hash table
 * (SipHash under a random key, then all 64 tokens) and, when a page matches in part, through a treap of siblings in the order
 * of their tokens (Seidel and Aragon 1996): nobody can make either slow. A node may own a state: what recurrent layers
 * remember at the page's end. States have a number and a list of last use of their own.
 * All memory is taken when the tree is made. One thread at a time, and not while a step writes the pages in question. */
#ifndef MD_KV_PREFIX_H
#define MD_KV_PREFIX_H

#include "kv/kv.h"

#define MD_KV_KEY_BYTES 32

typedef struct md_kv_prefix md_kv_prefix;

typedef struct md_kv_prefix_args {
    size_t state_bytes; /* of one state; 0: nodes have none */
    int32_t n_states;
} md_kv_prefix_args;

/* Bytes that a tree takes over a pool of so many pages; states are reserved and used one by one. */
uint64_t md_kv_prefix_bytes(int32_t n_pages, const md_kv_prefix_args *args);
/* The pool has one tree at a time and outlives it. */
md_status md_kv_prefix_new(md_kv_pool *pool, const md_kv_prefix_args *args, md_kv_prefix **out,
                           md_error *err) MD_MUST_USE;
void md_kv_prefix_free(md_kv_prefix *t); /* NULL allowed; pages that tables hold stay theirs */

/* --- finding: nodes are numbers, -1 is none --- */
/* Where a scope's prefixes begin: a node without a page. */
int32_t md_kv_prefix_root(const md_kv_prefix *t, const unsigned char scope[MD_KV_KEY_BYTES]);
int32_t md_kv_prefix_child(const md_kv_prefix *t, int32_t node, const int32_t token[MD_TILE]);
/* The child that begins with the most of token[0..n), n <= MD_TILE; *common says how many, 0 with none. */
int32_t md_kv_prefix_nearest(const md_kv_prefix *t, int32_t node, const int32_t *token, int32_t n, int32_t *common);
int32_t md_kv_prefix_page(const md_kv_prefix *t, int32_t node);
int32_t md_kv_prefix_parent(const md_kv_prefix *t, int32_t node);        /* the scope's root for a first page */
int32_t md_kv_prefix_depth(const md_kv_prefix *t, int32_t node);         /* pages up to and including it; 0: a root */
const int32_t *md_kv_prefix_tokens(const md_kv_prefix *t, int32_t node); /* (MD_TILE), borrowed */
unsigned char *md_kv_prefix_key(md_kv_prefix *t, int32_t node);          /* (MD_KV_KEY_BYTES) a root's is its scope; */
                                                                         /* a page's is the caller's, zeros at first */
/* --- growing and shrinking --- */
/* A node for a page that some table holds, below `parent` (-1: the root of `scope`, made if need be), where no child has these
 * tokens. -1 if the page is in the tree already. */
int32_t md_kv_prefix_add(md_kv_prefix *t, const unsigned char scope[MD_KV_KEY_BYTES], int32_t parent,
                         const int32_t token[MD_TILE], int32_t page);
int32_t md_kv_prefix_pages(const md_kv_prefix *t);       /* nodes with a page */
int32_t md_kv_prefix_evictable(const md_kv_prefix *t);   /* of these, those that can leave and thereby free a page */
int32_t md_kv_prefix_oldest(const md_kv_prefix *t);      /* the next to leave; -1: none can */
void md_kv_prefix_remove(md_kv_prefix *t, int32_t node); /* the oldest one, and its state */

/* --- states --- */
float *md_kv_prefix_state(md_kv_prefix *t, int32_t node);      /* or NULL */
void md_kv_prefix_use_state(md_kv_prefix *t, int32_t node);    /* it was used just now */
float *md_kv_prefix_keep_state(md_kv_prefix *t, int32_t node); /* room for one, to be filled; NULL: none is left */
int32_t md_kv_prefix_states(const md_kv_prefix *t);
int32_t md_kv_prefix_oldest_state(const md_kv_prefix *t); /* whose state was not used for the longest time; -1: none */
void md_kv_prefix_drop_state(md_kv_prefix *t, int32_t node);

/* Those that can leave, from the one used last on to older ones; -1: no more. */
int32_t md_kv_prefix_newest(const md_kv_prefix *t);
int32_t md_kv_prefix_older(const md_kv_prefix *t, int32_t node);
/* Goes through all nodes with a page, in no order: from -1 on to -1. */
int32_t md_kv_prefix_next(const md_kv_prefix *t, int32_t node);
bool md_kv_prefix_is_held(const md_kv_prefix *t, int32_t node); /* it, or one below it, by others than the tree */

#endif
