/* SPDX-License-Identifier: Apache-2.0
 *
 * Models whose layers do not attend in the plain way, a tiny one each (gated delta net, Mamba-2, short convolution, latent
 * attention in both layouts), when something goes wrong: opened, run, forked, saved and loaded while each allocation and each
 * system call fails in turn. A state that is half there would show in the logits. */
#include "fault/use.h"
#include "format/gguf.h"
#include "support/fault.h"
#include "support/scratch.h"
#include "support/synth_model.h"

enum { N = 6, WIDTH = 64, N_VOCAB = 96, MAX_LAYERS = 4 };

/* ---- the models ---- */

typedef struct tensor_row {
    const char *name; /* %d: its layer */
    char where;       /* in the layers of this letter; '*': in all, '1': once */
    int64_t dim[3];   /* 0: no such dimension */
    float offset;     /* of values from -1/4 to 1/4 */
} tensor_row;

typedef struct model_row {
    const char *name, *arch;
    const char *layers; /* a letter each: recurrent, attention, experts */
    const char *keys;   /* of the family: "name=number", a space between */
    const tensor_row *tensor[5];
} model_row;

static const tensor_row ends[] = {
    {"token_embd.weight", '1', {WIDTH, N_VOCAB}, 0},
    {"output_norm.weight", '1', {WIDTH}, 1},
    {"blk.%d.attn_norm.weight", '*', {WIDTH}, 1},
    {0},
};
static const tensor_row ffn_norm[] = {{"blk.%d.ffn_norm.weight", '*', {WIDTH}, 1}, {0}};
static const tensor_row ffn[] = {
    {"blk.%d.ffn_gate.weight", '*', {WIDTH, 80}, 0},
    {"blk.%d.ffn_up.weight", '*', {WIDTH, 80}, 0},
    {"blk.%d.ffn_down.weight", '*', {80, WIDTH}, 0},
    {0},
};
static const tensor_row attention[] = {
    {"blk.%d.attn_q.weight", 'a', {WIDTH, WIDTH}, 0},
    {"blk.%d.attn_k.weight", 'a', {WIDTH, 32}, 0},
    {"blk.%d.attn_v.weight", 'a', {WIDTH, 32}, 0},
    {"blk.%d.attn_output.weight", 'a', {WIDTH, WIDTH}, 0},
    {0},
};
static const tensor_row delta[] = {
    {"blk.%d.attn_q.weight", 'a', {WIDTH, 2 * WIDTH}, 0}, /* with a gate */
    {"blk.%d.attn_k.weight", 'a', {WIDTH, 32}, 0},
    {"blk.%d.attn_v.weight", 'a', {WIDTH, 32}, 0},
    {"blk.%d.attn_output.weight", 'a', {WIDTH, WIDTH}, 0},
    {"blk.%d.attn_q_norm.weight", 'a', {16}, 1},
    {"blk.%d.attn_k_norm.weight", 'a', {16}, 1},
    {"blk.%d.post_attention_norm.weight", '*', {WIDTH}, 1},
    {"blk.%d.attn_qkv.weight", 'r', {WIDTH, 128}, 0},
    {"blk.%d.attn_gate.weight", 'r', {WIDTH, WIDTH}, 0},
    {"blk.%d.ssm_beta.weight", 'r', {WIDTH, 4}, 0},
    {"blk.%d.ssm_alpha.weight", 'r', {WIDTH, 4}, 0},
    {"blk.%d.ssm_conv1d.weight", 'r', {4, 128}, 0},
    {"blk.%d.ssm_dt.bias", 'r', {4}, 0},
    {"blk.%d.ssm_a", 'r', {4}, -0.5f},
    {"blk.%d.ssm_norm.weight", 'r', {16}, 1},
    {"blk.%d.ssm_out.weight", 'r', {WIDTH, WIDTH}, 0},
    {0},
};
static const tensor_row mamba[] = {
    {"blk.%d.ssm_in.weight", 'r', {WIDTH, 328}, 0},
    {"blk.%d.ssm_conv1d.weight", 'r', {4, 192}, 0},
    {"blk.%d.ssm_conv1d.bias", 'r', {192}, 0},
    {"blk.%d.ssm_dt.bias", 'r', {8}, 0},
    {"blk.%d.ssm_a", 'r', {1, 8}, -0.5f},
    {"blk.%d.ssm_d", 'r', {1, 8}, 0},
    {"blk.%d.ssm_norm.weight", 'r', {64, 2}, 1},
    {"blk.%d.ssm_out.weight", 'r', {128, WIDTH}, 0},
    {0},
};
static const tensor_row convolution[] = {
    {"token_embd.weight", '1', {WIDTH, N_VOCAB}, 0},
    {"token_embd_norm.weight", '1', {WIDTH}, 1},
    {"blk.%d.attn_norm.weight", '*', {WIDTH}, 1},
    {"blk.%d.attn_q_norm.weight", 'a', {16}, 1},
    {"blk.%d.attn_k_norm.weight", 'a', {16}, 1},
    {"blk.%d.shortconv.in_proj.weight", 'r', {WIDTH, 3 * WIDTH}, 0},
    {"blk.%d.shortconv.conv.weight", 'r', {3, WIDTH}, 0},
    {"blk.%d.shortconv.out_proj.weight", 'r', {WIDTH, WIDTH}, 0},
    {0},
};
static const tensor_row latent[] = {
    {"blk.%d.attn_kv_a_mqa.weight", '*', {WIDTH, 40}, 0},  {"blk.%d.attn_kv_a_norm.weight", '*', {32}, 1},
    {"blk.%d.attn_output.weight", '*', {WIDTH, WIDTH}, 0}, {"blk.%d.ffn_gate.weight", 'a', {WIDTH, 80}, 0},
    {"blk.%d.ffn_up.weight", 'a', {WIDTH, 80}, 0},         {"blk.%d.ffn_down.weight", 'a', {80, WIDTH}, 0},
    {"blk.%d.ffn_gate_inp.weight", 'e', {WIDTH, 4}, 0},    {"blk.%d.ffn_gate_exps.weight", 'e', {WIDTH, 32, 4}, 0},
    {"blk.%d.ffn_up_exps.weight", 'e', {WIDTH, 32, 4}, 0}, {"blk.%d.ffn_down_exps.weight", 'e', {32, WIDTH, 4}, 0},
    {"blk.%d.ffn_gate_shexp.weight", 'e', {WIDTH, 32}, 0}, {"blk.%d.ffn_up_shexp.weight", 'e', {WIDTH, 32}, 0},
    {"blk.%d.ffn_down_shexp.weight", 'e', {32, WIDTH}, 0}, {0},
};
static const tensor_row together[] = {
    {"blk.%d.attn_q.weight", '*', {WIDTH, WIDTH}, 0},
    {"blk.%d.attn_kv_b.weight", '*', {32, 96}, 0},
    {0},
};
static const tensor_row apart[] = {
    {"blk.%d.attn_q_a.weight", '*', {WIDTH, 32}, 0}, {"blk.%d.attn_q_a_norm.weight", '*', {32}, 1},
    {"blk.%d.attn_q_b.weight", '*', {32, WIDTH}, 0}, {"blk.%d.attn_k_b.weight", '*', {8, 32, 4}, 0},
    {"blk.%d.attn_v_b.weight", '*', {32, 16, 4}, 0}, {0},
};

#define LATENT                                                                                                      \
    "attention.head_count_kv=1 attention.kv_lora_rank=32 attention.key_length=40 attention.value_length=32 "        \
    "attention.key_length_mla=16 attention.value_length_mla=16 rope.dimension_count=8 leading_dense_block_count=1 " \
    "expert_count=4 expert_used_count=2 expert_shared_count=1 expert_feed_forward_length=32"

static const model_row models[] = {
    {"gated delta net",
     "qwen35",
     "rar",
     "full_attention_interval=2 ssm.conv_kernel=4 ssm.inner_size=64 ssm.state_size=16 ssm.time_step_rank=4 "
     "ssm.group_count=2",
     {ends, delta, ffn}},
    {"Mamba-2",
     "granitehybrid",
     "rar",
     "ssm.conv_kernel=4 ssm.inner_size=128 ssm.state_size=16 ssm.time_step_rank=8 ssm.group_count=2",
     {ends, ffn_norm, attention, mamba, ffn}},
    {"short convolution", "lfm2", "rar", "shortconv.l_cache=3", {convolution, ffn_norm, attention, ffn}},
    {"latent attention", "deepseek2", "ae", LATENT, {ends, ffn_norm, latent, together}},
    {"latent attention, apart", "deepseek2", "ae", LATENT " attention.q_lora_rank=32", {ends, ffn_norm, latent, apart}},
};

static bool in_layer(const tensor_row *t, char letter, int layer)
{
    return t->where == '1' ? layer == 0 : t->where == '*' || t->where == letter;
}

/* Declares a tensor, or writes its values. */
static void write_tensor(md_gguf_writer *w, const tensor_row *t, int layer, bool values, uint32_t *x)
{
    char name[64];
    int n_dims = 0;
    int64_t n = 1;
    snprintf(name, sizeof name, t->name, layer);
    while (n_dims < 3 && t->dim[n_dims] > 0)
        n *= t->dim[n_dims++];
    if (!values)
        OK(md_gguf_add_tensor(w, name, MD_TYPE_F32, n_dims, t->dim, err));
    for (int64_t i = 0; values && i < n; i++) {
        *x = *x * 1664525u + 1013904223u;
        const float v = ((float)(*x >> 8) / 16777216.0f - 0.5f) / 2.0f + t->offset;
        OK(md_gguf_data(w, &v, sizeof v, err));
    }
}

static void write_tensors(md_gguf_writer *w, const model_row *m, bool values)
{
    uint32_t x = 1;
    for (int layer = 0; m->layers[layer]; layer++)
        for (int part = 0; part < 5 && m->tensor[part]; part++)
            for (const tensor_row *t = m->tensor[part]; t->name; t++)
                if (in_layer(t, m->layers[layer], layer))
                    write_tensor(w, t, layer, values, &x);
}

static void set_number(md_gguf_writer *w, const char *arch, const char *name, size_t n, uint32_t value)
{
    char key[96];
    snprintf(key, sizeof key, "%s.%.*s", arch, (int)n, name);
    OK(md_gguf_set_u32(w, key, value, err));
}

static void set_keys(md_gguf_writer *w, const char *arch, const char *keys)
{
    char *end;
    for (const char *at = keys; *at; at = *end ? end + 1 : end) {
        const size_t n = strcspn(at, "=");
        set_number(w, arch, at, n, (uint32_t)strtoul(at + n + 1, &end, 10));
    }
}

/* Only layers that attend have key heads. */
static void set_heads(md_gguf_writer *w, const model_row *m)
{
    int32_t heads[MAX_LAYERS];
    const size_t n = strlen(m->layers);
    char key[96];
    for (size_t i = 0; i < n; i++)
        heads[i] = m->layers[i] == 'a' ? 2 : 0;
    snprintf(key, sizeof key, "%s.attention.head_count_kv", m->arch);
    OK(md_gguf_set_array(w, key, MD_GGUF_I32, heads, n, err));
}

static void make_model(const model_row *m, const char *path)
{
    md_gguf_writer *w;
    OK(md_gguf_writer_new(path, &w, err));
    OK(md_gguf_set_string(w, "general.architecture", m->arch, err));
    set_keys(w, m->arch, "context_length=256 embedding_length=64 attention.head_count=4 feed_forward_length=80");
    set_number(w, m->arch, "block_count", strlen("block_count"), (uint32_t)strlen(m->layers));
    if (strchr(m->layers, 'r'))
        set_heads(w, m);
    set_keys(w, m->arch, m->keys);
    write_tensors(w, m, false);
    OK(md_gguf_begin(w, err));
    write_tensors(w, m, true);
    OK(md_gguf_commit(w, err));
    md_gguf_writer_close(w);
}

/* ---- the job ---- */

typedef struct job {
    const char *model;
    char saved[1024];
} job;

static md_status feed(md_session *s, md_seq *q, int32_t n, uint64_t *hash, md_error *err)
{
    int32_t token[N];
    md_seq *seq[N];
    fill_tokens(token, n, N_VOCAB, 2);
    for (int32_t i = 0; i < n; i++)
        seq[i] = q;
    MD_TRY(md_decode(s, &(md_batch){.n = n, .token = token, .seq = seq}, err));
    *hash = fold(*hash, md_step_logits(s, n - 1), N_VOCAB * sizeof(float));
    return MD_OK;
}

/* Through a file into a sequence that had another past. */
static md_status go_on_later(md_session *s, const md_seq *q, const char *file, uint64_t *hash, md_error *err)
{
    md_seq *later = NULL;
    md_saved *saved = NULL;
    md_status status;
    TRY(md_seq_save(q, NULL, file, err));
    TRY(md_saved_open(file, &saved, err));
    TRY(md_seq_new(s, &later, err));
    TRY(feed(s, later, 2, hash, err));
    TRY(md_seq_load(later, saved, err));
    TRY(feed(s, later, 2, hash, err));
done:
    md_seq_free(later);
    md_saved_close(saved);
    return status;
}

static md_status run(void *arg, uint64_t *hash, md_error *err)
{
    const job *j = arg;
    md_session_args args;
    md_model *m = NULL;
    md_session *s = NULL;
    md_seq *q = NULL;
    md_status status;
    TRY(md_model_open(j->model, NULL, &m, err));
    md_session_args_default(m, &args);
    args.n_threads = 1;
    args.n_positions = 256;
    args.n_rows = N;
    args.n_sequences = 3;
    TRY(md_session_new(m, &args, &s, err));
    TRY(md_seq_new(s, &q, err));
    *hash = 1;
    TRY(feed(s, q, N, hash, err));
    TRY(step_on_fork(s, q, hash, err));
    TRY(go_on_later(s, q, j->saved, hash, err));
    TRY(feed(s, q, 2, hash, err));
done:
    md_seq_free(q);
    md_session_free(s);
    md_model_close(m);
    return status;
}

static void every_mixer_survives_every_failure(void **state)
{
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char path[1024];
        job j = {.model = path};
        snprintf(path, sizeof path, "%s", scratch_path(*state, "model.gguf"));
        snprintf(j.saved, sizeof j.saved, "%s", scratch_path(*state, "saved"));
        make_model(&models[i], path);
        const fault_count memory = fault_each(FAULT_MEMORY, MD_ERR_MEMORY, run, &j);
        const fault_count call = fault_each(FAULT_CALL, MD_ERR_IO, run, &j);
        print_message("%s: %ld allocations (%ld made no difference), %ld system calls (%ld)\n", models[i].name,
                      memory.refused + memory.survived, memory.survived, call.refused + call.survived, call.survived);
        assert_true(memory.refused >= 30 && call.refused >= 10);
    }
}

/* What the sweep compares does depend on what came before. */
static void the_past_counts(void **state)
{
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        const char *path = scratch_path(*state, "model.gguf");
        uint64_t first = 1, second = 1;
        md_session_args args;
        md_model *m;
        md_session *s;
        md_seq *q;
        make_model(&models[i], path);
        OK(md_model_open(path, NULL, &m, err));
        md_session_args_default(m, &args);
        args.n_threads = 1;
        OK(md_session_new(m, &args, &s, err));
        OK(md_seq_new(s, &q, err));
        OK(feed(s, q, 2, &first, err));
        OK(feed(s, q, 2, &second, err));
        assert_true(first != second);
        md_session_free(s);
        md_model_close(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(every_mixer_survives_every_failure),
        IN_SCRATCH(the_past_counts),
    };
    return cmocka_run_group_tests_name("fault/mixers", tests, NULL, NULL);
}
