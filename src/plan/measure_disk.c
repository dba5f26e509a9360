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

#define LONG ((size_t)1 << 20) /* bytes of one of the reads that never end */
enum { PASSES = 16, MOST = 16 /* reads at once */ };

typedef struct disk_work {
    md_reader *reader;
    md_region buffer; /* owned, of MOST reads: large pages that were touched, as slots are */
    uint64_t file_bytes, key, count;
} disk_work;

/* Where a read of so many bytes can begin, drawn anew. */
static uint64_t place(disk_work *w, size_t bytes)
{
    const uint64_t places = (w->file_bytes - bytes) / MD_READER_ALIGN + 1;
    const md_rand4 r = md_philox(w->key, w->count++, 0);
    return ((uint64_t)r.v[0] << 32 | r.v[1]) % places * MD_READER_ALIGN;
}

/* n reads of `bytes`; seconds until all are there. */
static md_status read_some(disk_work *w, int n, size_t bytes, double *seconds, md_error *err)
{
    md_read read[MOST];
    const size_t room = md_reader_room(0, bytes);
    for (int i = 0; i < n; i++)
        read[i] = (md_read){
            .urgent = true, .offset = place(w, bytes), .n = bytes, .buffer = w->buffer.bytes + (size_t)i * room};
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

struct md_disk_reads {
    disk_work *w; /* borrowed */
    md_read read[MOST];
};

static void begin_read(md_disk_reads *r, int i)
{
    r->read[i] = (md_read){.urgent = true,
                           .offset = place(r->w, LONG),
                           .n = LONG,
                           .buffer = r->w->buffer.bytes + (size_t)i * md_reader_room(0, LONG)};
    md_reader_submit(r->w->reader, &r->read[i]);
}

void md_disk_reads_begin(md_disk_reads *r)
{
    for (int i = 0; i < MOST; i++)
        begin_read(r, i);
}

md_status md_disk_reads_go_on(md_disk_reads *r, bool wait, double *bytes, md_error *err)
{
    for (md_read *done; (done = md_reader_done(r->w->reader, wait)); wait = false) {
        MD_TRY(md_reader_explain(r->w->reader, done, err));
        *bytes += (double)done->n;
        begin_read(r, (int)(done - r->read));
    }
    return MD_OK;
}

void md_disk_reads_end(md_disk_reads *r)
{
    while (md_reader_done(r->w->reader, true))
        ;
}

static md_status measure_all(md_measuring *m, disk_work *w, md_profile_disk *out, md_error *err)
{
    for (int s = 0; s < MD_PROFILE_SIZES; s++) {
        for (int d = 0; d < MD_PROFILE_DEPTHS; d++) {
            double pass[PASSES];
            for (int i = 0; i < PASSES; i++)
                MD_TRY(read_some(w, (int)md_profile_depths[d], (size_t)md_profile_sizes[s], &pass[i], err));
            out->seconds[s][d] = fmax(md_measuring_middle(pass, PASSES), 1e-9);
        }
        MD_TRY(md_measuring_tell(m, err));
    }
    return md_measure_both(m, &(md_disk_reads){.w = w}, &out->both, err);
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
