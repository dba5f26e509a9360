/* SPDX-License-Identifier: Apache-2.0
 *
 * Gated delta nets (Yang et al. 2024; docs/numerics.md, section 11), row by row: a head's state fades, and learns the part of
 * a value that it did not give for its key. */
#include "model/step_recurrent.h"

#include <math.h>
#include <string.h>

/* `in` grouped by key head to one row of q, k, v and one of gates; beta and alpha paired by key head to all betas, all
 * alphas. */
static void ungroup_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const md_recurrent_job *j = ctx;
    const md_session *s = j->s;
    const md_recurrent_spec *r = j->r;
    const int64_t dk = r->dim_k, per = r->n_v_head / r->n_k_head, values = per * r->dim_v, group = 2 * dk + 2 * values;
    float number[2 * 4096];
    for (int64_t i = first; i < last; i++) {
        const float *in = s->s.conv_in + i * group * r->n_k_head;
        float *mixed = s->s.mixed + i * r->n_conv, *gates = s->s.gates + i * values * r->n_k_head;
        for (int64_t h = 0; r->grouped && h < r->n_k_head; h++, in += group) {
            memcpy(mixed + h * dk, in, (size_t)dk * sizeof *in);
            memcpy(mixed + (r->n_k_head + h) * dk, in + dk, (size_t)dk * sizeof *in);
            memcpy(mixed + 2 * r->n_k_head * dk + h * values, in + 2 * dk, (size_t)values * sizeof *in);
            memcpy(gates + h * values, in + 2 * dk + values, (size_t)values * sizeof *in);
        }
        float *numbers = s->s.numbers + i * 2 * r->n_v_head;
        if (!r->paired)
            continue;
        memcpy(number, numbers, 2 * (size_t)r->n_v_head * sizeof *number);
        for (int64_t v = 0; v < r->n_v_head; v++) {
            numbers[v] = number[v / per * 2 * per + v % per];
            numbers[r->n_v_head + v] = number[v / per * 2 * per + per + v % per];
        }
    }
}

/* x / sqrt(sum of squares + eps), times a. */
static void unit(const md_kern *kern, const float *x, float *y, int64_t n, float eps, float a)
{
    const float r = a / sqrtf(kern->dot16(x, x, n) + eps);
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] * r;
}

/* One value head of one sequence, row by row. */
static void delta_head(const md_recurrent_job *j, int64_t q, int32_t v, float *work)
{
    const md_session *s = j->s;
    const md_recurrent_spec *r = j->r;
    const md_kern *kern = s->ops.kern;
    const md_seq *seq = s->s.row[s->s.first_row[q]].seq;
    const int64_t dk = r->dim_k, dv = r->dim_v, at = r->state_at + v * dk * dv;
    const int32_t key = r->head_repeats ? v % r->n_k_head : v / (r->n_v_head / r->n_k_head);
    const int64_t stride = s->model->spec.max.recurrent_dim;
    float *state = seq->next_state + at;
    memcpy(state, seq->state + at, (size_t)(dk * dv) * sizeof *state);
    for (int32_t i = s->s.first_row[q]; i >= 0; i = s->s.row[i].next) {
        const float *row = s->s.conv + (int64_t)i * r->n_conv;
        const float *numbers = s->s.numbers + (int64_t)i * 2 * r->n_v_head;
        float beta = numbers[v], decay = numbers[r->n_v_head + v] + r->dt_bias[v];
        kern->sigmoid(&beta, 1);
        kern->softplus(&decay, 1);
        decay *= r->a[v];
        kern->exp(&decay, 1);
        unit(kern, row + key * dk, work, dk, r->eps, 1.0f / sqrtf((float)dk));
        unit(kern, row + (r->n_k_head + key) * dk, work + stride, dk, r->eps, 1.0f);
        float *out = s->s.mixed + (int64_t)i * r->n_v_head * dv + v * dv;
        const md_delta d = {.state = state,
                            .q = work,
                            .k = work + stride,
                            .v = row + 2 * r->n_k_head * dk + v * dv,
                            .decay = decay,
                            .beta = beta,
                            .dim_k = (int)dk,
                            .dim_v = (int)dv,
                            .work = work + 2 * stride,
                            .out = out};
        kern->delta(&d);
        md_norm_row(kern, &r->out_norm, out, out, dv);
        float *gate = s->s.gates + (int64_t)i * r->n_v_head * dv + v * dv;
        kern->silu(gate, dv);
        kern->mul_into(out, gate, dv);
    }
}

static void delta_items(void *ctx, int64_t first, int64_t last, int thread)
{
    const md_recurrent_job *j = ctx;
    float *work = j->s->s.recurrent + (int64_t)thread * 3 * j->s->model->spec.max.recurrent_dim;
    for (int64_t item = first; item < last; item++)
        delta_head(j, item / j->r->n_v_head, (int32_t)(item % j->r->n_v_head), work);
}

void md_step_delta(md_session *s, const md_recurrent_spec *r)
{
    md_recurrent_job j = {.s = s, .r = r, .x = s->s.mixed, .x_stride = r->n_conv, .silu = true};
    const int64_t numbers = 2 * (int64_t)r->n_v_head;
    const md_weight none = {0};
    const md_matmul_part part[] = {
        {.w = &r->in, .out = r->grouped ? s->s.conv_in : s->s.mixed, .ld = r->in.rows},
        {.w = r->grouped ? &none : &r->gate, .out = s->s.gates, .ld = r->gate.rows},
        {.w = &r->beta, .out = s->s.numbers, .ld = numbers},
        {.w = r->paired ? &none : &r->alpha, .out = s->s.numbers + r->n_v_head, .ld = numbers},
    };
    md_matmul_parts(&s->ops, part, sizeof part / sizeof *part, &s->s.in);
    if (r->grouped || r->paired)
        md_pool_run(s->pool, s->n_rows, 2, ungroup_items, &j);
    md_step_convolve(&j);
    md_pool_run(s->pool, (int64_t)s->n_active * r->n_v_head, 1, delta_items, &j);
    md_rows_set(&s->s.mid, s->s.mixed, s->n_rows, r->out.cols);
    md_matmul(&s->ops, &r->out, &s->s.mid, s->s.y, s->model->spec.n_embd);
}
