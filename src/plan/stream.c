/* SPDX-License-Identifier: Apache-2.0
 *
 * Seconds of a layer's experts that lie in slots: what expert/run.c and expert/streamed.c do, phase by phase, with what a profile says
 * each takes. Where the store changes, the phase that changes is one function here. */
#include "plan/work.h"

#include "base/reader.h"

#include <math.h>

/* Of experts that the next layer's router names, how many are then chosen: three of four, as is found for many models (Eliseev and
 * Mazur 2023). */
#define RIGHT   0.75
/* Bytes that the kernel reads ahead of a file that is read in order, as most systems are set. */
#define STRETCH ((double)(128 << 10))

/* Experts' reads, all asked for at once of a disk that has nothing else to do. */
static double reading(const md_plan_costs *c, const md_plan_layer *l, double n)
{
    return md_profile_read(c->disk, n * l->expert_reads, l->expert_bytes / l->expert_reads);
}

/* The same behind others: the disk goes on at its best. */
static double going_on(const md_plan_costs *c, const md_plan_layer *l, double n)
{
    const double deep = md_profile_depths[MD_PROFILE_DEPTHS - 1];
    return n * l->expert_reads / deep * md_profile_read(c->disk, deep, l->expert_bytes / l->expert_reads);
}

/* Rows to tiles where a file is not packed: by all threads, expert by expert, before it runs. */
static double weaving(const md_plan_costs *c, const md_plan_layer *l, double n)
{
    if (l->woven_bytes <= 0.0)
        return 0.0;
    double seconds = 0.0, weights = 0.0;
    for (int i = 0; i < MD_PLAN_FFN; i++) {
        seconds += l->expert[i].weights * c->profile->type[l->expert[i].type].weave;
        weights += l->expert[i].weights;
    }
    return n * (l->woven_bytes * seconds / weights + c->profile->loop);
}

/* Reads that wait for all others: a few pieces are in flight. */
static double trickling(const md_plan_costs *c, const md_plan_layer *l, double n)
{
    return n * l->expert_bytes / (MD_STREAMED_BACKGROUND * (double)MD_READER_PIECE) *
           md_profile_read(c->disk, MD_STREAMED_BACKGROUND, (double)MD_READER_PIECE);
}

/* Where a layer's step is: the clock; reads that began together last, of which the first has the number `from`. */
typedef struct turn {
    double now;
    double begun, done; /* when the disk begins with them, and is done with them */
    double from, n;
    md_plan_time spent; /* but for the total */
} turn;

static void ask(const md_plan_costs *c, const md_plan_layer *l, double n, turn *t)
{
    if (n <= 0.0)
        return;
    const bool busy = t->done > t->now;
    t->begun = busy ? t->done : t->now;
    t->done = t->begun + (busy ? going_on(c, l, n) : reading(c, l, n));
    t->from += t->n;
    t->n = n;
}

/* When a read is there: reads come one after the other. Those of earlier times were there before the last ones began. */
static double arrival(const turn *t, double read)
{
    return read <= t->from || t->n <= 0.0 ? t->begun : t->begun + (t->done - t->begun) * (read - t->from) / t->n;
}

/* Sums that wait for the next wave are read and written in double precision, for each row of each expert. */
static double waiting_sums(const md_plan_costs *c, const md_plan_layer *l, double rows)
{
    return rows * l->width * 2.0 * sizeof(double) / c->profile->read;
}

/* One wave runs: what is there at once, the rest as it comes, each expert woven and then multiplied; then all second halves in one loop.
 * alone: it is the step's only one; there: when the last expert is. */
static void run_wave(const md_plan_costs *c, const md_plan_layer *l, const md_plan_wave *w, bool alone, double there,
                     turn *t)
{
    const double n = w->hits + w->misses, rows = w->hit_rows + w->miss_rows;
    t->now += md_plan_hidden_seconds(c, l, w->hits, w->hit_rows) + (w->hits > 0 ? c->profile->loop : 0.0);
    if (w->misses > 0) {
        const double each = (weaving(c, l, w->misses) + md_plan_hidden_seconds(c, l, w->misses, w->miss_rows)) /
                                w->misses +
                            c->profile->loop;
        const double busy = t->now + each * w->misses, late = there + each + c->profile->wake;
        t->spent.disk += fmax(late - busy, 0.0);
        t->now = fmax(busy, late);
    }
    t->now += md_plan_down_seconds(c, l, n, rows) + (alone ? 0.0 : waiting_sums(c, l, rows));
    t->spent.memory += md_plan_expert_floor(c, l, n);
}

/* Reads that began before the layer's turn: once the layer before had nothing left to read, so while its last wave ended (one like this
 * layer's), and then the mixer. Of the experts that are read, `right` are needed. */
static void come_early(const md_plan_costs *c, const md_plan_layer *l, const md_plan_wave *last, double read,
                       double right, double mixer, turn *t)
{
    const double n = last->hits + last->misses, rows = last->hit_rows + last->miss_rows;
    if (right <= 0.0)
        return;
    t->begun = -(mixer + md_plan_down_seconds(c, l, n, rows));
    t->done = t->begun + trickling(c, l, read);
    t->n = right;
}

/* A step's waves [wave, end): the next one is asked for before one runs. guess: in small steps the next layer's experts are guessed. */
static md_plan_time run_step(const md_plan_costs *c, const md_plan_layer *l, const md_plan_wave *wave,
                             const md_plan_wave *end, double mixer, bool guess)
{
    const bool alone = end - wave == 1;
    const double guessed = guess ? fmin(wave->asked, MD_STREAMED_AHEAD) : 0.0,
                 early = guess ? guessed * RIGHT : wave->ahead;
    turn t = {0};
    come_early(c, l, end - 1, guess ? guessed : wave->ahead, early, mixer, &t);
    ask(c, l, guess ? wave->asked - early : wave->asked, &t);
    for (; wave < end; wave++) {
        const double there = arrival(&t, wave->last);
        if (wave + 1 < end)
            ask(c, l, wave[1].asked, &t);
        run_wave(c, l, wave, alone, there, &t);
    }
    t.spent.total = t.now;
    return t.spent;
}

static md_plan_time a_step(md_plan_time sum, const md_plan_layer *l, const md_plan_flow *f)
{
    const double share = f->steps > 0 ? l->rounds / (double)f->steps : 0.0;
    return (md_plan_time){.total = sum.total * share, .disk = sum.disk * share, .memory = sum.memory * share};
}

md_plan_time md_plan_flow_time(const md_plan_costs *c, const md_plan_layer *l, const md_plan_flow *f, double rows,
                               double mixer)
{
    const bool guess = c->read_ahead && rows <= MD_AHEAD_ROWS;
    md_plan_time plain = {0}, ahead = {0};
    for (size_t i = 0, end; i < f->n; i = end) {
        for (end = i + 1; end < f->n && !f->wave[end].first; end++)
            ;
        md_plan_time_add(&plain, run_step(c, l, f->wave + i, f->wave + end, mixer, false));
        if (guess)
            md_plan_time_add(&ahead, run_step(c, l, f->wave + i, f->wave + end, mixer, true));
    }
    return a_step(guess && ahead.total < plain.total ? ahead : plain, l, f); /* the store tries both */
}

md_plan_time md_plan_resident_time(const md_plan_costs *c, const md_plan_layer *l, const md_plan_flow *f)
{
    md_plan_time sum = {0};
    for (size_t i = 0, end; i < f->n; i = end) {
        double n = 0.0, rows = 0.0;
        for (end = i; end == i || (end < f->n && !f->wave[end].first); end++) {
            n += f->wave[end].hits + f->wave[end].misses;
            rows += f->wave[end].hit_rows + f->wave[end].miss_rows;
        }
        md_plan_time_add(&sum, (md_plan_time){.total = md_plan_hidden_seconds(c, l, n, rows) + c->profile->loop +
                                                       md_plan_down_seconds(c, l, n, rows),
                                              .memory = md_plan_expert_floor(c, l, n)});
    }
    return a_step(sum, l, f);
}

/* Each thread reads a piece through the page cache, for which the kernel has one stretch on its way, then copies, weaves, and takes
 * memory for it; the disk is shared. Slots are only taken. */
double md_plan_load_seconds(const md_plan_costs *c, double bytes, double woven, double slots, md_plan_limit *limit)
{
    const md_profile *p = c->profile;
    double weave = 0.0;
    for (int i = 0; i < MD_N_TYPES; i++)
        weave = fmax(weave, p->type[i].weave_1);
    const double disk = c->disk ? bytes / STRETCH * md_profile_read(c->disk, p->n_threads, STRETCH) / p->n_threads
                                : 0.0,
                 work = (bytes * p->copy + woven * weave) / p->n_threads + (bytes + slots) * p->touch;
    *limit = disk > work ? MD_PLAN_DISK : MD_PLAN_CORES;
    return disk + work;
}
