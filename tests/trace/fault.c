/* SPDX-License-Identifier: Apache-2.0
 *
 * Traces when memory or the disk gives out: whichever allocation or call fails, the answer is one sentence or the right result;
 * and a disk that fails while a trace is written stops nothing but the trace. */
#include "support/fault.h"
#include "support/synth_model.h"
#include "trace/trace_test.h"

enum { STEPS = 20 };

static void write_steps(md_trace_writer *w, int32_t first)
{
    for (int32_t t = first; t < first + STEPS; t++) {
        md_trace_write_step(w, 1, (const int32_t[]){0}, &t, &t);
        md_trace_write_routing(w, 0, 1, (const int32_t[]){t % 4, (t + 1) % 4}, (const float[]){0.5f, 0.5f});
        md_trace_write_routing(w, 2, 1, (const int32_t[]){t % 3}, (const float[]){1.0f});
        md_trace_write_step_end(w, 5);
    }
}

static md_status write_and_read(void *arg, uint64_t *result, md_error *err)
{
    const char *path = arg;
    const md_trace_record *r = NULL;
    md_trace_writer *w;
    md_trace_reader *reader;
    md_status status = md_trace_writer_open(path, &some_info, &w, err);
    if (status != MD_OK)
        return status;
    write_steps(w, 0);
    status = md_trace_writer_close(w, err);
    if (status == MD_OK)
        status = md_trace_reader_open(path, &reader, err);
    if (status != MD_OK)
        return status;
    *result = 0;
    while ((status = md_trace_reader_next(reader, &r, err)) == MD_OK && r)
        *result = *result * 31 + r->offset + (uint64_t)r->kind;
    md_trace_reader_close(reader);
    return status;
}

static md_status study(void *arg, uint64_t *result, md_error *err)
{
    md_trace_summary *s = NULL;
    md_trace_affinity *a = NULL;
    md_trace_simulation *x = NULL;
    md_status status = md_trace_summarise(arg, arg, &s, err);
    if (status == MD_OK)
        status = md_trace_find_affinity(arg, 5, &a, err);
    if (status == MD_OK)
        status = md_trace_simulate(arg, NULL, &x, err);
    if (status == MD_OK)
        *result = s->total.choices + 1000 * a->total.choices + 1000000 * (x->needs + x->replay[0].hits);
    md_trace_summary_free(s);
    md_trace_affinity_free(a);
    md_trace_simulation_free(x);
    return status;
}

static void every_fault_is_survived(void **state)
{
    char *path = strdup(in_folder(state, "t"));
    md_trace_writer *w = open_writer(path, &some_info);
    write_steps(w, 0);
    close_writer(w);
    assert_true(fault_each(FAULT_MEMORY, MD_ERR_MEMORY, study, path).refused >= 20);
    assert_true(fault_each(FAULT_CALL, MD_ERR_IO, study, path).refused >= 10);
    assert_true(fault_each(FAULT_SHORT, MD_ERR_IO, study, path).refused == 0);
    assert_true(fault_each(FAULT_MEMORY, MD_ERR_MEMORY, write_and_read, path).refused >= 5);
    assert_true(fault_each(FAULT_CALL, MD_ERR_IO, write_and_read, path).refused >= 5);
    assert_true(fault_each(FAULT_SHORT, MD_ERR_IO, write_and_read, path).refused == 0);
    assert_true(fault_each(FAULT_INTERRUPT, MD_ERR_IO, write_and_read, path).refused == 0);
    free(path);
}

/* What was written before stays readable. */
static void a_failing_disk_is_told_at_the_end(void **state)
{
    const char *path = in_folder(state, "t");
    md_error err;
    md_trace_writer *w = open_writer(path, &some_info);
    write_steps(w, 0);
    md_trace_writer_flush(w);
    write_steps(w, STEPS);
    fault_arm(FAULT_CALL, 0);
    md_trace_writer_flush(w);
    assert_true(fault_disarm());
    write_steps(w, 2 * STEPS);
    md_trace_writer_flush(w);
    assert_int_equal(md_trace_writer_close(w, &err), MD_ERR_IO);
    assert_non_null(strstr(err.message, "cannot write the trace"));
    assert_non_null(strstr(err.message, "it ends before that"));
    md_trace_reader *r = open_reader(path);
    int records = 0;
    while (next_record(r))
        records++;
    assert_int_equal(records, 4 * STEPS);
    md_trace_reader_close(r);
}

typedef struct stage {
    md_model *model;
    md_session *session;
    md_seq *seq;
    const char *path;
} stage;

static md_status trace_a_step(void *arg, uint64_t *result, md_error *err)
{
    stage *s = arg;
    md_trace_writer *w = NULL;
    md_session_trace *t = NULL;
    int32_t token = 5;
    md_status status = md_trace_writer_open_model(s->path, s->model, &w, err);
    if (status == MD_OK)
        status = md_session_trace_begin(s->session, w, &t, err);
    if (status == MD_OK) {
        const size_t before = fault_bytes_asked();
        status = md_decode(s->session, &(md_batch){.n = 1, .token = &token, .seq = &s->seq}, err);
        assert_true(fault_bytes_asked() == before); /* a step allocates nothing */
    }
    md_session_trace_end(t);
    const md_status closed = md_trace_writer_close(w, status == MD_OK ? err : NULL);
    *result = 1;
    return status == MD_OK ? closed : status;
}

static void a_session_is_traced_or_told_why_not(void **state)
{
    const md_synth_spec spec = {.arch = "qwen3moe", .n_layer = 1};
    stage s = {.model = open_synth(&spec), .path = in_folder(state, "t")};
    md_session_args args;
    md_session_args_default(s.model, &args);
    args.n_threads = 1;
    args.n_positions = 256;
    OK(md_session_new(s.model, &args, &s.session, err));
    OK(md_seq_new(s.session, &s.seq, err));
    assert_true(fault_each(FAULT_MEMORY, MD_ERR_MEMORY, trace_a_step, &s).refused >= 6);
    md_session_free(s.session);
    md_model_close(s.model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_fault_is_survived, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(a_failing_disk_is_told_at_the_end, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(a_session_is_traced_or_told_why_not, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests_name("traces and faults", tests, NULL, NULL);
}
