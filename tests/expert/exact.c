/* SPDX-License-Identifier: Apache-2.0
 *
 * The definition of an expert layer is near the same in double precision on decoded weights. That md_experts_run equals the definition
 * is tested in run.c. */
#include "expert_test.h"

static void matrix_exactly(const md_weight *w, const double *x, double *y)
{
    float *row = floats_new(w->cols, FILL_ZERO);
    for (int64_t r = 0; r < w->rows; r++) {
        md_type_decode(w->type, (const char *)w->data + (size_t)r * w->row_bytes, row, w->cols);
        y[r] = 0;
        for (int64_t i = 0; i < w->cols; i++)
            y[r] += (double)row[i] * x[i];
        y[r] = y[r] * (w->scale ? (double)*w->scale : 1.0) + (w->bias ? (double)w->bias[r] : 0.0);
    }
    free(row);
}

static double activate_exactly(const md_expert_job *j, double gate, double up)
{
    const double limit = j->limit > 0.0f ? (double)j->limit : 1e300, u = fmax(fmin(up, limit), -limit);
    if (j->act == MD_FFN_SILU)
        return fmin(gate / (1 + exp(-gate)), limit) * u;
    const double g = fmin(gate, limit);
    return g / (1 + exp(-(double)j->alpha * g)) * (u + 1);
}

static void token_exactly(const problem *p, int32_t t, double *y)
{
    double x[256], gate_up[512], hidden[256], out[256];
    for (int i = 0; i < 256; i++) {
        x[i] = (double)p->x[t * 256 + i];
        y[i] = 0;
    }
    for (int32_t s = 0; s < p->job.top_k; s++) {
        const int32_t e = p->pick[t * p->job.top_k + s];
        if (e < 0)
            continue;
        if (!p->fused)
            matrix_exactly(&p->expert[e].gate, x, gate_up);
        matrix_exactly(&p->expert[e].up, x, p->fused ? gate_up : gate_up + 256);
        for (int i = 0; i < 256; i++)
            hidden[i] = activate_exactly(&p->job, gate_up[i], gate_up[256 + i]);
        matrix_exactly(&p->expert[e].down, hidden, out);
        for (int i = 0; i < 256; i++)
            y[i] += (double)p->weight[t * p->job.top_k + s] * out[i];
    }
}

/* Sets the factor of a weight so that its products with values of the usual size are of the usual size. */
static void normalise(md_weight *w)
{
    if (!w->data)
        return;
    float *row = floats_new(w->cols, FILL_ZERO), *scale = floats_new(1, FILL_ZERO);
    double square = 0;
    for (int64_t r = 0; r < w->rows; r++) {
        md_type_decode(w->type, (const char *)w->data + (size_t)r * w->row_bytes, row, w->cols);
        for (int64_t i = 0; i < w->cols; i++)
            square += (double)row[i] * row[i];
    }
    *scale = (float)(1.0 / sqrt(square / (double)w->rows));
    free((void *)(uintptr_t)w->scale);
    w->scale = scale;
    free(row);
}

/* Codes of 8 bits are off by 1/254 of a block's largest value at most, by half a percent of the vector at the usual
 * spread; two products in a row, and gate times up, add that up. Floats have only roundings. */
static void check_nearness(problem *p, const kinds *k)
{
    double error = 0, size = 0;
    for (int32_t e = 0; e < N_EXPERTS; e++) {
        normalise(&p->expert[e].gate);
        normalise(&p->expert[e].up);
        normalise(&p->expert[e].down);
    }
    expect_by_definition(p);
    for (int32_t t = 0; t < p->t; t++) {
        double exact[256];
        token_exactly(p, t, exact);
        for (int i = 0; i < 256; i++) {
            error += pow((double)p->expected[t * 256 + i] - exact[i], 2);
            size += exact[i] * exact[i];
        }
    }
    const double bound = k->up == MD_TYPE_F32 ? 1e-6 : 0.04;
    if (!(sqrt(error) <= bound * sqrt(size)))
        fail_msg("%s: off by %g of %g", k->name, sqrt(error), sqrt(size));
}

static void experts_are_near_the_exact_ones(void **state)
{
    (void)state;
    each_problem(scalar_table(), usual, COUNT(usual), check_nearness);
}

int main(void)
{
    seed_from_environment();
    const struct CMUnitTest tests[] = {cmocka_unit_test(experts_are_near_the_exact_ones)};
    return cmocka_run_group_tests_name("experts in double precision", tests, NULL, NULL);
}
