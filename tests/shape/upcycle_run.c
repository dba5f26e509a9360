/* SPDX-License-Identifier: Apache-2.0
 *
 * What an upcycled model computes: with plain copies, what the dense model computes; with neurons drawn anew, something
 * else, but not far from it. */
#include "support/fixtures.h"

#include <medley/generate.h>
#include <medley/shape.h>
#include <medley/unstable/synth.h>

#include <math.h>
#include <string.h>

enum { N_PROMPT = 64, N_ANSWER = 32 };

static char dir[256], dense_path[300], moe_path[300];

static int make_dir(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/medley-upcycle-XXXXXX", base ? base : P_tmpdir);
    if (!mkdtemp(dir))
        return -1;
    snprintf(dense_path, sizeof dense_path, "%s/dense.gguf", dir);
    snprintf(moe_path, sizeof moe_path, "%s/moe.gguf", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    remove(dense_path);
    remove(moe_path);
    return rmdir(dir);
}

static void ok(md_status s, const md_error *err)
{
    if (s != MD_OK)
        fail_msg("%s", err->message);
}

/* A model's logits over a prompt and its greedy answer to it. */
typedef struct output {
    float *logits; /* [N_PROMPT][n_vocab] */
    size_t n;
    int32_t answer[N_ANSWER];
} output;

static void run_prompt(md_session *s, md_seq *q, const int32_t *prompt, int32_t n_vocab, float *logits)
{
    md_seq *seq[N_PROMPT];
    uint8_t want[N_PROMPT];
    for (int i = 0; i < N_PROMPT; i++) {
        seq[i] = q;
        want[i] = MD_WANT_LOGITS;
    }
    const md_batch b = {.n = N_PROMPT, .token = prompt, .seq = seq, .want = want};
    md_error err;
    ok(md_decode(s, &b, &err), &err);
    for (int i = 0; i < N_PROMPT; i++)
        memcpy(logits + i * n_vocab, md_step_logits(s, i), (size_t)n_vocab * sizeof *logits);
}

static output run_model(const char *path)
{
    md_error err;
    md_model *m;
    md_session *s;
    md_seq *q;
    md_session_args a;
    md_sampler_args sa;
    md_sampler *sampler;
    ok(md_model_open(path, NULL, &m, &err), &err);
    md_session_args_default(m, &a);
    a.n_positions = 2 * N_PROMPT + N_ANSWER;
    a.n_rows = a.n_logits = N_PROMPT;
    a.n_threads = 1;
    ok(md_session_new(m, &a, &s, &err), &err);
    ok(md_seq_new(s, &q, &err), &err);
    md_sampler_args_default(&sa);
    sa.temperature = 0.0f;
    const int32_t n_vocab = md_model_get_info(m)->n_vocab;
    ok(md_sampler_new(&sa, n_vocab, &sampler, &err), &err);

    output out = {.n = (size_t)N_PROMPT * (size_t)n_vocab};
    out.logits = calloc(out.n, sizeof *out.logits);
    assert_non_null(out.logits);
    int32_t prompt[N_PROMPT];
    for (int i = 0; i < N_PROMPT; i++)
        prompt[i] = (i * 29 + i * i) % 250;
    run_prompt(s, q, prompt, n_vocab, out.logits);
    ok(md_seq_trim(q, 0, &err), &err);

    md_generate_result r;
    const md_generate_args g = {
        .prompt = prompt, .n_prompt = N_PROMPT, .max_tokens = N_ANSWER, .sampler = sampler, .ignore_eog = true};
    ok(md_generate(q, &g, &r, &err), &err);
    assert_int_equal(r.n_generated, N_ANSWER);
    memcpy(out.answer, md_generated_tokens(q), sizeof out.answer);
    md_sampler_free(sampler);
    md_session_free(s);
    md_model_close(m);
    return out;
}

static output run_upcycled(const md_upcycle_args *a)
{
    md_error err;
    md_upcycle_result r;
    ok(md_upcycle(dense_path, moe_path, a, &r, &err), &err);
    return run_model(moe_path);
}

/* Root of the squared differences over root of the squared logits. */
static double relative_distance(const output *a, const output *b)
{
    double difference = 0, size = 0;
    assert_int_equal(a->n, b->n);
    for (size_t i = 0; i < a->n; i++) {
        const double d = (double)a->logits[i] - (double)b->logits[i];
        difference += d * d;
        size += (double)a->logits[i] * (double)a->logits[i];
    }
    return sqrt(difference / size);
}

static void synth(const char *arch, const char *type)
{
    const md_synth_spec spec = {.arch = arch,
                                .n_layer = 2,
                                .n_embd = 64,
                                .n_ff = 128,
                                .n_head = 4,
                                .type_attn = type,
                                .type_ffn = type,
                                .seed = 21};
    md_error err;
    ok(md_synth_write(&spec, dense_path, &err), &err);
}

static const char *const arches[] = {"llama", "qwen3", "granite"};

/* To the bit, for every top-k and type: docs/numerics.md weighs and adds experts so that equal ones add up to one of them. */
static void plain_copies_compute_what_the_dense_model_does(void **state)
{
    (void)state;
    static const char *const types[] = {"F32", "F16", "Q4_1", "Q8_0"};
    for (int i = 0; i < 3; i++)
        for (int t = 0; t < 4; t++) {
            synth(arches[i], types[t]);
            const output dense = run_model(dense_path);
            for (int32_t top_k = 1; top_k <= 3; top_k++) {
                md_upcycle_args a;
                md_upcycle_args_default(&a);
                a.top_k = top_k;
                const output moe = run_upcycled(&a);
                assert_int_equal(dense.n, moe.n);
                assert_memory_equal(dense.logits, moe.logits, dense.n * sizeof *dense.logits);
                assert_memory_equal(dense.answer, moe.answer, sizeof dense.answer);
                free(moe.logits);
            }
            free(dense.logits);
        }
}

static void neurons_drawn_anew_change_the_logits(void **state)
{
    (void)state;
    synth("llama", "Q8_0");
    const output dense = run_model(dense_path);
    double before = 0;
    const float ratios[] = {0.25f, 0.75f};
    for (int i = 0; i < 2; i++) {
        md_upcycle_args a;
        md_upcycle_args_default(&a);
        a.drop_ratio = ratios[i];
        const output moe = run_upcycled(&a);
        const double d = relative_distance(&dense, &moe);
        assert_true(d > before + 0.01 && d < 2.0); /* more with more neurons, and always finite */
        before = d;
        free(moe.logits);
    }
    free(dense.logits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_copies_compute_what_the_dense_model_does),
        cmocka_unit_test(neurons_drawn_anew_change_the_logits),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
