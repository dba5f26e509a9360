/* SPDX-License-Identifier: Apache-2.0
 *
 * Capacity: the formula, the mask that generation uses, and the batch form, where each expert keeps its best tokens. */
#include "checkkern/check.h"
#include "route/route.h"

enum { MAX_ROWS = 40, MAX_SLOTS = 4, MAX_EXPERTS = 8 };

static void capacity_rounds_up_and_is_at_least_one(void **state)
{
    (void)state;
    assert_int_equal(md_capacity(1.0f, 2, 100, 8), 25);
    assert_int_equal(md_capacity(1.0f, 2, 101, 8), 26);
    assert_int_equal(md_capacity(1.5f, 2, 100, 8), 38);
    assert_int_equal(md_capacity(0.001f, 1, 8, 64), 1);
    assert_int_equal(md_capacity(1e30f, 1024, INT32_MAX, 1), INT32_MAX);
}

static void experts_that_have_taken_enough_are_full(void **state)
{
    (void)state;
    const md_router r = {.n_expert = 5, .capacity = 3};
    const int32_t taken[5] = {2, 3, 4, 9, 3};
    const uint8_t mask[5] = {MD_MASK_NORMAL, MD_MASK_OFF, MD_MASK_FORCED, MD_MASK_NORMAL, MD_MASK_NORMAL};
    uint8_t out[5];
    md_capacity_mask(&r, taken, mask, out);
    assert_memory_equal(
        out, ((const uint8_t[]){MD_MASK_NORMAL, MD_MASK_OFF, MD_MASK_FORCED, MD_MASK_FULL, MD_MASK_FULL}), 5);
    md_capacity_mask(&r, taken, NULL, out);
    assert_memory_equal(out,
                        ((const uint8_t[]){MD_MASK_NORMAL, MD_MASK_FULL, MD_MASK_FULL, MD_MASK_FULL, MD_MASK_FULL}), 5);
}

static void picks_are_counted(void **state)
{
    (void)state;
    int32_t count[4] = {0, 1, 0, 0};
    md_count_picks((const int32_t[]){2, -1, 1, 2, -1, 0}, 6, count);
    assert_memory_equal(count, ((const int32_t[]){1, 2, 2, 0}), sizeof count);
}

/* Token after token through md_route, as in generation: no expert goes beyond its capacity, and a token loses nothing to a
 * later one. */
static void a_sequence_fills_experts_in_order(void **state)
{
    (void)state;
    enum { T = 12 };
    for (int overflow = 0; overflow < 2; overflow++) {
        const md_router r = {.score = MD_SCORE_SOFTMAX,
                             .n_expert = 4,
                             .top_k = 1,
                             .scale = 1,
                             .capacity = 3,
                             .window = T,
                             .overflow = (md_overflow)overflow};
        int32_t taken[4] = {0}, expert[T];
        for (int t = 0; t < T; t++) {
            float logits[4] = {1, 4, 3, 2}, work[12], weight; /* all want expert 1, then 2, then 3 */
            uint8_t mask[4];
            md_capacity_mask(&r, taken, NULL, mask);
            md_route(scalar_table(), &r, logits, NULL, mask, work, &expert[t], &weight);
            md_count_picks(&expert[t], 1, taken);
        }
        static const int32_t rerouted[T] = {1, 1, 1, 2, 2, 2, 3, 3, 3, 0, 0, 0};
        static const int32_t dropped[T] = {1, 1, 1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
        assert_memory_equal(expert, overflow == MD_OVERFLOW_DROP ? dropped : rerouted, sizeof expert);
    }
}

/* ---- batch form ---- */

static bool comes_before(float a, int32_t ta, float b, int32_t tb)
{
    return a > b || (a == b && ta < tb);
}

static void batches_keep_the_best_tokens_of_each_expert(void **state)
{
    (void)state;
    for (int round = 0; round < 600; round++) {
        const int32_t n_rows = 1 + random_below(MAX_ROWS), n_expert = MAX_SLOTS + random_below(5);
        const int32_t n_slots = 1 + random_below(MAX_SLOTS), capacity = 1 + random_below(8);
        int32_t before[MAX_ROWS * MAX_SLOTS];
        float weight_before[MAX_ROWS * MAX_SLOTS];
        const size_t n = (size_t)(n_rows * n_slots);
        guarded expert = guarded_new(n * 4, 0), weight = guarded_new(n * 4, 0);
        guarded work = guarded_new((size_t)(n_expert + n_rows) * 4, 0);
        for (size_t i = 0; i < n; i++) {
            before[i] = (int32_t)(i % (size_t)n_slots) + random_below(2) * (n_expert - MAX_SLOTS); /* may repeat... */
            for (size_t j = i - i % (size_t)n_slots; j < i; j++)
                if (before[j] == before[i])
                    before[i] = -1; /* ...but not within a token */
            weight_before[i] = before[i] < 0 ? 0 : round % 2 ? random_unit() : (float)random_below(3);
        }
        memcpy(expert.data, before, n * 4);
        memcpy(weight.data, weight_before, n * 4);
        md_capacity_keep_best(expert.data, weight.data, n_rows, n_slots, n_expert, capacity, work.data);
        for (int32_t t = 0; t < n_rows; t++) {
            int32_t kept[MAX_SLOTS], n_kept = 0;
            float w[MAX_SLOTS];
            for (int32_t s = 0; s < n_slots; s++) {
                const int32_t at = t * n_slots + s;
                int32_t ahead = 0;
                for (int32_t i = 0; i < n_rows * n_slots; i++)
                    ahead += before[i] == before[at] && comes_before(weight_before[i], i, weight_before[at], at);
                if (before[at] >= 0 && ahead < capacity) {
                    w[n_kept] = weight_before[at];
                    kept[n_kept++] = before[at];
                }
            }
            for (int32_t s = 0; s < n_slots; s++) {
                assert_int_equal(((int32_t *)expert.data)[t * n_slots + s], s < n_kept ? kept[s] : -1);
                assert_true(((float *)weight.data)[t * n_slots + s] == (s < n_kept ? w[s] : 0.0f));
            }
        }
        guarded_done(&expert, "expert");
        guarded_done(&weight, "weight");
        guarded_done(&work, "work");
    }
}

int main(void)
{
    seed_from_environment();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(capacity_rounds_up_and_is_at_least_one),
        cmocka_unit_test(experts_that_have_taken_enough_are_full),
        cmocka_unit_test(picks_are_counted),
        cmocka_unit_test(a_sequence_fills_experts_in_order),
        cmocka_unit_test(batches_keep_the_best_tokens_of_each_expert),
    };
    return cmocka_run_group_tests_name("capacity", tests, NULL, NULL);
}
