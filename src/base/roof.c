/* SPDX-License-Identifier: Apache-2.0
 *
 * How fast this machine reads memory, in plain C: a core waits for memory long before it runs out of instructions. */
#include "base/roof.h"

#include "base/pool.h"
#include "base/region.h"
#include "base/status.h"
#include "base/sys.h"

#include <string.h>

#define BUFFER_BYTES ((size_t)256 << 20)
#define PIECE_BYTES  ((size_t)1 << 20)
#define AHEAD        4096 /* bytes between the one that is read and the one that is asked for */
#define WORDS        8    /* of a cache line */
#define PASSES       4

typedef struct read_job {
    const uint64_t *words;
    uint64_t sum[MD_POOL_MAX_THREADS]; /* so that no read can be left out */
} read_job;

static uint64_t sum_piece(const uint64_t *p)
{
    uint64_t sum[WORDS] = {0}, total = 0;
    for (size_t at = 0; at < PIECE_BYTES / sizeof *p; at += WORDS) {
        __builtin_prefetch(p + at + AHEAD / sizeof *p);
        for (size_t i = 0; i < WORDS; i++)
            sum[i] += p[at + i];
    }
    for (size_t i = 0; i < WORDS; i++)
        total += sum[i];
    return total;
}

static void read_pieces(void *ctx, int64_t first, int64_t last, int thread)
{
    read_job *j = ctx;
    for (int64_t i = first; i < last; i++)
        j->sum[thread] += sum_piece(j->words + (size_t)i * (PIECE_BYTES / sizeof *j->words));
}

md_status md_roof_read(int32_t n_threads, double *out, md_error *err)
{
    *out = 0.0;
    if (md_sys_free_memory() < 2 * (uint64_t)BUFFER_BYTES)
        return MD_OK;
    md_region region;
    md_pool *pool = NULL;
    MD_TRY(md_region_new(BUFFER_BYTES, &region, err));
    memset(region.bytes, 1, BUFFER_BYTES); /* pages that were never written are all one page of zeros */
    const md_status status = md_pool_new(n_threads, &pool, err);
    read_job j = {.words = (const uint64_t *)(const void *)region.bytes};
    for (int pass = 0; pass < PASSES && status == MD_OK; pass++) {
        const double began = md_sys_seconds();
        md_pool_run(pool, (int64_t)(BUFFER_BYTES / PIECE_BYTES), 1, read_pieces, &j);
        const double rate = (double)BUFFER_BYTES / (md_sys_seconds() - began);
        *out = rate > *out ? rate : *out;
    }
    md_pool_free(pool);
    md_region_free(&region);
    return status;
}
