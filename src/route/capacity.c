/* SPDX-License-Identifier: Apache-2.0
 *
 * Capacity limits at inference (He et al. 2025, "Capacity-Aware Inference"): no expert takes more than
 * C = ceil(factor * K * T / E) tokens. In generation the limit counts, in the order of positions, what the same sequence's
 * earlier tokens took within an absolute window, so that neither batch mates nor chunks matter; over a batch the tokens
 * with the greatest weights stay. */
#include "route/best.h"
#include "route/route.h"

#include <math.h>
#include <string.h>

int32_t md_capacity(float factor, int32_t top_k, int64_t n_rows, int32_t n_expert)
{
    const double c = ceil((double)factor * top_k * (double)n_rows / n_expert);
    return c >= INT32_MAX ? INT32_MAX : c > 1.0 ? (int32_t)c : 1;
}

void md_count_picks(const int32_t *expert, int64_t n, int32_t *count)
{
    for (int64_t i = 0; i < n; i++)
        if (expert[i] >= 0)
            count[expert[i]]++;
}

void md_capacity_mask(const md_router *r, const int32_t *taken, const uint8_t *mask, uint8_t *out)
{
    for (int32_t e = 0; e < r->n_expert; e++) {
        out[e] = mask ? mask[e] : MD_MASK_NORMAL;
        if (out[e] == MD_MASK_NORMAL && taken[e] >= r->capacity)
            out[e] = MD_MASK_FULL;
    }
}

static void close_gaps(int32_t *expert, float *weight, int32_t n_slots)
{
    int32_t n = 0;
    for (int32_t s = 0; s < n_slots; s++)
        if (expert[s] >= 0) {
            expert[n] = expert[s];
            weight[n++] = weight[s];
        }
    for (; n < n_slots; n++) {
        expert[n] = -1;
        weight[n] = 0.0f;
    }
}

void md_capacity_keep_best(int32_t *expert, float *weight, int32_t n_rows, int32_t n_slots, int32_t n_expert,
                           int32_t capacity, int32_t *work)
{
    int32_t *count = work;
    memset(count, 0, (size_t)n_expert * sizeof *count);
    md_count_picks(expert, (int64_t)n_rows * n_slots, count);
    for (int32_t e = 0; e < n_expert; e++) {
        if (count[e] <= capacity)
            continue;
        md_best best = {.x = weight, .stride = 1, .item = work + n_expert, .most = capacity};
        for (int32_t i = 0; i < n_rows * n_slots; i++)
            if (expert[i] == e) {
                const int32_t out = md_best_push(&best, i);
                if (out >= 0)
                    expert[out] = -1;
            }
    }
    for (int32_t t = 0; t < n_rows; t++)
        close_gaps(expert + (int64_t)t * n_slots, weight + (int64_t)t * n_slots, n_slots);
}
