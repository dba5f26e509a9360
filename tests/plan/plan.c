/* SPDX-License-Identifier: Apache-2.0
 *
 * Plans for a machine that is made up: what they need of a file, that more memory is never worse, what is refused, and that what is
 * planned to be spent is what a session spends. */
#include "made_up.h"

#include <math.h>
#include <medley/trace.h>
#include <medley/unstable/plan.h>
#include <string.h>

static const md_synth_spec moe = {.arch = "qwen3moe",
                                  .type = "Q4_K",
                                  .n_layer = 4,
                                  .n_embd = 512,
                                  .n_head = 4,
                                  .head_dim = 128,
                                  .n_expert = 16,
                                  .n_expert_used = 2,
                                  .n_ff_exp = 1024};

static md_plan_args args_in(const char *folder)
{
    return (md_plan_args){.folder = folder, .n_threads = MADE_UP_THREADS, .n_positions = 1024, .n_prompt = 256};
}

static md_plan *plan_of(const char *path, const md_plan_args *args)
{
    md_plan *p = NULL;
    OK(md_plan_new(path, args, &p, err));
    return p;
}

static void assert_same(const md_plan *a, const md_plan *b)
{
    assert_int_equal(md_plan_n_rows(a), md_plan_n_rows(b));
    for (size_t i = 0; i < md_plan_n_rows(a); i++) {
        const md_plan_row *x = md_plan_get_row(a, i), *y = md_plan_get_row(b, i);
        assert_true(fabs((double)x->memory - (double)y->memory) < 4e6); /* what the process held meanwhile */
        assert_true(fabs(x->generation / y->generation - 1.0) < 0.05);
        assert_true(fabs(x->prompt / y->prompt - 1.0) < 0.05);
    }
}

static void a_header_is_enough(void **state)
{
    const char *folder = *state, *whole = scratch_path(folder, "whole.gguf"),
               *header = scratch_path(folder, "header.gguf");
    save_made_up(folder);
    OK(md_synth_write(&moe, whole, err));
    OK(md_synth_write_header(&moe, header, err));
    struct stat st;
    assert_int_equal(stat(header, &st), 0);
    const off_t header_bytes = st.st_size;
    assert_int_equal(stat(whole, &st), 0);
    assert_true(header_bytes < st.st_size / 10);
    const md_plan_args args = args_in(folder);
    md_plan *a = plan_of(whole, &args), *b = plan_of(header, &args);
    assert_false(md_plan_get_machine(a)->measured);
    assert_int_equal(md_plan_info(a)->file_bytes, (uint64_t)st.st_size);
    assert_same(a, b);
    md_plan_free(b);
    assert_int_equal(truncate(whole, header_bytes + 100), 0); /* the same file, cut off */
    b = plan_of(whole, &args);
    assert_same(a, b);
    md_plan_free(b);
    md_plan_free(a);
}

static void no_temporary_file_stays(void **state)
{
    const char *folder = *state, *header = scratch_path(folder, "header.gguf");
    save_made_up(folder);
    OK(md_synth_write_header(&moe, header, err));
    const md_plan_args args = args_in(folder);
    md_plan_free(plan_of(header, &args));
    DIR *d = opendir(folder);
    int n = 0;
    while (readdir(d))
        n++;
    closedir(d);
    assert_int_equal(n, 4); /* ".", "..", the header, the profile */
}

static void more_memory_is_never_worse(void **state)
{
    const char *folder = *state, *header = scratch_path(folder, "header.gguf");
    save_made_up(folder);
    OK(md_synth_write_header(&moe, header, err));
    md_plan_args args = args_in(folder);
    md_plan *p = plan_of(header, &args);
    uint64_t memory[12];
    for (size_t i = 0; i < 12; i++)
        memory[i] = md_plan_least(p) + (uint64_t)i * (2 << 20);
    md_plan_free(p);
    args.memory = memory;
    args.n_memory = 12;
    p = plan_of(header, &args);
    assert_true(md_plan_n_rows(p) >= 14);
    assert_true(md_plan_get_row(p, 0)->resident);
    for (size_t i = 2; i < md_plan_n_rows(p); i++) {
        const md_plan_row *more = md_plan_get_row(p, i - 1), *less = md_plan_get_row(p, i);
        assert_true(more->memory >= less->memory);
        assert_true(more->slots >= less->slots);
        assert_true(more->hit_rate >= less->hit_rate - 0.03); /* drawn at random */
        assert_true(more->generation >= less->generation * 0.97);
        assert_true(less->generation > 0.0 && less->prompt > 0.0 && less->first_prompt > 0.0 &&
                    less->load_seconds > 0.0);
    }
    const md_plan_row *all = md_plan_get_row(p, 0), *least = md_plan_get_row(p, md_plan_n_rows(p) - 1);
    assert_true(all->generation > 2.0 * least->generation);
    assert_true(all->hit_rate == 1.0 && all->token_bytes == 0.0 && all->slots == all->experts);
    assert_in_range(least->slots, 4 * 2, 4 * 3); /* of four layers, one token's; and what is to spare */
    assert_int_equal(least->generation_limit, MD_PLAN_DISK);
    assert_true(fabs(least->hit_rate - (double)least->slots / 64.0) < 0.03);
    /* of a token's 2 experts of 4 layers */
    assert_true(fabs(least->token_bytes / (4 * 2 * 3 * 512 * 1024 / 256 * 144.0 * (1.0 - least->hit_rate)) - 1.0) <
                1e-6);
    md_plan_free(p);
}

static void batches_share_what_is_read(void **state)
{
    const char *folder = *state, *header = scratch_path(folder, "header.gguf");
    save_made_up(folder);
    OK(md_synth_write_header(&moe, header, err));
    md_plan_args args = args_in(folder);
    md_plan *one = plan_of(header, &args);
    args.batch = 16;
    args.n_positions = 16 * 1024;
    md_plan *many = plan_of(header, &args);
    const md_plan_row *a = md_plan_get_row(one, md_plan_n_rows(one) - 1),
                      *b = md_plan_get_row(many, md_plan_n_rows(many) - 1);
    assert_true(b->generation > a->generation);
    assert_true(b->token_bytes < a->token_bytes);
    assert_true(md_plan_least(many) > md_plan_least(one)); /* keys and values */
    md_plan_free(one);
    md_plan_free(many);
}

static void a_budget_that_is_too_small_is_refused(void **state)
{
    const char *folder = *state, *header = scratch_path(folder, "header.gguf");
    md_error e = {0};
    md_plan *p = (md_plan *)&e;
    save_made_up(folder);
    OK(md_synth_write_header(&moe, header, err));
    md_plan_args args = args_in(folder);
    const uint64_t memory = 1 << 20;
    args.memory = &memory;
    args.n_memory = 1;
    assert_int_equal(md_plan_new(header, &args, &p, &e), MD_ERR_MEMORY);
    assert_null(p);
    assert_non_null(strstr(e.message, "MiB are needed at least"));
    assert_non_null(strstr(e.message, "but only 1.0 MiB are allowed"));
}

/* A plan's slots are those of a session with the same memory, but for what the process holds meanwhile. */
static void what_is_planned_is_what_is_spent(void **state)
{
    const char *folder = *state, *path = scratch_path(folder, "model.gguf");
    save_made_up(folder);
    OK(md_synth_write(&moe, path, err));
    md_plan_args args = args_in(folder);
    md_plan *p = plan_of(path, &args);
    const uint64_t memory = md_plan_least(p) + (24 << 20);
    md_plan_free(p);
    args.memory = &memory;
    args.n_memory = 1;
    p = plan_of(path, &args);
    const md_plan_row *row = md_plan_get_row(p, 1);
    for (size_t i = 1; i < md_plan_n_rows(p) && row->memory != memory; i++)
        row = md_plan_get_row(p, i);
    assert_int_equal(row->memory, memory);
    const md_model_args open = {.stream = MD_STREAM_ALWAYS, .memory = (int64_t)memory};
    md_model *m = NULL;
    md_session *s = NULL;
    OK(md_model_open(path, &open, &m, err));
    md_session_args session;
    md_session_args_default(m, &session);
    session.n_threads = MADE_UP_THREADS;
    session.n_positions = args.n_positions;
    session.memory = (int64_t)memory;
    assert_int_equal(session.n_rows, row->n_rows);
    OK(md_session_new(m, &session, &s, err));
    md_stream_counts counts;
    md_session_stream_counts(s, &counts);
    assert_int_equal(counts.experts, row->experts);
    assert_true(row->slots > 8 && row->slots < 64);
    assert_true(labs((long)counts.slots - (long)row->slots) <= 8);
    md_session_free(s);
    md_model_close(m);
    md_plan_free(p);
}

/* A trace in which every token chooses the same two experts. */
static void write_trace(const char *path, int32_t n_expert)
{
    const md_trace_layer layer[4] = {
        {n_expert, n_expert, 2, 1}, {n_expert, n_expert, 2, 1}, {n_expert, n_expert, 2, 1}, {n_expert, n_expert, 2, 1}};
    const md_trace_info info = {.model = "made up", .n_layer = 4, .layer = layer};
    md_trace_writer *w = NULL;
    OK(md_trace_writer_open(path, &info, &w, err));
    for (int32_t t = 0; t < 400; t++) {
        md_trace_write_step(w, 1, (const int32_t[]){0}, &t, &t);
        for (int32_t l = 0; l < 4; l++)
            md_trace_write_routing(w, l, 1, (const int32_t[]){l, 7}, (const float[]){0.5f, 0.5f});
        md_trace_write_step_end(w, 1);
    }
    OK(md_trace_writer_close(w, err));
}

static void a_trace_is_replayed(void **state)
{
    const char *folder = *state, *header = scratch_path(folder, "header.gguf"),
               *trace = scratch_path(folder, "favourites.trace");
    save_made_up(folder);
    OK(md_synth_write_header(&moe, header, err));
    write_trace(trace, 16);
    md_plan_args args = args_in(folder);
    args.trace = trace;
    md_plan *p = plan_of(header, &args);
    const md_plan_row *least = md_plan_get_row(p, md_plan_n_rows(p) - 1);
    assert_in_range(least->slots, 8, 12);
    assert_true(least->hit_rate == 1.0 && least->token_bytes == 0.0);
    assert_true(least->first_prompt < least->prompt);
    assert_non_null(strstr(md_plan_routing_text(p), "favourites.trace"));
    md_plan_free(p);
    md_error e = {0};
    write_trace(trace, 17);
    assert_int_equal(md_plan_new(header, &args, &p, &e), MD_ERR_ARGUMENT);
    assert_non_null(strstr(e.message, "2 of 17 experts at layer 0, this one uses 2 of 16"));
    args.trace = scratch_path(folder, "none.trace");
    assert_int_equal(md_plan_new(header, &args, &p, &e), MD_ERR_IO);
}

static void a_model_without_experts_has_one_row(void **state)
{
    const char *folder = *state, *header = scratch_path(folder, "header.gguf");
    save_made_up(folder);
    OK(md_synth_write_header(&(md_synth_spec){.arch = "llama", .type = "Q8_0", .n_embd = 256}, header, err));
    md_plan_args args = args_in(folder);
    md_plan *p = plan_of(header, &args);
    assert_int_equal(md_plan_n_rows(p), 1);
    assert_true(md_plan_get_row(p, 0)->resident && md_plan_get_row(p, 0)->generation > 0.0);
    assert_string_equal(md_plan_routing_text(p), "");
    md_plan_free(p);
    const uint64_t memory = 4096;
    args.memory = &memory;
    args.n_memory = 1;
    md_error e = {0};
    assert_int_equal(md_plan_new(header, &args, &p, &e), MD_ERR_MEMORY);
    assert_non_null(strstr(e.message, "no experts that could stay in the file"));
}

/* Latent attention with shared and dense parts, and every family of shapes there is. */
static void all_shapes_are_planned(void **state)
{
    const char *folder = *state, *header = scratch_path(folder, "header.gguf");
    static const char *const names[] = {"olmoe", "qwen3-30b-a3b", "mixtral", "deepseek-v2-lite", "gpt-oss-20b"};
    save_made_up(folder);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        OK(md_synth_write_header(&(md_synth_spec){.like = names[i], .n_layer = 3}, header, err));
        const md_plan_args args = args_in(folder);
        md_plan *p = plan_of(header, &args);
        assert_true(md_plan_n_rows(p) > 3);
        for (size_t r = 0; r < md_plan_n_rows(p); r++) {
            const md_plan_row *row = md_plan_get_row(p, r);
            assert_true(row->generation > 0.0 && row->generation < 1e5 && row->prompt > 0.0 && row->prompt < 1e6);
            assert_true(row->prompt >= row->first_prompt * 0.99);
        }
        md_plan_free(p);
    }
}

static void what_makes_no_sense_is_refused(void **state)
{
    const char *folder = *state, *header = scratch_path(folder, "header.gguf");
    md_error e = {0};
    md_plan *p;
    save_made_up(folder);
    OK(md_synth_write_header(&moe, header, err));
    md_plan_args args = args_in(folder);
    args.batch = -1;
    assert_int_equal(md_plan_new(header, &args, &p, &e), MD_ERR_ARGUMENT);
    args = args_in(folder);
    args.n_prompt = (1 << 20) + 1;
    assert_int_equal(md_plan_new(header, &args, &p, &e), MD_ERR_ARGUMENT);
    args = args_in(folder);
    args.n_threads = 100000;
    assert_int_equal(md_plan_new(header, &args, &p, &e), MD_ERR_ARGUMENT);
    args = args_in(folder);
    args.isa = "abacus";
    assert_int_equal(md_plan_new(header, &args, &p, &e), MD_ERR_ARGUMENT);
    args = args_in(folder);
    args.policy = "fifo";
    assert_int_equal(md_plan_new(header, &args, &p, &e), MD_ERR_ARGUMENT);
    args = args_in(NULL);
    assert_int_equal(md_plan_new(header, &args, &p, &e), MD_ERR_ARGUMENT);
    assert_non_null(strstr(e.message, "nothing to measure the disk with"));
    OK(md_synth_write_header(&(md_synth_spec){.arch = "bert"}, header, err));
    args = args_in(folder);
    assert_int_equal(md_plan_new(header, &args, &p, &e), MD_ERR_UNSUPPORTED);
    assert_null(p);
    md_plan_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(a_header_is_enough),
        IN_SCRATCH(no_temporary_file_stays),
        IN_SCRATCH(more_memory_is_never_worse),
        IN_SCRATCH(batches_share_what_is_read),
        IN_SCRATCH(a_budget_that_is_too_small_is_refused),
        IN_SCRATCH(what_is_planned_is_what_is_spent),
        IN_SCRATCH(a_trace_is_replayed),
        IN_SCRATCH(a_model_without_experts_has_one_row),
        IN_SCRATCH(all_shapes_are_planned),
        IN_SCRATCH(what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
