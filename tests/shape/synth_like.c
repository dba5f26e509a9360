/* SPDX-License-Identifier: Apache-2.0
 *
 * Random models with the shapes of public ones: sizes, types and keys, the same bytes for any number of threads, values
 * without a mean, and routers that spread tokens evenly or as skewed as asked. */
#include "made.h"

#include "base/mem.h"
#include <math.h>
#include <medley/engine.h>
#include <medley/unstable/synth.h>
#include <string.h>

static void expect(const md_gguf *g, const char *name, md_type type, int64_t d0, int64_t d1, int64_t d2)
{
    const md_gguf_tensor *t = tensor(g, name);
    if (t->type != type || t->dim[0] != d0 || t->dim[1] != d1 || t->dim[2] != d2)
        fail_msg("%s is %s [%d %d %d]", name, md_type_get(t->type)->name, (int)t->dim[0], (int)t->dim[1],
                 (int)t->dim[2]);
}

static void expect_u32(const md_gguf *g, const char *key, uint32_t value)
{
    uint32_t v = UINT32_MAX;
    OK(md_gguf_u32(g, key, &v, NULL, &err));
    if (v != value)
        fail_msg("%s is %u, not %u", key, v, value);
}

/* ---- shapes: what makes files large is made small, the rest is as it is ---- */

static void olmoe(void **state)
{
    md_gguf *g = make(state, &(md_synth_spec){.like = "olmoe", .n_expert = 8, .n_layer = 1, .n_vocab = 512});
    expect(g, "blk.0.attn_k.weight", MD_TYPE_Q4_K, 2048, 2048, 1);
    expect(g, "blk.0.ffn_gate_exps.weight", MD_TYPE_Q4_K, 2048, 1024, 8);
    expect(g, "blk.0.ffn_down_exps.weight", MD_TYPE_Q4_K, 1024, 2048, 8);
    expect(g, "blk.0.ffn_gate_inp.weight", MD_TYPE_F32, 2048, 8, 1);
    expect(g, "output.weight", MD_TYPE_Q4_K, 2048, 512, 1);
    expect_u32(g, "llama.expert_used_count", 8);
    expect_u32(g, "llama.attention.head_count_kv", 16);
    const float *norm = tensor(g, "blk.0.ffn_norm.weight")->data;
    for (int i = 0; i < 2048; i++)
        assert_true(norm[i] == 1.0f);
    md_gguf_close(g);
}

static void qwen3(void **state)
{
    md_gguf *g = make(state, &(md_synth_spec){.like = "qwen3-30b-a3b", .n_expert = 8, .n_layer = 1, .n_vocab = 512});
    expect(g, "blk.0.attn_q.weight", MD_TYPE_Q4_K, 2048, 4096, 1);
    expect(g, "blk.0.attn_k.weight", MD_TYPE_Q4_K, 2048, 512, 1);
    expect(g, "blk.0.attn_q_norm.weight", MD_TYPE_F32, 128, 1, 1);
    expect(g, "blk.0.ffn_up_exps.weight", MD_TYPE_Q4_K, 2048, 768, 8);
    md_gguf_close(g);
}

static void mixtral(void **state)
{
    md_gguf *g = make(state, &(md_synth_spec){.like = "mixtral", .n_ff_exp = 256, .n_layer = 1, .n_vocab = 512});
    expect(g, "blk.0.attn_q.weight", MD_TYPE_Q4_K, 4096, 4096, 1);
    expect(g, "blk.0.attn_v.weight", MD_TYPE_Q4_K, 4096, 1024, 1);
    expect_u32(g, "llama.expert_count", 8);
    expect_u32(g, "llama.expert_used_count", 2);
    md_gguf_close(g);
}

/* Rows of 1408 and 128 are no whole blocks of 256: public quantizers take Q5_0 in place of Q4_K then. */
static void deepseek_v2_lite(void **state)
{
    md_gguf *g = make(state, &(md_synth_spec){.like = "deepseek-v2-lite", .n_expert = 8, .n_layer = 2, .n_vocab = 512});
    expect(g, "blk.0.ffn_gate.weight", MD_TYPE_Q4_K, 2048, 10944, 1);
    expect(g, "blk.0.ffn_down.weight", MD_TYPE_Q5_0, 10944, 2048, 1);
    assert_null(md_gguf_find_tensor(g, "blk.0.ffn_gate_inp.weight"));
    assert_null(md_gguf_find_tensor(g, "blk.0.ffn_up_shexp.weight"));
    assert_null(md_gguf_find_tensor(g, "blk.1.ffn_gate.weight"));
    assert_null(md_gguf_find_tensor(g, "blk.0.attn_k.weight"));
    expect(g, "blk.1.ffn_gate_inp.weight", MD_TYPE_F32, 2048, 8, 1);
    expect(g, "blk.1.ffn_gate_exps.weight", MD_TYPE_Q4_K, 2048, 1408, 8);
    expect(g, "blk.1.ffn_down_exps.weight", MD_TYPE_Q5_0, 1408, 2048, 8);
    expect(g, "blk.1.ffn_up_shexp.weight", MD_TYPE_Q4_K, 2048, 2816, 1);
    expect(g, "blk.1.attn_q.weight", MD_TYPE_Q4_K, 2048, 16 * 192, 1);
    expect(g, "blk.1.attn_kv_a_mqa.weight", MD_TYPE_Q4_K, 2048, 576, 1);
    expect(g, "blk.1.attn_k_b.weight", MD_TYPE_Q5_0, 128, 512, 16);
    expect(g, "blk.1.attn_v_b.weight", MD_TYPE_Q4_K, 512, 128, 16);
    expect_u32(g, "deepseek2.attention.key_length", 576);
    expect_u32(g, "deepseek2.attention.key_length_mla", 192);
    expect_u32(g, "deepseek2.expert_shared_count", 2);
    expect_u32(g, "deepseek2.leading_dense_block_count", 1);
    md_gguf_close(g);
}

static void gpt_oss(void **state)
{
    md_gguf *g = make(state, &(md_synth_spec){.like = "gpt-oss-20b", .n_expert = 4, .n_layer = 1, .n_vocab = 512});
    expect(g, "blk.0.attn_q.weight", MD_TYPE_Q8_0, 2880, 4096, 1);
    expect(g, "blk.0.ffn_down_exps.weight", MD_TYPE_MXFP4, 2880, 2880, 4);
    expect(g, "token_embd.weight", MD_TYPE_Q8_0, 2880, 512, 1);
    expect(g, "blk.0.attn_sinks.weight", MD_TYPE_F32, 64, 1, 1);
    expect_u32(g, "gpt-oss.attention.sliding_window", 128);
    md_gguf_close(g);
}

/* A shape small enough to make it in any type and to run it. */
static md_synth_spec small(const char *type)
{
    return (md_synth_spec){.like = "olmoe",
                           .type = type,
                           .n_layer = 1,
                           .n_embd = 256,
                           .n_head = 4,
                           .n_head_kv = 4,
                           .head_dim = 64,
                           .n_expert = 32,
                           .n_expert_used = 4,
                           .n_ff_exp = 256,
                           .n_vocab = 2000,
                           .n_threads = 2};
}

static void first_and_last_matrix(void **state)
{
    static const struct {
        const char *type;
        md_type ends;
    } cases[] = {{"Q2_K", MD_TYPE_Q6_K}, {"IQ3_S", MD_TYPE_Q6_K}, {"IQ2_XS", MD_TYPE_Q6_K}, {"Q4_0", MD_TYPE_Q4_0},
                 {"Q6_K", MD_TYPE_Q6_K}, {"MXFP4", MD_TYPE_Q8_0}, {"Q8_0", MD_TYPE_Q8_0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const md_synth_spec spec = small(cases[i].type);
        md_gguf *g = make(state, &spec);
        assert_int_equal(tensor(g, "token_embd.weight")->type, cases[i].ends);
        assert_int_equal(tensor(g, "output.weight")->type, cases[i].ends);
        assert_string_equal(md_type_get(tensor(g, "blk.0.ffn_up_exps.weight")->type)->name, cases[i].type);
        md_gguf_close(g);
    }
    md_synth_spec spec = small("Q2_K");
    spec.type_embd = "Q8_0";
    md_gguf *g = make(state, &spec);
    assert_int_equal(tensor(g, "token_embd.weight")->type, MD_TYPE_Q8_0);
    assert_int_equal(tensor(g, "output.weight")->type, MD_TYPE_Q6_K);
    md_gguf_close(g);
}

/* ---- content ---- */

static void threads_do_not_change_the_file(void **state)
{
    static const char *const types[] = {"Q4_K", "F16"};
    for (int i = 0; i < 2; i++) {
        md_synth_spec spec = small(types[i]);
        size_t n[2];
        char *b[2];
        for (int t = 0; t < 2; t++) {
            spec.n_threads = t == 0 ? 0 : 3;
            OK(md_synth_write(&spec, scratch_path(*state, "x.gguf"), &err));
            b[t] = read_all(scratch_path(*state, "x.gguf"), &n[t]);
        }
        assert_int_equal(n[0], n[1]);
        assert_memory_equal(b[0], b[1], n[0]);
        free(b[0]);
        free(b[1]);
    }
}

/* A mean would make all tokens alike, layer by layer. Every type: values finite, of the size of 1/sqrt(K), without a mean;
 * row sums are what a vector of ones would become. */
static void values_have_no_mean(void **state)
{
    for (int type = 0; type < MD_N_TYPES; type++) {
        const md_type_info *info = md_type_get((md_type)type);
        if (info->cls == MD_CLASS_DATA)
            continue;
        const md_synth_spec spec = small(info->name);
        md_gguf *g = make(state, &spec);
        const md_gguf_tensor *t = tensor(g, "blk.0.ffn_up_exps.weight");
        assert_int_equal(t->type, type);
        float *x = md_calloc((size_t)t->n_elements, sizeof *x);
        md_type_decode(t->type, t->data, x, t->n_elements);
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < t->n_elements; i++) {
            sum += (double)x[i];
            squares += (double)x[i] * (double)x[i];
        }
        const double n = (double)t->n_elements, rms = sqrt(squares / n) * 16.0,
                     mean = fabs(sum / n) / sqrt(squares / n);
        if (type != MD_TYPE_NVFP4 && !(rms > 0.4 && rms < 2.5)) /* its other factor is another tensor */
            fail_msg("%s: root mean square %g / sqrt(K)", info->name, rms);
        if (!(mean < 0.02)) /* a matrix with a mean of this share of its size doubles no vector of ones */
            fail_msg("%s: mean is %g of the root mean square", info->name, mean);
        if (type == MD_TYPE_Q8_0)
            for (size_t at = 0; at < t->bytes; at++)
                assert_true(at % 34 < 2 || ((const unsigned char *)t->data)[at] != 0x80);
        md_free(x);
        md_gguf_close(g);
    }
}

enum { TOKENS = 512, EXPERTS = 32, USED = 4, LAYERS = 4 };

static int descending(const void *a, const void *b)
{
    return *(const int *)b - *(const int *)a;
}

/* How often each expert of the last layer is chosen by random tokens, the most popular one first. */
static void count_choices(void **state, float skew, int count[EXPERTS])
{
    md_synth_spec spec = small("Q4_K");
    spec.skew = skew;
    spec.n_layer = LAYERS;
    const char *path = scratch_path(*state, "x.gguf");
    OK(md_synth_write(&spec, path, &err));
    md_model *m;
    md_session *s;
    md_seq *q, *seq[TOKENS];
    md_session_args args;
    int32_t token[TOKENS];
    uint8_t want[TOKENS];
    OK(md_model_open(path, NULL, &m, &err));
    md_session_args_default(m, &args);
    args.n_positions = args.n_rows = TOKENS;
    args.n_logits = 1;
    OK(md_session_new(m, &args, &s, &err));
    OK(md_seq_new(s, &q, &err));
    for (int i = 0; i < TOKENS; i++) {
        token[i] = (i * 7919 + 13) % 2000;
        seq[i] = q;
        want[i] = MD_WANT_ROUTING;
    }
    OK(md_decode(s, &(md_batch){.n = TOKENS, .token = token, .seq = seq, .want = want}, &err));
    memset(count, 0, EXPERTS * sizeof *count);
    for (int i = 0; i < TOKENS; i++) {
        const int32_t *expert;
        const float *weight;
        int32_t k;
        assert_true(md_step_routing(s, i, LAYERS - 1, &expert, &weight, &k));
        assert_int_equal(k, USED);
        for (int j = 0; j < k; j++)
            count[expert[j]]++;
    }
    qsort(count, EXPERTS, sizeof *count, descending);
    md_session_free(s);
    md_model_close(m);
}

static void routers_spread_tokens_evenly(void **state)
{
    int count[EXPERTS];
    count_choices(state, 0.0f, count);
    const int mean = TOKENS * USED / EXPERTS;
    if (count[0] > 2 * mean || count[EXPERTS - 1] < mean / 3)
        fail_msg("from %d to %d of %d tokens, mean %d", count[EXPERTS - 1], count[0], TOKENS, mean);
}

/* Zipf's law with exponent 0.5 over 32 experts: rank r gets (r + 1)^-0.5 / 9.9 of all choices, so 41 % of tokens choose the
 * first and 7 % the last. */
static void a_skew_makes_popular_experts(void **state)
{
    int count[EXPERTS];
    count_choices(state, 0.5f, count);
    double zipf = 0;
    for (int r = 0; r < EXPERTS; r++)
        zipf += 1.0 / sqrt(r + 1);
    for (int r = 0; r < EXPERTS; r += 7) {
        const double share = (double)count[r] / TOKENS, wanted = USED / zipf / sqrt(r + 1);
        if (fabs(share - wanted) > 0.35 * wanted)
            fail_msg("rank %d: %g of tokens, Zipf's law says %g", r, share, wanted);
    }
    int even[EXPERTS];
    count_choices(state, 0.0f, even);
    assert_true(count[0] > 3 * even[0] / 2 && count[EXPERTS - 1] < even[EXPERTS - 1]);
}

/* ---- progress, and what makes no sense ---- */

typedef struct follower {
    uint64_t done, total, calls, stop_after;
} follower;

static bool follow(void *user, uint64_t done, uint64_t total)
{
    follower *f = user;
    assert_true(done >= f->done && done <= total && (f->total == 0 || total == f->total));
    f->done = done;
    f->total = total;
    return ++f->calls != f->stop_after;
}

static void progress_is_told_and_can_stop(void **state)
{
    follower f = {0};
    md_synth_spec spec = small("Q4_0");
    spec.progress = follow;
    spec.progress_user = &f;
    OK(md_synth_write(&spec, scratch_path(*state, "x.gguf"), &err));
    assert_true(f.calls > 5 && f.done > f.total / 2);
    unlink(scratch_path(*state, "x.gguf"));
    f = (follower){.stop_after = 3};
    assert_int_equal(md_synth_write(&spec, scratch_path(*state, "x.gguf"), &err), MD_ERR_CANCELLED);
    assert_int_equal(f.calls, 3);
    assert_int_equal(scratch_count(*state), 0);
}

static void bad_specs_are_refused(void **state)
{
    static const struct {
        md_synth_spec spec;
        const char *words;
    } bad[] = {
        {{.like = "gpt-5"}, "there are olmoe, qwen3-30b-a3b, mixtral"},
        {{.like = "olmoe", .arch = "olmoe"}, "architecture 'llama', not 'olmoe'"},
        {{.like = "olmoe", .type = "Q9"}, "no tensor type 'Q9'"},
        {{.like = "olmoe", .skew = -1.0f}, "the skew is -1"},
        {{.like = "olmoe", .skew = NAN}, "the skew is"},
        {{.like = "olmoe", .skew = 1.0f, .n_expert = 10}, "a token uses 8 of 10"},
        {{.arch = "llama", .skew = 1.0f}, "needs experts"},
        {{.like = "olmoe", .n_threads = -1}, "n_threads is -1"},
        {{.like = "olmoe", .n_kv_rank = 64}, "latent attention"},
        {{.like = "deepseek-v2-lite", .n_head_kv = 2}, "latent attention has 1"},
        {{.like = "deepseek-v2-lite", .n_ff_shexp = 1000}, "not a multiple of n_ff_exp"},
        {{.like = "deepseek-v2-lite", .n_layer = 2, .n_dense = 3}, "n_dense is 3"},
        {{.like = "deepseek-v2-lite", .n_rope = 63}, "must be even"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const md_status status = md_synth_write(&bad[i].spec, scratch_path(*state, "x.gguf"), &err);
        if (status != MD_ERR_ARGUMENT || !strstr(err.message, bad[i].words))
            fail_msg("%s; should say: %s", status ? err.message : "accepted", bad[i].words);
    }
    assert_int_equal(scratch_count(*state), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(olmoe),
        IN_SCRATCH(qwen3),
        IN_SCRATCH(mixtral),
        IN_SCRATCH(deepseek_v2_lite),
        IN_SCRATCH(gpt_oss),
        IN_SCRATCH(first_and_last_matrix),
        IN_SCRATCH(threads_do_not_change_the_file),
        IN_SCRATCH(values_have_no_mean),
        IN_SCRATCH(routers_spread_tokens_evenly),
        IN_SCRATCH(a_skew_makes_popular_experts),
        IN_SCRATCH(progress_is_told_and_can_stop),
        IN_SCRATCH(bad_specs_are_refused),
    };
    return cmocka_run_group_tests_name("shape/synth_like", tests, NULL, NULL);
}
