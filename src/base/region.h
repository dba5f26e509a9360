/* SPDX-License-Identifier: Apache-2.0
 *
 * A large stretch of private memory for weights, in pages of 2 MiB where the system has them: a product reads through more
 * memory than the address caches reach with small pages. Zeroed; pages are taken when they are first written. */
#ifndef MD_BASE_REGION_H
#define MD_BASE_REGION_H

#include "base/pool.h"

#include <stddef.h>

#define MD_REGION_PAGE ((size_t)2 << 20)

typedef struct md_region {
    unsigned char *bytes; /* owned; NULL: none. A multiple of MD_REGION_PAGE */
    size_t n;             /* mapped, a multiple of it, too */
} md_region;

/* n > 0 bytes, rounded up to whole pages. */
md_status md_region_new(size_t n, md_region *out, md_error *err) MD_MUST_USE;
/* Addresses without memory: what reads or writes there dies at once. */
md_status md_region_reserve(size_t n, md_region *out, md_error *err) MD_MUST_USE;
/* Takes the pages of a new region now, by all threads of the pool. What the system does not give now it gives, or not, when it is
 * first written. */
void md_region_take(const md_region *r, md_pool *pool);
void md_region_free(md_region *r); /* one without bytes allowed */

#endif
