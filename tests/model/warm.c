/* SPDX-License-Identifier: Apache-2.0
 *
 * Starting warm: the uses of experts go from one session to the next, through a file that is trusted in nothing or a trace; a warm
 * session has what it needs at once, and says the same bits. */
#include "support/scratch.h"
#include "support/synth_model.h"

#include <medley/trace.h>

enum { EXPERTS = 16, TOP_K = 2, LAYERS = 3, STEPS = 60, ROOM = 6 };

typedef struct world {
    md_model *m;
    const char *folder;
} world;

static void world_init(world *w, const char *folder)
{
    const md_synth_spec spec = {.arch = "llama",
                                .n_layer = LAYERS,
                                .n_expert = EXPERTS,
                                .n_expert_used = TOP_K,
                                .type = "Q8_0",
                                .skew = 2.0f,
                                .seed = 7};
    w->folder = folder;
    const char *path = scratch_path(folder, "m.gguf");
    OK(md_synth_write(&spec, path, err));
    OK(md_model_open(path, &(md_model_args){.stream = MD_STREAM_ALWAYS}, &w->m, err));
}

static md_session *new_session(const world *w, md_read_ahead ahead)
{
    md_session_args args;
    md_session *s;
    md_session_args_default(w->m, &args);
    args.n_threads = 2;
    args.n_positions = 128;
    args.most_slots = ROOM;
    args.read_ahead = ahead;
    OK(md_session_new(w->m, &args, &s, err));
    return s;
}

/* Runs tokens one by one; the hash of their logits. */
static uint64_t run(const world *w, md_session *s, int32_t steps)
{
    md_seq *q;
    uint64_t hash = MD_HASH_START;
    const int32_t n_vocab = md_model_get_info(w->m)->n_vocab;
    OK(md_seq_new(s, &q, err));
    for (int32_t i = 0; i < steps; i++) {
        const int32_t token = (i * 31 + 5) % n_vocab;
        OK(md_decode(s, &(md_batch){.n = 1, .token = &token, .seq = &q}, err));
        hash = md_logits_hash(hash, md_step_logits(s, 0), (size_t)n_vocab);
    }
    md_seq_free(q);
    return hash;
}

static md_stream_counts counts(const md_session *s)
{
    md_stream_counts c;
    md_session_stream_counts(s, &c);
    return c;
}

static void uses_go_from_run_to_run(void **state)
{
    world w;
    world_init(&w, *state);
    const char *path = scratch_path(w.folder, "uses");
    md_session *cold = new_session(&w, MD_READ_AHEAD_OFF), *warm = new_session(&w, MD_READ_AHEAD_OFF);
    const uint64_t hash = run(&w, cold, STEPS);
    OK(md_session_save_uses(cold, path, err));
    OK(md_session_load_uses(warm, path, err));
    md_session_warm(warm, 0.5);
    assert_int_equal(run(&w, warm, STEPS), hash);
    const md_stream_counts a = counts(cold), b = counts(warm);
    assert_int_equal(a.hits + a.misses, STEPS * LAYERS * TOP_K);
    assert_int_equal(b.hits + b.misses, a.hits + a.misses);
    assert_true(b.misses + ROOM < a.misses); /* what was read early is no miss */
    md_session_free(cold);
    md_session_free(warm);
    md_model_close(w.m);
}

static void a_trace_teaches(void **state)
{
    world w;
    world_init(&w, *state);
    const char *path = scratch_path(w.folder, "t.trace");
    md_session *cold = new_session(&w, MD_READ_AHEAD_ALWAYS), *taught = new_session(&w, MD_READ_AHEAD_ALWAYS);
    md_trace_writer *writer;
    md_session_trace *trace;
    OK(md_trace_writer_open_model(path, w.m, &writer, err));
    OK(md_session_trace_begin(cold, writer, &trace, err));
    const uint64_t hash = run(&w, cold, STEPS);
    md_session_trace_end(trace);
    OK(md_trace_writer_close(writer, err));
    OK(md_session_learn(taught, path, err));
    md_session_warm(taught, 1.0);
    assert_int_equal(run(&w, taught, STEPS), hash);
    const md_stream_counts a = counts(cold), b = counts(taught);
    assert_true(b.misses < a.misses);
    assert_true(b.guess_right[MD_STREAM_AFFINITY] * a.guess_named[MD_STREAM_AFFINITY] > 0);
    md_session_free(cold);
    md_session_free(taught);
    md_model_close(w.m);
}

static void expect_refused(md_session *s, const char *path, const unsigned char *bytes, size_t n, md_status expected)
{
    md_error error;
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(md_session_load_uses(s, path, &error), expected);
    assert_non_null(strstr(error.message, path));
}

static void a_bad_file_is_refused(void **state)
{
    world w;
    world_init(&w, *state);
    const char *path = scratch_path(w.folder, "uses"), *other = scratch_path(w.folder, "bad");
    md_session *s = new_session(&w, MD_READ_AHEAD_OFF);
    size_t n;
    (void)run(&w, s, 4);
    OK(md_session_save_uses(s, path, err));
    unsigned char *bytes = read_all(path, &n);
    for (size_t cut = 0; cut < n; cut += 7)
        expect_refused(s, other, bytes, cut, MD_ERR_FORMAT);
    for (size_t i = 0; i < n; i += 3) { /* magic, version, model, count, numbers, checksum: damage anywhere is found */
        md_error error;
        bytes[i] ^= 0x10;
        FILE *f = fopen(other, "wb");
        assert_int_equal(fwrite(bytes, 1, n, f), n);
        assert_int_equal(fclose(f), 0);
        assert_int_not_equal(md_session_load_uses(s, other, &error), MD_OK);
        bytes[i] ^= 0x10;
    }
    bytes[16] ^= 1; /* the identity */
    expect_refused(s, other, bytes, n, MD_ERR_UNSUPPORTED);
    free(bytes);
    md_session_free(s);
    md_model_close(w.m);
}

static void resident_experts_have_none(void **state)
{
    md_error error;
    md_session_args args;
    md_session *s;
    md_model *m = open_synth(&(md_synth_spec){.arch = "llama", .n_expert = 4, .n_expert_used = 2});
    md_session_args_default(m, &args);
    args.n_positions = 64;
    OK(md_session_new(m, &args, &s, err));
    const char *path = scratch_path(*state, "uses");
    assert_int_equal(md_session_save_uses(s, path, &error), MD_ERR_UNSUPPORTED);
    assert_int_equal(md_session_load_uses(s, path, &error), MD_ERR_UNSUPPORTED);
    assert_int_equal(md_session_learn(s, path, &error), MD_ERR_UNSUPPORTED);
    md_session_warm(s, 1.0);
    md_session_free(s);
    md_model_close(m);
}

/* More rows share what is read, but only where slots can spare the memory. */
static void steps_grow_with_the_slots(void **state)
{
    const md_synth_spec spec = {.arch = "llama",
                                .n_layer = 4,
                                .n_embd = 256,
                                .n_ff_exp = 64,
                                .n_expert = 512,
                                .n_expert_used = TOP_K,
                                .type = "Q8_0",
                                .n_threads = 2};
    const char *path = scratch_path(*state, "m.gguf");
    md_model *m;
    md_session_args args;
    md_memory whole, part;
    md_session *s;
    OK(md_synth_write(&spec, path, err));
    OK(md_model_open(path, &(md_model_args){.stream = MD_STREAM_ALWAYS}, &m, err));
    md_session_args_default(m, &args);
    args.n_positions = 2048;
    args.n_threads = 2;
    OK(md_session_estimate(m, &args, &whole, err)); /* all experts fit: nothing is gained */
    args.rows_grow = false;
    OK(md_session_estimate(m, &args, &part, err));
    assert_int_equal(whole.scratch, part.scratch);
    static const int divisor[] = {20, 2}; /* of the slots, that is too much */
    int32_t rows[2];
    for (int i = 0; i < 2; i++) {
        args.rows_grow = true;
        args.memory = (int64_t)(whole.total - whole.slots / (uint64_t)divisor[i]);
        OK(md_session_estimate(m, &args, &part, err));
        OK(md_session_new(m, &args, &s, err));
        rows[i] = md_session_max_rows(s);
        assert_true(part.slots < whole.slots && part.total <= (uint64_t)args.memory);
        assert_true((part.scratch - whole.scratch) * 8 <= whole.slots);
        md_session_free(s);
    }
    assert_true(rows[0] > 512 && rows[0] <= 2048);
    assert_true(rows[1] <= rows[0]);
    md_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(uses_go_from_run_to_run),    IN_SCRATCH(a_trace_teaches),
        IN_SCRATCH(a_bad_file_is_refused),      IN_SCRATCH(steps_grow_with_the_slots),
        IN_SCRATCH(resident_experts_have_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
