/* SPDX-License-Identifier: Apache-2.0
 *
 * md_assign_balanced: the best of all balanced assignments, by trying them all when few and by an independent square
 * assignment when more; loads; ties; scores that are not numbers. */
#include "checkkern/check.h"
#include "route/route.h"

enum { MAX_ROWS = 60, MAX_EXPERTS = 12, MAX_PLACES = MAX_ROWS + MAX_EXPERTS };

static int32_t room(int32_t n_rows, int32_t n_expert)
{
    return (n_rows + n_expert - 1) / n_expert;
}

static double value_of(const float *score, int32_t n_rows, int32_t n_expert, const int32_t *expert)
{
    double sum = 0;
    for (int32_t t = 0; t < n_rows; t++)
        sum += (double)score[t * n_expert + expert[t]];
    return sum;
}

static void assign(const float *score, int32_t n_rows, int32_t n_expert, int32_t *expert)
{
    guarded paths = guarded_new(2 * (size_t)n_expert * 8, 0), work = guarded_new(4 * (size_t)n_expert * 4, 0);
    guarded out = guarded_new((size_t)n_rows * 4, 0);
    md_assign_balanced(score, n_rows, n_expert, paths.data, work.data, out.data);
    if (n_rows > 0)
        memcpy(expert, out.data, (size_t)n_rows * 4);
    guarded_done(&paths, "paths");
    guarded_done(&work, "work");
    guarded_done(&out, "expert");
    int32_t load[MAX_EXPERTS] = {0};
    for (int32_t t = 0; t < n_rows; t++) {
        assert_in_range(expert[t], 0, n_expert - 1);
        assert_true(++load[expert[t]] <= room(n_rows, n_expert));
    }
    if (n_rows % n_expert == 0)
        for (int32_t e = 0; e < n_expert; e++)
            assert_int_equal(load[e], n_rows / n_expert);
}

/* ---- by trying all ---- */

typedef struct search {
    const float *score;
    int32_t n_rows, n_expert, load[MAX_EXPERTS];
    double best;
} search;

static void try_all(search *s, int32_t t, double sum)
{
    if (t == s->n_rows) {
        s->best = sum > s->best ? sum : s->best;
        return;
    }
    for (int32_t e = 0; e < s->n_expert; e++)
        if (s->load[e] < room(s->n_rows, s->n_expert)) {
            s->load[e]++;
            try_all(s, t + 1, sum + (double)s->score[t * s->n_expert + e]);
            s->load[e]--;
        }
}

/* Scores that are multiples of 1/1024, so that their sums are exact. */
static void random_scores(float *score, int32_t n, int kinds)
{
    for (int32_t i = 0; i < n; i++)
        score[i] = (float)(random_below(kinds) - kinds / 2) / 1024.0f;
}

static void small_batches_get_the_best_of_all_assignments(void **state)
{
    (void)state;
    for (int round = 0; round < 400; round++) {
        search s = {.n_rows = random_below(8), .n_expert = 1 + random_below(4), .best = -1e30};
        float score[8 * 4];
        int32_t expert[8];
        random_scores(score, s.n_rows * s.n_expert, round % 2 ? 4 : 4096);
        s.score = score;
        try_all(&s, 0, 0);
        assign(score, s.n_rows, s.n_expert, expert);
        assert_true(value_of(score, s.n_rows, s.n_expert, expert) == s.best);
    }
}

/* ---- by a square assignment of tokens (and stand-ins) to places, the textbook's n^3 way ---- */

static double best_by_places(const float *score, int32_t n_rows, int32_t n_expert)
{
    const int32_t n = room(n_rows, n_expert) * n_expert; /* stand-ins cost nothing anywhere */
    double u[MAX_PLACES + 1] = {0}, v[MAX_PLACES + 1] = {0}, sum = 0;
    int32_t match[MAX_PLACES + 1] = {0}, way[MAX_PLACES + 1] = {0};
    for (int32_t i = 1; i <= n; i++) {
        double least[MAX_PLACES + 1];
        bool used[MAX_PLACES + 1] = {false};
        int32_t j0 = 0;
        match[0] = i;
        for (int32_t j = 0; j <= n; j++)
            least[j] = 1e30;
        do {
            const int32_t i0 = match[j0];
            int32_t j1 = 0;
            double delta = 1e30;
            used[j0] = true;
            for (int32_t j = 1; j <= n; j++) {
                if (used[j])
                    continue;
                const double cost = i0 > n_rows ? 0 : -(double)score[(i0 - 1) * n_expert + (j - 1) % n_expert];
                const double reduced = cost - u[i0] - v[j];
                if (reduced < least[j]) {
                    least[j] = reduced;
                    way[j] = j0;
                }
                if (least[j] < delta) {
                    delta = least[j];
                    j1 = j;
                }
            }
            for (int32_t j = 0; j <= n; j++)
                if (used[j]) {
                    u[match[j]] += delta;
                    v[j] -= delta;
                } else {
                    least[j] -= delta;
                }
            j0 = j1;
        } while (match[j0]);
        for (; j0; j0 = way[j0])
            match[j0] = match[way[j0]];
    }
    for (int32_t j = 1; j <= n; j++)
        if (match[j] <= n_rows)
            sum += (double)score[(match[j] - 1) * n_expert + (j - 1) % n_expert];
    return sum;
}

static void larger_batches_agree_with_a_square_assignment(void **state)
{
    (void)state;
    for (int round = 0; round < 150; round++) {
        const int32_t n_rows = 1 + random_below(MAX_ROWS), n_expert = 1 + random_below(MAX_EXPERTS);
        float score[MAX_ROWS * MAX_EXPERTS];
        int32_t expert[MAX_ROWS];
        random_scores(score, n_rows * n_expert, round % 3 ? 1 << 20 : 5);
        if (round % 5 == 0) /* everybody's favourite */
            for (int32_t t = 0; t < n_rows; t++)
                score[t * n_expert] += 1024.0f;
        assign(score, n_rows, n_expert, expert);
        const double got = value_of(score, n_rows, n_expert, expert), best = best_by_places(score, n_rows, n_expert);
        if (got != best)
            fail_msg("%d tokens, %d experts: %.17g, expected %.17g", n_rows, n_expert, got, best);
    }
}

/* ---- one rule at a time ---- */

/* Greedy would give tokens 0 and 1 to expert 0 and leave token 2 the worst place. */
static void a_chain_of_moves_is_found(void **state)
{
    (void)state;
    const float score[3 * 3] = {
        9, 8, 0, /* moves on to expert 1 */
        9, 1, 0, /* stays */
        0, 9, 7, /* moves on to expert 2 */
    };
    int32_t expert[3];
    assign(score, 3, 3, expert);
    assert_memory_equal(expert, ((const int32_t[]){1, 0, 2}), sizeof expert);
}

static void the_order_of_tokens_does_not_matter_without_ties(void **state)
{
    (void)state;
    for (int round = 0; round < 100; round++) {
        const int32_t n_expert = 1 + random_below(6), n_rows = n_expert * (1 + random_below(5));
        float score[30 * 6], turned[30 * 6];
        int32_t expert[30], other[30];
        for (int32_t i = 0; i < n_rows * n_expert; i++)
            score[i] = random_unit();
        for (int32_t t = 0; t < n_rows; t++)
            memcpy(turned + (n_rows - 1 - t) * n_expert, score + t * n_expert, (size_t)n_expert * 4);
        assign(score, n_rows, n_expert, expert);
        assign(turned, n_rows, n_expert, other);
        for (int32_t t = 0; t < n_rows; t++)
            assert_int_equal(expert[t], other[n_rows - 1 - t]);
    }
}

static void equal_scores_still_give_equal_loads(void **state)
{
    (void)state;
    float score[12 * 4] = {0};
    int32_t expert[12], again[12];
    assign(score, 12, 4, expert);
    assign(score, 12, 4, again);
    assert_memory_equal(expert, again, sizeof expert);
}

static void scores_that_are_no_numbers_count_as_the_lowest(void **state)
{
    (void)state;
    float score[4 * 2] = {NAN, 1, INFINITY, 2, 3, 1, 2, 1};
    int32_t expert[4], all_nan[4];
    assign(score, 4, 2, expert);
    assert_memory_equal(expert, ((const int32_t[]){1, 1, 0, 0}), sizeof expert);
    for (int i = 0; i < 8; i++)
        score[i] = NAN;
    assign(score, 4, 2, all_nan);
}

int main(void)
{
    seed_from_environment();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_batches_get_the_best_of_all_assignments),
        cmocka_unit_test(larger_batches_agree_with_a_square_assignment),
        cmocka_unit_test(a_chain_of_moves_is_found),
        cmocka_unit_test(the_order_of_tokens_does_not_matter_without_ties),
        cmocka_unit_test(equal_scores_still_give_equal_loads),
        cmocka_unit_test(scores_that_are_no_numbers_count_as_the_lowest),
    };
    return cmocka_run_group_tests_name("assign", tests, NULL, NULL);
}
