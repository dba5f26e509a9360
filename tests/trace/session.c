/* SPDX-License-Identifier: Apache-2.0
 *
 * A session's trace holds what its steps chose, row for row, in models of all kinds; it changes no result and takes no memory in
 * a step. */
#include "support/synth_model.h"
#include "trace/trace_test.h"

#include <math.h>

enum { STEPS = 6, MOST_ROWS = 8, MOST_LAYERS = 64, MOST_SLOTS_A_ROW = 64 };

/* What the session says that its rows chose. */
typedef struct chosen {
    int32_t n_rows, k[MOST_LAYERS];
    int32_t sequence[MOST_ROWS], position[MOST_ROWS], token[MOST_ROWS];
    int32_t expert[MOST_LAYERS][MOST_ROWS][MOST_SLOTS_A_ROW];
    float weight[MOST_LAYERS][MOST_ROWS][MOST_SLOTS_A_ROW];
} chosen;

typedef struct runner {
    md_session *s;
    md_seq *seq[2];
    int32_t n_vocab;
    uint64_t hash;
} runner;

static void open_runner(runner *r, const md_model *m)
{
    md_session_args args;
    const md_model_info *info = md_model_get_info(m);
    md_session_args_default(m, &args);
    args.n_threads = 2;
    args.n_positions = 256;
    args.n_rows = MOST_ROWS;
    args.n_sequences = 2;
    *r = (runner){.n_vocab = info->n_vocab, .hash = MD_HASH_START};
    OK(md_session_new(m, &args, &r->s, err));
    for (int i = 0; i < 2; i++)
        OK(md_seq_new(r->s, &r->seq[i], err));
}

/* Step t has t + 1 rows, the last of them of the second sequence. */
static void run_step(runner *r, int t, chosen *c)
{
    int32_t token[MOST_ROWS];
    md_seq *seq[MOST_ROWS];
    uint8_t want[MOST_ROWS];
    const int32_t n = t + 1;
    fill_tokens(token, n, r->n_vocab, (uint32_t)t);
    c->n_rows = n;
    for (int32_t i = 0; i < n; i++) {
        const int which = i == n - 1;
        seq[i] = r->seq[which];
        c->token[i] = token[i];
        want[i] = (uint8_t)(MD_WANT_ROUTING | (which ? MD_WANT_LOGITS : 0));
        c->sequence[i] = which;
        c->position[i] = md_seq_length(r->seq[which]) + (which ? 0 : i);
    }
    OK(md_decode(r->s, &(md_batch){.n = n, .token = token, .seq = seq, .want = want}, err));
    r->hash = md_logits_hash(r->hash, md_step_logits(r->s, n - 1), (size_t)r->n_vocab);
    const int32_t *expert;
    const float *weight;
    for (int32_t l = 0; md_step_routing(r->s, 0, l, &expert, &weight, &c->k[l]); l++)
        for (int32_t i = 0; i < n; i++) {
            assert_true(l + 1 < MOST_LAYERS && md_step_routing(r->s, i, l, &expert, &weight, &c->k[l]));
            assert_in_range(c->k[l], 0, MOST_SLOTS_A_ROW);
            memcpy(c->expert[l][i], expert, (size_t)c->k[l] * sizeof *expert);
            memcpy(c->weight[l][i], weight, (size_t)c->k[l] * sizeof *weight);
        }
}

/* The records of one step; routers that run in rounds have one for each round. */
static void check_step(md_trace_reader *reader, const chosen *c, int32_t n_layer, const md_trace_record **r)
{
    int32_t seen[MOST_LAYERS] = {0}, first = -1;
    assert_int_equal((*r)->kind, MD_TRACE_STEP);
    assert_int_equal((*r)->n_rows, c->n_rows);
    for (int32_t i = 0; i < c->n_rows; i++) {
        first = i == 0 ? (*r)->sequence[0] : first;
        assert_in_range((*r)->sequence[i], 0, 1);
        assert_int_equal((*r)->sequence[i], c->sequence[i] == c->sequence[0] ? first : 1 - first);
        assert_int_equal((*r)->position[i], c->position[i]);
        assert_int_equal((*r)->token[i], c->token[i]);
    }
    while ((*r = next_record(reader)) && (*r)->kind == MD_TRACE_ROUTING) {
        const int32_t l = (*r)->layer, k = (*r)->top_k;
        assert_in_range(l, 0, n_layer - 1);
        for (int32_t i = 0; i < c->n_rows; i++)
            for (int32_t j = 0; j < k; j++) {
                const float weight = c->weight[l][i][seen[l] + j];
                assert_in_range(seen[l] + j, 0, c->k[l] - 1);
                assert_int_equal((*r)->expert[i * k + j], c->expert[l][i][seen[l] + j]);
                assert_true(fabsf((*r)->weight[i * k + j] - weight) <= fabsf(weight) / 256.0f);
            }
        seen[l] += k;
    }
    for (int32_t l = 0; l < n_layer; l++) {
        assert_true(seen[l] == c->k[l] || seen[l] == 0);
        for (int32_t i = 0; i < c->n_rows && seen[l] == 0; i++) /* a round that no row is in */
            for (int32_t j = 0; j < c->k[l]; j++)
                assert_int_equal(c->expert[l][i][j], -1);
    }
    assert_non_null(*r);
    assert_int_equal((*r)->kind, MD_TRACE_STEP_END);
    *r = next_record(reader);
}

static void check_model(const md_model *m, const char *path)
{
    chosen *c = calloc(STEPS, sizeof *c);
    runner plain, traced;
    md_trace_writer *w;
    md_session_trace *t;
    open_runner(&plain, m);
    for (int i = 0; i < STEPS; i++)
        run_step(&plain, i, &c[i]);
    open_runner(&traced, m);
    OK(md_trace_writer_open_model(path, m, &w, err));
    OK(md_session_trace_begin(traced.s, w, &t, err));
    for (int i = 0; i < STEPS; i++)
        run_step(&traced, i, &c[i]);
    md_session_trace_end(t);
    close_writer(w);
    assert_true(plain.hash == traced.hash);
    md_trace_reader *reader = open_reader(path);
    const md_trace_info *info = md_trace_reader_info(reader);
    const md_model_info *model = md_model_get_info(m);
    assert_string_equal(info->model, model->name);
    assert_true(info->n_layer >= model->n_layer); /* rounds of a recursion are layers of their own */
    uint64_t bytes = 0;
    for (int32_t l = 0; l < info->n_layer; l++)
        bytes += info->layer[l].expert_bytes * (uint64_t)info->layer[l].n_ffn;
    assert_true(bytes > model->part[MD_PART_ROUTED].bytes / 2); /* rounds of a recursion count their weights again */
    const md_trace_record *r = next_record(reader);
    for (int i = 0; i < STEPS; i++) {
        assert_non_null(r);
        check_step(reader, &c[i], info->n_layer, &r);
    }
    assert_null(r);
    md_trace_reader_close(reader);
    md_session_free(plain.s);
    md_session_free(traced.s);
    free(c);
}

static void made_models_are_traced(void **state)
{
    static const md_synth_spec spec[] = {
        {.arch = "qwen3moe", .n_layer = 3, .n_expert = 8, .n_expert_used = 3, .skew = 0.5f},
        {.arch = "deepseek2", .n_layer = 3, .n_dense = 1},
        {.arch = "medley-moe", .router = "moe++"},
        {.arch = "medley-moe", .router = "chain"},
        {.arch = "medley-moe", .router = "recursion"},
        {.arch = "medley-moe", .router = "capacity-drop"},
    };
    for (size_t i = 0; i < sizeof spec / sizeof *spec; i++) {
        md_model *m = open_synth(&spec[i]);
        check_model(m, in_folder(state, "t"));
        md_model_close(m);
    }
}

static void fixture_models_are_traced(void **state)
{
    static const char *const name[] = {"mixtral", "qwen3moe", "qwen2moe", "deepseek2-lite", "gpt-oss", "granitemoe"};
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        md_model *m;
        OK(md_model_open(fixture("models/%s.gguf", name[i]), NULL, &m, err));
        check_model(m, in_folder(state, "t"));
        md_model_close(m);
    }
}

/* With experts streamed into two slots a layer: every layer of every step says what its store did. */
static void a_store_tells_what_it_did(void **state)
{
    const md_synth_spec spec = {.arch = "qwen3moe", .n_layer = 3, .n_expert = 8, .n_expert_used = 2};
    const md_model_args away = {.stream = MD_STREAM_ALWAYS};
    char model[600];
    snprintf(model, sizeof model, "%s", in_folder(state, "m.gguf"));
    const char *path = in_folder(state, "t");
    md_model *m;
    chosen *c = calloc(1, sizeof *c);
    runner r;
    md_trace_writer *w;
    md_session_trace *t;
    md_stream_counts counts, sum = {0};
    OK(md_synth_write(&spec, model, err));
    OK(md_model_open(model, &away, &m, err));
    open_runner(&r, m);
    OK(md_trace_writer_open_model(path, m, &w, err));
    OK(md_session_trace_begin(r.s, w, &t, err));
    for (int i = 0; i < STEPS; i++)
        run_step(&r, i, c);
    md_session_stream_counts(r.s, &counts);
    md_session_trace_end(t);
    close_writer(w);
    md_trace_reader *reader = open_reader(path);
    int records = 0;
    for (const md_trace_record *a; (a = next_record(reader));)
        if (a->kind == MD_TRACE_STORE) {
            assert_int_equal(a->layer, records++ % spec.n_layer);
            sum.hits += a->hits;
            sum.misses += a->misses;
            sum.bytes += a->bytes;
        }
    assert_int_equal(records, STEPS * spec.n_layer);
    assert_true(counts.misses > 0 && counts.bytes > 0);
    assert_true(sum.hits == counts.hits && sum.misses == counts.misses && sum.bytes == counts.bytes);
    md_trace_reader_close(reader);
    md_session_free(r.s);
    md_model_close(m);
    free(c);
}

static void count_steps(void *user, const md_event *e)
{
    *(int *)user += e->layer == 0;
}

/* A number is free again when its sequence is gone; other observers see what the trace sees, before and after it. */
static void sequences_have_numbers(void **state)
{
    const md_synth_spec spec = {.arch = "qwen3moe", .n_layer = 1};
    const char *path = in_folder(state, "t");
    md_model *m = open_synth(&spec);
    chosen *c = calloc(1, sizeof *c);
    runner r;
    md_trace_writer *w;
    md_session_trace *t;
    open_runner(&r, m);
    OK(md_trace_writer_open_model(path, m, &w, err));
    OK(md_session_trace_begin(r.s, w, &t, err));
    run_step(&r, 1, c);
    for (int i = 0; i < 2; i++) {
        md_seq_free(r.seq[i]);
        OK(md_seq_new(r.s, &r.seq[i], err));
    }
    int set = 0, added = 0;
    md_session_observe(r.s, 1u << MD_POINT_LAYER_IN, count_steps, &set);
    OK(md_session_add_observer(r.s, 1u << MD_POINT_ROUTING, count_steps, &added, err));
    run_step(&r, 1, c);
    md_session_observe(r.s, 0, NULL, NULL);
    md_session_trace_end(t);
    run_step(&r, 1, c);
    assert_int_equal(set, 1);
    assert_int_equal(added, 2);
    close_writer(w);
    md_trace_reader *reader = open_reader(path);
    int steps = 0;
    for (const md_trace_record *a; (a = next_record(reader));)
        if (a->kind == MD_TRACE_STEP) {
            assert_int_equal(a->sequence[0] + a->sequence[1], 1);
            assert_int_equal(a->position[0] + a->position[1], 0);
            steps++;
        }
    assert_int_equal(steps, 2);
    md_trace_reader_close(reader);
    md_session_free(r.s);
    md_model_close(m);
    md_session_trace_end(NULL);
    free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(made_models_are_traced, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(fixture_models_are_traced, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(a_store_tells_what_it_did, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(sequences_have_numbers, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests_name("traces of sessions", tests, NULL, NULL);
}
