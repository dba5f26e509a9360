/* SPDX-License-Identifier: Apache-2.0
 *
 * DRY, top-n-sigma, XTC, mirostat and masks: each against a plain implementation of docs/sampling.md written here, or
 * against values worked out by hand. */
#include "sampler_case.h"
#include "support/fixtures.h"
#include "text/tok_tiny.h"

#include "base/mathd.h"
#include "base/rng.h"
#include <medley/sample.h>

#include <math.h>

static int32_t pick_masked(md_sampler *s, const float *logits, const uint32_t *mask, int32_t pos)
{
    int32_t token;
    md_error err;
    if (md_sample_masked(s, logits, mask, pos, &token, &err) != MD_OK)
        fail_msg("%s", err.message);
    return token;
}

static int32_t pick(md_sampler *s, const float *logits, int32_t pos)
{
    return pick_masked(s, logits, NULL, pos);
}

static float random_in(uint64_t *x, float low, float high)
{
    return low + (high - low) * ((float)(tiny_random(x) % 10001) / 10000.0f);
}

/* ---- top-n-sigma, XTC: by hand ---- */

/* Which of the first 8 tokens come up in 4000 draws, as bits. */
static unsigned drawn(const md_sampler_args *a, const float *logits, int32_t n)
{
    md_sampler *s = new_sampler(a, n);
    unsigned seen = 0;
    for (int32_t pos = 0; pos < 4000; pos++)
        seen |= 1u << pick(s, logits, pos);
    md_sampler_free(s);
    return seen;
}

static void top_n_sigma_keeps_what_is_near_the_largest(void **state)
{
    (void)state;
    /* Mean 2, deviations 2 1 0 -1 -2, standard deviation sqrt(10 / 5) = 1.414. */
    const float logits[] = {3, 1, 4, 0, 2};
    md_sampler_args a = off();
    a.temperature = 3.0f; /* so that whatever is kept is drawn */
    assert_int_equal(drawn(&a, logits, 5), 31);
    a.top_n_sigma = 0.7f; /* from 3.01 */
    assert_int_equal(drawn(&a, logits, 5), 4);
    a.top_n_sigma = 0.71f; /* from 2.996 */
    assert_int_equal(drawn(&a, logits, 5), 5);
    a.top_n_sigma = 2.0f; /* from 1.17 */
    assert_int_equal(drawn(&a, logits, 5), 21);
    const float forbidden[] = {3, 1, 4, -INFINITY, 2}; /* the mean is 2.5 now, the deviation 1.118 */
    a.top_n_sigma = 1.0f;                              /* from 2.882 */
    assert_int_equal(drawn(&a, forbidden, 5), 5);
    const float equal[] = {1, 1, 1};
    assert_int_equal(drawn(&a, equal, 3), 7);
}

static void xtc_leaves_out_the_likeliest_as_often_as_asked(void **state)
{
    (void)state;
    const double p[] = {0.05, 0.4, 0.15, 0.3, 0.1};
    float logits[5];
    for (int i = 0; i < 5; i++)
        logits[i] = (float)log(p[i]);
    md_sampler_args a = off();
    a.xtc_probability = 1.0f;
    a.xtc_threshold = 0.12f; /* .4 .3 .15: the first two go */
    assert_int_equal(drawn(&a, logits, 5), 1 | 4 | 16);
    a.xtc_threshold = 0.35f; /* one alone stays */
    assert_int_equal(drawn(&a, logits, 5), 31);
    a.xtc_threshold = 0.01f; /* all are likely enough: the last one stays */
    assert_int_equal(drawn(&a, logits, 5), 1);
    a.top_k = 2; /* of two, .4 / .7 and .3 / .7 */
    a.xtc_threshold = 0.42f;
    assert_int_equal(drawn(&a, logits, 5), 8);
    a.xtc_threshold = 0.43f;
    assert_int_equal(drawn(&a, logits, 5), 2 | 8);

    a = off();
    a.xtc_probability = 0.3f;
    a.xtc_threshold = 0.25f; /* .4 goes */
    md_sampler *s = new_sampler(&a, 5);
    int first = 0;
    enum { N = 40000 };
    for (int32_t pos = 0; pos < N; pos++)
        first += pick(s, logits, pos) == 1;
    md_sampler_free(s);
    assert_true(fabs(first / (double)N - 0.7 * 0.4) < 5 * sqrt(0.28 * 0.72 / N));
}

/* ---- DRY ---- */

/* How many tokens in front of place `at` equal those at the end, at most `most`. */
static int32_t common(const int32_t *past, int32_t n, int32_t at, int32_t most)
{
    int32_t m = 0;
    while (m < most && m < at && past[at - 1 - m] == past[n - 1 - m])
        m++;
    return m;
}

/* Does text[0..n) have one of the breakers ending at a byte from `from` on? */
static bool breaks(const char *text, size_t n, size_t from, const char *const *breaker, size_t n_breakers)
{
    for (size_t b = 0; b < n_breakers; b++)
        for (size_t i = 0; i + strlen(breaker[b]) <= n; i++)
            if (memcmp(text + i, breaker[b], strlen(breaker[b])) == 0 && i + strlen(breaker[b]) > from)
                return true;
    return false;
}

static void plain_dry(const md_sampler_args *a, const md_tokenizer *t, double *l, int32_t n_vocab, const int32_t *all,
                      int32_t n_all)
{
    const int32_t n = n_all < a->dry_penalty_last ? n_all : a->dry_penalty_last, *past = all + n_all - n;
    char text[4096];
    size_t len = 0, ends[512], k;
    for (int32_t i = 0; i < n_all; i++) {
        const char *s = md_token_bytes(t, all[i], &k);
        memcpy(text + len, s, k);
        ends[i] = len += k;
    }
    int32_t since = 0; /* tokens after the last that ends a breaker */
    while (since < n_all && !breaks(text, ends[n_all - 1 - since], since + 1 < n_all ? ends[n_all - 2 - since] : 0,
                                    a->dry_breaker, a->n_dry_breaker))
        since++;
    for (int32_t token = 0; token < n_vocab; token++) {
        int32_t longest = 0;
        for (int32_t at = 1; at < n; at++)
            if (past[at] == token && common(past, n, at, since) > longest)
                longest = common(past, n, at, since);
        const char *s = md_token_bytes(t, token, &k);
        memcpy(text + len, s, k);
        if (longest >= a->dry_allowed_length && !breaks(text, len + k, len, a->dry_breaker, a->n_dry_breaker))
            l[token] -= (double)a->dry_multiplier * pow((double)a->dry_base, longest - a->dry_allowed_length);
    }
}

static tiny *letters(void)
{
    static const char *const names[] = {"a", "b", "ab", "c", ":", "c:", "ba"};
    tiny *y = tiny_new("gpt2", "gpt-2");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        tiny_add(y, names[i], MD_TOKEN_NORMAL, 0);
    tiny_make(y);
    return y;
}

static void dry_penalises_what_would_carry_on_a_repetition(void **state)
{
    (void)state;
    tiny *y = letters();
    md_sampler_args a = off();
    a.temperature = 0;
    a.dry_multiplier = 1.0f;
    a.dry_base = 2.0f;
    const int32_t said[] = {0, 1, 3, 0, 1}; /* a b c a b: c would be the third of three */
    md_sampler *s = new_sampler(&a, 7);
    for (int i = 0; i < 5; i++)
        md_sampler_accept(s, said[i]);
    const float just_enough[] = {0, 0, 0, 0.9f, 0, 0, 0}, too_much[] = {0, 0, 0, 1.1f, 0, 0, 0};
    assert_int_equal(pick(s, just_enough, 0), 0); /* 0.9 - 1 * 2^(2 - 2) < 0 */
    assert_int_equal(pick(s, too_much, 0), 3);
    md_sampler_reset(s);
    assert_int_equal(pick(s, just_enough, 0), 3);
    md_sampler_free(s);
    a.dry_allowed_length = 3;
    s = new_sampler(&a, 7);
    for (int i = 0; i < 5; i++)
        md_sampler_accept(s, said[i]);
    assert_int_equal(pick(s, just_enough, 0), 3);
    md_sampler_free(s);
    tiny_free(y);
}

static void dry_equals_its_definition(void **state)
{
    (void)state;
    static const char *const breakers[][2] = {{":", "bab"}, {"aab", "c"}, {"b", "b"}};
    tiny *y = letters();
    uint64_t x = 5;
    for (int round = 0; round < 400; round++) {
        md_sampler_args a = off();
        a.temperature = 0;
        a.dry_multiplier = random_in(&x, 0.1f, 3.0f);
        a.dry_base = random_in(&x, 1.0f, 3.0f);
        a.dry_allowed_length = 1 + (int32_t)(tiny_random(&x) % 4);
        a.dry_penalty_last = 1 + (int32_t)(tiny_random(&x) % 60);
        a.n_dry_breaker = tiny_random(&x) % 3;
        a.dry_breaker = breakers[tiny_random(&x) % 3];
        a.tokenizer = y->t;
        md_sampler *s = new_sampler(&a, 7);
        int32_t past[200];
        const uint32_t kinds = 1 + tiny_random(&x) % 7;
        for (int32_t n = 0; n < 150; n++) {
            float logits[7];
            double l[7];
            for (int i = 0; i < 7; i++)
                l[i] = (double)(logits[i] = random_in(&x, -2.0f, 2.0f));
            if (n > 0)
                plain_dry(&a, y->t, l, 7, past, n);
            int32_t best = 0;
            for (int i = 1; i < 7; i++)
                best = l[i] > l[best] ? i : best;
            if (pick(s, logits, n) != best)
                fail_msg("round %d after %d tokens", round, n);
            md_sampler_accept(s, past[n] = (int32_t)(tiny_random(&x) % kinds));
        }
        md_sampler_free(s);
    }
    tiny_free(y);
}

/* A million times the same token: linear, and the logit stays a number. */
static void dry_bears_long_repetitions(void **state)
{
    (void)state;
    md_sampler_args a = off();
    a.temperature = 0;
    a.dry_multiplier = 1000.0f;
    a.dry_base = 100.0f;
    a.dry_penalty_last = 100000;
    md_sampler *s = new_sampler(&a, 2);
    for (int i = 0; i < 250000; i++)
        md_sampler_accept(s, 0);
    const float logits[] = {1e6f, 0}, alone[] = {0, -INFINITY};
    assert_int_equal(pick(s, logits, 0), 1);
    assert_int_equal(pick(s, alone, 0), 0);
    md_sampler_free(s);
}

/* ---- mirostat ---- */

typedef struct ranked {
    double logit;
    int32_t id;
} ranked;

static int by_rank(const void *pa, const void *pb)
{
    const ranked *a = pa, *b = pb;
    return a->logit != b->logit ? (a->logit < b->logit ? 1 : -1) : (a->id > b->id) - (a->id < b->id);
}

/* One step with the C library's functions; moves *mu. */
static int32_t plain_mirostat(const md_sampler_args *a, const float *logits, int32_t n, int32_t pos, double *mu)
{
    ranked *r = calloc((size_t)n, sizeof *r);
    double *p = calloc((size_t)n, sizeof *p), total = 0, sum = 0, numerator = 0, denominator = 0;
    const double t = (double)a->temperature;
    assert_true(r && p);
    for (int32_t i = 0; i < n; i++)
        r[i] = (ranked){.logit = (double)logits[i], .id = i};
    qsort(r, (size_t)n, sizeof *r, by_rank);
    for (int32_t i = 0; i < n; i++)
        total += p[i] = exp((r[i].logit - r[0].logit) / t);
    for (int32_t i = 0; i < n; i++)
        p[i] /= total;
    int32_t keep = 0;
    if (a->mirostat == 1) {
        for (int32_t i = 0; i + 1 < n && i < 99; i++) {
            const double x = log((i + 2.0) / (i + 1.0));
            numerator += x * log(p[i] / p[i + 1]);
            denominator += x * x;
        }
        const double s = numerator / denominator, e = s - 1;
        const double k = pow(e * pow(2, *mu) / (1 - pow(n, -e)), 1 / s);
        keep = k + 1 < n ? (int32_t)nearbyint(k) + 1 : n;
    } else {
        while (keep < n && -log2(p[keep]) <= *mu)
            keep++;
        keep = keep ? keep : 1;
    }
    double kept = 0;
    for (int32_t i = 0; i < keep; i++)
        kept += p[i];
    const double target = (double)md_rand_uniform(a->seed, a->choice, (uint64_t)pos) * kept;
    int32_t i = 0;
    for (; i + 1 < keep && (sum += p[i]) <= target; i++)
        ;
    *mu -= (double)a->mirostat_eta * (-log2(p[i]) - (double)a->mirostat_tau);
    const int32_t id = r[i].id;
    free(r);
    free(p);
    return id;
}

/* Zipf's law, a little shaken so that no two are equal. */
static void zipf(uint64_t *x, float *logits, int32_t n, double exponent)
{
    for (int32_t i = 0; i < n; i++)
        logits[i] = (float)(-exponent * log(1.0 + (i * 7919) % n)) + random_in(x, -0.3f, 0.3f);
}

static void mirostat_equals_its_definition(void **state)
{
    (void)state;
    enum { N = 2003 };
    static float logits[N];
    uint64_t x = 11;
    for (int32_t version = 1; version <= 2; version++)
        for (int round = 0; round < 12; round++) {
            md_sampler_args a = off();
            a.mirostat = version;
            a.mirostat_tau = random_in(&x, 0.5f, 7.0f);
            a.mirostat_eta = random_in(&x, 0.05f, 1.0f);
            a.temperature = random_in(&x, 0.6f, 1.4f);
            a.seed = (uint64_t)round;
            a.top_k = 1; /* other filters do not count */
            md_sampler *s = new_sampler(&a, N);
            double mu = 2 * (double)a.mirostat_tau;
            for (int32_t pos = 0; pos < 60; pos++) {
                zipf(&x, logits, N, (double)random_in(&x, 0.7f, 1.6f));
                const int32_t token = pick(s, logits, pos);
                assert_int_equal(pick(s, logits, pos), token); /* asking again changes nothing */
                assert_int_equal(token, plain_mirostat(&a, logits, N, pos, &mu));
                md_sampler_accept(s, token);
            }
            md_sampler_free(s);
        }
}

static void mirostat_holds_the_surprise(void **state)
{
    (void)state;
    enum { N = 5000 };
    static float logits[N];
    uint64_t x = 3;
    zipf(&x, logits, N, 1.1);
    double total = 0;
    for (int i = 0; i < N; i++)
        total += exp((double)logits[i]);
    for (int32_t version = 1; version <= 2; version++) {
        md_sampler_args a = off();
        a.mirostat = version;
        a.mirostat_tau = 4.0f;
        md_sampler *s = new_sampler(&a, N);
        double surprise = 0;
        for (int32_t pos = 0; pos < 2000; pos++) {
            const int32_t token = pick(s, logits, pos);
            surprise -= log2(exp((double)logits[token]) / total) / 2000;
            md_sampler_accept(s, token);
        }
        assert_true(fabs(surprise - 4.0) < 0.15);
        md_sampler_free(s);
    }
    /* Extremes: one token, equal ones, and a vocabulary of one. */
    for (int32_t version = 1; version <= 2; version++) {
        md_sampler_args a = off();
        a.mirostat = version;
        const float one[] = {-INFINITY, 2, -INFINITY}, equal[] = {1, 1, 1}, wide[] = {1e38f, -1e38f, 0};
        md_sampler *s = new_sampler(&a, 3), *tiny_one = new_sampler(&a, 1);
        for (int32_t pos = 0; pos < 3000; pos++) {
            assert_int_equal(pick(s, one, pos), 1);
            md_sampler_accept(s, 1); /* no surprise at all: what is allowed grows and grows */
        }
        assert_in_range(pick(s, equal, 0), 0, 2);
        assert_int_equal(pick(s, wide, 0), 0);
        assert_int_equal(pick(tiny_one, equal, 0), 0);
        md_sampler_free(s);
        md_sampler_free(tiny_one);
    }
}

/* ---- masks ---- */

static void a_mask_is_as_good_as_forbidden_logits(void **state)
{
    (void)state;
    enum { N = 77 };
    uint64_t x = 21;
    for (int round = 0; round < 300; round++) {
        md_sampler_args a = off();
        a.seed = (uint64_t)round;
        a.temperature = round % 4 ? 0.9f : 0.0f;
        a.top_k = (int32_t)(tiny_random(&x) % 20);
        a.top_n_sigma = tiny_random(&x) % 2 ? 1.5f : 0.0f;
        a.mirostat = (int32_t)(tiny_random(&x) % 3);
        md_sampler *s = new_sampler(&a, N);
        float logits[N], forbidden[N];
        uint32_t mask[(N + 31) / 32] = {0};
        const int32_t sure = (int32_t)(tiny_random(&x) % N);
        for (int32_t i = 0; i < N; i++) {
            const bool may = i == sure || tiny_random(&x) % 4 == 0;
            logits[i] = random_in(&x, -4, 4);
            forbidden[i] = may ? logits[i] : -INFINITY;
            mask[i / 32] |= (uint32_t)may << (i % 32);
        }
        const int32_t token = pick_masked(s, logits, mask, round);
        assert_true(mask[token / 32] >> (token % 32) & 1);
        assert_int_equal(token, pick(s, forbidden, round));
        md_sampler_free(s);
    }
    const md_logit_bias never = {.token = 1, .bias = -INFINITY};
    md_sampler_args a = off();
    a.bias = &never;
    a.n_bias = 1;
    md_sampler *s = new_sampler(&a, 3);
    const uint32_t only_one = 2;
    const float logits[] = {0, 0, 0};
    int32_t token;
    md_error err;
    assert_int_equal(md_sample_masked(s, logits, &only_one, 9, &token, &err), MD_ERR_ARGUMENT);
    assert_int_equal(token, -1);
    assert_non_null(strstr(err.message, "model or the grammar allows after position 9"));
    md_sampler_free(s);
}

static void senseless_arguments_are_refused(void **state)
{
    (void)state;
    static const char *const empty[] = {""};
    static char long_text[80];
    static const char *const too_long[] = {long_text};
    memset(long_text, 'x', 70);
    md_sampler_args a[16];
    const char *says[16];
    int n = 0;
#define CASE(field, value, words) \
    a[n] = off();                 \
    a[n].dry_multiplier = 1;      \
    a[n].field = (value);         \
    says[n++] = words
    CASE(dry_multiplier, -1.0f, "multiplier of DRY is -1");
    CASE(dry_base, 0.5f, "base of DRY is 0.5");
    CASE(dry_allowed_length, 0, "allowed length of DRY is 0");
    CASE(dry_penalty_last, 1048577, "look at 1048577 tokens");
    CASE(n_dry_breaker, 17, "at most 16");
    CASE(n_dry_breaker, 1, "a tokenizer");
    CASE(top_n_sigma, NAN, "top-n-sigma is");
    CASE(xtc_probability, 1.5f, "probability of XTC is 1.5");
    CASE(mirostat, 3, "mirostat is 3");
#undef CASE
    for (int i = 0; i < n; i++) {
        md_sampler *s = (md_sampler *)&s;
        md_error err = {0};
        assert_int_equal(md_sampler_new(&a[i], 10, &s, &err), MD_ERR_ARGUMENT);
        assert_null(s);
        if (!strstr(err.message, says[i]))
            fail_msg("case %d: '%s' lacks '%s'", i, err.message, says[i]);
    }
    tiny *y = letters();
    md_sampler_args b = off();
    md_sampler *s;
    b.dry_multiplier = 1;
    b.tokenizer = y->t;
    b.n_dry_breaker = 1;
    b.dry_breaker = empty;
    assert_int_equal(md_sampler_new(&b, 7, &s, NULL), MD_ERR_ARGUMENT);
    b.dry_breaker = too_long;
    assert_int_equal(md_sampler_new(&b, 7, &s, NULL), MD_ERR_ARGUMENT);
    b = off();
    b.xtc_probability = 0.5f;
    b.xtc_threshold = 0;
    assert_int_equal(md_sampler_new(&b, 7, &s, NULL), MD_ERR_ARGUMENT);
    b = off();
    b.mirostat = 1;
    b.mirostat_tau = -1;
    assert_int_equal(md_sampler_new(&b, 7, &s, NULL), MD_ERR_ARGUMENT);
    b.mirostat_tau = 1;
    b.mirostat_eta = INFINITY;
    assert_int_equal(md_sampler_new(&b, 7, &s, NULL), MD_ERR_ARGUMENT);
    tiny_free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(top_n_sigma_keeps_what_is_near_the_largest),
        cmocka_unit_test(xtc_leaves_out_the_likeliest_as_often_as_asked),
        cmocka_unit_test(dry_penalises_what_would_carry_on_a_repetition),
        cmocka_unit_test(dry_equals_its_definition),
        cmocka_unit_test(dry_bears_long_repetitions),
        cmocka_unit_test(mirostat_equals_its_definition),
        cmocka_unit_test(mirostat_holds_the_surprise),
        cmocka_unit_test(a_mask_is_as_good_as_forbidden_logits),
        cmocka_unit_test(senseless_arguments_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
