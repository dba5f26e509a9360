/* SPDX-License-Identifier: Apache-2.0
 *
 * md_route against a second reading of section 8 of docs/numerics.md that sorts whole lists, over random settings of
 * every switch; the rules one by one on cases with known answers; logits that are not numbers; and the one-line
 * description. */
#include "checkkern/check.h"
#include "checkkern/definition.h"
#include "base/mathd.h"
#include "route/route.h"

enum { MAX_EXPERTS = 96 };

/* ---- section 8, by sorting ---- */

typedef struct candidate {
    float score;
    int32_t id;
} candidate;

/* Descending score, then ascending id; what is not a number comes last. */
static int compare_candidates(const void *pa, const void *pb)
{
    const candidate *a = pa, *b = pb;
    const bool nan_a = isnan(a->score), nan_b = isnan(b->score);
    if (nan_a != nan_b)
        return nan_a ? 1 : -1;
    if (!nan_a && a->score != b->score)
        return a->score > b->score ? -1 : 1;
    return a->id < b->id ? -1 : 1;
}

typedef struct routing {
    int32_t expert[MAX_EXPERTS];
    float weight[MAX_EXPERTS];
} routing;

static float sqrt_softplus_by_definition(float x)
{
    const double u = md_exp_d(x > 0 ? -(double)x : (double)x), one = 1.0 + u;
    const double low = one > 1.0 ? md_log_d(one) * (u / (one - 1.0)) : u;
    return (float)sqrt(x > 0 ? (double)x + low : low);
}

static void scores_by_definition(md_score score, const float *logits, int32_t n, float *s)
{
    float e[MAX_EXPERTS], m = -INFINITY;
    for (int32_t i = 0; i < n; i++)
        m = logits[i] > m ? logits[i] : m;
    for (int32_t i = 0; i < n; i++)
        e[i] = exp_by_definition(logits[i] - m);
    for (int32_t i = 0; i < n; i++)
        s[i] = score == MD_SCORE_SOFTMAX         ? e[i] / sum16_by_definition(e, n)
               : score == MD_SCORE_SIGMOID       ? sigmoid_by_definition(logits[i])
               : score == MD_SCORE_SQRT_SOFTPLUS ? sqrt_softplus_by_definition(logits[i])
                                                 : logits[i];
}

static float max_or(float a, float b)
{
    return a > b ? a : b;
}

/* SparseMixer: the share of a pick among those left that come near it. */
static void sparse_mixer_by_definition(const md_router *r, float *left, const int32_t *expert, int32_t n, float *weight)
{
    for (int32_t s = 0; s < n; s++) {
        const float pick = left[expert[s]];
        float near[MAX_EXPERTS], share[MAX_EXPERTS];
        for (int32_t i = 0; i < r->n_expert; i++)
            near[i] = (pick - left[i]) / max_or(fabsf(left[i]), pick) > 2 * r->jitter ? -INFINITY : left[i];
        scores_by_definition(MD_SCORE_SOFTMAX, near, r->n_expert, share);
        weight[s] = share[expert[s]];
        left[expert[s]] = -INFINITY;
    }
}

static bool may_be_picked(const md_router *r, const float *choice, const uint8_t *mask, int32_t i)
{
    const int state = mask ? mask[i] : MD_MASK_NORMAL;
    return (state == MD_MASK_NORMAL || (state == MD_MASK_FULL && r->overflow == MD_OVERFLOW_DROP)) &&
           (r->select != MD_SELECT_THRESHOLD || choice[i] >= r->threshold[i]);
}

/* A group's score: over its experts that are neither off nor forced, those being settled before groups are judged. */
static float group_score(const md_router *r, const float *choice, const uint8_t *mask, int32_t g)
{
    const int32_t size = r->n_expert / r->n_group;
    candidate c[MAX_EXPERTS];
    int32_t n = 0;
    for (int32_t i = g * size; i < (g + 1) * size; i++)
        if (may_be_picked(r, choice, mask, i) && !isnan(choice[i]))
            c[n++] = (candidate){choice[i], i};
    qsort(c, (size_t)n, sizeof *c, compare_candidates);
    const float first = n > 0 ? c[0].score : -INFINITY, second = n > 1 ? c[1].score : -INFINITY;
    return r->group_score == MD_GROUP_SUM2 && size > 1 ? first + second : first;
}

static void kept_groups(const md_router *r, const float *choice, const uint8_t *mask, bool *kept)
{
    candidate c[MAX_EXPERTS];
    for (int32_t g = 0; g < r->n_group; g++) {
        c[g] = (candidate){group_score(r, choice, mask, g), g};
        kept[g] = false;
    }
    qsort(c, (size_t)r->n_group, sizeof *c, compare_candidates);
    for (int32_t i = 0; i < r->n_group_kept; i++)
        kept[c[i].id] = true;
}

/* The ranked picks; a full one is still among them. */
static int32_t rank_by_definition(const md_router *r, const float *choice, const uint8_t *mask, int32_t *expert)
{
    candidate forced[MAX_EXPERTS], normal[MAX_EXPERTS];
    bool kept[MAX_EXPERTS];
    int32_t n_forced = 0, n_normal = 0, n = 0, given[MAX_EXPERTS] = {0};
    const bool equal = r->n_group > 1 && r->group_score == MD_GROUP_EQUAL;
    const bool limited = r->n_group > 1 && !equal;
    const int32_t size = r->n_group > 1 ? r->n_expert / r->n_group : r->n_expert;
    if (limited)
        kept_groups(r, choice, mask, kept);
    for (int32_t i = 0; i < r->n_expert; i++) {
        if (mask && mask[i] == MD_MASK_FORCED)
            forced[n_forced++] = (candidate){choice[i], i};
        else if (may_be_picked(r, choice, mask, i) && (!limited || kept[i / size]))
            normal[n_normal++] = (candidate){choice[i], i};
    }
    qsort(forced, (size_t)n_forced, sizeof *forced, compare_candidates);
    qsort(normal, (size_t)n_normal, sizeof *normal, compare_candidates);
    for (int32_t i = 0; i < n_forced && n < r->top_k; i++) {
        given[forced[i].id / size]++;
        expert[n++] = forced[i].id;
    }
    for (int32_t i = 0; i < n_normal && n < r->top_k; i++)
        if (!equal || given[normal[i].id / size]++ < r->top_k / r->n_group)
            expert[n++] = normal[i].id;
    return n;
}

static int32_t pick_by_definition(const md_router *r, const float *choice, const uint8_t *mask, const int32_t *table,
                                  int32_t *expert)
{
    int32_t ranked[MAX_EXPERTS], n = 0, n_ranked = r->top_k;
    if (r->select == MD_SELECT_GIVEN)
        memcpy(ranked, table, (size_t)r->top_k * 4);
    else
        n_ranked = rank_by_definition(r, choice, mask, ranked);
    for (int32_t s = 0; s < n_ranked; s++)
        if (ranked[s] >= 0 && !(mask && (mask[ranked[s]] == MD_MASK_OFF || mask[ranked[s]] == MD_MASK_FULL)))
            expert[n++] = ranked[s];
    return n;
}

static void normalise_by_definition(float *w, int32_t n, float sum, float floor)
{
    int32_t largest = 0;
    double rest = 1.0;
    for (int32_t s = 0; s < n; s++)
        w[s] = w[s] / (sum > floor ? sum : floor);
    for (int32_t s = n - 1; s >= 0; s--)
        largest = w[s] >= w[largest] ? s : largest;
    for (int32_t s = 0; s < n; s++)
        rest = s == largest ? rest : rest - (double)w[s];
    if (n > 0 && sum > floor)
        w[largest] = (float)rest;
}

static routing route_by_definition(const md_router *r, const float *logits, const float *bias, const uint8_t *mask,
                                   const int32_t *table)
{
    float x[MAX_EXPERTS], score[MAX_EXPERTS], choice[MAX_EXPERTS], top = -INFINITY, sum = 0.0f;
    const int32_t first_null = r->n_expert - r->n_null;
    routing out;
    for (int32_t i = 0; i < r->n_expert; i++)
        x[i] = mask && mask[i] == MD_MASK_OFF ? -INFINITY : logits[i];
    scores_by_definition(r->score, x, r->n_expert, score);
    for (int32_t i = 0; i < r->n_expert; i++) {
        choice[i] = r->select == MD_SELECT_LOGIT ? x[i] : score[i];
        choice[i] = bias ? choice[i] + bias[i] : choice[i];
    }
    const int32_t n = pick_by_definition(r, choice, mask, table, out.expert);
    const bool shares = r->normalise || r->score == MD_SCORE_SOFTMAX_PICKED;
    int32_t n_real = 0;
    for (int32_t s = 0; s < n; s++) {
        n_real += out.expert[s] < first_null;
        top = out.expert[s] < first_null ? fmaxf(top, score[out.expert[s]]) : top;
    }
    if (r->score == MD_SCORE_SPARSE_MIXER)
        sparse_mixer_by_definition(r, score, out.expert, n, out.weight);
    for (int32_t s = 0; s < n; s++) {
        if (r->score != MD_SCORE_SPARSE_MIXER)
            out.weight[s] = score[out.expert[s]];
        if (r->score == MD_SCORE_SOFTMAX_PICKED)
            out.weight[s] = exp_by_definition(out.weight[s] - top);
        if (shares && out.expert[s] >= first_null)
            out.weight[s] = 0.0f;
        sum += out.weight[s];
    }
    if (shares && n_real > 0)
        normalise_by_definition(out.weight, n, sum, r->norm_floor);
    for (int32_t s = 0; s < n; s++) {
        out.weight[s] = out.weight[s] * r->scale;
        out.weight[s] = r->expert_scale ? out.weight[s] * r->expert_scale[out.expert[s]] : out.weight[s];
    }
    for (int32_t s = n; s < r->top_k; s++) {
        out.expert[s] = -1;
        out.weight[s] = 0.0f;
    }
    return out;
}

/* ---- md_route in boxes with canaries ---- */

static routing route_given(const md_kern *kern, const md_router *r, const float *logits, const float *bias,
                           const uint8_t *mask, const int32_t *table)
{
    const size_t e = (size_t)r->n_expert, k = (size_t)r->top_k;
    guarded x = guarded_new(e * 4, 4), work = guarded_new(3 * e * 4, 0), expert = guarded_new(k * 4, 4);
    guarded weight = guarded_new(k * 4, 4);
    routing out;
    memcpy(x.data, logits, e * 4);
    if (table)
        memcpy(expert.data, table, k * 4);
    md_route(kern, r, x.data, bias, mask, work.data, expert.data, weight.data);
    memcpy(out.expert, expert.data, k * 4);
    memcpy(out.weight, weight.data, k * 4);
    guarded_done(&x, "logits");
    guarded_done(&work, "work");
    guarded_done(&expert, "expert");
    guarded_done(&weight, "weight");
    return out;
}

static routing route(const md_kern *kern, const md_router *r, const float *logits, const float *bias,
                     const uint8_t *mask)
{
    return route_given(kern, r, logits, bias, mask, NULL);
}

static void expect_same_routing(const md_router *r, const routing *expected, const routing *got, const char *what)
{
    for (int32_t s = 0; s < r->top_k; s++)
        if (expected->expert[s] != got->expert[s])
            fail_msg("%s: slot %d: expert %d, expected %d", what, s, got->expert[s], expected->expert[s]);
    expect_same_floats(expected->weight, got->weight, r->top_k, what);
}

/* ---- random settings ---- */

static md_router random_router(void)
{
    static const int32_t experts[] = {1, 2, 5, 8, 16, 64, 72, MAX_EXPERTS}, groups[] = {1, 2, 4, 8};
    static const float floors[] = {0.0f, 1e-20f, 6e-5f, 0.7f}, scales[] = {1.0f, 2.5f, 16.0f};
    static const float jitters[] = {0.0f, 0.01f, 0.3f};
    md_router r = {.score = (md_score)random_below(5),
                   .n_expert = experts[random_below(COUNT(experts))],
                   .group_score = (md_group_score)random_below(2),
                   .normalise = random_below(2),
                   .norm_floor = floors[random_below(COUNT(floors))],
                   .scale = scales[random_below(COUNT(scales))],
                   .select = (md_select)(random_below(2) ? 0 : random_below(4)),
                   .jitter = jitters[random_below(COUNT(jitters))],
                   .overflow = (md_overflow)random_below(2)};
    r.top_k = random_below(6) ? 1 + random_below(r.n_expert < 8 ? r.n_expert : 8) : r.n_expert;
    do
        r.n_group = groups[random_below(COUNT(groups))];
    while (r.n_expert % r.n_group);
    r.n_group_kept = 1 + random_below(r.n_group);
    const int32_t size = r.n_expert / r.n_group;
    if (r.n_group > 1 && random_below(3) == 0) {
        r.group_score = MD_GROUP_EQUAL;
        r.top_k = r.n_group * (1 + random_below(size < 3 ? size : 3));
    }
    r.n_null = random_below(3) == 0 ? random_below(r.n_expert) : 0;
    return r;
}

/* Numbers for each expert that some settings ask for. */
typedef struct per_expert {
    float threshold[MAX_EXPERTS], scale[MAX_EXPERTS];
    int32_t table[MAX_EXPERTS];
} per_expert;

static void random_per_expert(md_router *r, per_expert *p)
{
    bool taken[MAX_EXPERTS] = {false};
    for (int32_t i = 0; i < r->n_expert; i++) {
        p->threshold[i] = random_unit();
        p->scale[i] = 1.0f + random_unit();
    }
    for (int32_t s = 0; s < r->top_k; s++) {
        p->table[s] = random_below(8) ? random_below(r->n_expert) : -1;
        if (p->table[s] >= 0 && taken[p->table[s]])
            p->table[s] = -1;
        else if (p->table[s] >= 0)
            taken[p->table[s]] = true;
    }
    r->threshold = p->threshold;
    r->expert_scale = random_below(2) ? p->scale : NULL;
}

/* Few distinct values now and then, so that ties are common. */
static void random_logits(float *x, int32_t n, bool ties)
{
    for (int32_t i = 0; i < n; i++)
        x[i] = ties ? (float)random_below(4) : random_unit() * 4.0f;
}

static void random_mask(uint8_t *mask, int32_t n)
{
    const int kind = random_below(5); /* some off, some forced, both, nearly all off, some full */
    for (int32_t i = 0; i < n; i++) {
        const int dice = random_below(10);
        if (kind == 4) {
            mask[i] = dice < 4 ? MD_MASK_FULL : dice == 4 ? MD_MASK_FORCED : MD_MASK_NORMAL;
            continue;
        }
        mask[i] = kind == 3               ? (dice ? MD_MASK_OFF : MD_MASK_NORMAL)
                  : dice < 3 && kind != 1 ? MD_MASK_OFF
                  : dice > 8 && kind != 0 ? MD_MASK_FORCED
                                          : MD_MASK_NORMAL;
    }
}

static void random_settings_route_by_the_definition(void **state)
{
    const md_kern *kern = table_of(state);
    for (int round = 0; round < 20000; round++) {
        per_expert per;
        md_router r = random_router();
        random_per_expert(&r, &per);
        const bool with_bias = random_below(2), with_mask = random_below(2), ties = random_below(3) == 0;
        float logits[MAX_EXPERTS], bias[MAX_EXPERTS];
        uint8_t mask[MAX_EXPERTS];
        random_logits(logits, r.n_expert, ties);
        random_logits(bias, r.n_expert, ties);
        random_mask(mask, r.n_expert);
        const float *b = with_bias ? bias : NULL;
        const uint8_t *m = with_mask ? mask : NULL;
        const routing expected = route_by_definition(&r, logits, b, m, per.table);
        const routing got = route_given(kern, &r, logits, b, m, per.table);
        expect_same_routing(&r, &expected, &got,
                            describe("round %d: score %d, select %d, %d of %d, groups %d of %d by %d%s%s", round,
                                     r.score, r.select, r.top_k, r.n_expert, r.n_group_kept, r.n_group, r.group_score,
                                     with_bias ? ", bias" : "", with_mask ? ", mask" : ""));
    }
}

static void logits_that_are_no_numbers_stay_in_range(void **state)
{
    static const fill fills[] = {FILL_SPECIAL, FILL_BITS, FILL_EXTREME};
    const md_kern *kern = table_of(state);
    for (int round = 0; round < 5000; round++) {
        per_expert per;
        md_router r = random_router();
        random_per_expert(&r, &per);
        float logits[MAX_EXPERTS], bias[MAX_EXPERTS];
        uint8_t mask[MAX_EXPERTS];
        bool seen[MAX_EXPERTS] = {false};
        fill_floats(logits, r.n_expert, fills[round % 3]);
        fill_floats(bias, r.n_expert, fills[random_below(3)]);
        random_mask(mask, r.n_expert);
        if (round % 100 == 0)
            for (int32_t i = 0; i < r.n_expert; i++)
                logits[i] = NAN;
        const float *b = random_below(2) ? bias : NULL;
        const uint8_t *m = random_below(2) ? mask : NULL;
        const routing got = route_given(kern, &r, logits, b, m, per.table);
        const routing again = route_given(kern, &r, logits, b, m, per.table);
        const routing expected = route_by_definition(&r, logits, b, m, per.table);
        assert_memory_equal(got.expert, again.expert, (size_t)r.top_k * 4);
        expect_same_floats(again.weight, got.weight, r.top_k, "weights");
        assert_memory_equal(got.expert, expected.expert, (size_t)r.top_k * 4);
        for (int32_t s = 0; s < r.top_k; s++) {
            const int32_t e = got.expert[s];
            assert_true(e >= -1 && e < r.n_expert);
            if (e < 0)
                continue;
            assert_false(seen[e] || (m && (m[e] == MD_MASK_OFF || m[e] == MD_MASK_FULL)));
            seen[e] = true;
        }
    }
}

/* ---- one rule at a time ---- */

static const md_router plain = {
    .score = MD_SCORE_SOFTMAX_PICKED, .n_expert = 8, .top_k = 3, .n_group = 1, .scale = 1.0f};

static void expect_experts(const md_router *r, const float *logits, const float *bias, const uint8_t *mask,
                           const int32_t *expected)
{
    const routing got = route(scalar_table(), r, logits, bias, mask);
    for (int32_t s = 0; s < r->top_k; s++)
        assert_int_equal(got.expert[s], expected[s]);
}

static void ties_go_to_the_lower_index(void **state)
{
    (void)state;
    const float same[8] = {2, 2, 2, 2, 2, 2, 2, 2}, two[8] = {0, 1, 3, 1, 3, 0, 3, 1};
    expect_experts(&plain, same, NULL, NULL, (const int32_t[]){0, 1, 2});
    expect_experts(&plain, two, NULL, NULL, (const int32_t[]){2, 4, 6});
}

static void a_bias_moves_the_choice_but_not_the_weight(void **state)
{
    (void)state;
    md_router r = plain;
    r.score = MD_SCORE_SIGMOID, r.top_k = 1;
    const float logits[8] = {0, 5, 0, 0, 0, 0, 0, 0}, bias[8] = {[6] = 3};
    const routing got = route(scalar_table(), &r, logits, bias, NULL);
    assert_int_equal(got.expert[0], 6);
    assert_true(got.weight[0] == 0.5f);
}

static void groups_are_judged_by_one_or_by_two(void **state)
{
    (void)state;
    const float logits[8] = {9, 0, 7, 6, 8, 1, 2, 3}; /* pairs: best 9, 7, 8, 3; sums 9, 13, 9, 5 */
    md_router r = plain;
    r.n_group = 4, r.n_group_kept = 2, r.top_k = 2;
    r.group_score = MD_GROUP_MAX;
    expect_experts(&r, logits, NULL, NULL, (const int32_t[]){0, 4});
    r.group_score = MD_GROUP_SUM2; /* the tie between the first and the third goes to the first */
    expect_experts(&r, logits, NULL, NULL, (const int32_t[]){0, 2});
    r.n_group_kept = 1;
    expect_experts(&r, logits, NULL, NULL, (const int32_t[]){2, 3});
}

static void masked_experts_leave_empty_slots_at_the_end(void **state)
{
    (void)state;
    const float logits[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    uint8_t mask[8];
    memset(mask, MD_MASK_OFF, sizeof mask);
    mask[2] = MD_MASK_NORMAL, mask[5] = MD_MASK_FORCED;
    expect_experts(&plain, logits, NULL, mask, (const int32_t[]){5, 2, -1});
    mask[2] = mask[5] = MD_MASK_OFF;
    for (int score = 0; score < 3; score++) {
        md_router r = plain;
        r.score = (md_score)score, r.normalise = true;
        const routing got = route(scalar_table(), &r, logits, NULL, mask);
        for (int32_t s = 0; s < r.top_k; s++)
            assert_true(got.expert[s] == -1 && got.weight[s] == 0.0f);
    }
}

static void forced_experts_come_first_even_from_dropped_groups(void **state)
{
    (void)state;
    const float logits[8] = {9, 8, 7, 6, 1, 2, 3, 4};
    uint8_t mask[8] = {[4] = MD_MASK_FORCED, [6] = MD_MASK_FORCED};
    md_router r = plain;
    r.n_group = 2, r.n_group_kept = 1;
    expect_experts(&r, logits, NULL, mask, (const int32_t[]){6, 4, 0});
    r.top_k = 1;
    expect_experts(&r, logits, NULL, mask, (const int32_t[]){6});
}

static void the_floor_bounds_the_divisor(void **state)
{
    (void)state;
    const float logits[8] = {-20, -30, -30, -30, -30, -30, -30, -30};
    md_router r = plain;
    r.score = MD_SCORE_SIGMOID, r.top_k = 1, r.normalise = true, r.scale = 4.0f;
    assert_true(route(scalar_table(), &r, logits, NULL, NULL).weight[0] == 4.0f);
    r.norm_floor = 0.5f;
    assert_true(route(scalar_table(), &r, logits, NULL, NULL).weight[0] ==
                4.0f * (sigmoid_by_definition(-20.0f) / 0.5f));
}

/* Within the rounding of one binary32: what a sum in binary64 then takes for one. */
static void normalised_weights_add_up_to_one(void **state)
{
    (void)state;
    for (int round = 0; round < 5000; round++) {
        md_router r = random_router();
        float logits[MAX_EXPERTS];
        double sum = 0;
        r.normalise = true, r.norm_floor = 0.0f, r.scale = 1.0f, r.select = MD_SELECT_SCORE, r.n_null = 0;
        random_logits(logits, r.n_expert, random_below(2));
        const routing got = route(scalar_table(), &r, logits, NULL, NULL);
        int32_t n = 0;
        for (int32_t s = 0; s < r.top_k; s++) {
            n += got.expert[s] >= 0;
            sum += (double)got.weight[s];
        }
        assert_true(n > 0 && fabs(sum - 1.0) <= 0x1p-25);
    }
}

static void all_experts_may_be_picked(void **state)
{
    (void)state;
    const float logits[8] = {1, 3, 2, 8, 7, 6, 5, 4};
    md_router r = plain;
    r.top_k = 8;
    expect_experts(&r, logits, NULL, NULL, (const int32_t[]){3, 4, 5, 6, 7, 1, 2, 0});
}

/* ---- the description ---- */

static void routers_describe_themselves(void **state)
{
    (void)state;
    static const float some_factors[64];
    static const struct {
        md_router r;
        const char *text;
    } cases[] = {
        {{.score = MD_SCORE_SOFTMAX, .n_expert = 128, .top_k = 8, .n_group = 1, .normalise = true, .scale = 1.0f},
         "softmax, top 8 of 128, normalised"},
        {{.score = MD_SCORE_SOFTMAX_PICKED, .n_expert = 32, .top_k = 4, .scale = 1.0f},
         "softmax of the picked, top 4 of 32"},
        {{.score = MD_SCORE_SIGMOID,
          .n_expert = 256,
          .top_k = 8,
          .n_group = 8,
          .n_group_kept = 4,
          .normalise = true,
          .scale = 2.5f},
         "sigmoid, top 8 of 256, best 4 of 8 groups, normalised, scaled by 2.5"},
        {{.score = MD_SCORE_SOFTMAX, .n_expert = 64, .top_k = 6, .scale = 16.0f}, "softmax, top 6 of 64, scaled by 16"},
        {{.score = MD_SCORE_SQRT_SOFTPLUS, .n_expert = 12, .top_k = 4, .n_null = 4, .scale = 1.0f},
         "sqrt-softplus, top 4 of 12 with 4 null"},
        {{.score = MD_SCORE_SIGMOID, .n_expert = 16, .top_k = 1, .select = MD_SELECT_LOGIT, .scale = 1.0f},
         "sigmoid, top 1 of 16, ranked by logit"},
        {{.score = MD_SCORE_SOFTMAX,
          .n_expert = 64,
          .top_k = 8,
          .n_group = 8,
          .n_group_kept = 8,
          .group_score = MD_GROUP_EQUAL,
          .scale = 1.0f,
          .expert_scale = some_factors},
         "softmax, top 8 of 64, 1 of each of 8 groups, scaled by expert"},
        {{.score = MD_SCORE_SPARSE_MIXER,
          .n_expert = 16,
          .top_k = 2,
          .scale = 1.0f,
          .capacity = 5,
          .window = 32,
          .overflow = MD_OVERFLOW_DROP},
         "sparse mixer, top 2 of 16, at most 5 an expert in 32 positions (drop)"},
        {{.score = MD_SCORE_SOFTMAX, .n_expert = 8, .top_k = 8, .select = MD_SELECT_THRESHOLD, .scale = 1.0f},
         "softmax, top 8 of 8, chosen by experts"},
    };
    for (int i = 0; i < COUNT(cases); i++)
        for (size_t n = 0; n <= strlen(cases[i].text) + 1; n++) { /* every size, also those that are too small */
            guarded buf = guarded_new(n, 0);
            md_router_describe(&cases[i].r, buf.data, n);
            if (n > 0) {
                assert_int_equal(strlen(buf.data), n - 1);
                assert_memory_equal(buf.data, cases[i].text, n - 1);
            }
            guarded_done(&buf, "md_router_describe");
        }
}

int main(void)
{
    seed_from_environment();
    const struct CMUnitTest tests[] = {
        EACH_TABLE(random_settings_route_by_the_definition),
        EACH_TABLE(logits_that_are_no_numbers_stay_in_range),
        cmocka_unit_test(ties_go_to_the_lower_index),
        cmocka_unit_test(a_bias_moves_the_choice_but_not_the_weight),
        cmocka_unit_test(groups_are_judged_by_one_or_by_two),
        cmocka_unit_test(masked_experts_leave_empty_slots_at_the_end),
        cmocka_unit_test(forced_experts_come_first_even_from_dropped_groups),
        cmocka_unit_test(the_floor_bounds_the_divisor),
        cmocka_unit_test(normalised_weights_add_up_to_one),
        cmocka_unit_test(all_experts_may_be_picked),
        cmocka_unit_test(routers_describe_themselves),
    };
    return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
