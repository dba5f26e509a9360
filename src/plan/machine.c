/* SPDX-License-Identifier: Apache-2.0
 *
 * Which profile counts, and what of it is measured now. The disk is measured with the model's own file, read here and there; a file
 * that has no weights yet, or too few, gives way to a scratch file. */
#include "plan/plan.h"

#include "base/file.h"
#include "base/status.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SCRATCH_BYTES ((size_t)64 << 20)

/* Does the file hold the weights that its header names, and enough of them to read here and there? */
static bool is_whole(const md_plan *p, const char *path)
{
    struct stat st;
    const uint64_t there = md_gguf_file_bytes(p->m->file);
    return there >= p->m->info.file_bytes && stat(path, &st) == 0 && (uint64_t)st.st_size >= SCRATCH_BYTES &&
           (uint64_t)st.st_blocks * 512 >= (uint64_t)st.st_size / 10 * 9;
}

static md_status write_scratch(const char *path, md_error *err)
{
    enum { STEP = 1 << 20 };
    md_out *out;
    unsigned char *bytes = md_calloc(STEP, 1);
    if (!bytes)
        return md_fail_memory(err, "a scratch file");
    for (size_t i = 0; i < STEP; i++)
        bytes[i] = (unsigned char)(i * 2654435761u >> 13);
    md_status status = md_out_open(path, &out, err);
    for (size_t at = 0; at < SCRATCH_BYTES && status == MD_OK; at += STEP)
        status = md_out_write(out, bytes, STEP, err);
    if (status == MD_OK)
        status = md_out_commit(out, err);
    md_out_close(out);
    md_free(bytes);
    return status;
}

/* The file to measure the disk with; scratch gets the path of one that is to go again, or "". */
static md_status choose_disk_file(md_plan *p, const char *model, const char **out, uint64_t *device, char *scratch,
                                  size_t n, md_error *err)
{
    const md_plan_args *a = &p->args;
    *scratch = '\0';
    *out = a->disk_file ? a->disk_file : is_whole(p, model) ? model : NULL;
    *device = md_profile_device(*out ? *out : a->folder);
    MD_FAIL_IF(
        *device == 0, MD_ERR_ARGUMENT,
        "there is nothing to measure the disk with: the model is too small for that, and no folder is there for a "
        "scratch file");
    if (*out || md_profile_disk_of(p->profile, *device))
        return MD_OK;
    snprintf(scratch, n, "%s/scratch-%ld", a->folder, (long)getpid());
    *out = scratch;
    return write_scratch(scratch, err);
}

static md_status measure(md_plan *p, const char *model, uint64_t *device, md_error *err)
{
    md_profile_needs needs = {.progress = p->args.progress, .progress_user = p->args.progress_user};
    char scratch[4096];
    md_plan_work_types(&p->work, needs.type);
    md_status status = choose_disk_file(p, model, &needs.disk_file, device, scratch, sizeof scratch, err);
    if (status == MD_OK)
        status = md_profile_fill(p->profile, &needs, &p->machine.measured, err);
    if (scratch[0])
        (void)unlink(scratch);
    return status;
}

md_status md_plan_know_machine(md_plan *p, const char *model, const md_profile_disk **disk, md_error *err)
{
    const md_kern *kern = md_kern_get(p->args.isa);
    char path[4096] = "";
    uint64_t device;
    MD_FAIL_IF(!kern, MD_ERR_ARGUMENT, "there are no kernels '%s' on this machine", p->args.isa);
    p->profile = md_arena_alloc(&p->arena, 1, sizeof *p->profile);
    if (!p->profile)
        return md_fail_memory(err, "a profile");
    md_profile_init(p->profile, kern->isa, p->args.n_threads);
    if (p->args.folder)
        snprintf(path, sizeof path, "%s/profile-%s-%d.json", p->args.folder, kern->isa, (int)p->args.n_threads);
    if (path[0] && !p->args.measure)
        (void)!md_profile_load(p->profile, path);
    MD_TRY(measure(p, model, &device, err));
    if (p->machine.measured && path[0])
        MD_TRY(md_profile_save(p->profile, path, err));
    *disk = md_profile_disk_of(p->profile, device);
    const bool measured = p->machine.measured;
    p->machine = (md_plan_machine){.isa = kern->isa,
                                   .n_threads = p->args.n_threads,
                                   .memory_read_1 = p->profile->read_1,
                                   .memory_read = p->profile->read,
                                   .disk_read = md_profile_disk_rate(*disk),
                                   .disk_latency = md_profile_read(*disk, 1.0, md_profile_sizes[0]),
                                   .measured = measured};
    snprintf(p->machine.cpu, sizeof p->machine.cpu, "%s", p->profile->cpu);
    return MD_OK;
}
