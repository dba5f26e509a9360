/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of a tree of prefixes, for its two files. */
#ifndef MD_KV_PREFIX_INNER_H
#define MD_KV_PREFIX_INNER_H

#include "kv/pool.h"

#include <stdint.h>

typedef struct md_kv_node {
    int32_t token[MD_TILE]; /* a root: its scope, then zeros */
    unsigned char key[MD_KV_KEY_BYTES];
    int32_t page; /* -1: a root; -2: a free node */
    int32_t parent, depth, n_children;
    int32_t chain;       /* the next in its place of the hash table, or of the free ones */
    int32_t children;    /* the treap's root */
    int32_t left, right; /* siblings whose tokens come before and behind */
    uint32_t rank;       /* random: higher ones are nearer to the treap's root */
    int32_t n_blocked;   /* children that cannot leave */
    bool blocked;        /* it cannot leave: others hold it, or a child is blocked; a root always is */
    int32_t state;       /* number of its state, -1: none */
    struct {
        int32_t older, newer;
    } list[2]; /* its neighbours in the lists below, if it is in them */
} md_kv_node;

/* Lists by last use: nodes that are not blocked; nodes with a state. */
enum { MD_KV_LEAVING, MD_KV_STATES };
typedef struct md_kv_ends {
    int32_t oldest, newest, n;
} md_kv_ends;

struct md_kv_prefix {
    md_kv_pool *pool; /* borrowed */
    md_kv_node *node; /* owned, (n_nodes): each page may have a root of its own */
    int32_t n_nodes, free;
    int32_t *place; /* owned, (mask + 1) first nodes of the hash table's places */
    uint32_t mask;
    uint64_t seed[2];
    uint64_t draw;    /* of ranks */
    int32_t *node_of; /* owned, (pages of the pool) or -1 */
    int32_t n_pages;
    md_kv_ends list[2];
    md_kv_prefix_args args;
    unsigned char *state_memory; /* owned, mapped */
    int32_t *free_state;         /* owned: the first n_free_states are free */
    int32_t n_free_states;
};

/* prefix_find.c: the hash table and the treaps. A node is linked once its parent and tokens are set. */
int32_t md_kv_node_find(const md_kv_prefix *t, int32_t parent, const int32_t token[MD_TILE]);
void md_kv_node_link(md_kv_prefix *t, int32_t node);
void md_kv_node_unlink(md_kv_prefix *t, int32_t node);

#endif
