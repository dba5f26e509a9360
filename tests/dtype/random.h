/* SPDX-License-Identifier: Apache-2.0
 *
 * Test data: splitmix64 from a fixed seed, and the comparison of floats as bits. */
#ifndef MD_TEST_DTYPE_RANDOM_H
#define MD_TEST_DTYPE_RANDOM_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t random_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline void random_bytes(uint64_t *state, uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(random_next(state) >> 56);
}

/* Uniform in -1..1. */
static inline float random_unit(uint64_t *state)
{
    return (float)((double)(random_next(state) >> 11) * 0x1p-52 - 1.0);
}

/* The same bits, or both NaN. */
static inline bool same_float(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

#endif
