/* SPDX-License-Identifier: Apache-2.0
 *
 * Golden models computed by an independent engine, all that the index lists: logits within the stated tolerance and the same
 * experts, for the whole prompt at once, token by token, and with a 16-bit KV cache; and the same bits whatever the threads,
 * chunks, kernels and batch mates. */
#include "support/synth_model.h"

#include <jansson.h>
#include <math.h>
#include <medley/shape.h>

typedef struct golden {
    json_t *json;
    float *logits; /* all prompts */
    md_model *model;
} golden;

static double number(const json_t *obj, const char *a, const char *b, double otherwise)
{
    const json_t *o = json_object_get(obj, a);
    const json_t *v = b ? json_object_get(o, b) : o;
    return v ? json_number_value(v) : otherwise;
}

static void check_logits(const golden *g, const json_t *prompt, const float *got, int n, int n_vocab, bool f16_kv)
{
    const float *ref = g->logits + json_integer_value(json_object_get(prompt, "logits_offset")) / 4;
    double worst = 0, diff = 0, norm = 0, worst_row = 0;
    for (int r = 0; r < n; r++) {
        double row_diff = 0, row_norm = 0;
        for (int i = 0; i < n_vocab; i++) {
            const double x = got[r * n_vocab + i], y = ref[r * n_vocab + i], d = x - y;
            assert_false(isnan(x));
            worst = fabs(d) > worst ? fabs(d) : worst;
            row_diff += d * d;
            row_norm += y * y;
        }
        diff += row_diff;
        norm += row_norm;
        worst_row = sqrt(row_diff / row_norm) > worst_row ? sqrt(row_diff / row_norm) : worst_row;
    }
    const double exact = number(g->json, f16_kv ? "tolerance_f16_kv" : "tolerance", "max_abs", 0);
    const double rel = number(g->json, "tolerance_quantized_activations", "rel_rms", 0);
    const double rel_row = number(g->json, "tolerance_quantized_activations", "rel_rms_worst_position", 0);
    if (!(worst <= exact || (sqrt(diff / norm) <= rel && worst_row <= rel_row)))
        fail_msg("max abs %.3g (allowed %.3g), rel rms %.3g (allowed %.3g), worst row %.3g", worst, exact,
                 sqrt(diff / norm), rel, worst_row);
}

static bool in_list(const json_t *list, int32_t expert)
{
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v) if (json_integer_value(v) == expert) return true;
    return false;
}

static void check_experts(const md_session *s, json_t *experts, int row, int pos)
{
    const char *layer;
    json_t *positions;
    json_object_foreach(experts, layer, positions)
    {
        const json_t *expected = json_array_get(positions, (size_t)pos);
        const int32_t *expert;
        const float *weight;
        int32_t k;
        assert_true(md_step_routing(s, row, atoi(layer), &expert, &weight, &k));
        assert_int_equal(k, json_array_size(expected));
        for (int32_t i = 0; i < k; i++)
            if (!in_list(expected, expert[i]))
                fail_msg("layer %s, position %d: expert %d was not expected", layer, pos, expert[i]);
    }
}

static void run_prompt(const golden *g, const json_t *prompt, int chunk, md_kv_type kv)
{
    const json_t *tokens = json_object_get(prompt, "tokens");
    json_t *experts = json_object_get(prompt, "experts");
    const int n = (int)json_array_size(tokens), n_vocab = md_model_get_info(g->model)->n_vocab;
    md_session_args args;
    md_session_args_default(g->model, &args);
    args.n_threads = 2;
    args.n_positions = n;
    args.n_rows = args.n_logits = chunk < n ? chunk : n;
    args.kv_type = kv;
    md_session *s;
    md_seq *q;
    OK(md_session_new(g->model, &args, &s, err));
    OK(md_seq_new(s, &q, err));
    float *got = calloc((size_t)n * (size_t)n_vocab, sizeof *got);
    assert_non_null(got);
    for (int at = 0; at < n; at += args.n_rows) {
        const int rows = n - at < args.n_rows ? n - at : args.n_rows;
        int32_t token[64];
        md_seq *seq[64];
        uint8_t want[64];
        for (int i = 0; i < rows; i++) {
            token[i] = (int32_t)json_integer_value(json_array_get(tokens, (size_t)(at + i)));
            seq[i] = q;
            want[i] = MD_WANT_LOGITS | MD_WANT_ROUTING;
        }
        OK(md_decode(s, &(md_batch){.n = rows, .token = token, .seq = seq, .want = want}, err));
        for (int i = 0; i < rows; i++) {
            memcpy(got + (size_t)(at + i) * (size_t)n_vocab, md_step_logits(s, i), (size_t)n_vocab * sizeof *got);
            if (experts && kv == MD_KV_F32)
                check_experts(s, experts, i, at + i);
        }
    }
    check_logits(g, prompt, got, n, n_vocab, kv == MD_KV_F16);
    free(got);
    md_session_free(s);
}

static void golden_model(void **state)
{
    const char *name = *state;
    golden g = {0};
    size_t size;
    char *text = read_all(fixture("models/%s.json", name), &size);
    g.json = json_loads(text, 0, NULL);
    free(text);
    assert_non_null(g.json);
    g.logits = read_all(fixture("models/%s.logits.f32", name), &size);
    OK(md_model_open(fixture("models/%s.gguf", name), NULL, &g.model, err));
    size_t i;
    json_t *prompt;
    json_array_foreach(json_object_get(g.json, "prompts"), i, prompt)
    {
        run_prompt(&g, prompt, 64, MD_KV_F32);
        run_prompt(&g, prompt, 1, MD_KV_F32);
        run_prompt(&g, prompt, 7, MD_KV_F16);
    }
    md_model_close(g.model);
    free(g.logits);
    json_decref(g.json);
}

/* ---- the same bits ---- */

#define N_TOKENS 70 /* two pages */

typedef struct way {
    const char *isa; /* NULL: the best */
    int threads, chunk, grain;
    bool company; /* rows of another sequence between those of this one */
    int slots;    /* of a layer whose experts are streamed; 0: all are resident */
    const char *policy;
    md_read_ahead ahead;
} way;

static uint64_t hash_of(const md_model *m, way w)
{
    md_session_args args;
    md_session_args_default(m, &args);
    args.isa = w.isa;
    args.n_threads = w.threads;
    args.most_slots = w.slots;
    args.policy = w.policy;
    args.read_ahead = w.ahead;
    args.grain_rows = w.grain;
    args.n_rows = args.n_logits = 2 * N_TOKENS;
    args.n_positions = 4 * N_TOKENS;
    md_session *s;
    md_seq *mine, *other;
    OK(md_session_new(m, &args, &s, err));
    OK(md_seq_new(s, &mine, err));
    OK(md_seq_new(s, &other, err));
    const int32_t n_vocab = md_model_get_info(m)->n_vocab;
    uint64_t hash = MD_HASH_START;
    for (int at = 0; at < N_TOKENS; at += w.chunk) {
        int32_t token[2 * N_TOKENS];
        md_seq *seq[2 * N_TOKENS];
        uint8_t want[2 * N_TOKENS];
        int n = 0;
        for (int i = at; i < at + w.chunk && i < N_TOKENS; i++)
            for (int who = w.company; who >= 0; who--, n++) {
                token[n] = (i * 31 + who * 17 + 5) % 256;
                seq[n] = who ? other : mine;
                want[n] = who ? 0 : MD_WANT_LOGITS;
            }
        OK(md_decode(s, &(md_batch){.n = n, .token = token, .seq = seq, .want = want}, err));
        for (int i = 0; i < n; i++)
            if (want[i])
                hash = md_logits_hash(hash, md_step_logits(s, i), (size_t)n_vocab);
    }
    md_session_free(s);
    return hash;
}

static void same_bits(void **state)
{
    static const way ways[] = {
        {NULL, 3, 7, 1, false}, {NULL, 2, 1, 1, true}, {"scalar", 2, 64, 0, false}, {NULL, 3, 33, 1, true}};
    md_model *m;
    OK(md_model_open(fixture("models/%s.gguf", *state), NULL, &m, err));
    const uint64_t expected = hash_of(m, (way){NULL, 1, N_TOKENS, 0, false});
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (hash_of(m, ways[i]) != expected)
            fail_msg("%s, %d threads, chunks of %d%s: other bits", ways[i].isa ? ways[i].isa : "best kernels",
                     ways[i].threads, ways[i].chunk, ways[i].company ? ", in company" : "");
    md_model_close(m);
}

/* Packed for streaming, the file gives the same, too. */
static void same_bits_packed(const char *plain, uint64_t expected)
{
    static const way ways[] = {{NULL, 2, 7, 0, true, 2, "lru"}, {NULL, 1, N_TOKENS, 0, false, 1, "medley"}};
    static const md_model_args opens[] = {{.stream = MD_STREAM_ALWAYS}, {.stream = MD_STREAM_NEVER}, {.map = true}};
    char path[512];
    snprintf(path, sizeof path, "%s", temp_path("streaming.gguf"));
    md_pack_result r;
    OK(md_pack(plain, path, &(md_pack_args){.for_streaming = true}, &r, err));
    for (size_t i = 0; i < sizeof opens / sizeof *opens; i++) {
        md_model *m;
        OK(md_model_open(path, &opens[i], &m, err));
        for (size_t k = 0; k < (i == 0 ? sizeof ways / sizeof *ways : 1); k++)
            if (hash_of(m, ways[k]) != expected)
                fail_msg("packed for streaming, opened in way %zu: other bits", i);
        md_model_close(m);
    }
    unlink(path);
}

/* Wherever the experts are, and however few there is room for. */
static void same_bits_streamed(void **state)
{
    static const way ways[] = {{NULL, 2, 1, 0, false, 1, "lru", MD_READ_AHEAD_AUTO},
                               {NULL, 1, N_TOKENS, 0, false, 1, "medley", MD_READ_AHEAD_ALWAYS},
                               {NULL, 2, 7, 0, true, 2, "lfu", MD_READ_AHEAD_ALWAYS},
                               {NULL, 2, 1, 0, false, 3, "medley", MD_READ_AHEAD_ALWAYS},
                               {NULL, 3, 33, 1, true, 3, "medley", MD_READ_AHEAD_OFF},
                               {"scalar", 2, 64, 0, false, 5, "lru", MD_READ_AHEAD_ALWAYS},
                               {NULL, 2, 1, 0, true, 1 << 20, "medley", MD_READ_AHEAD_AUTO}};
    md_model *resident, *streamed;
    const md_model_args away = {.stream = MD_STREAM_ALWAYS};
    OK(md_model_open(fixture("models/%s.gguf", *state), NULL, &resident, err));
    OK(md_model_open(fixture("models/%s.gguf", *state), &away, &streamed, err));
    assert_int_equal(md_model_streams(streamed), md_model_get_info(resident)->n_expert > 0);
    const uint64_t expected = hash_of(resident, (way){NULL, 1, N_TOKENS, 0, false});
    for (size_t i = 0; i < sizeof ways / sizeof *ways && md_model_streams(streamed); i++)
        if (hash_of(streamed, ways[i]) != expected)
            fail_msg("%d slots a layer, chunks of %d%s: other bits", ways[i].slots, ways[i].chunk,
                     ways[i].company ? ", in company" : "");
    if (md_model_streams(streamed))
        same_bits_packed(fixture("models/%s.gguf", *state), expected);
    md_model_close(streamed);
    md_model_close(resident);
}

int main(void)
{
    json_t *index = json_load_file(MD_CONFORMANCE_DIR "/models/index.json", 0, NULL);
    const size_t n = json_array_size(index);
    struct CMUnitTest *tests = calloc(3 * n + 1, sizeof *tests);
    char(*names)[3][96] = calloc(n + 1, sizeof *names);
    if (n == 0 || !tests || !names) {
        print_message("1..0 # the golden models are not beside the project\n");
        return 77;
    }
    for (size_t i = 0; i < n; i++) {
        const char *name = json_string_value(json_object_get(json_array_get(index, i), "name"));
        snprintf(names[i][0], sizeof names[i][0], "%s", name);
        snprintf(names[i][1], sizeof names[i][1], "%s: same bits", name);
        snprintf(names[i][2], sizeof names[i][2], "%s: same bits, streamed", name);
        tests[3 * i] = (struct CMUnitTest){names[i][0], golden_model, NULL, NULL, (void *)(uintptr_t)name};
        tests[3 * i + 1] = (struct CMUnitTest){names[i][1], same_bits, NULL, NULL, (void *)(uintptr_t)name};
        tests[3 * i + 2] = (struct CMUnitTest){names[i][2], same_bits_streamed, NULL, NULL, (void *)(uintptr_t)name};
    }
    const int failed = _cmocka_run_group_tests("golden", tests, 3 * n, NULL, NULL);
    free(tests);
    free(names);
    json_decref(index);
    return failed;
}
