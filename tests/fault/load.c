/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading a model and answering with it when something goes wrong on the way: each allocation in turn cannot be had, each
 * system call fails, the file ends early. Always one sentence, nothing left behind, or the whole answer. */
#include "fault/models.h"
#include "fault/use.h"
#include "support/fault.h"

#include <medley/shape.h>

static md_status load(void *path, uint64_t *result, md_error *err)
{
    return open_and_use(path, MD_STREAM_AUTO, 1, result, err);
}

static md_status load_for_threads(void *path, uint64_t *result, md_error *err)
{
    return open_and_use(path, MD_STREAM_AUTO, 3, result, err);
}

static md_status load_streamed(void *path, uint64_t *result, md_error *err)
{
    return open_and_use(path, MD_STREAM_ALWAYS, 1, result, err);
}

static md_status describe(void *path, uint64_t *result, md_error *err)
{
    md_description *d;
    const md_status status = md_model_describe(path, NULL, &d, err);
    for (size_t i = 0; d && i < md_description_n_metadata(d); i++) {
        md_metadata_info m;
        md_description_metadata(d, i, &m);
        *result = fold(*result, m.value, strlen(m.value));
    }
    md_description_free(d);
    return status;
}

static md_status check(void *path, uint64_t *result, md_error *err)
{
    *result = 0;
    return md_model_check(path, NULL, NULL, NULL, NULL, result, err);
}

/* A model that loads and answers meets at least these many faults. */
static void survive(const char *name, fault_job *job, char *path, long allocations, long calls)
{
    const fault_count memory = fault_each(FAULT_MEMORY, MD_ERR_MEMORY, job, path);
    const fault_count call = fault_each(FAULT_CALL, MD_ERR_IO, job, path);
    print_message("%s: %ld allocations (%ld made no difference), %ld system calls (%ld)\n", name,
                  memory.refused + memory.survived, memory.survived, call.refused + call.survived, call.survived);
    assert_true(memory.refused >= allocations && call.refused >= calls);
}

static char *copy_of(const char *path)
{
    char *copy = strdup(path);
    assert_non_null(copy);
    return copy;
}

/* Sanitizers make it slow, and models meet about the same faults: then every fourth will do. */
#ifdef MD_FAULT_INTERPOSE
enum { STRIDE = 1 };
#else
enum { STRIDE = 4 };
#endif

static void every_model_survives_every_failure(void **state)
{
    for (int i = 0; i < N_SMALL_MODELS; i += STRIDE) {
        char *path = copy_of(make_small_model(*state, &small_models[i]));
        uint64_t hash = 0;
        md_error err = {0};
        whole(load(path, &hash, &err), &err);
        assert_true(hash != 0); /* it did answer */
        survive(small_models[i].name, load, path, 50, 3);
        free(path);
    }
}

static void a_split_model_survives_every_failure(void **state)
{
    char *path = copy_of(make_split_model(*state, &small_models[0]));
    survive("split", load, path, 50, 6);
    free(path);
}

static void threads_survive_every_failure(void **state)
{
    char *path = copy_of(make_small_model(*state, &small_models[0]));
    survive("three threads", load_for_threads, path, 50, 3);
    free(path);
}

static void describing_and_checking_survive_every_failure(void **state)
{
    char *path = copy_of(make_small_model(*state, &small_models[2]));
    survive("description", describe, path, 10, 3);
    survive("check", check, path, 5, 3);
    free(path);
}

/* Three slots a layer, so that experts are read again and again: the answer of resident ones, or a sentence. */
static void streaming_survives_every_failure(void **state)
{
    char *path = copy_of(make_small_model(*state, &small_models[2]));
    uint64_t resident = 0, streamed = 0;
    md_error err = {0};
    whole(load(path, &resident, &err), &err);
    whole(load_streamed(path, &streamed, &err), &err);
    assert_true(resident != 0 && resident == streamed);
    survive("streamed", load_streamed, path, 50, 6);
    char *packed = copy_of(scratch_path(*state, "packed.gguf"));
    md_pack_result r;
    whole(md_pack(path, packed, &(md_pack_args){.for_streaming = true}, &r, &err), &err);
    whole(load_streamed(packed, &streamed, &err), &err);
    assert_true(resident == streamed);
    survive("streamed, packed for it", load_streamed, packed, 50, 6);
    free(packed);
    free(path);
}

/* The system tells how much memory is free through files; reading less of them must not change an answer. */
static void short_reads_do_not_matter(void **state)
{
    char *path = copy_of(make_small_model(*state, &small_models[0]));
    assert_true(fault_each(FAULT_SHORT, MD_ERR_IO, load, path).refused == 0);
    assert_true(fault_each(FAULT_INTERRUPT, MD_ERR_IO, load, path).refused == 0);
    free(path);
}

/* A file that was not copied to its end: refused by name at every length. */
static void every_cut_is_refused(void **state)
{
    const char *path = make_small_model(*state, &small_models[2]);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    for (off_t n = st.st_size - 1; n >= 0; n -= n > 16384 ? 97 : 1) { /* the header takes less */
        md_error err = {0};
        md_model *m;
        assert_int_equal(truncate(path, n), 0);
        const md_status status = md_model_open(path, NULL, &m, &err);
        if (status != MD_ERR_FORMAT || m || !strstr(err.message, path))
            fail_msg("cut to %lld bytes: %s: %s", (long long)n, md_status_name(status), err.message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(every_model_survives_every_failure),
        IN_SCRATCH(a_split_model_survives_every_failure),
        IN_SCRATCH(threads_survive_every_failure),
        IN_SCRATCH(describing_and_checking_survive_every_failure),
        IN_SCRATCH(streaming_survives_every_failure),
        IN_SCRATCH(short_reads_do_not_matter),
        IN_SCRATCH(every_cut_is_refused),
    };
    return cmocka_run_group_tests_name("fault/load", tests, NULL, NULL);
}
