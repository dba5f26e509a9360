/* SPDX-License-Identifier: Apache-2.0
 *
 * Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). A
 * number is a pure function of its key and counter, so results do not depend on order, threads or retries. */
#ifndef MD_BASE_RNG_H
#define MD_BASE_RNG_H

#include <stdint.h>

typedef struct md_rand4 {
    uint32_t v[4];
} md_rand4;

md_rand4 md_philox(uint64_t key, uint64_t counter_low, uint64_t counter_high);
/* Uniform in [0, 1) with 24 random bits: exact in float, never 1. */
float md_rand_uniform(uint64_t seed, uint64_t stream, uint64_t counter);
/* Standard normal number `counter` of a stream (Box and Muller 1958), from the engine's own log, sin and cos: the same
 * bits on every machine. */
float md_rand_normal(uint64_t seed, uint64_t stream, uint64_t counter);
/* A stream number from a name (FNV-1a). */
uint64_t md_rand_stream(const char *name);

#endif
