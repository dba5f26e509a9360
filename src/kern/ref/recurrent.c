/* SPDX-License-Identifier: Apache-2.0
 *
 * Steps of mixers whose past is a state: the gated delta rule, the state space of Mamba-2, and the short convolution before
 * either (docs/numerics.md, section 11). Columns of a state are independent, so loops run along them. */
#include "kern/ref/recurrent.h"

static void delta(const md_delta *a)
{
    float *restrict mem = a->work, *restrict out = a->out;
    for (int j = 0; j < a->dim_v; j++) {
        mem[j] = 0.0f;
        out[j] = 0.0f;
    }
    for (int i = 0; i < a->dim_k; i++) {
        float *restrict s = a->state + (int64_t)i * a->dim_v;
        const float k = a->k[i];
        for (int j = 0; j < a->dim_v; j++) {
            s[j] *= a->decay;
            mem[j] = fmaf(s[j], k, mem[j]);
        }
    }
    for (int j = 0; j < a->dim_v; j++)
        mem[j] = (a->v[j] - mem[j]) * a->beta;
    for (int i = 0; i < a->dim_k; i++) {
        float *restrict s = a->state + (int64_t)i * a->dim_v;
        const float k = a->k[i], q = a->q[i];
        for (int j = 0; j < a->dim_v; j++) {
            s[j] = fmaf(k, mem[j], s[j]);
            out[j] = fmaf(s[j], q, out[j]);
        }
    }
}

static void ssd(const md_ssd *a)
{
    float *restrict out = a->out;
    const float *restrict x = a->x;
    for (int j = 0; j < a->dim_v; j++)
        out[j] = 0.0f;
    for (int i = 0; i < a->dim_k; i++) {
        float *restrict s = a->state + (int64_t)i * a->dim_v;
        const float b = a->b[i] * a->step, c = a->c[i];
        for (int j = 0; j < a->dim_v; j++) {
            s[j] = fmaf(b, x[j], s[j] * a->decay);
            out[j] = fmaf(s[j], c, out[j]);
        }
    }
    for (int j = 0; j < a->dim_v; j++)
        out[j] = fmaf(a->d, x[j], out[j]);
}

static void conv(const md_conv *a)
{
    float *restrict y = a->y;
    for (int64_t c = 0; c < a->n; c++)
        y[c] = 0.0f;
    for (int t = 0; t < a->taps; t++) {
        const float *restrict x = a->x[t], *restrict w = a->w + t * a->ld_w;
        for (int64_t c = 0; c < a->n; c++)
            y[c] = fmaf(x[c], w[c], y[c]);
    }
    if (a->bias)
        for (int64_t c = 0; c < a->n; c++)
            y[c] += a->bias[c];
}

void MD_K(recurrent_fill)(md_kern *k)
{
    k->delta = delta;
    k->ssd = ssd;
    k->conv = conv;
}
