/* SPDX-License-Identifier: Apache-2.0
 *
 * Mixers that carry a state, a tiny model each (gated delta net, Mamba-2, short convolution; some layer of each attends; one
 * more whose layers are one branch each, with experts in a space of their own): whatever a state goes through (chunks, batch mates, forks, snapshots, files, steps given up), the bits are those of
 * one undisturbed run. */
#include "model/recurrent_models.h"

enum { N = 60 };
static md_model *model[N_MODELS];

static md_model *make_model(const model_row *m)
{
    const char *path = temp_path("recurrent.gguf");
    write_model(m, path);
    md_model *out = NULL;
    md_error e = {0};
    const md_status status = md_model_open(path, NULL, &out, &e);
    unlink(path);
    if (status != MD_OK)
        fail_msg("opening a '%s' model: %s", m->arch, e.message);
    return out;
}

/* ---- runs ---- */

static int32_t token[N], other[N];

static int setup(void **state)
{
    (void)state;
    for (int i = 0; i < N_MODELS; i++)
        model[i] = make_model(&models[i]);
    fill_tokens(token, N, N_VOCAB, 1);
    fill_tokens(other, N, N_VOCAB, 2);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < N_MODELS; i++)
        md_model_close(model[i]);
    return 0;
}

static md_session *session_of(const md_model *m, int threads, const char *isa)
{
    md_session_args args;
    md_session_args_default(m, &args);
    args.n_threads = threads;
    args.n_positions = 512;
    args.n_rows = args.n_logits = 2 * N;
    args.grain_rows = threads > 1;
    args.isa = isa;
    md_session *s;
    OK(md_session_new(m, &args, &s, err));
    return s;
}

static md_seq *seq_of(md_session *s)
{
    md_seq *q;
    OK(md_seq_new(s, &q, err));
    return q;
}

/* Tokens [from, to) in steps of `chunk`; the hash of all their logits, in order. */
static uint64_t feed(md_session *s, md_seq *q, const int32_t *t, int from, int to, int chunk)
{
    uint64_t hash = MD_HASH_START;
    md_seq *seq[N];
    uint8_t want[N];
    for (int i = 0; i < N; i++) {
        seq[i] = q;
        want[i] = MD_WANT_LOGITS;
    }
    for (int at = from; at < to; at += chunk) {
        const int n = chunk < to - at ? chunk : to - at;
        OK(md_decode(s, &(md_batch){.n = n, .token = t + at, .seq = seq, .want = want}, err));
        for (int i = 0; i < n; i++)
            hash = md_logits_hash(hash, md_step_logits(s, i), N_VOCAB);
    }
    return hash;
}

/* What an undisturbed run gives for [from, to). */
static uint64_t expected(const md_model *m, const int32_t *t, int from, int to)
{
    md_session *s = session_of(m, 1, "scalar");
    md_seq *q = seq_of(s);
    feed(s, q, t, 0, from, N);
    const uint64_t hash = feed(s, q, t, from, to, N);
    md_session_free(s);
    return hash;
}

/* ---- tests ---- */

static void chunks_and_threads_change_nothing(void **state)
{
    (void)state;
    static const int chunks[] = {1, 2, 3, 7, 31, N};
    for (int m = 0; m < N_MODELS; m++) {
        const uint64_t hash = expected(model[m], token, 0, N);
        for (size_t c = 0; c < sizeof chunks / sizeof *chunks; c++)
            for (int threads = 1; threads <= 3; threads += 2) {
                md_session *s = session_of(model[m], threads, NULL);
                if (feed(s, seq_of(s), token, 0, N, chunks[c]) != hash)
                    fail_msg("%s: chunks of %d, %d threads", models[m].arch, chunks[c], threads);
                md_session_free(s);
            }
    }
}

/* Rows of two sequences mixed without a pattern; a third one idles between. */
static void batch_mates_change_nothing(void **state)
{
    (void)state;
    for (int m = 0; m < N_MODELS; m++) {
        md_session *s = session_of(model[m], 2, NULL);
        md_seq *a = seq_of(s), *b = seq_of(s), *idle = seq_of(s);
        feed(s, idle, token, 0, 20, N);
        uint64_t hash_a = MD_HASH_START, hash_b = MD_HASH_START;
        uint32_t x = 7;
        for (int at_a = 0, at_b = 0; at_a < N || at_b < N;) {
            int32_t t[13];
            md_seq *seq[13];
            uint8_t want[13];
            int n = 0;
            for (; n < 13 && (at_a < N || at_b < N); n++) {
                x = x * 1664525u + 1013904223u;
                const bool first = at_b == N || (at_a < N && (x >> 30 & 1));
                seq[n] = first ? a : b;
                t[n] = first ? token[at_a++] : other[at_b++];
                want[n] = MD_WANT_LOGITS;
            }
            OK(md_decode(s, &(md_batch){.n = n, .token = t, .seq = seq, .want = want}, err));
            for (int i = 0; i < n; i++) {
                uint64_t *hash = seq[i] == a ? &hash_a : &hash_b;
                *hash = md_logits_hash(*hash, md_step_logits(s, i), N_VOCAB);
            }
        }
        assert_int_equal(hash_a, expected(model[m], token, 0, N));
        assert_int_equal(hash_b, expected(model[m], other, 0, N));
        assert_int_equal(feed(s, idle, token, 20, N, N), expected(model[m], token, 20, N));
        md_session_free(s);
    }
}

static void forks_part(void **state)
{
    (void)state;
    for (int m = 0; m < N_MODELS; m++) {
        md_session *s = session_of(model[m], 1, NULL);
        md_seq *a = seq_of(s), *b;
        feed(s, a, token, 0, 33, N);
        OK(md_seq_fork(a, &b, err));
        int32_t mixed[N];
        memcpy(mixed, token, 33 * sizeof *mixed);
        memcpy(mixed + 33, other + 33, (N - 33) * sizeof *mixed);
        assert_int_equal(feed(s, b, mixed, 33, N, 4), expected(model[m], mixed, 33, N));
        assert_int_equal(feed(s, a, token, 33, N, N), expected(model[m], token, 33, N));
        md_session_free(s);
    }
}

static void snapshots_restore_any_number_of_times(void **state)
{
    (void)state;
    for (int m = 0; m < N_MODELS; m++) {
        md_session *s = session_of(model[m], 1, NULL);
        md_seq *q = seq_of(s);
        md_snapshot *snap;
        feed(s, q, token, 0, 25, N);
        OK(md_seq_snapshot(q, &snap, err));
        const uint64_t hash = expected(model[m], token, 25, N);
        for (int i = 0; i < 3; i++) {
            feed(s, q, other, 0, 5 * i, N);
            OK(md_seq_restore(q, snap, err));
            assert_int_equal(md_seq_length(q), 25);
            assert_int_equal(feed(s, q, token, 25, N, 1 + 8 * i), hash);
        }
        md_session_free(s);
    }
}

/* An earlier state is gone: only the beginning, the present and snapshots can be had. */
static void trims_go_to_the_beginning_only(void **state)
{
    (void)state;
    for (int m = 0; m < N_MODELS; m++) {
        md_session *s = session_of(model[m], 1, NULL);
        md_seq *q = seq_of(s);
        md_error e = {0};
        feed(s, q, token, 0, 30, N);
        assert_int_equal(md_seq_trim(q, 29, &e), MD_ERR_UNSUPPORTED);
        assert_int_equal(md_seq_trim(q, 1, &e), MD_ERR_UNSUPPORTED);
        assert_non_null(strstr(e.message, "snapshot"));
        assert_int_equal(md_seq_length(q), 30);
        OK(md_seq_trim(q, 30, err));
        assert_int_equal(feed(s, q, token, 30, N, N), expected(model[m], token, 30, N));
        OK(md_seq_trim(q, 0, err));
        assert_int_equal(feed(s, q, token, 0, N, N), expected(model[m], token, 0, N));
        md_session_free(s);
    }
}

/* Given up before, between and behind layers, or refused: the state stays. */
static void abandoned_steps_leave_no_trace(void **state)
{
    (void)state;
    for (int m = 0; m < N_MODELS; m++) {
        md_session *s = session_of(model[m], 2, NULL);
        md_seq *q = seq_of(s), *seq[10];
        for (int i = 0; i < 10; i++)
            seq[i] = q;
        feed(s, q, token, 0, 17, N);
        for (int layers = 0; models[m].layers[layers]; layers++) {
            bool done = false;
            OK(md_step_begin(s, &(md_batch){.n = 10 - layers, .token = other, .seq = seq}, err));
            for (int i = 0; i < layers; i++)
                OK(md_step_advance(s, 1, &done, err));
            assert_false(done);
            md_step_abandon(s);
            assert_int_equal(md_seq_length(q), 17);
        }
        const int32_t wrong[2] = {other[0], N_VOCAB};
        md_error e = {0};
        assert_int_equal(md_decode(s, &(md_batch){.n = 2, .token = wrong, .seq = seq}, &e), MD_ERR_ARGUMENT);
        assert_int_equal(feed(s, q, token, 17, N, N), expected(model[m], token, 17, N));
        md_session_free(s);
    }
}

static void saved_sequences_go_on(void **state)
{
    (void)state;
    for (int m = 0; m < N_MODELS; m++) {
        const char *path = temp_path("recurrent.seq");
        md_session *s = session_of(model[m], 1, NULL), *later = session_of(model[m], 1, NULL);
        md_seq *q = seq_of(s), *loaded = seq_of(later);
        md_saved *saved;
        feed(s, q, token, 0, 21, N);
        OK(md_seq_save(q, &(md_seq_save_args){.token = token, .n_tokens = 21}, path, err));
        OK(md_saved_open(path, &saved, err));
        feed(later, loaded, other, 0, 9, N);
        OK(md_seq_trim(loaded, 0, err));
        OK(md_seq_load(loaded, saved, err));
        assert_int_equal(feed(later, loaded, token, 21, N, 5), expected(model[m], token, 21, N));
        md_saved_close(saved);
        unlink(path);
        md_session_free(s);
        md_session_free(later);
    }
}

/* Layers may use different numbers of experts. */
static void layers_pick_their_own_number(void **state)
{
    (void)state;
    const int m = N_MODELS - 1;
    md_session *s = session_of(model[m], 1, NULL);
    md_seq *q = seq_of(s), *seq[9];
    uint8_t want[9];
    for (int i = 0; i < 9; i++) {
        seq[i] = q;
        want[i] = MD_WANT_ROUTING;
    }
    OK(md_decode(s, &(md_batch){.n = 9, .token = token, .seq = seq, .want = want}, err));
    for (int layer = 1; layer <= 3; layer += 2)
        for (int i = 0; i < 9; i++) {
            const int32_t *expert;
            const float *weight;
            int32_t k;
            float sum = 0.0f;
            assert_true(md_step_routing(s, i, layer, &expert, &weight, &k));
            assert_int_equal(k, layer == 1 ? 3 : 2);
            for (int32_t j = 0; j < k; j++) {
                assert_in_range(expert[j], 0, 5);
                sum += weight[j];
            }
            assert_true(sum > 0.999f && sum < 1.001f);
        }
    md_session_free(s);
}

/* What the tests above hold against each other does depend on what came before. */
static void the_past_counts(void **state)
{
    (void)state;
    for (int m = 0; m < N_MODELS; m++) {
        int32_t changed[N];
        memcpy(changed, token, sizeof changed);
        changed[0] = (changed[0] + 1) % N_VOCAB;
        assert_int_not_equal(expected(model[m], changed, N - 1, N), expected(model[m], token, N - 1, N));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_and_threads_change_nothing),
        cmocka_unit_test(batch_mates_change_nothing),
        cmocka_unit_test(forks_part),
        cmocka_unit_test(snapshots_restore_any_number_of_times),
        cmocka_unit_test(trims_go_to_the_beginning_only),
        cmocka_unit_test(abandoned_steps_leave_no_trace),
        cmocka_unit_test(saved_sequences_go_on),
        cmocka_unit_test(layers_pick_their_own_number),
        cmocka_unit_test(the_past_counts),
    };
    return cmocka_run_group_tests_name("recurrent mixers", tests, setup, teardown);
}
