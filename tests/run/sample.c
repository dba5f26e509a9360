/* SPDX-License-Identifier: Apache-2.0
 *
 * The sampler against exact probabilities, and against a second, plain implementation of docs/sampling.md that sorts
 * everything. */
#include "sampler_case.h"
#include "support/fixtures.h"

#include "base/mathd.h"
#include "base/rng.h"
#include <medley/sample.h>

#include <math.h>
#include <string.h>

static int32_t pick(md_sampler *s, const float *logits, int32_t pos)
{
    int32_t token;
    md_error err;
    if (md_sample(s, logits, pos, &token, &err) != MD_OK)
        fail_msg("%s", err.message);
    return token;
}

static int32_t pick_once(const md_sampler_args *a, const float *logits, int32_t n_vocab, int32_t pos)
{
    md_sampler *s = new_sampler(a, n_vocab);
    const int32_t token = pick(s, logits, pos);
    md_sampler_free(s);
    return token;
}

/* ---- the plain implementation ---- */

typedef struct plain {
    double logit, distance, weight;
    int32_t id;
} plain;

static int by_rank(const void *pa, const void *pb)
{
    const plain *a = pa, *b = pb;
    return a->logit != b->logit ? (a->logit < b->logit ? 1 : -1) : (a->id > b->id) - (a->id < b->id);
}

static int by_distance(const void *pa, const void *pb)
{
    const plain *a = pa, *b = pb;
    return a->distance != b->distance ? (a->distance > b->distance ? 1 : -1) : (a->id > b->id) - (a->id < b->id);
}

static double sum_weights(plain *p, size_t n, double best, double temperature)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += p[i].weight = md_exp_d((p[i].logit - best) / temperature);
    return sum;
}

static size_t prefix(const plain *p, size_t n, double enough)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        if ((sum += p[i].weight) >= enough)
            return i + 1;
    return n;
}

static void plain_penalties(const md_sampler_args *a, double *l, const int32_t *past, size_t n_past, int32_t n_vocab)
{
    const size_t first = n_past > (size_t)a->penalty_last ? n_past - (size_t)a->penalty_last : 0;
    for (int32_t t = 0; t < n_vocab; t++) {
        int count = 0;
        for (size_t i = first; i < n_past; i++)
            count += past[i] == t;
        if (count == 0)
            continue;
        l[t] = l[t] > 0 ? l[t] / (double)a->repetition_penalty : l[t] * (double)a->repetition_penalty;
        l[t] -= count * (double)a->frequency_penalty;
        l[t] -= (double)a->presence_penalty;
    }
}

static size_t plain_typical(const md_sampler_args *a, plain *p, size_t n, double best)
{
    const double total = sum_weights(p, n, best, 1.0);
    double mean = 0.0;
    for (size_t i = 0; i < n; i++)
        mean += p[i].weight * (p[i].logit - best);
    mean /= total;
    for (size_t i = 0; i < n; i++)
        p[i].distance = fabs(mean - (p[i].logit - best));
    qsort(p, n, sizeof *p, by_distance);
    n = prefix(p, n, (double)a->typical_p * total);
    qsort(p, n, sizeof *p, by_rank);
    return n;
}

/* past[0..n_past): the accepted tokens. */
static int32_t plain_sample(const md_sampler_args *a, const float *logits, int32_t n_vocab, const int32_t *past,
                            size_t n_past, int32_t pos)
{
    double *l = calloc((size_t)n_vocab, sizeof *l);
    plain *p = calloc((size_t)n_vocab, sizeof *p);
    assert_non_null(l);
    assert_non_null(p);
    for (int32_t i = 0; i < n_vocab; i++)
        l[i] = (double)logits[i];
    for (size_t i = 0; i < a->n_bias; i++)
        l[a->bias[i].token] += (double)a->bias[i].bias;
    plain_penalties(a, l, past, n_past, n_vocab);
    size_t n = 0;
    for (int32_t i = 0; i < n_vocab; i++)
        if (l[i] > -INFINITY)
            p[n++] = (plain){.logit = l[i], .id = i};
    free(l);

    if (a->temperature == 0) {
        qsort(p, n, sizeof *p, by_rank);
        const int32_t greedy = p[0].id;
        free(p);
        return greedy;
    }

    /* The first sum over all candidates goes by id, so sorting waits for it. */
    double best = -INFINITY;
    for (size_t i = 0; i < n; i++)
        best = p[i].logit > best ? p[i].logit : best;
    bool sorted = false;
    if (a->top_k > 0 && (size_t)a->top_k < n) {
        qsort(p, n, sizeof *p, by_rank);
        n = (size_t)a->top_k;
        sorted = true;
    }
    if (a->typical_p < 1) {
        n = plain_typical(a, p, n, best);
        sorted = true;
    }
    if (a->top_p < 1) {
        const double total = sum_weights(p, n, best, 1.0);
        qsort(p, n, sizeof *p, by_rank);
        n = prefix(p, n, (double)a->top_p * total);
        sorted = true;
    }
    if (a->min_p > 0) {
        qsort(p, n, sizeof *p, by_rank);
        size_t kept = 0;
        while (kept < n && p[kept].logit - p[0].logit >= md_log_d((double)a->min_p))
            kept++;
        n = kept;
        sorted = true;
    }
    const double total = sum_weights(p, n, sorted ? p[0].logit : best, (double)a->temperature);
    qsort(p, n, sizeof *p, by_rank);
    const double target = (double)md_rand_uniform(a->seed, a->choice, (uint64_t)pos) * total;
    double sum = 0.0;
    size_t i = 0;
    for (; i + 1 < n; i++)
        if ((sum += p[i].weight) > target)
            break;
    const int32_t id = p[i].id;
    free(p);
    return id;
}

/* ---- tests ---- */

/* Draws at many positions and compares counts with probabilities: |count - n p| within 5 standard deviations for each
 * token, and nothing outside the support. */
static void check_distribution(const md_sampler_args *a, const float *logits, int32_t n_vocab, const double *p)
{
    enum { N = 40000 };
    int count[64] = {0};
    assert_true(n_vocab <= 64);
    md_sampler *s = new_sampler(a, n_vocab);
    for (int32_t pos = 0; pos < N; pos++)
        count[pick(s, logits, pos)]++;
    md_sampler_free(s);
    for (int32_t i = 0; i < n_vocab; i++) {
        const double mean = N * p[i], bound = 5.0 * sqrt(N * p[i] * (1.0 - p[i]));
        if (fabs(count[i] - mean) > bound + 1e-9)
            fail_msg("token %d drawn %d times of %d, expected %.1f +- %.1f", i, count[i], N, mean, bound);
    }
}

/* Logits of given probabilities, shifted: only differences may count. */
static void logits_of(const double *p, int32_t n, float *logits)
{
    for (int32_t i = 0; i < n; i++)
        logits[i] = (float)(log(p[i]) + 3.0);
}

static void draws_follow_the_probabilities(void **state)
{
    (void)state;
    const double p[] = {0.4, 0.05, 0.25, 0.2, 0.1};
    float logits[5];
    logits_of(p, 5, logits);
    md_sampler_args a = off();
    check_distribution(&a, logits, 5, p);
    a.seed = 12345;
    a.choice = 3;
    check_distribution(&a, logits, 5, p);
}

static void temperature_sharpens_and_flattens(void **state)
{
    (void)state;
    const double p[] = {0.5, 0.3, 0.2};
    float logits[3];
    logits_of(p, 3, logits);
    const float temperatures[] = {0.5f, 2.0f};
    for (int t = 0; t < 2; t++) {
        double q[3], sum = 0;
        for (int i = 0; i < 3; i++)
            sum += q[i] = pow(p[i], 1.0 / (double)temperatures[t]);
        for (int i = 0; i < 3; i++)
            q[i] /= sum;
        md_sampler_args a = off();
        a.temperature = temperatures[t];
        check_distribution(&a, logits, 3, q);
    }
}

static void each_filter_keeps_what_it_says(void **state)
{
    (void)state;
    const double p[] = {0.10, 0.40, 0.05, 0.30, 0.15};
    float logits[5];
    logits_of(p, 5, logits);

    md_sampler_args a = off();
    a.top_k = 2;
    check_distribution(&a, logits, 5, (const double[]){0, 4.0 / 7, 0, 3.0 / 7, 0});

    a = off();
    a.top_p = 0.75f; /* .40 + .30 falls short */
    check_distribution(&a, logits, 5, (const double[]){0, 0.40 / 0.85, 0, 0.30 / 0.85, 0.15 / 0.85});

    a = off();
    a.min_p = 0.3f; /* of .40: from .12 up */
    check_distribution(&a, logits, 5, (const double[]){0, 0.40 / 0.85, 0, 0.30 / 0.85, 0.15 / 0.85});

    /* The entropy is 1.392 nats; surprises are 2.30 0.92 3.00 1.20 1.90, so the nearest are .30 then .40 then .15. */
    a = off();
    a.typical_p = 0.25f;
    check_distribution(&a, logits, 5, (const double[]){0, 0, 0, 1, 0});
    a.typical_p = 0.65f;
    check_distribution(&a, logits, 5, (const double[]){0, 4.0 / 7, 0, 3.0 / 7, 0});
}

static void later_filters_see_what_earlier_ones_left(void **state)
{
    (void)state;
    const double p[] = {0.4, 0.3, 0.2, 0.1};
    float logits[4];
    logits_of(p, 4, logits);
    md_sampler_args a = off();
    a.top_k = 2;
    a.top_p = 0.5f; /* of the two left the first has 4/7: enough alone */
    check_distribution(&a, logits, 4, (const double[]){1, 0, 0, 0});
    a.top_k = 0; /* of all four .4 falls short */
    check_distribution(&a, logits, 4, (const double[]){4.0 / 7, 3.0 / 7, 0, 0});
}

static void ties_go_to_the_lower_id(void **state)
{
    (void)state;
    float logits[64];
    for (int i = 0; i < 64; i++)
        logits[i] = 1.5f;
    md_sampler_args a = off();
    a.temperature = 0;
    assert_int_equal(pick_once(&a, logits, 64, 0), 0);
    logits[0] = 1.0f;
    assert_int_equal(pick_once(&a, logits, 64, 0), 1);
    a = off();
    a.top_k = 3; /* 1, 2, 3 of 63 equals */
    double p[64] = {0};
    p[1] = p[2] = p[3] = 1.0 / 3;
    check_distribution(&a, logits, 64, p);
}

static void bias_shifts_and_forbids(void **state)
{
    (void)state;
    const double p[] = {0.5, 0.25, 0.25};
    float logits[3];
    logits_of(p, 3, logits);
    const md_logit_bias forbid[] = {
        {.token = 0, .bias = -INFINITY}, {.token = 2, .bias = 0.5f}, {.token = 2, .bias = 0.5f}};
    md_sampler_args a = off();
    a.bias = forbid;
    a.n_bias = 3;
    const double e = exp(1.0);
    check_distribution(&a, logits, 3, (const double[]){0, 1 / (1 + e), e / (1 + e)});
    a.temperature = 0;
    assert_int_equal(pick_once(&a, logits, 3, 7), 2);

    const md_logit_bias all[] = {{0, -INFINITY}, {1, -INFINITY}, {2, -INFINITY}};
    a.bias = all;
    md_sampler *s = new_sampler(&a, 3);
    int32_t token = 0;
    md_error err;
    assert_int_equal(md_sample(s, logits, 7, &token, &err), MD_ERR_ARGUMENT);
    assert_int_equal(token, -1);
    assert_non_null(strstr(err.message, "forbids every token"));
    md_sampler_free(s);
}

static void penalties_look_at_the_last_tokens_only(void **state)
{
    (void)state;
    /* Greedy shows which logit is the largest after the penalties. */
    md_sampler_args a = off();
    a.temperature = 0;
    a.repetition_penalty = 2.0f;
    a.penalty_last = 2;
    const float both_signs[] = {4.0f, 3.0f, -1.0f};
    md_sampler *s = new_sampler(&a, 3);
    assert_int_equal(pick(s, both_signs, 0), 0);
    md_sampler_accept(s, 0);
    assert_int_equal(pick(s, both_signs, 1), 1); /* 4 became 2 */
    md_sampler_accept(s, 2);
    md_sampler_accept(s, 2);
    assert_int_equal(pick(s, both_signs, 2), 0); /* 0 has left the window */
    const float negative[] = {-3.0f, -2.0f, -1.0f};
    assert_int_equal(pick(s, negative, 3), 1); /* -1 became -2: equal, the lower id wins */
    md_sampler_reset(s);
    assert_int_equal(pick(s, negative, 3), 2);
    md_sampler_free(s);

    a.repetition_penalty = 1.0f;
    a.frequency_penalty = 1.0f;
    a.presence_penalty = 0.5f;
    a.penalty_last = 8;
    s = new_sampler(&a, 3);
    const float logits[] = {5.0f, 3.25f, 2.75f};
    md_sampler_accept(s, 0);
    assert_int_equal(pick(s, logits, 0), 0); /* 5 - 1 - .5 = 3.5 */
    md_sampler_accept(s, 0);
    assert_int_equal(pick(s, logits, 0), 1); /* 5 - 2 - .5 = 2.5 */
    md_sampler_accept(s, 1);
    assert_int_equal(pick(s, logits, 0), 2); /* 3.25 - 1.5 */
    md_sampler_accept(s, -1);                /* no tokens: ignored */
    md_sampler_accept(s, 3);
    assert_int_equal(pick(s, logits, 0), 2);
    md_sampler_free(s);
}

static void broken_logits_are_refused(void **state)
{
    (void)state;
    const float bad[][3] = {
        {1, NAN, 2}, {1, INFINITY, 2}, {-INFINITY, -INFINITY, -INFINITY}, {-INFINITY, NAN, -INFINITY}};
    const char *const says[] = {"a NaN for token 1", "an infinity for token 1", "no finite value", "a NaN for token 1"};
    for (int greedy = 0; greedy < 2; greedy++) {
        md_sampler_args a = off();
        a.temperature = greedy ? 0.0f : 1.0f;
        md_sampler *s = new_sampler(&a, 3);
        for (int i = 0; i < 4; i++) {
            int32_t token = 0;
            md_error err;
            assert_int_equal(md_sample(s, bad[i], 5, &token, &err), MD_ERR_FORMAT);
            assert_int_equal(token, -1);
            assert_non_null(strstr(err.message, says[i]));
            assert_non_null(strstr(err.message, "position 5"));
            assert_int_equal(md_sample(s, bad[i], 5, &token, NULL), MD_ERR_FORMAT);
        }
        const float one[] = {-INFINITY, -INFINITY, -7.0f};
        assert_int_equal(pick(s, one, 0), 2);
        int32_t token;
        assert_int_equal(md_sample(s, one, -1, &token, NULL), MD_ERR_ARGUMENT);
        md_sampler_free(s);
    }
}

static void a_choice_depends_on_seed_choice_and_position_alone(void **state)
{
    (void)state;
    float logits[50] = {0};
    md_sampler_args a = off();
    md_sampler *s = new_sampler(&a, 50);
    int32_t forth[40];
    for (int i = 0; i < 40; i++)
        forth[i] = pick(s, logits, i);
    for (int i = 39; i >= 0; i--)
        assert_int_equal(pick(s, logits, i), forth[i]);
    md_sampler_free(s);
    md_sampler_args b = a;
    b.seed = 1;
    md_sampler_args c = a;
    c.choice = 1;
    int differ_pos = 0, differ_seed = 0, differ_choice = 0;
    for (int i = 0; i < 40; i++) {
        differ_pos += forth[i] != forth[(i + 1) % 40];
        differ_seed += forth[i] != pick_once(&b, logits, 50, i);
        differ_choice += forth[i] != pick_once(&c, logits, 50, i);
    }
    assert_true(differ_pos > 30);
    assert_true(differ_seed > 30);
    assert_true(differ_choice > 30);
}

/* A plain generator for test data; what the sampler draws comes from elsewhere. */
static uint32_t next_random(uint64_t *x)
{
    *x = *x * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(*x >> 33);
}

static float random_in(uint64_t *x, float low, float high)
{
    return low + (high - low) * ((float)(next_random(x) % 10001) / 10000.0f);
}

static void random_logits(uint64_t *x, float *logits, int32_t n)
{
    const unsigned kind = next_random(x) % 5;
    const float spread = random_in(x, 0.01f, 20.0f);
    for (int32_t i = 0; i < n; i++)
        switch (kind) {
        case 0: logits[i] = random_in(x, -spread, spread); break;
        case 1: logits[i] = (float)(next_random(x) % 4); break; /* many ties */
        case 2: logits[i] = next_random(x) % 3 ? -INFINITY : random_in(x, -spread, spread); break;
        case 3: logits[i] = random_in(x, -1e38f, 1e38f); break; /* one takes all */
        default: logits[i] = -(float)i * 0.01f * spread; break; /* sorted: the heap's worst case */
        }
    logits[next_random(x) % (uint32_t)n] = random_in(x, -1.0f, 1.0f);
}

static md_sampler_args random_args(uint64_t *x, int32_t n, md_logit_bias bias[3])
{
    md_sampler_args a = off();
    a.seed = next_random(x);
    a.choice = next_random(x) % 3;
    const float temperatures[] = {0.0f, 0.1f, 0.7f, 1.0f, 5.0f};
    a.temperature = temperatures[next_random(x) % 5];
    if (next_random(x) % 2)
        a.top_k = (int32_t)(next_random(x) % (uint32_t)(n + 3));
    if (next_random(x) % 2)
        a.top_p = random_in(x, 0.01f, 1.0f);
    if (next_random(x) % 2)
        a.min_p = random_in(x, 0.0f, 0.9f);
    if (next_random(x) % 3 == 0)
        a.typical_p = random_in(x, 0.01f, 1.0f);
    if (next_random(x) % 3 == 0) {
        a.repetition_penalty = random_in(x, 0.5f, 2.0f);
        a.frequency_penalty = random_in(x, -1.0f, 1.0f);
        a.presence_penalty = random_in(x, -1.0f, 1.0f);
        a.penalty_last = (int32_t)(next_random(x) % 20);
    }
    if (next_random(x) % 3 == 0) {
        for (int i = 0; i < 3; i++)
            bias[i] = (md_logit_bias){.token = (int32_t)(next_random(x) % (uint32_t)n),
                                      .bias = random_in(x, -5.0f, 5.0f)};
        a.bias = bias;
        a.n_bias = 3;
    }
    return a;
}

static void the_fast_path_equals_the_plain_one(void **state)
{
    (void)state;
    uint64_t x = 42;
    enum { MAX = 3000 };
    float *logits = calloc(MAX, sizeof *logits);
    assert_non_null(logits);
    for (int round = 0; round < 3000; round++) {
        const int32_t n = 1 + (int32_t)(next_random(&x) % (round % 20 ? 200 : MAX));
        md_logit_bias bias[3];
        const md_sampler_args a = random_args(&x, n, bias);
        md_sampler *s = new_sampler(&a, n);
        int32_t past[32];
        for (int i = 0; i < 32; i++)
            md_sampler_accept(s, past[i] = (int32_t)(next_random(&x) % (uint32_t)(n < 12 ? n : 12)));
        for (int32_t pos = 0; pos < 4; pos++) {
            random_logits(&x, logits, n);
            const int32_t want = plain_sample(&a, logits, n, past, 32, pos), got = pick(s, logits, pos);
            if (got != want)
                fail_msg("round %d position %d: %d, not %d (T %g k %d p %g min %g typical %g of %d)", round, pos, got,
                         want, (double)a.temperature, a.top_k, (double)a.top_p, (double)a.min_p, (double)a.typical_p,
                         n);
        }
        md_sampler_free(s);
    }
    free(logits);
}

static void large_vocabularies_agree_too(void **state)
{
    (void)state;
    enum { N = 151936 };
    uint64_t x = 7;
    float *logits = calloc(N, sizeof *logits);
    assert_non_null(logits);
    for (int i = 0; i < N; i++) { /* a sum of uniforms: bell-shaped, with ties at this resolution */
        logits[i] = -6.0f;
        for (int j = 0; j < 6; j++)
            logits[i] += random_in(&x, 0.0f, 6.0f) / 2.0f;
    }
    md_sampler_args a[5] = {off(), off(), off(), off(), off()};
    a[1].top_k = 40;
    a[2].top_p = 0.9f;
    a[3].min_p = 0.05f;
    a[4].typical_p = 0.5f;
    for (int i = 0; i < 5; i++) {
        md_sampler *s = new_sampler(&a[i], N);
        for (int32_t pos = 0; pos < 2; pos++)
            assert_int_equal(pick(s, logits, pos), plain_sample(&a[i], logits, N, NULL, 0, pos));
        md_sampler_free(s);
    }
    free(logits);
}

static void senseless_arguments_are_refused_in_words(void **state)
{
    (void)state;
    const md_logit_bias outside = {.token = 10, .bias = 0}, nan_bias = {.token = 1, .bias = NAN},
                        inf_bias = {.token = 1, .bias = INFINITY};
    md_sampler_args a[20];
    for (int i = 0; i < 20; i++)
        a[i] = off();
    int n = 0;
    const char *says[20];
#define CASE(field, value, words) \
    a[n].field = (value);         \
    says[n++] = words
    CASE(temperature, -0.1f, "temperature is -0.1");
    CASE(temperature, NAN, "temperature is");
    CASE(temperature, INFINITY, "temperature is inf");
    CASE(top_k, -1, "top-k is -1");
    CASE(top_p, 0.0f, "top-p is 0");
    CASE(top_p, 1.1f, "top-p is 1.1");
    CASE(top_p, NAN, "top-p is");
    CASE(min_p, 1.0f, "min-p is 1");
    CASE(min_p, -0.1f, "min-p is -0.1");
    CASE(typical_p, 0.0f, "typical-p is 0");
    CASE(repetition_penalty, 0.0f, "repetition penalty is 0");
    CASE(presence_penalty, NAN, "presence penalty is");
    CASE(frequency_penalty, INFINITY, "frequency penalty is inf");
    CASE(penalty_last, 4097, "4097 tokens");
    CASE(penalty_last, -1, "-1 tokens");
    CASE(n_bias, 1, "none given");
    CASE(bias, &outside, "token 10");
    CASE(bias, &nan_bias, "token 1");
    CASE(bias, &inf_bias, "token 1");
#undef CASE
    for (int i = 0; i < n; i++) {
        if (a[i].bias)
            a[i].n_bias = 1;
        md_sampler *s = (md_sampler *)&s;
        md_error err = {0};
        assert_int_equal(md_sampler_new(&a[i], 10, &s, &err), MD_ERR_ARGUMENT);
        assert_null(s);
        if (!strstr(err.message, says[i]))
            fail_msg("case %d: '%s' lacks '%s'", i, err.message, says[i]);
    }
    md_sampler *s;
    const md_sampler_args good = off();
    assert_int_equal(md_sampler_new(&good, 0, &s, NULL), MD_ERR_ARGUMENT);
    md_sampler_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_follow_the_probabilities),
        cmocka_unit_test(temperature_sharpens_and_flattens),
        cmocka_unit_test(each_filter_keeps_what_it_says),
        cmocka_unit_test(later_filters_see_what_earlier_ones_left),
        cmocka_unit_test(ties_go_to_the_lower_id),
        cmocka_unit_test(bias_shifts_and_forbids),
        cmocka_unit_test(penalties_look_at_the_last_tokens_only),
        cmocka_unit_test(broken_logits_are_refused),
        cmocka_unit_test(a_choice_depends_on_seed_choice_and_position_alone),
        cmocka_unit_test(the_fast_path_equals_the_plain_one),
        cmocka_unit_test(large_vocabularies_agree_too),
        cmocka_unit_test(senseless_arguments_are_refused_in_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
