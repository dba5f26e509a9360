/* SPDX-License-Identifier: Apache-2.0
 *
 * Sequences in files, and vectors of texts, when memory or the disk gives out: a sequence is as it was or goes on with the
 * same bits, a file that was there before stands there still, and what a session lent comes back to it. */
#include "fault/use.h"
#include "support/fault.h"
#include "support/scratch.h"
#include "support/synth_model.h"

#include <medley/embed.h>

enum { N_PROMPT = 70, WIDTH = 32, LONGEST = 90 }; /* more than a page of positions */

#define SMALL .n_layer = 2, .n_embd = WIDTH, .n_head = 2, .n_vocab = 300, .n_ctx = 256

static md_session *session_of(const md_model *m, md_session_args *args)
{
    args->n_threads = 1;
    args->n_positions = 384;
    md_session *s;
    OK(md_session_new(m, args, &s, err));
    return s;
}

static long sum(fault_count n)
{
    return n.refused + n.survived;
}

/* ---- files ---- */

typedef struct saving {
    const char *folder;
    char file[1024];
    md_session *s;
    md_seq *from, *to;
    int32_t token[N_PROMPT];
    uint64_t past; /* hash of the file that stands there; 0: none */
} saving;

static uint64_t hash_file(const char *path)
{
    size_t n;
    unsigned char *bytes = read_all(path, &n);
    const uint64_t hash = fold(n, bytes, n);
    free(bytes);
    return hash;
}

/* A new file that replaces the old one whole, or the old one and nothing beside it. */
static md_status save(void *arg, uint64_t *result, md_error *err)
{
    const saving *j = arg;
    const md_seq_save_args args = {.token = j->token, .n_tokens = N_PROMPT, .text = "a\0b", .n_text = 3};
    fault_pause(true);
    if (!j->past)
        unlink(j->file);
    fault_pause(false);
    const md_status status = md_seq_save(j->from, &args, j->file, err);
    fault_pause(true);
    const bool there = status == MD_OK || j->past;
    assert_int_equal(scratch_count(j->folder), there);
    *result = there ? hash_file(j->file) : 0;
    if (j->past)
        assert_true(*result == j->past);
    fault_pause(false);
    return status;
}

static void give_other_past(const saving *j)
{
    md_seq *to = j->to;
    OK(md_seq_trim(to, 0, err));
    OK(md_decode(j->s, &(md_batch){.n = 1, .token = j->token, .seq = &to}, err));
}

/* Into a sequence that has another past, which it keeps when loading fails. */
static md_status load(void *arg, uint64_t *result, md_error *err)
{
    const saving *j = arg;
    const int32_t token = 7;
    md_saved *saved;
    fault_pause(true);
    give_other_past(j);
    fault_pause(false);
    md_status status = md_saved_open(j->file, &saved, err);
    if (status == MD_OK)
        status = md_seq_load(j->to, saved, err);
    assert_int_equal(md_seq_length(j->to), status == MD_OK ? N_PROMPT : 1);
    if (status == MD_OK)
        status = md_decode(j->s, &(md_batch){.n = 1, .token = &token, .seq = (md_seq *const[]){j->to}}, err);
    if (status == MD_OK)
        *result = fold(1, md_step_logits(j->s, 0), 300 * sizeof(float));
    md_saved_close(saved);
    return status;
}

static void survive(const char *name, fault_job *job, saving *j, long allocations, long calls)
{
    const fault_count memory = fault_each(FAULT_MEMORY, MD_ERR_MEMORY, job, j);
    const fault_count call = fault_each(FAULT_CALL, MD_ERR_IO, job, j);
    print_message("%s: %ld allocations, %ld system calls\n", name, sum(memory), sum(call));
    assert_true(memory.refused >= allocations && call.refused >= calls);
    assert_true(fault_each(FAULT_SHORT, MD_ERR_IO, job, j).refused == 0);
    assert_true(fault_each(FAULT_INTERRUPT, MD_ERR_IO, job, j).refused == 0);
}

static void files_survive_every_failure(void **state)
{
    saving j = {.folder = *state};
    md_session_args args;
    md_seq *seq[N_PROMPT];
    md_model *m = open_synth(&(md_synth_spec){.arch = "qwen3moe", SMALL, .n_expert = 4});
    md_session_args_default(m, &args);
    args.n_rows = N_PROMPT;
    j.s = session_of(m, &args);
    snprintf(j.file, sizeof j.file, "%s", scratch_path(*state, "kept"));
    fill_tokens(j.token, N_PROMPT, 300, 3);
    OK(md_seq_new(j.s, &j.from, err));
    OK(md_seq_new(j.s, &j.to, err));
    for (int i = 0; i < N_PROMPT; i++)
        seq[i] = j.from;
    OK(md_decode(j.s, &(md_batch){.n = N_PROMPT, .token = j.token, .seq = seq}, err));
    survive("save", save, &j, 2, 4); /* open, write, fsync, rename */
    OK(md_seq_save(j.from, &(md_seq_save_args){.token = j.token, .n_tokens = N_PROMPT, .text = "a\0b", .n_text = 3},
                   j.file, err));
    j.past = hash_file(j.file);
    survive("replace", save, &j, 2, 4);
    fault_no_unnamed_files(true);
    survive("replace, without unnamed files", save, &j, 2, 4);
    fault_no_unnamed_files(false);
    survive("load", load, &j, 2, 3); /* open, fstat, mmap */
    md_session_free(j.s);
    md_model_close(m);
}

/* ---- vectors ---- */

typedef struct embedding {
    md_model *m;
    md_session *s; /* NULL: each round makes its own */
    int32_t rows;
} embedding;

static md_status embed_in(md_session *s, uint64_t *result, md_error *err)
{
    int32_t token[LONGEST];
    float out[3 * WIDTH];
    fill_tokens(token, LONGEST, 290, 5);
    const md_embed_input in[] = {{token, 5}, {token + 3, 60}, {token, LONGEST}};
    const int32_t room = md_session_free_positions(s);
    const md_status status = md_embed(s, in, 3, &(md_embed_args){.pooling = MD_POOLING_MEAN}, out, err);
    if (status == MD_OK)
        *result = fold(1, out, sizeof out);
    assert_int_equal(md_session_free_positions(s), room);
    return status;
}

static md_status embed(void *arg, uint64_t *result, md_error *err)
{
    const embedding *e = arg;
    md_session_args args;
    md_session *s;
    if (e->s)
        return embed_in(e->s, result, err);
    md_embed_session_args(e->m, LONGEST, &args);
    args.n_threads = 1;
    args.n_rows = args.n_logits = e->rows;
    md_status status = md_session_new(e->m, &args, &s, err);
    if (status == MD_OK)
        status = embed_in(s, result, err);
    md_session_free(s);
    return status;
}

static void vectors_survive_every_failure(void **state)
{
    (void)state;
    static const struct {
        const char *arch;
        int32_t rows; /* the causal model's texts go in pieces */
    } rows[] = {{"bert", LONGEST}, {"qwen3moe", 17}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        embedding e = {.rows = rows[i].rows};
        md_session_args args;
        e.m = open_synth(&(md_synth_spec){.arch = rows[i].arch, SMALL});
        const fault_count whole = fault_each(FAULT_MEMORY, MD_ERR_MEMORY, embed, &e);
        md_embed_session_args(e.m, LONGEST, &args);
        args.n_rows = args.n_logits = e.rows;
        e.s = session_of(e.m, &args);
        const fault_count again = fault_each(FAULT_MEMORY, MD_ERR_MEMORY, embed, &e);
        print_message("%s: %ld allocations, %ld in a session that is there\n", rows[i].arch, sum(whole), sum(again));
        assert_true(whole.refused > again.refused && again.refused >= 5);
        md_session_free(e.s);
        md_model_close(e.m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(files_survive_every_failure),
        cmocka_unit_test(vectors_survive_every_failure),
    };
    return cmocka_run_group_tests_name("fault/sequence", tests, NULL, NULL);
}
