/* SPDX-License-Identifier: Apache-2.0
 *
 * Makers of files when memory or the disk gives out: whichever allocation, write, sync or rename fails, the answer is one
 * sentence, nothing is left in the folder, and what stood under the name before stands there still. */
#include "fault/models.h"
#include "support/fault.h"

#include <medley/shape.h>

typedef struct maker {
    const char *folder;
    const md_synth_spec *spec; /* NULL: upcycles `from`, or packs it */
    bool pack, for_streaming;
    char from[512], to[512];
    bool replaces; /* a file of that name is there before */
    int others;    /* further files in the folder */
} maker;

static const char old[] = "what was there before";

static uint64_t hash_file(const char *path)
{
    size_t n;
    unsigned char *bytes = read_all(path, &n);
    uint64_t hash = n;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3ull;
    free(bytes);
    return hash;
}

/* After success the new file, after failure what was there, and nothing beside it. */
static void check_folder(const maker *m, bool written)
{
    size_t n = 0;
    char *bytes = !written && m->replaces ? read_all(m->to, &n) : NULL;
    if (bytes && (n != sizeof old - 1 || memcmp(bytes, old, n) != 0))
        fail_msg("a failure changed the file that was there");
    free(bytes);
    assert_int_equal(scratch_count(m->folder), m->others + (written || m->replaces));
}

static md_status make(const maker *m, md_error *err)
{
    if (m->spec)
        return md_synth_write(m->spec, m->to, err);
    if (m->pack) {
        md_pack_result packed;
        return md_pack(m->from, m->to, &(md_pack_args){.n_threads = 2, .for_streaming = m->for_streaming}, &packed,
                       err);
    }
    md_upcycle_args args;
    md_upcycle_result r;
    md_upcycle_args_default(&args);
    args.n_expert = 2;
    args.drop_ratio = 0.5f;
    return md_upcycle(m->from, m->to, &args, &r, err);
}

static md_status make_and_check(void *arg, uint64_t *result, md_error *err)
{
    const maker *m = arg;
    fault_pause(true);
    unlink(m->to);
    if (m->replaces)
        scratch_put("", m->to, old);
    fault_pause(false);
    const md_status status = make(m, err);
    fault_pause(true);
    check_folder(m, status == MD_OK);
    *result = status == MD_OK ? hash_file(m->to) : 0;
    fault_pause(false);
    return status;
}

static void survive(const char *name, maker *m)
{
    const fault_count memory = fault_each(FAULT_MEMORY, MD_ERR_MEMORY, make_and_check, m);
    const fault_count call = fault_each(FAULT_CALL, MD_ERR_IO, make_and_check, m);
    print_message("%s: %ld allocations (%ld made no difference), %ld system calls (%ld)\n", name,
                  memory.refused + memory.survived, memory.survived, call.refused + call.survived, call.survived);
    assert_true(memory.refused >= 20 && call.refused >= 4); /* open, write, fsync, rename */
    assert_true(fault_each(FAULT_SHORT, MD_ERR_IO, make_and_check, m).survived >= 1);
    assert_true(fault_each(FAULT_INTERRUPT, MD_ERR_IO, make_and_check, m).survived >= 1);
    unlink(m->to);
}

static void survive_everywhere(const char *name, maker *m)
{
    m->others = scratch_count(m->folder);
    survive(name, m);
    m->replaces = true;
    survive(name, m);
    fault_no_unnamed_files(true);
    survive(name, m);
    fault_no_unnamed_files(false);
}

static void making_a_model_survives_every_failure(void **state)
{
    maker m = {.folder = *state, .spec = &small_models[8].spec};
    snprintf(m.to, sizeof m.to, "%s", scratch_path(*state, "made.gguf"));
    survive_everywhere("synth", &m);
}

static void upcycling_survives_every_failure(void **state)
{
    maker m = {.folder = *state};
    snprintf(m.from, sizeof m.from, "%s", make_small_model(*state, &small_models[0]));
    snprintf(m.to, sizeof m.to, "%s", scratch_path(*state, "made.gguf"));
    survive_everywhere("upcycle", &m);
}

static void packing_survives_every_failure(void **state)
{
    maker m = {.folder = *state, .pack = true};
    snprintf(m.from, sizeof m.from, "%s", make_small_model(*state, &small_models[0]));
    snprintf(m.to, sizeof m.to, "%s", scratch_path(*state, "made.gguf"));
    survive_everywhere("pack", &m);
}

static void packing_for_streaming_survives_every_failure(void **state)
{
    maker m = {.folder = *state, .pack = true, .for_streaming = true};
    snprintf(m.from, sizeof m.from, "%s", make_small_model(*state, &small_models[8]));
    snprintf(m.to, sizeof m.to, "%s", scratch_path(*state, "made.gguf"));
    survive_everywhere("pack for streaming", &m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(making_a_model_survives_every_failure),
        IN_SCRATCH(upcycling_survives_every_failure),
        IN_SCRATCH(packing_survives_every_failure),
        IN_SCRATCH(packing_for_streaming_survives_every_failure),
    };
    return cmocka_run_group_tests_name("fault/write", tests, NULL, NULL);
}
