/* SPDX-License-Identifier: Apache-2.0 */
#include "route/route.h"

#include <math.h>
#include <stdio.h>

/* Is a better than b? Greater score, then lower index. NaN is worse than everything, so the order is total. */
static bool better(float a, int32_t ia, float b, int32_t ib)
{
    if (a > b || (a == a && b != b))
        return true;
    return (a == b || (a != a && b != b)) && ia < ib;
}

/* The best of choice[0..n) that is open, or -1. */
static int32_t best_of(const float *choice, const uint8_t *open, int32_t n)
{
    int32_t top = -1;
    for (int32_t i = 0; i < n; i++)
        if (open[i] && (top < 0 || better(choice[i], i, choice[top], top)))
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
            ahead += o != g && better(group[o], o, group[g], g);
        if (ahead >= r->n_group_kept)
            for (int32_t i = g * size; i < (g + 1) * size; i++)
                open[i] = 0;
    }
}

/* Picks the forced experts, best first, and leaves open what may be picked after them; returns how many. */
static int32_t pick_forced(const md_router *r, const float *choice, const uint8_t *mask, uint8_t *open, int32_t *expert)
{
    int32_t n = 0;
    for (int32_t i = 0; i < r->n_expert; i++)
        open[i] = mask ? mask[i] == MD_MASK_FORCED : 0;
    for (int32_t i; n < r->top_k && (i = best_of(choice, open, r->n_expert)) >= 0; n++) {
        expert[n] = i;
        open[i] = 0;
    }
    for (int32_t i = 0; i < r->n_expert; i++)
        open[i] = mask ? mask[i] == MD_MASK_NORMAL : 1;
    return n;
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

void md_route(const md_kern *kern, const md_router *r, float *logits, const float *bias, const uint8_t *mask,
              float *work, int32_t *expert, float *weight)
{
    const int32_t n_expert = r->n_expert;
    float *choice = work;
    uint8_t *open = (uint8_t *)(work + n_expert); /* (E) bytes of the second (E) floats */
    if (mask)
        for (int32_t i = 0; i < n_expert; i++)
            if (mask[i] == MD_MASK_OFF)
                logits[i] = -INFINITY;
    if (r->score == MD_SCORE_SOFTMAX)
        kern->softmax(logits, n_expert);
    else if (r->score == MD_SCORE_SIGMOID)
        kern->sigmoid(logits, n_expert);
    for (int32_t i = 0; i < n_expert; i++)
        choice[i] = bias ? logits[i] + bias[i] : logits[i];

    int32_t n = pick_forced(r, choice, mask, open, expert);
    if (r->n_group > 1)
        limit_groups(r, choice, open, work + 2 * n_expert);
    for (int32_t i; n < r->top_k && (i = best_of(choice, open, n_expert)) >= 0; n++) {
        expert[n] = i;
        open[i] = 0;
    }
    float sum = 0.0f;
    for (int32_t s = 0; s < n; s++)
        weight[s] = logits[expert[s]];
    if (r->score == MD_SCORE_SOFTMAX_PICKED) {
        float top = -INFINITY;
        for (int32_t s = 0; s < n; s++)
            top = weight[s] > top ? weight[s] : top;
        for (int32_t s = 0; s < n; s++)
            weight[s] -= top;
        kern->exp(weight, n);
    }
    for (int32_t s = 0; s < n; s++)
        sum += weight[s];
    if (r->normalise || r->score == MD_SCORE_SOFTMAX_PICKED)
        normalise(weight, n, sum, r->norm_floor);
    if (r->scale != 1.0f)
        for (int32_t s = 0; s < n; s++)
            weight[s] *= r->scale;
    for (int32_t s = n; s < r->top_k; s++) {
        expert[s] = -1;
        weight[s] = 0.0f;
    }
}

const char *md_score_name(md_score s)
{
    switch (s) {
    case MD_SCORE_SOFTMAX: return "softmax";
    case MD_SCORE_SIGMOID: return "sigmoid";
    case MD_SCORE_SOFTMAX_PICKED: return "softmax of the picked";
    }
    return "?";
}

void md_router_describe(const md_router *r, char *buf, size_t n)
{
    int at = snprintf(buf, n, "%s, top %d of %d", md_score_name(r->score), r->top_k, r->n_expert);
    if (at >= 0 && (size_t)at < n && r->n_group > 1)
        at += snprintf(buf + at, n - (size_t)at, ", best %d of %d groups", r->n_group_kept, r->n_group);
    if (at >= 0 && (size_t)at < n && r->normalise)
        at += snprintf(buf + at, n - (size_t)at, ", normalised");
    if (at >= 0 && (size_t)at < n && r->scale != 1.0f)
        snprintf(buf + at, n - (size_t)at, ", scaled by %g", (double)r->scale);
}
