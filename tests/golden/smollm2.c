/* SPDX-License-Identifier: Apache-2.0
 *
 * The real model, SmolLM2-135M-Instruct, where `make run` has put it: the same logits however the work is cut, the same text
 * for a seed, answers in English through its own template, and a mixture of eight copies that equals it bit for bit.
 * Skipped, test by test, where the model is not in the cache. */
#include "support/synth_model.h"

#include <medley/chat.h>
#include <medley/eval.h>
#include <medley/generate.h>
#include <medley/shape.h>

#define N_TOKENS 150 /* three pages */

/* The logits of N_TOKENS tokens of this project's licence text. They hold for good, like those in hashes.inc. */
#define LICENSE_HASH 0x89a7a321063352f3ull

static char dense_path[512], moe_path[512];
static md_model *dense;

static int setup(void **state)
{
    (void)state;
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache && cache[0])
        snprintf(dense_path, sizeof dense_path, "%s/medley/SmolLM2-135M-Instruct.Q4_1.gguf", cache);
    else
        snprintf(dense_path, sizeof dense_path, "%s/.cache/medley/SmolLM2-135M-Instruct.Q4_1.gguf", home ? home : "");
    snprintf(moe_path, sizeof moe_path, "%s", temp_path("smollm2-8x.gguf"));
    if (access(dense_path, R_OK) == 0)
        OK(md_model_open(dense_path, NULL, &dense, err));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    md_model_close(dense);
    unlink(moe_path);
    return 0;
}

static void need_model(void)
{
    if (!dense)
        skip();
}

static md_session *session_of(const md_model *m, int threads, int rows, int logits)
{
    md_session_args args;
    md_session_args_default(m, &args);
    args.n_threads = threads;
    args.n_rows = rows;
    args.n_logits = logits;
    args.n_positions = 1024;
    md_session *s;
    OK(md_session_new(m, &args, &s, err));
    return s;
}

static void license_tokens(md_tokens *out, int n)
{
    size_t size;
    char *text = read_all(MD_SOURCE_DIR "/LICENSE", &size);
    OK(md_tokenize(md_model_tokenizer(dense), text, size, MD_TOKENIZE_BOS, out, err));
    free(text);
    assert_true(out->n >= (size_t)n);
}

/* Hash of all logits; `company`: every second row of a step is another sequence's. */
static uint64_t hash_of(const md_model *m, const int32_t *token, int threads, int chunk, bool company)
{
    md_session *s = session_of(m, threads, 2 * chunk, chunk);
    md_seq *q, *other;
    OK(md_seq_new(s, &q, err));
    OK(md_seq_new(s, &other, err));
    uint64_t hash = MD_HASH_START;
    for (int at = 0; at < N_TOKENS; at += chunk) {
        const int n = N_TOKENS - at < chunk ? N_TOKENS - at : chunk;
        int32_t t[2 * N_TOKENS];
        md_seq *seq[2 * N_TOKENS];
        uint8_t want[2 * N_TOKENS];
        int rows = 0;
        for (int i = 0; i < n; i++) {
            if (company) {
                t[rows] = token[N_TOKENS - 1 - at - i];
                seq[rows] = other;
                want[rows++] = 0;
            }
            t[rows] = token[at + i];
            seq[rows] = q;
            want[rows++] = MD_WANT_LOGITS;
        }
        OK(md_decode(s, &(md_batch){.n = rows, .token = t, .seq = seq, .want = want}, err));
        for (int i = 0; i < rows; i++)
            if (want[i])
                hash = md_logits_hash(hash, md_step_logits(s, i), (size_t)md_model_get_info(m)->n_vocab);
    }
    md_session_free(s);
    return hash;
}

static void same_bits_however_the_work_is_cut(void **state)
{
    (void)state;
    need_model();
    md_tokens t = {0};
    license_tokens(&t, N_TOKENS);
    assert_int_equal(hash_of(dense, t.id, 2, N_TOKENS, false), LICENSE_HASH);
    assert_int_equal(hash_of(dense, t.id, 1, 64, false), LICENSE_HASH);
    assert_int_equal(hash_of(dense, t.id, 3, 7, false), LICENSE_HASH);
    assert_int_equal(hash_of(dense, t.id, 2, 1, false), LICENSE_HASH);
    assert_int_equal(hash_of(dense, t.id, 2, 5, true), LICENSE_HASH);
    md_tokens_done(&t);
}

typedef struct answer {
    char text[2048];
    size_t n;
} answer;

static bool keep(void *user, const char *text, size_t n)
{
    answer *a = user;
    assert_true(a->n + n < sizeof a->text);
    memcpy(a->text + a->n, text, n);
    a->n += n;
    return true;
}

static void ask(const md_model *m, const char *question, float temperature, int threads, int rows, answer *out)
{
    md_session *s = session_of(m, threads, rows, 1);
    const md_tokenizer *tok = md_model_tokenizer(m);
    size_t n;
    const char *source = md_model_chat_template(m, &n);
    assert_non_null(source);
    md_template *t;
    md_rendered r;
    md_tokens prompt = {0};
    OK(md_template_new(source, n, &t, err));
    OK(md_template_render(t,
                          &(md_chat_args){.message = &(md_message){"user", question},
                                          .n_messages = 1,
                                          .add_generation_prompt = true,
                                          .bos_token = "<|im_start|>",
                                          .eos_token = "<|im_end|>",
                                          .now = -1},
                          &r, err));
    OK(md_rendered_tokenize(&r, tok, &prompt, err));
    md_sampler_args sampling;
    md_sampler_args_default(&sampling);
    sampling.temperature = temperature;
    sampling.seed = 5;
    md_sampler *sampler;
    OK(md_sampler_new(&sampling, md_model_get_info(m)->n_vocab, &sampler, err));
    md_seq *q;
    OK(md_seq_new(s, &q, err));
    md_generate_result result;
    *out = (answer){0};
    OK(md_generate(q,
                   &(md_generate_args){.prompt = prompt.id,
                                       .n_prompt = prompt.n,
                                       .max_tokens = 40,
                                       .sampler = sampler,
                                       .on_text = keep,
                                       .user = out},
                   &result, err));
    assert_true(result.n_generated > 0);
    md_sampler_free(sampler);
    md_tokens_done(&prompt);
    md_rendered_done(&r);
    md_template_free(t);
    md_session_free(s);
}

static void answers_plain_questions_in_english(void **state)
{
    (void)state;
    need_model();
    answer a;
    ask(dense, "What is gravity?", 0, 2, 64, &a);
    assert_non_null(strstr(a.text, "Gravity is a fundamental"));
    ask(dense, "What is 2 plus 2?", 0, 2, 64, &a);
    assert_non_null(strstr(a.text, "4"));
}

static void a_seed_gives_one_text(void **state)
{
    (void)state;
    need_model();
    answer first, other;
    ask(dense, "Tell me about the sea.", 0.8f, 1, 64, &first);
    ask(dense, "Tell me about the sea.", 0.8f, 2, 7, &other);
    assert_string_equal(first.text, other.text);
    ask(dense, "Tell me about the sea.", 0.8f, 3, 1, &other);
    assert_string_equal(first.text, other.text);
}

static void eight_copies_equal_the_dense_model(void **state)
{
    (void)state;
    need_model();
    md_upcycle_args args;
    md_upcycle_args_default(&args);
    md_upcycle_result made;
    OK(md_upcycle(dense_path, moe_path, &args, &made, err));
    md_model *moe;
    OK(md_model_open(moe_path, NULL, &moe, err));
    md_tokens t = {0};
    license_tokens(&t, N_TOKENS);
    assert_int_equal(hash_of(moe, t.id, 2, 64, false), LICENSE_HASH);
    md_tokens_done(&t);
    answer a, b;
    ask(dense, "Why is the sky blue?", 0, 2, 64, &a);
    ask(moe, "Why is the sky blue?", 0, 2, 64, &b);
    assert_string_equal(a.text, b.text);
    md_model_close(moe);
}

static void perplexity_of_512_tokens(void **state)
{
    (void)state;
    need_model();
    md_tokens t = {0};
    license_tokens(&t, 512);
    md_session *s = session_of(dense, 2, 64, 64);
    md_perplexity p;
    OK(md_eval_perplexity(s, t.id, 512, 512, NULL, NULL, &p, err));
    assert_int_equal(p.n_scored, 255);
    assert_true(p.perplexity > 14.06 && p.perplexity < 14.16);
    md_session_free(s);
    md_tokens_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bits_however_the_work_is_cut),
        cmocka_unit_test(answers_plain_questions_in_english),
        cmocka_unit_test(a_seed_gives_one_text),
        cmocka_unit_test(eight_copies_equal_the_dense_model),
        cmocka_unit_test(perplexity_of_512_tokens),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
