/* SPDX-License-Identifier: Apache-2.0
 *
 * A trial that never ends, of ways to run a step: nothing read ahead, likely guesses, bold ones. Steps are timed in blocks, the
 * fastest way of late gets most blocks, and the others are looked at again now and then, the more rarely the more they lose
 * (others measured between a third slower and a third faster from the same idea: it depends on disk, model and text). */
#ifndef MD_EXPERT_TRIAL_H
#define MD_EXPERT_TRIAL_H

#include <stdbool.h>
#include <stdint.h>

typedef enum md_way { MD_WAY_NONE, MD_WAY_LIKELY, MD_WAY_BOLD, MD_N_WAYS } md_way; /* ORDER md_way */

typedef struct md_trial {
    md_way way;        /* of this block */
    int32_t left;      /* steps of it */
    int32_t rows;      /* of its steps; others are not timed */
    double began, sum; /* of the step, or negative; of the block's steps that count */
    int32_t counted;
    double seconds[MD_N_WAYS]; /* a step's, of late; 0: not tried yet */
    int32_t wait[MD_N_WAYS];   /* blocks until it is looked at again; and how many that were last time */
    int32_t pause[MD_N_WAYS];
} md_trial;

void md_trial_init(md_trial *t);
md_way md_trial_way(const md_trial *t);
/* Around a step; rows: its rows, 0: it does not count. now: seconds of any clock. */
void md_trial_begin(md_trial *t, int32_t rows, double now);
void md_trial_end(md_trial *t, double now);
/* Seconds of a step with the best way that reads ahead, and without; 0: not known. on: it pays. */
void md_trial_figures(const md_trial *t, double *with_step, double *without, bool *on);

#endif
