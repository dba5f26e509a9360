/* SPDX-License-Identifier: Apache-2.0
 *
 * Experts choose tokens (Zhou et al. 2022, "Mixture-of-Experts with Expert Choice Routing"): S = softmax over experts of
 * X W, and expert e takes the C = T K / E tokens with the greatest S[:, e], whose outputs it adds with weight S[t, e]. Every
 * expert works equally much; a token may have many experts or none. The choice looks at all tokens, later ones too, so it
 * serves training and encoders; generation uses thresholds (MD_SELECT_THRESHOLD). The same selection with one "expert" keeps
 * tokens in a recursion (Bae et al. 2025, "Mixture-of-Recursions"). */
#include "route/best.h"
#include "route/route.h"

int32_t md_choice_capacity(int32_t top_k, int32_t n_rows, int32_t n_expert)
{
    const int64_t c = (int64_t)n_rows * top_k / n_expert;
    return c > n_rows ? n_rows : c > 1 ? (int32_t)c : 1;
}

/* Puts an expert into a token's slots, best first; the worst falls off the end. */
static void insert(int32_t *expert, float *weight, int32_t n_slots, int32_t e, float w)
{
    int32_t at = n_slots;
    while (at > 0 && (expert[at - 1] < 0 || md_better(w, e, weight[at - 1], expert[at - 1])))
        at--;
    if (at == n_slots)
        return;
    for (int32_t s = n_slots - 1; s > at; s--) {
        expert[s] = expert[s - 1];
        weight[s] = weight[s - 1];
    }
    expert[at] = e;
    weight[at] = w;
}

void md_choose_by_experts(const float *score, int32_t n_rows, int32_t n_expert, int32_t capacity, int32_t n_slots,
                          int32_t *work, int32_t *expert, float *weight)
{
    for (int64_t i = 0; i < (int64_t)n_rows * n_slots; i++) {
        expert[i] = -1;
        weight[i] = 0.0f;
    }
    for (int32_t e = 0; e < n_expert; e++) {
        md_best best = {.x = score + e, .stride = n_expert, .item = work, .most = capacity};
        for (int32_t t = 0; t < n_rows; t++)
            md_best_push(&best, t);
        for (int32_t i = 0; i < best.n; i++) {
            const int64_t at = (int64_t)work[i] * n_slots;
            insert(expert + at, weight + at, n_slots, e, score[(int64_t)work[i] * n_expert + e]);
        }
    }
}

void md_keep_best(const float *score, int32_t n_rows, int32_t keep, int32_t *work, uint8_t *active)
{
    md_best best = {.x = score, .stride = 1, .item = work, .most = keep};
    for (int32_t t = 0; t < n_rows; t++) {
        const int32_t out = !active[t] ? -1 : keep > 0 ? md_best_push(&best, t) : t;
        if (out >= 0)
            active[out] = 0;
    }
}
