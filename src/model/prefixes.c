/* SPDX-License-Identifier: Apache-2.0
 *
 * Kept prefixes of a session: which ones a sequence may take, how they become its past, what it leaves behind. */
#include "model/prefixes.h"

#include "base/mem.h"
#include "base/status.h"
#include "kv/disk.h"
#include "model/prefixes_key.h"
#include "model/session.h"

#include <stdlib.h>
#include <string.h>

struct md_prefixes {
    md_session *session; /* borrowed */
    md_kv_prefix *tree;  /* owned */
    md_kv_disk *disk;    /* owned; NULL: what leaves is gone */
    unsigned char model[MD_KV_KEY_BYTES];
    uint64_t restored;
    int32_t n_states; /* that the tree can keep */
    int32_t *path;    /* owned, (pages of a sequence): nodes from the first page on, of the search under way */
};

/* Can anything of q be shared at all? */
static bool is_shared(const md_seq *q)
{
    const md_session *s = q->session;
    return s->model->spec.causal && s->args.on_miss == MD_ON_MISS_READ && !q->adapter;
}

/* ---- made and freed ---- */

static size_t state_bytes(const md_model *m)
{
    return (size_t)m->spec.state_floats * sizeof(float);
}

static md_kv_prefix_args tree_args(const md_model *m, int32_t n_positions, const md_prefixes_args *args)
{
    md_kv_prefix_args a = {.state_bytes = state_bytes(m)};
    if (a.state_bytes > 0 && args->state_bytes > 0) {
        const uint64_t n = (uint64_t)args->state_bytes / a.state_bytes, most = (uint64_t)md_kv_pages_of(n_positions);
        a.n_states = (int32_t)(n < most ? n : most);
    }
    return a;
}

static md_kv_disk_args disk_args(const md_session *s, const md_prefixes_args *args)
{
    return (md_kv_disk_args){.folder = args->folder,
                             .bytes = args->folder_bytes,
                             .page_bytes = md_kv_pool_page_bytes(s->kv),
                             .state_bytes = state_bytes(s->model)};
}

uint64_t md_prefixes_bytes(const md_model *m, int32_t n_positions, const md_prefixes_args *args)
{
    const md_kv_prefix_args a = tree_args(m, n_positions, args);
    const int32_t n_pages = md_kv_pages_of(n_positions);
    return sizeof(md_prefixes) + (args->folder ? MD_KV_DISK_QUEUE : 0) + md_kv_prefix_bytes(n_pages, &a) +
           (uint64_t)n_pages * sizeof(int32_t);
}

static md_status open_folder(md_prefixes *p, const md_prefixes_args *args, md_error *err)
{
    const md_kv_disk_args a = disk_args(p->session, args);
    MD_TRY(md_prefix_model(p->session->model, args->hash_model, p->model, err));
    return md_kv_disk_open(&a, &p->disk, err);
}

md_status md_prefixes_new(md_session *s, const md_prefixes_args *args, md_prefixes **out, md_error *err)
{
    *out = NULL;
    const md_kv_prefix_args a = tree_args(s->model, s->args.n_positions, args);
    md_prefixes *p = md_calloc(1, sizeof *p);
    if (!p)
        return md_fail_memory(err, "kept prefixes");
    p->session = s;
    p->n_states = a.n_states;
    p->path = md_calloc((size_t)md_kv_pages_of(s->args.n_context), sizeof *p->path);
    md_status status = p->path ? md_kv_prefix_new(s->kv, &a, &p->tree, err) : md_fail_memory(err, "kept prefixes");
    if (status == MD_OK && args->folder)
        status = open_folder(p, args, err);
    if (status != MD_OK) {
        md_prefixes_free(p);
        return status;
    }
    *out = p;
    return MD_OK;
}

/* ---- to the folder ---- */

/* A page, and its state, go to the folder unless they are there or the queue is full. */
static void save(md_prefixes *p, int32_t node, bool wait)
{
    if (!p->disk)
        return;
    bool has_state;
    const unsigned char *key = md_kv_prefix_key(p->tree, node);
    const float *state = md_kv_prefix_state(p->tree, node);
    if (md_kv_disk_has(p->disk, key, &has_state) && (has_state || !state))
        md_kv_disk_touch(p->disk, key);
    else
        (void)md_kv_disk_put(p->disk, key, md_kv_prefix_tokens(p->tree, node),
                             md_kv_pool_page(p->session->kv, md_kv_prefix_page(p->tree, node)), state, wait);
}

/* Depth above, node below: order by depth. */
static int by_depth(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* All that is kept, those used last first, and nothing before what it needs: held pages by depth, then the list. */
static int32_t in_order(const md_prefixes *p, uint64_t *node)
{
    int32_t n = 0;
    for (int32_t i = md_kv_prefix_next(p->tree, -1); i >= 0; i = md_kv_prefix_next(p->tree, i))
        if (md_kv_prefix_is_held(p->tree, i))
            node[n++] = (uint64_t)md_kv_prefix_depth(p->tree, i) << 32 | (uint64_t)i;
    if (n > 0)
        qsort(node, (size_t)n, sizeof *node, by_depth);
    for (int32_t i = md_kv_prefix_newest(p->tree); i >= 0; i = md_kv_prefix_older(p->tree, i))
        node[n++] = (uint64_t)i;
    return n;
}

/* What fits goes to the folder, in the opposite order, so that what others need is newest there and leaves last. */
static void save_all(md_prefixes *p)
{
    uint64_t *node = md_calloc((size_t)md_kv_prefix_pages(p->tree) + 1, sizeof *node);
    if (!node)
        return;
    int32_t n = in_order(p, node);
    const int32_t most = md_kv_disk_most(p->disk);
    for (n = n < most ? n : most; n > 0; n--)
        save(p, (int32_t)(node[n - 1] & UINT32_MAX), true);
    md_free(node);
}

void md_prefixes_free(md_prefixes *p)
{
    if (!p)
        return;
    if (p->disk)
        save_all(p);
    md_kv_disk_close(p->disk);
    md_kv_prefix_free(p->tree);
    md_free(p->path);
    md_free(p);
}

/* ---- finding ---- */

typedef struct found {
    int32_t n_tree,
        n_pages;         /* full pages on the way that the tree has, p->path has their nodes; and that can be taken */
    bool state_on_disk;  /* at the end of the last one */
    int32_t next, extra; /* the node of one more page, and how many of its tokens */
    unsigned char scope[MD_KV_KEY_BYTES];
} found;

static bool saved_with_state(const md_prefixes *p, int32_t node)
{
    bool state;
    return p->disk && md_kv_disk_has(p->disk, md_kv_prefix_key(p->tree, node), &state) && state;
}

/* On from where the tree ends: as far as the folder has pages, or pages with states. */
static void find_on_disk(const md_prefixes *p, const md_seq *q, const int32_t *token, int32_t most, found *f)
{
    unsigned char key[MD_KV_KEY_BYTES];
    memcpy(key, f->n_tree > 0 ? md_kv_prefix_key(p->tree, p->path[f->n_tree - 1]) : f->scope, sizeof key);
    for (int32_t i = f->n_tree; i < most / MD_TILE; i++) {
        bool state;
        md_prefix_key(key, token + (size_t)i * MD_TILE, key);
        if (!md_kv_disk_has(p->disk, key, &state))
            return;
        if (!q->state || state) {
            f->n_pages = i + 1;
            f->state_on_disk = state;
        }
    }
}

/* What of token[0..most) can be taken. */
static found find(const md_prefixes *p, const md_seq *q, const char *client, const int32_t *token, int32_t most)
{
    found f = {.next = -1};
    if (most < 1 || !is_shared(q))
        return f;
    md_prefix_scope(q, p->model, client, f.scope);
    int32_t node = md_kv_prefix_root(p->tree, f.scope);
    while (node >= 0 && most - f.n_tree * MD_TILE >= MD_TILE) {
        const int32_t child = md_kv_prefix_child(p->tree, node, token + (size_t)f.n_tree * MD_TILE);
        if (child < 0)
            break;
        p->path[f.n_tree++] = node = child;
        const bool kept = !q->state || md_kv_prefix_state(p->tree, node);
        if (kept || saved_with_state(p, node)) {
            f.n_pages = f.n_tree;
            f.state_on_disk = !kept;
        }
    }
    if (p->disk)
        find_on_disk(p, q, token, most, &f);
    const int32_t left = most - f.n_tree * MD_TILE;
    if (node >= 0 && !q->state && f.n_pages == f.n_tree)
        f.next = md_kv_prefix_nearest(p->tree, node, token + (size_t)f.n_tree * MD_TILE,
                                      left < MD_TILE ? left : MD_TILE, &f.extra);
    return f;
}

/* One token at least is left to be run, and the context has an end. */
static int32_t most_of(const md_prefixes *p, size_t n)
{
    const int32_t room = p->session->args.n_context;
    return n == 0 ? 0 : n - 1 < (size_t)room ? (int32_t)(n - 1) : room;
}

int32_t md_prefixes_match(const md_prefixes *p, const md_seq *q, const char *client, const int32_t *token, size_t n)
{
    const found f = find(p, q, client, token, most_of(p, n));
    return f.n_pages * MD_TILE + f.extra;
}

/* ---- taking ---- */

/* Page i of what was found, from the folder into q and the tree; with its state if it is the last one. */
static bool restore(md_prefixes *p, md_seq *q, const int32_t *token, const found *f, int32_t i)
{
    md_kv_pool *kv = p->session->kv;
    const int32_t *t = token + (size_t)i * MD_TILE;
    const int32_t before = i > 0 ? p->path[i - 1] : -1;
    unsigned char key[MD_KV_KEY_BYTES];
    if (md_kv_pool_free_pages(kv) == 0)
        (void)md_prefixes_evict(p, 1);
    unsigned char *bytes = md_kv_table_append(kv, &q->table);
    if (!bytes)
        return false;
    md_prefix_key(before >= 0 ? md_kv_prefix_key(p->tree, before) : f->scope, t, key);
    if (!md_kv_disk_get(p->disk, key, t, bytes, q->state && i == f->n_pages - 1 ? q->next_state : NULL)) {
        md_kv_table_trim(kv, &q->table, q->table.length);
        return false;
    }
    p->path[i] = md_kv_prefix_add(p->tree, f->scope, before, t, q->table.page[i]);
    memcpy(md_kv_prefix_key(p->tree, p->path[i]), key, sizeof key);
    q->table.length += MD_TILE;
    p->restored++;
    return true;
}

static void keep_state(md_prefixes *p, const md_seq *q, int32_t node)
{
    if (md_kv_prefix_state(p->tree, node)) {
        md_kv_prefix_use_state(p->tree, node);
        return;
    }
    float *room = md_kv_prefix_keep_state(p->tree, node);
    const int32_t oldest = room ? -1 : md_kv_prefix_oldest_state(p->tree);
    if (oldest >= 0) {
        save(p, oldest, false);
        md_kv_prefix_drop_state(p->tree, oldest);
        room = md_kv_prefix_keep_state(p->tree, node);
    }
    if (room)
        memcpy(room, q->state, state_bytes(p->session->model));
}

/* The state at the end of the last page becomes q's; from the folder it is in q->next_state already if its page was, too. */
static bool take_state(md_prefixes *p, md_seq *q, const int32_t *token, const found *f)
{
    const int32_t node = p->path[f->n_pages - 1];
    if (!f->state_on_disk) {
        memcpy(q->state, md_kv_prefix_state(p->tree, node), state_bytes(p->session->model));
    } else {
        if (f->n_pages <= f->n_tree && !md_kv_disk_get(p->disk, md_kv_prefix_key(p->tree, node),
                                                       token + (size_t)(f->n_pages - 1) * MD_TILE, NULL, q->next_state))
            return false;
        float *state = q->next_state;
        q->next_state = q->state;
        q->state = state;
    }
    keep_state(p, q, node);
    return true;
}

/* q becomes what was found. False if the folder does not hold what it promised: *reached says how many tokens there are
 * for certain. */
static bool take_found(md_prefixes *p, md_seq *q, const int32_t *token, const found *f, int32_t *reached)
{
    md_kv_pool *kv = p->session->kv;
    for (int32_t i = 0; i < f->n_pages; i++) {
        *reached = i * MD_TILE;
        if (i < f->n_tree)
            md_kv_table_attach(kv, &q->table, md_kv_prefix_page(p->tree, p->path[i]), MD_TILE);
        else if (!restore(p, q, token, f, i))
            return false;
    }
    if (f->extra > 0)
        md_kv_table_attach(kv, &q->table, md_kv_prefix_page(p->tree, f->next), f->extra);
    return !q->state || f->n_pages == 0 || take_state(p, q, token, f);
}

/* What was read from the folder is used as a whole, from its end on: so the first page leaves it last. */
static void touch_path(md_prefixes *p, const found *f)
{
    for (int32_t i = f->n_pages; p->disk && i > 0; i--)
        md_kv_disk_touch(p->disk, md_kv_prefix_key(p->tree, p->path[i - 1]));
}

md_status md_prefixes_take(md_prefixes *p, md_seq *q, const char *client, const int32_t *token, size_t n,
                           int32_t *taken, md_error *err)
{
    *taken = 0;
    MD_FAIL_IF(q->session != p->session, MD_ERR_ARGUMENT, "the sequence is another session's");
    MD_FAIL_IF(q->table.length > 0 || q->pending > 0 || q->walking, MD_ERR_ARGUMENT,
               "only an empty sequence can take over a kept prefix; this one has %d positions", q->table.length);
    int32_t most = most_of(p, n);
    for (;;) {
        md_kv_table_trim(p->session->kv, &q->table, 0);
        const found f = find(p, q, client, token, most);
        if (take_found(p, q, token, &f, &most)) {
            touch_path(p, &f);
            break;
        }
    }
    *taken = q->table.length;
    return MD_OK;
}

/* ---- adding ---- */

void md_prefixes_add(md_prefixes *p, md_seq *q, const char *client, const int32_t *token, size_t n)
{
    const int32_t length = q->table.length, n_pages = length / MD_TILE;
    if (q->session != p->session || q->pending > 0 || q->walking || n < (size_t)length || n_pages == 0 ||
        !is_shared(q) || (q->state && (length % MD_TILE > 0 || p->n_states == 0)))
        return;
    unsigned char scope[MD_KV_KEY_BYTES];
    md_prefix_scope(q, p->model, client, scope);
    int32_t node = md_kv_prefix_root(p->tree, scope);
    for (int32_t i = 0; i < n_pages; i++) {
        const int32_t *t = token + (size_t)i * MD_TILE, page = q->table.page[i];
        const int32_t before = node, child = before < 0 ? -1 : md_kv_prefix_child(p->tree, before, t);
        if (child >= 0 && md_kv_prefix_page(p->tree, child) != page)
            md_kv_table_replace(p->session->kv, &q->table, i, md_kv_prefix_page(p->tree, child));
        node = child >= 0 ? child : md_kv_prefix_add(p->tree, scope, before, t, page);
        if (node < 0)
            return; /* the page is kept for another client already */
        if (child < 0 && p->disk)
            md_prefix_key(before < 0 ? scope : md_kv_prefix_key(p->tree, before), t, md_kv_prefix_key(p->tree, node));
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
        save(p, node, false);
        md_kv_prefix_remove(p->tree, node);
    }
    return done;
}

void md_prefixes_counts_of(const md_prefixes *p, uint64_t *pages, uint64_t *restored, uint64_t *saved)
{
    *pages = (uint64_t)md_kv_prefix_evictable(p->tree);
    *restored = p->restored;
    *saved = p->disk ? md_kv_disk_saved(p->disk) : 0;
}
