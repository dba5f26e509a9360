/* SPDX-License-Identifier: Apache-2.0
 *
 * docs/numerics.md, sections 1 and 2, word for word and value by value: the second implementation that kernels are held
 * against. Slow and obvious on purpose; shares nothing with src/kern. */
#ifndef MD_TEST_CHECKKERN_DEFINITION_H
#define MD_TEST_CHECKKERN_DEFINITION_H

#include "base/mathd.h"

#include <math.h>
#include <stdint.h>

/* The fixed tree over sixteen lanes. */
static inline float tree_by_definition(float lane[16])
{
    for (int w = 8; w >= 1; w /= 2)
        for (int l = 0; l < w; l++)
            lane[l] = lane[l] + lane[l + w];
    return lane[0];
}

static inline float sum16_by_definition(const float *x, int64_t n)
{
    float lane[16] = {0};
    for (int64_t i = 0; i < n; i++)
        lane[i % 16] = lane[i % 16] + x[i];
    return tree_by_definition(lane);
}

static inline float dot16_by_definition(const float *a, const float *b, int64_t n)
{
    float lane[16] = {0};
    for (int64_t i = 0; i < n; i++)
        lane[i % 16] = fmaf(a[i], b[i], lane[i % 16]);
    return tree_by_definition(lane);
}

static inline float chain_by_definition(const float *a, const float *b, int64_t n)
{
    float s = 0.0f;
    for (int64_t i = 0; i < n; i++)
        s = fmaf(a[i], b[i], s);
    return s;
}

static inline float exp_by_definition(float x)
{
    static const float coefficient[] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                                        4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
    if (isnan(x))
        return x;
    x = fminf(fmaxf(x, -104.0f), 89.0f);
    const float t = fmaf(x, 0x1.715476p+0f, 0x1.8p23f), n = t - 0x1.8p23f;
    const float high = fmaf(n, -0x1.62e400p-1f, x), r = fmaf(n, -0x1.7f7d1cp-20f, high);
    float p = coefficient[0];
    for (int i = 1; i < 6; i++)
        p = fmaf(p, r, coefficient[i]);
    const float y = fmaf(p, r * r, r) + 1.0f;
    const int h = (int)floorf(n / 2.0f);
    return ldexpf(ldexpf(y, h), (int)n - h);
}

static inline float sigmoid_by_definition(float x)
{
    return 1.0f / (1.0f + exp_by_definition(-x));
}

/* In double, whose exp and log are those of the rope angles. */
static inline float softplus_by_definition(float x)
{
    return x <= 20.0f ? (float)md_log_d(1.0 + md_exp_d((double)x)) : x;
}

static inline float silu_by_definition(float x)
{
    return x / (1.0f + exp_by_definition(-x));
}

#endif
