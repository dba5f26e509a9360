/* SPDX-License-Identifier: Apache-2.0
 *
 * Encoders: a sequence is one unit, its hidden states do not depend on threads, kernels or the sequences beside it, and what
 * such a model cannot do is refused with a sentence. The models are those of the reference files; tests/reference compares
 * their values. */
#include "reference/model_text.h"

#include <medley/embed.h>
#include <medley/eval.h>
#include <medley/generate.h>

#define FOLDER MD_SOURCE_DIR "/tests/reference"

static const char *const families[] = {"bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v2-code"};
enum { N_FAMILIES = sizeof families / sizeof *families, MOST = 200 };

static md_model *open_family(const char *name, const md_model_args *args)
{
    char path[512];
    snprintf(path, sizeof path, FOLDER "/%s.txt", name);
    const char *gguf = temp_path("encoder.gguf");
    ref_file f;
    ref_build(path, gguf, &f);
    ref_done(&f);
    md_model *m = NULL;
    OK(md_model_open(gguf, args, &m, err));
    unlink(gguf);
    return m;
}

/* Learned positions end at 64; elsewhere a text crosses several pages of keys. */
static int length_of(const md_model *m)
{
    const int n_ctx = md_model_get_info(m)->n_ctx_train;
    return n_ctx < MOST ? n_ctx : MOST;
}

static md_session *session_of(const md_model *m, int threads, const char *isa, int grain, int rows)
{
    md_session_args args;
    md_session_args_default(m, &args);
    args.n_threads = threads;
    args.isa = isa;
    args.grain_rows = grain;
    args.n_rows = args.n_logits = rows;
    args.n_positions = rows + 8 * 64;
    md_session *s;
    OK(md_session_new(m, &args, &s, err));
    return s;
}

static void copy_row(const md_session *s, int row, int width, float *out)
{
    const float *h = md_step_hidden(s, row);
    assert_non_null(h);
    memcpy(out, h, (size_t)width * sizeof *h);
}

/* [n][width], owned by the caller. */
static float *alone(const md_model *m, const int32_t *token, int n, int threads, const char *isa, int grain)
{
    const int width = md_model_get_info(m)->n_embd;
    float *out = calloc((size_t)n * (size_t)width, sizeof *out);
    assert_non_null(out);
    md_session *s = session_of(m, threads, isa, grain, n);
    md_seq *q, *seq[MOST];
    uint8_t want[MOST];
    OK(md_seq_new(s, &q, err));
    for (int i = 0; i < n; i++) {
        seq[i] = q;
        want[i] = MD_WANT_HIDDEN;
    }
    OK(md_decode(s, &(md_batch){.n = n, .token = token, .seq = seq, .want = want}, err));
    for (int i = 0; i < n; i++)
        copy_row(s, i, width, out + (size_t)i * (size_t)width);
    md_session_free(s);
    return out;
}

/* The same between rows of two other sequences, now one, now the other. */
static float *in_company(const md_model *m, const int32_t *token, int n)
{
    const int width = md_model_get_info(m)->n_embd;
    float *out = calloc((size_t)n * (size_t)width, sizeof *out);
    assert_non_null(out);
    int32_t t[2 * MOST], other[MOST];
    uint8_t want[2 * MOST];
    md_seq *seq[2 * MOST], *mine, *a, *b;
    int at[MOST], rows = 0;
    fill_tokens(other, n, md_model_get_info(m)->n_vocab, 5);
    md_session *s = session_of(m, 2, NULL, 1, 2 * n);
    OK(md_seq_new(s, &a, err));
    OK(md_seq_new(s, &mine, err));
    OK(md_seq_new(s, &b, err));
    for (int i = 0; i < n; i++) {
        if (i % 3 != 1) {
            t[rows] = other[i];
            seq[rows] = i % 3 ? a : b;
            want[rows++] = 0;
        }
        at[i] = rows;
        t[rows] = token[i];
        seq[rows] = mine;
        want[rows++] = MD_WANT_HIDDEN;
    }
    OK(md_decode(s, &(md_batch){.n = rows, .token = t, .seq = seq, .want = want}, err));
    for (int i = 0; i < n; i++)
        copy_row(s, at[i], width, out + (size_t)i * (size_t)width);
    md_session_free(s);
    return out;
}

static void check_same_bits(const md_model *m, const char *name)
{
    static const struct {
        int threads, grain;
    } ways[] = {{1, 0}, {2, 1}, {3, 1}};
    const int n = length_of(m);
    const size_t bytes = (size_t)n * (size_t)md_model_get_info(m)->n_embd * sizeof(float);
    int32_t token[MOST];
    fill_tokens(token, n, md_model_get_info(m)->n_vocab, 3);
    float *expected = alone(m, token, n, 1, "scalar", 0);
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        float *got = alone(m, token, n, ways[w].threads, NULL, ways[w].grain);
        if (memcmp(got, expected, bytes) != 0)
            fail_msg("%s differs with %d threads", name, ways[w].threads);
        free(got);
    }
    float *got = in_company(m, token, n);
    if (memcmp(got, expected, bytes) != 0)
        fail_msg("%s differs beside other sequences", name);
    free(got);
    free(expected);
}

static void same_bits_everywhere(void **state)
{
    (void)state;
    for (int f = 0; f < N_FAMILIES; f++) {
        md_model *m = open_family(families[f], NULL);
        check_same_bits(m, families[f]);
        md_model_close(m);
    }
    md_model *m = open_synth(&(md_synth_spec){
        .arch = "bert", .n_embd = 256, .n_head = 8, .n_ff = 512, .type_attn = "Q8_0", .type_ffn = "Q4_K", .seed = 3});
    check_same_bits(m, "quantized bert");
    md_model_close(m);
}

/* The last token changes the first position's state: a decoder's it would not. */
static void every_position_sees_all(void **state)
{
    (void)state;
    for (int f = 0; f < N_FAMILIES; f++) {
        md_model *m = open_family(families[f], NULL);
        const size_t width = (size_t)md_model_get_info(m)->n_embd;
        int32_t token[8];
        fill_tokens(token, 8, md_model_get_info(m)->n_vocab, 3);
        float *a = alone(m, token, 8, 1, NULL, 0);
        token[7] ^= 1;
        float *b = alone(m, token, 8, 1, NULL, 0);
        assert_memory_not_equal(a, b, width * sizeof *a);
        free(a);
        free(b);
        md_model_close(m);
    }
}

static void info_says_what_it_is(void **state)
{
    (void)state;
    static const md_pooling pooling[N_FAMILIES] = {MD_POOLING_MEAN, MD_POOLING_CLS, MD_POOLING_MEAN, MD_POOLING_MEAN,
                                                   MD_POOLING_MEAN};
    for (int f = 0; f < N_FAMILIES; f++) {
        md_model *m = open_family(families[f], NULL);
        const md_model_info *info = md_model_get_info(m);
        assert_false(info->causal);
        assert_false(info->has_logits);
        assert_int_equal(info->pooling, pooling[f]);
        for (size_t i = 0; i < md_model_n_notes(m); i++) /* every tensor found its place */
            assert_null(strstr(md_model_note(m, i), "not used"));
        md_model_close(m);
    }
    md_model *m = open_synth(&(md_synth_spec){.arch = "llama"});
    const md_model_info *info = md_model_get_info(m);
    assert_true(info->causal && info->has_logits);
    assert_int_equal(info->pooling, MD_POOLING_LAST);
    md_model_close(m);
    static const char *const names[] = {"none", "mean", "cls", "last", "rank", "model"};
    for (int p = MD_POOLING_NONE; p <= MD_POOLING_MODEL; p++)
        assert_string_equal(md_pooling_name((md_pooling)p), names[p]);
}

static void a_sequence_is_one_unit(void **state)
{
    (void)state;
    md_model *m = open_family("nomic-bert", NULL);
    md_session *s = session_of(m, 1, NULL, 0, 16);
    md_seq *q, *fork;
    OK(md_seq_new(s, &q, err));
    const int32_t token[4] = {5, 6, 7, 8};
    md_seq *seq[4] = {q, q, q, q};
    const md_batch b = {.n = 4, .token = token, .seq = seq};
    OK(md_decode(s, &b, err));
    assert_null(md_step_hidden(s, 0));
    assert_non_null(md_step_hidden(s, 3)); /* what want NULL means without logits */
    assert_null(md_step_logits(s, 3));
    float first[64];
    copy_row(s, 3, 64, first);

    md_error e = {0};
    assert_int_equal(md_decode(s, &b, &e), MD_ERR_ARGUMENT);
    assert_non_null(strstr(e.message, "one unit"));
    assert_int_equal(md_seq_length(q), 4);
    OK(md_seq_trim(q, 2, err));
    assert_int_equal(md_decode(s, &b, &e), MD_ERR_ARGUMENT);
    OK(md_seq_fork(q, &fork, err));
    md_seq *forked[4] = {fork, fork, fork, fork};
    assert_int_equal(md_decode(s, &(md_batch){.n = 4, .token = token, .seq = forked}, &e), MD_ERR_ARGUMENT);
    OK(md_seq_trim(q, 0, err));
    OK(md_decode(s, &b, err));
    assert_memory_equal(md_step_hidden(s, 3), first, sizeof first);
    md_session_free(s);
    md_model_close(m);
}

static void logits_are_refused(void **state)
{
    (void)state;
    md_model *m = open_family("bert", NULL);
    md_session *s = session_of(m, 1, NULL, 0, 16);
    md_seq *q;
    OK(md_seq_new(s, &q, err));
    const int32_t token = 5;
    const uint8_t want = MD_WANT_LOGITS;
    md_error e = {0};
    assert_int_equal(md_decode(s, &(md_batch){.n = 1, .token = &token, .seq = &q, .want = &want}, &e), MD_ERR_ARGUMENT);
    assert_non_null(strstr(e.message, "no output matrix"));
    assert_int_equal(md_seq_length(q), 0);

    md_sampler *sampler = NULL;
    md_sampler_args sample;
    md_sampler_args_default(&sample);
    OK(md_sampler_new(&sample, md_model_get_info(m)->n_vocab, &sampler, err));
    md_generate_result r;
    const md_generate_args g = {.prompt = &token, .n_prompt = 1, .max_tokens = 1, .sampler = sampler};
    assert_int_equal(md_generate(q, &g, &r, &e), MD_ERR_UNSUPPORTED);
    assert_non_null(strstr(e.message, "medley embed"));
    md_sampler_free(sampler);

    int32_t many[16] = {0};
    md_perplexity p;
    assert_int_equal(md_eval_perplexity(s, many, 16, 8, NULL, NULL, &p, &e), MD_ERR_UNSUPPORTED);
    md_session_free(s);
    md_model_close(m);
}

static void a_session_may_do_without_logits(void **state)
{
    (void)state;
    md_model *m = open_synth(&(md_synth_spec){.arch = "llama", .n_vocab = 4000});
    md_session_args args;
    md_session_args_default(m, &args);
    args.n_rows = args.n_logits = 64;
    md_memory with, without;
    OK(md_session_estimate(m, &args, &with, err));
    args.hidden_only = true;
    OK(md_session_estimate(m, &args, &without, err));
    assert_int_equal(with.scratch - without.scratch, 64 * 4000 * 4);
    md_session *s;
    md_seq *q;
    OK(md_session_new(m, &args, &s, err));
    OK(md_seq_new(s, &q, err));
    const int32_t token = 5;
    OK(md_decode(s, &(md_batch){.n = 1, .token = &token, .seq = &q}, err));
    assert_non_null(md_step_hidden(s, 0));
    const uint8_t want = MD_WANT_LOGITS;
    md_error e = {0};
    assert_int_equal(md_decode(s, &(md_batch){.n = 1, .token = &token, .seq = &q, .want = &want}, &e), MD_ERR_ARGUMENT);
    assert_non_null(strstr(e.message, "hidden states only"));
    md_session_free(s);
    md_model_close(m);
}

static void learned_positions_end(void **state)
{
    (void)state;
    md_model *m = open_family("bert", NULL);
    md_session *s = session_of(m, 1, NULL, 0, 65);
    int32_t token[65];
    md_seq *q, *seq[65];
    fill_tokens(token, 65, md_model_get_info(m)->n_vocab, 1);
    OK(md_seq_new(s, &q, err));
    for (int i = 0; i < 65; i++)
        seq[i] = q;
    md_error e = {0};
    assert_int_equal(md_decode(s, &(md_batch){.n = 65, .token = token, .seq = seq}, &e), MD_ERR_LIMIT);
    assert_non_null(strstr(e.message, "learned positions 0 to 63"));
    OK(md_decode(s, &(md_batch){.n = 64, .token = token, .seq = seq}, err));
    md_session_free(s);
    md_model_close(m);
}

/* A window in both directions is another model than a window over the past. */
static void windows_are_refused(void **state)
{
    (void)state;
    const char *path = temp_path("window.gguf");
    OK(md_synth_write(&(md_synth_spec){.arch = "gpt-oss"}, path, err));
    const char *override = "gpt-oss.attention.causal=bool:false";
    md_model *m = NULL;
    md_error e = {0};
    assert_int_equal(md_model_open(path, &(md_model_args){.override = &override, .n_override = 1}, &m, &e),
                     MD_ERR_UNSUPPORTED);
    assert_non_null(strstr(e.message, "both directions"));
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bits_everywhere),  cmocka_unit_test(every_position_sees_all),
        cmocka_unit_test(info_says_what_it_is),  cmocka_unit_test(a_sequence_is_one_unit),
        cmocka_unit_test(logits_are_refused),    cmocka_unit_test(a_session_may_do_without_logits),
        cmocka_unit_test(learned_positions_end), cmocka_unit_test(windows_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
