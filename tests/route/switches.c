/* SPDX-License-Identifier: Apache-2.0
 *
 * Each switch of a router on a case small enough to do by hand; SparseMixer against values of an independent
 * implementation; sqrt-softplus against the C library. */
#include "checkkern/check.h"
#include "route/route.h"

enum { MOST = 16 };

typedef struct routing {
    int32_t expert[MOST];
    float weight[MOST];
} routing;

static routing route_from(const md_router *r, const float *logits, const uint8_t *mask, const int32_t *given)
{
    float x[MOST], work[3 * MOST];
    routing out;
    memcpy(x, logits, (size_t)r->n_expert * sizeof *x);
    if (given)
        memcpy(out.expert, given, (size_t)r->top_k * sizeof *given);
    md_route(scalar_table(), r, x, NULL, mask, work, out.expert, out.weight);
    return out;
}

static routing route(const md_router *r, const float *logits, const uint8_t *mask)
{
    return route_from(r, logits, mask, NULL);
}

static void expect(const routing *got, int k, const int32_t *expert, const float *weight, float within)
{
    for (int s = 0; s < k; s++) {
        assert_int_equal(got->expert[s], expert[s]);
        if (!(fabsf(got->weight[s] - weight[s]) <= within))
            fail_msg("slot %d: weight %.9g, expected %.9g", s, (double)got->weight[s], (double)weight[s]);
    }
}

/* Logarithms of 1, 2, 4, 8: their softmax is 1/15, 2/15, 4/15, 8/15. */
#define LN2 0.693147181f
static const float powers[4] = {0, LN2, 2 * LN2, 3 * LN2};

/* ---- scores ---- */

static void sqrt_softplus_is_the_square_root_of_softplus(void **state)
{
    (void)state;
    const md_router r = {.score = MD_SCORE_SQRT_SOFTPLUS, .n_expert = 1, .top_k = 1, .scale = 1};
    for (int i = -4000; i <= 4000; i++) {
        const float x = (float)i * 0.025f;
        const double expected = sqrt(x > 0 ? (double)x + log1p(exp(-(double)x)) : log1p(exp((double)x)));
        const double got = (double)route(&r, &x, NULL).weight[0];
        assert_true(fabs(got - expected) <= 0x1p-24 * expected);
    }
    assert_true(route(&r, (const float[]){-INFINITY}, NULL).weight[0] == 0.0f);
    assert_true(route(&r, (const float[]){FLT_MAX}, NULL).weight[0] == sqrtf(FLT_MAX));
    assert_true(isnan(route(&r, (const float[]){NAN}, NULL).weight[0]));
}

/* Weights as the model's published code gives them, in double precision. */
static void sparse_mixer_agrees_with_the_published_code(void **state)
{
    (void)state;
    static const struct {
        int n;
        float logits[6], jitter;
        int32_t expert[2];
        float weight[2];
    } cases[] = {
        {4, {1.0f, 0.99f, 0.5f, -2.0f}, 0.01f, {0, 1}, {0.502499979f, 1.0f}},
        {6, {1.5f, -0.25f, 1.45f, 1.0f, -3.0f, 1.4f}, 0.05f, {0, 2}, {0.350131861f, 0.512497396f}},
        {4, {-1.0f, -2.0f, -1.5f, -1.01f}, 0.25f, {0, 3}, {0.337329572f, 0.50398067f}},
        {4, {3.0f, 3.0f, 2.9f, -3.0f}, 0.01f, {0, 1}, {0.5f, 1.0f}},
        {6, {0.5f, 2.0f, 1.9f, 1.85f, 1.0f, -4.0f}, 0.3f, {1, 2}, {0.319139616f, 0.424124348f}},
    };
    for (int i = 0; i < COUNT(cases); i++) {
        const md_router r = {
            .score = MD_SCORE_SPARSE_MIXER, .n_expert = cases[i].n, .top_k = 2, .scale = 1, .jitter = cases[i].jitter};
        const routing got = route(&r, cases[i].logits, NULL);
        expect(&got, 2, cases[i].expert, cases[i].weight, 1e-6f);
    }
}

/* ---- selection ---- */

/* Two logits whose sigmoids are both 1: by score the lower index would win. */
static void ranking_by_logit_sees_past_saturated_scores(void **state)
{
    (void)state;
    md_router r = {.score = MD_SCORE_SIGMOID, .n_expert = 4, .top_k = 1, .scale = 1, .select = MD_SELECT_LOGIT};
    const float logits[4] = {0, 100, 101, -5};
    routing got = route(&r, logits, NULL);
    expect(&got, 1, (const int32_t[]){2}, (const float[]){1.0f}, 0);
    r.select = MD_SELECT_SCORE;
    got = route(&r, logits, NULL);
    expect(&got, 1, (const int32_t[]){1}, (const float[]){1.0f}, 0);
}

static void thresholds_let_in_what_reaches_them(void **state)
{
    (void)state;
    const float threshold[4] = {0.5f, 0.1f, 0.3f, 0.5f};
    md_router r = {.score = MD_SCORE_SOFTMAX,
                   .n_expert = 4,
                   .top_k = 4,
                   .scale = 1,
                   .select = MD_SELECT_THRESHOLD,
                   .threshold = threshold};
    routing got = route(&r, powers, NULL); /* 1/15 < 0.5, 2/15 >= 0.1, 4/15 < 0.3, 8/15 >= 0.5 */
    expect(&got, 4, (const int32_t[]){3, 1, -1, -1}, (const float[]){8 / 15.0f, 2 / 15.0f, 0, 0}, 1e-7f);
    r.top_k = 1;
    got = route(&r, powers, NULL);
    expect(&got, 1, (const int32_t[]){3}, (const float[]){8 / 15.0f}, 1e-7f);
    r.threshold = (const float[]){1, 1, 1, 1};
    got = route(&r, powers, NULL);
    expect(&got, 1, (const int32_t[]){-1}, (const float[]){0}, 0);
    r.score = MD_SCORE_SIGMOID; /* exactly at the threshold is enough */
    r.threshold = (const float[]){0.5f, 2, 2, 2};
    got = route(&r, powers, NULL);
    expect(&got, 1, (const int32_t[]){0}, (const float[]){0.5f}, 0);
}

static void given_picks_keep_their_order(void **state)
{
    (void)state;
    const md_router r = {
        .score = MD_SCORE_SOFTMAX, .n_expert = 4, .top_k = 3, .scale = 1, .select = MD_SELECT_GIVEN, .normalise = true};
    routing got = route_from(&r, powers, NULL, (const int32_t[]){0, 3, 1});
    expect(&got, 3, (const int32_t[]){0, 3, 1}, (const float[]){1 / 11.0f, 8 / 11.0f, 2 / 11.0f}, 1e-7f);
    const uint8_t mask[4] = {[3] = MD_MASK_OFF};
    got = route_from(&r, powers, mask, (const int32_t[]){-1, 3, 1});
    expect(&got, 3, (const int32_t[]){1, -1, -1}, (const float[]){1, 0, 0}, 1e-7f);
}

static void equal_groups_give_equal_picks(void **state)
{
    (void)state;
    md_router r = {.score = MD_SCORE_SOFTMAX_PICKED,
                   .n_expert = 6,
                   .top_k = 3,
                   .n_group = 3,
                   .n_group_kept = 3,
                   .group_score = MD_GROUP_EQUAL,
                   .scale = 1};
    const float logits[6] = {9, 8, 1, 0, 3, 5};
    routing got = route(&r, logits, NULL); /* the second best of all is not picked: its group has given */
    assert_memory_equal(got.expert, ((const int32_t[]){0, 5, 2}), 12);
    const uint8_t off[6] = {[4] = MD_MASK_OFF, [5] = MD_MASK_OFF};
    got = route(&r, logits, off); /* a group with nobody left leaves its slot empty */
    assert_memory_equal(got.expert, ((const int32_t[]){0, 2, -1}), 12);
    const uint8_t forced[6] = {[1] = MD_MASK_FORCED};
    got = route(&r, logits, forced); /* what is forced counts as the group's share */
    assert_memory_equal(got.expert, ((const int32_t[]){1, 5, 2}), 12);
    r.n_group = 2, r.n_group_kept = 2, r.top_k = 4;
    got = route(&r, logits, NULL);
    assert_memory_equal(got.expert, ((const int32_t[]){0, 1, 5, 4}), 16);
}

/* ---- weights ---- */

static void null_experts_take_slots_but_no_weight(void **state)
{
    (void)state;
    md_router r = {.score = MD_SCORE_SOFTMAX, .n_expert = 4, .top_k = 3, .n_null = 1, .scale = 1, .normalise = true};
    routing got = route(&r, powers, NULL);
    expect(&got, 3, (const int32_t[]){3, 2, 1}, (const float[]){0, 2 / 3.0f, 1 / 3.0f}, 1e-7f);
    r.score = MD_SCORE_SOFTMAX_PICKED;
    got = route(&r, powers, NULL);
    expect(&got, 3, (const int32_t[]){3, 2, 1}, (const float[]){0, 2 / 3.0f, 1 / 3.0f}, 1e-7f);
    r.n_null = 2, r.top_k = 2; /* nothing but null experts: nothing, not a division by zero */
    for (int score = 0; score < 5; score++) {
        r.score = (md_score)score;
        got = route(&r, powers, NULL);
        expect(&got, 2, (const int32_t[]){3, 2}, (const float[]){0, 0}, 0);
    }
    r.normalise = false, r.score = MD_SCORE_SOFTMAX; /* not normalised, the others' weights are what they are */
    r.n_null = 1, r.top_k = 3;
    got = route(&r, powers, NULL);
    expect(&got, 3, (const int32_t[]){3, 2, 1}, (const float[]){8 / 15.0f, 4 / 15.0f, 2 / 15.0f}, 1e-7f);
}

static void an_expert_has_a_factor_of_its_own(void **state)
{
    (void)state;
    const float factor[4] = {1, 3, 0.5f, 2};
    const md_router r = {
        .score = MD_SCORE_SOFTMAX, .n_expert = 4, .top_k = 2, .scale = 10, .normalise = true, .expert_scale = factor};
    const routing got = route(&r, powers, NULL);
    expect(&got, 2, (const int32_t[]){3, 2}, (const float[]){2 / 3.0f * 20, 1 / 3.0f * 5}, 2e-6f);
}

/* ---- experts that are full ---- */

static void full_experts_are_passed_over_or_leave_a_gap(void **state)
{
    (void)state;
    md_router r = {.score = MD_SCORE_SOFTMAX, .n_expert = 4, .top_k = 2, .scale = 1};
    const uint8_t full[4] = {[3] = MD_MASK_FULL};
    routing got = route(&r, powers, full); /* rerouted; scores count the full expert all the same */
    expect(&got, 2, (const int32_t[]){2, 1}, (const float[]){4 / 15.0f, 2 / 15.0f}, 1e-7f);
    r.overflow = MD_OVERFLOW_DROP;
    got = route(&r, powers, full);
    expect(&got, 2, (const int32_t[]){2, -1}, (const float[]){4 / 15.0f, 0}, 1e-7f);
    r.normalise = true; /* over what is left */
    got = route(&r, powers, full);
    expect(&got, 2, (const int32_t[]){2, -1}, (const float[]){1, 0}, 0);
    const uint8_t all[4] = {MD_MASK_FULL, MD_MASK_FULL, MD_MASK_FULL, MD_MASK_FULL};
    got = route(&r, powers, all);
    expect(&got, 2, (const int32_t[]){-1, -1}, (const float[]){0, 0}, 0);
    const uint8_t off[4] = {[3] = MD_MASK_OFF}; /* unlike one that is off, which has no score */
    r.normalise = false;
    got = route(&r, powers, off);
    expect(&got, 2, (const int32_t[]){2, 1}, (const float[]){4 / 7.0f, 2 / 7.0f}, 1e-7f);
}

int main(void)
{
    seed_from_environment();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sqrt_softplus_is_the_square_root_of_softplus),
        cmocka_unit_test(sparse_mixer_agrees_with_the_published_code),
        cmocka_unit_test(ranking_by_logit_sees_past_saturated_scores),
        cmocka_unit_test(thresholds_let_in_what_reaches_them),
        cmocka_unit_test(given_picks_keep_their_order),
        cmocka_unit_test(equal_groups_give_equal_picks),
        cmocka_unit_test(null_experts_take_slots_but_no_weight),
        cmocka_unit_test(an_expert_has_a_factor_of_its_own),
        cmocka_unit_test(full_experts_are_passed_over_or_leave_a_gap),
    };
    return cmocka_run_group_tests_name("switches", tests, NULL, NULL);
}
