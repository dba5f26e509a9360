/* SPDX-License-Identifier: Apache-2.0
 *
 * Kept prefixes: whatever is taken over, the bits are those of a run alone, in models of every kind of past; who may share
 * with whom; pages and states that leave; no allocation (malloc and its relatives are wrapped and counted). */
#include "model/prefixes_test.h"
#include "support/allocations.h"

/* ---- same bits ---- */

enum { FULL = N / MD_TILE * MD_TILE }; /* only full pages are kept */

/* Texts that have the first `same` tokens in common with one that was run before, and that text itself. */
static void hits_give_the_same_bits(void **state)
{
    (void)state;
    static const int same[] = {1, 17, 63, 64, 65, 100, 127, 128, 130, 192, 199, N};
    for (int k = 0; k < N_KINDS; k++)
        for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
            md_session *s = session_of(k);
            md_prefixes *p = prefixes_of(s);
            assert_int_equal(take_and_run(p, s, "", prompt, N), 0);
            int32_t token[N];
            part_from(token, same[i]);
            const int most = same[i] < FULL ? same[i] : FULL;
            const int32_t taken = take_and_run(p, s, "", token, N);
            if (taken != (has_state(k) ? most / MD_TILE * MD_TILE : most))
                fail_msg("model %d: %d tokens of %d were taken", k, taken, most);
            assert_int_equal(take_and_run(p, s, "", token, N), FULL);
            md_prefixes_free(p);
            assert_int_equal(md_session_free_positions(s), N_POSITIONS);
            md_session_free(s);
        }
}

/* At least one token is left to be run, also at a page's border. */
static void one_token_is_left(void **state)
{
    (void)state;
    static const int lengths[] = {1, 2, 63, 64, 65, 128, 129, 193};
    for (int k = 0; k < N_KINDS; k += N_KINDS - 1) {
        md_session *s = session_of(k);
        md_prefixes *p = prefixes_of(s);
        take_and_run(p, s, "", prompt, N);
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            const int n = lengths[i];
            assert_int_equal(take_and_run(p, s, "", prompt, n), has_state(k) ? (n - 1) / MD_TILE * MD_TILE : n - 1);
        }
        md_prefixes_free(p);
        md_session_free(s);
    }
}

/* Two sequences run the same text side by side, a third one forks: pages are kept once, and all go on as if alone. */
static void the_same_page_is_kept_once(void **state)
{
    (void)state;
    for (int k = 0; k < N_KINDS; k++) {
        uint64_t expected[N], rows[N];
        md_session *s = session_of(k);
        md_prefixes *p = prefixes_of(s);
        md_seq *a = seq_of(s), *b = seq_of(s), *fork;
        feed(s, a, prompt, 0, 128, NULL);
        feed(s, b, prompt, 0, 128, NULL);
        OK(md_seq_fork(b, &fork, err));
        assert_int_equal(md_session_free_positions(s), N_POSITIONS - 4 * MD_TILE);
        md_prefixes_add(p, a, "", prompt, 128);
        md_prefixes_add(p, b, "", prompt, 128);
        assert_int_equal(md_prefixes_evictable(p), 0);
        md_seq *const all[] = {a, b, fork};
        expected_rows(subject[k], prompt, N, expected);
        for (int i = 0; i < 3; i++) {
            feed(s, all[i], prompt, 128, N, rows);
            assert_memory_equal(rows + 128, expected + 128, (N - 128) * sizeof *rows);
            md_prefixes_add(p, all[i], "", prompt, N);
        }
        md_seq_free(b);
        md_seq_free(fork);
        md_seq_free(a);
        const int kept = has_state(k) ? 2 : 3;
        assert_int_equal(md_prefixes_evictable(p), kept);
        assert_int_equal(md_session_free_positions(s), N_POSITIONS - kept * MD_TILE);
        md_prefixes_free(p);
        assert_int_equal(md_session_free_positions(s), N_POSITIONS);
        md_session_free(s);
    }
}

/* Steps, forks, trims, takes and evictions without a pattern: each token's logits are those of its text alone. */
static void any_order_gives_the_same_bits(void **state)
{
    (void)state;
    enum { SEQUENCES = 4, STEPS = 120, TEXTS = 4 };
    static uint64_t expected[TEXTS][N];
    static int32_t texts[TEXTS][N];
    for (int t = 0; t < TEXTS; t++)
        part_from(texts[t], 40 * t + 20);
    for (int k = 0; k < N_KINDS; k++) {
        uint32_t x = 77;
        uint64_t rows[N];
        int of[SEQUENCES] = {0};
        for (int t = 0; t < TEXTS; t++)
            expected_rows(subject[k], texts[t], N, expected[t]);
        md_session *s = session_with(subject[k], 9 * MD_TILE, SEQUENCES); /* often full */
        md_prefixes *p = prefixes_of(s);
        md_seq *q[SEQUENCES];
        for (int i = 0; i < SEQUENCES; i++)
            q[i] = seq_of(s);
        for (int step = 0; step < STEPS; step++) {
            x = x * 1664525u + 1013904223u;
            const int i = (int)(x >> 30), what = (int)(x >> 27 & 7), at = md_seq_length(q[i]);
            if (what < 2) {
                md_seq_free(q[i]);
                q[i] = seq_of(s);
                of[i] = (int)(x >> 25 & 3);
                take(p, q[i], "", texts[of[i]], N);
            } else if (what < 6) {
                const int border = (at / MD_TILE + 1) * MD_TILE, some = at + 1 + (int)(x >> 20 & 31);
                const int to = some > N ? N : some > border ? border : some;
                const int needed = md_kv_table_pages_needed(s->kv, &q[i]->table, to);
                const int missing = needed - md_kv_pool_free_pages(s->kv), can = md_prefixes_evictable(p);
                if (missing > can)
                    continue;
                if (missing > 0)
                    assert_int_equal(md_prefixes_evict(p, missing), missing);
                feed(s, q[i], texts[of[i]], at, to, rows);
                for (int r = at; r < to; r++)
                    if (rows[r] != expected[of[i]][r])
                        fail_msg("model %d, step %d: position %d differs", k, step, r);
                md_prefixes_add(p, q[i], "", texts[of[i]], (size_t)to);
            } else if (what == 6) {
                OK(md_seq_trim(q[i], has_state(k) ? 0 : at / 2, err));
            } else {
                const int can = md_prefixes_evictable(p);
                assert_int_equal(md_prefixes_evict(p, 2), can < 2 ? can : 2);
            }
        }
        for (int i = 0; i < SEQUENCES; i++)
            md_seq_free(q[i]);
        const int left = md_prefixes_evictable(p);
        assert_int_equal(md_session_free_positions(s), (9 - left) * MD_TILE);
        assert_int_equal(md_prefixes_evict(p, 100), left);
        assert_int_equal(md_session_free_positions(s), 9 * MD_TILE);
        md_prefixes_free(p);
        md_session_free(s);
    }
}

/* ---- who shares with whom ---- */

static void only_the_same_client_and_numerics_share(void **state)
{
    (void)state;
    md_session *s = session_of(0);
    md_prefixes *p = prefixes_of(s);
    md_seq *masked = seq_of(s), *other = seq_of(s), *plain = seq_of(s);
    assert_int_equal(take_and_run(p, s, "ann", prompt, N), 0);
    assert_int_equal(md_prefixes_match(p, plain, "ann", prompt, N), FULL);
    assert_int_equal(md_prefixes_match(p, plain, "", prompt, N), 0);
    assert_int_equal(md_prefixes_match(p, plain, "an", prompt, N), 0);
    assert_int_equal(md_prefixes_match(p, plain, "annn", prompt, N), 0);
    assert_int_equal(take_and_run(p, s, "bob", prompt, N), 0);
    OK(md_seq_mask_expert(masked, 0, 1, MD_EXPERT_OFF, err));
    OK(md_seq_mask_expert(other, 0, 2, MD_EXPERT_OFF, err));
    assert_int_equal(md_prefixes_match(p, masked, "ann", prompt, N), 0);
    feed_and_keep(p, masked, "ann", prompt, N, NULL);
    assert_int_equal(md_prefixes_match(p, other, "ann", prompt, N), 0);
    OK(md_seq_mask_expert(other, 0, 2, MD_EXPERT_NORMAL, err)); /* a mask of nothing is none */
    assert_int_equal(md_prefixes_match(p, other, "ann", prompt, N), FULL);
    OK(md_seq_mask_expert(other, 0, 1, MD_EXPERT_OFF, err));
    assert_int_equal(md_prefixes_match(p, other, "ann", prompt, N), FULL);
    /* A page that is one client's does not become another's as well. */
    md_prefixes_add(p, masked, "bob", prompt, N);
    md_seq *same = seq_of(s);
    OK(md_seq_mask_expert(same, 0, 1, MD_EXPERT_OFF, err));
    assert_int_equal(md_prefixes_match(p, same, "bob", prompt, N), 0);
    md_prefixes_free(p);
    md_session_free(s);
}

static void what_cannot_be_shared_is_not(void **state)
{
    (void)state;
    const md_synth_spec specs[] = {{.arch = "bert", SMALL}, {.arch = "qwen3moe", SMALL, .n_expert = 8}};
    for (int i = 0; i < 2; i++) {
        md_model *m;
        md_session_args args;
        md_session *s;
        char path[600];
        snprintf(path, sizeof path, "%s", temp_path("alone.gguf"));
        OK(md_synth_write(&specs[i], path, err));
        OK(md_model_open(path, &(md_model_args){.stream = i == 1 ? MD_STREAM_ALWAYS : MD_STREAM_NEVER}, &m, err));
        md_session_args_default(m, &args);
        args.n_threads = 1;
        args.n_positions = args.n_rows = 256;
        args.on_miss = i == 1 ? MD_ON_MISS_SKIP : MD_ON_MISS_READ;
        OK(md_session_new(m, &args, &s, err));
        md_prefixes *p = prefixes_of(s);
        md_seq *q = seq_of(s), *seq[128];
        uint8_t want[128] = {MD_WANT_HIDDEN};
        for (int j = 0; j < 128; j++)
            seq[j] = q;
        OK(md_decode(s, &(md_batch){.n = 128, .token = prompt, .seq = seq, .want = want}, err));
        md_prefixes_add(p, q, "", prompt, 128);
        assert_int_equal(take(p, seq_of(s), "", prompt, 128), 0);
        md_seq_free(q);
        assert_int_equal(md_prefixes_evictable(p), 0);
        assert_int_equal(md_session_free_positions(s), 256);
        md_prefixes_free(p);
        md_session_free(s);
        md_model_close(m);
        unlink(path);
    }
}

static void arguments_are_checked(void **state)
{
    (void)state;
    md_session *s = session_of(0), *elsewhere = session_of(0);
    md_prefixes *p = prefixes_of(s), *second;
    md_error e = {0};
    int32_t taken = 9;
    assert_int_equal(md_prefixes_new(s, &(md_prefixes_args){0}, &second, &e), MD_ERR_ARGUMENT);
    assert_null(second);
    assert_int_equal(md_prefixes_take(p, seq_of(elsewhere), "", prompt, N, &taken, &e), MD_ERR_ARGUMENT);
    assert_int_equal(taken, 0);
    md_seq *q = seq_of(s);
    feed(s, q, prompt, 0, 70, NULL);
    md_prefixes_add(p, q, "", prompt, 69); /* too few tokens for the positions */
    assert_int_equal(take(p, seq_of(s), "", prompt, N), 0);
    assert_int_equal(md_prefixes_take(p, q, "", prompt, N, &taken, &e), MD_ERR_ARGUMENT);
    assert_non_null(strstr(e.message, "70"));
    assert_int_equal(take(p, seq_of(s), "", prompt, 0), 0);
    md_prefixes_free(p);
    md_prefixes_free(NULL);
    md_session_free(s);
    md_session_free(elsewhere);
}

/* A text may be longer than what a sequence can hold. */
static void the_context_bounds_what_is_taken(void **state)
{
    (void)state;
    md_session_args args;
    md_session *s;
    md_session_args_default(subject[0], &args);
    args.n_threads = 1;
    args.n_positions = 512;
    args.n_context = 100;
    args.n_rows = args.n_logits = 100;
    OK(md_session_new(subject[0], &args, &s, err));
    md_prefixes *p = prefixes_of(s);
    md_seq *q = seq_of(s);
    feed_and_keep(p, q, "", prompt, 100, NULL);
    assert_int_equal(take(p, seq_of(s), "", prompt, N), 64);
    md_prefixes_free(p);
    md_session_free(s);
}

/* ---- leaving ---- */

static void states_have_a_bound(void **state)
{
    (void)state;
    const int k = N_KINDS - 1;
    md_session *s = session_of(k);
    md_prefixes *p;
    const int64_t one = 4 * subject[k]->spec.state_floats;
    OK(md_prefixes_new(s, &(md_prefixes_args){.state_bytes = 2 * one + one / 2}, &p, err));
    take_and_run(p, s, "", prompt, N); /* states at 64, 128, 192: the first one went */
    md_seq *q = seq_of(s);
    assert_int_equal(md_prefixes_match(p, q, "", prompt, 120), 0);
    assert_int_equal(md_prefixes_match(p, q, "", prompt, 180), 128);
    assert_int_equal(take_and_run(p, s, "", prompt, 180), 128); /* used again, so that 192 is older now */
    int32_t token[N];
    part_from(token, 0);
    take_and_run(p, s, "", token, 100);
    assert_int_equal(md_prefixes_match(p, q, "", prompt, N), 128);
    assert_int_equal(md_prefixes_match(p, q, "", token, N), 64);
    md_prefixes_free(p);
    OK(md_prefixes_new(s, &(md_prefixes_args){.state_bytes = one - 1}, &p, err));
    take_and_run(p, s, "", prompt, N);
    assert_int_equal(md_prefixes_match(p, q, "", prompt, N), 0);
    assert_int_equal(md_prefixes_evictable(p), 0);
    md_prefixes_free(p);
    md_session_free(s);
}

static void what_was_used_last_stays(void **state)
{
    (void)state;
    md_session *s = session_of(0);
    md_prefixes *p = prefixes_of(s);
    int32_t token[3][N];
    for (int i = 0; i < 3; i++) {
        part_from(token[i], 64 * i); /* 0: nothing in common with the others; 1 and 2 have a page in common */
        take_and_run(p, s, "", token[i], 192);
    }
    take_and_run(p, s, "", token[0], 192); /* used again */
    md_seq *q = seq_of(s);
    assert_int_equal(md_prefixes_evictable(p), 3 + 3 + 2);
    assert_int_equal(md_prefixes_evict(p, 2), 2);
    assert_int_equal(md_prefixes_match(p, q, "", token[1], N), 64);
    assert_int_equal(md_prefixes_match(p, q, "", token[2], N), 192);
    assert_int_equal(md_prefixes_evict(p, 3), 3);
    assert_int_equal(md_prefixes_match(p, q, "", token[2], N), 0);
    assert_int_equal(md_prefixes_match(p, q, "", token[0], N), 192);
    uint64_t pages, restored, saved;
    md_prefixes_counts_of(p, &pages, &restored, &saved);
    assert_true(pages == 3 && restored == 0 && saved == 0);
    md_prefixes_free(p);
    md_session_free(s);
}

static void nothing_is_allocated(void **state)
{
    (void)state;
    for (int k = 0; k < N_KINDS; k++) {
        md_session *s = session_of(k);
        const long before_new = allocations;
        md_prefixes *p = prefixes_of(s);
        assert_true(allocations > before_new);
        md_seq *a = seq_of(s), *b = seq_of(s);
        feed(s, a, prompt, 0, 128, NULL);
        int32_t taken;
        const long before = allocations;
        md_prefixes_add(p, a, "somebody", prompt, 128);
        OK(md_prefixes_take(p, b, "somebody", prompt, N, &taken, err));
        assert_int_equal(taken, 128);
        assert_int_equal(md_prefixes_match(p, a, "nobody", prompt, N), 0);
        OK(md_seq_trim(a, 0, err));
        OK(md_seq_trim(b, 0, err));
        assert_int_equal(md_prefixes_evict(p, 9), 2);
        assert_int_equal(allocations, before);
        md_prefixes_free(p);
        md_session_free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hits_give_the_same_bits),
        cmocka_unit_test(one_token_is_left),
        cmocka_unit_test(the_same_page_is_kept_once),
        cmocka_unit_test(any_order_gives_the_same_bits),
        cmocka_unit_test(only_the_same_client_and_numerics_share),
        cmocka_unit_test(what_cannot_be_shared_is_not),
        cmocka_unit_test(arguments_are_checked),
        cmocka_unit_test(the_context_bounds_what_is_taken),
        cmocka_unit_test(states_have_a_bound),
        cmocka_unit_test(what_was_used_last_stays),
        cmocka_unit_test(nothing_is_allocated),
    };
    return cmocka_run_group_tests_name("kept prefixes", tests, open_kinds, close_kinds);
}
