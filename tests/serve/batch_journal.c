/* SPDX-License-Identifier: Apache-2.0
 *
 * The journal: what it keeps, what it is about, and that nothing else is taken for one. And runs over it: what fails, what is stopped,
 * and how much is held at a time. */
#include "support/ok.h"

#include "batch_fake.h"
#include "support/scratch.h"

#define N_LINES 40

static const md_journal_about usual = {
    .input_hash = 1, .input_bytes = 2, .n_lines = N_LINES, .model = "m", .settings = "s", .created = 1234};

static const char *at(void *const *state)
{
    return scratch_path(*state, "journal");
}

static md_journal *open_journal(void *const *state)
{
    md_journal *j;
    OK(md_journal_open(at(state), &usual, false, &j, &err));
    return j;
}

static void add(md_journal *j, size_t line)
{
    char text[64];
    const int n = snprintf(text, sizeof text, "answer to %zu, with a quote ' and \xc3\xa4", line);
    OK(md_journal_add(j, line, line % 2 ? "odd" : NULL, line % 5 == 0, text, (size_t)n, &err));
}

static md_status check_answer(void *user, size_t line, const char *text, size_t n, md_error *e)
{
    size_t *last = user;
    char want[64];
    (void)e;
    assert_int_equal(snprintf(want, sizeof want, "answer to %zu, with a quote ' and \xc3\xa4", line), n);
    assert_memory_equal(text, want, n);
    assert_true(*last == SIZE_MAX || line > *last);
    *last = line;
    return MD_OK;
}

static void what_was_committed_is_there(void **state)
{
    md_journal *j = open_journal(state);
    assert_int_equal(md_journal_created(j), 1234);
    for (size_t i = N_LINES; i-- > 10;)
        add(j, i);
    OK(md_journal_commit(j, &err));
    add(j, 3); /* waits for the next commit, which never comes */
    assert_true(md_journal_has(j, 3) && md_journal_n(j) == N_LINES - 9);
    md_journal_close(j);
    md_journal_about later = usual;
    later.created = 99;
    OK(md_journal_open(at(state), &later, false, &j, &err));
    assert_int_equal(md_journal_created(j), 1234);
    assert_int_equal(md_journal_n(j), N_LINES - 10);
    assert_int_equal(md_journal_n_failed(j), 6);
    assert_true(md_journal_has(j, 10) && !md_journal_has(j, 3) && !md_journal_has(j, N_LINES));
    size_t last = SIZE_MAX;
    OK(md_journal_each(j, check_answer, &last, &err));
    assert_int_equal(last, N_LINES - 1);
    assert_int_equal(md_journal_add(j, 10, NULL, false, "x", 1, &err), MD_ERR_INTERNAL);
    assert_int_equal(md_journal_add(j, N_LINES, NULL, false, "x", 1, &err), MD_ERR_INTERNAL);
    OK(md_journal_remove(j, &err));
    assert_int_equal(scratch_count(*state), 0);
}

static void groups_are_committed(void **state)
{
    md_journal *j = open_journal(state);
    md_journal_set_group(j, 4);
    for (size_t i = 0; i < 11; i++)
        add(j, i);
    md_journal_close(j);
    j = open_journal(state);
    assert_int_equal(md_journal_n(j), 8);
    md_journal_close(j);
}

static void refused(void *const *state, const md_journal_about *about, md_status status, const char *why)
{
    md_journal *j;
    assert_int_equal(md_journal_open(at(state), about, false, &j, &err), status);
    if (!strstr(err.message, why))
        fail_msg("'%s' does not say '%s'", err.message, why);
    assert_null(j);
}

static void of_something_else(void **state)
{
    md_journal *j = open_journal(state);
    add(j, 1);
    OK(md_journal_commit(j, &err));
    refused(state, &usual, MD_ERR_BUSY, "another process works on");
    md_journal_close(j);
    md_journal_about other = usual;
    other.input_hash = 7;
    refused(state, &other, MD_ERR_ARGUMENT, "was begun with another input: give --restart");
    other = usual;
    other.model = "n";
    refused(state, &other, MD_ERR_ARGUMENT, "another model");
    other = usual;
    other.settings = "t";
    refused(state, &other, MD_ERR_ARGUMENT, "other settings");
    j = open_journal(state); /* it was left as it was */
    assert_int_equal(md_journal_n(j), 1);
    md_journal_close(j);
    OK(md_journal_open(at(state), &other, true, &j, &err));
    assert_int_equal(md_journal_n(j), 0);
    md_journal_close(j);
}

static void no_journal_at_all(void **state)
{
    md_journal *j;
    scratch_put(*state, "/journal", "my diary");
    refused(state, &usual, MD_ERR_ARGUMENT, "is not a journal of medley batch");
    assert_int_equal(md_journal_open(at(state), &usual, true, &j, &err), MD_ERR_ARGUMENT); /* and is not removed */
    char *diary = NULL;
    size_t n = 0;
    FILE *f = fopen(at(state), "r");
    assert_non_null(f);
    assert_int_equal(getline(&diary, &n, f), 8);
    fclose(f);
    free(diary);
    scratch_put(*state, "/journal", ""); /* of a run that was killed at once */
    j = open_journal(state);
    md_journal_close(j);
}

static size_t read_file(const char *path, unsigned char *bytes, size_t most)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    const size_t n = fread(bytes, 1, most, f);
    fclose(f);
    return n;
}

static void write_file(const char *path, const unsigned char *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* Each byte of the file changed in turn: it is refused, or what it holds is right. Never anything else. */
static void damage_is_noticed(void **state)
{
    static unsigned char bytes[1 << 17];
    md_journal *j = open_journal(state);
    for (size_t i = 0; i < N_LINES; i++)
        add(j, i);
    OK(md_journal_commit(j, &err));
    md_journal_close(j);
    const size_t n = read_file(at(state), bytes, sizeof bytes);
    assert_in_range(n, 8000, sizeof bytes - 1);
    int noticed = 0;
    for (size_t i = 0; i < n; i += i < 400 ? 1 : 7) {
        bytes[i] ^= 0x5a;
        write_file(at(state), bytes, n);
        bytes[i] ^= 0x5a;
        const md_status status = md_journal_open(at(state), &usual, false, &j, &err);
        if (status != MD_OK) {
            assert_true(status == MD_ERR_FORMAT || status == MD_ERR_ARGUMENT || status == MD_ERR_IO);
            noticed++;
            continue;
        }
        size_t last = SIZE_MAX;
        OK(md_journal_each(j, check_answer, &last, &err));
        assert_int_equal(last, N_LINES - 1);
        assert_int_equal(md_journal_n(j), N_LINES);
        md_journal_close(j);
    }
    assert_true(noticed > 300);
    write_file(at(state), bytes, n - 4096);
    refused(state, &usual, MD_ERR_FORMAT, "is damaged");
    OK(md_journal_open(at(state), &usual, true, &j, &err));
    md_journal_close(j);
}

/* ---- runs ---- */

static void make_input(const char *folder, const char *body_of_7)
{
    FILE *f = fopen(scratch_path(folder, "in"), "w");
    assert_non_null(f);
    for (int i = 0; i < N_LINES; i++)
        fprintf(f, "{\"custom_id\":\"%d\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":%s}\n", i,
                i == 7   ? body_of_7
                : i == 8 ? "[]"
                         : "{}");
    assert_int_equal(fclose(f), 0);
}

static md_status run(void *const *state, fake *f)
{
    return fake_batch(scratch_path(*state, "in"), scratch_path(*state, "out"), at(state), 0, f, &err);
}

static void a_run_that_fails_goes_on(void **state)
{
    make_input(*state, "{\"broken\":true}");
    fake f = {.log = -1};
    assert_int_equal(run(state, &f), MD_ERR_IO);
    assert_string_equal(err.message, "the disk is gone");
    assert_int_equal(scratch_count(*state), 2); /* no output; the journal stays */
    const size_t before = f.answered;
    make_input(*state, "{\"mended\":1234}"); /* as many bytes, but another input */
    fake g = {.log = -1};
    assert_int_equal(run(state, &g), MD_ERR_ARGUMENT);
    make_input(*state, "{\"broken\":true}");
    assert_int_equal(run(state, &g), MD_ERR_IO);
    assert_true(before + g.answered <= N_LINES && f.most_held <= FAKE_ROOM);
}

static void bad_lines_are_answers(void **state)
{
    make_input(*state, "{\"status\":400}");
    fake f = {.log = -1};
    OK(run(state, &f));
    assert_int_equal(f.answered, N_LINES - 1);
    char *line = NULL;
    size_t cap = 0, n = 0;
    FILE *out = fopen(scratch_path(*state, "out"), "r");
    assert_non_null(out);
    for (; getline(&line, &cap, out) > 0; n++) {
        json_t *v = json_loads(line, 0, NULL);
        char id[16];
        snprintf(id, sizeof id, "%zu", n);
        assert_string_equal(json_string_value(json_object_get(v, "custom_id")), id);
        assert_true(json_is_null(json_object_get(v, "error")));
        const json_t *response = json_object_get(v, "response");
        assert_int_equal(json_integer_value(json_object_get(response, "status_code")), n == 7 || n == 8 ? 400 : 200);
        if (n == 8)
            assert_string_equal(json_string_value(json_object_get(
                                    json_object_get(json_object_get(response, "body"), "error"), "param")),
                                "body");
        json_decref(v);
    }
    assert_int_equal(n, N_LINES);
    fclose(out);
    free(line);
}

static bool stop_at_once(void *user, size_t done, size_t total)
{
    (void)total;
    *(size_t *)user = done;
    return done < 10;
}

static void who_is_stopped_keeps_what_is_done(void **state)
{
    make_input(*state, "{}");
    md_batch_input in;
    md_journal *j;
    OK(md_batch_input_open(scratch_path(*state, "in"), &in, &err));
    OK(md_journal_open(at(state), &usual, false, &j, &err));
    fake f = {.log = -1};
    size_t done = 0;
    const md_batch_engine engine = {.user = &f, .room = fake_room, .give = fake_give, .step = fake_step};
    const md_batch_run_args args = {
        .in = &in, .journal = j, .engine = &engine, .progress = stop_at_once, .progress_user = &done};
    assert_int_equal(md_batch_run(&args, &err), MD_ERR_CANCELLED);
    assert_int_equal(md_batch_write(&in, j, scratch_path(*state, "out"), &err), MD_ERR_INTERNAL);
    md_journal_close(j);
    assert_int_equal(scratch_count(*state), 2);
    j = open_journal(state);
    assert_int_equal(md_journal_n(j), done);
    assert_in_range(done, 10, 13);
    md_journal_close(j);
    md_batch_input_close(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(what_was_committed_is_there), IN_SCRATCH(groups_are_committed),
        IN_SCRATCH(of_something_else),           IN_SCRATCH(no_journal_at_all),
        IN_SCRATCH(damage_is_noticed),           IN_SCRATCH(a_run_that_fails_goes_on),
        IN_SCRATCH(bad_lines_are_answers),       IN_SCRATCH(who_is_stopped_keeps_what_is_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
