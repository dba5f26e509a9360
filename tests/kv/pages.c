/* SPDX-License-Identifier: Apache-2.0
 *
 * Pages and tables against a naive model that keeps every sequence's values in an array of its own: random writes,
 * forks, trims and frees in a pool that is often full. After each step every table must still hold what its sequence
 * wrote, and the counts of free pages and of copies must be what the tables say. */
#include "checkkern/check.h"
#include "kept.h"

enum { N_TABLES = 6, CAPACITY = 6, MAX_LENGTH = CAPACITY * MD_TILE };

static const md_kv_layer layer = {.n_head = 1, .dim_k = 1, .dim_v = 1};

typedef struct sequence {
    md_kv_table table;
    float value[MAX_LENGTH]; /* what each position was given */
} sequence;

typedef struct world {
    const md_kern *kern;
    md_kv_pool *pool;
    int32_t n_pages;
    sequence s[N_TABLES];
    float next; /* a number that no position has had yet; exact up to 2^24 */
} world;

static void world_init(world *w, int32_t n_pages)
{
    md_error err = {0};
    *w = (world){.kern = scalar_table(), .n_pages = n_pages, .next = 1.0f};
    if (md_kv_pool_new(MD_KV_STORE_F32, &layer, 1, n_pages, &w->pool, &err) != MD_OK)
        fail_msg("%s", err.message);
    assert_int_equal(md_kv_pool_free_pages(w->pool), n_pages);
    for (int i = 0; i < N_TABLES; i++)
        assert_int_equal(md_kv_table_init(&w->s[i].table, CAPACITY, &err), MD_OK);
}

static void world_done(world *w)
{
    for (int i = 0; i < N_TABLES; i++)
        md_kv_table_done(w->pool, &w->s[i].table);
    assert_int_equal(md_kv_pool_free_pages(w->pool), w->n_pages);
    md_kv_pool_free(w->pool);
}

static int owners_of(const world *w, int32_t page)
{
    int n = 0;
    for (int i = 0; i < N_TABLES; i++)
        for (int32_t p = 0; p < w->s[i].table.n_pages; p++)
            n += w->s[i].table.page[p] == page;
    return n;
}

static void write_at(world *w, sequence *s, int32_t position)
{
    const int32_t page = s->table.page[position / MD_TILE];
    s->value[position] = w->next;
    const float v = -w->next;
    md_kv_put(w->kern, w->pool, page, 0, 0, position % MD_TILE, &s->value[position], &v);
    w->next += 1.0f;
}

static void check_contents(const world *w, const sequence *s)
{
    for (int32_t i = 0; i < s->table.length; i++) {
        const md_kv_tile t = md_kv_tile_at(w->pool, s->table.page[i / MD_TILE], 0, 0);
        assert_true(kept_key(&t, i % MD_TILE, 0) == s->value[i] && kept_value(&t, i % MD_TILE, 0) == -s->value[i]);
    }
}

static void check_world(const world *w)
{
    int32_t used = 0;
    for (int32_t page = 0; page < w->n_pages; page++)
        used += owners_of(w, page) > 0;
    assert_int_equal(md_kv_pool_free_pages(w->pool), w->n_pages - used);
    for (int i = 0; i < N_TABLES; i++) {
        const md_kv_table *t = &w->s[i].table;
        assert_true(t->length <= t->n_pages * MD_TILE && t->n_pages <= CAPACITY);
        check_contents(w, &w->s[i]);
    }
}

/* Extends to `length` and checks what was foretold; true if it went well. */
static bool extend(world *w, sequence *s, int32_t length)
{
    md_kv_table *t = &s->table;
    const int32_t needed = md_kv_table_pages_needed(w->pool, t, length), free = md_kv_pool_free_pages(w->pool);
    const uint64_t copies = md_kv_pool_copies(w->pool);
    const bool writes_into_shared = length > t->length && t->length % MD_TILE > 0 &&
                                    owners_of(w, t->page[t->length / MD_TILE]) > 1;
    const int32_t n_pages = t->n_pages, old_length = t->length;
    int32_t pages[CAPACITY];
    memcpy(pages, t->page, sizeof pages);
    const bool fits = needed <= free && length <= MAX_LENGTH, done = md_kv_table_extend(w->pool, t, length);
    assert_int_equal(done, fits);
    assert_int_equal(t->length, old_length);
    if (!done) {
        assert_int_equal(t->n_pages, n_pages);
        assert_memory_equal(t->page, pages, sizeof pages);
    }
    assert_int_equal(free - md_kv_pool_free_pages(w->pool), done ? needed : 0);
    assert_int_equal(md_kv_pool_copies(w->pool) - copies, done && writes_into_shared);
    for (int32_t i = old_length; done && i < length; i++)
        assert_int_equal(owners_of(w, t->page[i / MD_TILE]), 1);
    return done;
}

/* Written as a step writes: pages first, then contents, then the length. */
static void append(world *w, sequence *s, int32_t n)
{
    const int32_t length = s->table.length + n;
    if (!extend(w, s, length))
        return;
    for (int32_t i = s->table.length; i < length; i++)
        write_at(w, s, i);
    s->table.length = length;
}

static void fork_into(world *w, sequence *dst, const sequence *src)
{
    md_kv_table_share(w->pool, &dst->table, &src->table);
    memcpy(dst->value, src->value, sizeof dst->value);
    assert_int_equal(dst->table.length, src->table.length);
}

static void trim(world *w, sequence *s, int32_t length)
{
    const int32_t old = s->table.length;
    md_kv_table_trim(w->pool, &s->table, length);
    assert_int_equal(s->table.length, length < old ? length : old);
    assert_true(s->table.n_pages <= (length + MD_TILE - 1) / MD_TILE);
}

static void random_step(world *w)
{
    md_error err = {0};
    const int a = random_below(N_TABLES), b = (a + 1 + random_below(N_TABLES - 1)) % N_TABLES;
    sequence *s = &w->s[a];
    switch (random_below(10)) {
    case 0:
    case 1: append(w, s, 1); break;
    case 2: append(w, s, random_below(2 * MD_TILE)); break;
    case 3: append(w, s, MD_TILE - s->table.length % MD_TILE); break; /* to the page's end */
    case 4: append(w, s, random_below(2 * MAX_LENGTH)); break;        /* often too long */
    case 5:
    case 6: fork_into(w, &w->s[b], s); break;
    case 7: trim(w, s, random_below(s->table.length + 2)); break;
    case 8: extend(w, s, s->table.length + random_below(2 * MD_TILE)); break; /* a step that was given up */
    default: md_kv_table_done(w->pool, &s->table); assert_int_equal(md_kv_table_init(&s->table, CAPACITY, &err), MD_OK);
    }
}

static void random_steps_keep_every_sequence(void **state)
{
    (void)state;
    static const int32_t sizes[] = {1, 3, 8, 20, N_TABLES * CAPACITY};
    for (int i = 0; i < COUNT(sizes); i++) {
        world w;
        world_init(&w, sizes[i]);
        for (int step = 0; step < 3000; step++) {
            random_step(&w);
            check_world(&w);
        }
        world_done(&w);
    }
}

static void a_fork_shares_until_one_side_writes(void **state)
{
    (void)state;
    world w;
    world_init(&w, 8);
    append(&w, &w.s[0], 2 * MD_TILE + 10);
    fork_into(&w, &w.s[1], &w.s[0]);
    assert_int_equal(md_kv_pool_free_pages(w.pool), 5);
    append(&w, &w.s[1], 1); /* the page of the 10 is copied, the two full ones are not */
    assert_int_equal(md_kv_pool_copies(w.pool), 1);
    assert_int_equal(md_kv_pool_free_pages(w.pool), 4);
    append(&w, &w.s[0], 1); /* its last owner writes in place */
    assert_int_equal(md_kv_pool_copies(w.pool), 1);
    fork_into(&w, &w.s[2], &w.s[0]);
    trim(&w, &w.s[2], MD_TILE);
    append(&w, &w.s[2], 1); /* a page begun anew is nobody's to copy */
    assert_int_equal(md_kv_pool_copies(w.pool), 1);
    check_world(&w);
    world_done(&w);
}

/* Two forks of a sequence whose last step took pages and was given up: each must write into pages of its own. */
static void pages_taken_ahead_are_not_shared(void **state)
{
    (void)state;
    world w;
    world_init(&w, 12);
    append(&w, &w.s[0], MD_TILE);
    assert_true(extend(&w, &w.s[0], 3 * MD_TILE));
    fork_into(&w, &w.s[1], &w.s[0]);
    append(&w, &w.s[0], 100);
    append(&w, &w.s[1], 100);
    check_world(&w);
    world_done(&w);
}

static void a_pool_refuses_what_it_cannot_hold(void **state)
{
    (void)state;
    static const md_kv_layer odd = {.n_head = 2, .dim_k = 80, .dim_v = 64};
    md_error err = {0};
    md_kv_pool *pool = NULL;
    assert_int_equal(md_kv_page_bytes(MD_KV_STORE_Q8_0, &odd, 1), 0);
    assert_true(md_kv_page_bytes(MD_KV_STORE_F16, &odd, 1) >= 2 * (80 + 64) * MD_TILE * 2);
    assert_int_not_equal(md_kv_pool_new(MD_KV_STORE_Q8_0, &odd, 1, 4, &pool, &err), MD_OK);
    assert_null(pool);
    assert_non_null(strstr(err.message, "32"));
    assert_int_not_equal(
        md_kv_pool_new(MD_KV_STORE_F32, &(md_kv_layer){1 << 30, 1 << 20, 1 << 20}, 1, 1 << 20, &pool, &err), MD_OK);
    assert_null(pool);
    md_kv_pool_free(NULL);
}

int main(void)
{
    seed_from_environment();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_steps_keep_every_sequence),
        cmocka_unit_test(a_fork_shares_until_one_side_writes),
        cmocka_unit_test(pages_taken_ahead_are_not_shared),
        cmocka_unit_test(a_pool_refuses_what_it_cannot_hold),
    };
    return cmocka_run_group_tests_name("kv pages", tests, NULL, NULL);
}
