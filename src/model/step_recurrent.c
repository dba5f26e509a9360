/* SPDX-License-Identifier: Apache-2.0
 *
 * Mixers that carry a state (docs/numerics.md, section 11): the convolution they share, and the gated short convolution,
 * which is nothing else. A state is written beside the old one and takes its place when the step is done, so that a step
 * that is given up leaves no trace. */
#include "model/step_recurrent.h"

#include <string.h>

/* Channels of an item: they do not meet, so any cut gives the same bits. */
#define SLICE 256

/* Rows of one sequence in order, channels [from, from + n). */
static void convolve(const md_recurrent_job *j, int64_t q, int64_t from, int64_t n)
{
    const md_session *s = j->s;
    const md_recurrent_spec *r = j->r;
    const md_kern *kern = s->ops.kern;
    const md_seq *seq = s->s.row[s->s.first_row[q]].seq;
    const int32_t past = r->kernel - 1;
    const int64_t at = r->conv_at + from;
    const float *tap[MD_CONV_TAPS];
    for (int32_t t = 0; t < past; t++)
        tap[t] = seq->state + at + (int64_t)t * r->n_conv;
    for (int32_t i = s->s.first_row[q]; i >= 0; i = s->s.row[i].next) {
        tap[past] = j->x + i * j->x_stride + from;
        float *out = s->s.conv + (int64_t)i * r->n_conv + from;
        kern->conv(&(md_conv){.x = tap,
                              .w = r->conv + from,
                              .ld_w = r->n_conv,
                              .bias = r->conv_bias ? r->conv_bias + from : NULL,
                              .y = out,
                              .n = n,
                              .taps = r->kernel});
        if (j->silu)
            kern->silu(out, n);
        memmove(tap, tap + 1, (size_t)past * sizeof *tap);
    }
    for (int32_t t = 0; t < past; t++)
        memcpy(seq->next_state + at + (int64_t)t * r->n_conv, tap[t], (size_t)n * sizeof(float));
}

static void convolve_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const md_recurrent_job *j = ctx;
    const int64_t n = j->r->n_conv, slices = (n + SLICE - 1) / SLICE;
    for (int64_t item = first; item < last; item++) {
        const int64_t from = item % slices * SLICE;
        convolve(j, item / slices, from, n - from < SLICE ? n - from : SLICE);
    }
}

void md_step_convolve(const md_recurrent_job *j)
{
    md_recurrent_job job = *j;
    const int64_t slices = (j->r->n_conv + SLICE - 1) / SLICE;
    md_pool_run(j->s->pool, j->s->n_active * slices, 1, convolve_items, &job);
}

/* ---- the gated short convolution ---- */

/* Rows (gates in, gates out, values): values times gates in. */
static void gate_in_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const md_recurrent_job *j = ctx;
    const int64_t n = j->r->n_conv;
    for (int64_t i = first; i < last; i++) {
        const float *row = j->s->s.conv_in + i * 3 * n;
        float *out = j->s->s.mixed + i * n;
        memcpy(out, row, (size_t)n * sizeof *out);
        j->s->ops.kern->mul_into(out, row + 2 * n, n);
    }
}

static void gate_out_items(void *ctx, int64_t first, int64_t last, int thread)
{
    (void)thread;
    const md_recurrent_job *j = ctx;
    const int64_t n = j->r->n_conv;
    for (int64_t i = first; i < last; i++)
        j->s->ops.kern->mul_into(j->s->s.conv + i * n, j->s->s.conv_in + i * 3 * n + n, n);
}

static void short_conv(md_session *s, const md_recurrent_spec *r)
{
    md_recurrent_job j = {.s = s, .r = r, .x = s->s.mixed, .x_stride = r->n_conv};
    md_matmul(&s->ops, &r->in, &s->s.in, s->s.conv_in, r->in.rows);
    md_pool_run(s->pool, s->n_rows, 2, gate_in_items, &j);
    md_step_convolve(&j);
    md_pool_run(s->pool, s->n_rows, 2, gate_out_items, &j);
    md_rows_set(&s->s.mid, s->s.conv, s->n_rows, r->out.cols);
    md_matmul(&s->ops, &r->out, &s->s.mid, s->s.y, s->model->spec.n_embd);
}

void md_step_recurrent(md_session *s, const md_recurrent_spec *r)
{
    md_rows_set(&s->s.in, s->s.h, s->n_rows, s->model->spec.n_embd);
    if (r->mixer == MD_MIXER_DELTA)
        md_step_delta(s, r);
    else if (r->mixer == MD_MIXER_MAMBA)
        md_step_mamba(s, r);
    else
        short_conv(s, r);
}
