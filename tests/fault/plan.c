/* SPDX-License-Identifier: Apache-2.0
 *
 * Planning when memory runs out at any place: the outline of a model, its shapes, a trace, the replay, the profile's file. */
#include "model/model.h"
#include "plan/work.h"
#include "support/fault.h"
#include "support/scratch.h"
#include "support/synth_model.h"

#include <medley/trace.h>

typedef struct job {
    const char *model, *trace, *profile;
} job;

static md_status replay(const md_plan_work *w, const md_plan_routing *routing, uint64_t *result, md_error *err)
{
    const md_plan_replay r = {
        .n_prompt = 40, .n_rows = 20, .batch = 1, .n_steps = 10, .most = 3, .slots = 3, .before = 0};
    md_plan_session s;
    const md_status status = md_plan_replay_run(&r, routing, w->layer, 1, &s, err);
    if (status != MD_OK)
        return status;
    *result = *result * 31 + (uint64_t)(s.first_prompt.hits + 100.0 * s.generation.hits + 10000.0 * s.prompt.needs);
    md_plan_session_done(&s);
    return MD_OK;
}

static md_status plan(void *arg, uint64_t *result, md_error *err)
{
    const job *j = arg;
    md_model *m = NULL;
    md_plan_work work = {0};
    md_plan_routing routing = {0};
    md_arena arena = {0};
    *result = 1;
    md_status status = md_model_outline(j->model, NULL, &m, err);
    if (status == MD_OK)
        status = md_plan_work_fill(m, &arena, &work, err);
    int32_t slots[2], most;
    if (status == MD_OK) {
        md_streamed_args args = m->stream->args;
        args.bytes = m->stream->least;
        status = md_streamed_share(&args, slots, &most, err);
    }
    if (status == MD_OK)
        status = md_plan_routing_init(&routing, j->trace, &work, &arena, err);
    if (status == MD_OK)
        status = replay(&work, &routing, result, err);
    if (status == MD_OK) {
        md_profile p;
        md_profile_init(&p, "none", 1);
        status = md_profile_save(&p, j->profile, err);
    }
    md_plan_routing_done(&routing);
    md_model_close(m);
    md_arena_done(&arena);
    return status;
}

static void write_trace(const char *path)
{
    const md_trace_layer layer[2] = {{8, 8, 2, 1}, {8, 8, 2, 1}};
    const md_trace_info info = {.model = "made up", .n_layer = 2, .layer = layer};
    md_trace_writer *w = NULL;
    OK(md_trace_writer_open(path, &info, &w, err));
    for (int32_t t = 0; t < 50; t++) {
        md_trace_write_step(w, 1, (const int32_t[]){0}, &t, &t);
        for (int32_t l = 0; l < 2; l++)
            md_trace_write_routing(w, l, 1, (const int32_t[]){t % 8, t * t % 8}, (const float[]){0.5f, 0.5f});
        md_trace_write_step_end(w, 1);
    }
    OK(md_trace_writer_close(w, err));
}

static void memory_runs_out(void **state)
{
    job j = {.model = scratch_path(*state, "m.gguf"),
             .trace = scratch_path(*state, "t.trace"),
             .profile = scratch_path(*state, "p.json")};
    OK(md_synth_write_header(&(md_synth_spec){.arch = "qwen3moe"}, j.model, err));
    write_trace(j.trace);
    const fault_count memory = fault_each(FAULT_MEMORY, MD_ERR_MEMORY, plan, &j);
    print_message("%ld allocations (%ld made no difference)\n", memory.refused + memory.survived, memory.survived);
    assert_true(memory.refused > 20);
    j.trace = NULL;
    assert_true(fault_each(FAULT_MEMORY, MD_ERR_MEMORY, plan, &j).refused > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {IN_SCRATCH(memory_runs_out)};
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
