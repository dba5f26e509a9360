/* SPDX-License-Identifier: Apache-2.0
 *
 * Vectors of texts: each pooling against hidden states summed here in the documented order, bit for bit; many texts at once
 * against one by one, in wide and narrow steps; and what is refused before anything runs. */
#include "support/synth_model.h"

#include <math.h>
#include <medley/embed.h>

enum { WIDTH = 64, N_TEXTS = 9, LONGEST = 150 };

static const int lengths[N_TEXTS] = {5, 1, 64, 65, 17, 150, 2, 33, 128};

typedef struct corpus {
    int32_t token[N_TEXTS][LONGEST];
    md_embed_input in[N_TEXTS];
} corpus;

static void fill_corpus(corpus *c)
{
    for (int i = 0; i < N_TEXTS; i++) {
        fill_tokens(c->token[i], lengths[i], 290, (uint32_t)i + 1);
        c->in[i] = (md_embed_input){.token = c->token[i], .n = (size_t)lengths[i]};
    }
}

static md_session *session_of(const md_model *m, int32_t rows, int threads, int sequences)
{
    md_session_args args;
    md_embed_session_args(m, LONGEST, &args);
    args.n_threads = threads;
    args.n_rows = args.n_logits = rows;
    args.n_sequences = sequences;
    md_session *s;
    OK(md_session_new(m, &args, &s, err));
    return s;
}

/* Hidden states of a text, [n][WIDTH], in one step. */
static void hidden_states(const md_model *m, const md_embed_input *in, float *out)
{
    md_session *s = session_of(m, LONGEST, 1, 1);
    md_seq *q, *seq[LONGEST];
    uint8_t want[LONGEST];
    OK(md_seq_new(s, &q, err));
    for (size_t i = 0; i < in->n; i++) {
        seq[i] = q;
        want[i] = MD_WANT_HIDDEN;
    }
    OK(md_decode(s, &(md_batch){.n = (int32_t)in->n, .token = in->token, .seq = seq, .want = want}, err));
    for (size_t i = 0; i < in->n; i++)
        memcpy(out + i * WIDTH, md_step_hidden(s, (int32_t)i), WIDTH * sizeof *out);
    md_session_free(s);
}

/* The mean of rows [from, to), at length 1 unless raw. */
static void expect_mean(const float *h, size_t from, size_t to, bool raw, float *out)
{
    double sum[WIDTH] = {0}, squares = 0;
    for (size_t i = from; i < to; i++)
        for (int j = 0; j < WIDTH; j++)
            sum[j] += (double)h[i * WIDTH + (size_t)j];
    for (int j = 0; j < WIDTH; j++) {
        sum[j] /= (double)(to - from);
        squares += sum[j] * sum[j];
    }
    for (int j = 0; j < WIDTH; j++)
        out[j] = (float)(sum[j] / (raw ? 1.0 : sqrt(squares)));
}

static size_t expect(const md_model *m, const md_embed_input *in, md_pooling p, bool raw, float *out)
{
    static float h[LONGEST * WIDTH];
    hidden_states(m, in, h);
    switch (p) {
    case MD_POOLING_NONE:
        for (size_t i = 0; i < in->n; i++)
            expect_mean(h, i, i + 1, raw, out + i * WIDTH);
        return in->n;
    case MD_POOLING_MEAN: expect_mean(h, 0, in->n, raw, out); return 1;
    case MD_POOLING_CLS: expect_mean(h, 0, 1, raw, out); return 1;
    default: expect_mean(h, in->n - 1, in->n, raw, out); return 1;
    }
}

static void check_model(const md_model *m)
{
    static float expected[N_TEXTS * LONGEST * WIDTH], got[N_TEXTS * LONGEST * WIDTH];
    /* Narrow steps take long texts of a causal model in pieces; an encoder's they must hold. */
    const bool causal = md_model_get_info(m)->causal;
    const int32_t rows[] = {causal ? 7 : LONGEST, 200, 512};
    corpus c;
    fill_corpus(&c);
    for (md_pooling p = MD_POOLING_NONE; p <= MD_POOLING_LAST; p++)
        for (int raw = 0; raw < 2; raw++) {
            size_t n = 0;
            for (int i = 0; i < N_TEXTS; i++) {
                assert_int_equal(md_embed_count(m, &c.in[i], p), p == MD_POOLING_NONE ? c.in[i].n : 1);
                n += expect(m, &c.in[i], p, raw, expected + n * WIDTH);
            }
            for (int w = 0; w < 3; w++) {
                md_session *s = session_of(m, rows[w], w + 1, w == 1 ? 2 : 32);
                const int32_t room = md_session_free_positions(s);
                memset(got, 0, sizeof got);
                OK(md_embed(s, c.in, N_TEXTS, &(md_embed_args){.pooling = p, .raw = raw}, got, err));
                if (memcmp(got, expected, n * WIDTH * sizeof *got) != 0)
                    fail_msg("pooling %s differs in steps of %d rows", md_pooling_name(p), (int)rows[w]);
                assert_int_equal(md_session_free_positions(s), room);
                md_session_free(s);
            }
        }
}

/* Against libm's powers: ours are within a few units of theirs. At power 1 it is the mean, bit for bit. */
static void check_power(const md_model *m)
{
    static float h[LONGEST * WIDTH], got[WIDTH], mean[WIDTH];
    corpus c;
    fill_corpus(&c);
    const md_embed_input *in = &c.in[3];
    hidden_states(m, in, h);
    md_session *s = session_of(m, LONGEST, 1, 2);
    for (double power = 1.0; power <= 32.0; power *= 2.0) {
        OK(md_embed(s, in, 1, &(md_embed_args){.pooling = MD_POOLING_POWER, .power = power, .raw = true}, got, err));
        for (int j = 0; j < WIDTH; j++) {
            double sum = 0.0;
            for (size_t i = 0; i < in->n; i++)
                sum += copysign(pow(fabs((double)h[i * WIDTH + (size_t)j]), power), (double)h[i * WIDTH + (size_t)j]);
            const double want = copysign(pow(fabs(sum / (double)in->n), 1.0 / power), sum);
            if (fabs((double)got[j] - want) > 1e-5 * fabs(want) + 1e-12)
                fail_msg("power %g, component %d: %g, expected %g", power, j, (double)got[j], want);
        }
        OK(md_embed(s, in, 1, &(md_embed_args){.pooling = MD_POOLING_MEAN, .raw = true}, mean, err));
        assert_int_equal(memcmp(got, mean, sizeof got) == 0, power == 1.0);
    }
    md_error e;
    assert_int_equal(md_embed(s, in, 1, &(md_embed_args){.pooling = MD_POOLING_POWER, .power = 0.5}, got, &e),
                     MD_ERR_ARGUMENT);
    assert_non_null(strstr(e.message, "1 (the mean) to 32"));
    md_session_free(s);
}

static void an_encoder(void **state)
{
    (void)state;
    md_model *m = open_synth(&(md_synth_spec){.arch = "bert"});
    check_model(m);
    check_power(m);
    md_model_close(m);
}

static void a_causal_model(void **state)
{
    (void)state;
    md_model *m = open_synth(&(md_synth_spec){.arch = "qwen3moe"});
    check_model(m);
    check_power(m);
    md_model_close(m);
}

static void the_models_own_pooling(void **state)
{
    (void)state;
    static const struct {
        const char *arch, *override;
        md_pooling own;
    } rows[] = {
        {"bert", NULL, MD_POOLING_MEAN},
        {"bert", "bert.pooling_type=int:2", MD_POOLING_CLS},
        {"llama", NULL, MD_POOLING_LAST},
        {"llama", "llama.pooling_type=int:1", MD_POOLING_MEAN},
    };
    corpus c;
    fill_corpus(&c);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *path = temp_path("own.gguf");
        OK(md_synth_write(&(md_synth_spec){.arch = rows[i].arch}, path, err));
        md_model *m = NULL;
        OK(md_model_open(path, &(md_model_args){.override = &rows[i].override, .n_override = rows[i].override != NULL},
                         &m, err));
        unlink(path);
        float expected[WIDTH], got[WIDTH], plain[WIDTH];
        expect(m, &c.in[0], rows[i].own, false, expected);
        md_session *s = session_of(m, 64, 1, 4);
        OK(md_embed(s, c.in, 1, &(md_embed_args){.pooling = MD_POOLING_MODEL}, got, err));
        OK(md_embed(s, c.in, 1, NULL, plain, err));
        assert_memory_equal(got, expected, sizeof got);
        assert_memory_equal(plain, expected, sizeof got);
        double squares = 0;
        for (int j = 0; j < WIDTH; j++)
            squares += (double)got[j] * (double)got[j];
        assert_true(fabs(squares - 1.0) < 1e-6);
        md_session_free(s);
        md_model_close(m);
    }
}

static void expect_refused(md_session *s, const md_embed_input *in, size_t n, md_pooling p, md_status status,
                           const char *says)
{
    float out[2 * WIDTH];
    md_error e = {0};
    md_counters before, after;
    md_session_counters(s, &before);
    assert_int_equal(md_embed(s, in, n, &(md_embed_args){.pooling = p}, out, &e), status);
    if (!strstr(e.message, says))
        fail_msg("'%s' does not say '%s'", e.message, says);
    md_session_counters(s, &after);
    assert_int_equal(after.steps, before.steps);
}

static void refusals(void **state)
{
    (void)state;
    md_model *m = open_synth(&(md_synth_spec){.arch = "bert", .n_ctx = 100});
    md_session *s = session_of(m, 80, 1, 2);
    corpus c;
    fill_corpus(&c);
    const int32_t bad[] = {5, 320};
    const md_embed_input empty[] = {c.in[0], {0}}, wrong[] = {c.in[0], {bad, 2}}, wide[] = {c.in[0], {c.token[5], 90}};
    expect_refused(s, empty, 2, MD_POOLING_MEAN, MD_ERR_ARGUMENT, "text 2 of 2 has no tokens");
    expect_refused(s, wrong, 2, MD_POOLING_MEAN, MD_ERR_ARGUMENT, "token 320 in text 2 of 2");
    expect_refused(s, &c.in[5], 1, MD_POOLING_MEAN, MD_ERR_LIMIT, "learned positions for 100");
    expect_refused(s, wide, 2, MD_POOLING_MEAN, MD_ERR_LIMIT, "steps have 80 rows");
    expect_refused(s, c.in, 1, MD_POOLING_RANK, MD_ERR_UNSUPPORTED, "rank");
    expect_refused(s, c.in, 1, (md_pooling)9, MD_ERR_ARGUMENT, "no pooling 9");
    md_seq *a, *b;
    OK(md_seq_new(s, &a, err));
    OK(md_seq_new(s, &b, err));
    expect_refused(s, c.in, 1, MD_POOLING_MEAN, MD_ERR_LIMIT, "in use");
    md_seq_free(b); /* one is enough */
    float out[2 * WIDTH];
    OK(md_embed(s, c.in, 2, NULL, out, err));
    md_session_free(s);
    md_model_close(m);

    m = open_synth(&(md_synth_spec){.arch = "llama"});
    md_session_args args;
    md_embed_session_args(m, 1, &args);
    args.n_positions = 64;
    OK(md_session_new(m, &args, &s, err));
    expect_refused(s, &c.in[3], 1, MD_POOLING_MEAN, MD_ERR_LIMIT, "only 64 positions");
    md_session_free(s);
    md_model_close(m);
}

typedef struct stop {
    uint64_t done, total;
    int calls;
} stop;

static bool stop_at_once(void *user, uint64_t done, uint64_t total)
{
    stop *st = user;
    *st = (stop){done, total, st->calls + 1};
    return false;
}

static void progress_can_stop(void **state)
{
    (void)state;
    md_model *m = open_synth(&(md_synth_spec){.arch = "llama"});
    md_session *s = session_of(m, 10, 1, 2);
    const int32_t room = md_session_free_positions(s);
    corpus c;
    fill_corpus(&c);
    stop st = {0};
    float out[N_TEXTS * WIDTH];
    const md_embed_args args = {.pooling = MD_POOLING_MEAN, .progress = stop_at_once, .progress_user = &st};
    md_error e = {0};
    assert_int_equal(md_embed(s, &c.in[2], 2, &args, out, &e), MD_ERR_CANCELLED);
    assert_int_equal(st.calls, 1);
    assert_int_equal(st.done, 10);
    assert_int_equal(st.total, 64 + 65);
    assert_int_equal(md_session_free_positions(s), room);
    OK(md_embed(s, c.in, N_TEXTS, NULL, out, err)); /* and the session goes on */
    md_session_free(s);
    md_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_encoder), cmocka_unit_test(a_causal_model),    cmocka_unit_test(the_models_own_pooling),
        cmocka_unit_test(refusals),   cmocka_unit_test(progress_can_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
