/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of a plan, for this room. plan.c makes it, machine.c knows or measures the machine, predict.c fills a row. */
#ifndef MD_PLAN_PLAN_H
#define MD_PLAN_PLAN_H

#include "plan/work.h"

#include <medley/unstable/plan.h>

#define MD_PLAN_ANSWER  128 /* tokens behind the prompt, of which the speed of generation is said */
#define MD_PLAN_BUDGETS 64  /* of callers, and the plan's own */

struct md_plan {
    md_model *m; /* owned: an outline */
    md_arena arena;
    md_profile *profile; /* in the arena */
    md_plan_machine machine;
    md_plan_work work;
    md_plan_routing routing;
    md_plan_args args; /* with defaults filled in; pointers are good in md_plan_new only */
    double open_seconds;
    int32_t n_positions; /* of sessions */
    uint64_t have, least;
    md_plan_row row[MD_PLAN_BUDGETS];
    size_t n_rows;
    char routing_text[320];
};

/* Loads the machine's profile, measures what it lacks, and saves it. disk: of the disk that experts are read from. */
md_status md_plan_know_machine(md_plan *p, const char *model, const md_profile_disk **disk, md_error *err) MD_MUST_USE;

/* What a session of the plan would take; its experts resident or streamed. */
md_session_args md_plan_session_args(const md_plan *p, bool resident);
md_status md_plan_estimate(const md_plan *p, const md_session_args *s, md_memory *out, md_error *err) MD_MUST_USE;
/* Fills a row whose memory is known. */
md_status md_plan_predict(const md_plan *p, const md_plan_costs *c, md_plan_row *row, md_error *err) MD_MUST_USE;

#endif
