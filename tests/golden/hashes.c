/* SPDX-License-Identifier: Apache-2.0
 *
 * Logits hashes of project-made models, one for each family, tensor type, KV type, and router ("medley-moe/NAME"). They hold for good: a kernel, a compiler
 * or a machine that changes one is wrong, or docs/numerics.md was changed. Every table of kernels must give them.
 * `golden-hashes --print` writes the table anew. */
#include "kern/kern.h"
#include "shape/synth.h"
#include "support/synth_model.h"

#define N_TOKENS 80 /* two pages */

typedef struct row {
    const char *arch, *type;
    md_kv_type kv;
    uint64_t hash;
} row;

static const row rows[] = {
#include "golden/hashes.inc"
};

static uint64_t hash_of(const row *r, const char *isa)
{
    const bool experts = strstr(r->arch, "moe") || strcmp(r->arch, "gpt-oss") == 0;
    const char *slash = strchr(r->arch, '/');
    char arch[32];
    snprintf(arch, sizeof arch, "%.*s", slash ? (int)(slash - r->arch) : (int)strlen(r->arch), r->arch);
    md_model *m = open_synth(&(md_synth_spec){.arch = arch,
                                              .router = slash ? slash + 1 : NULL,
                                              .n_embd = 256,
                                              .n_head = 4,
                                              .n_head_kv = 2,
                                              .head_dim = 64,
                                              .n_ff = 256,
                                              .n_ff_exp = 256,
                                              .n_ff_shexp = 0,
                                              .n_expert = experts ? 6 : 0,
                                              .n_expert_used = experts && !slash ? 2 : 0,
                                              .type_attn = r->type,
                                              .type_ffn = r->type,
                                              .type_embd = r->type,
                                              .type_out = r->type,
                                              .seed = 2026});
    md_session_args args;
    md_session_args_default(m, &args);
    args.n_threads = 2;
    args.n_positions = args.n_rows = args.n_logits = N_TOKENS;
    args.kv_type = r->kv;
    args.isa = isa;
    md_session *s;
    md_seq *q, *seq[N_TOKENS];
    OK(md_session_new(m, &args, &s, err));
    OK(md_seq_new(s, &q, err));
    int32_t token[N_TOKENS];
    uint8_t want[N_TOKENS];
    const int32_t n_vocab = md_model_get_info(m)->n_vocab;
    fill_tokens(token, N_TOKENS, n_vocab, 42);
    for (int i = 0; i < N_TOKENS; i++) {
        seq[i] = q;
        want[i] = MD_WANT_LOGITS;
    }
    OK(md_decode(s, &(md_batch){.n = N_TOKENS, .token = token, .seq = seq, .want = want}, err));
    uint64_t hash = MD_HASH_START;
    for (int i = 0; i < N_TOKENS; i++) {
        const float *logits = md_step_logits(s, i);
        for (int32_t v = 0; v < n_vocab; v++)
            assert_true(logits[v] - logits[v] == 0.0f); /* finite, or the hash says nothing */
        hash = md_logits_hash(hash, logits, (size_t)n_vocab);
    }
    md_session_free(s);
    md_model_close(m);
    return hash;
}

static void hashes_hold(void **state)
{
    const char *isa = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const uint64_t h = hash_of(&rows[i], isa);
        if (h != rows[i].hash)
            fail_msg("%s, %s, kv %s, kernels %s: hash %016llx, committed %016llx", rows[i].arch, rows[i].type,
                     md_kv_type_name(rows[i].kv), isa, (unsigned long long)h, (unsigned long long)rows[i].hash);
    }
}

static const char *const kv_names[] = {"MD_KV_F32", "MD_KV_F16", "MD_KV_Q8_0"};

static void print_row(const char *arch, const char *type, md_kv_type kv)
{
    const row r = {arch, type, kv, 0};
    printf("{\"%s\", \"%s\", %s, 0x%016llxull},\n", arch, type, kv_names[kv], (unsigned long long)hash_of(&r, NULL));
}

static void print_table(void)
{
    static const char *const archs[] = {"llama",    "smollm3", "qwen2",   "qwen2moe",   "qwen3",
                                        "qwen3moe", "olmoe",   "granite", "granitemoe", "gpt-oss"};
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
        for (int kv = 0; kv < 3; kv++)
            print_row(archs[i], "F32", (md_kv_type)kv);
    for (int t = 0; t < MD_N_TYPES; t++)
        if (md_type_get((md_type)t)->act != MD_ACT_NONE)
            print_row("qwen3moe", md_type_get((md_type)t)->name, MD_KV_F16);
    const char *router;
    for (size_t i = 0; (router = md_synth_router_name(i)); i++) {
        char name[64];
        snprintf(name, sizeof name, "medley-moe/%s", router);
        print_row(name, "F32", MD_KV_F16);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--print") == 0) {
        print_table();
        return 0;
    }
    struct CMUnitTest tests[8] = {0};
    size_t n = 0;
    for (const char *const *isa = md_kern_names(); *isa; isa++)
        tests[n++] = (struct CMUnitTest){*isa, hashes_hold, NULL, NULL, (void *)(uintptr_t)*isa};
    return _cmocka_run_group_tests("hashes", tests, n, NULL, NULL);
}
