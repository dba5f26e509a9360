/* SPDX-License-Identifier: Apache-2.0
 *
 * Mamba-2 (Dao & Gu 2024; docs/numerics.md, section 11), row by row in its recurrent form: a head's state fades, takes in its
 * values times a step, and is read. The row by row form gives the same bits however a text is cut. */
#include "model/step_recurrent.h"

#include <string.h>

/* One head of one sequence. `in` has gates, what was convolved (values, then the groups' B, then C), and a number a head. */
static void mamba_head(const md_recurrent_job *j, int64_t q, int32_t head)
{
    const md_session *s = j->s;
    const md_recurrent_spec *r = j->r;
    const md_kern *kern = s->ops.kern;
    const md_seq *seq = s->s.row[s->s.first_row[q]].seq;
    const int64_t dk = r->dim_k, dv = r->dim_v, values = r->n_v_head * dv, at = r->state_at + head * dk * dv;
    const int32_t group = head / (r->n_v_head / r->n_k_head);
    float *state = seq->next_state + at;
    memcpy(state, seq->state + at, (size_t)(dk * dv) * sizeof *state);
    for (int32_t i = s->s.first_row[q]; i >= 0; i = s->s.row[i].next) {
        const float *row = s->s.conv + (int64_t)i * r->n_conv;
        float *in = s->s.conv_in + i * r->in.rows, *gate = in + head * dv, *out = s->s.mixed + i * values + head * dv;
        float step = in[values + r->n_conv + head] + r->dt_bias[head];
        kern->softplus(&step, 1);
        float decay = step * r->a[head];
        kern->exp(&decay, 1);
        const md_ssd d = {.state = state,
                          .x = row + head * dv,
                          .b = row + values + group * dk,
                          .c = row + values + (r->n_k_head + group) * dk,
                          .decay = decay,
                          .step = step,
                          .d = r->d[head],
                          .dim_k = (int)dk,
                          .dim_v = (int)dv,
                          .out = out};
        kern->ssd(&d);
        kern->silu(gate, dv);
        kern->mul_into(out, gate, dv);
    }
}

static void mamba_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const md_recurrent_job *j = ctx;
    for (int64_t item = first; item < last; item++)
        mamba_head(j, item / j->r->n_v_head, (int32_t)(item % j->r->n_v_head));
}

/* The norm of each group's values. */
static void norm_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const md_recurrent_job *j = ctx;
    const md_recurrent_spec *r = j->r;
    const int64_t n = (int64_t)r->n_v_head * r->dim_v / r->n_k_head;
    for (int64_t i = first; i < last; i++)
        for (int32_t g = 0; g < r->n_k_head; g++) {
            md_norm one = r->out_norm;
            one.w += g * n;
            float *x = j->s->s.mixed + (i * r->n_k_head + g) * n;
            md_norm_row(j->s->ops.kern, &one, x, x, n);
        }
}

void md_step_mamba(md_session *s, const md_recurrent_spec *r)
{
    const int64_t values = (int64_t)r->n_v_head * r->dim_v;
    md_recurrent_job j = {.s = s, .r = r, .x = s->s.conv_in + values, .x_stride = r->in.rows, .silu = true};
    md_matmul(&s->ops, &r->in, &s->s.in, s->s.conv_in, r->in.rows);
    md_step_convolve(&j);
    md_pool_run(s->pool, (int64_t)s->n_active * r->n_v_head, 1, mamba_items, &j);
    md_pool_run(s->pool, s->n_rows, 2, norm_items, &j);
    md_rows_set(&s->s.mid, s->s.mixed, s->n_rows, r->out.cols);
    md_matmul(&s->ops, &r->out, &s->s.mid, s->s.y, s->model->spec.n_embd);
}
