/* SPDX-License-Identifier: Apache-2.0
 *
 * The first promise: a token's logits do not depend on threads, chunks, batch mates or the cut of the work. For each kind of
 * attention and router a model at least 768 wide is run over 640 random tokens in every way, with the grain forced to one
 * row; the hashes of all logits must be equal, and counters show that every thread worked, that page borders were
 * crossed and that masked tiles were met. */
#include "support/synth_model.h"

/* Ten pages and a width of 768; three pages and 256 under a sanitizer, where every step costs many times as much. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define N_TOKENS 130
#define WIDTH    .n_embd = 256, .n_head = 4, .n_head_kv = 2, .n_ff = 256
#else
#define N_TOKENS 640
#define WIDTH    .n_embd = 768, .n_head = 12, .n_head_kv = 4, .n_ff = 512
#endif

#define UNUSED_UNDER_TSAN __attribute__((unused))

typedef struct way {
    int threads, chunk, grain;
} way;

static uint64_t run_alone(const md_model *m, const int32_t *token, way w, md_kv_type kv, md_counters *count)
{
    md_session_args args;
    md_session_args_default(m, &args);
    args.n_threads = w.threads;
    args.n_rows = args.n_logits = w.chunk;
    args.n_positions = N_TOKENS;
    args.grain_rows = w.grain;
    args.kv_type = kv;
    md_session *s;
    md_seq *q;
    OK(md_session_new(m, &args, &s, err));
    OK(md_seq_new(s, &q, err));
    const int32_t n_vocab = md_model_get_info(m)->n_vocab;
    uint64_t hash = MD_HASH_START;
    md_seq *seq[N_TOKENS];
    uint8_t want[N_TOKENS];
    for (int i = 0; i < N_TOKENS; i++) {
        seq[i] = q;
        want[i] = MD_WANT_LOGITS;
    }
    for (int at = 0; at < N_TOKENS; at += w.chunk) {
        const int n = N_TOKENS - at < w.chunk ? N_TOKENS - at : w.chunk;
        OK(md_decode(s, &(md_batch){.n = n, .token = token + at, .seq = seq, .want = want}, err));
        for (int i = 0; i < n; i++)
            hash = md_logits_hash(hash, md_step_logits(s, i), (size_t)n_vocab);
    }
    md_session_counters(s, count);
    md_session_free(s);
    return hash;
}

/* The same sequence among others: each step has a few of its rows between rows of two sequences with other tokens. */
static uint64_t run_in_company(const md_model *m, const int32_t *token, md_kv_type kv)
{
    enum { MINE = 5, ROWS = 12 };
    md_session_args args;
    md_session_args_default(m, &args);
    args.n_threads = 2;
    args.n_rows = args.n_logits = ROWS;
    args.n_positions = 4 * N_TOKENS;
    args.grain_rows = 1;
    args.kv_type = kv;
    md_session *s;
    md_seq *mine, *a, *b;
    OK(md_session_new(m, &args, &s, err));
    OK(md_seq_new(s, &a, err));
    OK(md_seq_new(s, &mine, err));
    OK(md_seq_new(s, &b, err));
    const int32_t n_vocab = md_model_get_info(m)->n_vocab;
    uint64_t hash = MD_HASH_START;
    int32_t other[ROWS];
    for (int at = 0, step = 0; at < N_TOKENS; step++) {
        const int n_mine = N_TOKENS - at < MINE ? N_TOKENS - at : MINE;
        int32_t t[ROWS];
        md_seq *seq[ROWS];
        uint8_t want[ROWS];
        int n = 0, done = 0;
        fill_tokens(other, ROWS, n_vocab, (uint32_t)step + 99);
        for (int i = 0; i < ROWS - MINE + n_mine; i++) {
            const bool is_mine = i % 2 == 1 && done < n_mine;
            t[n] = is_mine ? token[at + done++] : other[i];
            seq[n] = is_mine ? mine : i % 4 == 0 ? a : b;
            want[n++] = is_mine ? MD_WANT_LOGITS : 0;
        }
        OK(md_decode(s, &(md_batch){.n = n, .token = t, .seq = seq, .want = want}, err));
        for (int i = 0; i < n; i++)
            if (want[i])
                hash = md_logits_hash(hash, md_step_logits(s, i), (size_t)n_vocab);
        at += done;
    }
    md_session_free(s);
    return hash;
}

static void check_all_ways(const md_synth_spec *spec, md_kv_type kv)
{
    static const way ways[] = {{2, 7, 1}, {3, 64, 1}, {3, 200, 1}, {2, 1, 1}, {2, N_TOKENS, 0}};
    md_model *m = open_synth(spec);
    int32_t token[N_TOKENS];
    fill_tokens(token, N_TOKENS, md_model_get_info(m)->n_vocab, 7);
    md_counters first, count;
    const uint64_t expected = run_alone(m, token, (way){1, 64, 0}, kv, &first);
    assert_int_equal(first.rows, N_TOKENS);
    bool helped = false; /* whoever is free takes work, so on a busy machine a thread may get none of a short run's */
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        const uint64_t hash = run_alone(m, token, ways[i], kv, &count);
        if (hash != expected)
            fail_msg("%s: %d threads, chunks of %d, grain %d: hash %016llx, expected %016llx", spec->arch,
                     ways[i].threads, ways[i].chunk, ways[i].grain, (unsigned long long)hash,
                     (unsigned long long)expected);
        assert_int_equal(count.tiles_run, first.tiles_run);
        for (int t = 1; t < ways[i].threads; t++)
            helped = helped || count.thread_items[t] > 0;
        if (spec->window > 0)
            assert_true(count.tiles_skipped > 0);
    }
    assert_true(helped);
    /* Page borders were crossed: more tiles than one for each row and head. */
    const md_model_info *info = md_model_get_info(m);
    assert_true(first.tiles_run > (uint64_t)N_TOKENS * (uint64_t)info->n_head_kv * (uint64_t)info->n_layer);
    assert_int_equal(run_in_company(m, token, kv), expected);
    md_model_close(m);
}

#define WIDE .n_layer = 2, WIDTH, .n_ff_exp = 256, .n_vocab = 320

static UNUSED_UNDER_TSAN void dense_f32(void **state)
{
    (void)state;
    check_all_ways(&(md_synth_spec){.arch = "llama", WIDE, .rope_factors = true, .seed = 1}, MD_KV_F32);
}

static void dense_q4_k_f16_kv(void **state)
{
    (void)state;
    check_all_ways(
        &(md_synth_spec){.arch = "qwen3", WIDE, .type_attn = "Q4_K", .type_ffn = "Q6_K", .type_out = "Q8_0", .seed = 2},
        MD_KV_F16);
}

static void softmax_top_k_q4_1_q8_kv(void **state)
{
    (void)state;
    check_all_ways(&(md_synth_spec){.arch = "llama",
                                    WIDE,
                                    .n_expert = 8,
                                    .n_expert_used = 2,
                                    .type_attn = "Q4_1",
                                    .type_ffn = "Q4_1",
                                    .type_embd = "Q8_0",
                                    .tied_output = true,
                                    .seed = 3},
                   MD_KV_Q8_0);
}

static void window_sinks_softmax_of_picked(void **state)
{
    (void)state;
    check_all_ways(
        &(md_synth_spec){
            .arch = "gpt-oss", WIDE, .n_expert = 8, .n_expert_used = 3, .window = 60, .type_ffn = "MXFP4", .seed = 4},
        MD_KV_F16);
}

static UNUSED_UNDER_TSAN void shared_expert_not_normalised(void **state)
{
    (void)state;
    check_all_ways(&(md_synth_spec){.arch = "qwen2moe",
                                    WIDE,
                                    .n_ff_shexp = 512,
                                    .n_expert = 8,
                                    .n_expert_used = 4,
                                    .type_ffn = "IQ4_NL",
                                    .seed = 5},
                   MD_KV_F16);
}

static UNUSED_UNDER_TSAN void full_width_qk_norm(void **state)
{
    (void)state;
    check_all_ways(
        &(md_synth_spec){.arch = "olmoe", WIDE, .n_expert = 16, .n_expert_used = 4, .type_ffn = "Q5_K", .seed = 6},
        MD_KV_F16);
}

static UNUSED_UNDER_TSAN void fused_gate_up_granite(void **state)
{
    (void)state;
    check_all_ways(&(md_synth_spec){.arch = "granitemoe",
                                    WIDE,
                                    .n_expert = 8,
                                    .n_expert_used = 2,
                                    .fused_gate_up = true,
                                    .type_attn = "BF16",
                                    .type_ffn = "IQ2_XS",
                                    .seed = 7},
                   MD_KV_F16);
}

static UNUSED_UNDER_TSAN void layers_without_rope(void **state)
{
    (void)state;
    check_all_ways(
        &(md_synth_spec){.arch = "smollm3", .n_layer = 4, WIDTH, .n_vocab = 320, .type_ffn = "F16", .seed = 8},
        MD_KV_F16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_q4_k_f16_kv),
        cmocka_unit_test(softmax_top_k_q4_1_q8_kv),
        cmocka_unit_test(window_sinks_softmax_of_picked),
#if !defined(__SANITIZE_THREAD__) /* which is slower still: one of each kind of thread work is enough there */
        cmocka_unit_test(dense_f32),
        cmocka_unit_test(shared_expert_not_normalised),
        cmocka_unit_test(full_width_qk_norm),
        cmocka_unit_test(fused_gate_up_granite),
        cmocka_unit_test(layers_without_rope),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
