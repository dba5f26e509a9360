/* SPDX-License-Identifier: Apache-2.0
 *
 * The router of one token: score, select, weigh. Every order is total (greater score, then lower index; NaN last), so the
 * result depends on the inputs alone. No allocation; threads route different tokens at once. */
#include "route/route.h"

#include "base/mathd.h"
#include "route/best.h"

#include <math.h>

/* The best of choice[0..n) that is open, or -1. */
static int32_t best_of(const float *choice, const uint8_t *open, int32_t n)
{
    int32_t top = -1;
    for (int32_t i = 0; i < n; i++)
        if (open[i] && (top < 0 || md_better(choice[i], i, choice[top], top)))
            top = i;
    return top;
}

/* Closes the experts of every group but the best ones. */
static void limit_groups(const md_router *r, const float *choice, uint8_t *open, float *group)
{
    const int32_t size = r->n_expert / r->n_group;
    for (int32_t g = 0; g < r->n_group; g++) {
        float first = -INFINITY, second = -INFINITY;
        for (int32_t i = g * size; i < (g + 1) * size; i++) {
            if (!open[i])
                continue;
            if (choice[i] > first) {
                second = first;
                first = choice[i];
            } else if (choice[i] > second) {
                second = choice[i];
            }
        }
        group[g] = r->group_score == MD_GROUP_SUM2 && size > 1 ? first + second : first;
    }
    for (int32_t g = 0; g < r->n_group; g++) {
        int32_t ahead = 0;
        for (int32_t o = 0; o < r->n_group; o++)
            ahead += o != g && md_better(group[o], o, group[g], g);
        if (ahead >= r->n_group_kept)
            for (int32_t i = g * size; i < (g + 1) * size; i++)
                open[i] = 0;
    }
}

/* In groups that give equal picks: closes the group of an expert when it has given its share. */
static void close_full_group(const md_router *r, const int32_t *expert, int32_t n, uint8_t *open)
{
    const int32_t size = r->n_expert / r->n_group, group = expert[n - 1] / size;
    int32_t given = 0;
    for (int32_t s = 0; s < n; s++)
        given += expert[s] / size == group;
    if (given >= r->top_k / r->n_group)
        for (int32_t i = group * size; i < (group + 1) * size; i++)
            open[i] = 0;
}

/* Picks the best open experts into slots n and up until K are filled or none is left; returns how many are. One pass, the
 * slots kept in order: most experts lose to the last slot and cost one comparison. */
static int32_t pick_open(const md_router *r, const float *choice, const uint8_t *open, int32_t *expert, int32_t n)
{
    const int32_t first = n;
    for (int32_t i = 0; i < r->n_expert; i++) {
        if (!open[i] ||
            (n == r->top_k && (n == first || !md_better(choice[i], i, choice[expert[n - 1]], expert[n - 1]))))
            continue;
        int32_t at = n < r->top_k ? n++ : n - 1;
        for (; at > first && md_better(choice[i], i, choice[expert[at - 1]], expert[at - 1]); at--)
            expert[at] = expert[at - 1];
        expert[at] = i;
    }
    return n;
}

/* The same where groups give equal picks. */
static int32_t pick_equally(const md_router *r, const float *choice, uint8_t *open, int32_t *expert, int32_t n)
{
    for (int32_t s = 1; s <= n; s++)
        close_full_group(r, expert, s, open);
    for (int32_t i; n < r->top_k && (i = best_of(choice, open, r->n_expert)) >= 0;) {
        expert[n++] = i;
        open[i] = 0;
        close_full_group(r, expert, n, open);
    }
    return n;
}

/* Forced experts come first, best first; then groups are limited, and the rest is picked from what is left open. */
static int32_t pick(const md_router *r, const float *choice, const uint8_t *mask, float *work, int32_t *expert)
{
    const int32_t n_expert = r->n_expert;
    uint8_t *open = (uint8_t *)(work + n_expert); /* (E) bytes of the second (E) floats */
    int32_t n = 0;
    if (mask) {
        for (int32_t i = 0; i < n_expert; i++)
            open[i] = mask[i] == MD_MASK_FORCED;
        for (int32_t i; n < r->top_k && (i = best_of(choice, open, n_expert)) >= 0; n++) {
            expert[n] = i;
            open[i] = 0;
        }
    }
    const bool full_may = r->overflow == MD_OVERFLOW_DROP;
    for (int32_t i = 0; i < n_expert; i++)
        open[i] = !mask || mask[i] == MD_MASK_NORMAL || (full_may && mask[i] == MD_MASK_FULL);
    if (r->select == MD_SELECT_THRESHOLD)
        for (int32_t i = 0; i < n_expert; i++)
            open[i] &= choice[i] >= r->threshold[i];
    if (r->n_group > 1 && r->group_score == MD_GROUP_EQUAL)
        return pick_equally(r, choice, open, expert, n);
    if (r->n_group > 1)
        limit_groups(r, choice, open, work + 2 * n_expert);
    return pick_open(r, choice, open, expert, n);
}

/* Leaves out the picks that may not be: of experts that are off, and those that are full and kept their place until now. */
static int32_t strike(const uint8_t *mask, int32_t *expert, int32_t n)
{
    int32_t kept = 0;
    for (int32_t s = 0; s < n; s++) {
        const int32_t e = expert[s];
        if (e >= 0 && !(mask && (mask[e] == MD_MASK_OFF || mask[e] == MD_MASK_FULL)))
            expert[kept++] = e;
    }
    return kept;
}

/* Divides by the sum. The largest takes what the others leave of 1, so that equal experts add up to exactly one of them. */
static void normalise(float *weight, int32_t n, float sum, float floor)
{
    int32_t largest = 0;
    for (int32_t s = 0; s < n; s++) {
        weight[s] /= sum > floor ? sum : floor;
        if (weight[s] > weight[largest])
            largest = s;
    }
    if (n == 0 || !(sum > floor))
        return;
    double rest = 1.0;
    for (int32_t s = 0; s < n; s++)
        if (s != largest)
            rest -= (double)weight[s];
    weight[largest] = (float)rest;
}

/* sqrt(log(1 + exp(x))) in binary64, rounded once. log(1 + u) keeps its precision for small u by Kahan's correction. */
static float sqrt_softplus(float x)
{
    const double u = md_exp_d(-fabs((double)x)), w = 1.0 + u;
    const double log1p = w == 1.0 ? u : md_log_d(w) * (u / (w - 1.0));
    return (float)sqrt((x > 0.0f ? (double)x : 0.0) + log1p);
}

static void score(const md_kern *kern, const md_router *r, float *x)
{
    switch (r->score) {
    case MD_SCORE_SOFTMAX: kern->softmax(x, r->n_expert); break;
    case MD_SCORE_SIGMOID: kern->sigmoid(x, r->n_expert); break;
    case MD_SCORE_SQRT_SOFTPLUS:
        for (int32_t i = 0; i < r->n_expert; i++)
            x[i] = sqrt_softplus(x[i]);
        break;
    case MD_SCORE_SOFTMAX_PICKED:
    case MD_SCORE_SPARSE_MIXER: break; /* when the picks are known */
    }
}

/* Each pick's share of a softmax over the experts that earlier picks left and that are near it: those with
 * (m - x_i) / max(|x_i|, m) <= 2 jitter, where m is the pick's logit. near (E). Ends with the picks' logits at -infinity. */
static void weigh_sparse_mixer(const md_kern *kern, const md_router *r, float *logits, const int32_t *expert, int32_t n,
                               float *near, float *weight)
{
    for (int32_t s = 0; s < n; s++) {
        const float m = logits[expert[s]];
        for (int32_t i = 0; i < r->n_expert; i++) {
            const float size = fabsf(logits[i]) > m ? fabsf(logits[i]) : m;
            near[i] = (m - logits[i]) / size > 2.0f * r->jitter ? -INFINITY : logits[i];
        }
        kern->softmax(near, r->n_expert);
        weight[s] = near[expert[s]];
        logits[expert[s]] = -INFINITY;
    }
}

static void weigh_softmax_picked(const md_kern *kern, const md_router *r, const int32_t *expert, int32_t n,
                                 float *weight)
{
    const int32_t n_real = r->n_expert - r->n_null;
    float top = -INFINITY;
    for (int32_t s = 0; s < n; s++)
        if (expert[s] < n_real)
            top = weight[s] > top ? weight[s] : top;
    for (int32_t s = 0; s < n; s++)
        weight[s] = expert[s] < n_real ? weight[s] - top : -INFINITY;
    kern->exp(weight, n);
}

/* The picks' scores, before they are normalised. */
static void weigh(const md_kern *kern, const md_router *r, float *scores, const int32_t *expert, int32_t n, float *work,
                  float *weight)
{
    if (r->score == MD_SCORE_SPARSE_MIXER) {
        weigh_sparse_mixer(kern, r, scores, expert, n, work + 2 * r->n_expert, weight);
        return;
    }
    for (int32_t s = 0; s < n; s++)
        weight[s] = scores[expert[s]];
    if (r->score == MD_SCORE_SOFTMAX_PICKED)
        weigh_softmax_picked(kern, r, expert, n, weight);
}

/* Sum and division over the picks that give something; those that give nothing have weight 0 then. */
static void normalise_real(const md_router *r, const int32_t *expert, float *weight, int32_t n)
{
    int32_t n_real = 0;
    float sum = 0.0f;
    for (int32_t s = 0; s < n; s++) {
        const bool real = expert[s] < r->n_expert - r->n_null;
        if (!real)
            weight[s] = 0.0f;
        n_real += real;
        sum += weight[s];
    }
    if (n_real > 0)
        normalise(weight, n, sum, r->norm_floor);
}

void md_route(const md_kern *kern, const md_router *r, float *logits, const float *bias, const uint8_t *mask,
              float *work, int32_t *expert, float *weight)
{
    const int32_t n_expert = r->n_expert;
    float *choice = work;
    if (mask)
        for (int32_t i = 0; i < n_expert; i++)
            if (mask[i] == MD_MASK_OFF)
                logits[i] = -INFINITY;
    if (r->select == MD_SELECT_LOGIT)
        for (int32_t i = 0; i < n_expert; i++)
            choice[i] = bias ? logits[i] + bias[i] : logits[i];
    score(kern, r, logits);
    if (r->select != MD_SELECT_LOGIT)
        for (int32_t i = 0; i < n_expert; i++)
            choice[i] = bias ? logits[i] + bias[i] : logits[i];

    int32_t n = r->select == MD_SELECT_GIVEN ? r->top_k : pick(r, choice, mask, work, expert);
    if (mask || r->select == MD_SELECT_GIVEN)
        n = strike(mask, expert, n);
    weigh(kern, r, logits, expert, n, work, weight);
    if (r->normalise || r->score == MD_SCORE_SOFTMAX_PICKED)
        normalise_real(r, expert, weight, n);
    if (r->scale != 1.0f)
        for (int32_t s = 0; s < n; s++)
            weight[s] *= r->scale;
    if (r->expert_scale)
        for (int32_t s = 0; s < n; s++)
            weight[s] *= r->expert_scale[expert[s]];
    for (int32_t s = n; s < r->top_k; s++) {
        expert[s] = -1;
        weight[s] = 0.0f;
    }
}
