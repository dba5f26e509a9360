/* SPDX-License-Identifier: Apache-2.0
 *
 * Experts that choose tokens: against sorted columns, on a case by hand, under permutations of the tokens; and the rows
 * that stay in a recursion. */
#include "checkkern/check.h"
#include "route/route.h"

enum { MAX_ROWS = 50, MAX_EXPERTS = 9 };

/* How many rows of column e come before row t. */
static int32_t ahead(const float *score, int32_t n_rows, int32_t n_expert, int32_t t, int32_t e)
{
    int32_t n = 0;
    for (int32_t u = 0; u < n_rows; u++) {
        const float a = score[u * n_expert + e], b = score[t * n_expert + e];
        n += isnan(a) ? isnan(b) && u < t : isnan(b) || a > b || (a == b && u < t);
    }
    return n;
}

static void choose(const float *score, int32_t n_rows, int32_t n_expert, int32_t capacity, int32_t n_slots,
                   int32_t *expert, float *weight)
{
    const size_t slots = (size_t)n_rows * (size_t)n_slots;
    guarded work = guarded_new((size_t)capacity * 4, 0), e = guarded_new(slots * 4, 0), w = guarded_new(slots * 4, 0);
    md_choose_by_experts(score, n_rows, n_expert, capacity, n_slots, work.data, e.data, w.data);
    memcpy(expert, e.data, slots * 4);
    memcpy(weight, w.data, slots * 4);
    guarded_done(&work, "work");
    guarded_done(&e, "expert");
    guarded_done(&w, "weight");
}

static void random_scores(float *score, int32_t n, int round)
{
    for (int32_t i = 0; i < n; i++)
        score[i] = round % 3 == 0 ? (float)random_below(4) : round % 3 == 1 || random_below(9) ? random_unit() : NAN;
}

static void each_expert_takes_its_best_tokens(void **state)
{
    (void)state;
    for (int round = 0; round < 600; round++) {
        const int32_t n_rows = 1 + random_below(MAX_ROWS), n_expert = 1 + random_below(MAX_EXPERTS);
        const int32_t capacity = md_choice_capacity(1 + random_below(n_expert), n_rows, n_expert);
        float score[MAX_ROWS * MAX_EXPERTS], weight[MAX_ROWS * MAX_EXPERTS];
        int32_t expert[MAX_ROWS * MAX_EXPERTS], load[MAX_EXPERTS] = {0};
        random_scores(score, n_rows * n_expert, round);
        choose(score, n_rows, n_expert, capacity, n_expert, expert, weight);
        for (int32_t t = 0; t < n_rows; t++) {
            bool has[MAX_EXPERTS] = {false};
            for (int32_t s = 0; s < n_expert; s++) {
                const int32_t at = t * n_expert + s, e = expert[at];
                if (e < 0) {
                    assert_true(weight[at] == 0.0f);
                    continue;
                }
                has[e] = true;
                load[e]++;
                expect_same_floats(&score[t * n_expert + e], &weight[at], 1, "weight");
                if (s > 0) /* best first, and no gaps */
                    assert_true(expert[at - 1] >= 0 && (!(weight[at] > weight[at - 1]) || isnan(weight[at - 1])));
            }
            for (int32_t e = 0; e < n_expert; e++)
                assert_int_equal(has[e], ahead(score, n_rows, n_expert, t, e) < capacity);
        }
        for (int32_t e = 0; e < n_expert; e++)
            assert_int_equal(load[e], capacity);
    }
}

static void a_token_may_have_many_experts_or_none(void **state)
{
    (void)state;
    const float score[4 * 2] = {0.9f, 0.8f, 0.1f, 0.2f, 0.5f, 0.1f, 0.4f, 0.7f};
    int32_t expert[4 * 2];
    float weight[4 * 2];
    assert_int_equal(md_choice_capacity(1, 4, 2), 2);
    choose(score, 4, 2, 2, 2, expert, weight);
    assert_memory_equal(expert, ((const int32_t[]){0, 1, -1, -1, 0, -1, 1, -1}), sizeof expert);
    assert_memory_equal(weight, ((const float[]){0.9f, 0.8f, 0, 0, 0.5f, 0, 0.7f, 0}), sizeof weight);
    choose(score, 4, 2, 2, 1, expert, weight); /* one slot: the better of the two */
    assert_memory_equal(expert, ((const int32_t[]){0, -1, 0, 1}), 4 * sizeof *expert);
}

static void capacity_is_the_mean_load(void **state)
{
    (void)state;
    assert_int_equal(md_choice_capacity(2, 100, 8), 25);
    assert_int_equal(md_choice_capacity(2, 7, 8), 1);
    assert_int_equal(md_choice_capacity(1, 3, 8), 1); /* at least one token each */
    assert_int_equal(md_choice_capacity(8, 5, 8), 5);
    assert_int_equal(md_choice_capacity(1024, INT32_MAX, 1), INT32_MAX);
}

static void permuted_tokens_are_chosen_alike(void **state)
{
    (void)state;
    for (int round = 0; round < 100; round++) {
        const int32_t n_rows = 1 + random_below(MAX_ROWS), n_expert = 1 + random_below(MAX_EXPERTS);
        const int32_t capacity = md_choice_capacity(2, n_rows, n_expert), shift = random_below(n_rows);
        float score[MAX_ROWS * MAX_EXPERTS], turned[MAX_ROWS * MAX_EXPERTS], w[MAX_ROWS * MAX_EXPERTS];
        int32_t expert[MAX_ROWS * MAX_EXPERTS], other[MAX_ROWS * MAX_EXPERTS];
        random_scores(score, n_rows * n_expert, 1);
        for (int32_t t = 0; t < n_rows; t++)
            memcpy(turned + (t + shift) % n_rows * n_expert, score + t * n_expert, (size_t)n_expert * 4);
        choose(score, n_rows, n_expert, capacity, n_expert, expert, w);
        choose(turned, n_rows, n_expert, capacity, n_expert, other, w);
        for (int32_t t = 0; t < n_rows; t++)
            assert_memory_equal(expert + t * n_expert, other + (t + shift) % n_rows * n_expert, (size_t)n_expert * 4);
    }
}

static void the_best_active_rows_stay_in_a_recursion(void **state)
{
    (void)state;
    const float score[6] = {0.5f, 0.9f, 0.5f, 0.8f, NAN, 0.1f};
    int32_t work[6];
    uint8_t active[6] = {1, 0, 1, 1, 1, 1};
    md_keep_best(score, 6, 9, work, active);
    assert_memory_equal(active, ((const uint8_t[]){1, 0, 1, 1, 1, 1}), 6);
    md_keep_best(score, 6, 4, work, active);
    assert_memory_equal(active, ((const uint8_t[]){1, 0, 1, 1, 0, 1}), 6);
    md_keep_best(score, 6, 2, work, active); /* 0.8, then the first 0.5 */
    assert_memory_equal(active, ((const uint8_t[]){1, 0, 0, 1, 0, 0}), 6);
    md_keep_best(score, 6, 0, work, active);
    assert_memory_equal(active, ((const uint8_t[]){0, 0, 0, 0, 0, 0}), 6);
}

int main(void)
{
    seed_from_environment();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_expert_takes_its_best_tokens),
        cmocka_unit_test(a_token_may_have_many_experts_or_none),
        cmocka_unit_test(capacity_is_the_mean_load),
        cmocka_unit_test(permuted_tokens_are_chosen_alike),
        cmocka_unit_test(the_best_active_rows_stay_in_a_recursion),
    };
    return cmocka_run_group_tests_name("choice", tests, NULL, NULL);
}
