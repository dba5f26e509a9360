/* SPDX-License-Identifier: Apache-2.0
 *
 * Kept prefixes of a session: which ones a sequence may take, how they become its past, what it leaves behind. */
#include "model/prefixes.h"

#include "base/mem.h"
#include "base/status.h"
#include "kv/prefix.h"
#include "model/session.h"

#include <medley/version.h>
#include <sha2.h>
#include <string.h>

struct md_prefixes {
    md_session *session; /* borrowed */
    md_kv_prefix *tree;  /* owned */
    int32_t n_states;    /* that the tree can keep */
    int32_t *path;       /* owned, (pages of a sequence): nodes from the first page on, of the search under way */
};

/* ---- scopes ---- */

static void hash_field(SHA2_CTX *c, const void *bytes, size_t n)
{
    const uint64_t length = n;
    SHA256Update(c, (const uint8_t *)&length, sizeof length);
    SHA256Update(c, bytes, n);
}

static bool is_masked(const md_seq *q, size_t n)
{
    for (size_t i = 0; q->mask && i < n; i++)
        if (q->mask[i] != MD_EXPERT_NORMAL)
            return true;
    return false;
}

/* What pages must have in common to stand for each other, tokens aside. */
static void scope_of(const md_seq *q, const char *client, unsigned char scope[MD_KV_KEY_BYTES])
{
    const md_session *s = q->session;
    const size_t mask_bytes = (size_t)s->model->spec.n_layer * (size_t)s->model->spec.max.expert;
    char key[256];
    SHA2_CTX c;
    md_seq_numerics_key(q, key, sizeof key);
    SHA256Init(&c);
    hash_field(&c, key, strlen(key));
    hash_field(&c, q->mask, is_masked(q, mask_bytes) ? mask_bytes : 0);
    hash_field(&c, client, strlen(client));
    SHA256Final(scope, &c);
}

/* Can anything of q be shared at all? */
static bool is_shared(const md_seq *q)
{
    const md_session *s = q->session;
    return s->model->spec.causal && s->args.on_miss == MD_ON_MISS_READ && !q->adapter;
}

/* ---- made and freed ---- */

static size_t state_bytes(const md_session *s)
{
    return (size_t)s->model->spec.state_floats * sizeof(float);
}

static md_kv_prefix_args tree_args(const md_session *s, const md_prefixes_args *args)
{
    md_kv_prefix_args a = {.state_bytes = state_bytes(s)};
    if (a.state_bytes > 0 && args->state_bytes > 0) {
        const uint64_t n = (uint64_t)args->state_bytes / a.state_bytes,
                       most = (uint64_t)md_kv_pages_of(s->args.n_positions);
        a.n_states = (int32_t)(n < most ? n : most);
    }
    return a;
}

uint64_t md_prefixes_bytes(const md_session *s, const md_prefixes_args *args)
{
    const md_kv_prefix_args a = tree_args(s, args);
    return sizeof(md_prefixes) + md_kv_prefix_bytes(md_kv_pages_of(s->args.n_positions), &a) +
           (uint64_t)md_kv_pages_of(s->args.n_context) * sizeof(int32_t);
}

md_status md_prefixes_new(md_session *s, const md_prefixes_args *args, md_prefixes **out, md_error *err)
{
    *out = NULL;
    const md_kv_prefix_args a = tree_args(s, args);
    md_prefixes *p = md_calloc(1, sizeof *p);
    if (!p)
        return md_fail_memory(err, "kept prefixes");
    p->session = s;
    p->n_states = a.n_states;
    p->path = md_calloc((size_t)md_kv_pages_of(s->args.n_context), sizeof *p->path);
    const md_status status = p->path ? md_kv_prefix_new(s->kv, &a, &p->tree, err)
                                     : md_fail_memory(err, "kept prefixes");
    if (status != MD_OK) {
        md_prefixes_free(p);
        return status;
    }
    *out = p;
    return MD_OK;
}

void md_prefixes_free(md_prefixes *p)
{
    if (!p)
        return;
    md_kv_prefix_free(p->tree);
    md_free(p->path);
    md_free(p);
}

/* ---- taking ---- */

typedef struct found {
    int32_t n_pages;     /* full pages that can be taken, p->path has their nodes */
    int32_t next, extra; /* the node of one more page, and how many of its tokens */
} found;

static found find(const md_prefixes *p, const md_seq *q, const char *client, const int32_t *token, size_t n)
{
    found f = {.next = -1};
    if (n < 2 || !is_shared(q))
        return f;
    const int32_t room = p->session->args.n_context;
    const int32_t most = n - 1 < (size_t)room ? (int32_t)(n - 1) : room;
    const bool has_state = q->state != NULL;
    unsigned char scope[MD_KV_KEY_BYTES];
    scope_of(q, client, scope);
    int32_t node = md_kv_prefix_root(p->tree, scope), depth = 0;
    for (; node >= 0; depth++) {
        const int32_t *t = token + (size_t)depth * MD_TILE;
        const int32_t left = most - depth * MD_TILE;
        const int32_t child = left < MD_TILE ? -1 : md_kv_prefix_child(p->tree, node, t);
        if (child < 0) {
            if (!has_state)
                f.next = md_kv_prefix_nearest(p->tree, node, t, left < MD_TILE ? left : MD_TILE, &f.extra);
            break;
        }
        p->path[depth] = node = child;
        if (!has_state || md_kv_prefix_state(p->tree, node))
            f.n_pages = depth + 1;
    }
    return f;
}

int32_t md_prefixes_match(const md_prefixes *p, const md_seq *q, const char *client, const int32_t *token, size_t n)
{
    const found f = find(p, q, client, token, n);
    return f.n_pages * MD_TILE + f.extra;
}

md_status md_prefixes_take(md_prefixes *p, md_seq *q, const char *client, const int32_t *token, size_t n,
                           int32_t *taken, md_error *err)
{
    *taken = 0;
    MD_FAIL_IF(q->session != p->session, MD_ERR_ARGUMENT, "the sequence is another session's");
    MD_FAIL_IF(q->table.length > 0 || q->pending > 0 || q->walking, MD_ERR_ARGUMENT,
               "only an empty sequence can take over a kept prefix; this one has %d positions", q->table.length);
    md_kv_pool *kv = p->session->kv;
    const found f = find(p, q, client, token, n);
    md_kv_table_trim(kv, &q->table, 0);
    for (int32_t i = 0; i < f.n_pages; i++)
        md_kv_table_attach(kv, &q->table, md_kv_prefix_page(p->tree, p->path[i]), MD_TILE);
    if (f.extra > 0)
        md_kv_table_attach(kv, &q->table, md_kv_prefix_page(p->tree, f.next), f.extra);
    if (q->state && f.n_pages > 0) {
        const int32_t last = p->path[f.n_pages - 1];
        memcpy(q->state, md_kv_prefix_state(p->tree, last), state_bytes(p->session));
        md_kv_prefix_use_state(p->tree, last);
    }
    *taken = q->table.length;
    return MD_OK;
}

/* ---- adding ---- */

static void keep_state(md_prefixes *p, const md_seq *q, int32_t node)
{
    if (md_kv_prefix_state(p->tree, node)) {
        md_kv_prefix_use_state(p->tree, node);
        return;
    }
    float *room = md_kv_prefix_keep_state(p->tree, node);
    const int32_t oldest = room ? -1 : md_kv_prefix_oldest_state(p->tree);
    if (oldest >= 0) {
        md_kv_prefix_drop_state(p->tree, oldest);
        room = md_kv_prefix_keep_state(p->tree, node);
    }
    if (room)
        memcpy(room, q->state, state_bytes(p->session));
}

void md_prefixes_add(md_prefixes *p, md_seq *q, const char *client, const int32_t *token, size_t n)
{
    const int32_t length = q->table.length, n_pages = length / MD_TILE;
    if (q->session != p->session || q->pending > 0 || q->walking || n < (size_t)length || n_pages == 0 ||
        !is_shared(q) || (q->state && (length % MD_TILE > 0 || p->n_states == 0)))
        return;
    unsigned char scope[MD_KV_KEY_BYTES];
    scope_of(q, client, scope);
    int32_t node = md_kv_prefix_root(p->tree, scope);
    for (int32_t i = 0; i < n_pages; i++) {
        const int32_t *t = token + (size_t)i * MD_TILE, page = q->table.page[i];
        const int32_t child = node < 0 ? -1 : md_kv_prefix_child(p->tree, node, t);
        if (child >= 0 && md_kv_prefix_page(p->tree, child) != page)
            md_kv_table_replace(p->session->kv, &q->table, i, md_kv_prefix_page(p->tree, child));
        node = child >= 0 ? child : md_kv_prefix_add(p->tree, scope, node, t, page);
        if (node < 0)
            return; /* the page is kept for another client already */
    }
    if (q->state)
        keep_state(p, q, node);
}

/* ---- leaving ---- */

int32_t md_prefixes_evictable(const md_prefixes *p)
{
    return md_kv_prefix_evictable(p->tree);
}

int32_t md_prefixes_evict(md_prefixes *p, int32_t n)
{
    int32_t done = 0;
    for (; done < n; done++) {
        const int32_t node = md_kv_prefix_oldest(p->tree);
        if (node < 0)
            break;
        md_kv_prefix_remove(p->tree, node);
    }
    return done;
}

void md_prefixes_counts_of(const md_prefixes *p, uint64_t *pages, uint64_t *restored, uint64_t *saved)
{
    *pages = (uint64_t)md_kv_prefix_evictable(p->tree);
    *restored = *saved = 0;
}
