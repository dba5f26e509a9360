/* SPDX-License-Identifier: Apache-2.0
 *
 * The exponential by itself: its accuracy against double precision, its order and its special values. Rope: every table against
 * section 6 of docs/numerics.md bit for bit, and what turning means. */
#include "checkkern/check.h"

/* ---- exp by itself ---- */

static double ulps_off(float got, double exact)
{
    int e;
    frexp(exact, &e);
    return fabs((double)got - exact) / ldexp(1.0, (e - 24 > -149 ? e - 24 : -149));
}

/* The worst over all floats is 1.01 units. Uniform over the range, and denser where the polynomial changes pieces: at
 * odd multiples of ln(2)/2. */
static void exp_is_near_the_exact_one(void **state)
{
    enum { CHUNK = 4096, ROUNDS = 128 };
    const md_kern *kern = table_of(state);
    float x[CHUNK], y[CHUNK];
    double worst = 0, worst_subnormal = 0;
    for (int round = 0; round < ROUNDS; round++) {
        const float border = ((float)random_below(270) - 145.5f) * 0.693147181f;
        for (int i = 0; i < CHUNK; i++)
            x[i] = round % 2 ? random_unit() * 96.0f - 7.5f : border + random_unit() * 1e-3f;
        memcpy(y, x, sizeof y);
        kern->exp(y, CHUNK);
        for (int i = 0; i < CHUNK; i++) {
            if (!(x[i] > -104.0f && x[i] < 88.72f))
                continue;
            const double off = ulps_off(y[i], exp((double)x[i]));
            double *which = y[i] < FLT_MIN ? &worst_subnormal : &worst;
            *which = off > *which ? off : *which;
        }
    }
    print_message("%s exp: %.3f ulp, %.3f of the smallest unit below the normal range\n", kern->isa, worst,
                  worst_subnormal);
    assert_true(worst < 1.02);
    assert_true(worst_subnormal < 1.0);
}

/* From one float to the next the result may fall back by one unit, never more. */
static void exp_hardly_ever_falls(void **state)
{
    enum { CHUNK = 4096 };
    const md_kern *kern = table_of(state);
    float x[CHUNK], y[CHUNK];
    for (int round = 0; round < 100; round++) {
        x[0] = random_unit() * 96.0f - 7.5f;
        for (int i = 1; i < CHUNK; i++)
            x[i] = nextafterf(x[i - 1], INFINITY);
        memcpy(y, x, sizeof y);
        kern->exp(y, CHUNK);
        for (int i = 1; i < CHUNK; i++)
            assert_true(y[i] >= y[i - 1] || bits_of(y[i - 1]) - bits_of(y[i]) == 1);
    }
}

static void exp_of_special_values(void **state)
{
    const md_kern *kern = table_of(state);
    float x[] = {0.0f,  -0.0f, INFINITY, -INFINITY, NAN,   FLT_MAX,      -FLT_MAX,      88.7228317f, 88.73f,
                 89.0f, 1e5f,  -103.0f,  -104.0f,   -1e5f, FLT_TRUE_MIN, -FLT_TRUE_MIN, -88.0f};
    kern->exp(x, COUNT(x));
    assert_true(x[0] == 1.0f && x[1] == 1.0f && x[14] == 1.0f && x[15] == 1.0f);
    assert_true(x[2] == INFINITY && x[5] == INFINITY && x[8] == INFINITY && x[9] == INFINITY && x[10] == INFINITY);
    assert_true(bits_of(x[3]) == 0 && bits_of(x[6]) == 0 && bits_of(x[12]) == 0 && bits_of(x[13]) == 0);
    assert_true(isnan(x[4]));
    assert_true(x[7] < INFINITY && x[7] > 3.402e38f);
    assert_true(bits_of(x[11]) == 1); /* 2^-148.6 rounds to the smallest subnormal */
    assert_true(x[16] > 0.0f && x[16] < FLT_MIN);
}

/* ---- rope ---- */

static void rope_by_definition(const md_rope_args *a, float *x)
{
    for (int h = 0; h < a->n_heads; h++)
        for (int i = 0; i < a->n_rot / 2; i++) {
            float *head = x + h * a->head_dim;
            const int at_u = a->interleaved ? 2 * i : i, at_v = a->interleaved ? 2 * i + 1 : i + a->n_rot / 2;
            const float c = a->cs[2 * i], s = a->cs[2 * i + 1], u = head[at_u], v = head[at_v];
            head[at_u] = fmaf(u, c, -(v * s));
            head[at_v] = fmaf(u, s, v * c);
        }
}

static void rope_follows_the_definition(void **state)
{
    static const int shapes[][3] = {{2, 2, 1},   {64, 64, 3},   {64, 128, 2}, {6, 10, 5},
                                    {34, 40, 2}, {128, 128, 1}, {0, 8, 2}};
    const md_kern *kern = table_of(state);
    for (int i = 0; i < COUNT(shapes); i++)
        for (int f = 0; f < N_FILLS; f++)
            for (int interleaved = 0; interleaved < 2; interleaved++) {
                const int n = shapes[i][1] * shapes[i][2];
                const char *what = describe("%s rope %d of %d%s %s", kern->isa, shapes[i][0], shapes[i][1],
                                            interleaved ? " interleaved" : "", fill_names[f]);
                tight cs, x;
                md_rope_args a = {
                    .cs = tight_floats(&cs, shapes[i][0], random_below(4), random_below(2) ? FILL_UNIT : (fill)f),
                    .n_rot = shapes[i][0],
                    .head_dim = shapes[i][1],
                    .n_heads = shapes[i][2],
                    .interleaved = interleaved};
                tight_floats(&x, n, 0, (fill)f);
                guarded got = guarded_new((size_t)n * 4, (size_t)random_below(8) * 4);
                memcpy(got.data, x.data, (size_t)n * 4);
                kern->rope(&a, got.data);
                rope_by_definition(&a, x.data);
                expect_same_floats(x.data, got.data, n, what);
                guarded_done(&got, what);
                free(cs.base);
                free(x.base);
            }
}

/* Turning by an angle and back, and lengths kept. */
static void rope_turns(void **state)
{
    const md_kern *kern = table_of(state);
    for (int interleaved = 0; interleaved < 2; interleaved++) {
        float x[32], y[32], cs[32], back[32];
        fill_floats(x, 32, FILL_UNIT);
        for (int i = 0; i < 16; i++) {
            const float angle = random_unit() * 3.0f;
            cs[2 * i] = back[2 * i] = cosf(angle);
            cs[2 * i + 1] = sinf(angle);
            back[2 * i + 1] = -sinf(angle);
        }
        memcpy(y, x, sizeof y);
        kern->rope(&(md_rope_args){.cs = cs, .n_rot = 32, .head_dim = 32, .n_heads = 1, .interleaved = interleaved}, y);
        for (int i = 0; i < 16; i++) {
            const int u = interleaved ? 2 * i : i, v = interleaved ? 2 * i + 1 : i + 16;
            assert_true(fabsf(hypotf(y[u], y[v]) - hypotf(x[u], x[v])) < 1e-6f);
            assert_true(fabsf(x[u] * y[u] + x[v] * y[v] - cs[2 * i] * (x[u] * x[u] + x[v] * x[v])) < 1e-6f);
        }
        kern->rope(&(md_rope_args){.cs = back, .n_rot = 32, .head_dim = 32, .n_heads = 1, .interleaved = interleaved},
                   y);
        for (int i = 0; i < 32; i++)
            assert_true(fabsf(y[i] - x[i]) < 1e-6f);
    }
}

int main(void)
{
    seed_from_environment();
    const struct CMUnitTest tests[] = {
        EACH_TABLE(exp_is_near_the_exact_one),
        EACH_TABLE(exp_hardly_ever_falls),
        EACH_TABLE(exp_of_special_values),
        EACH_TABLE(rope_follows_the_definition),
        EACH_TABLE(rope_turns),
    };
    return cmocka_run_group_tests_name("checkkern exp rope", tests, NULL, NULL);
}
