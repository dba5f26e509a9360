/* SPDX-License-Identifier: Apache-2.0
 *
 * Made-up choices of experts, step after step, with the habits that real ones have or that a policy may fear: popular experts
 * (Zipf's law) whose popularity stays, drifts or changes at once; the last token's experts chosen again; small sets that are
 * hot for a while; no habit at all. The same seed gives the same choices. */
#ifndef MD_TEST_TRACE_SYNTHETIC_H
#define MD_TEST_TRACE_SYNTHETIC_H

#include "base/rng.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { SYNTHETIC_MOST = 256 };

typedef struct synthetic_habit {
    const char *name;
    int32_t n_expert, top_k;
    double zipf;   /* exponent of popularity, 0: all alike */
    double drift;  /* two experts change places in popularity, so often a step */
    int32_t phase; /* steps after which all popularity is dealt anew, 0: never */
    double again;  /* probability that a slot is one of the last step's experts */
    int32_t hot;   /* size of a set that is hot, 0: there is none */
    double heat;   /* probability that a slot is of the hot set, one of which is replaced every 8 steps */
} synthetic_habit;

typedef struct synthetic {
    const synthetic_habit *habit;
    uint64_t seed, counter;
    int64_t step;
    double sum[SYNTHETIC_MOST];     /* of popularity up to a rank */
    int32_t expert[SYNTHETIC_MOST]; /* by rank */
    int32_t hot[SYNTHETIC_MOST], last[SYNTHETIC_MOST];
} synthetic;

static inline double synthetic_number(synthetic *s)
{
    return (double)md_rand_uniform(s->seed, 77, s->counter++);
}

static inline int32_t synthetic_below(synthetic *s, int32_t n)
{
    return (int32_t)(synthetic_number(s) * n);
}

static inline void synthetic_deal(synthetic *s)
{
    for (int32_t i = s->habit->n_expert - 1; i > 0; i--) {
        const int32_t j = synthetic_below(s, i + 1), e = s->expert[i];
        s->expert[i] = s->expert[j];
        s->expert[j] = e;
    }
}

static inline void synthetic_init(synthetic *s, const synthetic_habit *habit, uint64_t seed)
{
    memset(s, 0, sizeof *s);
    s->habit = habit;
    s->seed = seed;
    double sum = 0.0;
    for (int32_t i = 0; i < habit->n_expert; i++) {
        sum += pow(i + 1.0, -habit->zipf);
        s->sum[i] = sum;
        s->expert[i] = i;
    }
    synthetic_deal(s);
    for (int32_t i = 0; i < habit->hot; i++)
        s->hot[i] = synthetic_below(s, habit->n_expert);
}

static inline int32_t synthetic_popular(synthetic *s)
{
    const double x = synthetic_number(s) * s->sum[s->habit->n_expert - 1];
    int32_t low = 0, high = s->habit->n_expert - 1;
    while (low < high) {
        const int32_t middle = (low + high) / 2;
        if (s->sum[middle] > x)
            high = middle;
        else
            low = middle + 1;
    }
    return s->expert[low];
}

static inline int32_t synthetic_one(synthetic *s)
{
    const synthetic_habit *h = s->habit;
    if (s->step > 0 && synthetic_number(s) < h->again)
        return s->last[synthetic_below(s, h->top_k)];
    if (h->hot > 0 && synthetic_number(s) < h->heat)
        return s->hot[synthetic_below(s, h->hot)];
    return synthetic_popular(s);
}

static inline bool synthetic_holds(const int32_t *list, int32_t n, int32_t e)
{
    for (int32_t i = 0; i < n; i++)
        if (list[i] == e)
            return true;
    return false;
}

/* The next step's experts, all different. */
static inline void synthetic_next(synthetic *s, int32_t *expert)
{
    const synthetic_habit *h = s->habit;
    if (h->phase > 0 && s->step > 0 && s->step % h->phase == 0)
        synthetic_deal(s);
    if (synthetic_number(s) < h->drift) {
        const int32_t i = synthetic_below(s, h->n_expert), j = synthetic_below(s, h->n_expert), e = s->expert[i];
        s->expert[i] = s->expert[j];
        s->expert[j] = e;
    }
    if (h->hot > 0 && s->step % 8 == 0)
        s->hot[synthetic_below(s, h->hot)] = synthetic_below(s, h->n_expert);
    for (int32_t k = 0; k < h->top_k; k++) {
        int32_t e = synthetic_one(s);
        for (int tries = 0; synthetic_holds(expert, k, e); tries++)
            e = tries < 64 ? synthetic_popular(s) : (e + 1) % h->n_expert;
        expert[k] = e;
    }
    memcpy(s->last, expert, (size_t)h->top_k * sizeof *expert);
    s->step++;
}

#endif
