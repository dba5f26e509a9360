/* SPDX-License-Identifier: Apache-2.0
 *
 * Kept prefixes when memory or the disk gives out: a text is run, everything ends, and a new session goes on with what the
 * folder kept. Whatever fails on the way, in either thread, is an error with one sentence or makes no difference to a bit. */
#include "fault/use.h"
#include "kv/kv.h"
#include "model/prefixes.h"
#include "support/fault.h"
#include "support/scratch.h"
#include "support/synth_model.h"

enum { N = 150, N_VOCAB = 300 };

typedef struct keeping {
    const md_model *m;
    const char *folder; /* or NULL */
    int32_t token[N];
    bool took; /* some run took something over */
} keeping;

/* What of the text cannot be taken, a step to each page's border; the last logits. */
static md_status run_text(keeping *j, md_session *s, md_prefixes *p, uint64_t *hash, md_error *err)
{
    md_seq *q = NULL, *seq[MD_TILE];
    int32_t taken;
    md_status status;
    TRY(md_seq_new(s, &q, err));
    TRY(md_prefixes_take(p, q, "", j->token, N, &taken, err));
    j->took |= taken > 0;
    for (int i = 0; i < MD_TILE; i++)
        seq[i] = q;
    for (int at = taken, n; at < N; at += n) {
        n = MD_TILE < N - at ? MD_TILE : N - at;
        TRY(md_decode(s, &(md_batch){.n = n, .token = j->token + at, .seq = seq}, err));
        *hash = fold(1, md_step_logits(s, n - 1), N_VOCAB * sizeof(float));
        md_prefixes_add(p, q, "", j->token, (size_t)(at + n));
    }
done:
    md_seq_free(q);
    return status;
}

/* A process from beginning to end. */
static md_status run_once(keeping *j, uint64_t *hash, md_error *err)
{
    md_session_args args;
    md_session *s = NULL;
    md_prefixes *p = NULL;
    md_status status;
    md_session_args_default(j->m, &args);
    args.n_threads = 1;
    args.n_positions = 256;
    args.n_rows = MD_TILE;
    TRY(md_session_new(j->m, &args, &s, err));
    TRY(md_prefixes_new(s, &(md_prefixes_args){.folder = j->folder, .folder_bytes = 1 << 20, .state_bytes = 1 << 20},
                        &p, err));
    TRY(run_text(j, s, p, hash, err));
    TRY(run_text(j, s, p, hash, err));
    assert_true(md_prefixes_evict(p, 1) == 1);
done:
    md_prefixes_free(p);
    md_session_free(s);
    return status;
}

static md_status restart(void *arg, uint64_t *result, md_error *err)
{
    keeping *j = arg;
    uint64_t first = 0;
    md_status status = run_once(j, &first, err);
    if (status == MD_OK)
        status = run_once(j, result, err);
    if (status == MD_OK)
        assert_true(*result == first);
    return status;
}

static long survive(const char *name, fault_kind kind, md_status status, keeping *j)
{
    const fault_count n = fault_each(kind, status, restart, j);
    print_message("%s: %ld refused, %ld survived\n", name, n.refused, n.survived);
    return n.refused + n.survived;
}

static void prefixes_survive_every_failure(void **state)
{
    static const char *const routers[] = {NULL, "capacity-drop"}; /* the second one has a state */
    for (int i = 0; i < 2; i++) {
        keeping j = {0};
        char path[600];
        md_model *m;
        snprintf(path, sizeof path, "%s", temp_path("prefixes.gguf"));
        OK(md_synth_write(&(md_synth_spec){.arch = "medley-moe",
                                           .n_layer = 1,
                                           .n_embd = 32,
                                           .n_head = 2,
                                           .n_vocab = N_VOCAB,
                                           .n_ctx = 256,
                                           .n_expert = 4,
                                           .router = routers[i]},
                          path, err));
        OK(md_model_open(path, NULL, &m, err));
        j.m = m;
        fill_tokens(j.token, N, N_VOCAB, 3);
        const long alone = survive("in memory", FAULT_MEMORY, MD_ERR_MEMORY, &j);
        j.folder = *state;
        const long with = survive("allocations", FAULT_MEMORY, MD_ERR_MEMORY, &j);
        const long calls = survive("system calls", FAULT_CALL, MD_ERR_IO, &j);
        assert_true(alone > 10 && with > alone + 5 && calls > 10 && j.took);
        assert_int_equal(fault_each(FAULT_SHORT, MD_ERR_IO, restart, &j).refused, 0);
        assert_int_equal(fault_each(FAULT_INTERRUPT, MD_ERR_IO, restart, &j).refused, 0);
        assert_int_equal(scratch_count(*state), 2 * (i + 1)); /* no half of a file */
        md_model_close(m);
        unlink(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {IN_SCRATCH(prefixes_survive_every_failure)};
    return cmocka_run_group_tests_name("fault/prefixes", tests, NULL, NULL);
}
