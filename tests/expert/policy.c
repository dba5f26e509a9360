/* SPDX-License-Identifier: Apache-2.0
 *
 * Eviction policies: each decides as its rule says, sees what it is told and nothing else, remembers beyond eviction; and
 * medley's own holds what it promises on choices that it was not tuned on. */
#include "expert/policy.h"

#include "support/fixtures.h"
#include "trace/synthetic.h"

#include <string.h>

static void ok(md_status s, const md_error *err)
{
    if (s != MD_OK)
        fail_msg("%s", err->message);
}

static md_policy *new_policy(const char *name, int32_t n_layer, const int32_t *n_expert)
{
    md_policy *p;
    md_error err;
    ok(md_policy_new(name, n_layer, n_expert, &p, &err), &err);
    assert_string_equal(md_policy_name(p), name);
    return p;
}

static void use_all(md_policy *p, int32_t layer, const int32_t *expert, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        md_policy_use(p, layer, expert[i], 0.5f);
        md_policy_step(p);
    }
}

/* ---- a cache to try policies in, apart from the one that replays traces ---- */

typedef struct cache {
    int32_t slots, n;
    int32_t held[SYNTHETIC_MOST];
    int64_t hits, needs;
} cache;

static bool holds(const cache *c, int32_t e)
{
    return synthetic_holds(c->held, c->n, e);
}

static void bring(cache *c, md_policy *p, int32_t e, const int32_t *needed, int32_t n_needed)
{
    int32_t candidate[SYNTHETIC_MOST], place[SYNTHETIC_MOST], n = 0;
    if (c->n < c->slots) {
        c->held[c->n++] = e;
        return;
    }
    for (int32_t i = 0; i < c->n; i++)
        if (!synthetic_holds(needed, n_needed, c->held[i])) {
            candidate[n] = c->held[i];
            place[n++] = i;
        }
    assert_true(n > 0);
    const int32_t victim = md_policy_victim(p, 0, candidate, n);
    assert_in_range(victim, 0, n - 1);
    c->held[place[victim]] = e;
}

static double hit_rate(const char *policy, const synthetic_habit *habit, uint64_t seed, int32_t slots, int32_t steps)
{
    md_policy *p = new_policy(policy, 1, &habit->n_expert);
    synthetic s;
    cache c = {.slots = slots};
    md_policy_room(p, 0, slots);
    synthetic_init(&s, habit, seed);
    for (int32_t t = 0; t < steps; t++) {
        int32_t expert[SYNTHETIC_MOST];
        synthetic_next(&s, expert);
        for (int32_t k = 0; k < habit->top_k; k++) {
            md_policy_use(p, 0, expert[k], 1.0f);
            c.hits += holds(&c, expert[k]);
        }
        c.needs += habit->top_k;
        for (int32_t k = 0; k < habit->top_k; k++)
            if (!holds(&c, expert[k]))
                bring(&c, p, expert[k], expert, habit->top_k);
        md_policy_step(p);
    }
    md_policy_free(p);
    return (double)c.hits / (double)c.needs;
}

/* ---- rules ---- */

static void the_longest_unused_leaves_first(void **state)
{
    (void)state;
    const int32_t n_expert[] = {0, 6};
    md_policy *p = new_policy("lru", 2, n_expert);
    use_all(p, 1, (const int32_t[]){4, 2, 0, 5, 4, 4, 2}, 7);
    assert_int_equal(md_policy_victim(p, 1, (const int32_t[]){2, 5, 4, 0}, 4), 3);
    assert_int_equal(md_policy_victim(p, 1, (const int32_t[]){2, 5, 4}, 3), 1);
    assert_int_equal(md_policy_victim(p, 1, (const int32_t[]){2, 4}, 2), 1);
    assert_int_equal(md_policy_victim(p, 1, (const int32_t[]){0, 3, 1}, 3), 2); /* never used: the lowest number */
    md_policy_free(p);
}

static void the_least_used_leaves_first(void **state)
{
    (void)state;
    const int32_t n_expert[] = {5};
    md_policy *p = new_policy("lfu", 1, n_expert);
    use_all(p, 0, (const int32_t[]){0, 0, 0, 1, 2, 2, 1, 1, 2}, 9);
    use_all(p, 0, (const int32_t[]){3}, 1);
    assert_int_equal(md_policy_victim(p, 0, (const int32_t[]){0, 1, 2, 3}, 4), 3);
    assert_int_equal(md_policy_victim(p, 0, (const int32_t[]){2, 1, 0}, 3), 2); /* as often, but longer ago */
    md_policy_free(p);
}

/* What was popular long ago gives way to what is popular now, however much of it there was. */
static void old_uses_fade(void **state)
{
    (void)state;
    const int32_t n_expert[] = {4};
    for (const char *const *name = md_policy_names(); *name; name++) {
        md_policy *p = new_policy(*name, 1, n_expert);
        md_policy_room(p, 0, 2);
        for (int i = 0; i < 100000; i++)
            use_all(p, 0, (const int32_t[]){0}, 1);
        for (int i = 0; i < 600; i++)
            use_all(p, 0, (const int32_t[]){1, 2}, 2);
        assert_int_equal(md_policy_victim(p, 0, (const int32_t[]){2, 0, 1}, 3), 1);
        md_policy_free(p);
    }
}

static void counts_outlive_eviction(void **state)
{
    (void)state;
    const int32_t n_expert[] = {8};
    md_policy *p = new_policy("lfu", 1, n_expert);
    for (int i = 0; i < 10; i++)
        use_all(p, 0, (const int32_t[]){3}, 1);
    assert_int_equal(md_policy_victim(p, 0, (const int32_t[]){3}, 1), 0); /* it goes */
    use_all(p, 0, (const int32_t[]){1, 2, 1, 2, 3}, 5);                   /* and is back */
    assert_int_equal(md_policy_victim(p, 0, (const int32_t[]){3, 1, 2}, 3), 1);
    md_policy_free(p);
}

static void a_pinned_expert_stays(void **state)
{
    (void)state;
    const int32_t n_expert[] = {3, 4};
    for (const char *const *name = md_policy_names(); *name; name++) {
        md_policy *p = new_policy(*name, 2, n_expert);
        use_all(p, 1, (const int32_t[]){0, 1, 2, 1, 2}, 5);
        assert_int_equal(md_policy_victim(p, 1, (const int32_t[]){0, 1, 2}, 3), 0);
        md_policy_pin(p, 1, 0, true);
        assert_int_equal(md_policy_victim(p, 1, (const int32_t[]){0, 1, 2}, 3), 1);
        md_policy_pin(p, 1, 1, true);
        md_policy_pin(p, 1, 2, true);
        assert_int_equal(md_policy_victim(p, 1, (const int32_t[]){0, 1, 2}, 3), 0); /* all are: the first after all */
        md_policy_pin(p, 1, 0, false);
        assert_int_equal(md_policy_victim(p, 1, (const int32_t[]){2, 1, 0}, 3), 2);
        md_policy_free(p);
    }
}

/* Where a slot lies says nothing of its expert. */
static void the_order_of_candidates_does_not_matter(void **state)
{
    (void)state;
    const synthetic_habit habit = {.n_expert = 16, .top_k = 4, .zipf = 0.6};
    for (const char *const *name = md_policy_names(); *name; name++) {
        md_policy *p = new_policy(*name, 1, &habit.n_expert);
        synthetic s;
        md_policy_room(p, 0, 8);
        synthetic_init(&s, &habit, 5);
        for (int t = 0; t < 200; t++) {
            int32_t expert[4], forward[16], backward[16];
            synthetic_next(&s, expert);
            for (int k = 0; k < 4; k++)
                md_policy_use(p, 0, expert[k], 0.25f);
            for (int32_t i = 0; i < 16; i++) {
                forward[i] = i;
                backward[i] = 15 - i;
            }
            assert_int_equal(forward[md_policy_victim(p, 0, forward, 16)],
                             backward[md_policy_victim(p, 0, backward, 16)]);
            md_policy_step(p);
        }
        md_policy_free(p);
    }
}

static void layers_do_not_disturb_each_other(void **state)
{
    (void)state;
    const int32_t n_expert[] = {12, 0, 12};
    const synthetic_habit habit = {.n_expert = 12, .top_k = 3, .zipf = 0.8, .drift = 0.2};
    for (const char *const *name = md_policy_names(); *name; name++) {
        md_policy *alone = new_policy(*name, 1, n_expert), *both = new_policy(*name, 3, n_expert);
        synthetic s, noise;
        md_policy_room(alone, 0, 5);
        md_policy_room(both, 2, 5);
        md_policy_room(both, 0, 7);
        synthetic_init(&s, &habit, 3);
        synthetic_init(&noise, &habit, 4);
        for (int t = 0; t < 300; t++) {
            int32_t expert[3], other[3];
            synthetic_next(&s, expert);
            synthetic_next(&noise, other);
            for (int k = 0; k < 3; k++) {
                md_policy_use(both, 0, other[k], 0.3f);
                md_policy_use(alone, 0, expert[k], 0.3f);
                md_policy_use(both, 2, expert[k], 0.3f);
            }
            const int32_t candidate[] = {1, 3, 4, 7, 8, 9, 11};
            assert_int_equal(md_policy_victim(alone, 0, candidate, 7), md_policy_victim(both, 2, candidate, 7));
            md_policy_step(alone);
            md_policy_step(both);
        }
        md_policy_free(alone);
        md_policy_free(both);
    }
}

/* ---- the hot list ---- */

static void a_hot_list_carries_over(void **state)
{
    (void)state;
    const int32_t n_expert[] = {4, 0, 3};
    float hot[7], again[7];
    md_error err;
    for (const char *const *name = md_policy_names(); *name; name++) {
        md_policy *p = new_policy(*name, 3, n_expert);
        assert_int_equal(md_policy_n_counts(p), 7);
        md_policy_counts(p, hot);
        for (int i = 0; i < 7; i++)
            assert_true(hot[i] == 0.0f);
        use_all(p, 0, (const int32_t[]){2, 2, 2, 1, 1, 3}, 6);
        md_policy_counts(p, hot);
        assert_true(hot[2] > hot[1] && hot[1] > hot[3] && hot[3] > hot[0] && hot[0] == 0.0f && hot[4] == 0.0f);
        assert_float_equal(hot[0] + hot[1] + hot[2] + hot[3], 1.0f, 1e-5f);
        for (const char *const *next = md_policy_names(); *next; next++) {
            md_policy *q = new_policy(*next, 3, n_expert);
            ok(md_policy_set_counts(q, hot, 7, &err), &err);
            md_policy_counts(q, again);
            for (int i = 0; i < 7; i++)
                assert_float_equal(again[i], hot[i], 1e-5f);
            const int32_t candidate[] = {2, 3, 1};
            assert_int_equal(md_policy_victim(q, 0, candidate, 3), 1); /* before anything was used */
            md_policy_free(q);
        }
        md_policy_free(p);
    }
}

static void a_hot_list_may_hold_anything(void **state)
{
    (void)state;
    const int32_t n_expert[] = {4};
    const float wild[] = {-1.0f, NAN, INFINITY, 3e38f};
    float out[4];
    md_error err;
    for (const char *const *name = md_policy_names(); *name; name++) {
        md_policy *p = new_policy(*name, 1, n_expert);
        assert_int_equal(md_policy_set_counts(p, wild, 3, &err), MD_ERR_ARGUMENT);
        ok(md_policy_set_counts(p, wild, 4, &err), &err);
        md_policy_counts(p, out);
        assert_true(out[0] == 0.0f && out[1] == 0.0f && out[2] == 0.0f && out[3] == 1.0f);
        use_all(p, 0, (const int32_t[]){0, 1}, 2);
        md_policy_counts(p, out);
        for (int i = 0; i < 4; i++)
            assert_true(isfinite(out[i]) && out[i] >= 0.0f);
        md_policy_free(p);
    }
}

static void what_there_is_not_is_refused(void **state)
{
    (void)state;
    const int32_t some[] = {4}, wrong[] = {4, -1};
    md_policy *p;
    md_error err;
    assert_int_equal(md_policy_new("fifo", 1, some, &p, &err), MD_ERR_ARGUMENT);
    assert_null(p);
    assert_string_equal(err.message, "there is no eviction policy 'fifo'; there are medley, lfu and lru");
    for (const char *const *name = md_policy_names(); *name; name++) {
        assert_int_equal(md_policy_new(*name, 2, wrong, &p, &err), MD_ERR_ARGUMENT);
        assert_int_equal(md_policy_new(*name, 0, some, &p, &err), MD_ERR_ARGUMENT);
        assert_null(p);
    }
    md_policy_free(NULL);
}

/* ---- how good they are ---- */

/* Neither these habits nor these seeds were used for choosing the constants of policy_medley.c. */
static const synthetic_habit judged[] = {
    {.name = "popular", .n_expert = 128, .top_k = 8, .zipf = 0.7},
    {.name = "drifting", .n_expert = 96, .top_k = 6, .zipf = 0.9, .drift = 0.3},
    {.name = "changing at once", .n_expert = 64, .top_k = 6, .zipf = 1.1, .phase = 700},
    {.name = "chosen again", .n_expert = 128, .top_k = 8, .zipf = 0.4, .again = 0.35},
    {.name = "hot sets", .n_expert = 64, .top_k = 8, .zipf = 0.3, .hot = 12, .heat = 0.6},
    {.name = "a bit of all",
     .n_expert = 160,
     .top_k = 6,
     .zipf = 0.6,
     .drift = 0.1,
     .again = 0.25,
     .hot = 10,
     .heat = 0.2},
    {.name = "few and large", .n_expert = 8, .top_k = 2, .zipf = 0.5, .again = 0.2},
    {.name = "no habit", .n_expert = 64, .top_k = 4},
};

static void medleys_own_is_as_good_as_the_better_of_both(void **state)
{
    (void)state;
    double gain = 0.0;
    for (size_t i = 0; i < sizeof judged / sizeof *judged; i++)
        for (int32_t part = 2; part <= 4; part += 2) {
            const int32_t slots = judged[i].n_expert / part;
            const double lru = hit_rate("lru", &judged[i], 1001 + i, slots, 4000);
            const double lfu = hit_rate("lfu", &judged[i], 1001 + i, slots, 4000);
            const double own = hit_rate("medley", &judged[i], 1001 + i, slots, 4000);
            const double better = lru > lfu ? lru : lfu;
            if (own < better - 0.002)
                fail_msg("%s, %d slots: lru %.4f, lfu %.4f, medley %.4f", judged[i].name, (int)slots, lru, lfu, own);
            gain += own - better;
        }
    assert_true(gain > 0.0);
}

static void the_same_calls_give_the_same_victims(void **state)
{
    (void)state;
    for (const char *const *name = md_policy_names(); *name; name++)
        assert_true(hit_rate(*name, &judged[5], 9, 40, 500) == hit_rate(*name, &judged[5], 9, 40, 500));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_longest_unused_leaves_first),
        cmocka_unit_test(the_least_used_leaves_first),
        cmocka_unit_test(old_uses_fade),
        cmocka_unit_test(counts_outlive_eviction),
        cmocka_unit_test(a_pinned_expert_stays),
        cmocka_unit_test(the_order_of_candidates_does_not_matter),
        cmocka_unit_test(layers_do_not_disturb_each_other),
        cmocka_unit_test(a_hot_list_carries_over),
        cmocka_unit_test(a_hot_list_may_hold_anything),
        cmocka_unit_test(what_there_is_not_is_refused),
        cmocka_unit_test(medleys_own_is_as_good_as_the_better_of_both),
        cmocka_unit_test(the_same_calls_give_the_same_victims),
    };
    return cmocka_run_group_tests_name("eviction policies", tests, NULL, NULL);
}
