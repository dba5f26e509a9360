/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading ahead without a model: what a trial of ways settles on, and what guesses are made of. */
#include "expert/ahead.h"
#include "expert/trial.h"
#include "support/synth_model.h"

enum { LAYERS = 4, EXPERTS = 12, TOP_K = 2 };

static const int32_t n_expert[LAYERS] = {EXPERTS, 0, EXPERTS, EXPERTS}, top_k[LAYERS] = {TOP_K, 0, TOP_K, TOP_K};

/* Steps that take `cost` seconds by way; how often each way was used. */
static void run_trial(const double *cost, int32_t steps, int32_t *used)
{
    md_trial t;
    double now = 100.0;
    md_trial_init(&t);
    for (int32_t i = 0; i < steps; i++) {
        const md_way way = md_trial_way(&t);
        used[way]++;
        md_trial_begin(&t, 1, now);
        now += cost[way] * (1.0 + 0.02 * (double)(i * 2654435761u >> 24 & 7) / 7.0); /* noise */
        md_trial_end(&t, now);
        now += 5.0; /* what happens between steps is nobody's */
    }
    double with, without;
    bool on;
    md_trial_figures(&t, &with, &without, &on);
    assert_int_equal(on, cost[MD_WAY_LIKELY] < cost[MD_WAY_NONE] || cost[MD_WAY_BOLD] < cost[MD_WAY_NONE]);
    assert_true(without > 0.9 * cost[MD_WAY_NONE] && without < 1.1 * cost[MD_WAY_NONE]);
}

static void the_fastest_way_gets_most_steps(void **state)
{
    (void)state;
    static const double costs[][MD_N_WAYS] = {{1.0, 1.38, 1.5}, {1.0, 0.8, 0.9}, {1.0, 0.9, 0.66}, {1.0, 1.2, 0.9}};
    for (size_t c = 0; c < sizeof costs / sizeof *costs; c++) {
        int32_t used[MD_N_WAYS] = {0}, best = 0;
        run_trial(costs[c], 4000, used);
        for (int w = 1; w < MD_N_WAYS; w++)
            best = costs[c][w] < costs[c][best] ? w : best;
        assert_true(used[best] > 4000 * 9 / 10);
        for (int w = 0; w < MD_N_WAYS; w++)
            assert_true(used[w] > 16); /* the others were looked at */
    }
}

static void a_trial_follows_a_change(void **state)
{
    (void)state;
    md_trial t;
    double now = 0.0;
    int32_t late[MD_N_WAYS] = {0};
    md_trial_init(&t);
    for (int32_t i = 0; i < 6000; i++) {
        const double before[] = {1.0, 0.7, 0.8}, after[] = {1.0, 1.3, 1.4};
        const md_way way = md_trial_way(&t);
        late[way] += i >= 5000;
        md_trial_begin(&t, 1, now);
        now += (i < 1000 ? before : after)[way];
        md_trial_end(&t, now);
    }
    assert_true(late[MD_WAY_NONE] > 800);
}

/* Expert e of a layer is always followed by e + 1 and e + 5 of the next. */
static void choose(int32_t step, int32_t layer, int32_t *expert)
{
    const int32_t e = (int32_t)((uint32_t)step * 2654435761u >> 20) % EXPERTS;
    expert[0] = (e + layer) % EXPERTS;
    expert[1] = (e + layer + 5) % EXPERTS;
}

static void what_followed_is_guessed(void **state)
{
    (void)state;
    md_ahead *a;
    bool absent[EXPERTS];
    int32_t expert[TOP_K], pick[EXPERTS], right = 0, named = 0;
    OK(md_ahead_new(MD_AHEAD_ALWAYS, LAYERS, n_expert, top_k, &a, err));
    for (int e = 0; e < EXPERTS; e++)
        absent[e] = true;
    for (int32_t step = 0; step < 400; step++)
        for (int32_t l = 0; l < LAYERS; l++) {
            if (n_expert[l] == 0)
                continue;
            choose(step, l, expert);
            md_ahead_chosen(a, l, expert, TOP_K, step);
            assert_int_equal(md_ahead_target(a), l == 0 ? 2 : l == 2 ? 3 : 0);
            const int32_t n = md_ahead_pick(a, absent, pick, EXPERTS);
            if (step < 300 || l == 3) /* what comes after the last layer is another token's */
                continue;
            choose(step, md_ahead_target(a), expert);
            for (int32_t i = 0; i < n; i++)
                right += pick[i] == expert[0] || pick[i] == expert[1];
            named += n;
        }
    assert_true(named >= 100 * 2);
    assert_true(right > named * 6 / 10);
    const md_ahead_figures f = md_ahead_get_figures(a);
    assert_true(f.guess[MD_GUESS_AFFINITY].right > f.guess[MD_GUESS_AFFINITY].named * 6 / 10);
    assert_true(f.needed >= f.guess[MD_GUESS_AFFINITY].right);
    md_ahead_free(a);
}

static void a_router_that_is_wrong_is_not_followed(void **state)
{
    (void)state;
    md_ahead *a;
    bool absent[EXPERTS] = {false};
    int32_t expert[TOP_K] = {0, 1}, pick[EXPERTS], late = 0;
    const int32_t wrong[TOP_K] = {8, 9};
    OK(md_ahead_new(MD_AHEAD_ALWAYS, LAYERS, n_expert, top_k, &a, err));
    absent[8] = absent[9] = true;
    for (int32_t step = 0; step < 300; step++)
        for (int32_t l = 0; l < LAYERS; l++) {
            if (n_expert[l] == 0)
                continue;
            md_ahead_chosen(a, l, expert, TOP_K, step);
            md_ahead_router(a, wrong, TOP_K);
            const int32_t n = md_ahead_pick(a, absent, pick, EXPERTS);
            late += step >= 200 ? n : 0;
            assert_true(step > 0 || n == 2); /* at first nobody knows */
        }
    assert_int_equal(late, 0);
    md_ahead_free(a);
}

static void many_rows_and_hostile_ids(void **state)
{
    (void)state;
    md_ahead *a;
    int32_t pick[EXPERTS], expert[(MD_AHEAD_ROWS + 1) * TOP_K];
    const bool absent[EXPERTS] = {true, true, true};
    OK(md_ahead_new(MD_AHEAD_ALWAYS, LAYERS, n_expert, top_k, &a, err));
    for (size_t i = 0; i < sizeof expert / sizeof *expert; i++)
        expert[i] = i % 3 == 0 ? -1 : i % 3 == 1 ? EXPERTS + 3 : 2;
    for (int32_t rows = 1; rows <= MD_AHEAD_ROWS + 1; rows++)
        for (int32_t l = 0; l < LAYERS; l += 2) {
            md_ahead_chosen(a, l, expert, (int64_t)rows * TOP_K, rows);
            assert_int_equal(md_ahead_target(a) < 0, rows > MD_AHEAD_ROWS);
            md_ahead_router(a, expert, (int64_t)rows * TOP_K);
            const int32_t n = md_ahead_pick(a, absent, pick, 2);
            assert_true(n <= 2 && (rows <= MD_AHEAD_ROWS || n == 0));
            for (int32_t i = 0; i < n; i++)
                assert_true(pick[i] >= 0 && pick[i] < 3);
        }
    md_ahead_free(a);
    OK(md_ahead_new(MD_AHEAD_OFF, LAYERS, n_expert, top_k, &a, err));
    md_ahead_chosen(a, 0, expert, TOP_K, 0.0);
    assert_false(md_ahead_trying(a));
    assert_int_equal(md_ahead_pick(a, absent, pick, 2), 0);
    md_ahead_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fastest_way_gets_most_steps), cmocka_unit_test(a_trial_follows_a_change),
        cmocka_unit_test(what_followed_is_guessed),        cmocka_unit_test(a_router_that_is_wrong_is_not_followed),
        cmocka_unit_test(many_rows_and_hostile_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
