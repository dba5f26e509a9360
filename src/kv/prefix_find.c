/* SPDX-License-Identifier: Apache-2.0
 *
 * How nodes of a tree of prefixes are found: all tokens of a page through a hash table, some of them through the treap of
 * siblings, whose order is that of their tokens. */
#include "kv/prefix_inner.h"

#include "base/hashmap.h"

#include <string.h>

/* ---- the hash table ---- */

static int32_t *place_of(const md_kv_prefix *t, int32_t parent, const int32_t token[MD_TILE])
{
    int32_t words[1 + MD_TILE];
    words[0] = parent;
    memcpy(words + 1, token, MD_TILE * sizeof *token);
    return &t->place[md_siphash(t->seed, words, sizeof words) & t->mask];
}

int32_t md_kv_node_find(const md_kv_prefix *t, int32_t parent, const int32_t token[MD_TILE])
{
    int32_t at = *place_of(t, parent, token);
    while (at >= 0 && (t->node[at].parent != parent || memcmp(t->node[at].token, token, MD_TILE * sizeof *token) != 0))
        at = t->node[at].chain;
    return at;
}

/* ---- the treap ---- */

/* How many of a[0..n) and b[0..n) are equal from the beginning. */
static int32_t common(const int32_t *a, const int32_t *b, int32_t n)
{
    int32_t i = 0;
    while (i < n && a[i] == b[i])
        i++;
    return i;
}

/* Siblings differ somewhere. */
static bool before(const md_kv_prefix *t, int32_t a, int32_t b)
{
    const int32_t *x = t->node[a].token, *y = t->node[b].token;
    const int32_t i = common(x, y, MD_TILE);
    return i < MD_TILE && x[i] < y[i];
}

/* Takes the place of the first node on its way down that ranks lower; what was there is split around it. */
static void treap_put(md_kv_prefix *t, int32_t *root, int32_t node)
{
    md_kv_node *n = &t->node[node];
    while (*root >= 0 && t->node[*root].rank >= n->rank)
        root = before(t, node, *root) ? &t->node[*root].left : &t->node[*root].right;
    int32_t at = *root, *left = &n->left, *right = &n->right;
    *root = node;
    while (at >= 0) {
        md_kv_node *a = &t->node[at];
        if (before(t, at, node)) {
            *left = at;
            left = &a->right;
            at = a->right;
        } else {
            *right = at;
            right = &a->left;
            at = a->left;
        }
    }
    *left = *right = -1;
}

/* Its two sides are merged in its place. */
static void treap_take(md_kv_prefix *t, int32_t *root, int32_t node)
{
    while (*root != node)
        root = before(t, node, *root) ? &t->node[*root].left : &t->node[*root].right;
    int32_t left = t->node[node].left, right = t->node[node].right;
    while (left >= 0 && right >= 0) {
        if (t->node[left].rank >= t->node[right].rank) {
            *root = left;
            root = &t->node[left].right;
            left = *root;
        } else {
            *root = right;
            root = &t->node[right].left;
            right = *root;
        }
    }
    *root = left >= 0 ? left : right;
}

int32_t md_kv_prefix_nearest(const md_kv_prefix *t, int32_t node, const int32_t *token, int32_t n, int32_t *most)
{
    int32_t best = -1;
    *most = 0;
    /* What begins with the most of them is the neighbour before or behind the place where they would be. */
    for (int32_t at = t->node[node].children; at >= 0 && *most < n;) {
        const md_kv_node *a = &t->node[at];
        const int32_t same = common(a->token, token, n);
        if (same > *most) {
            *most = same;
            best = at;
        }
        at = same < n && a->token[same] < token[same] ? a->right : a->left;
    }
    return best;
}

/* ---- both ---- */

/* SplitMix64 (Steele et al. 2014) from a random seed. */
static uint32_t draw_rank(md_kv_prefix *t)
{
    uint64_t z = t->draw += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)(z >> 32);
}

void md_kv_node_link(md_kv_prefix *t, int32_t node)
{
    md_kv_node *n = &t->node[node];
    int32_t *place = place_of(t, n->parent, n->token);
    n->chain = *place;
    *place = node;
    n->rank = draw_rank(t);
    if (n->parent >= 0) {
        treap_put(t, &t->node[n->parent].children, node);
        t->node[n->parent].n_children++;
    }
}

void md_kv_node_unlink(md_kv_prefix *t, int32_t node)
{
    const md_kv_node *n = &t->node[node];
    int32_t *place = place_of(t, n->parent, n->token);
    while (*place != node)
        place = &t->node[*place].chain;
    *place = n->chain;
    if (n->parent >= 0) {
        treap_take(t, &t->node[n->parent].children, node);
        t->node[n->parent].n_children--;
    }
}
