/* SPDX-License-Identifier: Apache-2.0
 *
 * A counting sort of (row, slot) pairs by expert, then row: the order in which experts run their rows. */
#include "route/route.h"

#include <string.h>

static bool is_grouped(int32_t expert, int32_t n_expert)
{
    return expert >= 0 && expert < n_expert;
}

void md_group(const int32_t *expert, int32_t n_rows, int32_t top_k, int32_t n_expert, md_grouping *g)
{
    memset(g->first, 0, ((size_t)n_expert + 1) * sizeof *g->first);
    const int32_t n_pairs = n_rows * top_k;
    for (int32_t i = 0; i < n_pairs; i++)
        if (is_grouped(expert[i], n_expert))
            g->first[expert[i] + 1]++;
    g->n_active = 0;
    for (int32_t e = 0; e < n_expert; e++) {
        if (g->first[e + 1] > 0)
            g->active[g->n_active++] = e;
        g->first[e + 1] += g->first[e];
    }
    /* first[e] serves as the next free place of e while pairs are laid down, then moves back by one expert. */
    for (int32_t i = 0; i < n_pairs; i++) {
        g->slot[i] = -1;
        if (is_grouped(expert[i], n_expert)) {
            const int32_t at = g->first[expert[i]]++;
            g->row[at] = i / top_k;
            g->slot[i] = at;
        }
    }
    for (int32_t e = n_expert; e > 0; e--)
        g->first[e] = g->first[e - 1];
    g->first[0] = 0;
}
