/* SPDX-License-Identifier: Apache-2.0
 *
 * md_group: pairs in the order of experts, then rows, and the way back from a slot to its pair, on random routings with
 * slots that are empty or name no expert that is grouped. */
#include "checkkern/check.h"
#include "route/route.h"

enum { MAX_ROWS = 70, MAX_K = 8, MAX_EXPERTS = 40 };

/* Distinct experts in each row; some slots are empty or name experts that are not grouped. */
static void random_routing(int32_t *expert, int32_t n_rows, int32_t top_k, int32_t n_expert, int empty_in_ten)
{
    for (int32_t t = 0; t < n_rows; t++) {
        bool taken[MAX_EXPERTS] = {false};
        for (int32_t s = 0; s < top_k; s++) {
            int32_t e = random_below(n_expert);
            while (taken[e])
                e = (e + 1) % n_expert;
            const bool empty = random_below(10) < empty_in_ten;
            taken[e] = !empty || taken[e];
            expert[t * top_k + s] = empty && random_below(2) ? -1 : empty ? n_expert + random_below(3) : e;
        }
    }
}

static void check_grouping(const int32_t *expert, int32_t n_rows, int32_t top_k, int32_t n_expert)
{
    const size_t pairs = (size_t)(n_rows * top_k);
    guarded active = guarded_new((size_t)n_expert * 4, 0), first = guarded_new(((size_t)n_expert + 1) * 4, 0);
    guarded row = guarded_new(pairs * 4, 0), slot = guarded_new(pairs * 4, 0);
    md_grouping g = {.active = active.data, .first = first.data, .row = row.data, .slot = slot.data};
    md_group(expert, n_rows, top_k, n_expert, &g);
    int32_t at = 0, n_active = 0;
    for (int32_t e = 0; e < n_expert; e++) {
        assert_int_equal(g.first[e], at);
        const int32_t begin = at;
        for (int32_t t = 0; t < n_rows; t++)
            for (int32_t s = 0; s < top_k; s++)
                if (expert[t * top_k + s] == e) {
                    assert_int_equal(g.row[at], t);
                    assert_int_equal(g.slot[t * top_k + s], at);
                    at++;
                }
        if (at > begin)
            assert_int_equal(g.active[n_active++], e);
    }
    assert_int_equal(g.first[n_expert], at);
    assert_int_equal(g.n_active, n_active);
    for (size_t i = 0; i < pairs; i++)
        if (expert[i] < 0 || expert[i] >= n_expert)
            assert_int_equal(g.slot[i], -1);
    guarded_done(&active, "active");
    guarded_done(&first, "first");
    guarded_done(&row, "row");
    guarded_done(&slot, "slot");
}

static void random_routings_are_grouped_in_order(void **state)
{
    (void)state;
    for (int round = 0; round < 2000; round++) {
        const int32_t n_expert = 1 + random_below(MAX_EXPERTS);
        const int32_t top_k = 1 + random_below(n_expert < MAX_K ? n_expert : MAX_K), n_rows = random_below(MAX_ROWS);
        int32_t expert[MAX_ROWS * MAX_K];
        random_routing(expert, n_rows, top_k, n_expert, round % 11);
        check_grouping(expert, n_rows, top_k, n_expert);
    }
}

static void a_routing_of_empty_slots_has_no_active_expert(void **state)
{
    (void)state;
    int32_t expert[MAX_ROWS * MAX_K];
    memset(expert, -1, sizeof expert);
    check_grouping(expert, MAX_ROWS, MAX_K, MAX_EXPERTS);
    check_grouping(expert, 1, 1, 1);
}

int main(void)
{
    seed_from_environment();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_routings_are_grouped_in_order),
        cmocka_unit_test(a_routing_of_empty_slots_has_no_active_expert),
    };
    return cmocka_run_group_tests_name("group", tests, NULL, NULL);
}
