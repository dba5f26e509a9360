/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of a tree of prefixes: nodes that come and go, who may leave next, states. A node is blocked while others hold its
 * page or one below it; the pool tells when that changes. Whoever ceases to be blocked goes to the new end of the list, below
 * before above, so the old end is a leaf at all times. */
#include "kv/prefix_inner.h"

#include "base/hashmap.h"
#include "base/mem.h"
#include "base/status.h"

#include <string.h>
#include <sys/mman.h>

enum { ROOT = -1, FREE = -2 };

/* ---- made and freed ---- */

static uint32_t places_for(int32_t n_nodes)
{
    uint32_t n = 16;
    while (n < (uint32_t)n_nodes)
        n *= 2;
    return n;
}

uint64_t md_kv_prefix_bytes(int32_t n_pages, const md_kv_prefix_args *args)
{
    const uint64_t nodes = 2 * (uint64_t)n_pages;
    return sizeof(md_kv_prefix) + nodes * sizeof(md_kv_node) + places_for(2 * n_pages) * sizeof(int32_t) +
           (uint64_t)n_pages * sizeof(int32_t) + (uint64_t)args->n_states * (args->state_bytes + sizeof(int32_t));
}

static md_status reserve_states(md_kv_prefix *t, md_error *err)
{
    size_t bytes;
    if (t->args.n_states == 0 || t->args.state_bytes == 0)
        return MD_OK;
    if (!md_mul(t->args.state_bytes, (size_t)t->args.n_states, &bytes))
        return md_fail_memory(err, "kept states");
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return md_fail(err, MD_ERR_MEMORY, "cannot reserve %zu bytes for kept states: allow fewer bytes of them",
                       bytes);
    t->state_memory = memory;
    for (int32_t i = 0; i < t->args.n_states; i++)
        t->free_state[i] = t->args.n_states - 1 - i;
    t->n_free_states = t->args.n_states;
    return MD_OK;
}

md_status md_kv_prefix_new(md_kv_pool *pool, const md_kv_prefix_args *args, md_kv_prefix **out, md_error *err)
{
    *out = NULL;
    MD_FAIL_IF(pool->prefix, MD_ERR_ARGUMENT, "prefixes of this session are kept already: end that first");
    MD_FAIL_IF(pool->n_pages > INT32_MAX / 4, MD_ERR_LIMIT, "%d pages are too many to keep prefixes of", pool->n_pages);
    md_kv_prefix *t = md_calloc(1, sizeof *t);
    if (!t)
        return md_fail_memory(err, "kept prefixes");
    t->pool = pool;
    t->args = *args;
    t->n_nodes = 2 * pool->n_pages;
    t->mask = places_for(t->n_nodes) - 1;
    t->node = md_calloc((size_t)t->n_nodes, sizeof *t->node);
    t->place = md_calloc((size_t)t->mask + 1, sizeof *t->place);
    t->node_of = md_calloc((size_t)pool->n_pages, sizeof *t->node_of);
    t->free_state = md_calloc((size_t)args->n_states, sizeof *t->free_state);
    md_status status = t->node && t->place && t->node_of && t->free_state ? reserve_states(t, err)
                                                                          : md_fail_memory(err, "kept prefixes");
    if (status != MD_OK) {
        md_kv_prefix_free(t);
        return status;
    }
    for (int32_t i = 0; i < t->n_nodes; i++)
        t->node[i] = (md_kv_node){.page = FREE, .chain = i + 1 < t->n_nodes ? i + 1 : -1};
    memset(t->place, 0xff, ((size_t)t->mask + 1) * sizeof *t->place);
    memset(t->node_of, 0xff, (size_t)pool->n_pages * sizeof *t->node_of);
    t->list[0] = t->list[1] = (md_kv_ends){.oldest = -1, .newest = -1};
    uint64_t random[2];
    md_siphash_seed(random);
    t->draw = random[0];
    md_siphash_seed(t->seed);
    pool->prefix = t;
    *out = t;
    return MD_OK;
}

void md_kv_prefix_free(md_kv_prefix *t)
{
    if (!t)
        return;
    if (t->pool->prefix == t) {
        t->pool->prefix = NULL; /* from now on nobody is told */
        for (int32_t i = 0; i < t->n_nodes; i++)
            if (t->node[i].page >= 0)
                md_kv_page_drop(t->pool, t->node[i].page);
    }
    if (t->state_memory)
        munmap(t->state_memory, t->args.state_bytes * (size_t)t->args.n_states);
    md_free(t->node);
    md_free(t->place);
    md_free(t->node_of);
    md_free(t->free_state);
    md_free(t);
}

/* ---- lists by last use ---- */

static void list_put(md_kv_prefix *t, int which, int32_t node)
{
    md_kv_ends *ends = &t->list[which];
    t->node[node].list[which].older = ends->newest;
    t->node[node].list[which].newer = -1;
    if (ends->newest >= 0)
        t->node[ends->newest].list[which].newer = node;
    else
        ends->oldest = node;
    ends->newest = node;
    ends->n++;
}

static void list_take(md_kv_prefix *t, int which, int32_t node)
{
    md_kv_ends *ends = &t->list[which];
    const int32_t older = t->node[node].list[which].older, newer = t->node[node].list[which].newer;
    if (older >= 0)
        t->node[older].list[which].newer = newer;
    else
        ends->oldest = newer;
    if (newer >= 0)
        t->node[newer].list[which].older = older;
    else
        ends->newest = older;
    ends->n--;
}

/* ---- who may leave ---- */

/* Looks at a node anew, and, as long as that changes something, at the one above. A sequence takes pages from the first on
 * and gives them back from the last on, so that this ends at once; a fork whose twin was given the tree's pages instead of its
 * own (md_kv_table_replace) holds pages below others that it does not hold, and then the way is longer. */
static void settle(md_kv_prefix *t, int32_t node)
{
    while (t->node[node].page >= 0) {
        md_kv_node *n = &t->node[node];
        const bool blocked = n->n_blocked > 0 || t->pool->refs[n->page] > 1;
        if (blocked == n->blocked)
            return;
        n->blocked = blocked;
        if (blocked)
            list_take(t, MD_KV_LEAVING, node);
        else
            list_put(t, MD_KV_LEAVING, node);
        t->node[n->parent].n_blocked += blocked ? 1 : -1;
        node = n->parent;
    }
}

void md_kv_prefix_held(md_kv_prefix *t, int32_t page)
{
    if (t->node_of[page] >= 0)
        settle(t, t->node_of[page]);
}

/* ---- nodes ---- */

/* There is always one: each page in the tree has a node, and each root has a page below it. */
static int32_t node_take(md_kv_prefix *t, int32_t parent, int32_t page)
{
    const int32_t node = t->free;
    md_kv_node *n = &t->node[node];
    t->free = n->chain;
    memset(n, 0, sizeof *n);
    n->page = page;
    n->parent = parent;
    n->children = n->state = -1;
    n->blocked = true; /* a root stays so; a page is held by whoever brought it */
    return node;
}

static void node_give(md_kv_prefix *t, int32_t node)
{
    md_kv_node_unlink(t, node);
    t->node[node].page = FREE;
    t->node[node].chain = t->free;
    t->free = node;
}

static void root_tokens(const unsigned char scope[MD_KV_KEY_BYTES], int32_t token[MD_TILE])
{
    memset(token, 0, MD_TILE * sizeof *token);
    memcpy(token, scope, MD_KV_KEY_BYTES);
}

int32_t md_kv_prefix_root(const md_kv_prefix *t, const unsigned char scope[MD_KV_KEY_BYTES])
{
    int32_t token[MD_TILE];
    root_tokens(scope, token);
    return md_kv_node_find(t, ROOT, token);
}

int32_t md_kv_prefix_child(const md_kv_prefix *t, int32_t node, const int32_t token[MD_TILE])
{
    return md_kv_node_find(t, node, token);
}

static int32_t root_for(md_kv_prefix *t, const unsigned char scope[MD_KV_KEY_BYTES])
{
    int32_t root = md_kv_prefix_root(t, scope);
    if (root >= 0)
        return root;
    root = node_take(t, ROOT, ROOT);
    root_tokens(scope, t->node[root].token);
    memcpy(t->node[root].key, scope, MD_KV_KEY_BYTES);
    md_kv_node_link(t, root);
    return root;
}

int32_t md_kv_prefix_add(md_kv_prefix *t, const unsigned char scope[MD_KV_KEY_BYTES], int32_t parent,
                         const int32_t token[MD_TILE], int32_t page)
{
    if (t->node_of[page] >= 0)
        return -1;
    if (parent < 0)
        parent = root_for(t, scope);
    const int32_t node = node_take(t, parent, page);
    md_kv_node *n = &t->node[node];
    memcpy(n->token, token, sizeof n->token);
    n->depth = t->node[parent].depth + 1;
    md_kv_node_link(t, node);
    t->node[parent].n_blocked++;
    settle(t, parent);
    md_kv_page_hold(t->pool, page);
    t->node_of[page] = node;
    t->n_pages++;
    return node;
}

void md_kv_prefix_remove(md_kv_prefix *t, int32_t node)
{
    const int32_t page = t->node[node].page, parent = t->node[node].parent;
    if (t->node[node].state >= 0)
        md_kv_prefix_drop_state(t, node);
    list_take(t, MD_KV_LEAVING, node);
    t->node_of[page] = -1;
    t->n_pages--;
    node_give(t, node);
    md_kv_page_drop(t->pool, page);
    if (t->node[parent].page == ROOT && t->node[parent].n_children == 0)
        node_give(t, parent);
}

int32_t md_kv_prefix_page(const md_kv_prefix *t, int32_t node)
{
    return t->node[node].page;
}

int32_t md_kv_prefix_parent(const md_kv_prefix *t, int32_t node)
{
    return t->node[node].parent;
}

int32_t md_kv_prefix_depth(const md_kv_prefix *t, int32_t node)
{
    return t->node[node].depth;
}

const int32_t *md_kv_prefix_tokens(const md_kv_prefix *t, int32_t node)
{
    return t->node[node].token;
}

unsigned char *md_kv_prefix_key(md_kv_prefix *t, int32_t node)
{
    return t->node[node].key;
}

int32_t md_kv_prefix_pages(const md_kv_prefix *t)
{
    return t->n_pages;
}

int32_t md_kv_prefix_evictable(const md_kv_prefix *t)
{
    return t->list[MD_KV_LEAVING].n;
}

int32_t md_kv_prefix_oldest(const md_kv_prefix *t)
{
    return t->list[MD_KV_LEAVING].oldest;
}

int32_t md_kv_prefix_newest(const md_kv_prefix *t)
{
    return t->list[MD_KV_LEAVING].newest;
}

int32_t md_kv_prefix_older(const md_kv_prefix *t, int32_t node)
{
    return t->node[node].list[MD_KV_LEAVING].older;
}

bool md_kv_prefix_is_held(const md_kv_prefix *t, int32_t node)
{
    return t->node[node].blocked;
}

int32_t md_kv_prefix_next(const md_kv_prefix *t, int32_t node)
{
    for (node++; node < t->n_nodes; node++)
        if (t->node[node].page >= 0)
            return node;
    return -1;
}

/* ---- states ---- */

float *md_kv_prefix_state(md_kv_prefix *t, int32_t node)
{
    const int32_t state = t->node[node].state;
    return state < 0 ? NULL : (float *)(void *)(t->state_memory + t->args.state_bytes * (size_t)state);
}

void md_kv_prefix_use_state(md_kv_prefix *t, int32_t node)
{
    list_take(t, MD_KV_STATES, node);
    list_put(t, MD_KV_STATES, node);
}

float *md_kv_prefix_keep_state(md_kv_prefix *t, int32_t node)
{
    if (t->n_free_states == 0)
        return NULL;
    t->node[node].state = t->free_state[--t->n_free_states];
    list_put(t, MD_KV_STATES, node);
    return md_kv_prefix_state(t, node);
}

int32_t md_kv_prefix_states(const md_kv_prefix *t)
{
    return t->list[MD_KV_STATES].n;
}

int32_t md_kv_prefix_oldest_state(const md_kv_prefix *t)
{
    return t->list[MD_KV_STATES].oldest;
}

void md_kv_prefix_drop_state(md_kv_prefix *t, int32_t node)
{
    list_take(t, MD_KV_STATES, node);
    t->free_state[t->n_free_states++] = t->node[node].state;
    t->node[node].state = -1;
}
