/* SPDX-License-Identifier: Apache-2.0
 *
 * Steps of mixers with a state: every table against section 11 of docs/numerics.md bit for bit, on any data; and a run of
 * many steps against the same recurrence in double precision. */
#include "checkkern/check.h"
#include "checkkern/definition.h"

static const int shapes[][2] = {{1, 1}, {1, 9}, {7, 1}, {16, 16}, {16, 5}, {33, 17}, {64, 64}, {128, 64}, {24, 100}};

/* One step of one head. */
typedef struct step {
    int dim_k, dim_v;
    tight q, k, v;
    float decay, beta, d;
} step;

static step step_new(int shape, fill f)
{
    step s = {.dim_k = shapes[shape][0], .dim_v = shapes[shape][1]};
    tight_floats(&s.q, s.dim_k, random_below(4), f);
    tight_floats(&s.k, s.dim_k, random_below(4), f);
    tight_floats(&s.v, s.dim_v, random_below(4), f);
    s.decay = fill_one(f), s.beta = fill_one(f), s.d = fill_one(f);
    return s;
}

static void step_done(step *s)
{
    free(s->q.base);
    free(s->k.base);
    free(s->v.base);
}

/* ---- section 11, literally: column by column ---- */

static void delta_by_definition(const step *s, float *state, float *out)
{
    const float *q = s->q.data, *k = s->k.data, *v = s->v.data;
    for (int j = 0; j < s->dim_v; j++) {
        float given = 0.0f, read = 0.0f;
        for (int i = 0; i < s->dim_k; i++) {
            state[i * s->dim_v + j] = state[i * s->dim_v + j] * s->decay;
            given = fmaf(state[i * s->dim_v + j], k[i], given);
        }
        const float learned = (v[j] - given) * s->beta;
        for (int i = 0; i < s->dim_k; i++) {
            state[i * s->dim_v + j] = fmaf(k[i], learned, state[i * s->dim_v + j]);
            read = fmaf(state[i * s->dim_v + j], q[i], read);
        }
        out[j] = read;
    }
}

static void ssd_by_definition(const step *s, float *state, float *out)
{
    const float *c = s->q.data, *b = s->k.data, *x = s->v.data;
    for (int j = 0; j < s->dim_v; j++) {
        float read = 0.0f;
        for (int i = 0; i < s->dim_k; i++) {
            float *at = &state[i * s->dim_v + j];
            *at = fmaf(b[i] * s->beta, x[j], *at * s->decay);
            read = fmaf(*at, c[i], read);
        }
        out[j] = fmaf(s->d, x[j], read);
    }
}

/* ---- the kernels ---- */

static void delta_by_table(const md_kern *kern, const step *s, float *state, float *out)
{
    guarded work = guarded_new((size_t)s->dim_v * 4, (size_t)random_below(4) * 4);
    kern->delta(&(md_delta){.state = state,
                            .q = s->q.data,
                            .k = s->k.data,
                            .v = s->v.data,
                            .decay = s->decay,
                            .beta = s->beta,
                            .dim_k = s->dim_k,
                            .dim_v = s->dim_v,
                            .work = work.data,
                            .out = out});
    guarded_done(&work, "delta");
}

static void ssd_by_table(const md_kern *kern, const step *s, float *state, float *out)
{
    kern->ssd(&(md_ssd){.state = state,
                        .x = s->v.data,
                        .b = s->k.data,
                        .c = s->q.data,
                        .decay = s->decay,
                        .step = s->beta,
                        .d = s->d,
                        .dim_k = s->dim_k,
                        .dim_v = s->dim_v,
                        .out = out});
}

typedef struct rule {
    const char *name;
    void (*definition)(const step *s, float *state, float *out);
    void (*by_table)(const md_kern *kern, const step *s, float *state, float *out);
} rule;
static const rule rules[] = {{"delta", delta_by_definition, delta_by_table}, {"ssd", ssd_by_definition, ssd_by_table}};

static void check_step(const md_kern *kern, const rule *r, int shape, fill f)
{
    step s = step_new(shape, f);
    const size_t n = (size_t)(s.dim_k * s.dim_v);
    const char *what = describe("%s %s %d by %d %s", kern->isa, r->name, s.dim_k, s.dim_v, fill_names[f]);
    tight expected, scalar;
    float expected_out[128], scalar_out[128];
    tight_floats(&expected, (int64_t)n, 0, f);
    scalar = tight_copy(expected.data, n * 4, 0);
    guarded state = guarded_new(n * 4, (size_t)random_below(8) * 4);
    guarded out = guarded_new((size_t)s.dim_v * 4, (size_t)random_below(8) * 4);
    memcpy(state.data, expected.data, n * 4);
    r->definition(&s, expected.data, expected_out);
    r->by_table(scalar_table(), &s, scalar.data, scalar_out);
    r->by_table(kern, &s, state.data, out.data);
    expect_same_floats(expected_out, out.data, s.dim_v, what);
    expect_same_floats(scalar_out, out.data, s.dim_v, what);
    expect_same_floats(expected.data, state.data, (int64_t)n, what);
    expect_same_floats(scalar.data, state.data, (int64_t)n, what);
    guarded_done(&state, what);
    guarded_done(&out, what);
    free(expected.base);
    free(scalar.base);
    step_done(&s);
}

static void steps_follow_the_definition(void **state)
{
    const md_kern *kern = table_of(state);
    for (int r = 0; r < COUNT(rules); r++)
        for (int i = 0; i < COUNT(shapes); i++)
            for (int f = 0; f < N_FILLS; f++)
                for (int round = 0; round < 3; round++)
                    check_step(kern, &rules[r], i, (fill)f);
}

/* ---- many steps, in double ---- */

enum { DIM_K = 24, DIM_V = 20, STEPS = 300 };

static void delta_in_double(const step *s, double state[DIM_K][DIM_V], double *out)
{
    const float *q = s->q.data, *k = s->k.data, *v = s->v.data;
    for (int j = 0; j < DIM_V; j++) {
        double given = 0;
        for (int i = 0; i < DIM_K; i++)
            given += state[i][j] * s->decay * k[i];
        out[j] = 0;
        for (int i = 0; i < DIM_K; i++) {
            state[i][j] = state[i][j] * s->decay + (double)k[i] * (v[j] - given) * s->beta;
            out[j] += state[i][j] * q[i];
        }
    }
}

static void ssd_in_double(const step *s, double state[DIM_K][DIM_V], double *out)
{
    const float *c = s->q.data, *b = s->k.data, *x = s->v.data;
    for (int j = 0; j < DIM_V; j++) {
        out[j] = (double)s->d * x[j];
        for (int i = 0; i < DIM_K; i++) {
            state[i][j] = state[i][j] * s->decay + (double)s->beta * b[i] * x[j];
            out[j] += state[i][j] * c[i];
        }
    }
}

/* A step as mixers make it: keys of length one, so that the delta rule shrinks what it corrects; fading between 0.5 and 1. */
static step gentle_step(void)
{
    step s = {.dim_k = DIM_K, .dim_v = DIM_V};
    float *k = tight_floats(&s.k, DIM_K, 0, FILL_UNIT), length = 0.0f;
    tight_floats(&s.q, DIM_K, 0, FILL_UNIT);
    tight_floats(&s.v, DIM_V, 0, FILL_UNIT);
    for (int i = 0; i < DIM_K; i++)
        length += k[i] * k[i];
    for (int i = 0; i < DIM_K; i++)
        k[i] /= sqrtf(length);
    s.decay = 0.75f + 0.25f * random_unit();
    s.beta = 0.5f + 0.5f * random_unit();
    s.d = random_unit();
    return s;
}

/* Errors of one step are some units of a state of order one, and fade with it: by a quarter a step on average. */
static void many_steps_stay_near_the_exact_ones(void **state)
{
    const md_kern *kern = table_of(state);
    for (int r = 0; r < COUNT(rules); r++) {
        float single[DIM_K * DIM_V] = {0}, out[DIM_V];
        double exact[DIM_K][DIM_V] = {{0}}, exact_out[DIM_V];
        double worst = 0, largest = 0;
        for (int t = 0; t < STEPS; t++) {
            step s = gentle_step();
            rules[r].by_table(kern, &s, single, out);
            (r == 0 ? delta_in_double : ssd_in_double)(&s, exact, exact_out);
            for (int j = 0; j < DIM_V; j++) {
                worst = fmax(worst, fabs((double)out[j] - exact_out[j]));
                largest = fmax(largest, fabs(exact_out[j]));
            }
            step_done(&s);
        }
        assert_true(largest > 0.5); /* something was remembered */
        if (worst > 1e-5)
            fail_msg("%s %s: off by %g", kern->isa, rules[r].name, worst);
    }
}

/* What is read right after writing with beta 1 and no fading is the value: the key is of length one. */
static void delta_gives_back_what_it_learned(void **state)
{
    const md_kern *kern = table_of(state);
    float memory[DIM_K * DIM_V], out[DIM_V];
    fill_floats(memory, DIM_K * DIM_V, FILL_UNIT);
    step s = gentle_step();
    memcpy(s.q.data, s.k.data, DIM_K * sizeof(float));
    s.decay = s.beta = 1.0f;
    delta_by_table(kern, &s, memory, out);
    for (int j = 0; j < DIM_V; j++)
        assert_true(fabsf(out[j] - ((float *)s.v.data)[j]) < 1e-5f);
    step_done(&s);
}

/* ---- the convolution ---- */

static void conv_follows_the_definition(void **state)
{
    static const int channels[] = {0, 1, 3, 7, 8, 9, 16, 31, 64, 100};
    const md_kern *kern = table_of(state);
    for (int i = 0; i < COUNT(channels); i++)
        for (int taps = 1; taps <= 5; taps++)
            for (int f = 0; f < N_FILLS; f++) {
                const int n = channels[i];
                const bool with_bias = random_below(2);
                const char *what = describe("%s conv %d channels %d taps %s", kern->isa, n, taps, fill_names[f]);
                tight x[5], w, bias;
                const float *row[5];
                for (int t = 0; t < taps; t++)
                    row[t] = tight_floats(&x[t], n, random_below(4), (fill)f);
                const int ld = n + random_below(5);
                const float *weight = tight_floats(&w, (int64_t)ld * (taps - 1) + n, random_below(4), (fill)f);
                const float *b = tight_floats(&bias, n, random_below(4), (fill)f);
                guarded y = guarded_new((size_t)n * 4, (size_t)random_below(8) * 4);
                kern->conv(&(md_conv){.x = row,
                                      .w = weight,
                                      .ld_w = ld,
                                      .bias = with_bias ? b : NULL,
                                      .y = y.data,
                                      .n = n,
                                      .taps = taps});
                for (int c = 0; c < n; c++) {
                    float sum = 0.0f;
                    for (int t = 0; t < taps; t++)
                        sum = fmaf(row[t][c], weight[t * ld + c], sum);
                    const float expected = with_bias ? sum + b[c] : sum;
                    expect_same_floats(&expected, (float *)y.data + c, 1, what);
                }
                guarded_done(&y, what);
                for (int t = 0; t < taps; t++)
                    free(x[t].base);
                free(w.base);
                free(bias.base);
            }
}

int main(void)
{
    seed_from_environment();
    const struct CMUnitTest tests[] = {
        EACH_TABLE(steps_follow_the_definition),
        EACH_TABLE(many_steps_stay_near_the_exact_ones),
        EACH_TABLE(delta_gives_back_what_it_learned),
        EACH_TABLE(conv_follows_the_definition),
    };
    return cmocka_run_group_tests_name("checkkern recurrent", tests, NULL, NULL);
}
