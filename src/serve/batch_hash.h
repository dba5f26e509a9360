/* SPDX-License-Identifier: Apache-2.0
 *
 * A hash that is the same on every machine and in every release, against accidents, not against people (FNV-1a, 64 bits: Fowler, Noll and
 * Vo; RFC 9923 describes it). Pure. */
#ifndef MD_SERVE_BATCH_HASH_H
#define MD_SERVE_BATCH_HASH_H

#include <stddef.h>
#include <stdint.h>

#define MD_BATCH_HASH_START 0xcbf29ce484222325ull

static inline uint64_t md_batch_hash(uint64_t hash, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ p[i]) * 0x100000001b3ull;
    return hash;
}

#endif
