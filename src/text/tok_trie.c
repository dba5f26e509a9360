/* SPDX-License-Identifier: Apache-2.0
 *
 * The trie of names: see the header. Node numbers have 24 bits, so that a parent and a byte make a key of 32. */
#include "text/tok_trie.h"

#include "base/mem.h"
#include "base/status.h"
#include "text/tok_table.h"

#define MAX_NODES ((size_t)1 << 24)

static size_t home_of(uint32_t key)
{
    const uint64_t h = key * 0x9e3779b97f4a7c15u;
    return (size_t)(uint32_t)(h >> 32);
}

uint32_t md_trie_step(const md_trie *t, uint32_t node, unsigned char byte)
{
    const uint32_t key = node << 8 | byte;
    const size_t home = home_of(key);
    for (size_t i = home; i < home + MD_TABLE_REACH; i++) {
        const md_trie_edge *e = &t->edge[i & t->mask];
        if (e->node == MD_TRIE_NONE || e->key == key)
            return e->node;
    }
    return MD_TRIE_NONE;
}

/* False: the edge would lie out of reach. */
static bool put_edge(md_trie *t, uint32_t key, uint32_t node)
{
    const size_t home = home_of(key);
    for (size_t i = home; i < home + MD_TABLE_REACH; i++) {
        md_trie_edge *e = &t->edge[i & t->mask];
        if (e->node == MD_TRIE_NONE) {
            *e = (md_trie_edge){.key = key, .node = node};
            return true;
        }
    }
    return false;
}

static md_status resize(md_trie *t, size_t slots, md_error *err)
{
    md_trie old = *t;
    t->edge = md_calloc(slots, sizeof *t->edge);
    if (!t->edge) {
        t->edge = old.edge;
        return md_fail_memory(err, "the vocabulary");
    }
    t->mask = slots - 1;
    bool fits = true;
    for (size_t i = 0; old.edge && i <= old.mask; i++)
        if (old.edge[i].node != MD_TRIE_NONE)
            fits = fits && put_edge(t, old.edge[i].key, old.edge[i].node);
    md_free(old.edge);
    MD_FAIL_IF(!fits, MD_ERR_FORMAT, MD_TABLE_COLLIDING);
    return MD_OK;
}

md_status md_trie_init(md_trie *t, size_t n_names, md_error *err)
{
    *t = (md_trie){.n_nodes = MD_TRIE_ROOT_2 + 1};
    size_t slots = 1024;
    while (slots / 4 < n_names && slots < MAX_NODES)
        slots *= 2;
    t->cap = slots / 2;
    t->id = md_calloc(t->cap, sizeof *t->id);
    if (!t->id)
        return md_fail_memory(err, "the vocabulary");
    for (size_t i = 0; i < t->n_nodes; i++)
        t->id[i] = -1;
    return resize(t, slots, err);
}

/* Makes room for one more node and its edge. */
static md_status grow(md_trie *t, md_error *err)
{
    MD_FAIL_IF(t->n_nodes >= MAX_NODES, MD_ERR_UNSUPPORTED,
               "the names of the vocabulary make a trie of more than %zu nodes", MAX_NODES);
    if (t->n_nodes == t->cap) {
        int32_t *id = md_realloc(t->id, 2 * t->cap, sizeof *id);
        if (!id)
            return md_fail_memory(err, "the vocabulary");
        t->id = id;
        t->cap *= 2;
    }
    return 2 * t->n_nodes > t->mask ? resize(t, 2 * (t->mask + 1), err) : MD_OK;
}

md_status md_trie_add(md_trie *t, uint32_t root, const char *s, size_t n, int32_t id, md_error *err)
{
    uint32_t node = root;
    for (size_t i = 0; i < n; i++) {
        const unsigned char byte = (unsigned char)s[i];
        uint32_t next = md_trie_step(t, node, byte);
        if (next == MD_TRIE_NONE) {
            MD_TRY(grow(t, err));
            next = (uint32_t)t->n_nodes++;
            t->id[next] = -1;
            MD_FAIL_IF(!put_edge(t, node << 8 | byte, next), MD_ERR_FORMAT, MD_TABLE_COLLIDING);
        }
        node = next;
    }
    if (t->id[node] < 0)
        t->id[node] = id;
    return MD_OK;
}

void md_trie_done(md_trie *t)
{
    md_free(t->edge);
    md_free(t->id);
    *t = (md_trie){0};
}
