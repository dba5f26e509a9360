/* SPDX-License-Identifier: Apache-2.0
 *
 * What the reference kernels share: the two reductions and the exponential of docs/numerics.md, and the names. These
 * sources are plain C and are compiled once for every machine ("scalar") and once more, unchanged, with the flags of each
 * instruction set whose hand-written kernels are not there; contraction is off, so the bits are equal. */
#ifndef MD_KERN_REF_REF_H
#define MD_KERN_REF_REF_H

#include "dtype/half.h"
#include "kern/kern.h"

#include <math.h>

/* MD_K(name): the function's name in this compilation, e.g. md_scalar_rope. MD_KERN_ISA comes from the build. */
#define MD_K_PASTE(isa, name)  md_##isa##_##name
#define MD_K_EXPAND(isa, name) MD_K_PASTE(isa, name)
#define MD_K(name)             MD_K_EXPAND(MD_KERN_ISA, name)
#define MD_K_STRING_(x)        #x
#define MD_K_STRING(x)         MD_K_STRING_(x)

#define MD_LANES 16

static inline float md_tree16(float lane[MD_LANES])
{
    for (int w = MD_LANES / 2; w >= 1; w /= 2)
        for (int l = 0; l < w; l++)
            lane[l] += lane[l + w];
    return lane[0];
}

static inline float md_sum16(const float *x, int64_t n)
{
    float lane[MD_LANES] = {0};
    int64_t i = 0;
    for (; i + MD_LANES <= n; i += MD_LANES)
        for (int l = 0; l < MD_LANES; l++)
            lane[l] += x[i + l];
    for (int l = 0; i + l < n; l++)
        lane[l] += x[i + l];
    return md_tree16(lane);
}

/* Round to the nearest integer, ties to even, for |x| < 2^22. */
static inline float md_rint(float x)
{
    return (x + 0x1.8p23f) - 0x1.8p23f;
}

static inline float md_exp(float x)
{
    x = x < -104.0f ? -104.0f : x;
    x = x > 89.0f ? 89.0f : x;
    const float t = fmaf(x, 0x1.715476p+0f, 0x1.8p23f), n = t - 0x1.8p23f;
    float r = fmaf(n, -0x1.62e400p-1f, x);
    r = fmaf(n, -0x1.7f7d1cp-20f, r);
    float p = 1.9875691500e-4f;
    p = fmaf(p, r, 1.3981999507e-3f);
    p = fmaf(p, r, 8.3334519073e-3f);
    p = fmaf(p, r, 4.1665795894e-2f);
    p = fmaf(p, r, 1.6666665459e-1f);
    p = fmaf(p, r, 5.0000001201e-1f);
    const float y = fmaf(p, r * r, r) + 1.0f;
    /* The integer sits in the low bits of t. For a NaN it is nonsense, and the NaN in y wins. */
    const int32_t k = (int32_t)(md_float_to_bits(t) - 0x4b400000u), h = k >> 1;
    const float a = md_bits_to_float((uint32_t)(h + 127) << 23), b = md_bits_to_float((uint32_t)(k - h + 127) << 23);
    return (y * a) * b;
}

static inline float md_tanh(float x)
{
    return 1.0f - 2.0f / (md_exp(2.0f * x) + 1.0f);
}

static inline float md_sigmoid(float x)
{
    return 1.0f / (1.0f + md_exp(-x));
}

#endif
