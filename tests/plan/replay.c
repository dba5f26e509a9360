/* SPDX-License-Identifier: Apache-2.0
 *
 * The replay of a layer's slots is what the store does: a session whose experts are streamed is traced, and the trace replayed. Without a
 * trace, hits are what slots and experts say. */
#include "plan/work.h"
#include "support/scratch.h"
#include "support/synth_model.h"

#include <math.h>
#include <medley/trace.h>

enum { PROMPT = 70, CHUNK = 32, ANSWER = 40, LAYERS = 3, EXPERTS = 24, TOP_K = 3 };

static const md_synth_spec spec = {
    .arch = "qwen3moe", .n_layer = LAYERS, .n_expert = EXPERTS, .n_expert_used = TOP_K, .n_ff_exp = 32, .skew = 0.8f};

/* Runs a prompt and an answer; gives what the store did. */
static md_stream_counts run_session(const char *path, const char *trace, int32_t slots, const char *policy)
{
    const md_model_args open = {.stream = MD_STREAM_ALWAYS};
    md_model *m = NULL;
    md_session *s = NULL;
    md_seq *q = NULL;
    md_trace_writer *w = NULL;
    md_session_trace *t = NULL;
    int32_t token[PROMPT + ANSWER];
    md_seq *seq[CHUNK];
    OK(md_model_open(path, &open, &m, err));
    md_session_args args;
    md_session_args_default(m, &args);
    args.n_threads = 2;
    args.n_rows = CHUNK;
    args.n_positions = 256;
    args.most_slots = slots;
    args.policy = policy;
    args.read_ahead = MD_READ_AHEAD_OFF;
    OK(md_session_new(m, &args, &s, err));
    OK(md_trace_writer_open_model(trace, m, &w, err));
    OK(md_session_trace_begin(s, w, &t, err));
    OK(md_seq_new(s, &q, err));
    for (int i = 0; i < CHUNK; i++)
        seq[i] = q;
    fill_tokens(token, PROMPT + ANSWER, md_model_get_info(m)->n_vocab, 5);
    for (int at = 0, n; at < PROMPT + ANSWER; at += n) {
        n = at >= PROMPT ? 1 : PROMPT - at < CHUNK ? PROMPT - at : CHUNK;
        OK(md_decode(s, &(md_batch){.n = n, .token = token + at, .seq = seq}, err));
    }
    md_session_trace_end(t);
    OK(md_trace_writer_close(w, err));
    md_stream_counts counts;
    md_session_stream_counts(s, &counts);
    md_session_free(s);
    md_model_close(m);
    return counts;
}

static void replays_do_what_the_store_does(void **state)
{
    const char *path = scratch_path(*state, "m.gguf"), *trace = scratch_path(*state, "t.trace");
    static const int32_t slots[] = {1, 3, 4, 7, 12, 17, 23, 24};
    static const char *const policies[] = {"medley", "lru", "lfu"};
    md_arena arena = {0};
    md_plan_layer layer[LAYERS] = {0};
    const md_plan_work work = {.n_layer = LAYERS, .layer = layer};
    for (int l = 0; l < LAYERS; l++)
        layer[l] = (md_plan_layer){.n_expert = EXPERTS, .top_k = TOP_K};
    OK(md_synth_write(&spec, path, err));
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++)
        for (size_t p = 0; p < 3; p++) {
            const md_stream_counts counts = run_session(path, trace, slots[i], policies[p]);
            md_plan_routing routing;
            OK(md_plan_routing_init(&routing, trace, &work, &arena, err));
            assert_int_equal(routing.n_rows, PROMPT + ANSWER);
            md_plan_replay r = {.n_prompt = PROMPT,
                                .n_rows = CHUNK,
                                .batch = 1,
                                .n_steps = ANSWER,
                                .most = slots[i] < EXPERTS ? slots[i] : 0,
                                .slots = slots[i],
                                .before = -1,
                                .policy = policies[p]};
            double needs = 0.0, hits = 0.0;
            for (int32_t l = 0; l < LAYERS; l++) {
                md_plan_session session;
                r.before = l - 1;
                OK(md_plan_replay_run(&r, &routing, layer, l, &session, err));
                needs += session.first_prompt.needs + session.generation.needs;
                hits += session.first_prompt.hits + session.first_prompt.ahead + session.generation.hits;
                assert_true(session.generation.ahead == 0.0);
                assert_int_equal(session.generation.steps, ANSWER);
                md_plan_session_done(&session);
            }
            md_plan_routing_done(&routing);
            assert_int_equal((uint64_t)needs, counts.hits + counts.misses);
            /* what was read ahead for nothing stays if its read had begun: that is a matter of time */
            assert_true(fabs(hits - (double)counts.hits) <= 0.02 * needs);
        }
    md_arena_done(&arena);
}

static void even_routing_hits_by_the_share_of_slots(void **state)
{
    (void)state;
    md_arena arena = {0};
    md_plan_layer layer = {.n_expert = 64, .top_k = 8};
    const md_plan_work work = {.n_layer = 1, .layer = &layer};
    md_plan_routing routing;
    OK(md_plan_routing_init(&routing, NULL, &work, &arena, err));
    for (int32_t slots = 8; slots <= 64; slots += 14) {
        const md_plan_replay r = {.n_prompt = 64,
                                  .n_rows = 64,
                                  .batch = 1,
                                  .n_steps = 512,
                                  .most = slots < 64 ? slots : 0,
                                  .slots = slots,
                                  .before = -1};
        md_plan_session session;
        OK(md_plan_replay_run(&r, &routing, &layer, 0, &session, err));
        assert_true(fabs(session.generation.hits / session.generation.needs - slots / 64.0) < 0.02);
        assert_true(session.first_prompt.needs == 64.0 && session.first_prompt.hits == 0.0);
        assert_true(session.prompt.hits <= session.prompt.needs);
        md_plan_session_done(&session);
    }
    md_plan_routing_done(&routing);
    md_arena_done(&arena);
}

/* Reads are counted where they begin and where they are waited for. */
static void waves_wait_for_reads_that_began(void **state)
{
    (void)state;
    md_arena arena = {0};
    md_plan_layer layer = {.n_expert = 40, .top_k = 4};
    const md_plan_work work = {.n_layer = 1, .layer = &layer};
    const md_plan_replay r = {
        .n_prompt = 200, .n_rows = 100, .batch = 3, .n_steps = 50, .most = 20, .slots = 20, .before = -1};
    md_plan_routing routing;
    md_plan_session session;
    OK(md_plan_routing_init(&routing, NULL, &work, &arena, err));
    OK(md_plan_replay_run(&r, &routing, &layer, 0, &session, err));
    const md_plan_flow *flow[] = {&session.first_prompt, &session.generation, &session.prompt};
    for (size_t i = 0; i < 3; i++) {
        int32_t asked = 0, misses = 0;
        for (size_t w = 0; w < flow[i]->n; w++) {
            const md_plan_wave *wave = &flow[i]->wave[w];
            if (wave->first)
                asked = misses = 0;
            asked += wave->asked;
            misses += wave->misses;
            assert_true(wave->last <= asked && (wave->last > 0) == (wave->misses > 0));
            if (w + 1 == flow[i]->n || flow[i]->wave[w + 1].first)
                assert_int_equal(asked, misses);
        }
    }
    assert_int_equal(session.first_prompt.steps, 2);
    md_plan_session_done(&session);
    md_plan_routing_done(&routing);
    md_arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(replays_do_what_the_store_does),
        cmocka_unit_test(even_routing_hits_by_the_share_of_slots),
        cmocka_unit_test(waves_wait_for_reads_that_began),
    };
    return cmocka_run_group_tests_name("replay", tests, NULL, NULL);
}
