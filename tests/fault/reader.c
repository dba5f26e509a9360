/* SPDX-License-Identifier: Apache-2.0
 *
 * The file reader when something goes wrong: each allocation, thread and system call in turn fails, transfers are short or
 * interrupted. Every read is whole or says what happened, and nothing hangs. */
#include "base/reader_ways.h"
#include "support/fault.h"

enum { N_READS = 12, N_FILES = 6, BYTES = 100000 };

typedef struct job {
    md_reader_args args;
    const char *path;
} job;

static uint64_t fold(uint64_t hash, const md_read *read)
{
    const unsigned char *p = read->buffer + read->offset % MD_READER_ALIGN;
    for (size_t i = 0; i < read->n; i++)
        hash = (hash ^ p[i]) * 0x100000001b3ull;
    return hash;
}

static md_status read_all_of_it(md_reader *r, unsigned char (*memory)[2 * 16384], uint64_t *result, md_error *err)
{
    md_read read[N_READS];
    md_status status = MD_OK;
    for (int i = 0; i < N_READS; i++) {
        read[i] = (md_read){
            .file = i % N_FILES, .offset = (uint64_t)i * 7001, .n = 16384, .buffer = memory[i], .urgent = i % 4 == 0};
        md_reader_submit(r, &read[i]);
    }
    for (const md_read *done; (done = md_reader_done(r, true));)
        if (status == MD_OK)
            status = md_reader_explain(r, done, err);
    for (int i = 0; status == MD_OK && i < N_READS; i++)
        *result = fold(*result, &read[i]);
    return status;
}

static md_status read_in_the_background(void *arg, uint64_t *result, md_error *err)
{
    static _Alignas(MD_READER_ALIGN) unsigned char memory[N_READS][2 * 16384];
    const job *j = arg;
    md_reader *r;
    md_status status = md_reader_new(&j->args, &r, err);
    for (int i = 0; status == MD_OK && i < N_FILES; i++) {
        int32_t file;
        status = md_reader_add_file(r, j->path, &file, err);
    }
    memset(memory, 0, sizeof memory); /* or the bytes of the round before would do */
    *result = 1;
    if (status == MD_OK)
        status = read_all_of_it(r, memory, result, err);
    md_reader_free(r);
    return status;
}

static void every_failure_is_survived(void **state)
{
    static const md_reader_args rows[] = {
        {.backend = MD_READER_THREADS, .depth = 1, .piece = MD_READER_ALIGN},
        {.backend = MD_READER_THREADS, .depth = 3, .direct = true},
        {.backend = MD_READER_AUTO, .depth = 1, .direct = true, .piece = MD_READER_ALIGN},
        {.backend = MD_READER_AUTO, .depth = 4},
    };
    const char *path = scratch_path(*state, "a");
    make_file(path, BYTES);
    /* The C library keeps what threads had; where io_uring fails there are more of them than in a first run with it. */
    job most = {.args = {.backend = MD_READER_THREADS, .depth = 4}, .path = path};
    uint64_t result;
    assert_int_equal(read_in_the_background(&most, &result, NULL), MD_OK);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        job j = {.args = rows[i], .path = path};
        const fault_count memory = fault_each(FAULT_MEMORY, MD_ERR_MEMORY, read_in_the_background, &j);
        const fault_count call = fault_each(FAULT_CALL, MD_ERR_IO, read_in_the_background, &j);
        print_message("%zu: %ld allocations (%ld made no difference), %ld system calls (%ld)\n", i,
                      memory.refused + memory.survived, memory.survived, call.refused + call.survived, call.survived);
        assert_true(memory.refused >= N_FILES && call.refused >= 2 * N_FILES);
        assert_int_equal(fault_each(FAULT_SHORT, MD_ERR_IO, read_in_the_background, &j).refused, 0);
        assert_int_equal(fault_each(FAULT_INTERRUPT, MD_ERR_IO, read_in_the_background, &j).refused, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {IN_SCRATCH(every_failure_is_survived)};
    return cmocka_run_group_tests_name("fault/reader", tests, NULL, NULL);
}
