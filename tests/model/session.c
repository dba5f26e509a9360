/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions and sequences: forks, trims, snapshots, masks, steps in pieces, refusals, estimates, the observer, and no
 * allocation inside a step (malloc and its relatives are wrapped and counted). */
#include "support/allocations.h"
#include "support/synth_model.h"

#include <math.h>

/* ---- a small mixture for all tests ---- */

static md_model *model;
static int32_t n_vocab;

static int setup(void **state)
{
    (void)state;
    model = open_synth(&(md_synth_spec){.arch = "qwen3moe",
                                        .n_layer = 3,
                                        .n_embd = 64,
                                        .n_head = 4,
                                        .n_head_kv = 2,
                                        .head_dim = 32,
                                        .n_expert = 8,
                                        .n_expert_used = 2,
                                        .n_ff_exp = 32,
                                        .type_ffn = "Q8_0",
                                        .seed = 11});
    n_vocab = md_model_get_info(model)->n_vocab;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    md_model_close(model);
    return 0;
}

static md_session *session_of(int32_t positions, int32_t rows)
{
    md_session_args args;
    md_session_args_default(model, &args);
    args.n_threads = 2;
    args.n_positions = positions;
    args.n_rows = args.n_logits = rows;
    md_session *s;
    OK(md_session_new(model, &args, &s, err));
    return s;
}

/* Runs tokens through q and gives the hash of the last row's logits. */
static uint64_t feed(md_session *s, md_seq *q, const int32_t *token, int n)
{
    md_seq *seq[256];
    for (int i = 0; i < n; i++)
        seq[i] = q;
    OK(md_decode(s, &(md_batch){.n = n, .token = token, .seq = seq}, err));
    return md_logits_hash(MD_HASH_START, md_step_logits(s, n - 1), (size_t)n_vocab);
}

static void forks_share_and_part(void **state)
{
    (void)state;
    int32_t token[200];
    fill_tokens(token, 200, n_vocab, 1);
    md_session *s = session_of(1024, 128);
    md_seq *a, *b, *fresh;
    OK(md_seq_new(s, &a, err));
    feed(s, a, token, 100);
    const int32_t free_before = md_session_free_positions(s);
    OK(md_seq_fork(a, &b, err));
    assert_int_equal(md_seq_length(b), 100);
    assert_int_equal(md_session_free_positions(s), free_before); /* shared, not copied */
    const uint64_t ha = feed(s, a, token + 100, 20), hb = feed(s, b, token + 150, 20);
    md_counters c;
    md_session_counters(s, &c);
    assert_int_equal(c.pages_copied, 1);
    /* Each equals a sequence that was never forked. */
    OK(md_seq_new(s, &fresh, err));
    feed(s, fresh, token, 100);
    assert_int_equal(feed(s, fresh, token + 100, 20), ha);
    OK(md_seq_trim(fresh, 100, err));
    assert_int_equal(feed(s, fresh, token + 150, 20), hb);
    md_seq_free(a);
    md_seq_free(b);
    md_seq_free(fresh);
    assert_int_equal(md_session_free_positions(s), 1024);
    md_session_free(s);
}

static void snapshots_restore_any_number_of_times(void **state)
{
    (void)state;
    int32_t token[120];
    fill_tokens(token, 120, n_vocab, 2);
    md_session *s = session_of(1024, 128);
    md_seq *q;
    md_snapshot *snap;
    OK(md_seq_new(s, &q, err));
    feed(s, q, token, 70);
    OK(md_seq_snapshot(q, &snap, err));
    const uint64_t first = feed(s, q, token + 70, 50);
    for (int i = 0; i < 3; i++) {
        OK(md_seq_restore(q, snap, err));
        assert_int_equal(md_seq_length(q), 70);
        assert_int_equal(feed(s, q, token + 70, 50), first);
    }
    OK(md_seq_trim(q, 0, err));
    OK(md_seq_restore(q, snap, err));
    assert_int_equal(feed(s, q, token + 70, 50), first);
    md_snapshot_free(snap);
    md_seq_free(q);
    assert_int_equal(md_session_free_positions(s), 1024);
    md_session_free(s);
}

typedef struct rows_seen {
    float rows[4 * 64];
} rows_seen;

static void keep_first_layer(void *user, const md_event *e)
{
    if (e->layer == 0)
        memcpy(((rows_seen *)user)->rows, e->values, sizeof((rows_seen *)user)->rows);
}

static void embeddings_equal_their_tokens(void **state)
{
    (void)state;
    int32_t token[4];
    fill_tokens(token, 4, n_vocab, 3);
    md_session *s = session_of(256, 16);
    md_seq *q;
    OK(md_seq_new(s, &q, err));
    rows_seen seen = {0};
    md_session_observe(s, 1u << MD_POINT_LAYER_IN, keep_first_layer, &seen);
    const uint64_t expected = feed(s, q, token, 4);
    md_session_observe(s, 0, NULL, NULL);
    OK(md_seq_trim(q, 0, err));
    md_seq *const seq[4] = {q, q, q, q};
    const uint8_t want[4] = {0, 0, 0, MD_WANT_LOGITS | MD_WANT_HIDDEN};
    OK(md_decode(s, &(md_batch){.n = 4, .embd = seen.rows, .seq = seq, .want = want}, err));
    assert_int_equal(md_logits_hash(MD_HASH_START, md_step_logits(s, 3), (size_t)n_vocab), expected);
    assert_non_null(md_step_hidden(s, 3));
    assert_null(md_step_hidden(s, 2));
    md_session_free(s);
}

static void steps_stop_between_layers(void **state)
{
    (void)state;
    int32_t token[30];
    fill_tokens(token, 30, n_vocab, 4);
    md_session *s = session_of(256, 32);
    md_seq *q, *seq[30];
    OK(md_seq_new(s, &q, err));
    const uint64_t whole = feed(s, q, token, 30);
    OK(md_seq_trim(q, 0, err));
    for (int i = 0; i < 30; i++)
        seq[i] = q;
    const md_batch b = {.n = 30, .token = token, .seq = seq};
    OK(md_step_begin(s, &b, err));
    bool done;
    for (int layer = 0; layer < 3; layer++) {
        assert_null(md_step_logits(s, 29));
        assert_int_equal(md_seq_length(q), 0);
        OK(md_step_advance(s, 1, &done, err));
        assert_int_equal(done, layer == 2);
    }
    assert_int_equal(md_logits_hash(MD_HASH_START, md_step_logits(s, 29), (size_t)n_vocab), whole);
    assert_int_equal(md_seq_length(q), 30);
    /* Abandoned half-way, the sequence is as before and goes on as if nothing had been. */
    OK(md_step_begin(s, &(md_batch){.n = 1, .token = token, .seq = seq}, err));
    OK(md_step_advance(s, 2, &done, err));
    md_error e;
    assert_int_equal(md_seq_trim(q, 3, &e), MD_ERR_ARGUMENT);
    md_step_abandon(s);
    assert_int_equal(md_seq_length(q), 30);
    OK(md_seq_trim(q, 20, err));
    assert_int_equal(feed(s, q, token + 20, 10), whole);
    md_session_free(s);
}

static void masks_switch_experts_off_and_force_them(void **state)
{
    (void)state;
    int32_t token[40];
    fill_tokens(token, 40, n_vocab, 5);
    md_session *s = session_of(256, 64);
    md_seq *q, *masked, *seq[40];
    uint8_t want[40];
    OK(md_seq_new(s, &q, err));
    OK(md_seq_new(s, &masked, err));
    OK(md_seq_mask_expert(masked, 1, 3, MD_EXPERT_OFF, err));
    OK(md_seq_mask_expert(masked, 1, 5, MD_EXPERT_FORCED, err));
    md_seq *fork;
    OK(md_seq_fork(masked, &fork, err));
    md_seq *const order[2] = {q, fork};
    for (int which = 0; which < 2; which++) {
        for (int i = 0; i < 40; i++) {
            seq[i] = order[which];
            want[i] = MD_WANT_ROUTING;
        }
        OK(md_decode(s, &(md_batch){.n = 40, .token = token, .seq = seq, .want = want}, err));
        int threes = 0, fives = 0;
        for (int i = 0; i < 40; i++) {
            const int32_t *expert;
            const float *weight;
            int32_t k;
            assert_true(md_step_routing(s, i, 1, &expert, &weight, &k));
            assert_int_equal(k, 2);
            assert_true(fabsf(weight[0] + weight[1] - 1.0f) < 1e-5f);
            for (int j = 0; j < k; j++) {
                threes += expert[j] == 3;
                fives += expert[j] == 5;
            }
        }
        if (which == 0)
            assert_true(threes > 0 && fives < 40);
        else
            assert_true(threes == 0 && fives == 40);
    }
    char key[160], masked_key[160];
    md_seq_numerics_key(q, key, sizeof key);
    md_seq_numerics_key(fork, masked_key, sizeof masked_key);
    assert_string_equal(key, "kv=f16 experts=all top-k=2 adapter=none rope=model ctx=model");
    assert_non_null(strstr(masked_key, "experts=mask-"));
    md_error e;
    assert_int_equal(md_seq_mask_expert(fork, 1, 0, MD_EXPERT_OFF, &e), MD_ERR_ARGUMENT); /* not empty any more */
    assert_int_equal(md_seq_mask_expert(masked, 9, 0, MD_EXPERT_OFF, &e), MD_ERR_ARGUMENT);
    assert_int_equal(md_seq_mask_expert(masked, 0, 8, MD_EXPERT_OFF, &e), MD_ERR_ARGUMENT);
    for (int expert = 0; expert < 6; expert++)
        OK(md_seq_mask_expert(masked, 0, expert, MD_EXPERT_OFF, err));
    assert_int_equal(md_seq_mask_expert(masked, 0, 6, MD_EXPERT_OFF, &e),
                     MD_ERR_ARGUMENT); /* top-2 could not be filled */
    assert_int_equal(md_seq_mask_expert(masked, 1, 0, MD_EXPERT_FORCED, &e), MD_OK);
    assert_int_equal(md_seq_mask_expert(masked, 1, 1, MD_EXPERT_FORCED, &e), MD_ERR_ARGUMENT); /* three for two slots */
    md_session_free(s);
}

static void nothing_is_allocated_inside_a_step(void **state)
{
    (void)state;
    int32_t token[256];
    fill_tokens(token, 256, n_vocab, 6);
    md_session *s = session_of(512, 128);
    md_seq *q;
    OK(md_seq_new(s, &q, err));
    const long before = allocations;
    feed(s, q, token, 100);
    for (int i = 100; i < 256; i++)
        feed(s, q, token + i, 1);
    assert_int_equal(allocations, before);
    OK(md_seq_new(s, &q, err));
    assert_true(allocations > before); /* the counter does count */
    md_session_free(s);
}

static void refused(md_session *s, const md_batch *b, md_status code, const char *says)
{
    md_error e = {0};
    assert_int_equal(md_decode(s, b, &e), code);
    if (!strstr(e.message, says))
        fail_msg("'%s' does not say '%s'", e.message, says);
}

static void bad_batches_are_refused_and_change_nothing(void **state)
{
    (void)state;
    int32_t token[70] = {0};
    md_session *s = session_of(64, 64), *other = session_of(64, 64);
    md_seq *q, *stranger, *seq[70];
    OK(md_seq_new(s, &q, err));
    OK(md_seq_new(other, &stranger, err));
    for (int i = 0; i < 70; i++)
        seq[i] = q;
    refused(s, &(md_batch){.n = 0, .token = token, .seq = seq}, MD_ERR_ARGUMENT, "0 rows");
    refused(s, &(md_batch){.n = 65, .token = token, .seq = seq}, MD_ERR_ARGUMENT, "65 rows");
    refused(s, &(md_batch){.n = 1, .seq = seq}, MD_ERR_ARGUMENT, "tokens or embeddings");
    refused(s, &(md_batch){.n = 1, .token = token, .seq = &stranger}, MD_ERR_ARGUMENT, "no sequence of this session");
    const int32_t wrong_pos[2] = {0, 2};
    refused(s, &(md_batch){.n = 2, .token = token, .seq = seq, .pos = wrong_pos}, MD_ERR_ARGUMENT, "position 2");
    token[3] = n_vocab;
    refused(s, &(md_batch){.n = 4, .token = token, .seq = seq}, MD_ERR_ARGUMENT, "vocabulary");
    token[3] = -1;
    refused(s, &(md_batch){.n = 4, .token = token, .seq = seq}, MD_ERR_ARGUMENT, "vocabulary");
    token[3] = 0;
    assert_int_equal(md_seq_length(q), 0);
    assert_int_equal(md_session_free_positions(s), 64);
    feed(s, q, token, 60);
    refused(s, &(md_batch){.n = 5, .token = token, .seq = seq}, MD_ERR_LIMIT, "context is full");
    assert_int_equal(md_seq_length(q), 60);
    feed(s, q, token, 4);
    refused(s, &(md_batch){.n = 1, .token = token, .seq = seq}, MD_ERR_LIMIT, "context is full");
    md_session_free(s);
    md_session_free(other);
}

static void sessions_keep_to_their_arguments(void **state)
{
    (void)state;
    md_session_args args;
    md_session_args_default(model, &args);
    md_memory m;
    OK(md_session_estimate(model, &args, &m, err));
    assert_int_equal(m.total, m.weights + m.kv + m.scratch);
    /* 3 layers, 2 heads of 32, keys and values, 4096 positions, 2 bytes */
    assert_int_equal(m.kv, 3 * 2 * (32 + 32) * 4096 * 2);
    args.memory = (int64_t)m.total - 1;
    md_session *s;
    md_error e;
    assert_int_equal(md_session_new(model, &args, &s, &e), MD_ERR_MEMORY);
    assert_null(s);
    args.memory = (int64_t)m.total;
    OK(md_session_new(model, &args, &s, err));
    md_seq *q;
    for (int i = 0; i < args.n_sequences; i++)
        OK(md_seq_new(s, &q, err));
    assert_int_equal(md_seq_new(s, &q, &e), MD_ERR_LIMIT);
    assert_null(q);
    md_session_free(s);
    static const struct {
        int32_t threads, positions, rows, logits;
    } bad[] = {{-1, 64, 1, 1},    {257, 64, 1, 1}, {1, 0, 1, 1}, {1, 64, 0, 1},
               {1, 64, 70000, 1}, {1, 64, 4, 5},   {1, 64, 4, 0}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        md_session_args_default(model, &args);
        args.n_threads = bad[i].threads;
        args.n_positions = bad[i].positions;
        args.n_rows = bad[i].rows;
        args.n_logits = bad[i].logits;
        assert_int_equal(md_session_new(model, &args, &s, &e), MD_ERR_ARGUMENT);
    }
    md_session_free(NULL);
    md_seq_free(NULL);
}

typedef struct seen {
    int layer_in, ffn_in, routing, expert_rows, layer_out;
} seen;

static void count_event(void *user, const md_event *e)
{
    seen *n = user;
    switch (e->point) {
    case MD_POINT_LAYER_IN: n->layer_in += e->n_rows; break;
    case MD_POINT_FFN_IN: n->ffn_in += e->n_rows; break;
    case MD_POINT_ROUTING:
        assert_int_equal(e->n_cols, 2);
        for (int i = 0; i < e->n_rows * 2; i++)
            assert_true(e->expert_id[i] >= 0 && e->expert_id[i] < 8);
        n->routing += e->n_rows;
        break;
    case MD_POINT_EXPERT_OUT:
        for (int i = 0; i < e->n_rows; i++)
            assert_true(e->row[i] >= 0 && e->row[i] < 10);
        n->expert_rows += e->n_rows;
        break;
    case MD_POINT_LAYER_OUT: n->layer_out += e->n_rows; break;
    }
}

static void the_observer_sees_every_point(void **state)
{
    (void)state;
    int32_t token[10];
    fill_tokens(token, 10, n_vocab, 8);
    md_session *s = session_of(64, 16);
    md_seq *q;
    OK(md_seq_new(s, &q, err));
    const uint64_t unseen = feed(s, q, token, 10);
    OK(md_seq_trim(q, 0, err));
    seen n = {0};
    md_session_observe(s, ~0u, count_event, &n);
    assert_int_equal(feed(s, q, token, 10), unseen);
    assert_int_equal(n.layer_in, 30);
    assert_int_equal(n.ffn_in, 30);
    assert_int_equal(n.routing, 30);
    assert_int_equal(n.expert_rows, 60);
    assert_int_equal(n.layer_out, 30);
    md_session_observe(s, 0, NULL, NULL);
    OK(md_seq_trim(q, 0, err));
    feed(s, q, token, 10);
    assert_int_equal(n.layer_in, 30);
    md_session_free(s);
}

static void observers_are_side_by_side(void **state)
{
    (void)state;
    int32_t token[10];
    fill_tokens(token, 10, n_vocab, 8);
    md_session *s = session_of(64, 16);
    md_seq *q;
    seen n[4] = {0}, other = {0};
    md_error e = {0};
    OK(md_seq_new(s, &q, err));
    for (int i = 0; i < 3; i++)
        OK(md_session_add_observer(s, 1u << (i == 2 ? MD_POINT_ROUTING : MD_POINT_LAYER_IN), count_event, &n[i], err));
    assert_int_equal(md_session_add_observer(s, ~0u, count_event, &n[3], &e), MD_ERR_LIMIT);
    assert_non_null(strstr(e.message, "3 observers"));
    assert_int_equal(md_session_add_observer(s, ~0u, NULL, &n[3], &e), MD_ERR_ARGUMENT);
    md_session_remove_observer(s, count_event, &other); /* nobody */
    feed(s, q, token, 10);
    md_session_remove_observer(s, count_event, &n[0]);
    md_session_observe(s, 1u << MD_POINT_LAYER_OUT, count_event, &n[3]);
    OK(md_seq_trim(q, 0, err));
    feed(s, q, token, 10);
    assert_int_equal(n[0].layer_in, 30);
    assert_int_equal(n[1].layer_in, 60);
    assert_int_equal(n[2].routing, 60);
    assert_int_equal(n[1].routing + n[2].layer_in + n[3].layer_in, 0); /* only what was asked for */
    assert_int_equal(n[3].layer_out, 30);
    assert_true(md_session_expert_present(s, 0, 0)); /* all of them, in memory */
    md_session_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forks_share_and_part),
        cmocka_unit_test(snapshots_restore_any_number_of_times),
        cmocka_unit_test(embeddings_equal_their_tokens),
        cmocka_unit_test(steps_stop_between_layers),
        cmocka_unit_test(masks_switch_experts_off_and_force_them),
        cmocka_unit_test(nothing_is_allocated_inside_a_step),
        cmocka_unit_test(bad_batches_are_refused_and_change_nothing),
        cmocka_unit_test(sessions_keep_to_their_arguments),
        cmocka_unit_test(the_observer_sees_every_point),
        cmocka_unit_test(observers_are_side_by_side),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
