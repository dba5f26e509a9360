/* SPDX-License-Identifier: Apache-2.0
 *
 * The order that every selection uses, and the best few of a stream under it: greater value first, then the lower index;
 * what is not a number comes last. The order is total, so what is kept does not depend on how it was looked at. */
#ifndef MD_ROUTE_BEST_H
#define MD_ROUTE_BEST_H

#include <stdbool.h>
#include <stdint.h>

/* Is a better than b? */
static inline bool md_better(float a, int32_t ia, float b, int32_t ib)
{
    if (a > b || (a == a && b != b))
        return true;
    return (a == b || (a != a && b != b)) && ia < ib;
}

/* Up to `most` items, a heap with the worst on top. Item i has the value x[i * stride]. */
typedef struct md_best {
    const float *x;
    int64_t stride;
    int32_t *item; /* (most) */
    int32_t n, most;
} md_best;

/* Takes an item in. Returns the one that is out in return: itself, the worst so far, or -1 while there is room. most > 0. */
int32_t md_best_push(md_best *b, int32_t item);

#endif
