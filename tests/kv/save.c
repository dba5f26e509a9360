/* SPDX-License-Identifier: Apache-2.0
 *
 * Pages as bytes: what one table holds, another, in another pool or the same, becomes; and pools that are too small. */
#include "checkkern/check.h"
#include "kept.h"

#include <string.h>

static const md_kv_layer layers[] = {
    {.n_head = 2, .dim_k = 32, .dim_v = 64}, {0}, {.n_head = 1, .dim_k = 64, .dim_v = 32}};
enum { N_LAYER = 3, LENGTH = 2 * MD_TILE + 5, N_PAGES = 3 };

static md_kv_pool *new_pool(md_kv_store store, int32_t n_pages)
{
    md_error err = {0};
    md_kv_pool *p;
    if (md_kv_pool_new(store, layers, N_LAYER, n_pages, &p, &err) != MD_OK)
        fail_msg("%s", err.message);
    return p;
}

static void fill_table(md_kv_pool *p, md_kv_table *t, int32_t length, float seed)
{
    float k[64], v[64];
    assert_true(md_kv_table_extend(p, t, length));
    for (int32_t i = 0; i < length; i++)
        for (int32_t l = 0; l < N_LAYER; l++)
            for (int32_t h = 0; h < layers[l].n_head; h++) {
                for (int d = 0; d < 64; d++) {
                    k[d] = seed + (float)(i * 7 + l * 3 + h + d);
                    v[d] = seed - (float)(i * 5 + l + h * 2 + d);
                }
                md_kv_put(scalar_table(), p, t->page[i / MD_TILE], l, h, i % MD_TILE, k, v);
            }
    t->length = length;
}

static unsigned char *bytes_of(const md_kv_pool *p, const md_kv_table *t)
{
    const size_t page = md_kv_pool_page_bytes(p);
    const int32_t n = md_kv_pages_of(t->length);
    unsigned char *all = malloc(page * (size_t)n + 1);
    assert_non_null(all);
    for (int32_t i = 0; i < n; i++)
        memcpy(all + page * (size_t)i, md_kv_table_page(p, t, i), page);
    return all;
}

static void pages_come_back(void **state)
{
    (void)state;
    for (md_kv_store store = MD_KV_STORE_F32; store <= MD_KV_STORE_Q8_0; store++) {
        md_error err = {0};
        md_kv_pool *a = new_pool(store, 4), *b = new_pool(store, 4);
        md_kv_table from, to;
        assert_int_equal(md_kv_table_init(&from, 4, &err), MD_OK);
        assert_int_equal(md_kv_table_init(&to, 4, &err), MD_OK);
        fill_table(a, &from, LENGTH, 1.0f);
        fill_table(b, &to, 10, 2.0f); /* what was there goes */
        unsigned char *bytes = bytes_of(a, &from), *again;
        assert_true(md_kv_table_fill(b, &to, LENGTH, bytes));
        assert_int_equal(to.length, LENGTH);
        assert_int_equal(to.n_pages, N_PAGES);
        assert_int_equal(md_kv_pool_free_pages(b), 4 - N_PAGES);
        again = bytes_of(b, &to);
        assert_memory_equal(bytes, again, N_PAGES * md_kv_pool_page_bytes(a));
        const md_kv_tile t = md_kv_tile_at(b, to.page[2], 2, 0); /* the last position, of the last layer */
        assert_true(kept_key(&t, 4, 0) != 0.0f && kept_value(&t, 4, 0) != 0.0f);
        free(bytes);
        free(again);
        md_kv_table_done(a, &from);
        md_kv_table_done(b, &to);
        assert_int_equal(md_kv_pool_free_pages(b), 4);
        md_kv_pool_free(a);
        md_kv_pool_free(b);
    }
}

static void a_full_pool_changes_nothing(void **state)
{
    (void)state;
    md_error err = {0};
    md_kv_pool *p = new_pool(MD_KV_STORE_F32, 4);
    md_kv_table a, b;
    assert_int_equal(md_kv_table_init(&a, 4, &err), MD_OK);
    assert_int_equal(md_kv_table_init(&b, 4, &err), MD_OK);
    fill_table(p, &a, LENGTH, 1.0f);
    unsigned char *bytes = bytes_of(p, &a);
    fill_table(p, &b, 3, 2.0f); /* one page of its own, none free: three are needed */
    unsigned char *before = bytes_of(p, &b);
    assert_false(md_kv_table_fill(p, &b, LENGTH, bytes));
    assert_int_equal(b.length, 3);
    assert_memory_equal(before, md_kv_table_page(p, &b, 0), md_kv_pool_page_bytes(p));
    free(before);
    /* Its own pages count as free, shared ones do not. */
    md_kv_table_trim(p, &b, 0);
    assert_true(md_kv_table_fill(p, &a, LENGTH, bytes));
    md_kv_table_share(p, &b, &a);
    assert_false(md_kv_table_fill(p, &a, LENGTH, bytes));
    md_kv_table_trim(p, &b, 0);
    assert_true(md_kv_table_fill(p, &a, 0, bytes));
    assert_int_equal(md_kv_pool_free_pages(p), 4);
    assert_false(md_kv_table_fill(p, &a, 5 * MD_TILE, bytes)); /* beyond the table's capacity */
    free(bytes);
    md_kv_table_done(p, &a);
    md_kv_table_done(p, &b);
    md_kv_pool_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_come_back),
        cmocka_unit_test(a_full_pool_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
