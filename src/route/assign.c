/* SPDX-License-Identifier: Apache-2.0
 *
 * Balanced assignment (Lewis et al. 2021, "BASE Layers"): the linear assignment of tokens to experts with the greatest sum of
 * scores when loads are equal. Exact, by shortest augmenting paths (Jonker and Volgenant 1987) over experts rather than
 * single places, since the places of one expert are alike: tokens enter one by one; each takes the cheapest chain "t goes
 * to a, a's token u moves to b, ..." that ends at an expert with room. O(T^2 E), deterministic. In generation the same layers
 * take the top expert instead, as the authors do.
 *
 * Invariant: experts have prices, 0 while they have room, and each assigned token u sits where score[u][e] - price[e] is
 * greatest. That is the dual's optimality condition, up to the rounding of sums of binary64. */
#include "route/route.h"

#include <math.h>

typedef struct assignment {
    const float *score; /* (T, E) */
    int32_t n_rows, n_expert, capacity;
    float lowest;    /* stands in for scores that are not finite */
    double *price;   /* (E) */
    double *dist;    /* (E) of the path to each expert, in what it loses */
    int32_t *from;   /* (E) the expert before it on the path, -1: the token that enters */
    int32_t *moved;  /* (E) the token that would move there from `from` */
    int32_t *load;   /* (E) */
    int32_t *done;   /* (E) dist is final */
    int32_t *expert; /* (T) */
} assignment;

static double gain(const assignment *a, int32_t t, int32_t e)
{
    const float s = a->score[(int64_t)t * a->n_expert + e];
    return (double)(isfinite(s) ? s : a->lowest) - a->price[e];
}

/* Offers to every expert that is not done the path to `from` and then token t on to it. at: what the path loses so far. */
static void offer(assignment *a, int32_t t, int32_t from, double best, double at)
{
    for (int32_t e = 0; e < a->n_expert; e++) {
        const double loss = best - gain(a, t, e), d = at + (loss > 0.0 ? loss : 0.0);
        if (!a->done[e] && d < a->dist[e]) {
            a->dist[e] = d;
            a->from[e] = from;
            a->moved[e] = t;
        }
    }
}

static int32_t nearest(const assignment *a)
{
    int32_t near = -1;
    for (int32_t e = 0; e < a->n_expert; e++)
        if (!a->done[e] && (near < 0 || a->dist[e] < a->dist[near]))
            near = e;
    return near;
}

/* Finds the cheapest path for a new token, up to an expert with room, which it returns. */
static int32_t search(assignment *a, int32_t entering)
{
    double best = -HUGE_VAL;
    for (int32_t e = 0; e < a->n_expert; e++) {
        a->dist[e] = HUGE_VAL;
        a->done[e] = 0;
        best = gain(a, entering, e) > best ? gain(a, entering, e) : best;
    }
    offer(a, entering, -1, best, 0.0);
    for (;;) {
        const int32_t e = nearest(a);
        if (a->load[e] < a->capacity)
            return e;
        a->done[e] = 1;
        for (int32_t u = 0; u < entering; u++)
            if (a->expert[u] == e)
                offer(a, u, e, gain(a, u, e), a->dist[e]);
    }
}

static void enter(assignment *a, int32_t entering)
{
    const int32_t end = search(a, entering);
    for (int32_t e = 0; e < a->n_expert; e++)
        if (a->done[e])
            a->price[e] += a->dist[end] - a->dist[e];
    for (int32_t e = end; e >= 0; e = a->from[e])
        a->expert[a->moved[e]] = e;
    a->load[end]++;
}

void md_assign_balanced(const float *score, int32_t n_rows, int32_t n_expert, double *paths, int32_t *work,
                        int32_t *expert)
{
    assignment a = {.score = score,
                    .n_rows = n_rows,
                    .n_expert = n_expert,
                    .capacity = (n_rows + n_expert - 1) / n_expert,
                    .price = paths,
                    .dist = paths + n_expert,
                    .from = work,
                    .moved = work + n_expert,
                    .load = work + 2 * n_expert,
                    .done = work + 3 * n_expert,
                    .expert = expert};
    float lowest = INFINITY;
    for (int64_t i = 0; i < (int64_t)n_rows * n_expert; i++)
        lowest = isfinite(score[i]) && score[i] < lowest ? score[i] : lowest;
    a.lowest = isfinite(lowest) ? lowest : 0.0f;
    for (int32_t e = 0; e < n_expert; e++) {
        a.price[e] = 0.0;
        a.load[e] = 0;
    }
    for (int32_t t = 0; t < n_rows; t++)
        enter(&a, t);
}
