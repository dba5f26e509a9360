/* SPDX-License-Identifier: Apache-2.0
 *
 * Perplexity against the same figure worked out plainly, from logits of whole windows and the C library's log and exp. */
#include "run/small_model.h"

#include "format/gguf.h"
#include <medley/eval.h>

#include <math.h>
#include <string.h>

enum { N_CTX = 48, N_TOKENS = 3 * N_CTX + 17 };

static int32_t tokens[N_TOKENS];

static int make(void **state)
{
    if (small_model_make(state) != 0)
        return -1;
    for (int i = 0; i < N_TOKENS; i++)
        tokens[i] = (i * 37 + i * i) % 300;
    return 0;
}

typedef struct plain {
    double perplexity, error, nll;
    int64_t n;
} plain;

/* bos: first token of each window, or -1. */
static plain by_hand(const md_model *m, int32_t bos)
{
    const int32_t n_vocab = md_model_get_info(m)->n_vocab;
    md_session *s = new_session(m, N_CTX, N_CTX, N_CTX);
    double nll[2 * N_TOKENS], sum = 0;
    plain p = {0};
    for (int w = 0; w < N_TOKENS / N_CTX; w++) {
        md_seq *q = new_seq(s), *seq[N_CTX];
        int32_t window[N_CTX];
        uint8_t want[N_CTX];
        for (int i = 0; i < N_CTX; i++) {
            seq[i] = q;
            want[i] = MD_WANT_LOGITS;
            window[i] = i == 0 && bos >= 0 ? bos : tokens[w * N_CTX + i];
        }
        const md_batch b = {.n = N_CTX, .token = window, .seq = seq, .want = want};
        md_error err;
        ok(md_decode(s, &b, &err), &err);
        for (int i = N_CTX / 2; i < N_CTX - 1; i++) {
            const float *logits = md_step_logits(s, i);
            double z = 0;
            for (int32_t t = 0; t < n_vocab; t++)
                z += exp((double)logits[t]);
            nll[p.n++] = log(z) - (double)logits[window[i + 1]];
        }
        md_seq_free(q);
    }
    md_session_free(s);
    for (int64_t i = 0; i < p.n; i++)
        sum += nll[i];
    p.nll = sum / (double)p.n;
    p.perplexity = exp(p.nll);
    double variance = 0;
    for (int64_t i = 0; i < p.n; i++)
        variance += (nll[i] - p.nll) * (nll[i] - p.nll);
    p.error = p.perplexity * sqrt(variance / (double)p.n / (double)(p.n - 1));
    return p;
}

static md_perplexity measure(const md_model *m, int32_t n_rows, int32_t n_logits)
{
    md_session *s = new_session(m, 64, n_rows, n_logits);
    md_perplexity p;
    md_error err;
    ok(md_eval_perplexity(s, tokens, N_TOKENS, N_CTX, NULL, NULL, &p, &err), &err);
    assert_int_equal(md_session_free_positions(s), 64); /* nothing stays behind */
    md_session_free(s);
    return p;
}

static void expect_close(double got, double want)
{
    if (!(fabs(got - want) <= 1e-9 * fabs(want)))
        fail_msg("%.15g, not %.15g", got, want);
}

static void the_second_half_of_each_window_is_scored(void **state)
{
    (void)state;
    const plain want = by_hand(small_model, -1);
    assert_int_equal(want.n, 3 * (N_CTX / 2 - 1));
    const md_perplexity p = measure(small_model, 64, 8);
    assert_int_equal(p.n_scored, want.n);
    assert_int_equal(p.n_windows, 3);
    expect_close(p.nll, want.nll);
    expect_close(p.perplexity, want.perplexity);
    expect_close(p.error, want.error);
    assert_true(p.seconds > 0);
}

static void figures_do_not_depend_on_how_rows_are_batched(void **state)
{
    (void)state;
    const md_perplexity first = measure(small_model, 64, 64);
    const int32_t shapes[][2] = {{1, 1}, {7, 1}, {7, 7}, {64, 3}, {24, 24}};
    for (int i = 0; i < 5; i++) {
        const md_perplexity p = measure(small_model, shapes[i][0], shapes[i][1]);
        assert_true(p.logits_hash == first.logits_hash);
        assert_memory_equal(&p.nll, &first.nll, sizeof p.nll);
        assert_memory_equal(&p.error, &first.error, sizeof p.error);
    }
}

/* The same model, but its tokenizer wants a BOS in front. */
static md_model *with_bos(char *path, size_t n)
{
    snprintf(path, n, "%s/bos.gguf", small_dir);
    md_gguf *g;
    md_gguf_writer *w;
    md_error err;
    ok(md_gguf_open(small_path, MD_GGUF_MAP, &g, &err), &err);
    ok(md_gguf_writer_new(path, &w, &err), &err);
    for (size_t i = 0; i < md_gguf_n_kv(g); i++)
        ok(md_gguf_copy_kv(w, md_gguf_kv_at(g, i), &err), &err);
    ok(md_gguf_set_bool(w, "tokenizer.ggml.add_bos_token", true, &err), &err);
    for (size_t i = 0; i < md_gguf_n_tensors(g); i++) {
        const md_gguf_tensor *t = md_gguf_tensor_at(g, i);
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.s);
        ok(md_gguf_add_tensor(w, name, t->type, t->n_dims, t->dim, &err), &err);
    }
    ok(md_gguf_begin(w, &err), &err);
    for (size_t i = 0; i < md_gguf_n_tensors(g); i++)
        ok(md_gguf_data(w, md_gguf_tensor_at(g, i)->data, md_gguf_tensor_at(g, i)->bytes, &err), &err);
    ok(md_gguf_commit(w, &err), &err);
    md_gguf_writer_close(w);
    md_gguf_close(g);
    md_model *m;
    ok(md_model_open(path, NULL, &m, &err), &err);
    return m;
}

static void bos_takes_the_place_of_a_windows_first_token(void **state)
{
    (void)state;
    char path[300];
    md_model *m = with_bos(path, sizeof path);
    const plain want = by_hand(m, md_token_bos(md_model_tokenizer(m))), without = by_hand(m, -1);
    expect_close(measure(m, 64, 8).nll, want.nll);
    assert_true(fabs(want.nll - without.nll) > 1e-6);
    md_model_close(m);
    remove(path);
}

typedef struct watch {
    int calls, stop_at;
    md_perplexity last;
} watch;

static bool on_window(void *user, const md_perplexity *so_far, int32_t total)
{
    watch *w = user;
    assert_int_equal(total, 3);
    assert_int_equal(so_far->n_windows, w->calls + 1);
    w->last = *so_far;
    return ++w->calls != w->stop_at;
}

static void windows_are_reported_and_can_stop_it(void **state)
{
    (void)state;
    md_session *s = new_session(small_model, 64, 32, 4);
    watch w = {0};
    md_perplexity p;
    md_error err;
    ok(md_eval_perplexity(s, tokens, N_TOKENS, N_CTX, on_window, &w, &p, &err), &err);
    assert_int_equal(w.calls, 3);
    assert_memory_equal(&w.last.nll, &p.nll, sizeof p.nll);
    w = (watch){.stop_at = 2};
    assert_int_equal(md_eval_perplexity(s, tokens, N_TOKENS, N_CTX, on_window, &w, &p, &err), MD_ERR_CANCELLED);
    assert_int_equal(w.calls, 2);
    assert_non_null(strstr(err.message, "2 of 3 windows"));
    assert_int_equal(md_session_free_positions(s), 64);
    md_session_free(s);
}

static void what_cannot_be_measured_is_refused(void **state)
{
    (void)state;
    md_session *s = new_session(small_model, 64, 32, 4);
    md_perplexity p;
    md_error err;
    assert_int_equal(md_eval_perplexity(s, tokens, N_CTX - 1, N_CTX, NULL, NULL, &p, &err), MD_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "47 tokens"));
    assert_non_null(strstr(err.message, "needs 48"));
    assert_int_equal(md_eval_perplexity(s, tokens, N_TOKENS, 7, NULL, NULL, &p, &err), MD_ERR_ARGUMENT);
    assert_int_equal(md_eval_perplexity(s, tokens, N_TOKENS, 65, NULL, NULL, &p, &err), MD_ERR_LIMIT);
    assert_non_null(strstr(err.message, "64 free"));
    int32_t bad[N_CTX];
    memcpy(bad, tokens, sizeof bad);
    bad[3] = -1;
    assert_int_equal(md_eval_perplexity(s, bad, N_CTX, N_CTX, NULL, NULL, &p, &err), MD_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "token 3 is -1"));
    assert_int_equal(p.n_scored, 0);
    md_session_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_second_half_of_each_window_is_scored),
        cmocka_unit_test(figures_do_not_depend_on_how_rows_are_batched),
        cmocka_unit_test(bos_takes_the_place_of_a_windows_first_token),
        cmocka_unit_test(windows_are_reported_and_can_stop_it),
        cmocka_unit_test(what_cannot_be_measured_is_refused),
    };
    return cmocka_run_group_tests(tests, make, small_model_remove);
}
