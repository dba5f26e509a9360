/* SPDX-License-Identifier: Apache-2.0 */
#include "expert/trial.h"

enum {
    BLOCK = 8,   /* steps; the first of them does not count: what the way before left behind is still about */
    PAUSE = 4,   /* blocks before a way that lost is looked at again */
    LONGEST = 64 /* twice as many each time that it loses, up to these */
};
/* A block counts this much against those before. */
#define NEW   0.4
/* Reading ahead must be this much faster to be worth its noise; nothing more is asked of reading nothing. */
#define WORTH 0.99

void md_trial_init(md_trial *t)
{
    *t = (md_trial){.way = MD_WAY_LIKELY, .left = BLOCK, .began = -1.0};
    for (int w = 0; w < MD_N_WAYS; w++)
        t->pause[w] = PAUSE;
}

md_way md_trial_way(const md_trial *t)
{
    return t->way;
}

static double cost(const md_trial *t, md_way w)
{
    return w == MD_WAY_NONE ? t->seconds[w] * WORTH : t->seconds[w];
}

static md_way best_way(const md_trial *t)
{
    md_way best = MD_WAY_NONE;
    for (int w = 1; w < MD_N_WAYS; w++)
        if (t->seconds[w] > 0.0 && (t->seconds[best] <= 0.0 || cost(t, (md_way)w) < cost(t, best)))
            best = (md_way)w;
    return best;
}

/* A way that was not tried yet, else one whose time has come, else the best. */
static md_way next_way(md_trial *t)
{
    static const md_way order[] = {MD_WAY_LIKELY, MD_WAY_NONE, MD_WAY_BOLD};
    for (int i = 0; i < MD_N_WAYS; i++)
        if (t->seconds[order[i]] <= 0.0)
            return order[i];
    const md_way best = best_way(t);
    for (int w = 0; w < MD_N_WAYS; w++)
        if (w != (int)best && --t->wait[w] <= 0)
            return (md_way)w;
    return best;
}

static void end_block(md_trial *t)
{
    const md_way was = t->way, best_before = best_way(t);
    const double mean = t->sum / t->counted;
    t->seconds[was] = t->seconds[was] > 0.0 ? t->seconds[was] + NEW * (mean - t->seconds[was]) : mean;
    if (was != best_before) { /* it was a look */
        const bool lost = best_way(t) != was;
        t->pause[was] = !lost ? PAUSE : t->pause[was] * 2 < LONGEST ? t->pause[was] * 2 : LONGEST;
        t->wait[was] = t->pause[was];
    }
    t->way = next_way(t);
}

void md_trial_begin(md_trial *t, int32_t rows, double now)
{
    t->began = -1.0;
    if (rows == 0)
        return;
    if (rows != t->rows) { /* steps of another kind: what was measured says nothing about them */
        md_trial_init(t);
        t->rows = rows;
    }
    t->began = now;
}

void md_trial_end(md_trial *t, double now)
{
    if (t->began < 0.0)
        return;
    if (t->left < BLOCK) {
        t->sum += now - t->began;
        t->counted++;
    }
    t->began = -1.0;
    if (--t->left > 0)
        return;
    end_block(t);
    t->left = BLOCK;
    t->sum = 0.0;
    t->counted = 0;
}

void md_trial_figures(const md_trial *t, double *with_step, double *without, bool *on)
{
    const double likely = t->seconds[MD_WAY_LIKELY], bold = t->seconds[MD_WAY_BOLD];
    *with_step = bold > 0.0 && (likely <= 0.0 || bold < likely) ? bold : likely;
    *without = t->seconds[MD_WAY_NONE];
    *on = best_way(t) != MD_WAY_NONE;
}
