/* SPDX-License-Identifier: Apache-2.0
 *
 * How long reads of some size take that are asked for together, through the reader that the expert store uses, with its depth, at
 * places of the file drawn anew each time, since what was read a moment ago may lie in some cache of the disk's. */
#include "plan/profile.h"

#include "base/reader.h"
#include "base/region.h"
#include "base/rng.h"
#include "base/status.h"
#include "base/sys.h"
#include "expert/streamed.h"

#include <math.h>

enum { PASSES = 12, MOST = 16 /* reads at once */ };

typedef struct disk_work {
    md_reader *reader;
    md_region buffer; /* owned, of MOST reads: large pages that were touched, as slots are */
    uint64_t file_bytes, key, count;
} disk_work;

/* n reads of `bytes`; seconds until all are there. */
static md_status read_some(disk_work *w, int n, size_t bytes, double *seconds, md_error *err)
{
    md_read read[MOST];
    const size_t room = md_reader_room(0, bytes);
    const uint64_t places = (w->file_bytes - bytes) / MD_READER_ALIGN + 1;
    for (int i = 0; i < n; i++) {
        const md_rand4 r = md_philox(w->key, w->count++, 0);
        read[i] = (md_read){.urgent = true,
                            .offset = ((uint64_t)r.v[0] << 32 | r.v[1]) % places * MD_READER_ALIGN,
                            .n = bytes,
                            .buffer = w->buffer.bytes + (size_t)i * room};
    }
    const double began = md_sys_seconds();
    for (int i = 0; i < n; i++)
        md_reader_submit(w->reader, &read[i]);
    md_status status = MD_OK;
    for (md_read *r; (r = md_reader_done(w->reader, true));)
        if (status == MD_OK)
            status = md_reader_explain(w->reader, r, err);
    *seconds = md_sys_seconds() - began;
    return status;
}

static md_status measure_all(md_measuring *m, disk_work *w, md_profile_disk *out, md_error *err)
{
    for (int s = 0; s < MD_PROFILE_SIZES; s++) {
        for (int d = 0; d < MD_PROFILE_DEPTHS; d++) {
            double pass[PASSES];
            for (int i = 0; i < PASSES; i++)
                MD_TRY(read_some(w, (int)md_profile_depths[d], (size_t)md_profile_sizes[s], &pass[i], err));
            out->seconds[s][d] = fmax(md_measuring_typical(pass, PASSES), 1e-9);
        }
        MD_TRY(md_measuring_tell(m, err));
    }
    return MD_OK;
}

md_status md_measure_disk(md_measuring *m, const char *path, md_profile_disk *out, md_error *err)
{
    const md_reader_args args = {.depth = MD_STREAMED_DEPTH, .direct = true};
    const size_t largest = (size_t)md_profile_sizes[MD_PROFILE_SIZES - 1];
    disk_work w = {.key = (uint64_t)(md_sys_seconds() * 1e9)};
    int32_t file;
    MD_TRY(md_reader_new(&args, &w.reader, err));
    md_status status = md_reader_add_file(w.reader, path, &file, err);
    if (status == MD_OK) {
        w.file_bytes = md_reader_file_size(w.reader, file);
        status = w.file_bytes < largest
                     ? md_fail(err, MD_ERR_ARGUMENT, "'%s' is too small to measure its disk with", path)
                     : md_region_new(MOST * md_reader_room(0, largest), &w.buffer, err);
    }
    if (status == MD_OK) {
        md_region_take(&w.buffer, m->pool);
        (void)md_reader_register(w.reader, w.buffer.bytes, w.buffer.n); /* as slots are */
        status = measure_all(m, &w, out, err);
    }
    md_reader_free(w.reader);
    md_region_free(&w.buffer);
    return status;
}
