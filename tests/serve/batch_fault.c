/* SPDX-License-Identifier: Apache-2.0
 *
 * A journal when memory gives out, a batch when the system does: it fails with one sentence, or ends in the same output; and whatever
 * became of it, the next run goes on. */
#include "support/fault.h"

#include "batch_fake.h"
#include "support/scratch.h"

#define LINES 12

static void make_input(const char *folder)
{
    FILE *f = fopen(scratch_path(folder, "in"), "w");
    assert_non_null(f);
    for (int i = 0; i < LINES; i++)
        fprintf(f, "{\"custom_id\":\"%d\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":%s}\n", i,
                i == 7 ? "[]" : "{\"prompt\":\"some words\"}");
    assert_int_equal(fclose(f), 0);
}

static uint64_t hash_of(const char *path)
{
    uint64_t hash = 1;
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    for (int c; (c = getc(f)) != EOF;)
        hash = hash * 31 + (uint64_t)c;
    fclose(f);
    return hash;
}

/* One run; if it failed, its journal is there for the next. */
static md_status batch(void *folder, uint64_t *result, md_error *why)
{
    char in[600], out[600], journal[600];
    fault_pause(true);
    snprintf(in, sizeof in, "%s/in", (char *)folder);
    snprintf(out, sizeof out, "%s/out", (char *)folder);
    snprintf(journal, sizeof journal, "%s/journal", (char *)folder);
    unlink(out);
    fault_pause(false);
    fake f = {.log = -1};
    md_error own;
    const md_status status = fake_batch(in, out, journal, 3, &f, why ? why : &own);
    fault_pause(true);
    if (status == MD_OK)
        *result = hash_of(out);
    else
        assert_int_not_equal(access(out, F_OK), 0);
    fault_pause(false);
    return status;
}

static md_status add_up(void *user, size_t line, const char *text, size_t n, md_error *why)
{
    (void)why;
    *(uint64_t *)user = *(uint64_t *)user * 31 + line + n + (uint64_t)text[0];
    return MD_OK;
}

static md_status work_on(md_journal *j, uint64_t *result, md_error *why)
{
    md_status status = MD_OK;
    md_journal_set_group(j, 3);
    for (size_t i = 0; i < LINES && status == MD_OK; i++)
        if (!md_journal_has(j, i))
            status = md_journal_add(j, i, "name", false, "an answer", 9, why);
    if (status == MD_OK)
        status = md_journal_commit(j, why);
    *result = md_journal_n(j);
    return status == MD_OK ? md_journal_each(j, add_up, result, why) : status;
}

/* The journal alone: Jansson, which reads the input, shortens a string without a word when its buffer cannot grow. */
static md_status journal(void *folder, uint64_t *result, md_error *why)
{
    char path[600];
    md_journal *j;
    const md_journal_about about = {.n_lines = LINES, .model = "m", .settings = "s"};
    snprintf(path, sizeof path, "%s/journal", (char *)folder);
    md_status status = md_journal_open(path, &about, false, &j, why);
    if (status != MD_OK)
        return status;
    status = work_on(j, result, why);
    if (status == MD_OK)
        return md_journal_remove(j, why);
    md_journal_close(j);
    return status;
}

static void memory_gives_out(void **state)
{
    const fault_count n = fault_each(FAULT_MEMORY, MD_ERR_MEMORY, journal, *state);
    assert_true(n.refused > 2); /* more where allocations of libraries count, too */
}

static void the_system_refuses(void **state)
{
    make_input(*state);
    const fault_count n = fault_each(FAULT_CALL, MD_ERR_IO, batch, *state);
    assert_true(n.refused >= 5);
}

static void reads_and_writes_are_short(void **state)
{
    make_input(*state);
    const fault_count n = fault_each(FAULT_SHORT, MD_ERR_IO, batch, *state);
    assert_true(n.survived > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {IN_SCRATCH(memory_gives_out), IN_SCRATCH(the_system_refuses),
                                       IN_SCRATCH(reads_and_writes_are_short)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
