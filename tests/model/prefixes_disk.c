/* SPDX-License-Identifier: Apache-2.0
 *
 * Kept prefixes in a folder: after a restart the bits are those of a run alone, in models of every kind of past; whatever is
 * damaged, foreign or missing is computed again; what is not a model's own numbers is not saved. */
#include "kv/disk_index.h"
#include "model/prefixes_key.h"
#include "model/prefixes_test.h"
#include "support/scratch.h"

#include <fcntl.h>

enum { FULL = N / MD_TILE * MD_TILE, PLENTY = 1 << 24 };

static md_status new_in(md_session *s, const char *folder, int64_t bytes, int64_t state_bytes, md_prefixes **p,
                        md_error *e)
{
    return md_prefixes_new(s, &(md_prefixes_args){.folder = folder, .folder_bytes = bytes, .state_bytes = state_bytes},
                           p, e);
}

static md_prefixes *prefixes_in(md_session *s, const char *folder)
{
    md_prefixes *p;
    OK(new_in(s, folder, PLENTY, PLENTY, &p, err));
    return p;
}

typedef struct counts {
    uint64_t pages, restored, saved;
} counts;

static counts counts_of(const md_prefixes *p)
{
    counts c;
    md_prefixes_counts_of(p, &c.pages, &c.restored, &c.saved);
    return c;
}

static void wait_until_saved(const md_prefixes *p, uint64_t n)
{
    for (int i = 0; i < 10000 && counts_of(p).saved < n; i++)
        usleep(1000);
    assert_true(counts_of(p).saved == n);
}

/* A process that runs the text and ends. */
static void fill_folder(int k, const char *folder)
{
    md_session *s = session_of(k);
    md_prefixes *p = prefixes_in(s, folder);
    assert_int_equal(take_and_run(p, s, "", prompt, N), 0);
    md_prefixes_free(p);
    md_session_free(s);
}

static void remove_all(const char *folder)
{
    char command[1200];
    snprintf(command, sizeof command, "find '%s' -mindepth 1 -delete", folder);
    assert_int_equal(system(command), 0);
}

/* The name of the file of page i of the text. */
static const char *file_of(int k, const char *folder, int i)
{
    unsigned char key[MD_KV_KEY_BYTES];
    char name[MD_KV_NAME_BYTES];
    md_session *s = session_of(k);
    OK(md_prefix_model(subject[k], false, key, err));
    md_prefix_scope(seq_of(s), key, "", key);
    for (int at = 0; at <= i; at++)
        md_prefix_key(key, prompt + at * MD_TILE, key);
    md_kv_name_of(key, false, name);
    md_session_free(s);
    return scratch_path(folder, name);
}

/* ---- the same bits ---- */

static void a_restart_gives_the_same_bits(void **state)
{
    static const int same[] = {63, 64, 100, 128, 191, N};
    for (int k = 0; k < N_KINDS; k++) {
        fill_folder(k, *state);
        assert_int_equal(scratch_count(*state), 3);
        for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
            int32_t token[N];
            md_model *again = open_kind(k);
            md_session *s = session_with(again, N_POSITIONS, 4);
            md_prefixes *p = prefixes_in(s, *state);
            part_from(token, same[i]);
            const int pages = same[i] / MD_TILE;
            assert_int_equal(take_and_run(p, s, "", token, N), pages * MD_TILE);
            assert_true(counts_of(p).restored == (uint64_t)pages);
            /* Once more, from memory now; nothing of it is read. */
            assert_int_equal(take_and_run(p, s, "", token, N), FULL);
            assert_true(counts_of(p).restored == (uint64_t)pages);
            md_prefixes_free(p);
            assert_int_equal(md_session_free_positions(s), N_POSITIONS);
            md_session_free(s);
            md_model_close(again);
        }
        remove_all(*state);
    }
}

static void what_leaves_comes_back(void **state)
{
    for (int k = 0; k < N_KINDS; k++) {
        md_session *s = session_of(k);
        md_prefixes *p = prefixes_in(s, *state);
        take_and_run(p, s, "", prompt, N);
        assert_int_equal(md_prefixes_evict(p, 2), 2);
        wait_until_saved(p, 2);
        assert_int_equal(take_and_run(p, s, "", prompt, N), FULL); /* one page from memory, two from the folder */
        assert_true(counts_of(p).restored == 2);
        assert_int_equal(md_prefixes_evict(p, 3), 3); /* what is there already is not written again */
        wait_until_saved(p, 3);
        assert_int_equal(md_session_free_positions(s), N_POSITIONS);
        assert_int_equal(take_and_run(p, s, "", prompt, 130), 128);
        md_prefixes_free(p);
        md_session_free(s);
        remove_all(*state);
    }
}

/* A state that found no room is in the folder, while its page is in memory. */
static void states_alone_come_back(void **state)
{
    const int k = N_KINDS - 1;
    const int64_t one = 4 * subject[k]->spec.state_floats;
    md_session *s = session_of(k);
    md_prefixes *p;
    OK(new_in(s, *state, PLENTY, one, &p, err));
    take_and_run(p, s, "", prompt, N);
    wait_until_saved(p, 2);
    assert_true(counts_of(p).pages == 3);
    assert_int_equal(take_and_run(p, s, "", prompt, 100), 64);
    assert_int_equal(take_and_run(p, s, "", prompt, 150), 128);
    wait_until_saved(p, 3); /* the one at 192 had to go */
    assert_int_equal(take_and_run(p, s, "", prompt, N), 192);
    assert_true(counts_of(p).restored == 0 && counts_of(p).pages == 3);
    md_prefixes_free(p);
    md_session_free(s);
}

/* Pages from the folder need pages of the pool: others leave for them. */
static void restoring_makes_room(void **state)
{
    int32_t other[N];
    part_from(other, 0);
    for (int k = 0; k < N_KINDS; k += N_KINDS - 1) {
        fill_folder(k, *state);
        md_session *s = session_with(subject[k], 4 * MD_TILE, 2);
        md_prefixes *p = prefixes_in(s, *state);
        take_and_run(p, s, "", other, N);
        md_seq *q = seq_of(s); /* takes the last free page */
        feed(s, q, other, 0, 1, NULL);
        assert_int_equal(md_session_free_positions(s), 0);
        md_seq *r = seq_of(s);
        assert_int_equal(take(p, r, "", prompt, N), FULL);
        assert_int_equal(md_session_free_positions(s), 0);
        md_seq_free(q);
        uint64_t rows[N], expected[N];
        feed(s, r, prompt, FULL, N, rows);
        expected_rows(subject[k], prompt, N, expected);
        assert_memory_equal(rows + FULL, expected + FULL, (N - FULL) * sizeof *rows);
        md_prefixes_free(p);
        md_session_free(s);
        /* No page can be had at all: what can be taken is taken. */
        s = session_with(subject[k], 2 * MD_TILE, 2);
        p = prefixes_in(s, *state);
        q = seq_of(s);
        feed(s, q, other, 0, 1, NULL);
        int32_t taken;
        OK(md_prefixes_take(p, seq_of(s), "", prompt, N, &taken, err));
        assert_int_equal(taken, MD_TILE);
        md_prefixes_free(p);
        md_session_free(s);
        remove_all(*state);
    }
}

/* ---- damage ---- */

/* Takes what is left, runs the rest: the bits are right, and the folder is whole again afterwards. */
static void run_damaged(int k, const char *folder, int expected_pages)
{
    uint64_t rows[N], expected[N];
    md_session *s = session_of(k);
    md_prefixes *p = prefixes_in(s, folder);
    md_seq *q = seq_of(s);
    int32_t taken;
    OK(md_prefixes_take(p, q, "", prompt, N, &taken, err));
    if (taken != expected_pages * MD_TILE)
        fail_msg("model %d: %d tokens taken, not %d pages", k, taken, expected_pages);
    assert_int_equal(md_seq_length(q), taken);
    feed_and_keep(p, q, "", prompt, N, rows);
    expected_rows(subject[k], prompt, N, expected);
    assert_memory_equal(rows + taken, expected + taken, (size_t)(N - taken) * sizeof *rows);
    md_seq_free(q);
    md_prefixes_free(p);
    assert_int_equal(md_session_free_positions(s), N_POSITIONS);
    md_session_free(s);
    assert_int_equal(scratch_count(folder), 3);
}

static void change_byte(const char *path, long from_end)
{
    const int fd = open(path, O_RDWR);
    struct stat st;
    unsigned char byte;
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    const off_t at = st.st_size - from_end;
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void damage_is_computed_again(void **state)
{
    static const int kinds[] = {0, 2, N_ATTENDING - 1, N_KINDS - 1};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const int k = kinds[i];
        fill_folder(k, *state);
        for (int page = 0; page < 3; page++) {
            change_byte(file_of(k, *state, page), 1); /* the state, if there is one: only the last one is read */
            run_damaged(k, *state, has_state(k) && page < 2 ? 3 : page);
            change_byte(file_of(k, *state, page), 8 + 4 * subject[k]->spec.state_floats); /* the page */
            run_damaged(k, *state, page);
            assert_int_equal(truncate(file_of(k, *state, page), 400), 0);
            run_damaged(k, *state, page);
            assert_int_equal(truncate(file_of(k, *state, page), 0), 0);
            run_damaged(k, *state, page);
            unlink(file_of(k, *state, page));
            run_damaged(k, *state, page);
            rename(file_of(k, *state, (page + 1) % 3), file_of(k, *state, page)); /* another page's file */
            run_damaged(k, *state, page < 2 ? page : 0);
        }
        run_damaged(k, *state, 2); /* the last of these is noticed only now that it is read */
        run_damaged(k, *state, 3);
        remove_all(*state);
    }
}

/* Files that vanish while they are listed. */
static void files_may_vanish(void **state)
{
    for (int k = 0; k < N_KINDS; k += N_KINDS - 1) {
        fill_folder(k, *state);
        md_session *s = session_of(k);
        md_prefixes *p = prefixes_in(s, *state);
        unlink(file_of(k, *state, 1));
        md_seq *q = seq_of(s);
        int32_t taken;
        assert_int_equal(md_prefixes_match(p, q, "", prompt, N), FULL);
        OK(md_prefixes_take(p, q, "", prompt, N, &taken, err));
        assert_int_equal(taken, MD_TILE);
        md_prefixes_free(p);
        md_session_free(s);
        remove_all(*state);
    }
}

/* ---- whose pages ---- */

static int32_t taken_by(const md_model *m, md_kv_type type, const char *folder, const char *client, int masked)
{
    md_session_args args;
    md_session *s;
    md_session_args_default(m, &args);
    args.n_threads = 1;
    args.n_positions = N_POSITIONS;
    args.kv_type = type;
    OK(md_session_new(m, &args, &s, err));
    md_prefixes *p = prefixes_in(s, folder);
    md_seq *q = seq_of(s);
    if (masked >= 0)
        OK(md_seq_mask_expert(q, 0, masked, MD_EXPERT_OFF, err));
    const int32_t taken = take(p, q, client, prompt, N);
    md_prefixes_free(p);
    md_session_free(s);
    return taken;
}

static void only_the_same_model_and_numerics_share(void **state)
{
    md_synth_spec twin_spec = attending[0];
    md_model *twin, *again;
    md_session *s = session_of(0);
    char path[600];
    md_prefixes *p = prefixes_in(s, *state);
    md_seq *masked = seq_of(s);
    take_and_run(p, s, "", prompt, N);
    take_and_run(p, s, "ann", prompt, 100);
    OK(md_seq_mask_expert(masked, 0, 2, MD_EXPERT_OFF, err));
    feed_and_keep(p, masked, "", prompt, 130, NULL);
    md_prefixes_free(p);
    md_session_free(s);
    assert_int_equal(scratch_count(*state), 3 + 1 + 2);
    assert_int_equal(taken_by(subject[0], MD_KV_F16, *state, "", -1), FULL);
    assert_int_equal(taken_by(subject[0], MD_KV_F16, *state, "ann", -1), 64);
    assert_int_equal(taken_by(subject[0], MD_KV_F16, *state, "bob", -1), 0);
    assert_int_equal(taken_by(subject[0], MD_KV_F16, *state, "", 2), 128);
    assert_int_equal(taken_by(subject[0], MD_KV_F16, *state, "", 1), 0);
    assert_int_equal(taken_by(subject[0], MD_KV_F32, *state, "", -1), 0);
    twin_spec.seed++; /* the same header, other weights */
    snprintf(path, sizeof path, "%s", temp_path("twin.gguf"));
    OK(md_synth_write(&twin_spec, path, err));
    OK(md_model_open(path, NULL, &twin, err));
    assert_int_equal(taken_by(twin, MD_KV_F16, *state, "", -1), 0);
    md_model_close(twin);
    unlink(path);
    /* The same file, but written anew as far as one can see. */
    struct stat st;
    assert_int_equal(stat(kind_path[0], &st), 0);
    assert_int_equal(utimensat(AT_FDCWD, kind_path[0], NULL, 0), 0);
    again = open_kind(0);
    assert_int_equal(taken_by(again, MD_KV_F16, *state, "", -1), 0);
    md_model_close(again);
    assert_int_equal(utimensat(AT_FDCWD, kind_path[0], (struct timespec[]){st.st_atim, st.st_mtim}, 0), 0);
    assert_int_equal(taken_by(subject[0], MD_KV_F16, *state, "", -1), FULL);
    assert_int_equal(scratch_count(*state), 6);
}

/* A sample sees size, time and what tensors begin with; the whole sees every byte, and no time. */
static void the_whole_of_a_model_can_count(void **state)
{
    unsigned char sample[MD_KV_KEY_BYTES], whole[MD_KV_KEY_BYTES], other[MD_KV_KEY_BYTES];
    md_model *m;
    struct stat st;
    const char *path = scratch_path(*state, "model.gguf");
    /* One tensor is longer than the sample: the embedding. */
    OK(md_synth_write(&(md_synth_spec){.arch = "qwen3", .n_layer = 1}, path, err));
    OK(md_model_open(path, NULL, &m, err));
    OK(md_prefix_model(m, false, sample, err));
    OK(md_prefix_model(m, true, whole, err));
    assert_memory_not_equal(sample, whole, sizeof sample);
    const md_gguf_tensor *t = md_gguf_find_tensor(m->file, "token_embd.weight");
    assert_true(t && t->bytes > 3 * 4096);
    assert_int_equal(stat(path, &st), 0);
    for (int first = 0; first < 2; first++) { /* beyond the sample; in it */
        change_byte(path, st.st_size - (long)t->file_offset - (first ? 4095 : 4096));
        assert_int_equal(utimensat(AT_FDCWD, path, (struct timespec[]){st.st_atim, st.st_mtim}, 0), 0);
        OK(md_prefix_model(m, false, other, err));
        assert_int_equal(memcmp(sample, other, sizeof other) == 0, !first);
        OK(md_prefix_model(m, true, other, err));
        assert_memory_not_equal(whole, other, sizeof other);
        change_byte(path, st.st_size - (long)t->file_offset - (first ? 4095 : 4096));
    }
    assert_int_equal(utimensat(AT_FDCWD, path, NULL, 0), 0);
    OK(md_prefix_model(m, true, other, err));
    assert_memory_equal(whole, other, sizeof other);
    OK(md_prefix_model(m, false, other, err));
    assert_memory_not_equal(sample, other, sizeof other);
    unlink(path);
    md_error e = {0};
    assert_int_equal(md_prefix_model(m, false, other, &e), MD_ERR_IO);
    assert_non_null(strstr(e.message, path));
    md_model_close(m);
}

static void approximations_are_not_saved(void **state)
{
    char path[600];
    md_model *m;
    md_session_args args;
    md_session *s;
    snprintf(path, sizeof path, "%s", temp_path("streamed.gguf"));
    OK(md_synth_write(&(md_synth_spec){.arch = "qwen3moe", SMALL, .n_expert = 8}, path, err));
    OK(md_model_open(path, &(md_model_args){.stream = MD_STREAM_ALWAYS}, &m, err));
    md_session_args_default(m, &args);
    args.n_threads = 1;
    args.n_positions = args.n_rows = args.n_logits = N;
    args.on_miss = MD_ON_MISS_SKIP;
    OK(md_session_new(m, &args, &s, err));
    md_prefixes *p = prefixes_in(s, *state);
    md_seq *q = seq_of(s);
    feed_and_keep(p, q, "", prompt, N, NULL);
    md_seq_free(q);
    md_prefixes_free(p);
    md_session_free(s);
    assert_int_equal(scratch_count(*state), 0);
    md_model_close(m);
    unlink(path);
}

/* ---- a full folder ---- */

/* What does not fit is the end of the prompt, not its beginning. */
static void a_small_folder_keeps_beginnings(void **state)
{
    for (int k = 0; k < N_KINDS; k += N_KINDS - 1) {
        fill_folder(k, *state);
        struct stat st;
        assert_int_equal(stat(file_of(k, *state, 0), &st), 0);
        remove_all(*state);
        const int64_t bytes = 2 * (int64_t)md_kv_index_cost((uint64_t)st.st_size) + 4000;
        for (int times = 0; times < 2; times++) {
            md_session *s = session_of(k);
            md_prefixes *p;
            OK(new_in(s, *state, bytes, PLENTY, &p, err));
            assert_int_equal(take_and_run(p, s, "", prompt, N), times ? 128 : 0);
            md_prefixes_free(p);
            md_session_free(s);
            assert_int_equal(scratch_count(*state), 2);
        }
        remove_all(*state);
    }
}

static void a_folder_that_is_refused_leaves_nothing(void **state)
{
    md_session *s = session_of(0);
    md_prefixes *p;
    md_error e = {0};
    assert_int_equal(chmod(*state, 0755), 0);
    assert_int_equal(new_in(s, *state, PLENTY, 0, &p, &e), MD_ERR_ARGUMENT);
    assert_null(p);
    assert_non_null(strstr(e.message, "chmod 700"));
    assert_int_equal(chmod(*state, 0700), 0);
    assert_int_equal(new_in(s, *state, -1, 0, &p, &e), MD_ERR_ARGUMENT);
    p = prefixes_in(s, *state); /* the session can have prefixes still */
    md_session *second = session_of(1);
    md_prefixes *same;
    assert_int_equal(new_in(second, *state, PLENTY, 0, &same, &e), MD_ERR_BUSY);
    md_prefixes_free(p);
    md_session_free(s);
    md_session_free(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(a_restart_gives_the_same_bits),
        IN_SCRATCH(what_leaves_comes_back),
        IN_SCRATCH(states_alone_come_back),
        IN_SCRATCH(restoring_makes_room),
        IN_SCRATCH(damage_is_computed_again),
        IN_SCRATCH(files_may_vanish),
        IN_SCRATCH(only_the_same_model_and_numerics_share),
        IN_SCRATCH(the_whole_of_a_model_can_count),
        IN_SCRATCH(approximations_are_not_saved),
        IN_SCRATCH(a_small_folder_keeps_beginnings),
        IN_SCRATCH(a_folder_that_is_refused_leaves_nothing),
    };
    return cmocka_run_group_tests_name("kept prefixes in a folder", tests, open_kinds, close_kinds);
}
