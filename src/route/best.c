/* SPDX-License-Identifier: Apache-2.0 */
#include "route/best.h"

static bool better(const md_best *b, int32_t item, int32_t than)
{
    return md_better(b->x[item * b->stride], item, b->x[than * b->stride], than);
}

static void exchange(int32_t *a, int32_t *b)
{
    const int32_t c = *a;
    *a = *b;
    *b = c;
}

static void rise(md_best *b, int32_t at)
{
    for (; at > 0 && better(b, b->item[(at - 1) / 2], b->item[at]); at = (at - 1) / 2)
        exchange(&b->item[at], &b->item[(at - 1) / 2]);
}

static void sink(md_best *b)
{
    for (int32_t at = 0;;) {
        int32_t worst = at;
        for (int32_t child = 2 * at + 1; child <= 2 * at + 2 && child < b->n; child++)
            if (better(b, b->item[worst], b->item[child]))
                worst = child;
        if (worst == at)
            return;
        exchange(&b->item[at], &b->item[worst]);
        at = worst;
    }
}

int32_t md_best_push(md_best *b, int32_t item)
{
    if (b->n < b->most) {
        b->item[b->n] = item;
        rise(b, b->n++);
        return -1;
    }
    if (!better(b, item, b->item[0]))
        return item;
    const int32_t out = b->item[0];
    b->item[0] = item;
    sink(b);
    return out;
}
