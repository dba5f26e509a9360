/* SPDX-License-Identifier: Apache-2.0
 *
 * A machine that is made up, so that what is planned for it does not depend on the one that tests run on. */
#ifndef MD_TEST_PLAN_MADE_UP_H
#define MD_TEST_PLAN_MADE_UP_H

#include "plan/profile.h"
#include "support/scratch.h"
#include "support/synth_model.h"

#define MADE_UP_THREADS 2

static inline md_profile *made_up_profile(const char *folder)
{
    md_profile *p = calloc(1, sizeof *p);
    struct stat st;
    assert_non_null(p);
    assert_int_equal(stat(folder, &st), 0);
    md_profile_init(p, md_kern_get(NULL)->isa, MADE_UP_THREADS);
    p->measured = true;
    p->read_1 = 1e10;
    p->read = 2e10;
    p->touch = p->fresh = p->copy = 1e-10;
    p->loop = 1e-6;
    p->wake = 2e-5;
    p->norm = 2e-10;
    p->hidden = 5e-10;
    p->combine = 1e-10;
    p->pend = 3e-10;
    for (int i = 0; i < MD_PROFILE_QUERIES; i++)
        p->attend[0][i] = p->attend[1][i] = 4e-11 / (i + 1);
    for (int t = 0; t < MD_N_TYPES; t++) {
        if (md_type_get((md_type)t)->act == MD_ACT_NONE)
            continue;
        p->type[t] = (md_profile_type){.measured = true, .weave_1 = 2e-10, .weave = 1e-10};
        for (int i = 0; i < MD_PROFILE_ROWS; i++)
            p->type[t].weight[i] = 3e-11 + 1e-11 * md_profile_rows[i];
    }
    p->disk[0].device = (uint64_t)st.st_dev;
    p->disk[0].both = (md_profile_both){.read = {1.4, 1.1}, .work = {1.2, 1.25}};
    for (int s = 0; s < MD_PROFILE_SIZES; s++)
        for (int d = 0; d < MD_PROFILE_DEPTHS; d++)
            p->disk[0].seconds[s][d] = 1e-4 + md_profile_sizes[s] * md_profile_depths[d] / 5e8;
    return p;
}

/* The file in which md_plan_new looks for it; borrowed, as scratch_path's. */
static inline const char *made_up_path(const char *folder)
{
    char name[64];
    snprintf(name, sizeof name, "profile-%s-%d.json", md_kern_get(NULL)->isa, MADE_UP_THREADS);
    return scratch_path(folder, name);
}

static inline void save_made_up(const char *folder)
{
    md_profile *p = made_up_profile(folder);
    OK(md_profile_save(p, made_up_path(folder), err));
    free(p);
}

#endif
