/* SPDX-License-Identifier: Apache-2.0
 *
 * Test models: each family has the tensors and keys of real files, the same spec gives the same bytes, every type of
 * matrix comes out finite and of the right size, and specs that make no sense are refused by field. */
#include "made.h"

#include "base/mem.h"
#include <math.h>
#include <medley/unstable/synth.h>
#include <string.h>

static void expect_tensor(const md_gguf *g, const char *name, int n_dims, int64_t d0, int64_t d1, int64_t d2)
{
    const md_gguf_tensor *t = tensor(g, name);
    if (t->n_dims != n_dims || t->dim[0] != d0 || t->dim[1] != d1 || t->dim[2] != d2)
        fail_msg("tensor %s is [%d %d %d]", name, (int)t->dim[0], (int)t->dim[1], (int)t->dim[2]);
}

static uint32_t u32_of(const md_gguf *g, const char *key)
{
    uint32_t v = UINT32_MAX;
    bool found;
    OK(md_gguf_u32(g, key, &v, &found, &err));
    if (!found)
        fail_msg("key %s is missing", key);
    return v;
}

/* ---- what the families have ---- */

/* Tensors in all for 3 layers with the defaults, and some by name. */
static const struct {
    const char *arch;
    size_t n_tensors;
    const char *with, *without; /* tensors of layer 2 */
} expected[] = {
    {"llama", 3 + 3 * 9, "blk.2.ffn_down.weight", "blk.2.attn_q.bias"},
    {"qwen2", 3 + 3 * 12, "blk.2.attn_k.bias", "blk.2.attn_output.bias"},
    {"qwen2moe", 3 + 3 * 17, "blk.2.ffn_gate_inp_shexp.weight", "blk.2.ffn_gate.weight"},
    {"qwen3", 3 + 3 * 11, "blk.2.attn_q_norm.weight", "blk.2.ffn_gate_inp.weight"},
    {"qwen3moe", 3 + 3 * 12, "blk.2.ffn_up_exps.weight", "blk.2.ffn_up_shexp.weight"},
    {"olmoe", 3 + 3 * 12, "blk.2.attn_k_norm.weight", "blk.2.attn_k.bias"},
    {"granite", 3 + 3 * 9, "blk.2.ffn_gate.weight", "blk.2.attn_q.bias"},
    {"granitemoe", 3 + 3 * 10, "blk.2.ffn_gate_inp.weight", "blk.2.ffn_up_shexp.weight"},
    {"smollm3", 3 + 3 * 9, "blk.2.attn_q.weight", "blk.2.attn_q_norm.weight"},
    {"gpt-oss", 3 + 3 * 19, "blk.2.attn_sinks.weight", "blk.2.ffn_norm.weight"},
};

static void every_family_has_its_tensors(void **state)
{
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        md_gguf *g = make(state, &(md_synth_spec){.arch = expected[i].arch, .n_layer = 3});
        md_str arch;
        OK(md_gguf_string(g, "general.architecture", &arch, NULL, &err));
        assert_true(md_str_eq(arch, expected[i].arch));
        if (md_gguf_n_tensors(g) != expected[i].n_tensors)
            fail_msg("%s has %zu tensors", expected[i].arch, md_gguf_n_tensors(g));
        if (!md_gguf_find_tensor(g, expected[i].with) || md_gguf_find_tensor(g, expected[i].without))
            fail_msg("%s lacks %s or has %s", expected[i].arch, expected[i].with, expected[i].without);
        expect_tensor(g, "token_embd.weight", 2, 64, 320, 1);
        expect_tensor(g, "output.weight", 2, 64, 320, 1);
        expect_tensor(g, "blk.2.attn_q.weight", 2, 64, 64, 1);
        md_gguf_close(g);
    }
}

static void an_encoder_has_its_tensors(void **state)
{
    md_gguf *g = make(state, &(md_synth_spec){.arch = "bert", .n_layer = 3});
    assert_int_equal(md_gguf_n_tensors(g), 5 + 3 * 16);
    expect_tensor(g, "position_embd.weight", 2, 64, 512, 1);
    expect_tensor(g, "token_types.weight", 2, 64, 2, 1);
    expect_tensor(g, "blk.2.attn_k.weight", 2, 64, 64, 1);
    expect_tensor(g, "blk.2.ffn_up.bias", 1, 128, 1, 1);
    expect_tensor(g, "blk.2.layer_output_norm.bias", 1, 64, 1, 1);
    assert_null(md_gguf_find_tensor(g, "output.weight"));
    assert_null(md_gguf_find_tensor(g, "output_norm.weight"));
    assert_null(md_gguf_find_tensor(g, "blk.2.ffn_gate.weight"));
    bool causal = true;
    OK(md_gguf_bool(g, "bert.attention.causal", &causal, NULL, &err));
    assert_false(causal);
    md_gguf_close(g);
}

static void shapes_follow_the_spec(void **state)
{
    const md_synth_spec spec = {.arch = "olmoe",
                                .n_layer = 1,
                                .n_embd = 48,
                                .n_head = 6,
                                .n_head_kv = 3,
                                .head_dim = 10,
                                .n_expert = 5,
                                .n_expert_used = 3,
                                .n_ff_exp = 24,
                                .n_vocab = 300,
                                .n_ctx = 77};
    md_gguf *g = make(state, &spec);
    expect_tensor(g, "token_embd.weight", 2, 48, 300, 1);
    expect_tensor(g, "blk.0.attn_q.weight", 2, 48, 60, 1);
    expect_tensor(g, "blk.0.attn_k.weight", 2, 48, 30, 1);
    expect_tensor(g, "blk.0.attn_output.weight", 2, 60, 48, 1);
    expect_tensor(g, "blk.0.attn_q_norm.weight", 1, 60, 1, 1);
    expect_tensor(g, "blk.0.attn_k_norm.weight", 1, 30, 1, 1);
    expect_tensor(g, "blk.0.ffn_gate_inp.weight", 2, 48, 5, 1);
    expect_tensor(g, "blk.0.ffn_gate_exps.weight", 3, 48, 24, 5);
    expect_tensor(g, "blk.0.ffn_down_exps.weight", 3, 24, 48, 5);
    assert_int_equal(u32_of(g, "olmoe.block_count"), 1);
    assert_int_equal(u32_of(g, "olmoe.context_length"), 77);
    assert_int_equal(u32_of(g, "olmoe.feed_forward_length"), 24);
    assert_int_equal(u32_of(g, "olmoe.attention.head_count_kv"), 3);
    assert_int_equal(u32_of(g, "olmoe.attention.key_length"), 10);
    assert_int_equal(u32_of(g, "olmoe.expert_used_count"), 3);
    md_gguf_close(g);
}

static void variants_change_the_tensors(void **state)
{
    md_gguf *g = make(state, &(md_synth_spec){.arch = "llama",
                                              .n_expert = 4,
                                              .n_ff_exp = 32,
                                              .legacy_experts = true,
                                              .rope_factors = true,
                                              .tied_output = true});
    expect_tensor(g, "blk.1.ffn_gate.3.weight", 2, 64, 32, 1);
    expect_tensor(g, "blk.0.ffn_down.0.weight", 2, 32, 64, 1);
    expect_tensor(g, "rope_freqs.weight", 1, 8, 1, 1);
    assert_null(md_gguf_find_tensor(g, "blk.0.ffn_gate_exps.weight"));
    assert_null(md_gguf_find_tensor(g, "output.weight"));
    md_gguf_close(g);
    g = make(state, &(md_synth_spec){.arch = "qwen3moe", .n_ff_exp = 32, .fused_gate_up = true});
    expect_tensor(g, "blk.0.ffn_gate_up_exps.weight", 3, 64, 64, 8);
    assert_null(md_gguf_find_tensor(g, "blk.0.ffn_gate_exps.weight"));
    md_gguf_close(g);
    g = make(state, &(md_synth_spec){.arch = "granitemoe", .n_ff_shexp = 96});
    expect_tensor(g, "blk.0.ffn_gate_shexp.weight", 2, 64, 96, 1);
    assert_null(md_gguf_find_tensor(g, "blk.0.ffn_gate_inp_shexp.weight"));
    assert_int_equal(u32_of(g, "granitemoe.expert_shared_feed_forward_length"), 96);
    md_gguf_close(g);
    g = make(state, &(md_synth_spec){.arch = "gpt-oss", .window = 20});
    assert_int_equal(u32_of(g, "gpt-oss.attention.sliding_window"), 20);
    assert_non_null(md_gguf_find(g, "gpt-oss.rope.scaling.factor"));
    md_gguf_close(g);
}

/* ---- against real files ---- */

static int small_u32(const md_gguf *g, const char *arch, const char *suffix)
{
    char key[128];
    uint32_t v = 0;
    snprintf(key, sizeof key, "%s.%s", arch, suffix);
    OK(md_gguf_u32(g, key, &v, NULL, &err));
    return (int)v;
}

/* The spec that should give the same tensors as a fixture. */
static md_synth_spec spec_of(const md_gguf *g, const char *arch)
{
    const md_gguf_tensor *k = md_gguf_find_tensor(g, "blk.0.attn_k.weight");
    md_synth_spec s = {.arch = arch,
                       .n_layer = small_u32(g, arch, "block_count"),
                       .n_embd = small_u32(g, arch, "embedding_length"),
                       .n_head = small_u32(g, arch, "attention.head_count"),
                       .n_head_kv = small_u32(g, arch, "attention.head_count_kv"),
                       .n_ff = small_u32(g, arch, "feed_forward_length"),
                       .n_expert = small_u32(g, arch, "expert_count"),
                       .n_expert_used = small_u32(g, arch, "expert_used_count"),
                       .n_ff_exp = small_u32(g, arch, "expert_feed_forward_length"),
                       .n_ff_shexp = small_u32(g, arch, "expert_shared_feed_forward_length"),
                       .n_vocab = small_u32(g, arch, "vocab_size"),
                       .window = small_u32(g, arch, "attention.sliding_window"),
                       .rope_factors = md_gguf_find_tensor(g, "rope_freqs.weight") != NULL,
                       .tied_output = md_gguf_find_tensor(g, "output.weight") == NULL,
                       .fused_gate_up = md_gguf_find_tensor(g, "blk.0.ffn_gate_up_exps.weight") != NULL};
    s.head_dim = (int)k->dim[1] / s.n_head_kv;
    if (s.n_ff_exp == 0)
        s.n_ff_exp = s.n_ff;
    return s;
}

static void families_match_the_fixtures(void **state)
{
    static const char *const names[][2] = {
        {"llama-dense", "llama"},     {"mixtral", "llama"},     {"qwen2", "qwen2"},
        {"qwen2moe", "qwen2moe"},     {"qwen3moe", "qwen3moe"}, {"qwen3moe-fused", "qwen3moe"},
        {"granitemoe", "granitemoe"}, {"smollm3", "smollm3"},   {"gpt-oss", "gpt-oss"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        md_gguf *real;
        OK(md_gguf_open(fixture("models/%s.gguf", names[i][0]), MD_GGUF_MAP, &real, &err));
        const md_synth_spec spec = spec_of(real, names[i][1]);
        md_gguf *g = make(state, &spec);
        if (md_gguf_n_tensors(g) != md_gguf_n_tensors(real))
            fail_msg("%s: %zu tensors, not %zu", names[i][0], md_gguf_n_tensors(g), md_gguf_n_tensors(real));
        for (size_t j = 0; j < md_gguf_n_tensors(real); j++) {
            const md_gguf_tensor *t = md_gguf_tensor_at(real, j);
            char name[64];
            snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.s);
            expect_tensor(g, name, t->n_dims, t->dim[0], t->dim[1], t->dim[2]);
        }
        for (size_t j = 0; j < md_gguf_n_kv(real); j++) {
            const md_gguf_kv *kv = md_gguf_kv_at(real, j);
            char key[128];
            snprintf(key, sizeof key, "%.*s", (int)kv->key.n, kv->key.s);
            const md_gguf_kv *ours = md_gguf_find(g, key);
            if (!ours || ours->kind != kv->kind || ours->elem != kv->elem)
                fail_msg("%s: key %s is missing or of another kind", names[i][0], key);
        }
        md_gguf_close(g);
        md_gguf_close(real);
    }
}

/* ---- content ---- */

static void the_same_spec_gives_the_same_bytes(void **state)
{
    const md_synth_spec spec = {
        .arch = "qwen3moe", .type_ffn = "Q5_0", .type_attn = "MXFP4", .n_ff_exp = 64, .seed = 7};
    md_synth_spec other = spec;
    other.seed = 8;
    const char *path[] = {scratch_path(*state, "1"), scratch_path(*state, "2"), scratch_path(*state, "3")};
    OK(md_synth_write(&spec, path[0], &err));
    OK(md_synth_write(&spec, path[1], &err));
    OK(md_synth_write(&other, path[2], &err));
    size_t n[3];
    char *b[3];
    for (int i = 0; i < 3; i++)
        b[i] = read_all(path[i], &n[i]);
    assert_true(n[0] == n[1] && n[0] == n[2]);
    assert_memory_equal(b[0], b[1], n[0]);
    assert_memory_not_equal(b[0] + n[0] / 2, b[2] + n[0] / 2, n[0] / 2);
    for (int i = 0; i < 3; i++)
        free(b[i]);
}

/* The values of a file are fixed for good: whatever is expected of such models elsewhere depends on them. FNV-1a. */
static void values_are_fixed(void **state)
{
    static const struct {
        const char *type;
        uint64_t hash;
    } fixed[] = {{"F32", 0x8e1c8c9aa3f81103},
                 {"Q4_0", 0x7d51c2c174795a80},
                 {"Q4_K", 0x97328e9d663f23ac},
                 {"MXFP4", 0x490ea1a95dcd26e4}};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        md_gguf *g = make(
            state,
            &(md_synth_spec){
                .arch = "llama", .n_layer = 1, .n_embd = 256, .n_ff = 256, .seed = 42, .type_ffn = fixed[i].type});
        const md_gguf_tensor *t = md_gguf_find_tensor(g, "blk.0.ffn_up.weight");
        uint64_t hash = 0xcbf29ce484222325u;
        for (size_t at = 0; at < t->bytes; at++)
            hash = (hash ^ ((const unsigned char *)t->data)[at]) * 0x100000001b3u;
        md_gguf_close(g);
        if (hash != fixed[i].hash)
            fail_msg("%s: hash 0x%016llx", fixed[i].type, (unsigned long long)hash);
    }
}

static double rms_of(const float *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum / (double)n);
}

static float scale_of(const md_gguf *g, const char *name)
{
    const md_gguf_tensor *t = md_gguf_find_tensor(g, name);
    float v = 1.0f;
    if (t)
        memcpy(&v, t->data, sizeof v);
    return v;
}

/* Each type by name: values finite, not all alike, as large as a matrix with 256 inputs should have. */
static void every_matrix_type_can_be_made(void **state)
{
    int count = 0;
    for (int type = 0; type < MD_N_TYPES; type++) {
        const md_type_info *info = md_type_get((md_type)type);
        if (info->cls == MD_CLASS_DATA)
            continue;
        md_gguf *g = make(state, &(md_synth_spec){.arch = "llama",
                                                  .n_layer = 1,
                                                  .n_embd = 256,
                                                  .n_ff = 256,
                                                  .type_attn = info->name,
                                                  .type_ffn = info->name,
                                                  .type_embd = info->name,
                                                  .type_out = info->name});
        const md_gguf_tensor *t = md_gguf_find_tensor(g, "blk.0.ffn_up.weight");
        assert_int_equal(t->type, type);
        assert_int_equal(md_gguf_find_tensor(g, "token_embd.weight")->type, type);
        assert_int_equal(md_gguf_find_tensor(g, "blk.0.attn_v.weight")->type, type);
        assert_int_equal(md_gguf_find_tensor(g, "output.weight")->type, type);
        assert_int_equal(md_gguf_find_tensor(g, "output_norm.weight")->type, MD_TYPE_F32);
        assert_true((md_gguf_find_tensor(g, "blk.0.ffn_up.scale") != NULL) == (type == MD_TYPE_NVFP4));
        float *x = md_calloc((size_t)t->n_elements, sizeof *x);
        md_type_decode(t->type, t->data, x, t->n_elements);
        const double rms = rms_of(x, t->n_elements) * (double)scale_of(g, "blk.0.ffn_up.scale");
        if (!(rms > 1.0 / 16 / 2.5 && rms < 1.0 / 16 * 2.5)) /* not true of NaN */
            fail_msg("%s: root mean square %g, should be near 1/16", info->name, rms);
        md_free(x);
        md_gguf_close(g);
        count++;
    }
    assert_true(count >= 25);
}

static void norms_and_biases_are_not_trivial(void **state)
{
    md_gguf *g = make(state, &(md_synth_spec){.arch = "gpt-oss", .n_layer = 1, .n_embd = 256});
    static const struct {
        const char *name;
        double low, high; /* of the root mean square */
    } ranges[] = {{"output_norm.weight", 0.95, 1.1},        {"blk.0.attn_q.bias", 0.1, 0.3},
                  {"blk.0.attn_sinks.weight", 0.2, 2.5},    {"blk.0.ffn_gate_inp.weight", 0.15, 0.22},
                  {"blk.0.ffn_down_exps.bias", 0.15, 0.25}, {"output.weight", 0.17, 0.2},
                  {"blk.0.ffn_up_exps.weight", 0.06, 0.065}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        const md_gguf_tensor *t = md_gguf_find_tensor(g, ranges[i].name);
        const double rms = rms_of(t->data, t->n_elements);
        if (!(rms > ranges[i].low && rms < ranges[i].high))
            fail_msg("%s: root mean square %g", ranges[i].name, rms);
    }
    md_gguf_close(g);
}

static void the_tokenizer_is_whole(void **state)
{
    md_gguf *g = make(state, &(md_synth_spec){.arch = "qwen2", .n_vocab = 400});
    const md_gguf_kv *tokens = md_gguf_find(g, "tokenizer.ggml.tokens"),
                     *merges = md_gguf_find(g, "tokenizer.ggml.merges");
    const md_gguf_kv *types = md_gguf_find(g, "tokenizer.ggml.token_type");
    assert_true(tokens->count == 400 && types->count == 400);
    static const char *const ids[][2] = {{"tokenizer.ggml.eos_token_id", "<|im_end|>"},
                                         {"tokenizer.ggml.bos_token_id", "<|endoftext|>"}};
    for (int i = 0; i < 2; i++) {
        const uint32_t id = u32_of(g, ids[i][0]);
        int64_t type = 0;
        assert_true(md_str_eq(tokens->strings[id], ids[i][1]));
        OK(md_gguf_array_i64(types, id, &type, &err));
        assert_int_equal(type, 3);
    }
    for (uint64_t i = 0; i < 400; i++) /* no token twice */
        for (uint64_t j = 0; j < i; j++)
            assert_false(tokens->strings[i].n == tokens->strings[j].n &&
                         memcmp(tokens->strings[i].s, tokens->strings[j].s, tokens->strings[i].n) == 0);
    for (uint64_t m = 0; m < merges->count; m++) { /* merge m makes token 256 + m of earlier tokens */
        const md_str merge = merges->strings[m], made = tokens->strings[256 + m];
        const char *space = memchr(merge.s, ' ', merge.n);
        assert_non_null(space);
        const size_t left = (size_t)(space - merge.s), right = merge.n - left - 1;
        assert_true(made.n == left + right && memcmp(made.s, merge.s, left) == 0);
        assert_memory_equal(made.s + left, space + 1, right);
        int parts = 0;
        for (uint64_t i = 0; i < 256 + m; i++)
            parts += (tokens->strings[i].n == left && memcmp(tokens->strings[i].s, merge.s, left) == 0) +
                     (tokens->strings[i].n == right && memcmp(tokens->strings[i].s, space + 1, right) == 0);
        assert_int_equal(parts, 2);
    }
    md_str template;
    OK(md_gguf_string(g, "tokenizer.chat_template", &template, NULL, &err));
    assert_true(template.n > 50);
    md_gguf_close(g);
}

/* ---- what makes no sense ---- */

static void bad_specs_are_refused(void **state)
{
    static const struct {
        md_synth_spec spec;
        const char *words;
    } bad[] = {
        {{0}, "architecture ''"},
        {{.arch = "gpt-4"}, "architecture 'gpt-4'"},
        {{.arch = "qwen2", .n_expert = 4}, "'qwen2' cannot have experts"},
        {{.arch = "llama", .fused_gate_up = true}, "need n_expert"},
        {{.arch = "llama", .n_expert = 4, .fused_gate_up = true, .legacy_experts = true}, "exclude each other"},
        {{.arch = "qwen3moe", .legacy_experts = true}, "one tensor for each expert"},
        {{.arch = "gpt-oss", .fused_gate_up = true}, "gate and up fused"},
        {{.arch = "qwen2", .rope_factors = true}, "rope factors"},
        {{.arch = "qwen2", .window = 8}, "a window"},
        {{.arch = "qwen3moe", .n_ff_shexp = 8}, "a shared expert"},
        {{.arch = "llama", .n_layer = -1}, "n_layer is -1"},
        {{.arch = "llama", .n_embd = INT32_MIN}, "n_embd"},
        {{.arch = "llama", .n_head = 4, .n_head_kv = 3}, "not a multiple of n_head_kv"},
        {{.arch = "llama", .head_dim = 15}, "head_dim is 15"},
        {{.arch = "llama", .n_vocab = 200}, "n_vocab is 200"},
        {{.arch = "llama", .n_expert = 4, .n_expert_used = 5}, "n_expert_used is 5"},
        {{.arch = "llama", .type_ffn = "Q9_9"}, "no tensor type 'Q9_9'"},
        {{.arch = "llama", .type_ffn = "I32"}, "cannot be of type I32"},
        {{.arch = "llama", .type_attn = "Q4_K"}, "blocks are of 256"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const md_status status = md_synth_write(&bad[i].spec, scratch_path(*state, "x.gguf"), &err);
        if (status != MD_ERR_ARGUMENT || !strstr(err.message, bad[i].words))
            fail_msg("%s; should say: %s", status ? err.message : "accepted", bad[i].words);
    }
    assert_int_equal(scratch_count(*state), 0);
    assert_int_equal(md_synth_write(&(md_synth_spec){.arch = "llama"}, scratch_path(*state, "no/x.gguf"), &err),
                     MD_ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(every_family_has_its_tensors),
        IN_SCRATCH(an_encoder_has_its_tensors),
        IN_SCRATCH(shapes_follow_the_spec),
        IN_SCRATCH(variants_change_the_tensors),
        IN_SCRATCH(families_match_the_fixtures),
        IN_SCRATCH(the_same_spec_gives_the_same_bytes),
        IN_SCRATCH(values_are_fixed),
        IN_SCRATCH(every_matrix_type_can_be_made),
        IN_SCRATCH(norms_and_biases_are_not_trivial),
        IN_SCRATCH(the_tokenizer_is_whole),
        IN_SCRATCH(bad_specs_are_refused),
    };
    return cmocka_run_group_tests_name("shape/synth", tests, NULL, NULL);
}
