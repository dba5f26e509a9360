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

/* Reads that were asked for together. */
typedef struct batch {
    double from, n;    /* the number of reads before them; how many */
    double begun, end; /* of the disk's work */
} batch;
enum { BATCHES = 64 }; /* that are remembered: an earlier one's reads are there by then */

/* Where a layer's step is: the clock; and a disk that does what it was asked for in order. Its work is told in the seconds that it takes
 * while no thread computes. */
typedef struct turn {
    double now;
    double asked, done; /* of the disk's work */
    double free;        /* seconds for which it has had nothing to do */
    double reads;       /* that were asked for */
    batch batch[BATCHES];
    int64_t n_batches;
    md_plan_time spent; /* but for the total */
} turn;

static void ask(const md_plan_costs *c, const md_plan_layer *l, double n, turn *t)
{
    if (n <= 0.0)
        return;
    batch *b = &t->batch[t->n_batches++ % BATCHES];
    *b = (batch){.from = t->reads, .n = n, .begun = t->asked};
    t->asked += t->asked > t->done ? going_on(c, l, n) : reading(c, l, n);
    b->end = t->asked;
    t->reads += n;
    t->free = 0.0;
}

/* How much the disk has done when a read is there. */
static double mark(const turn *t, double read)
{
    for (int64_t i = t->n_batches - 1; i >= 0 && i >= t->n_batches - BATCHES; i--) {
        const batch *b = &t->batch[i % BATCHES];
        if (read > b->from)
            return b->begun + (b->end - b->begun) * fmin((read - b->from) / b->n, 1.0);
    }
    return 0.0;
}

/* All threads compute what takes so many seconds while nothing is read. Meanwhile the disk goes on, each being slower for the other. */
static void compute(const md_plan_costs *c, double seconds, double rows, turn *t)
{
    const double work = md_profile_busy_work(c->disk, rows), read = md_profile_busy_read(c->disk, rows),
                 both = fmin(seconds * work, (t->asked - t->done) * read);
    t->done += both / read;
    t->now += both + seconds - both / work;
    t->free += seconds - both / work;
}

static void wait_for(const md_plan_costs *c, double until, turn *t)
{
    if (until <= t->done)
        return;
    const double seconds = until - t->done + c->profile->wake;
    t->done = until;
    t->now += seconds;
    t->spent.disk += seconds;
}

/* Sums that wait for the next wave are in double precision. */
static double waiting_sums(const md_plan_costs *c, const md_plan_layer *l, double rows)
{
    return rows * l->width * fmax(c->profile->pend - c->profile->combine, 0.0) / c->profile->n_threads;
}

/* Experts that were read: those that are there are woven, then make their hidden rows together; where none is, the next one is waited
 * for. first, last: when the first and the last of them is there. */
static void run_missed(const md_plan_costs *c, const md_plan_layer *l, const md_plan_wave *w, double first, double last,
                       turn *t)
{
    const double n = w->misses, rows = w->miss_rows / n, step = n > 1.0 ? (last - first) / (n - 1.0) : 0.0;
    for (double at = 0.0; at < n;) {
        wait_for(c, first + step * at, t);
        const double there = step > 0.0 ? floor((t->done - first) / step + 1e-9) + 1.0 : n,
                     now = fmin(fmax(there, at + 1.0), n) - at;
        compute(c, weaving(c, l, now), rows, t);
        compute(c, md_plan_hidden_seconds(c, l, now, now * rows) + c->profile->loop, rows, t);
        at += now;
    }
}

/* One wave runs: what is there at once, the rest as it comes; then all second halves in one loop. alone: it is the step's only one; first,
 * last: when those that it reads are there. */
static void run_wave(const md_plan_costs *c, const md_plan_layer *l, const md_plan_wave *w, bool alone, double first,
                     double last, turn *t)
{
    const double n = w->hits + w->misses, rows = w->hit_rows + w->miss_rows;
    if (w->hits > 0)
        compute(c, md_plan_hidden_seconds(c, l, w->hits, w->hit_rows) + c->profile->loop, (double)w->hit_rows / w->hits,
                t);
    if (w->misses > 0)
        run_missed(c, l, w, first, last, t);
    if (n > 0.0)
        compute(c, md_plan_down_seconds(c, l, n, rows) + (alone ? 0.0 : waiting_sums(c, l, rows)), rows / n, t);
    t->spent.memory += md_plan_expert_floor(c, l, n);
}

/* Reads that began before the layer's turn, once the layer before had nothing left to read: `idle` seconds before. Of the experts that are
 * read, `right` are needed: only what of them is there counts, since the others' reads are behind those that are needed now, or taken
 * back. Gives how many. */
static double come_early(const md_plan_costs *c, const md_plan_layer *l, double read, double right, double rows,
                         double idle, turn *t)
{
    if (right <= 0.0)
        return 0.0;
    const double there = fmin(idle / md_profile_busy_read(c->disk, rows) / trickling(c, l, read), 1.0) * right;
    t->reads = there;
    return there;
}

/* A step's waves [wave, end): the next one is asked for before one runs. guess: in small steps the next layer's experts are guessed. idle:
 * seconds for which the disk had nothing to do when the step before ended, with the mixer; then those of this one. */
static md_plan_time run_step(const md_plan_costs *c, const md_plan_layer *l, const md_plan_wave *wave,
                             const md_plan_wave *end, double mixer, bool guess, double *idle)
{
    const bool alone = end - wave == 1;
    const double n = wave->hits + wave->misses, rows = n > 0.0 ? (wave->hit_rows + wave->miss_rows) / n : 0.0,
                 guessed = guess ? fmin(wave->asked, MD_STREAMED_AHEAD) : wave->ahead,
                 right = guess ? guessed * RIGHT : wave->ahead;
    turn t = {0};
    const double early = come_early(c, l, guessed, right, rows, *idle + mixer, &t);
    ask(c, l, wave->asked + (guess ? 0.0 : wave->ahead) - early, &t);
    for (; wave < end; wave++) {
        const double first = mark(&t, wave->last - wave->misses + 1), last = mark(&t, wave->last);
        if (wave + 1 < end)
            ask(c, l, wave[1].asked, &t);
        run_wave(c, l, wave, alone, first, last, &t);
    }
    *idle = t.free;
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
    double idle[2] = {0.0, 0.0};
    for (size_t i = 0, end; i < f->n; i = end) {
        for (end = i + 1; end < f->n && !f->wave[end].first; end++)
            ;
        for (int g = 0; g <= guess; g++) {
            if (i == 0) /* the layer before the first one of them is like it */
                (void)run_step(c, l, f->wave, f->wave + end, mixer, g, &idle[g]);
            md_plan_time_add(g ? &ahead : &plain, run_step(c, l, f->wave + i, f->wave + end, mixer, g, &idle[g]));
        }
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
