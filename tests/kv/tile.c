/* SPDX-License-Identifier: Apache-2.0
 *
 * What a page gives back for what was put: section 7 of docs/numerics.md for each kind of storage, with every layer,
 * head and position of a page in use, so that a value in a neighbour's place is seen. */
#include "checkkern/check.h"
#include "kept.h"

enum { N_LAYERS = 4, N_PAGES = 2, MAX_HEADS = 3, MAX_DIM = 160 };

/* The second layer keeps nothing. */
static const md_kv_layer layers[N_LAYERS] = {{2, 64, 32}, {0, 0, 0}, {3, 32, 96}, {1, 160, 128}};
static const md_kv_layer odd_layers[N_LAYERS] = {{2, 5, 33}, {0, 0, 0}, {3, 1, 17}, {1, 133, 3}};

/* Latent attention: values are the first of the keys. */
static const md_kv_layer joint_layers[N_LAYERS] = {
    {1, 128, 96, .v_in_k = true}, {0, 0, 0}, {2, 64, 64, .v_in_k = true}, {1, 32, 32}};

static const char *const store_names[] = {"F32", "F16", "Q8_0"};

/* What the cache must give back, transposed nowhere: (dim) values of a position. */
typedef struct contents {
    float k[MAX_DIM], v[MAX_DIM];
} contents;

/* One block of 32 along a head: the value of each code. */
static void q8_by_definition(const float *x, float *value)
{
    float amax = 0.0f;
    for (int i = 0; i < 32; i++)
        amax = isfinite(x[i]) && !isnan(amax) ? fmaxf(amax, fabsf(x[i])) : NAN;
    const float d = md_half_to_float(md_float_to_half(amax / 127.0f));
    for (int i = 0; i < 32; i++) {
        const float code = isfinite(d) && d > 0.0f ? fmaxf(fminf(rintf(x[i] * (1.0f / d)), 127.0f), -127.0f) : 0.0f;
        value[i] = d * (float)(int)code; /* infinity or NaN times zero: a block that does not fit is loud */
    }
}

static void store_by_definition(md_kv_store store, const float *x, int n, float *value)
{
    for (int i = 0; i < n; i++) {
        if (store == MD_KV_STORE_F32)
            value[i] = x[i];
        else if (store == MD_KV_STORE_F16)
            value[i] = md_half_to_float(md_float_to_half(x[i]));
        else if (i % 32 == 0)
            q8_by_definition(x + i, value + i);
    }
}

typedef struct cache {
    const md_kern *kern;
    md_kv_store store;
    const md_kv_layer *layer;
    md_kv_pool *pool;
    contents (*expected)[N_LAYERS][MAX_HEADS][MD_TILE]; /* (N_PAGES) */
} cache;

static cache cache_new(const md_kern *kern, md_kv_store store, const md_kv_layer *layer)
{
    md_error err = {0};
    cache c = {.kern = kern, .store = store, .layer = layer, .expected = calloc(N_PAGES, sizeof *c.expected)};
    assert_non_null(c.expected);
    if (md_kv_pool_new(store, layer, N_LAYERS, N_PAGES, &c.pool, &err) != MD_OK)
        fail_msg("%s", err.message);
    return c;
}

static void cache_done(cache *c)
{
    md_kv_pool_free(c->pool);
    free(c->expected);
}

static void put(cache *c, int page, int l, int head, int at, fill f)
{
    const md_kv_layer *layer = &c->layer[l];
    contents *e = &c->expected[page][l][head][at];
    tight k, v;
    tight_floats(&k, layer->dim_k, 1, f);
    tight_floats(&v, layer->dim_v, 1, f);
    md_kv_put(c->kern, c->pool, page, l, head, at, k.data, layer->v_in_k ? NULL : v.data);
    store_by_definition(c->store, k.data, layer->dim_k, e->k);
    store_by_definition(c->store, layer->v_in_k ? k.data : v.data, layer->dim_v, e->v);
    free(k.base);
    free(v.base);
}

static void check_head(const cache *c, int page, int l, int head)
{
    const md_kv_layer *layer = &c->layer[l];
    const md_kv_tile t = md_kv_tile_at(c->pool, page, l, head);
    assert_int_equal(t.store, c->store);
    assert_int_equal(t.dim_k, layer->dim_k);
    assert_int_equal(t.dim_v, layer->dim_v);
    assert_int_equal(t.v == NULL, layer->v_in_k);
    assert_int_equal((uintptr_t)t.k % 64, 0);
    for (int at = 0; at < MD_TILE; at++) {
        const contents *e = &c->expected[page][l][head][at];
        const char *what = describe("%s %s page %d layer %d head %d position %d", c->kern->isa, store_names[c->store],
                                    page, l, head, at);
        for (int d = 0; d < layer->dim_k; d++) {
            const float k = kept_key(&t, at, d);
            expect_same_floats(&e->k[d], &k, 1, what);
        }
        for (int d = 0; d < layer->dim_v; d++) {
            const float v = kept_value(&t, at, d);
            expect_same_floats(&e->v[d], &v, 1, what);
        }
    }
}

static void check_cache(const cache *c)
{
    for (int page = 0; page < N_PAGES; page++)
        for (int l = 0; l < N_LAYERS; l++)
            for (int head = 0; head < c->layer[l].n_head; head++)
                check_head(c, page, l, head);
}

static void put_anywhere(cache *c, fill f)
{
    int l;
    do
        l = random_below(N_LAYERS);
    while (c->layer[l].n_head == 0);
    put(c, random_below(N_PAGES), l, random_below(c->layer[l].n_head), random_below(MD_TILE), f);
}

static void values_in_keys_come_back(void **state)
{
    for (int store = MD_KV_STORE_F32; store <= MD_KV_STORE_Q8_0; store++) {
        cache c = cache_new(table_of(state), (md_kv_store)store, joint_layers);
        for (int i = 0; i < 300; i++)
            put_anywhere(&c, FILL_UNIT);
        check_cache(&c);
        cache_done(&c);
    }
}

static void values_in_keys_take_no_room(void **state)
{
    (void)state;
    const md_kv_layer apart = {1, 576, 512}, joint = {1, 576, 512, .v_in_k = true};
    assert_int_equal(md_kv_page_bytes(MD_KV_STORE_F16, &joint, 1), 576 * MD_TILE * 2);
    assert_int_equal(md_kv_page_bytes(MD_KV_STORE_F16, &apart, 1), (576 + 512) * MD_TILE * 2);
}

static void each_place_gives_back_what_was_put(void **state)
{
    const md_kern *kern = table_of(state);
    for (int store = MD_KV_STORE_F32; store <= MD_KV_STORE_Q8_0; store++)
        for (int odd = 0; odd < (store == MD_KV_STORE_Q8_0 ? 1 : 2); odd++) {
            cache c = cache_new(kern, (md_kv_store)store, odd ? odd_layers : layers);
            check_cache(&c); /* fresh pages are zero */
            for (int f = 0; f < N_FILLS; f++) {
                for (int i = 0; i < 300; i++)
                    put_anywhere(&c, (fill)f);
                check_cache(&c);
            }
            cache_done(&c);
        }
}

/* The error of a code is half a step of the scale, which rounding to a half may have made smaller: a clamped code adds
 * the little that is missing. */
static void q8_is_near_what_was_put(void **state)
{
    (void)state;
    const md_kv_layer one = {1, 32, 32};
    md_error err = {0};
    md_kv_pool *pool;
    assert_int_equal(md_kv_pool_new(MD_KV_STORE_Q8_0, &one, 1, 1, &pool, &err), MD_OK);
    for (int round = 0; round < 500; round++) {
        float x[32], amax = 0.0f;
        fill_floats(x, 32, round % 2 ? FILL_UNIT : FILL_WIDE);
        for (int i = 0; i < 32; i++)
            amax = fmaxf(amax, fabsf(x[i]));
        md_kv_put(scalar_table(), pool, 0, 0, 0, round % MD_TILE, x, x);
        const md_kv_tile t = md_kv_tile_at(pool, 0, 0, 0);
        for (int i = 0; i < 32; i++) {
            const float v = kept_value(&t, round % MD_TILE, i);
            assert_true(fabsf(v - x[i]) <= amax / 127.0f * 0.57f + 0x1p-24f * 127.0f);
            assert_true(kept_key(&t, round % MD_TILE, i) == v);
        }
    }
    md_kv_pool_free(pool);
}

/* A value that Q8_0 cannot hold makes NaNs of its block of 32, and of nothing else. */
static void q8_does_not_hide_what_it_cannot_hold(void **state)
{
    static const float unfit[] = {NAN, -NAN, INFINITY, -INFINITY, 1e7f, FLT_MAX};
    const md_kv_layer one = {1, 64, 96};
    const md_kern *kern = table_of(state);
    md_error err = {0};
    md_kv_pool *pool;
    assert_int_equal(md_kv_pool_new(MD_KV_STORE_Q8_0, &one, 1, 1, &pool, &err), MD_OK);
    for (int u = 0; u < COUNT(unfit); u++)
        for (int place = 0; place < 64; place += 7) {
            float key[64], value[96];
            fill_floats(key, 64, FILL_UNIT);
            fill_floats(value, 96, FILL_UNIT);
            md_kv_put(kern, pool, 0, 0, 0, 5, key, value);
            key[place] = value[place] = unfit[u];
            md_kv_put(kern, pool, 0, 0, 0, 4, key, value);
            const md_kv_tile t = md_kv_tile_at(pool, 0, 0, 0);
            for (int i = 0; i < 64; i++) {
                assert_int_equal(isnan(kept_key(&t, 4, i)) != 0, i / 32 == place / 32);
                assert_false(isnan(kept_key(&t, 5, i)));
            }
            for (int i = 0; i < 96; i++) {
                assert_int_equal(isnan(kept_value(&t, 4, i)) != 0, i / 32 == place / 32);
                assert_false(isnan(kept_value(&t, 5, i)));
            }
        }
    md_kv_pool_free(pool);
}

int main(void)
{
    seed_from_environment();
    const struct CMUnitTest tests[] = {
        EACH_TABLE(each_place_gives_back_what_was_put),   EACH_TABLE(values_in_keys_come_back),
        cmocka_unit_test(values_in_keys_take_no_room),    cmocka_unit_test(q8_is_near_what_was_put),
        EACH_TABLE(q8_does_not_hide_what_it_cannot_hold),
    };
    return cmocka_run_group_tests_name("kv tile", tests, NULL, NULL);
}
