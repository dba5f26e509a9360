/* SPDX-License-Identifier: Apache-2.0
 *
 * Tiny models whose layers carry a state: gated delta net, Mamba-2, short convolution, some layer of each attends; and one whose
 * layers are one branch each, with experts in a space of their own. */
#ifndef MD_TEST_MODEL_RECURRENT_MODELS_H
#define MD_TEST_MODEL_RECURRENT_MODELS_H

#include "format/gguf.h"
#include "support/synth_model.h"

enum { WIDTH = 64, N_VOCAB = 96, MAX_LAYERS = 4 };

typedef struct tensor_row {
    const char *name;
    enum { OF_MODEL = 'm', OF_ALL = '*', OF_RECURRENT = 'r', OF_ATTENTION = 'a', OF_FFN = 'f' } where;
    int64_t dim[3]; /* 0: no such dimension */
    float size, offset;
} tensor_row;

#define ENDS                                                       \
    {"token_embd.weight", OF_MODEL, {WIDTH, N_VOCAB}, 3.0f, 0.0f}, \
    {                                                              \
        "blk.%d.attn_norm.weight", OF_ALL, {WIDTH}, 0.5f, 1.0f     \
    }
#define ATTENTION(q)                                                          \
    {"blk.%d.attn_q.weight", OF_ATTENTION, {WIDTH, q}, 0.6f, 0.0f},           \
        {"blk.%d.attn_k.weight", OF_ATTENTION, {WIDTH, 32}, 0.6f, 0.0f},      \
        {"blk.%d.attn_v.weight", OF_ATTENTION, {WIDTH, 32}, 0.6f, 0.0f},      \
    {                                                                         \
        "blk.%d.attn_output.weight", OF_ATTENTION, {WIDTH, WIDTH}, 0.6f, 0.0f \
    }
#define HEAD_NORMS                                                  \
    {"blk.%d.attn_q_norm.weight", OF_ATTENTION, {16}, 0.5f, 1.0f},  \
    {                                                               \
        "blk.%d.attn_k_norm.weight", OF_ATTENTION, {16}, 0.5f, 1.0f \
    }
#define FFN                                                        \
    {"blk.%d.ffn_gate.weight", OF_ALL, {WIDTH, 80}, 0.5f, 0.0f},   \
        {"blk.%d.ffn_up.weight", OF_ALL, {WIDTH, 80}, 0.5f, 0.0f}, \
    {                                                              \
        "blk.%d.ffn_down.weight", OF_ALL, {80, WIDTH}, 0.5f, 0.0f  \
    }

static const tensor_row delta_tensors[] = {
    ENDS,
    ATTENTION(2 * WIDTH),
    HEAD_NORMS,
    FFN,
    {"output_norm.weight", OF_MODEL, {WIDTH}, 0.5f, 1.0f},
    {"blk.%d.post_attention_norm.weight", OF_ALL, {WIDTH}, 0.5f, 1.0f},
    {"blk.%d.attn_qkv.weight", OF_RECURRENT, {WIDTH, 128}, 0.6f, 0.0f},
    {"blk.%d.attn_gate.weight", OF_RECURRENT, {WIDTH, WIDTH}, 0.6f, 0.0f},
    {"blk.%d.ssm_beta.weight", OF_RECURRENT, {WIDTH, 4}, 0.6f, 0.0f},
    {"blk.%d.ssm_alpha.weight", OF_RECURRENT, {WIDTH, 4}, 0.6f, 0.0f},
    {"blk.%d.ssm_conv1d.weight", OF_RECURRENT, {4, 128}, 1.0f, 0.0f},
    {"blk.%d.ssm_dt.bias", OF_RECURRENT, {4}, 0.5f, 0.0f},
    {"blk.%d.ssm_a", OF_RECURRENT, {4}, 0.1f, -0.06f},
    {"blk.%d.ssm_norm.weight", OF_RECURRENT, {16}, 0.5f, 1.0f},
    {"blk.%d.ssm_out.weight", OF_RECURRENT, {WIDTH, WIDTH}, 0.6f, 0.0f},
    {0},
};

#define MAMBA                                                                                                        \
    {"blk.%d.ssm_in.weight", OF_RECURRENT, {WIDTH, 328}, 0.6f, 0.0f},                                                \
        {"blk.%d.ssm_conv1d.weight", OF_RECURRENT, {4, 192}, 1.0f, 0.0f},                                            \
        {"blk.%d.ssm_conv1d.bias", OF_RECURRENT, {192}, 0.5f, 0.0f},                                                 \
        {"blk.%d.ssm_dt.bias", OF_RECURRENT, {8}, 0.5f, 0.0f}, {"blk.%d.ssm_a", OF_RECURRENT, {1, 8}, 0.1f, -0.06f}, \
        {"blk.%d.ssm_d", OF_RECURRENT, {1, 8}, 1.0f, 0.0f},                                                          \
        {"blk.%d.ssm_norm.weight", OF_RECURRENT, {64, 2}, 0.5f, 1.0f},                                               \
    {                                                                                                                \
        "blk.%d.ssm_out.weight", OF_RECURRENT, {128, WIDTH}, 0.6f, 0.0f                                              \
    }

static const tensor_row mamba_tensors[] = {
    ENDS,
    ATTENTION(WIDTH),
    FFN,
    {"output_norm.weight", OF_MODEL, {WIDTH}, 0.5f, 1.0f},
    {"blk.%d.ffn_norm.weight", OF_ALL, {WIDTH}, 0.5f, 1.0f},
    MAMBA,
    {0},
};

static const tensor_row conv_tensors[] = {
    ENDS,
    ATTENTION(WIDTH),
    HEAD_NORMS,
    FFN,
    {"token_embd_norm.weight", OF_MODEL, {WIDTH}, 0.5f, 1.0f},
    {"blk.%d.ffn_norm.weight", OF_ALL, {WIDTH}, 0.5f, 1.0f},
    {"blk.%d.shortconv.in_proj.weight", OF_RECURRENT, {WIDTH, 3 * WIDTH}, 0.6f, 0.0f},
    {"blk.%d.shortconv.conv.weight", OF_RECURRENT, {3, WIDTH}, 2.0f, 0.0f},
    {"blk.%d.shortconv.out_proj.weight", OF_RECURRENT, {WIDTH, WIDTH}, 0.6f, 0.0f},
    {0},
};

static const tensor_row branch_tensors[] = {
    ENDS,
    ATTENTION(WIDTH),
    MAMBA,
    {"output_norm.weight", OF_MODEL, {WIDTH}, 0.5f, 1.0f},
    {"blk.%d.ffn_gate_inp.weight", OF_FFN, {WIDTH, 6}, 0.6f, 0.0f},
    {"blk.%d.exp_probs_b.bias", OF_FFN, {6}, 0.2f, 0.0f},
    {"blk.%d.ffn_latent_down.weight", OF_FFN, {WIDTH, 32}, 0.6f, 0.0f},
    {"blk.%d.ffn_latent_up.weight", OF_FFN, {32, WIDTH}, 0.6f, 0.0f},
    {"blk.%d.ffn_up_exps.weight", OF_FFN, {32, 24, 6}, 0.6f, 0.0f},
    {"blk.%d.ffn_down_exps.weight", OF_FFN, {24, 32, 6}, 0.6f, 0.0f},
    {"blk.%d.ffn_up_shexp.weight", OF_FFN, {WIDTH, 40}, 0.6f, 0.0f},
    {"blk.%d.ffn_down_shexp.weight", OF_FFN, {40, WIDTH}, 0.6f, 0.0f},
    {0},
};

typedef struct model_row {
    const char *arch;
    const char *layers; /* a letter each: recurrent, attention, feed-forward alone */
    const tensor_row *tensor;
    struct {
        const char *key;
        int32_t value[MAX_LAYERS]; /* of each layer, or of all */
        bool by_layer;
    } number[11];
} model_row;

#define MAMBA_SIZES                                                                                             \
    {"ssm.conv_kernel", {4}}, {"ssm.inner_size", {128}}, {"ssm.state_size", {16}}, {"ssm.time_step_rank", {8}}, \
    {                                                                                                           \
        "ssm.group_count",                                                                                      \
        {                                                                                                       \
            2                                                                                                   \
        }                                                                                                       \
    }

static const model_row models[] = {
    {"qwen35",
     "rar",
     delta_tensors,
     {{"full_attention_interval", {2}},
      {"ssm.conv_kernel", {4}},
      {"ssm.inner_size", {64}},
      {"ssm.state_size", {16}},
      {"ssm.time_step_rank", {4}},
      {"ssm.group_count", {2}}}},
    {"granitehybrid", "rar", mamba_tensors, {MAMBA_SIZES}},
    {"lfm2", "rar", conv_tensors, {{"shortconv.l_cache", {3}}}},
    {"nemotron_h_moe",
     "rfaf",
     branch_tensors,
     {MAMBA_SIZES,
      {"expert_count", {6}},
      {"expert_used_count", {0, 3, 0, 2}, true},
      {"expert_feed_forward_length", {24}},
      {"expert_shared_feed_forward_length", {40}},
      {"moe_latent_size", {32}}}},
};
enum { N_MODELS = sizeof models / sizeof *models };

static bool in_layer(const tensor_row *t, const char *layers, int layer)
{
    return t->where == OF_MODEL ? layer == 0 : t->where == OF_ALL || layers[layer] == (char)t->where;
}

/* Declares the tensors, or writes their values. */
static void write_tensors(md_gguf_writer *w, const model_row *m, bool values)
{
    uint32_t x = 2463534242u;
    for (int layer = 0; m->layers[layer]; layer++)
        for (const tensor_row *t = m->tensor; t->name; t++) {
            if (!in_layer(t, m->layers, layer))
                continue;
            char name[64];
            snprintf(name, sizeof name, t->name, layer);
            int n_dims = 0;
            int64_t n = 1;
            while (n_dims < 3 && t->dim[n_dims] > 0)
                n *= t->dim[n_dims++];
            if (!values)
                OK(md_gguf_add_tensor(w, name, MD_TYPE_F32, n_dims, t->dim, err));
            for (int64_t i = 0; values && i < n; i++) {
                x ^= x << 13;
                x ^= x >> 17;
                x ^= x << 5;
                const float v = ((float)(x >> 8) / 16777216.0f - 0.5f) * t->size + t->offset;
                OK(md_gguf_data(w, &v, sizeof v, err));
            }
        }
}

static void set_number(md_gguf_writer *w, const char *arch, const char *name, const int32_t *v, int n)
{
    char key[96];
    snprintf(key, sizeof key, "%s.%s", arch, name);
    if (n > 0)
        OK(md_gguf_set_array(w, key, MD_GGUF_I32, v, (size_t)n, err));
    else
        OK(md_gguf_set_u32(w, key, (uint32_t)*v, err));
}

/* Heads and widths by letter: only layers that attend have key heads; where layers are one branch, only those that are a
 * feed-forward have a width. */
static void set_layers(md_gguf_writer *w, const model_row *m)
{
    int32_t key_heads[MAX_LAYERS], width[MAX_LAYERS], n = 0;
    const bool branches = strchr(m->layers, OF_FFN) != NULL;
    for (; m->layers[n]; n++) {
        key_heads[n] = m->layers[n] == OF_ATTENTION ? 2 : 0;
        width[n] = !branches || m->layers[n] == OF_FFN ? 80 : 0;
    }
    set_number(w, m->arch, "block_count", &n, 0);
    set_number(w, m->arch, "attention.head_count_kv", key_heads, n);
    set_number(w, m->arch, "feed_forward_length", width, n);
}

static void write_model(const model_row *m, const char *path)
{
    static const struct {
        const char *key;
        int32_t value;
    } usual[] = {{"context_length", 512}, {"embedding_length", WIDTH}, {"attention.head_count", 4}};
    md_gguf_writer *w;
    OK(md_gguf_writer_new(path, &w, err));
    OK(md_gguf_set_string(w, "general.architecture", m->arch, err));
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        set_number(w, m->arch, usual[i].key, &usual[i].value, 0);
    for (size_t i = 0; i < sizeof m->number / sizeof *m->number && m->number[i].key; i++)
        set_number(w, m->arch, m->number[i].key, m->number[i].value,
                   m->number[i].by_layer ? (int)strlen(m->layers) : 0);
    set_layers(w, m);
    write_tensors(w, m, false);
    OK(md_gguf_begin(w, err));
    write_tensors(w, m, true);
    OK(md_gguf_commit(w, err));
    md_gguf_writer_close(w);
}

#endif
