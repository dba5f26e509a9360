/* SPDX-License-Identifier: Apache-2.0
 *
 * The tree of prefixes against a naive list of paths, under random sequences that take, grow, add, fork and go in a pool that
 * is often full: what is found, what may leave and what is free must be what the list and the tables say, and every table must
 * hold what its tokens mean. Then order of leaving, states, and inputs made to be slow. */
#include "checkkern/check.h"
#include "kept.h"
#include "kv/prefix_inner.h"

enum { N_TABLES = 5, CAPACITY = 5, MAX_LENGTH = CAPACITY * MD_TILE, MAX_NODES = 128, N_SCOPES = 2 };

static const md_kv_layer layer = {.n_head = 1, .dim_k = 1, .dim_v = 1};

typedef struct sequence {
    md_kv_table table;
    int32_t token[MAX_LENGTH];
    int scope;
} sequence;

typedef struct path {
    bool there;
    int scope;
    int32_t length; /* tokens */
    int32_t token[MAX_LENGTH];
} path;

typedef struct world {
    const md_kern *kern;
    md_kv_pool *pool;
    md_kv_prefix *tree;
    int32_t n_pages;
    sequence s[N_TABLES];
    path node[MAX_NODES]; /* by the tree's numbers */
} world;

static void pool_init(md_kv_pool **pool, md_kv_prefix **tree, int32_t n_pages, const md_kv_prefix_args *args)
{
    md_error err = {0};
    if (md_kv_pool_new(MD_KV_STORE_F32, &layer, 1, n_pages, pool, &err) != MD_OK ||
        md_kv_prefix_new(*pool, args, tree, &err) != MD_OK)
        fail_msg("%s", err.message);
}

static void world_init(world *w, int32_t n_pages)
{
    md_error err = {0};
    memset(w, 0, sizeof *w);
    w->kern = scalar_table();
    w->n_pages = n_pages;
    pool_init(&w->pool, &w->tree, n_pages, &(md_kv_prefix_args){0});
    for (int i = 0; i < N_TABLES; i++)
        assert_int_equal(md_kv_table_init(&w->s[i].table, CAPACITY, &err), MD_OK);
}

static void world_done(world *w, bool tree_first)
{
    if (tree_first)
        md_kv_prefix_free(w->tree);
    for (int i = 0; i < N_TABLES; i++)
        md_kv_table_done(w->pool, &w->s[i].table);
    if (!tree_first) {
        assert_int_equal(md_kv_prefix_evictable(w->tree), md_kv_prefix_pages(w->tree));
        md_kv_prefix_free(w->tree);
    }
    assert_int_equal(md_kv_pool_free_pages(w->pool), w->n_pages);
    md_kv_pool_free(w->pool);
}

static const unsigned char *scope_key(int scope)
{
    static unsigned char key[N_SCOPES][MD_KV_KEY_BYTES];
    key[scope][MD_KV_KEY_BYTES - 1] = (unsigned char)scope;
    return key[scope];
}

/* Pages of six kinds, which begin alike for 0, 5 or 40 tokens. */
static void random_page(int32_t *token)
{
    static const int32_t alike[] = {0, 5, 40};
    const int32_t n = alike[random_below(3)], tail = 2 + random_below(2);
    for (int32_t i = 0; i < MD_TILE; i++)
        token[i] = i < n ? 1 : tail;
}

/* What a position holds: a number made of all tokens up to it. */
static float meaning(const int32_t *token, int32_t position)
{
    uint32_t h = 17;
    for (int32_t i = 0; i <= position; i++)
        h = (h ^ (uint32_t)token[i]) * 16777619u;
    return (float)(h >> 8);
}

static void append(world *w, sequence *s, int32_t n)
{
    const int32_t length = s->table.length + n;
    if (length > MAX_LENGTH || !md_kv_table_extend(w->pool, &s->table, length))
        return;
    for (int32_t i = s->table.length; i < length; i++) {
        const float k = meaning(s->token, i);
        md_kv_put(w->kern, w->pool, s->table.page[i / MD_TILE], 0, 0, i % MD_TILE, &k, &k);
    }
    s->table.length = length;
}

/* ---- the naive list ---- */

static bool is_path(const path *p, int scope, const int32_t *token, int32_t length)
{
    return p->there && p->scope == scope && p->length == length &&
           memcmp(p->token, token, (size_t)length * sizeof *token) == 0;
}

static int naive_find(const world *w, int scope, const int32_t *token, int32_t length)
{
    for (int i = 0; i < MAX_NODES; i++)
        if (is_path(&w->node[i], scope, token, length))
            return i;
    return -1;
}

/* The most tokens that some child of token[0..length) has in common with what follows. */
static int32_t naive_nearest(const world *w, int scope, const int32_t *token, int32_t length, int32_t n)
{
    int32_t most = 0;
    for (int i = 0; i < MAX_NODES; i++) {
        const path *p = &w->node[i];
        if (!p->there || p->scope != scope || p->length != length + MD_TILE ||
            memcmp(p->token, token, (size_t)length * sizeof *token) != 0)
            continue;
        int32_t same = 0;
        while (same < n && p->token[length + same] == token[length + same])
            same++;
        most = same > most ? same : most;
    }
    return most;
}

/* ---- what a session does with it ---- */

static void take(world *w, sequence *s)
{
    md_kv_table_trim(w->pool, &s->table, 0);
    s->scope = random_below(N_SCOPES);
    for (int32_t i = 0; i < CAPACITY; i++)
        random_page(s->token + i * MD_TILE);
    const int32_t most = random_below(MAX_LENGTH + 1);
    int32_t node = md_kv_prefix_root(w->tree, scope_key(s->scope));
    while (node >= 0) {
        const int32_t *t = s->token + s->table.length, left = most - s->table.length;
        const int32_t child = left < MD_TILE ? -1 : md_kv_prefix_child(w->tree, node, t);
        assert_int_equal(child, left < MD_TILE ? -1 : naive_find(w, s->scope, s->token, s->table.length + MD_TILE));
        if (child < 0) {
            int32_t same;
            const int32_t n = left < MD_TILE ? left : MD_TILE;
            const int32_t near = md_kv_prefix_nearest(w->tree, node, t, n, &same);
            assert_int_equal(same, naive_nearest(w, s->scope, s->token, s->table.length, n));
            assert_int_equal(near >= 0, same > 0);
            if (near >= 0)
                md_kv_table_attach(w->pool, &s->table, md_kv_prefix_page(w->tree, near), same);
            return;
        }
        md_kv_table_attach(w->pool, &s->table, md_kv_prefix_page(w->tree, child), MD_TILE);
        node = child;
        assert_int_equal(md_kv_prefix_depth(w->tree, node) * MD_TILE, s->table.length);
    }
    assert_int_equal(s->table.length, 0);
}

static void add(world *w, sequence *s)
{
    int32_t node = md_kv_prefix_root(w->tree, scope_key(s->scope));
    for (int32_t i = 0; i < s->table.length / MD_TILE; i++) {
        const int32_t *t = s->token + i * MD_TILE;
        int32_t child = node < 0 ? -1 : md_kv_prefix_child(w->tree, node, t);
        if (child >= 0) {
            if (md_kv_prefix_page(w->tree, child) != s->table.page[i])
                md_kv_table_replace(w->pool, &s->table, i, md_kv_prefix_page(w->tree, child));
        } else {
            child = md_kv_prefix_add(w->tree, scope_key(s->scope), node, t, s->table.page[i]);
            if (child < 0)
                return;
            path *p = &w->node[child];
            assert_false(p->there);
            *p = (path){.there = true, .scope = s->scope, .length = (i + 1) * MD_TILE};
            memcpy(p->token, s->token, (size_t)p->length * sizeof *p->token);
        }
        node = child;
    }
}

static void evict(world *w, int32_t n)
{
    for (; n > 0 && md_kv_prefix_evictable(w->tree) > 0; n--) {
        const int32_t node = md_kv_prefix_oldest(w->tree), free = md_kv_pool_free_pages(w->pool);
        const path *p = &w->node[node];
        for (int i = 0; i < MAX_NODES; i++) /* a leaf */
            assert_false(w->node[i].there && w->node[i].scope == p->scope && w->node[i].length > p->length &&
                         memcmp(w->node[i].token, p->token, (size_t)p->length * sizeof *p->token) == 0);
        md_kv_prefix_remove(w->tree, node);
        w->node[node].there = false;
        assert_int_equal(md_kv_pool_free_pages(w->pool), free + 1);
    }
}

static void fork_into(world *w, sequence *dst, const sequence *src)
{
    md_kv_table_share(w->pool, &dst->table, &src->table);
    memcpy(dst->token, src->token, sizeof dst->token);
    dst->scope = random_below(8) == 0 ? random_below(N_SCOPES) : src->scope;
}

/* ---- checks ---- */

static bool held(const world *w, int32_t page)
{
    for (int i = 0; i < N_TABLES; i++)
        for (int32_t p = 0; p < w->s[i].table.n_pages; p++)
            if (w->s[i].table.page[p] == page)
                return true;
    return false;
}

/* May the node leave: is it, and all below it, in the tree alone? */
static bool alone(const world *w, int node)
{
    const path *p = &w->node[node];
    for (int i = 0; i < MAX_NODES; i++) {
        const path *b = &w->node[i];
        if (b->there && b->scope == p->scope && b->length >= p->length &&
            memcmp(b->token, p->token, (size_t)p->length * sizeof *p->token) == 0 &&
            held(w, md_kv_prefix_page(w->tree, i)))
            return false;
    }
    return true;
}

static void check_world(const world *w)
{
    bool used[MAX_NODES] = {0};
    int32_t n_used = 0, n_nodes = 0, n_alone = 0, n_next = 0;
    for (int i = 0; i < N_TABLES; i++) {
        const sequence *s = &w->s[i];
        for (int32_t p = 0; p < s->table.n_pages; p++)
            used[s->table.page[p]] = true;
        for (int32_t at = 0; at < s->table.length; at++) {
            const md_kv_tile t = md_kv_tile_at(w->pool, s->table.page[at / MD_TILE], 0, 0);
            assert_true(kept_key(&t, at % MD_TILE, 0) == meaning(s->token, at));
        }
    }
    for (int i = 0; i < MAX_NODES; i++)
        if (w->node[i].there) {
            const int32_t page = md_kv_prefix_page(w->tree, i);
            n_nodes++;
            n_alone += alone(w, i);
            assert_int_equal(md_kv_prefix_is_held(w->tree, i), !alone(w, i));
            assert_memory_equal(md_kv_prefix_tokens(w->tree, i), w->node[i].token + w->node[i].length - MD_TILE,
                                MD_TILE * sizeof(int32_t));
            used[page] = true;
        }
    for (int32_t i = md_kv_prefix_next(w->tree, -1); i >= 0; i = md_kv_prefix_next(w->tree, i), n_next++)
        assert_true(w->node[i].there);
    for (int32_t p = 0; p < w->n_pages; p++)
        n_used += used[p];
    assert_int_equal(n_next, n_nodes);
    assert_int_equal(md_kv_prefix_pages(w->tree), n_nodes);
    assert_int_equal(md_kv_prefix_evictable(w->tree), n_alone);
    assert_int_equal(md_kv_pool_free_pages(w->pool), w->n_pages - n_used);
}

static void random_step(world *w)
{
    const int a = random_below(N_TABLES), b = (a + 1 + random_below(N_TABLES - 1)) % N_TABLES;
    sequence *s = &w->s[a];
    switch (random_below(10)) {
    case 0:
    case 1: take(w, s); break;
    case 2:
    case 3: append(w, s, random_below(2 * MD_TILE)); break;
    case 4: append(w, s, MD_TILE - s->table.length % MD_TILE); break;
    case 5:
    case 6: add(w, s); break;
    case 7: md_kv_table_trim(w->pool, &s->table, random_below(s->table.length + 1)); break;
    case 8: evict(w, random_below(4)); break;
    default: fork_into(w, s, &w->s[b]); break;
    }
}

static void random_steps_agree_with_a_list(void **state)
{
    (void)state;
    static const int32_t sizes[] = {1, 4, 10, 60};
    for (int i = 0; i < 2 * COUNT(sizes); i++) {
        world w;
        world_init(&w, sizes[i / 2]);
        for (int step = 0; step < 3000; step++) {
            random_step(&w);
            check_world(&w);
        }
        world_done(&w, i % 2 == 0);
    }
}

/* ---- order ---- */

/* A sequence of pages whose tokens are all `letter`, added, and gone again. */
static void visit(world *w, int32_t letter, int32_t n_pages)
{
    sequence *s = &w->s[0];
    s->scope = 0;
    for (int32_t i = 0; i < MAX_LENGTH; i++)
        s->token[i] = i < MD_TILE ? 0 : letter; /* the first page is everybody's */
    int32_t node = md_kv_prefix_root(w->tree, scope_key(0));
    while (node >= 0 && s->table.n_pages < n_pages) {
        node = md_kv_prefix_child(w->tree, node, s->token + s->table.length);
        if (node >= 0)
            md_kv_table_attach(w->pool, &s->table, md_kv_prefix_page(w->tree, node), MD_TILE);
    }
    append(w, s, n_pages * MD_TILE - s->table.length);
    assert_int_equal(s->table.length, n_pages * MD_TILE);
    add(w, s);
    md_kv_table_trim(w->pool, &s->table, 0);
}

static int32_t evicted_letter(world *w)
{
    const int32_t node = md_kv_prefix_oldest(w->tree);
    const int32_t letter = node < 0 ? -1 : md_kv_prefix_tokens(w->tree, node)[0];
    evict(w, 1);
    return letter;
}

static void the_oldest_leaf_leaves_first(void **state)
{
    (void)state;
    static const int32_t expected[] = {7, 8, 8, 9, 9, 7, 0, -1};
    world w;
    world_init(&w, 12);
    visit(&w, 7, 3);
    visit(&w, 8, 3);
    visit(&w, 9, 3);
    visit(&w, 7, 2); /* all of 7's but the last page are used again */
    assert_int_equal(md_kv_prefix_evictable(w.tree), 7);
    int32_t order[8];
    for (int i = 0; i < 8; i++)
        order[i] = evicted_letter(&w);
    assert_memory_equal(order, expected, sizeof expected);
    assert_int_equal(md_kv_prefix_root(w.tree, scope_key(0)), -1); /* the scope went with its last page */
    world_done(&w, false);
}

static void what_is_held_stays(void **state)
{
    (void)state;
    world w;
    world_init(&w, 12);
    visit(&w, 7, 3);
    fork_into(&w, &w.s[1], &w.s[0]);
    const int32_t root = md_kv_prefix_root(w.tree, scope_key(0));
    const int32_t first = md_kv_prefix_child(w.tree, root, w.s[0].token);
    md_kv_table_attach(w.pool, &w.s[1].table, md_kv_prefix_page(w.tree, first), MD_TILE);
    assert_int_equal(md_kv_prefix_evictable(w.tree), 2);
    evict(&w, 9);
    assert_int_equal(md_kv_prefix_pages(w.tree), 1);
    md_kv_table_trim(w.pool, &w.s[1].table, 0);
    assert_int_equal(md_kv_prefix_evictable(w.tree), 1);
    world_done(&w, false);
}

/* ---- states ---- */

static void states_have_a_bound_and_an_order(void **state)
{
    (void)state;
    world w;
    world_init(&w, 12);
    md_kv_prefix_free(w.tree);
    md_error err = {0};
    assert_int_equal(md_kv_prefix_new(w.pool, &(md_kv_prefix_args){.state_bytes = 8, .n_states = 2}, &w.tree, &err),
                     MD_OK);
    visit(&w, 7, 4);
    int32_t node[5] = {md_kv_prefix_root(w.tree, scope_key(0))};
    for (int i = 0; i < 4; i++)
        node[i + 1] = md_kv_prefix_child(w.tree, node[i], w.s[0].token + i * MD_TILE);
    assert_null(md_kv_prefix_state(w.tree, node[1]));
    float *first = md_kv_prefix_keep_state(w.tree, node[1]), *second = md_kv_prefix_keep_state(w.tree, node[3]);
    first[0] = 1.0f, first[1] = 2.0f, second[0] = 3.0f, second[1] = 4.0f;
    assert_null(md_kv_prefix_keep_state(w.tree, node[4]));
    assert_true(md_kv_prefix_state(w.tree, node[1])[1] == 2.0f && md_kv_prefix_state(w.tree, node[3])[0] == 3.0f);
    assert_int_equal(md_kv_prefix_oldest_state(w.tree), node[1]);
    md_kv_prefix_use_state(w.tree, node[1]);
    assert_int_equal(md_kv_prefix_oldest_state(w.tree), node[3]);
    evict(&w, 2); /* the fourth page, and the third with its state */
    assert_int_equal(md_kv_prefix_states(w.tree), 1);
    assert_int_equal(md_kv_prefix_oldest_state(w.tree), node[1]);
    assert_non_null(md_kv_prefix_keep_state(w.tree, node[2]));
    md_kv_prefix_drop_state(w.tree, node[1]);
    assert_null(md_kv_prefix_state(w.tree, node[1]));
    assert_int_equal(md_kv_prefix_states(w.tree), 1);
    world_done(&w, false);
}

/* ---- inputs made to be slow ---- */

static int treap_depth(const md_kv_prefix *t, int32_t node)
{
    if (node < 0)
        return 0;
    const int left = treap_depth(t, t->node[node].left), right = treap_depth(t, t->node[node].right);
    return 1 + (left > right ? left : right);
}

static int longest_chain(const md_kv_prefix *t)
{
    int longest = 0;
    for (uint32_t i = 0; i <= t->mask; i++) {
        int n = 0;
        for (int32_t at = t->place[i]; at >= 0; at = t->node[at].chain)
            n++;
        longest = n > longest ? n : longest;
    }
    return longest;
}

/* Thousands of children of one node, in ascending order, that differ in their last token only; and as many scopes. */
static void nobody_makes_it_slow(void **state)
{
    (void)state;
    enum { N = 3000 };
    md_kv_pool *pool;
    md_kv_prefix *tree;
    md_kv_table table = {0};
    md_error err = {0};
    unsigned char scope[MD_KV_KEY_BYTES] = {0};
    int32_t token[MD_TILE] = {0};
    pool_init(&pool, &tree, 2 * N, &(md_kv_prefix_args){0});
    for (int i = 0; i < 2 * N; i++) {
        assert_int_equal(md_kv_table_init(&table, 1, &err), MD_OK);
        assert_non_null(md_kv_table_append(pool, &table));
        token[MD_TILE - 1] = i < N ? i : 0;
        if (i >= N)
            memcpy(scope, &i, sizeof i);
        const int32_t root = md_kv_prefix_root(tree, scope);
        assert_true(md_kv_prefix_add(tree, scope, root, token, table.page[0]) >= 0);
        md_kv_table_done(pool, &table);
    }
    const int32_t zero = md_kv_prefix_root(tree, (const unsigned char[MD_KV_KEY_BYTES]){0});
    const int depth = treap_depth(tree, tree->node[zero].children), chain = longest_chain(tree);
    print_message("%d siblings: depth %d; %d nodes: longest chain %d\n", N, depth, 3 * N, chain);
    assert_true(depth < 70 && chain < 16);
    int32_t same;
    token[MD_TILE - 1] = 1234;
    const int32_t near = md_kv_prefix_nearest(tree, zero, token, MD_TILE, &same);
    assert_int_equal(same, MD_TILE);
    assert_int_equal(near, md_kv_prefix_child(tree, zero, token));
    assert_int_equal(md_kv_prefix_evictable(tree), 2 * N);
    while (md_kv_prefix_oldest(tree) >= 0)
        md_kv_prefix_remove(tree, md_kv_prefix_oldest(tree));
    assert_int_equal(md_kv_pool_free_pages(pool), 2 * N);
    md_kv_prefix_free(tree);
    md_kv_pool_free(pool);
}

static void a_pool_has_one_tree(void **state)
{
    (void)state;
    md_kv_pool *pool;
    md_kv_prefix *tree, *second;
    md_error err = {0};
    pool_init(&pool, &tree, 3, &(md_kv_prefix_args){0});
    assert_int_equal(md_kv_prefix_new(pool, &(md_kv_prefix_args){0}, &second, &err), MD_ERR_ARGUMENT);
    assert_null(second);
    md_kv_prefix_free(tree);
    assert_int_equal(md_kv_prefix_new(pool, &(md_kv_prefix_args){0}, &tree, &err), MD_OK);
    md_kv_prefix_free(tree);
    md_kv_prefix_free(NULL);
    md_kv_pool_free(pool);
}

int main(void)
{
    seed_from_environment();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_steps_agree_with_a_list),
        cmocka_unit_test(the_oldest_leaf_leaves_first),
        cmocka_unit_test(what_is_held_stays),
        cmocka_unit_test(states_have_a_bound_and_an_order),
        cmocka_unit_test(nobody_makes_it_slow),
        cmocka_unit_test(a_pool_has_one_tree),
    };
    return cmocka_run_group_tests_name("kv prefix", tests, NULL, NULL);
}
