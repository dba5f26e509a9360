/* SPDX-License-Identifier: Apache-2.0
 *
 * Seconds of a step's parts: counts of work.c times what a profile says such work takes. One small function a phase, so that each can
 * be held against what the engine does there. Loops are those of model/step*.c and expert/run.c that are handed to threads. */
#include "plan/work.h"

#include <math.h>

/* Loops of a layer besides the experts': projections, attention, its output; of larger steps also norms, codes and rows. */
#define FEW_LOOPS     4.0
#define MANY_LOOPS    10.0
#define MANY_ROWS     4.0
/* Most rows of an expert that meet its weights together in its first half. */
#define PANEL         64
/* Hidden columns of an item at most, and the fewest that are worth one; items that a thread should get. */
#define STRETCH       256.0
#define LEAST_STRETCH 64.0
#define ITEMS         8.0

/* Threads that work on something done row by row. */
static double threads_for(const md_plan_costs *c, double rows)
{
    const double n = c->profile->n_threads;
    return rows < n ? fmax(rows, 1.0) : n;
}

static double bytes_of(const md_plan_mul *m)
{
    const md_type_info *t = md_type_get(m->type);
    return m->weights / t->block * t->bytes;
}

/* Products of n matrices with as many rows each. */
double md_plan_mul_seconds(const md_plan_costs *c, const md_plan_mul *m, int n, double rows)
{
    double sum = 0.0;
    for (int i = 0; i < n; i++)
        if (m[i].weights > 0.0)
            sum += m[i].weights * md_profile_weight(c->profile, m[i].type, rows);
    return sum;
}

/* What memory needs at least to give those matrices. */
static double floor_of(const md_plan_costs *c, const md_plan_mul *m, int n)
{
    double bytes = 0.0;
    for (int i = 0; i < n; i++)
        bytes += m[i].weights > 0.0 ? bytes_of(&m[i]) : 0.0;
    return bytes / c->profile->read;
}

void md_plan_time_add(md_plan_time *sum, md_plan_time t)
{
    sum->total += t.total;
    sum->disk += t.disk;
    sum->memory += t.memory;
}

/* Scores and weighted values: rows of one sequence share the tiles they read, as the heads of a group do. */
static md_plan_time attend_time(const md_plan_costs *c, const md_plan_layer *l, double rows, double sequences,
                                double keys)
{
    if (l->heads <= 0.0)
        return (md_plan_time){0};
    const double seen = l->see > 0.0 ? fmin(keys, l->see) : keys,
                 together = fmin(rows / sequences, MD_ATTEND_ROWS) * l->groups;
    const double work = rows * l->heads * seen * l->dim * md_profile_attend(c->profile, c->f32_kv, together),
                 items = rows * l->heads / fmax(together, 1.0) * l->groups;
    const double threads = fmin(c->profile->n_threads, fmax(items, 1.0));
    const double bytes = sequences * l->heads / l->groups * seen * l->dim * 2.0 * (c->f32_kv ? 2.0 : 1.0);
    return (md_plan_time){.total = work / threads, .memory = bytes / c->profile->read};
}

/* Recurrent states are read and written once for each row. */
static double state_seconds(const md_plan_costs *c, const md_plan_layer *l, double rows)
{
    return l->state * rows / c->profile->read;
}

/* Norms, residuals, rotations; activations and the codes of what comes out of them. */
static double float_seconds(const md_plan_costs *c, const md_plan_layer *l, double rows)
{
    return rows * (l->normed * c->profile->norm + l->dense_hidden * c->profile->hidden) / threads_for(c, rows);
}

md_plan_time md_plan_layer_time(const md_plan_costs *c, const md_plan_layer *l, double rows, double sequences,
                                double keys)
{
    md_plan_time t = attend_time(c, l, rows, sequences, keys);
    t.total += md_plan_mul_seconds(c, l->mixer, MD_PLAN_MIXER, rows) +
               md_plan_mul_seconds(c, l->dense, MD_PLAN_FFN, rows) +
               md_plan_mul_seconds(c, l->around, MD_PLAN_FFN, rows) + state_seconds(c, l, rows) +
               float_seconds(c, l, rows) + (rows < MANY_ROWS ? FEW_LOOPS : MANY_LOOPS) * c->profile->loop;
    t.memory += floor_of(c, l->mixer, MD_PLAN_MIXER) + floor_of(c, l->dense, MD_PLAN_FFN) +
                floor_of(c, l->around, MD_PLAN_FFN);
    return t;
}

md_plan_time md_plan_shared_time(const md_plan_costs *c, const md_plan_layer *l, double rows)
{
    return (md_plan_time){.total = md_plan_mul_seconds(c, l->shared, MD_PLAN_FFN, rows) +
                                   rows * l->shared_hidden * c->profile->hidden / c->profile->n_threads,
                          .memory = floor_of(c, l->shared, MD_PLAN_FFN)};
}

md_plan_time md_plan_output_time(const md_plan_costs *c, const md_plan_work *w, double rows)
{
    return (md_plan_time){.total = md_plan_mul_seconds(c, &w->output, 1, rows) + c->profile->loop +
                                   rows * w->output_normed * c->profile->norm,
                          .memory = floor_of(c, &w->output, 1)};
}

/* An expert's gate and up run on panels of its rows (expert/hidden.c), and weights are read for each. */
static double panels_seconds(const md_plan_costs *c, const md_plan_layer *l, double rows)
{
    const double panels = fmax(ceil(rows / PANEL), 1.0);
    return panels * md_plan_mul_seconds(c, l->expert, 2, rows / panels);
}

/* The loop's items are stretches of hidden columns of a panel; where they are few, threads that get one more than others hold these up. */
static double uneven(const md_plan_costs *c, const md_plan_layer *l, double n, double rows)
{
    const md_act_kind act = md_type_get(l->expert[2].type)->act;
    const double block = act == MD_ACT_Q256  ? 256.0
                         : act == MD_ACT_Q32 ? 32.0
                                             : 16.0,
                 threads = c->profile->n_threads, panels = fmax(ceil(rows / n / PANEL), 1.0),
                 aim = fmax(n * panels * l->expert_hidden / (ITEMS * threads), LEAST_STRETCH),
                 stretch = fmin(ceil(aim / block) * block, STRETCH),
                 items = fmax(n, 1.0) * panels * ceil(l->expert_hidden / stretch);
    return ceil(items / threads) * threads / items;
}

/* Gate and up of n experts in one loop, and what comes between them and down. Rows choose experts by themselves, so an expert's number
 * of rows varies by about its root. */
double md_plan_hidden_seconds(const md_plan_costs *c, const md_plan_layer *l, double n, double rows)
{
    if (n <= 0.0)
        return 0.0;
    const double mean = rows / n, spread = mean > PANEL / 4 ? sqrt(mean) : 0.0;
    const double each = 0.5 * panels_seconds(c, l, mean) + 0.25 * panels_seconds(c, l, mean - spread) +
                        0.25 * panels_seconds(c, l, mean + spread);
    return (n * each + rows * l->expert_hidden * c->profile->hidden / c->profile->n_threads) * uneven(c, l, n, rows);
}

/* Down of n experts, and the rows' weighted sums. */
double md_plan_down_seconds(const md_plan_costs *c, const md_plan_layer *l, double n, double rows)
{
    if (n <= 0.0)
        return 0.0;
    return n * md_plan_mul_seconds(c, &l->expert[2], 1, rows / n) +
           rows * l->width * c->profile->combine / c->profile->n_threads + c->profile->loop;
}

double md_plan_expert_floor(const md_plan_costs *c, const md_plan_layer *l, double n)
{
    return n * floor_of(c, l->expert, MD_PLAN_FFN);
}
