/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"

#include "base/mathd.h"

#include <math.h>

md_rand4 md_philox(uint64_t key, uint64_t counter_low, uint64_t counter_high)
{
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    uint32_t x0 = (uint32_t)counter_low, x1 = (uint32_t)(counter_low >> 32);
    uint32_t x2 = (uint32_t)counter_high, x3 = (uint32_t)(counter_high >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * x0, p1 = (uint64_t)0xCD9E8D57u * x2;
        const uint32_t y0 = (uint32_t)(p1 >> 32) ^ x1 ^ k0, y2 = (uint32_t)(p0 >> 32) ^ x3 ^ k1;
        x0 = y0;
        x1 = (uint32_t)p1;
        x2 = y2;
        x3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return (md_rand4){{x0, x1, x2, x3}};
}

float md_rand_uniform(uint64_t seed, uint64_t stream, uint64_t counter)
{
    const md_rand4 r = md_philox(seed, counter, stream);
    return (float)(r.v[0] >> 8) * 0x1p-24f;
}

float md_rand_normal(uint64_t seed, uint64_t stream, uint64_t counter)
{
    const md_rand4 r = md_philox(seed, counter >> 1, stream);
    /* (0, 1]: the logarithm stays finite */
    const double u = ((double)(r.v[0] >> 8) + 1.0) * 0x1p-24, turn = (double)r.v[1] * 0x1p-32;
    double sn, cs;
    md_sincos_d(turn * 6.283185307179586477, &sn, &cs);
    const double radius = sqrt(-2.0 * md_log_d(u));
    return (float)(radius * (counter & 1 ? sn : cs));
}

uint64_t md_rand_stream(const char *name)
{
    uint64_t h = 0xcbf29ce484222325ull;
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 0x100000001b3ull;
    return h;
}
