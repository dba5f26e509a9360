/* SPDX-License-Identifier: Apache-2.0
 *
 * The first promise for every router of docs/routers.md: the same bits whatever the threads, the chunks, the kernels, the company
 * and the detours (forks, snapshots, steps given up), with and without masks; and metadata that makes no sense is refused. That
 * the bits are the right ones is routers_exact.c's business. */
#include "shape/synth.h"
#include "support/synth_model.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { N = 70, WIDTH = 64 };
#define TYPE NULL
#else
enum { N = 100, WIDTH = 256 }; /* two pages, five windows */
#define TYPE "Q4_K"
#endif

static md_synth_spec spec_of(const char *router)
{
    return (md_synth_spec){.arch = "medley-moe",
                           .router = router,
                           .n_embd = WIDTH,
                           .n_head = 4,
                           .n_head_kv = 2,
                           .n_ff_exp = WIDTH,
                           .n_expert = 8,
                           .type_ffn = TYPE,
                           .seed = 77};
}

static bool whole_sequences(const char *router)
{
    return strstr(router, "encoder") != NULL;
}

typedef struct way {
    int threads, chunk;
    const char *isa;
} way;

static md_session *session_new(const md_model *m, way w)
{
    md_session_args args;
    md_session *s;
    md_session_args_default(m, &args);
    args.n_threads = w.threads;
    args.n_rows = args.n_logits = w.chunk;
    args.n_positions = 4 * N;
    args.grain_rows = w.threads > 1;
    args.isa = w.isa;
    OK(md_session_new(m, &args, &s, err));
    return s;
}

/* An expert off, one forced. */
static void put_mask(md_seq *q)
{
    OK(md_seq_mask_expert(q, 0, 2, MD_EXPERT_OFF, err));
    OK(md_seq_mask_expert(q, 1, 5, MD_EXPERT_FORCED, err));
}

/* Feeds tokens [from, to) to q in chunks and folds their logits, experts and weights into h. */
static uint64_t feed(md_session *s, md_seq *q, const int32_t *token, int from, int to, int chunk, uint64_t h)
{
    const md_model_info *info = md_model_get_info(md_session_model(s));
    md_seq *seq[N];
    uint8_t want[N];
    for (int i = 0; i < N; i++) {
        seq[i] = q;
        want[i] = MD_WANT_LOGITS | MD_WANT_ROUTING;
    }
    for (int at = from; at < to; at += chunk) {
        const int n = to - at < chunk ? to - at : chunk;
        OK(md_decode(s, &(md_batch){.n = n, .token = token + at, .seq = seq, .want = want}, err));
        for (int i = 0; i < n; i++) {
            const int32_t *expert;
            const float *weight;
            int32_t k;
            h = md_logits_hash(h, md_step_logits(s, i), (size_t)info->n_vocab);
            for (int32_t l = 0; md_step_routing(s, i, l, &expert, &weight, &k); l++) {
                h = md_logits_hash(h, weight, (size_t)k);
                for (int32_t slot = 0; slot < k; slot++)
                    h = (h ^ (uint32_t)expert[slot]) * 0x100000001b3u;
            }
        }
    }
    return h;
}

static uint64_t run_alone(const md_model *m, const int32_t *token, way w, bool masked)
{
    md_session *s = session_new(m, w);
    md_seq *q;
    OK(md_seq_new(s, &q, err));
    if (masked)
        put_mask(q);
    const uint64_t h = feed(s, q, token, 0, N, w.chunk, MD_HASH_START);
    md_session_free(s);
    return h;
}

/* The hash of the logits alone, of q among rows of another sequence that has a mask of its own; `mine` rows a step. */
static uint64_t run_in_company(const md_model *m, const int32_t *token, int mine)
{
    md_session *s = session_new(m, (way){2, 2 * mine, NULL});
    const int32_t n_vocab = md_model_get_info(m)->n_vocab;
    md_seq *q, *other;
    OK(md_seq_new(s, &other, err));
    OK(md_seq_new(s, &q, err));
    put_mask(other);
    uint64_t h = MD_HASH_START;
    int32_t strange[N];
    fill_tokens(strange, N, n_vocab, 1234);
    for (int at = 0; at < N; at += mine) {
        const int n = N - at < mine ? N - at : mine;
        int32_t t[2 * N];
        md_seq *seq[2 * N];
        uint8_t want[2 * N];
        for (int i = 0; i < 2 * n; i++) {
            const bool own = i % 2 == 1;
            t[i] = own ? token[at + i / 2] : strange[at + i / 2];
            seq[i] = own ? q : other;
            want[i] = own ? MD_WANT_LOGITS : 0;
        }
        OK(md_decode(s, &(md_batch){.n = 2 * n, .token = t, .seq = seq, .want = want}, err));
        for (int i = 1; i < 2 * n; i += 2)
            h = md_logits_hash(h, md_step_logits(s, i), (size_t)n_vocab);
    }
    md_session_free(s);
    return h;
}

static uint64_t logits_alone(const md_model *m, const int32_t *token)
{
    md_session *s = session_new(m, (way){1, N, NULL});
    const int32_t n_vocab = md_model_get_info(m)->n_vocab;
    md_seq *q, *seq[N];
    uint8_t want[N];
    OK(md_seq_new(s, &q, err));
    for (int i = 0; i < N; i++) {
        seq[i] = q;
        want[i] = MD_WANT_LOGITS;
    }
    OK(md_decode(s, &(md_batch){.n = N, .token = token, .seq = seq, .want = want}, err));
    uint64_t h = MD_HASH_START;
    for (int i = 0; i < N; i++)
        h = md_logits_hash(h, md_step_logits(s, i), (size_t)n_vocab);
    md_session_free(s);
    return h;
}

/* In the middle of a window: a fork goes on as the original does, a snapshot comes back, a step that is given up leaves
 * nothing. */
static uint64_t run_with_detours(const md_model *m, const int32_t *token)
{
    enum { STOP = 61, CHUNK = 7 };
    md_session *s = session_new(m, (way){2, CHUNK, NULL});
    md_seq *q, *fork;
    md_snapshot *snap;
    OK(md_seq_new(s, &q, err));
    uint64_t h = feed(s, q, token, 0, STOP, CHUNK, MD_HASH_START);
    OK(md_seq_snapshot(q, &snap, err));
    feed(s, q, token + 3, STOP, N - 3, CHUNK, MD_HASH_START); /* astray */
    OK(md_seq_restore(q, snap, err));
    md_snapshot_free(snap);
    bool done;
    md_seq *seq[CHUNK] = {q, q, q, q, q, q, q};
    OK(md_step_begin(s, &(md_batch){.n = CHUNK, .token = token, .seq = seq}, err));
    OK(md_step_advance(s, 1, &done, err));
    md_step_abandon(s);
    OK(md_seq_fork(q, &fork, err));
    md_seq_free(q);
    h = feed(s, fork, token, STOP, N, CHUNK, h);
    md_session_free(s);
    return h;
}

static void one_router_in_every_way(void **state)
{
    static const way ways[] = {{2, 7, NULL}, {2, 1, NULL}, {3, N, "scalar"}};
    const char *router = *state;
    const md_synth_spec spec = spec_of(router);
    md_model *m = open_synth(&spec);
    int32_t token[N];
    fill_tokens(token, N, md_model_get_info(m)->n_vocab, 7);
    uint64_t plain = 0;
    for (int masked = 0; masked < 2; masked++) {
        const uint64_t expected = run_alone(m, token, (way){1, N, NULL}, masked);
        for (size_t i = 0; i < (masked ? 1 : sizeof ways / sizeof *ways); i++) {
            way w = ways[i];
            w.chunk = whole_sequences(router) ? N : w.chunk;
            const uint64_t h = run_alone(m, token, w, masked);
            if (h != expected)
                fail_msg("%s: %d threads, chunks of %d, %s: %016llx, expected %016llx", router, w.threads, w.chunk,
                         w.isa ? w.isa : "best kernels", (unsigned long long)h, (unsigned long long)expected);
        }
        if (masked)
            assert_true(expected != plain);
        else
            plain = expected;
    }
    assert_int_equal(run_in_company(m, token, whole_sequences(router) ? N : 5), logits_alone(m, token));
    if (!whole_sequences(router))
        assert_int_equal(run_with_detours(m, token), plain);
    md_model_close(m);
}

/* Capacity is for any mixture: a file that says nothing of it takes it from the command line. */
static void metadata_may_be_overridden(void **state)
{
    (void)state;
    const char *path = temp_path("override.gguf");
    const char *const limit[] = {"qwen3moe.expert_capacity_factor=float:1.25", "qwen3moe.expert_overflow=str:drop"};
    OK(md_synth_write(&(md_synth_spec){.arch = "qwen3moe", .seed = 4}, path, err));
    md_model *m, *limited;
    OK(md_model_open(path, NULL, &m, err));
    OK(md_model_open(path, &(md_model_args){.override = limit, .n_override = 2}, &limited, err));
    unlink(path);
    assert_non_null(strstr(md_model_get_info(limited)->router, "at most 20 an expert in 64 positions (drop)"));
    int32_t token[N];
    fill_tokens(token, N, md_model_get_info(m)->n_vocab, 7);
    const uint64_t h = run_alone(limited, token, (way){1, N, NULL}, false);
    assert_true(h != run_alone(m, token, (way){1, N, NULL}, false));
    assert_true(h == run_alone(limited, token, (way){2, 7, NULL}, false));
    md_model_close(limited);
    md_model_close(m);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *router, *override, *says;
    } cases[] = {
        {NULL, "medley-moe.expert_select=str:fate", "does not know"},
        {NULL, "medley-moe.expert_select=str:choice", "need thresholds"},
        {NULL, "medley-moe.expert_select=str:balanced", "one expert"},
        {NULL, "medley-moe.expert_overflow=str:panic", "does not know"},
        {NULL, "medley-moe.expert_capacity_factor=float:-1", "below 0"},
        {NULL, "medley-moe.expert_iteration_count=int:2", "has shape"},
        {NULL, "medley-moe.expert_zero_count=int:1", "has shape"},
        {NULL, "medley-moe.expert_recurrent_length=int:9", "has shape"},
        {NULL, "medley-moe.expert_group_equal=bool:true", "equal shares"},
        {NULL, "medley-moe.recursion_count=int:2", "lacks"},
        {NULL, "medley-moe.expert_gating_func=int:6", "outside"},
        {"moge", "medley-moe.expert_used_count=int:3", "equal shares"},
        {"expert-choice", "medley-moe.expert_gating_func=int:4", "softmax or sigmoid"},
        {"expert-choice-encoder", "medley-moe.expert_capacity_factor=float:1", "neither"},
        {"recursion", "medley-moe.recursion_count=int:4", "threshold for each"},
        {"recursion", "medley-moe.expert_capacity_factor=float:1", "does not go with repeated layers"},
        {"hmoe", "medley-moe.expert_count=int:7", "a width for each"},
        {"moe++", "medley-moe.expert_constant_count=int:1", "has shape"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const md_synth_spec spec = {.arch = "medley-moe", .router = cases[i].router};
        const char *path = temp_path("nonsense.gguf");
        OK(md_synth_write(&spec, path, err));
        md_model *m;
        md_error e = {0};
        const md_status status = md_model_open(path, &(md_model_args){.override = &cases[i].override, .n_override = 1},
                                               &m, &e);
        unlink(path);
        if (status == MD_OK || !strstr(e.message, cases[i].says))
            fail_msg("%s: '%s' does not say '%s'", cases[i].override, e.message, cases[i].says);
        assert_null(m);
    }
}

int main(void)
{
    struct CMUnitTest tests[32] = {0};
    size_t n = 0;
    for (const char *name; n < 30 && (name = md_synth_router_name(n)); n++)
        tests[n] = (struct CMUnitTest){name, one_router_in_every_way, NULL, NULL, (void *)(uintptr_t)name};
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(metadata_may_be_overridden);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(nonsense_is_refused);
    return _cmocka_run_group_tests("routers", tests, n, NULL, NULL);
}
