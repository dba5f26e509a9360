/* SPDX-License-Identifier: Apache-2.0
 *
 * Seconds of a layer's experts in slots, for a machine that is made up: nothing is faster than its parts, reads and computing hold up
 * each other by what the profile says and no more, what comes early is not waited for, and loops of few items are uneven. */
#include "made_up.h"
#include "plan/work.h"

#include <math.h>

typedef struct setting {
    md_profile *profile;
    md_plan_layer layer;
    md_plan_costs costs;
} setting;

static void set_up(setting *f, const char *folder)
{
    *f = (setting){.profile = made_up_profile(folder)};
    f->layer = (md_plan_layer){.n_expert = 64,
                               .top_k = 8,
                               .rounds = 1,
                               .width = 2048,
                               .expert_hidden = 1024,
                               .expert_reads = 3,
                               .expert_bytes = 3 * 1024 * 2048 / 256 * 144,
                               .woven_bytes = 3 * 1024 * 2048 / 256 * 144};
    for (int i = 0; i < MD_PLAN_FFN; i++)
        f->layer.expert[i] = (md_plan_mul){.type = MD_TYPE_Q4_K, .weights = 1024.0 * 2048.0};
    f->costs = (md_plan_costs){.profile = f->profile, .disk = &f->profile->disk[0]};
}

static void set_both(setting *f, double read, double work)
{
    for (int i = 0; i < MD_PROFILE_KINDS; i++) {
        f->profile->disk[0].both.read[i] = read;
        f->profile->disk[0].both.work[i] = work;
    }
}

static void set_disk(setting *f, double rate)
{
    for (int s = 0; s < MD_PROFILE_SIZES; s++)
        for (int d = 0; d < MD_PROFILE_DEPTHS; d++)
            f->profile->disk[0].seconds[s][d] = md_profile_sizes[s] * md_profile_depths[d] / rate;
}

/* Steps of one row, which need hits and misses. */
static md_plan_time time_of(const setting *f, int32_t hits, int32_t misses, double mixer)
{
    md_plan_wave wave[3];
    for (int i = 0; i < 3; i++)
        wave[i] = (md_plan_wave){.first = true,
                                 .asked = misses,
                                 .last = misses,
                                 .hits = hits,
                                 .misses = misses,
                                 .hit_rows = hits,
                                 .miss_rows = misses};
    const md_plan_flow flow = {.wave = wave, .n = 3, .steps = 3};
    return md_plan_flow_time(&f->costs, &f->layer, &flow, 1.0, mixer);
}

static double all_resident(const setting *f, int32_t n)
{
    md_plan_wave wave = {.first = true, .hits = n, .hit_rows = n};
    const md_plan_flow flow = {.wave = &wave, .n = 1, .steps = 1};
    return md_plan_resident_time(&f->costs, &f->layer, &flow).total;
}

static void nothing_is_faster_than_its_parts(void **state)
{
    setting f;
    set_up(&f, *state);
    for (double rate = 1e8; rate < 1e12; rate *= 3.0) {
        set_disk(&f, rate);
        double before = 0.0;
        for (int32_t misses = 0; misses <= 8; misses++) {
            const md_plan_time t = time_of(&f, 8 - misses, misses, 0.0);
            const double reads = misses * f.layer.expert_bytes / rate;
            assert_true(t.total >= reads * 0.999 && t.total >= all_resident(&f, 8) * 0.999);
            assert_true(t.disk <= t.total && t.total >= before);
            before = t.total;
        }
    }
    set_disk(&f, 1e13); /* what is there at once is woven, and run in two loops in place of one */
    const double weaving = 4 * (f.layer.woven_bytes * 1e-10 + f.profile->loop);
    assert_true(fabs(time_of(&f, 4, 4, 0.0).total - all_resident(&f, 8) - weaving - f.profile->loop) < 3e-5);
    set_disk(&f, 1e6); /* nothing but waiting, and what the last one needs */
    const md_plan_time slow = time_of(&f, 0, 8, 0.0);
    assert_true(slow.disk / slow.total > 0.999);
    free(f.profile);
}

static void reads_and_computing_hold_up_each_other(void **state)
{
    setting f;
    set_up(&f, *state);
    set_disk(&f, 4e9);
    set_both(&f, 1.0, 1.0);
    const double alone = time_of(&f, 4, 4, 0.0).total;
    set_both(&f, 1.0, 1.5);
    const double work = time_of(&f, 4, 4, 0.0).total;
    set_both(&f, 1.5, 1.0);
    const double read = time_of(&f, 4, 4, 0.0).total;
    set_both(&f, 1.5, 1.5);
    const double both = time_of(&f, 4, 4, 0.0).total;
    assert_true(read > alone * 1.01 && read < alone * 1.5);
    const double wakes = 4 * f.profile->wake; /* threads that compute for longer are woken less often */
    assert_true(work > alone - wakes && work < alone * 1.5);
    assert_true(both > work && both > read - wakes && both < alone * 1.5);
    set_both(&f, 9.0, 9.0); /* where nothing is read, it does not matter */
    assert_true(fabs(time_of(&f, 8, 0, 0.0).total / all_resident(&f, 8) - 1.0) < 1e-9);
    free(f.profile);
}

static void guesses_use_the_time_between(void **state)
{
    setting f;
    set_up(&f, *state);
    set_disk(&f, 2e9);
    const md_plan_time off = time_of(&f, 4, 4, 5e-3);
    assert_true(fabs(off.total - time_of(&f, 4, 4, 0.0).total) < 1e-12);
    f.costs.read_ahead = true;
    double before = off.total;
    for (double mixer = 0.0; mixer < 0.02; mixer += 1e-3) {
        const md_plan_time t = time_of(&f, 4, 4, mixer);
        assert_true(t.total <= before * 1.000001);
        before = t.total;
    }
    assert_true(before < off.total * 0.6); /* three of four are there */
    assert_true(before > all_resident(&f, 8));
    free(f.profile);
}

static void few_items_are_uneven(void **state)
{
    setting f;
    set_up(&f, *state);
    const double even = md_plan_hidden_seconds(&f.costs, &f.layer, 8, 8) / 8;
    assert_true(fabs(md_plan_hidden_seconds(&f.costs, &f.layer, 1, 1) / even - 1.0) < 1e-9); /* 4 items, 2 threads */
    f.layer.expert_hidden = 768;
    const double eight = md_plan_hidden_seconds(&f.costs, &f.layer, 8, 8) / 8;
    assert_true(fabs(md_plan_hidden_seconds(&f.costs, &f.layer, 1, 1) / eight - 4.0 / 3.0) < 1e-9); /* 3 items */
    free(f.profile);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(nothing_is_faster_than_its_parts),
        IN_SCRATCH(reads_and_computing_hold_up_each_other),
        IN_SCRATCH(guesses_use_the_time_between),
        IN_SCRATCH(few_items_are_uneven),
    };
    return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
